"""The signals of every neuron of a network, measured with the simulator, in the form that the theory takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import Network
from simulator.hessian.frozen import Freeze, NetworkFreeze
from simulator.inputs import check_examples, check_weights
from simulator.network.layers import Layer, pooled_shape, window_of
from theory.signals import OFF, LayerSignals, NetworkSignals, gather_columns, scatter_columns

Array = np.ndarray[Any, Any]


def measure_signals(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    c: Any,
    backend: str | Backend | None = None,
    freeze: Freeze | None = None,
) -> NetworkSignals:
    """x_{l-1}, δ̂_l, gates and mean square weights of the examples with c_i ≠ 0, for `theory.linearised_law`.

    x (m, ...), c (m,) = ∂ℓ/∂T/m. Dense and convolutional layers and pools alike; signals in float64. `freeze` makes
    other signals than the weights do, such as `simulator.Ensemble.signals`.
    """
    ops = get_backend(backend)
    c = np.asarray(c, dtype=np.float64)
    active = np.flatnonzero(c)
    x, c = check_examples(network, x, ops.dtype)[active], c[active]
    if active.size == 0:
        return NetworkSignals((), np.zeros((0, 1)), tuple(network.layer_sizes))
    make = NetworkFreeze(network, check_weights(network, weights, ops), ops) if freeze is None else freeze
    with ops.computing():
        signals, errors = make(ops.asarray(x), ops.asarray(c), active)
    layers: list[LayerSignals] = []
    for i, layer in enumerate(network.layers[:-1]):
        inputs, gates, delta = (ops.to_numpy(a) for a in (signals.inputs[i], signals.gates[i], errors[i]))
        variance = float(np.mean(np.square(weights[i], dtype=np.float64)))
        below = layers[-1] if layers else None
        windows = mean_windows(network.layers[i - 1], active.size) if i else None
        layers.append(_layer(layer, inputs, gates, delta, variance, windows, below))
    return NetworkSignals(tuple(layers), _top(network, layers, c), tuple(network.layer_sizes))


def _top(network: Network, layers: Sequence[LayerSignals], c: Array) -> Array:
    """c as layer L-1 sees it, sent back through every offset of the last layer."""
    last, m = network.layers[-1], len(c)
    offsets = site_maps(last, m)
    if not layers:
        return scatter_columns(c[:, None], offsets, m if offsets is None else offsets.size)
    windows = mean_windows(network.layers[-2], m)
    top = replace(layers[-1], offsets=offsets, windows=windows)
    return top.sent_below(c[:, None], layers[-1].n_pooled)


def _layer(
    layer: Layer,
    inputs: Array,
    gates: Array,
    errors: Array,
    variance: float,
    windows: Array | None,
    under: LayerSignals | None,
) -> LayerSignals:
    """Signals of one layer; `under` None: layer 1, whose errors no equation needs."""
    below = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    channels = layer.gate_shape[-1]
    offsets = site_maps(layer, len(inputs))
    made = LayerSignals(
        inputs=gather_columns(below, offsets),
        errors=None,
        source=sources(gates, math.prod(layer.first_maxima)),
        n_sites=math.prod(gates.shape[:-1]),
        n_in=below.shape[1],
        n_out=channels,
        variance=variance,
        offsets=offsets,
        windows=windows,
    )
    if under is None:
        return made
    return replace(made, errors=made.sent_below(errors.reshape(-1, channels).astype(np.float64), under.n_pooled))


def mean_windows(layer: Layer, m: int) -> Array | None:
    """The sites behind the max-pools of a layer whose means are handed on, (n, a), over m examples; None: no means.

    Raises `ValueError` for a max-pool behind an average pool: what it selects is a mean and no site.
    """
    count = len(layer.first_maxima)
    means = layer.pools[count:]
    if not means:
        return None
    if any(pool.chooses for pool in means):
        raise ValueError(
            f"the pools {', '.join(map(str, layer.pools))} have a max-pool behind an average pool, whose signals the "
            "linearised equations cannot hold: put max-pools first, or predict with R0 to R2"
        )
    height, width, _ = pooled_shape(layer.gate_shape, layer.pools[:count])
    side = window_of(means)
    rows, columns = height // side, width // side
    sites = np.arange(m * height * width).reshape(m, height, width)[:, : rows * side, : columns * side]
    split = sites.reshape(m, rows, side, columns, side)
    return np.moveaxis(split, 2, 3).reshape(m * rows * columns, side * side)


def site_maps(layer: Layer, m: int) -> Array | None:
    """φ_o of a layer over m examples, (|O|, S): k² shifts of a kernel, every position of a flattened map, or None."""
    if len(layer.input_shape) == 1:
        return None
    height, width = layer.input_shape[:2]
    places = height * width
    examples = np.arange(m)[:, None] * places
    if not layer.convolutional:
        return np.arange(places)[:, None] + examples.T
    reach = layer.weight_shape[0] // 2
    rows, columns = np.divmod(np.arange(places), width)
    maps = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            inside = (rows + down >= 0) & (rows + down < height) & (columns + right >= 0) & (columns + right < width)
            place = (rows + down) * width + columns + right
            maps.append(np.where(inside, place + examples, OFF).reshape(-1))
    return np.array(maps)


def sources(gates: Array, window: int) -> Array:
    """For every pooled site and channel the site that is on and selected, or `OFF`: gates (m, [H, W,] n) -> (S', n)."""
    channels = gates.shape[-1]
    sites = math.prod(gates.shape[:-1])
    if window == 1:
        return np.where(gates.reshape(-1, channels), np.arange(sites)[:, None], OFF)
    m, height, width = gates.shape[:3]
    rows, columns = height // window, width // window
    shape = (m, rows, window, columns, window)

    def windows(a: Array) -> Array:
        cropped = a[:, : rows * window, : columns * window].reshape(*shape, *a.shape[3:])
        return np.moveaxis(cropped, 2, 3).reshape(m * rows * columns, window * window, *a.shape[3:])

    place = windows(np.arange(sites).reshape(m, height, width))
    on = windows(gates)
    chosen = place[np.arange(len(place))[:, None], on.argmax(axis=1)]
    return np.where(on.any(axis=1), chosen, OFF)
