"""Circuits that are not 0: their exact share of all circuits, and uniform draws from them alone.

A circuit x_{i_0} Ψ_i is *live* where its input is not 0 and all its gates are on. In a network of L layers about
2^{1-L} of them are, fewer with max-pools: among uniform paths of a deep network hardly one shows what a circuit's law
is. Live paths are counted layer by layer, like the signal of a network whose weights are all 1 and whose gates are
those of the real one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_weights
from simulator.network.layers import Layer
from simulator.network.network import Network
from simulator.passes.propagation import linear
from simulator.passes.risk import BATCH_SIZE, batches
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .paths import Stage, count_paths, stages
from .values import neuron_fields

CHUNK = 1 << 20  # weights of options looked at together


@shown
@dataclass(frozen=True)
class LivePaths:
    """Paths drawn uniformly from the live ones, host arrays.

    ``paths`` (n, L+1): flat neuron indices, as `simulator.sample_circuits` has them; ``examples`` (n,): rows of x, in
    proportion to their numbers of live paths, so that every pair of an example and a path live there is as likely.
    No rows where no path is live. ``fractions`` (m,): the share of all paths that is live at each example, exactly.
    """

    paths: HostArray
    examples: HostArray
    fractions: HostArray


@dataclass(frozen=True)
class _Counts:
    """Live paths from the inputs up to the neurons of every layer, over Π fan-in.

    ``behind``: per layer of neurons, (m, H, W, C) behind its pools. ``before``: the same before them. ``total`` (m,).
    """

    behind: list[HostArray]
    before: list[HostArray]
    total: HostArray


def sample_live_paths(
    network: Network, weights: Sequence[Any], x: Any, n: int, seed: Seed = 0, backend: str | Backend | None = None
) -> LivePaths:
    """n independent pairs of an example and a path that is live there, uniform over all such pairs: see `LivePaths`.

    Paths are drawn from the output down: a neuron is left for one below in proportion to the live paths that reach
    that one. `simulator.circuit_values` gives the circuits themselves, of any order. Holds one number per neuron and
    example.
    """
    ops, n = get_backend(backend), check_count(n, "n")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    rng = Streams(seed)("live paths")
    with ops.computing():
        parts = [_count(network, w, ops.asarray(x[part]), ops) for part in batches(x.shape[0], BATCH_SIZE)]
    counts = _joined(parts)
    # Exact integers whose quotient is rounded once.
    fractions = counts.total * (math.prod(layer.fan_in for layer in network.layers) / count_paths(network))
    if not counts.total.any():
        return LivePaths(np.empty((0, network.depth + 1), np.int64), np.empty(0, np.int64), fractions)
    examples = _choose(np.cumsum(counts.total)[None], np.zeros(n, np.int64), rng)
    return LivePaths(_descend(network, counts, examples, rng), examples, fractions)


def _count(network: Network, weights: Sequence[Array], x: Array, ops: Backend) -> _Counts:
    """Counts for one batch: x_l of the network with weights 1/fan-in and the given gates."""
    xp, levels = ops.xp, stages(network)
    fields = neuron_fields(network, weights, x, ops)
    masks = [xp.reshape(fields[0] != 0, x.shape)]
    shapes = [layer.gate_shape for layer in network.layers[:-1]]
    masks += [xp.reshape(h, (h.shape[0], *shape)) for h, shape in zip(fields[1:], shapes, strict=True)]
    reached = [ops.apply_gates(masks[0], xp.ones_like(x), 1)]
    behind = [_pooled(ops, reached[0], levels[0].window)]
    for layer, mask in zip(network.layers, masks[1:], strict=False):
        reached.append(ops.apply_gates(mask, linear(ops, layer, (behind[-1], _mean(ops, layer))), 1))
        behind.append(_pooled(ops, reached[-1], layer.window))
    total = linear(ops, network.layers[-1], (behind[-1], _mean(ops, network.layers[-1])))
    before = [_host(ops, part, stage.shape) for part, stage in zip(reached, levels, strict=False)]
    after = [_host(ops, part, (*stage.pooled, stage.shape[2])) for part, stage in zip(behind, levels, strict=False)]
    return _Counts(after, before, ops.to_numpy(total)[:, 0].astype(np.float64))


def _pooled(ops: Backend, counts: Array, window: int) -> Array:
    """Sums over windows: as many sites of one as a pool selects have live paths."""
    return counts if window == 1 else ops.apply_gates(counts > 0, counts, window)


def _mean(ops: Backend, layer: Layer) -> Array:
    return ops.zeros(layer.weight_shape) + 1.0 / layer.fan_in


def _host(ops: Backend, field: Array, shape: Sequence[int]) -> HostArray:
    return ops.to_numpy(field).reshape(field.shape[0], *shape)


def _joined(parts: Sequence[_Counts]) -> _Counts:
    behind = [np.concatenate(level) for level in zip(*(part.behind for part in parts), strict=True)]
    before = [np.concatenate(level) for level in zip(*(part.before for part in parts), strict=True)]
    return _Counts(behind, before, np.concatenate([part.total for part in parts]))


def _descend(network: Network, counts: _Counts, examples: HostArray, rng: np.random.Generator) -> HostArray:
    """One live path for each example, from the output down to the input."""
    paths = np.zeros((len(examples), network.depth + 1), dtype=np.int64)
    levels = stages(network)
    place = (paths[:, -1], paths[:, -1])  # row and column of the neuron that was left, before its pools
    for index in range(network.depth - 1, -1, -1):
        layer, stage, behind = network.layers[index], levels[index], counts.behind[index]
        if layer.convolutional:
            row, column, channel = _source(layer.weight_shape[0], behind, examples, place, rng)
        else:
            flat = _choose(np.cumsum(behind.reshape(len(behind), -1), axis=1, dtype=np.float64), examples, rng)
            row, column, channel = Stage((*stage.pooled, stage.shape[2]), 1).places(flat)
        row, column = _unpool(stage.window, counts.before[index], examples, (row, column, channel), rng)
        paths[:, index] = stage.flat(row, column, channel)
        place = (row, column)
    return paths


def _source(
    kernel: int, behind: HostArray, examples: HostArray, place: tuple[HostArray, HostArray], rng: np.random.Generator
) -> tuple[HostArray, HostArray, HostArray]:
    """(row, column, channel) below a neuron of a convolution: first the tap, by its sum over channels."""
    reach, n = kernel // 2, np.arange(len(examples))
    sums = np.pad(behind.sum(axis=3, dtype=np.float64), ((0, 0), (reach, reach), (reach, reach)))
    taps = np.stack([sums[examples, place[0] + i, place[1] + j] for i in range(kernel) for j in range(kernel)], axis=1)
    tap = _choose(np.cumsum(taps, axis=1), n, rng)
    row, column = place[0] + tap // kernel - reach, place[1] + tap % kernel - reach
    return row, column, _choose(np.cumsum(behind[examples, row, column], axis=1, dtype=np.float64), n, rng)


def _unpool(
    window: int,
    before: HostArray,
    examples: HostArray,
    place: tuple[HostArray, HostArray, HostArray],
    rng: np.random.Generator,
) -> tuple[HostArray, HostArray]:
    """Row and column of a neuron in a window of the pools, in proportion to the live paths that reach it."""
    row, column, channel = place
    if window == 1:
        return row, column
    i, j = np.divmod(np.arange(window * window), window)
    row, column = window * row, window * column
    reaching = before[examples[:, None], row[:, None] + i, column[:, None] + j, channel[:, None]]
    on = _choose(np.cumsum(reaching, axis=1, dtype=np.float64), np.arange(len(examples)), rng)
    return row + i[on], column + j[on]


def _choose(cumulative: HostArray, rows: HostArray, rng: np.random.Generator) -> HostArray:
    """One option per draw, by inversion of the cumulative weights of its row; one of weight 0 is never taken."""
    u, option = rng.random(len(rows)), np.empty(len(rows), dtype=np.int64)
    for part in batches(len(rows), max(1, CHUNK // cumulative.shape[1])):
        sums = cumulative[rows[part]]
        # Rounding must not carry a draw to the very end, behind options of weight 0.
        level = np.minimum(u[part] * sums[:, -1], np.nextafter(sums[:, -1], 0.0))
        option[part] = np.sum(sums <= level[:, None], axis=1)
    return option
