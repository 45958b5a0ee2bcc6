"""What a network does to two inputs: the correlations of their signals layer by layer, and to a small difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_weights
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .propagation import Signals, linear_gated, propagate
from .risk import batches


@shown
@dataclass(frozen=True)
class Stretch:
    """What hidden layers do to a small difference at every example, (L-1, m) each, NaN where a signal is 0.

    ``distance``: χ_l, the mean square per neuron of u_l over that of u_{l-1}, means over directions, where u_0 is a
    random direction of the input and u_l = D_l W_l^T u_{l-1}. ``correlation``: the slope d(1 - ρ_l)/d(1 - ρ_{l-1}) at
    ρ = 1, that is the same ratio for the part of u across x, over the lengths of x.
    """

    distance: HostArray
    correlation: HostArray


def signal_correlations(
    network: Network, weights: Sequence[Any], x: Any, backend: str | Backend | None = None
) -> list[HostArray]:
    """ρ_l = x_l(a)·x_l(b)/(||x_l(a)|| ||x_l(b)||) of x_0..x_{L-1} for all pairs of examples, (m, m) each.

    NaN where a signal is 0.

    >>> import numpy as np
    >>> from simulator import mlp, signal_correlations
    >>> signal_correlations(mlp([2, 1]), [np.ones((2, 1))], np.array([[1.0, 0.0], [1.0, 1.0]]))[0].round(3).tolist()
    [[1.0, 0.707], [0.707, 1.0]]
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    layers: list[list[HostArray]] = [[] for _ in range(network.depth)]
    for part in batches(x.shape[0], ops.batch_size):
        for rows, signal in zip(layers, propagate(network, w, ops.asarray(x[part]), ops).inputs, strict=True):
            rows.append(_flat(ops, signal))
    found = []
    for rows in layers:
        signal = np.concatenate(rows)
        sizes = np.linalg.norm(signal, axis=1, keepdims=True)
        unit = np.divide(signal, sizes, out=np.full_like(signal, np.nan), where=sizes > 0.0)
        found.append(np.clip(unit @ unit.T, -1.0, 1.0))
    return found


def _flat(ops: Backend, signal: Array) -> HostArray:
    host: HostArray = ops.to_numpy(signal).astype(np.float64)
    return host.reshape(host.shape[0], -1)


def input_stretch(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    directions: int = 32,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> Stretch:
    """How hidden layers stretch a small difference of the input, and turn it: see `Stretch`.

    Gates are frozen, so that it is a derivative and not a difference: no step is chosen. `directions` Gaussian
    directions, the same for all examples, drawn from `seed`.
    """
    ops, count = get_backend(backend), check_count(directions, "directions")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    shape = network.layers[0].input_shape
    drawn = Streams(seed)("input directions").standard_normal((count, 1, *shape))
    found = []
    with ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            signals = propagate(network, w, ops.asarray(x[part]), ops)
            found.append(_stretched(network, w, signals, drawn, ops))
    distance, correlation = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    return Stretch(distance, correlation)


def _stretched(
    network: Network, w: Sequence[Array], signals: Signals, drawn: HostArray, ops: Backend
) -> tuple[HostArray, HostArray]:
    """Both ratios of one batch, (L-1, m) each."""
    m = int(signals.output.shape[0])
    u = ops.asarray(np.broadcast_to(drawn, (len(drawn), m, *drawn.shape[2:])).copy())
    whole, across = [], []
    for index, signal in enumerate(signals.inputs):
        if index > 0:
            u = linear_gated(ops, network.layers[index - 1], signals.gates[index - 1], (u, w[index - 1]))
        rows, x = ops.to_numpy(u).astype(np.float64).reshape(len(drawn), m, -1), _flat(ops, signal)
        square = np.sum(x**2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            along = np.sum(rows * x, axis=2) ** 2 / square
            length = np.sum(rows**2, axis=2)
            whole.append(length.mean(axis=0) / x.shape[1])
            across.append((length - along).mean(axis=0) / square)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = [np.array(part[1:]) / np.array(part[:-1]) for part in (whole, across)]
    dead = np.array([np.sum(_flat(ops, s) ** 2, axis=1) == 0.0 for s in signals.inputs])
    lost = dead[1:] | dead[:-1]
    return np.where(lost, np.nan, ratios[0]), np.where(lost, np.nan, ratios[1])
