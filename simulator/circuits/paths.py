"""The paths of a network: which edges exist, how many paths they make, and the weight on every edge.

A path i = (i_0, ..., i_L) takes one neuron from every layer of neurons: i_0 from the raveled input, before any input
pool, i_l from the raveled z_l of layer l, before its pools, and i_L = 0. A pool opens no choice on the way up: a neuron
belongs to one window, or to none where a ragged edge was dropped, and then no path leads through it.

Rows, columns and channels of a path are independent walks, because the edge (y, x, a) → (y', x', b) of a convolution
exists exactly where |p(y) - y'| ≤ k//2 and |p(x) - x'| ≤ k//2, p the pooled position, and a dense layer joins
everything to everything. So counts, in exact integers, are products of three counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import HostArray
from simulator.enumeration.gates import EnumerationError
from simulator.network.layers import Layer, Shape, window_of
from simulator.network.network import Network

MAX_PATH_ENTRIES = 1 << 27  # neuron indices of enumerated paths: 1 GB
AXES = (0, 1)  # rows, columns


@dataclass(frozen=True)
class Stage:
    """The neurons of one layer before pools: ``shape`` (H, W, C), (1, 1, n) if dense, and the pools' ``window``."""

    shape: Shape
    window: int

    @property
    def pooled(self) -> tuple[int, int]:
        """Rows and columns behind the pools."""
        return self.shape[0] // self.window, self.shape[1] // self.window

    def places(self, index: HostArray) -> tuple[HostArray, HostArray, HostArray]:
        """(row, column, channel) of flat neuron indices."""
        site = index // self.shape[2]
        row = site // self.shape[1]
        return row, site - row * self.shape[1], index - site * self.shape[2]

    def flat(self, row: HostArray, column: HostArray, channel: HostArray) -> HostArray:
        """The inverse of `places`."""
        index: HostArray = (row * self.shape[1] + column) * self.shape[2] + channel
        return index


def stages(network: Network) -> list[Stage]:
    """The L+1 layers of neurons that a path meets."""
    shapes = [(network.input_shape, window_of(network.input_pools))]
    shapes += [(layer.gate_shape, layer.window) for layer in network.layers]
    return [Stage(shape if len(shape) == 3 else (1, 1, *shape), window) for shape, window in shapes]


@dataclass(frozen=True)
class AxisStep:
    """One layer on one image axis: from position y a path goes to ``first[y] + j``, j = 0, 1, ...

    ``counts[y][j]`` is the exact number of walks along this axis from there to the output, 0 where no edge exists.
    """

    first: HostArray
    counts: list[list[int]]


@dataclass(frozen=True)
class AxisWalk:
    """All walks along one axis: ``start[y]`` counts those from input position y; one step per weight layer."""

    start: list[int]
    steps: list[AxisStep]


def axis_walk(network: Network, axis: int) -> AxisWalk:
    """The walks along the rows (axis 0) or the columns (axis 1), counted from the output down."""
    levels, counts = stages(network), [1]
    steps: list[AxisStep] = []
    for index in range(network.depth - 1, -1, -1):
        step = _axis_step(network.layers[index], levels[index], counts, axis)
        steps.insert(0, step)
        counts = [sum(row) for row in step.counts]
    return AxisWalk(counts, steps)


def _axis_step(layer: Layer, below: Stage, above: list[int], axis: int) -> AxisStep:
    pooled = np.arange(below.shape[axis]) // below.window
    reach = layer.weight_shape[0] // 2 if layer.convolutional else 0
    first = pooled - reach if layer.convolutional else np.zeros_like(pooled)
    counts = [
        [above[t] if p < below.pooled[axis] and 0 <= t < len(above) else 0 for t in range(low, low + 2 * reach + 1)]
        for p, low in zip(pooled.tolist(), first.tolist(), strict=True)
    ]
    return AxisStep(first, counts)


def count_paths(network: Network) -> int:
    """The number of paths from input to output, exactly: Π n_l for a multilayer perceptron.

    In convolutional networks only edges that exist count: none leave the image, none leave a neuron that a ragged
    pooling edge drops.
    """
    walks = math.prod(sum(axis_walk(network, axis).start) for axis in AXES)
    return walks * math.prod(stage.shape[2] for stage in stages(network))


def check_paths(network: Network, paths: Any) -> HostArray:
    """Paths as an int64 array (n_paths, L+1) of flat neuron indices, every one within its layer."""
    route = np.asarray(paths)
    if route.ndim != 2 or route.shape[1] != network.depth + 1 or route.dtype.kind not in "iu":
        raise ValueError(
            f"paths ({route.dtype}, {route.shape}) are not usable: expected integers (n_paths, {network.depth + 1}), "
            "one neuron index per layer of neurons"
        )
    sizes = np.array([math.prod(stage.shape) for stage in stages(network)])
    outside = (route < 0) | (route >= sizes)
    if outside.any():
        row, layer = np.argwhere(outside)[0]
        raise ValueError(
            f"path {route[row].tolist()} names neuron {route[row, layer]} of layer {layer}: "
            f"expected 0..{sizes[layer] - 1}"
        )
    return route.astype(np.int64, copy=False)


