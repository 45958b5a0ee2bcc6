"""S1-S3 and M1-M4 in random finite ensembles, summed over all sign patterns: the theorems must hold to rounding.

The same check, given a bound with a constant too small, must find a counter-example: proof that it can fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import theory
from backends import get_backend
from simulator import Network, enumerate_paths, enumerate_signs, mlp
from support.cases import BACKENDS
from validation.measurements.ensembles.theorems import (
    Bounds,
    TheoremCheck,
    check_ensemble,
    check_gate_flips,
    merge_checks,
)

Array = np.ndarray[Any, Any]
MAX_SIGNS = 12
ENSEMBLES = 200 if os.environ.get("UMWELT_REDUCED") else 2000
LAWS: dict[str, Callable[[np.random.Generator, int], Array]] = {  # the simplest first: where shrinking ends
    "constant": lambda rng, n: np.ones(n),
    "rademacher": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "uniform": lambda rng, n: rng.uniform(-2.0, 2.0, n),
    "gaussian": lambda rng, n: rng.standard_normal(n),
}


@dataclass(frozen=True)
class Drawn:
    """A finite ensemble as a reader would write it down: weights as given, those in ``broken`` keep their sign."""

    widths: tuple[int, ...]
    x: tuple[float, ...]
    weights: tuple[float, ...]
    broken: tuple[int, ...]

    @property
    def network(self) -> Network:
        return mlp(list(self.widths))

    @property
    def intact(self) -> Array:
        return ~np.isin(np.arange(len(self.weights)), self.broken)

    def check(self, bounds: Bounds | None = None, backend: str | None = None) -> dict[str, TheoremCheck]:
        matrices = self.network.unflatten(np.array(self.weights))
        return check_ensemble(self.network, matrices, np.array(self.x), self.intact, backend, bounds)

    def __repr__(self) -> str:
        n, parts = self.network, []
        for layer, (part, shape) in enumerate(zip(n.slices, n.weight_shapes, strict=True), start=1):
            names = [
                f"{'' if q in self.broken else '±'}{self.weights[q] if q in self.broken else abs(self.weights[q]):g}"
                for q in range(part.start, part.stop)
            ]
            rows = [" ".join(names[a : a + shape[1]]) for a in range(0, len(names), shape[1])]
            parts.append(f"W_{layer} = [{'; '.join(rows)}]")
        return f"widths {list(self.widths)}, x = {list(self.x)}, {', '.join(parts)}, broken weights {list(self.broken)}"


layers = st.tuples(st.integers(1, 3), st.sampled_from(list(LAWS)), st.sampled_from(["intact", "broken", "mixed"]))


@st.composite
def ensembles(draw: st.DrawFn, max_signs: int = MAX_SIGNS) -> Drawn:
    """What belongs to a layer is drawn with it, so that shrinking can drop a layer or narrow it and keep the rest."""
    _, *last = draw(layers)
    stack = [*draw(st.lists(layers, max_size=3)), (1, *last)]
    n_0 = draw(st.integers(1, 3))
    x = draw(st.lists(st.sampled_from([1.0, 2.0, -1.0, 0.0, 0.37, -1.61]), min_size=n_0, max_size=n_0))
    widths = (n_0, *(width for width, _, _ in stack))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    weights, broken = np.empty(0), np.empty(0, dtype=bool)
    for size, (_, law, kind) in zip(mlp(list(widths)).layer_sizes, stack, strict=True):
        weights = np.append(weights, LAWS[law](rng, size))
        some = st.lists(st.booleans(), min_size=size, max_size=size)
        mask = draw(some) if kind == "mixed" else [kind == "broken"] * size
        broken = np.append(broken, mask)
    broken |= np.cumsum(~broken) > max_signs  # signs beyond are drawn once and kept
    return Drawn(widths, tuple(x), tuple(weights.tolist()), tuple(np.flatnonzero(broken).tolist()))


def random_ensemble(rng: np.random.Generator, max_signs: int = 10) -> Drawn:
    """One of many, without Hypothesis."""
    widths = (*(int(n) for n in rng.integers(1, 4, rng.integers(2, 5))), 1)
    size = mlp(list(widths)).layer_sizes
    laws = [LAWS[str(rng.choice(list(LAWS)))](rng, n) for n in size]
    weights = np.concatenate(laws)
    chosen = rng.permutation(weights.size)[: min(max_signs, int(np.ceil(weights.size * rng.uniform(0.4, 1.0))))]
    broken = tuple(q for q in range(weights.size) if q not in chosen)
    return Drawn(widths, tuple(rng.standard_normal(widths[0]).tolist()), tuple(weights.tolist()), broken)


def assert_hold(checks: dict[str, TheoremCheck], case: Drawn) -> None:
    for check in checks.values():
        assert check.holds, f"{check.theorem} is off by {check.violation:.3g} at {check.where} in {case}"


@settings(max_examples=120)
@given(case=ensembles())
def test_the_theorems_hold_in_every_exact_ensemble(case: Drawn) -> None:
    assert_hold(case.check(), case)


@settings(max_examples=30)
@given(case=ensembles(max_signs=8))
def test_both_backends_check_alike(case: Drawn) -> None:
    first, second = (case.check(backend=name) for name in BACKENDS)
    assert {k: v.cases for k, v in first.items()} == {k: v.cases for k, v in second.items()}
    for name in first:
        assert first[name].ratio == pytest.approx(second[name].ratio, abs=1e-9)


@settings(max_examples=40)
@given(case=ensembles(max_signs=9))
def test_s2_in_the_counts_of_the_kernels(case: Drawn) -> None:
    """The chain d_TV ≤ ½ P(Ψ' ≠ -Ψ) ≤ ½ P(some gate changes) again, from integer counts: no tolerance at all."""
    matrices = case.network.unflatten(np.array(case.weights))
    ensemble = enumerate_signs(case.network, matrices, np.array(case.x), case.intact)
    paths = enumerate_paths(case.network)
    distance, route = ensemble.circuit_law(paths).distance, ensemble.path_weights(paths)
    for layer in range(case.network.depth):
        chosen = case.intact[route[:, layer]]
        law = ensemble.coupling_law(paths[chosen], layer)
        assert np.all(2 * distance[chosen] <= law.mismatch)
        assert np.all(law.mismatch <= law.gate_change)
    assert np.all(distance[case.intact[route[:, -1]]] == 0.0)


def _with_factor(name: str, factor: float) -> Bounds:
    """The bound `name`, its last result (or its only one) times a factor."""
    right: Callable[..., Any] = getattr(Bounds(), name)

    def wrong(*arguments: Any) -> Any:
        result = right(*arguments)
        return (*result[:-1], factor * result[-1]) if isinstance(result, tuple) else factor * result

    return Bounds(**{name: wrong})


def _without_cross_term(z_s: Any, beta: Any) -> tuple[Any, Any]:
    """M3 as it would be if z_s and β did not meet: ½E z² + ½E β²."""
    measured, _ = theory.shifted_second_moment_bound(z_s, beta)
    return measured, np.mean(0.5 * (np.asarray(z_s) + beta) ** 2 + 0.5 * np.asarray(beta) ** 2, axis=-1)


def _compounded(mean_weights: Any, second_moments: Any) -> Any:
    """M4 as (20) would have it: a factor ½ from every layer, here of two."""
    return 0.5 * theory.mean_output_bound(mean_weights, second_moments)


WRONG = {
    "S2 coupling ¼": ("S2", _with_factor("coupling", 0.5)),
    "S2 path ¼": ("S2", _with_factor("path_flip", 0.5)),
    "M1 without ½": ("M1", _with_factor("second_moment", 2.0)),
    "M2 ¼": ("M2", _with_factor("positive_part", 0.5)),
    "M3 without E|β||z_s|": ("M3", Bounds(shifted_second_moment=_without_cross_term)),
    "M4 with 2^-L": ("M4", Bounds(mean_output=_compounded)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_bound_is_caught_with_a_readable_counter_example(wrong: str) -> None:
    theorem, bounds = WRONG[wrong]
    case = hypothesis.find(
        ensembles(max_signs=8),
        lambda drawn: not drawn.check(bounds)[theorem].holds,
        settings=settings(max_examples=400, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink]),
    )
    found = case.check(bounds)
    assert [name for name, check in found.items() if not check.holds] == [theorem]
    assert found[theorem].violation > 0.01
    assert found[theorem].where != "-"
    with pytest.raises(AssertionError, match=rf"{theorem} is off by .* in widths \[.*W_1 = \[.*broken weights"):
        assert_hold(found, case)
    assert_hold(case.check(), case)
    assert len(case.weights) <= 6  # shrinking leaves a network to be checked by hand


def test_s2_is_sharp() -> None:
    """x → ±1 → ±1 → 1 (the output broken): Ψ ∈ {0, ±}, and both bounds are met, so that no smaller constant will do."""
    case = Drawn((1, 1, 1), (1.0,), (1.0, 1.0), (1,))
    assert case.check()["S2"].ratio == 1.0
    ensemble = enumerate_signs(case.network, [np.ones((1, 1))] * 2, np.ones(1), case.intact)
    assert ensemble.circuit_law([0, 0, 0]).distance[0] == 0.5


def test_theorems_without_a_case_hold_and_say_so() -> None:
    """Everything broken, and a single layer: nothing to check but M3, where z = β."""
    broken = Drawn((2, 1, 1), (1.0, 1.0), (1.0, 1.0, 1.0), (0, 1, 2)).check()
    assert {name: check.cases for name, check in broken.items() if name in ("S1", "S2", "M1", "M2")} == {
        "S1": 0, "S2": 0, "M1": 0, "M2": 0,
    }  # fmt: skip
    assert all(check.holds for check in broken.values())
    single = Drawn((2, 1), (1.0, 1.0), (1.0, 1.0), ()).check()
    assert single["M4"].cases == single["S2"].cases == 0
    assert single["M1"].cases > 0 < single["S1"].cases


def test_merged_checks_keep_the_worse_case() -> None:
    first, second = TheoremCheck("S2", 3, 0.5, 0.0, "a"), TheoremCheck("S2", 4, 0.7, 1e-3, "b")
    assert merge_checks(first, second) == merge_checks(second, first) == TheoremCheck("S2", 7, 0.7, 1e-3, "b")
    assert not merge_checks(first, second).holds
    with pytest.raises(ValueError, match="S2 and of M1"):
        merge_checks(first, TheoremCheck("M1"))


def test_single_precision_is_refused() -> None:
    network = mlp([1, 1])
    with pytest.raises(ValueError, match="float32 cannot tell"):
        check_ensemble(network, network.init(0), [1.0], backend=get_backend("numpy", "float32"))


@settings(max_examples=25)
@given(x=st.lists(st.floats(-5, 5, allow_subnormal=False).map(lambda v: round(v, 4)), min_size=1, max_size=6))
def test_s3_equals_a_quadrature(x: list[float]) -> None:
    check = check_gate_flips(x)
    assert check.holds, check
    assert check.cases == len(x)


def test_s3_against_fresh_gaussian_weights_of_a_whole_network() -> None:
    """The gate of layer 2 that w_ab enters, over fresh W_2 at one draw of W_1: only x_1 matters."""
    network, rng, draws = mlp([4, 6, 2, 1]), np.random.default_rng(3), 40_000
    x_1 = np.maximum(rng.standard_normal(4) @ network.init(rng)[0], 0.0)
    assert np.count_nonzero(x_1) >= 2
    w = rng.standard_normal((draws, 6))
    expected = theory.gate_flip_probability(x_1, np.arange(6))
    for a, probability in enumerate(expected):
        flipped = np.where(np.arange(6) == a, -w, w)
        measured = np.mean((w @ x_1 > 0) != (flipped @ x_1 > 0))
        assert abs(measured - probability) <= 4 * np.sqrt(probability * (1 - probability) / draws)


@pytest.mark.slow
def test_no_theorem_fails_in_two_thousand_random_ensembles() -> None:
    totals: list[dict[str, TheoremCheck]] = []
    rng = np.random.default_rng(2024)
    for _ in range(ENSEMBLES):
        case = random_ensemble(rng)
        totals.append(case.check())
        assert_hold(totals[-1], case)
    merged = {name: reduce(merge_checks, (checks[name] for checks in totals)) for name in totals[0]}
    assert all(check.cases >= ENSEMBLES // 4 for check in merged.values()), merged
    assert merged["S2"].ratio <= 1.0
    assert merged["S1"].violation == 0.0
