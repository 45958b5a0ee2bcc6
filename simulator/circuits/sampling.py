"""Circuits at paths drawn uniformly from all that exist, for networks with too many to enumerate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_weights
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .paths import AXES, AxisWalk, axis_walk, count_paths, stages
from .values import check_order, circuit_values


@shown
@dataclass(frozen=True)
class SampledCircuits:
    """n circuits at independent uniform paths and uniform examples, host arrays.

    ``values`` holds x_{i_0} δ^kΨ_i: (n,) at order 0, (n, L) at order 1, (n, L(L-1)/2) at order 2, the slices of
    `Circuits`. ``paths`` (n, L+1): flat neuron indices; ``examples`` (n,): rows of x. ``order``: k.
    ``n_paths``: the number of all paths, exactly.
    """

    values: HostArray
    paths: HostArray
    examples: HostArray
    order: int
    n_paths: int


@shown
@dataclass(frozen=True)
class AssemblyEstimate:
    """An estimate ``value`` with its ``standard_error``: scalars at order 0, else one entry per slice."""

    value: HostArray
    standard_error: HostArray


def sample_paths(network: Network, n: int, seed: Seed = 0) -> HostArray:
    """n independent paths, each uniform over all paths of the network, (n, L+1) flat neuron indices.

    Rows, columns and channels are independent walks. From the input up, a walk takes each step with probability
    (walks from there to the output) / (walks from here to the output), so that every path has the same product
    1/count. The counts are exact integers; only their ratios are rounded, to 2^-53.
    """
    n, levels = check_count(n, "n"), stages(network)
    rng = Streams(seed)("paths")
    walks = [_positions(axis_walk(network, axis), n, rng) for axis in AXES]
    paths = np.empty((n, network.depth + 1), dtype=np.int64)
    for index, stage in enumerate(levels):
        row, column = (next(walk) for walk in walks)
        paths[:, index] = stage.flat(row, column, rng.integers(0, stage.shape[2], n))
    return paths


def _positions(walk: AxisWalk, n: int, rng: np.random.Generator) -> Iterator[HostArray]:
    """The positions of n walks along one axis in the input, then behind every weight layer."""
    position = _choose(_cumulative([walk.start]), np.zeros(n, dtype=np.int64), rng)
    yield position
    for step in walk.steps:
        position = step.first[position] + _choose(_cumulative(step.counts), position, rng)
        yield position


def _cumulative(counts: Sequence[Sequence[int]]) -> HostArray:
    """Cumulative probabilities of every row of counts; integers divide to the nearest double, however large."""
    sums = [list(itertools.accumulate(row)) for row in counts]
    return np.array([[part / (row[-1] or 1) for part in row] for row in sums])


def _choose(cumulative: HostArray, row: HostArray, rng: np.random.Generator) -> HostArray:
    """One option per draw, by inversion of its row's cumulative law; an option of probability 0 is never taken."""
    option = np.zeros(len(row), dtype=np.int64)
    if cumulative.shape[1] == 1:
        return option
    u = rng.random(len(row))
    if len(cumulative) == 1:
        return np.searchsorted(cumulative[0], u, side="right")
    for bound in cumulative[:, :-1].T:
        option += u >= bound[row]
    return option


def sample_circuits(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    n: int,
    order: int = 0,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> SampledCircuits:
    """n circuits (11): paths uniform over all paths, examples uniform over the rows of x, with replacement.

    Drawn on the host, so that every backend meets the same circuits. A batch of examples and a chunk of circuits are
    on the device at a time.
    """
    ops, order, n = get_backend(backend), check_order(order), check_count(n, "n")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    streams = Streams(seed)
    examples = streams("circuit examples").integers(0, x.shape[0], n)
    paths = sample_paths(network, n, streams("circuit paths"))
    values = circuit_values(network, w, x, paths, examples, order, ops)
    return SampledCircuits(values, paths, examples, order, count_paths(network))


def estimate_assemblies(sample: SampledCircuits) -> AssemblyEstimate:
    """Unbiased estimates of sums over all circuits, averaged over the examples: (number of paths) · (mean value).

    Order 0: of the mean of T (10). Order 1, per layer l: of the mean of Σ_w ∂T/∂w over the layer's weights (16).
    Order 2, per pair l < l': of the mean of Σ_{w,w'} ∂²T/∂w∂w' over the block (18). A few circuits may carry most of
    a sum: a standard error from a sample that missed them is too small.
    """
    n = len(sample.values)
    if n < 2:
        raise ValueError(f"{n} circuit has no standard error: sample at least 2")
    values, scale = sample.values.astype(np.float64), float(sample.n_paths)
    error = np.std(values, axis=0, ddof=1) / math.sqrt(n)
    return AssemblyEstimate(scale * np.mean(values, axis=0), scale * error)
