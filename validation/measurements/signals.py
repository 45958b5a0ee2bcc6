"""The coarse-grained signals of a network, measured with the simulator, in the form that the theory takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import Network
from simulator.inputs import check_examples, check_weights
from simulator.network.network import Layer
from simulator.passes.propagation import backpropagate, propagate
from theory.signals import OFF, LayerSignals, NetworkSignals, gather_columns, scatter_columns

Array = np.ndarray[Any, Any]


def measure_signals(
    network: Network, weights: Sequence[Any], x: Any, c: Any, backend: str | Backend | None = None
) -> NetworkSignals:
    """x_{l-1}, δ̂_l, gates and mean square weights of the examples with c_i ≠ 0, for `theory.linearised_law`.

    x (m, ...), c (m,) = ∂ℓ/∂T/m. Dense and convolutional layers and max-pooling alike; signals in float64.
    """
    ops = get_backend(backend)
    c = np.asarray(c, dtype=np.float64)
    active = np.flatnonzero(c)
    x, c = check_examples(network, x, ops.dtype)[active], c[active]
    if active.size == 0:
        return NetworkSignals((), np.zeros((0, 1)), tuple(network.layer_sizes))
    device = check_weights(network, weights, ops)
    with ops.computing():
        signals = propagate(network, device, ops.asarray(x), ops)
        errors = backpropagate(network, device, signals, ops.asarray(c), ops)
    layers = []
    for i, layer in enumerate(network.layers[:-1]):
        inputs, gates, delta = (ops.to_numpy(a) for a in (signals.inputs[i], signals.gates[i], errors[i]))
        variance = float(np.mean(np.square(weights[i], dtype=np.float64)))
        layers.append(_layer(layer, inputs, gates, None if i == 0 else delta, variance))
    offsets = site_maps(network.layers[-1], active.size)
    below = active.size if offsets is None else offsets.size
    top = scatter_columns(c[:, None], offsets, below)
    return NetworkSignals(tuple(layers), top, tuple(network.layer_sizes))


def _layer(layer: Layer, inputs: Array, gates: Array, errors: Array | None, variance: float) -> LayerSignals:
    """Signals of one layer; `errors` None: those of layer 1, which no equation needs."""
    below = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    channels = layer.gate_shape[-1]
    offsets = site_maps(layer, len(inputs))
    delta = None if errors is None else errors.reshape(-1, channels).astype(np.float64)
    return LayerSignals(
        inputs=gather_columns(below, offsets),
        errors=None if delta is None else scatter_columns(delta, offsets, len(below)),
        source=sources(gates, layer.window),
        n_sites=math.prod(gates.shape[:-1]),
        n_in=below.shape[1],
        n_out=channels,
        variance=variance,
        offsets=offsets,
    )


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