def path_weights(network: Network, paths: Any) -> HostArray:
    """The weight on every edge of given paths: its index in the layer's raveled weights, (n_paths, L) of int64.

    `paths` (n_paths, L+1) holds flat neuron indices. Paths that cross different edges with one convolution weight get
    the same index. Raises `ValueError` for a path with an edge that does not exist.
    """
    route, levels = check_paths(network, paths), stages(network)
    edges = np.empty((len(route), network.depth), dtype=np.int64)
    below = levels[0].places(route[:, 0])
    for index, layer in enumerate(network.layers):
        above = levels[index + 1].places(route[:, index + 1])
        edges[:, index], exists = _edge_weights(layer, levels[index], below, above)
        if not exists.all():
            raise ValueError(
                f"path {route[np.argmin(exists)].tolist()} has no edge in layer {index + 1}: expected edges within the "
                "kernel and the pooled image, as in the paths of sample_paths"
            )
        below = above
    return edges


def _edge_weights(
    layer: Layer, stage: Stage, below: Sequence[HostArray], above: Sequence[HostArray]
) -> tuple[HostArray, HostArray]:
    """(index of the weight, does the edge exist) from the places of its two neurons."""
    row, column = below[0] // stage.window, below[1] // stage.window
    exists = (row < stage.pooled[0]) & (column < stage.pooled[1])
    sides = stage.pooled[1]
    if layer.convolutional:
        sides = layer.weight_shape[0]
        row, column = row - above[0] + sides // 2, column - above[1] + sides // 2  # z[p] takes x[p + o] w[o]
        exists &= (row >= 0) & (row < sides) & (column >= 0) & (column < sides)
    return ((row * sides + column) * stage.shape[2] + below[2]) * layer.weight_shape[-1] + above[2], exists


def enumerate_paths(network: Network) -> HostArray:
    """All paths, (n_paths, L+1) flat neuron indices in lexicographic order: every index tuple of a dense network.

    Raises `EnumerationError` where they would fill more than `MAX_PATH_ENTRIES`.
    """
    count = count_paths(network)
    if count * (network.depth + 1) > MAX_PATH_ENTRIES:
        raise EnumerationError(
            f"this network has {count} paths, {network.depth + 1} neurons each, and the limit is {MAX_PATH_ENTRIES} "
            "indices: use sample_circuits, or a smaller network"
        )
    levels = stages(network)
    walks = [axis_walk(network, axis) for axis in AXES]
    paths = np.arange(math.prod(levels[0].shape), dtype=np.int64)[:, None]
    for index in range(network.depth):
        source, target = _edges(levels[index], levels[index + 1], [walk.steps[index] for walk in walks])
        paths = _extend(paths, source, target)
    return paths


def _edges(below: Stage, above: Stage, steps: Sequence[AxisStep]) -> tuple[HostArray, HostArray]:
    """(source, target) neurons of all edges of one layer that lead on to the output, in lexicographic order."""
    rows, columns = ([part[..., None, None] for part in _axis_edges(step)] for step in steps)
    a, b = np.arange(below.shape[2])[:, None], np.arange(above.shape[2])
    pairs = [(rows[0][:, None], columns[0], a), (rows[1][:, None], columns[1], b)]
    source, target = (stage.flat(*place) for stage, place in zip((below, above), pairs, strict=True))
    source, target = (part.reshape(-1) for part in np.broadcast_arrays(source, target))
    order = np.lexsort((target, source))
    return source[order], target[order]


def _axis_edges(step: AxisStep) -> tuple[HostArray, HostArray]:
    found = [(y, j) for y, row in enumerate(step.counts) for j, count in enumerate(row) if count]
    source, offset = np.array(found, dtype=np.int64).T
    return source, step.first[source] + offset


def _extend(paths: HostArray, source: HostArray, target: HostArray) -> HostArray:
    """Every path followed by each edge from its end; paths without one disappear, and the order is kept."""
    first = np.searchsorted(source, paths[:, -1], side="left")
    branches = np.searchsorted(source, paths[:, -1], side="right") - first
    parent = np.repeat(np.arange(len(paths)), branches)
    branch = np.arange(len(parent)) - np.repeat(np.cumsum(branches) - branches, branches)
    return np.column_stack([paths[parent], target[first[parent] + branch]])
