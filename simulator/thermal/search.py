"""A search for gates more probable than those of forward propagation, given the input and the label.

It starts at the ReLU gates and climbs log µ(y, d|x): flips of many decisions at once, those that the slopes promise
most of, taken where the exact value rises and halved where it does not, down to single ones. A promise is an upper
bound of what the decisions of one stage can gain (F5). Where none is left, no other decisions of one layer, or one
pool, are more probable. What is found is a lower bound of the maximum: a search shows that the ReLU gates are *not* the
most probable ones, and never that they are.
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
from simulator.passes.risk import batches
from simulator.shown import shown

from .laws import Choices, Law
from .walk import Walk, given, likeliest, log_joint, slopes, walk

FEW, PATIENCE = 2048, 30  # single moves in a row that a climb may try in vain: all of so few sites, else so many
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


@shown
@dataclass(frozen=True)
class ReluGates:
    """The gates of forward propagation: ``log_joint`` log µ(y, h|x), (m,), and what they are a maximum of.

    ``stable`` (m,): whether (F5) shows that no other decisions of one layer, or of one pool, raise it.
    ``largest_rise`` is the most that another decision of one gate, or of one window, would raise the log-probability of
    its own stage given the stages below. It is never above 0: forward propagation maximises the law of every layer (7).
    """

    log_joint: HostArray
    stable: HostArray
    largest_rise: float


def relu_gates(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    temperature: float,
    backend: str | Backend | None = None,
) -> ReluGates:
    """log µ(y, h|x) at the ReLU gates: the evidence bound at a law that is certain of them (temperature > 0).

    >>> import numpy as np
    >>> from simulator import mlp, relu_gates
    >>> seen = relu_gates(mlp([1, 1, 1]), [np.array([[2.0]]), np.array([[0.0]])], [[1.0]], [1.0], 1.0)
    >>> bool(np.isclose(seen.log_joint[0], -np.log1p(np.exp(-2.0)) - np.log(2.0))), seen.largest_rise
    (True, -2.0)
    """
    ops = get_backend(backend)
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves one configuration, the ReLU gates: use a temperature > 0")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    labels, largest, values, stable = check_labels(y, x.shape[0]), -np.inf, [], []
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            passed, label = walk(network, w, ops.asarray(x[part]), ops, likeliest(ops)), ops.asarray(labels[part])
            values.append(ops.to_numpy(log_joint(ops, passed, label, temperature)))
            own = [promise(ops, law, f, d, ops.xp.full_like(f, 1 / temperature)) for law, f, d in passed.stages()]
            largest = max([largest, *(float(ops.xp.max(gain)) for gain in own)])
            most = [_most(ops, gain) for gain in promises(network, w, ops, passed, label, temperature)]
            stable.append(np.max(most, axis=0, initial=-np.inf) <= 0.0 if most else np.ones(label.shape[0], bool))
    return ReluGates(np.concatenate(values), np.concatenate(stable), largest)


def _most(ops: Backend, gain: Array) -> HostArray:
    """The largest number of every example, (m,)."""
    return ops.to_numpy(ops.xp.max(ops.xp.reshape(gain, (gain.shape[0], -1)), axis=1))


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
    In networks of at most 2,048 gates and sites of pools every single move that has a promise is tried.

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
        climbed = self._climb(most)
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

    def _accept(self, rows: HostArray, decisions: list[Array], value: HostArray, gains: list[Array]) -> None:
        """Take over the state of these rows (m,) of bool."""
        self.value = np.where(rows, value, self.value)
        for own, new in ((self.decisions, decisions), (self.gains, gains)):
            for stage, (old, fresh) in enumerate(zip(own, new, strict=True)):
                chosen = self._ops.asarray(rows.reshape(-1, *[1] * (old.ndim - 1)), "bool")
                own[stage] = self._ops.xp.where(chosen, fresh, old)


def promises(
    network: Network, weights: Sequence[Array], ops: Backend, passed: Walk, y: Array, temperature: float
) -> list[Array]:
    """`promise` of every site of every stage."""
    above = slopes(network, weights, ops, passed, y, temperature)
    stages = zip(passed.stages(), above, strict=True)
    return [promise(ops, law, f, d, 1 / temperature + slope) for (law, f, d), slope in stages]


def promise(ops: Backend, law: Law, f: Array, d: Array, worth: Array) -> Array:
    """What each move may raise log µ(y, d|x) by: a gate flips, a window chooses another site; -inf for no move.

    It is (1 - 2h) z · worth, and (x_new - x_now) · worth for a window, ``worth`` being 1/T plus the slope: the rise to
    first order, and an upper bound of it (F5). Of a window only the site that promises most is a move.
    """
    xp = ops.xp
    signs = 1 - 2 * xp.astype(d, f.dtype)
    if not isinstance(law, Choices):
        return signs * f * worth
    now = law.to_sites(ops, law.hand_on(ops, d, f), f)
    nothing = xp.full_like(f, -np.inf)
    gain = xp.where(d, nothing, (f - now) * worth)
    return xp.where(law.likeliest(ops, gain), gain, nothing)


def moved(ops: Backend, law: Law, d: Array, moves: Array) -> Array:
    """Decisions after moves: gates flip where `moves` is on, windows with a move choose that site."""
    if not isinstance(law, Choices):
        return ops.xp.logical_xor(d, moves)
    numbers = ops.xp.astype(moves, getattr(ops.xp, ops.dtype))
    window = law.to_sites(ops, ops.apply_gates(moves, numbers, law.size), numbers) > 0
    return ops.xp.where(window, moves, d)
