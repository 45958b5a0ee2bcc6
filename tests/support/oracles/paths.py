"""Circuits a second time, by a walk through the layers in plain Python: the oracle of paths, circuits and counts.

Written from the definitions alone, sharing nothing with the package: one neuron after another, one edge after another,
through the same list of steps that `oracles.network.Oracle` reads. Sites outside the image and ragged edges end a walk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.cases import Case

Array = np.ndarray[Any, Any]
Place = tuple[int, ...]


@dataclass(frozen=True)
class Walked:
    """All paths in the order of the walk: ``paths`` (n, L+1), ``edges`` (n, L) indices of weights in their raveled
    layers, and ``live`` (m, n) = x_{i_0} times all gates of the path."""

    paths: Array
    edges: Array
    live: Array
    weights: list[Array]

    def values(self, order: int) -> Array:
        """(m, n) at order 0, else (m, n, slices), by one product for every choice of removed layers."""
        depth = self.edges.shape[1]
        factors = [w.ravel()[self.edges[:, i]] for i, w in enumerate(self.weights)]
        slices = [
            self.live * np.prod([factors[i] for i in range(depth) if i not in removed] or [1.0], axis=0)
            for removed in itertools.combinations(range(depth), order)
        ]
        return (
            slices[0]
            if order == 0
            else np.stack(slices or [self.live[..., None][..., :0]], axis=-1).reshape(*self.live.shape, len(slices))
        )


def walk(case: Case) -> Walked:
    """Every path of a case with its edges and its gates at every example."""
    found = list(_Walker(case).paths())
    paths, edges, live = zip(*found, strict=True)
    return Walked(np.array(paths), np.array(edges), np.stack(live, axis=1), case.weights)


class _Walker:
    def __init__(self, case: Case) -> None:
        self.spec, self.x = case.spec, case.x
        self.before, self.gates, signal = [], [], case.x  # per step: sides below it, and its own 0/1 gates
        weights = iter(case.weights)
        for position, (kind, size, *_) in enumerate(case.spec):
            self.before.append(signal.shape[1:])
            if kind in POOLS:
                gate, signal = POOLS[kind](signal, size)
            else:
                z = _linear(signal, next(weights), kind)
                last = position == len(case.spec) - 1
                gate = np.ones(z.shape) if last else np.where(z > 0, 1.0, 0.0)
                signal = z * gate
            self.gates.append(gate)

    def paths(self) -> Iterator[tuple[list[int], list[int], Array]]:
        shape = self.x.shape[1:]
        for start, place in enumerate(itertools.product(*map(range, shape))):
            yield from self._from(0, place, [start], [], self.x[(slice(None), *place)])

    def _from(
        self, step: int, place: Place, path: list[int], edges: list[int], live: Array
    ) -> Iterator[tuple[list[int], list[int], Array]]:
        if step == len(self.spec):
            yield path, edges, live
            return
        kind, size, *_ = self.spec[step]
        gate, shape = self.gates[step], self.before[step]
        if kind in POOLS:
            y, x, channel = place
            if y // size < shape[0] // size and x // size < shape[1] // size:
                live = live * gate[(slice(None), *place)]
                yield from self._from(step + 1, (y // size, x // size, channel), path, edges, live)
            return
        for target in itertools.product(*map(range, gate.shape[1:])):
            edge = self._edge(step, place, target)
            if edge is not None:
                index = int(np.ravel_multi_index(target, gate.shape[1:]))
                on = live * gate[(slice(None), *target)]
                yield from self._from(step + 1, target, [*path, index], [*edges, edge], on)

    def _edge(self, step: int, place: Place, target: Place) -> int | None:
        """The index of the weight between two neurons, or None where the kernel does not reach."""
        (kind, size, *rest), shape = self.spec[step], self.before[step]
        if kind == "dense":
            return int(np.ravel_multi_index(place, shape)) * size + target[0]
        (k,) = rest
        tap = (place[0] - target[0] + k // 2, place[1] - target[1] + k // 2)
        if not (0 <= tap[0] < k and 0 <= tap[1] < k):
            return None
        return int(np.ravel_multi_index((*tap, place[2], target[2]), (k, k, shape[2], size)))


def _linear(signal: Array, w: Array, kind: str) -> Array:
    if kind == "dense":
        return signal.reshape(len(signal), -1) @ w
    m, height, width, _ = signal.shape
    k, z = w.shape[0], np.zeros((m, height, width, w.shape[3]))
    for y, x, i, j in itertools.product(range(height), range(width), range(k), range(k)):
        source = (y + i - k // 2, x + j - k // 2)
        if 0 <= source[0] < height and 0 <= source[1] < width:
            z[:, y, x] += signal[:, source[0], source[1]] @ w[i, j]
    return z


def _pool(signal: Array, size: int) -> tuple[Array, Array]:
    """(selection, pooled): the first maximum of every whole window, in row-major order."""
    m, height, width, channels = signal.shape
    selected = np.zeros(signal.shape)
    pooled = np.zeros((m, height // size, width // size, channels))
    for i, y, x, c in np.ndindex(pooled.shape):
        window = signal[i, y * size : (y + 1) * size, x * size : (x + 1) * size, c]
        row, column = divmod(int(np.argmax(window)), size)
        selected[i, y * size + row, x * size + column, c] = 1.0
        pooled[i, y, x, c] = window[row, column]
    return selected, pooled


def _average(signal: Array, size: int) -> tuple[Array, Array]:
    """(1/size² at every site of a whole window, means)."""
    m, height, width, channels = signal.shape
    share, pooled = np.zeros(signal.shape), np.zeros((m, height // size, width // size, channels))
    for i, y, x, c in np.ndindex(pooled.shape):
        window = (i, slice(y * size, (y + 1) * size), slice(x * size, (x + 1) * size), c)
        share[window], pooled[i, y, x, c] = 1 / size**2, signal[window].mean()
    return share, pooled


POOLS = {"pool": _pool, "avg": _average}


def count_from_below(case: Case) -> int:
    """The number of paths, pushed up from the input in exact integers: how many reach each site and channel."""
    reach = np.ones(case.input_shape, dtype=object)
    for kind, size, *rest in case.spec:
        if kind == "dense":
            reach = np.full(size, reach.sum(), dtype=object)
        elif kind in POOLS:
            height, width = reach.shape[0] // size, reach.shape[1] // size
            cropped = reach[: height * size, : width * size]
            reach = cropped.reshape(height, size, width, size, -1).sum(axis=(1, 3))
        else:
            sites, r = reach.sum(axis=2), rest[0] // 2
            near = [
                sites[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1].sum() for y, x in np.ndindex(sites.shape)
            ]
            reach = np.repeat(np.array(near, dtype=object).reshape(*sites.shape, 1), size, axis=2)
    return int(reach[0])
