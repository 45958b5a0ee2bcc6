"""Theorems S1-S3, M1-M4 against finite exact ensembles: in each, every case that the hypotheses admit is measured.

All 2^k sign patterns are visited explicitly, by another route than the counts of `SignEnsemble`, so each expectation is
exact and a theorem must hold to rounding: a violation is a bug or a counter-example. The bounds under test come in as
functions, so that a wrong one can be put in their place to show that the check would find it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.integrate import quad
from scipy.special import erf

import theory
from backends import Backend, get_backend
from simulator import Network, SignEnsemble, enumerate_paths, enumerate_signs
from simulator.enumeration.sign_passes import PatternSignals, pattern_gradients, pattern_hessian

Array = np.ndarray[Any, Any]
Label = Callable[[int], str]
TOLERANCE = 1e-12


@dataclass(frozen=True)
class TheoremCheck:
    """One theorem in one ensemble, or in several merged by `merge_checks`.

    ``cases`` that the hypotheses admitted; ``ratio``: the largest measured/bound, or measured/expected of an equality
    (0 where both are 0); ``violation``: how far the worst case leaves the theorem, relative to the scale of its
    terms; ``where``: that case, or the tightest one where none leaves it; ``holds``: violation ≤ 1e-12.
    """

    theorem: str
    cases: int = 0
    ratio: float = 0.0
    violation: float = 0.0
    where: str = "-"

    @property
    def holds(self) -> bool:
        return self.violation <= TOLERANCE


@dataclass(frozen=True)
class Bounds:
    """The right-hand sides under test; the functions of `theory` with their signatures."""

    coupling: Callable[..., Any] = theory.coupling_bound
    path_flip: Callable[..., Any] = theory.path_flip_bound
    second_moment: Callable[..., Any] = theory.second_moment
    positive_part: Callable[..., Any] = theory.positive_part_bound
    shifted_second_moment: Callable[..., Any] = theory.shifted_second_moment_bound
    mean_output: Callable[..., Any] = theory.mean_output_bound


def merge_checks(first: TheoremCheck, second: TheoremCheck) -> TheoremCheck:
    """Both checks of one theorem as one: cases add up, the worst case stays, or the tightest if none is violated."""
    if first.theorem != second.theorem:
        raise ValueError(f"checks of {first.theorem} and of {second.theorem} are not one: merge one theorem at a time")

    def rank(check: TheoremCheck) -> tuple[bool, float, bool]:
        return not check.holds, check.ratio if check.holds else check.violation, check.cases > 0

    return TheoremCheck(
        first.theorem, first.cases + second.cases, max(first.ratio, second.ratio),
        max(first.violation, second.violation), max(first, second, key=rank).where,
    )  # fmt: skip


def _judge(check: TheoremCheck, measured: Any, bound: Any, scale: Any, equality: bool, label: Label) -> TheoremCheck:
    """`check` with further cases: measured ≤ bound, or = bound; `scale` ≥ 0 is the size of the terms compared."""
    sides = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (measured, bound, scale)))
    value, limit, size = (side.reshape(-1) for side in sides)
    if value.size == 0:
        return check
    excess = np.abs(value - limit) if equality else np.maximum(value - limit, 0.0)
    safe = np.where(size > 0, size, 1.0)
    violation = np.where(excess == 0, 0.0, np.where(size > 0, excess / safe, np.inf))
    vanishes = np.abs(value) <= TOLERANCE * size  # rounding left of a sum that is 0
    ratio = np.where(vanishes, 0.0, np.where(limit > 0, value / np.where(limit > 0, limit, 1.0), np.inf))
    worst = int(np.argmax(violation if violation.max() > TOLERANCE else ratio))
    found = TheoremCheck(check.theorem, value.size, float(ratio.max()), float(violation.max()), label(worst))
    return merge_checks(check, found)


def check_ensemble(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    intact: Any = None,
    backend: str | Backend | None = None,
    bounds: Bounds | None = None,
) -> dict[str, TheoremCheck]:
    """S1, S2, M1, M2, M3, M4 in the ensemble of all signs of the intact weights (k ≤ 16): see `enumerate_signs`.

    A theorem whose hypotheses no case meets has 0 cases and holds.
    """
    ops = get_backend(backend)
    if ops.dtype != "float64":
        raise ValueError(f"dtype {ops.dtype} cannot tell a theorem's violation from rounding: use float64")
    states = _States(enumerate_signs(network, weights, x, intact, ops))
    limits = Bounds() if bounds is None else bounds
    return {
        "S1": _mirror(states),
        "S2": _coupling(states, limits),
        "M1": _second_moments(states, limits),
        "M2": _positive_parts(states, limits),
        "M3": _shifted(states, limits),
        "M4": _mean_output(states, limits),
    }


@dataclass(frozen=True)
class _States:
    """Every pattern of an ensemble, spelled out on the host."""

    ensemble: SignEnsemble

    @cached_property
    def paths(self) -> Array:
        """All paths, (n_paths, L+1)."""
        return enumerate_paths(self.ensemble.network)

    @cached_property
    def device_signals(self) -> PatternSignals:
        return self.ensemble.signals()

    @property
    def depth(self) -> int:
        return self.ensemble.network.depth

    def host(self, array: Any) -> Array:
        return self.ensemble.backend.to_numpy(array).astype(np.float64)

    @cached_property
    def inputs(self) -> list[Array]:
        """x_0..x_{L-1}, (n_l, 2^k): means run along contiguous rows, where summation is pairwise."""
        return [np.ascontiguousarray(self.host(x).T) for x in self.device_signals.inputs]

    @cached_property
    def fields(self) -> list[Array]:
        """z_1..z_{L-1}, (n_l, 2^k)."""
        return [np.ascontiguousarray(self.host(z).T) for z in self.device_signals.fields]

    @cached_property
    def output(self) -> Array:
        return self.host(self.device_signals.output)

    @cached_property
    def weights(self) -> list[Array]:
        """Magnitudes of intact weights, values of broken ones, as matrices."""
        return self.ensemble.network.unflatten(self.ensemble.magnitudes)

    @cached_property
    def intact(self) -> list[Array]:
        return self.ensemble.network.unflatten(self.ensemble.intact)

    @cached_property
    def route(self) -> Array:
        """Flat weight indices of all paths, (n_paths, L)."""
        return self.ensemble.path_weights(self.paths)

    @cached_property
    def path_gates(self) -> Array:
        """The gates of all paths, (n_paths, 2^k, L-1) bool."""
        on = [z[self.paths[:, i + 1]] > 0 for i, z in enumerate(self.fields)]
        return np.stack(on, axis=2) if on else np.ones((len(self.paths), self.output.size, 0), dtype=bool)

    @cached_property
    def circuits(self) -> Array:
        """sgn Ψ of all paths, (n_paths, 2^k): |Ψ| is fixed, so the law of the sign is the law of Ψ."""
        patterns, bits = np.arange(self.output.size), self.ensemble.sign_bits
        negative = (patterns[:, None] >> np.maximum(bits, 0)) & (bits >= 0)
        signs = np.where(negative, -1, 1) * np.sign(self.ensemble.magnitudes).astype(np.int64)
        product = np.ones((len(self.paths), patterns.size), dtype=np.int8)
        for column in self.route.T:
            product *= signs.T[column].astype(np.int8)
        result: Array = product * np.all(self.path_gates, axis=2)
        return result

    def name(self, path: int, layer: int | None = None) -> str:
        where = f"path {tuple(int(i) for i in self.paths[path])}"
        return where if layer is None else f"{where}, weight of layer {layer + 1} negated"


def _mirror(states: _States) -> TheoremCheck:
    """S1: exact symmetry of circuits with an intact last weight; of (T, ∇T, ∇²T) below layer L if W_L is intact."""
    chosen = np.flatnonzero(states.ensemble.intact[states.route[:, -1]])
    distance = np.abs(np.mean(states.circuits[chosen], axis=1))
    check = _judge(TheoremCheck("S1"), distance, 0.0, 1.0, True, lambda i: states.name(chosen[i]))
    if not states.intact[-1].all():
        return check
    ops, below = states.ensemble.backend, states.depth - 1
    parts = [states.device_signals.output, *pattern_gradients(states.device_signals, ops)[:-1]]
    pairs = [(low, high) for high in range(below) for low in range(high)]
    parts += [pattern_hessian(states.device_signals, pair, ops) for pair in pairs]
    joint = np.concatenate([states.host(p).reshape(states.output.size, -1) for p in parts], axis=1)
    return _judge(check, theory.mirror_distance(joint), 0.0, 1.0, True, lambda _: "joint law of T, ∇T and ∇²T below L")


def _coupling(states: _States, bounds: Bounds) -> TheoremCheck:
    """S2 for every circuit and every intact weight of it below layer L, hence also for its best one."""
    check, distance = TheoremCheck("S2"), np.abs(np.mean(states.circuits, axis=1))
    patterns = np.arange(states.output.size)
    for layer in range(states.depth - 1):
        bits = states.ensemble.sign_bits[states.route[:, layer]]
        chosen = np.flatnonzero(bits >= 0)
        if chosen.size == 0:
            continue
        mirrored = patterns ^ (1 << bits[chosen])[:, None]
        psi, gates = states.circuits[chosen], states.path_gates[chosen, :, layer:]
        negated = np.take_along_axis(psi, mirrored, axis=1)
        flipped = np.take_along_axis(gates, mirrored[:, :, None], axis=1)
        first, second = bounds.coupling(psi, negated), bounds.path_flip(gates, flipped)

        def label(i: int, chosen: Array = chosen, layer: int = layer) -> str:
            return states.name(chosen[i], layer)

        check = _judge(check, distance[chosen], first, 1.0, False, label)
        check = _judge(check, first, second, 1.0, False, label)
    return check


def _second_moments(states: _States, bounds: Bounds) -> TheoremCheck:
    """M1: layer by layer where its weights are intact and equal, and through all layers where all are."""
    powers = [float(np.mean(np.sum(x**2, axis=0))) for x in states.inputs] + [float(np.mean(states.output**2))]
    variances = [float(w.flat[0] ** 2) for w in states.weights]
    fits = [
        bool(chosen.all() and np.all(np.abs(w) == np.abs(w.flat[0])))
        for w, chosen in zip(states.weights, states.intact, strict=True)
    ]
    check, widths = TheoremCheck("M1"), states.ensemble.widths
    for layer in map(int, np.flatnonzero(fits)):

        def label(_: int, layer: int = layer) -> str:
            return f"layer {layer + 1}"

        above = [] if layer == states.depth - 1 else [1]  # any layer may stand above: the moment comes before it
        sizes, variance = [widths[layer + 1], *above], [variances[layer], *above]
        expected = bounds.second_moment(sizes, variance, [np.sqrt(powers[layer])])[0]
        check = _judge(check, powers[layer + 1], expected, expected, True, label)
    if all(fits):
        expected = bounds.second_moment(widths, variances, states.ensemble.x)
        check = _judge(check, powers[1:], expected, expected, True, lambda i: f"layers 1 to {i + 1}")
    return check


def _positive_parts(states: _States, bounds: Bounds) -> TheoremCheck:
    """M2 for every neuron all of whose incoming weights are intact."""
    check = TheoremCheck("M2")
    for layer, z in enumerate(states.fields):
        chosen = np.flatnonzero(states.intact[layer].all(axis=0))
        if chosen.size == 0:
            continue

        def label(i: int, chosen: Array = chosen, layer: int = layer) -> str:
            return f"neuron {chosen[i]} of layer {layer + 1}"

        mean, half, bound = bounds.positive_part(z[chosen])
        check = _judge(check, mean, half, half, True, label)
        check = _judge(check, half, bound, half, False, label)
    return check


def _shifted(states: _States, bounds: Bounds) -> TheoremCheck:
    """M3 for every neuron: z_s the part of its intact weights, β that of its broken ones."""
    check = TheoremCheck("M3")
    for layer, z in enumerate(states.fields):
        beta = np.where(states.intact[layer], 0.0, states.weights[layer]).T @ states.inputs[layer]
        measured, bound = bounds.shifted_second_moment(z - beta, beta)

        def label(i: int, layer: int = layer) -> str:
            return f"neuron {i} of layer {layer + 1}"

        check = _judge(check, measured, bound, np.maximum(measured, bound), False, label)
    return check


def _mean_output(states: _States, bounds: Bounds) -> TheoremCheck:
    """M4: the mean output from the means of W_L and x_{L-1}; its bound where the fields that matter are symmetric."""
    check = TheoremCheck("M4")
    if states.depth == 1:
        return check
    magnitudes, chosen = states.weights[-1][:, 0], states.intact[-1][:, 0]
    mean_weights = np.where(chosen, 0.0, magnitudes)
    mean_signals, measured = np.mean(states.inputs[-1], axis=1), float(np.mean(states.output))
    scale = float(np.sum(np.abs(magnitudes) * mean_signals))
    exact = theory.mean_output(mean_weights, mean_signals)
    check = _judge(check, abs(measured - exact), 0.0, scale, True, lambda _: "E T")
    symmetric = states.intact[-2].all(axis=0)
    if np.all(symmetric | (mean_weights == 0.0)):
        bound = bounds.mean_output(mean_weights, np.mean(states.fields[-1] ** 2, axis=1))
        check = _judge(check, abs(measured), bound, scale, False, lambda _: "|E T|")
    return check


def check_gate_flips(x: Any) -> TheoremCheck:
    """S3 without sampling, for every component a of one signal x (n,).

    Given the weight, |w_a x_a| = g |x_a| with g the modulus of a standard Gaussian, the rest of z is Gaussian with
    deviation ||x_{\\a}||: the flip probability is ∫ 2φ(g) erf(g |x_a| / (√2 ||x_{\\a}||)) dg, here by quadrature.
    """
    signal = np.asarray(x, dtype=np.float64)
    index = np.arange(signal.size)
    closed = theory.gate_flip_probability(signal, index)
    measured = [_flip_integral(abs(signal[a]), float(np.linalg.norm(np.delete(signal, a)))) for a in index]
    return _judge(TheoremCheck("S3"), measured, closed, 1.0, True, lambda i: f"component {i}")


def _flip_integral(one: float, rest: float) -> float:
    if one == 0.0 or rest == 0.0:
        return float(one > 0.0)
    ratio = one / (np.sqrt(2.0) * rest)
    corner = 1.0 / ratio  # the error function turns here, and is 1 from 8 corners on

    def density(g: float) -> float:
        return float(np.sqrt(2.0 / np.pi) * np.exp(-0.5 * g * g) * erf(ratio * g))

    turns = {place for place in (corner, 2 * corner, 4 * corner, 8 * corner) if place < 10.0}
    ends = sorted({0.0, 1.0, 3.0, 10.0, 40.0} | turns)
    pieces = [quad(density, a, b, epsabs=1e-14, epsrel=1e-13)[0] for a, b in itertools.pairwise(ends)]
    return float(sum(pieces))
