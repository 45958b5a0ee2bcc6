"""A search for gates more probable than those of forward propagation, given the input and the label.

It starts at the ReLU gates and climbs log µ(y, d|x): flips of many decisions at once, those that the slopes promise
most of, taken where the exact value rises and halved where it does not, down to single ones. A promise is an upper
bound of what the decisions of one stage can gain (F5). Where none is left, no other decisions of one layer, or one
pool, are more probable. In networks with few gates each single flip is then followed by all gates above it, which
forward propagation decides anew. What is found is a lower bound of the maximum: a search shows that the ReLU gates are
*not* the most probable ones, and never that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import check_temperature
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.laws import Choices
from simulator.passes.risk import batches
from simulator.shown import shown

from .moves import followed, moved, promises
from .walk import Walk, given, likeliest, log_joint, walk

FEW, PATIENCE = 2048, 30  # single moves in a row that a climb may try in vain: all of so few sites, else so many
ROWS = 1 << 14  # passes of flips that are followed, at a time
LEAST = 1e-9  # of |log µ|, what a rise must exceed: rounding of a sum of many logarithms


@shown
@dataclass(frozen=True)
class GateSearch:
    """For every example (m,): ``relu`` = log µ(y, h|x) at the ReLU gates, ``found`` the largest value that was found,
    ``flips`` the decisions in which the two differ. ``climbed``: whether no flip of a single gate raises what was
    found, nor the most promising other site of a window; elsewhere the search gave up, or `most_steps` were used up.
    """

    relu: HostArray
    found: HostArray
    flips: HostArray
    climbed: HostArray

    @property
    def refuted(self) -> HostArray:
        """Where the ReLU gates are not the most probable ones, beyond rounding, (m,) of bool."""
        beyond: HostArray = self.found > self.relu + LEAST * np.abs(self.relu)
        return beyond


def search_gates(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    temperature: float,
    most_steps: int = 200,
    backend: str | Backend | None = None,
) -> GateSearch:
    """Climb from the ReLU gates to more probable ones given (x, y), at a temperature > 0.

    Every value is exact: log µ(y, h|x) = Σ_l log µ_l(h_l|h_<l, x) + log σ(y T(x, h)), pools that choose included (F4).
    In networks of at most 2,048 gates and sites of pools every single move that has a promise is tried, and every flip
    of a gate that the gates above follow.

    >>> import numpy as np
    >>> from simulator import mlp, search_gates
    >>> weights = [np.array([[0.1]]), np.array([[-30.0]])]
    >>> search = search_gates(mlp([1, 1, 1]), weights, [[1.0]], [1.0], 1.0, backend="numpy")
    >>> search.refuted.tolist(), search.flips.tolist()
    ([True], [1])
    """
    ops = get_backend(backend)
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves one configuration, the ReLU gates: use a temperature > 0")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    labels, most = check_labels(y, x.shape[0]), check_count(most_steps, "most_steps")
    parts = []
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            climb = _Climb(network, w, ops.asarray(x[part]), ops.asarray(labels[part]), temperature, ops)
            parts.append(climb.run(most))
    relu, found, flips, climbed = (np.concatenate(column) for column in zip(*parts, strict=True))
    return GateSearch(relu, found, flips, climbed)


class _Climb:
    """The search of one batch: ``decisions`` and ``gains`` of every stage on the device, ``value`` log µ(y, d|x)."""

    def __init__(self, network: Network, w: list[Array], x: Array, y: Array, temperature: float, ops: Backend) -> None:
        self._network, self._w, self._x, self._y = network, w, x, y
        self._temperature, self._ops = temperature, ops
        passed = walk(network, w, x, ops, likeliest(ops))
        self._laws, self._relu = passed.laws, passed.decisions
        self.decisions, self.value = list(passed.decisions), self._values(passed, y)
        self.gains = self._promised(passed)
        self._start = self.value.copy()

    def run(self, most: int) -> tuple[HostArray, ...]:
        """(relu, found, flips, climbed), (m,) each."""
        climbed = self._climb(most) if self._laws else np.ones(self.value.size, dtype=bool)
        if any(sizes := self._gates()) and sum(sizes) <= FEW:
            climbed = self._follow(most, climbed)
        pairs = zip(self._relu, self.decisions, strict=True)
        differ = [(self._host(a) != self._host(b)).sum(axis=1) for a, b in pairs]
        flips = sum(n // 2 if isinstance(law, Choices) else n for law, n in zip(self._laws, differ, strict=True))
        return self._start, self.value, np.zeros(self.value.size, dtype=np.int64) + flips, climbed

    def _values(self, passed: Walk, y: Array) -> HostArray:
        return self._ops.to_numpy(log_joint(self._ops, passed, y, self._temperature))

    def _host(self, array: Array) -> HostArray:
        """(m, numbers of a stage)."""
        return self._ops.to_numpy(array).reshape(array.shape[0], -1)

    def _promised(self, passed: Walk) -> list[Array]:
        return promises(self._network, self._w, self._ops, passed, self._y, self._temperature)

    def _ordered(self) -> HostArray:
        """The gains above 0 of every example, largest first, (m, sites); 0 behind them."""
        flat = np.concatenate([self._host(gain) for gain in self.gains], axis=1)
        descending: HostArray = -np.sort(-np.maximum(flat, 0.0), axis=1)
        return descending

    def _climb(self, most: int) -> HostArray:
        """The best n moves at once, n doubled where that raises the value and halved where not.

        Where the best single move fails the next ones are tried. (m,): where all of them failed, or none was left.
        """
        rows = np.arange(self.value.size)
        ordered = self._ordered()
        promising, last = (ordered > 0).sum(axis=1), ordered.shape[1] - 1
        patience = FEW if ordered.shape[1] <= FEW else PATIENCE
        first, count = np.zeros_like(promising), promising.copy()  # the moves that are tried, by their order
        for _ in range(most):
            live = (count > 0) & (first < np.minimum(promising, patience))
            if not live.any():
                break
            highest = ordered[rows, np.minimum(first, last)]
            trial = self._moved(np.where(live, ordered[rows, np.minimum(first + count - 1, last)], np.inf), highest)
            passed = walk(self._network, self._w, self._x, self._ops, given(trial))
            value = self._values(passed, self._y)
            better = value > self.value + LEAST * np.abs(self.value)
            if better.any():
                self._accept(better, trial, value, self._promised(passed))
                ordered = self._ordered()
                promising = (ordered > 0).sum(axis=1)
            first = np.where(better, 0, first + (live & (count == 1)))
            count = np.where(better, np.minimum(2 * count, promising), np.maximum(count // 2, 1))
        return np.asarray(first >= promising)

    def _moved(self, least: HostArray, most: HostArray) -> list[Array]:
        """The decisions after all moves that promise something between these bounds, (m,)."""
        found, xp = [], self._ops.xp
        for law, d, gain in zip(self._laws, self.decisions, self.gains, strict=True):
            low, high = (self._ops.asarray(a.reshape(-1, *[1] * (d.ndim - 1))) for a in (least, most))
            within = xp.logical_and(gain >= low, gain <= high)
            found.append(moved(self._ops, law, d, xp.logical_and(within, gain > 0)))
        return found

    def _follow(self, most: int, climbed: HostArray) -> HostArray:
        """Flips that the gates above follow, and climbs from there, until none raises the value; (m,), who ended."""
        live = np.ones(self.value.size, dtype=bool)
        for _ in range(most):
            rows = np.flatnonzero(live)
            best, value = self._best_followed(rows)
            better = value > self.value[rows] + LEAST * np.abs(self.value[rows])
            live[rows[~better]] = False
            if not better.any():
                break
            place = np.arange(self.value.size)
            place[rows[better]] = place.size + np.flatnonzero(better)
            both = zip(self.decisions, best, strict=True)
            self.decisions = [self._joined(own, new, place) for own, new in both]
            passed = walk(self._network, self._w, self._x, self._ops, given(self.decisions))
            self.value, self.gains = self._values(passed, self._y), self._promised(passed)
            climbed = self._climb(most)
        return climbed & ~live

    def _joined(self, own: Array, new: Array, place: HostArray) -> Array:
        """The rows `place` of two arrays, one behind the other."""
        xp = self._ops.xp
        return xp.take(xp.concat([own, new]), self._ops.asarray(place, "int64"), axis=0)

    def _best_followed(self, rows: HostArray) -> tuple[list[Array], HostArray]:
        """(the best decisions after one flip that the gates above follow, their values) of some examples."""
        xp, ops = self._ops.xp, self._ops
        sizes = self._gates()
        total = sum(sizes)
        origin = np.repeat(np.arange(len(sizes)), sizes)  # the stage of every flip
        flips = [np.eye(total, dtype=bool)[:, origin == stage] for stage in range(len(sizes))]
        found: list[list[Array]] = [[] for _ in sizes]
        values = []
        for part in batches(rows.size, max(1, ROWS // max(total, 1))):
            count = rows[part].size
            index = ops.asarray(np.repeat(rows[part], total), "int64")
            x, y, *trial = (xp.take(a, index, axis=0) for a in (self._x, self._y, *self.decisions))
            for stage, n in enumerate(sizes):
                if n:
                    flip = ops.asarray(np.tile(flips[stage], (count, 1)).reshape(trial[stage].shape), "bool")
                    trial[stage] = xp.logical_xor(trial[stage], flip)
            passed = walk(self._network, self._w, x, ops, followed(ops, trial, np.tile(origin, count)))
            value = self._values(passed, y).reshape(count, total)
            at = ops.asarray(value.argmax(axis=1) + total * np.arange(count), "int64")
            values.append(value.max(axis=1))
            for stage, d in enumerate(passed.decisions):
                found[stage].append(xp.take(d, at, axis=0))
        return [xp.concat(stage) for stage in found], np.concatenate(values)

    def _gates(self) -> list[int]:
        """The number of gates of every stage."""
        pairs = zip(self._laws, self.decisions, strict=True)
        return [0 if isinstance(law, Choices) else int(np.prod(d.shape[1:])) for law, d in pairs]

    def _accept(self, rows: HostArray, decisions: list[Array], value: HostArray, gains: list[Array]) -> None:
        """Take over the state of these rows (m,) of bool."""
        self.value = np.where(rows, value, self.value)
        for own, new in ((self.decisions, decisions), (self.gains, gains)):
            for stage, (old, fresh) in enumerate(zip(own, new, strict=True)):
                chosen = self._ops.asarray(rows.reshape(-1, *[1] * (old.ndim - 1)), "bool")
                own[stage] = self._ops.xp.where(chosen, fresh, old)
