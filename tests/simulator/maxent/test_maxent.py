"""Enclosed maximum entropy (1)-(3): hidden laws recovered, optimality by enumeration, feasibility by other programs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import simulator.maxent.law as maxent
from simulator.maxent.feasibility import InfeasibleError
from simulator.maxent.law import MaxEntropyLaw, solve_maxent
from support.cases import Array

SEEDS = st.integers(0, 2**32 - 1)
LETTERS = "abcdf"


@dataclass(frozen=True)
class Hidden:
    """A law (2) of random multipliers and its couplings, by `einsum` over the full index set.

    `widths` are n_0 ... n_s; weights of the examples are random, one of them 0, when `weighted`.
    """

    m: int
    widths: tuple[int, ...]
    size: float = 1.0
    weighted: bool = False
    seed: int = 0

    @cached_property
    def observed(self) -> list[Array]:
        rng = np.random.default_rng([self.seed, 0])
        gates = [rng.integers(0, 2, (self.m, n)) for n in self.widths[1:-1]]
        return [rng.standard_normal((self.m, self.widths[0])), *gates]

    @cached_property
    def multipliers(self) -> Array:
        return self.size * np.random.default_rng([self.seed, 1]).standard_normal(self.widths)

    @cached_property
    def weight(self) -> Array:
        if not self.weighted:
            return np.ones(self.m)
        return np.random.default_rng([self.seed, 2]).random(self.m) * (np.arange(self.m) != 1)

    @property
    def sample_weight(self) -> Array | None:
        return self.weight if self.weighted else None

    def contract(self, *operands: Array, to: str) -> Array:
        axes = LETTERS[: len(self.observed)]
        return np.einsum(",".join(f"e{a}" for a in axes) + to, *self.observed, *operands)

    @cached_property
    def probabilities(self) -> Array:
        axes = LETTERS[: len(self.observed)]
        a = self.contract(self.multipliers, to=f",{axes}j->ej")
        return 0.5 * (1 + np.tanh(a / 2))

    def couplings_of(self, p: Array) -> Array:
        axes = LETTERS[: len(self.observed)]
        return self.contract(self.weight / self.weight.sum(), p, to=f",e,ej->{axes}j")

    @property
    def features(self) -> Array:
        return self.contract(to=f"->e{LETTERS[: len(self.observed)]}").reshape(self.m, -1)

    def solve(self) -> MaxEntropyLaw:
        return solve_maxent(self.observed, self.couplings_of(self.probabilities), self.sample_weight)

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.widths))}-size{self.size:g}{'-weighted' if self.weighted else ''}"


ORDER2 = Hidden(40, (3, 4))
ORDER3 = Hidden(80, (3, 4, 2), weighted=True)
CASES = [
    ORDER2,
    Hidden(50, (4, 2), weighted=True, seed=1),
    Hidden(90, (2, 3), size=8.0, seed=2),
    Hidden(60, (1, 1)),
    Hidden(5, (5, 3), size=0.7, seed=3),
    ORDER3,
    Hidden(120, (4, 3, 3), size=2.0, seed=4),
    Hidden(200, (2, 3, 3, 2), weighted=True, seed=5),
]


def entropy(p: Array) -> Array:
    return -sum(q * np.log(q, where=q > 0, out=np.zeros_like(q)) for q in (p, 1 - p))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hidden_law_is_recovered(case: Hidden) -> None:
    law = case.solve()
    assert law.converged
    assert law.status == "converged"
    np.testing.assert_allclose(law.probabilities, case.probabilities, rtol=0, atol=1e-10)
    np.testing.assert_allclose(law.multipliers, case.multipliers, rtol=0, atol=1e-7)
    assert not law.direction.any()
    assert law.rank == case.features.shape[1]
    np.testing.assert_array_less(1.0, law.gauge)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_residual_and_entropy_are_those_of_the_law(case: Hidden) -> None:
    law, tau = case.solve(), case.couplings_of(case.probabilities)
    assert law.residual == pytest.approx(np.abs(case.couplings_of(law.probabilities) - tau).max(), abs=1e-16)
    assert law.residual <= 1e-13
    mean = np.average(entropy(law.probabilities).sum(axis=1), weights=case.weight)
    assert law.entropy == pytest.approx(mean, rel=1e-12)


@given(seed=SEEDS, size=st.floats(1e-6, 10.0))
@pytest.mark.parametrize("case", [ORDER2, ORDER3], ids=str)
def test_no_other_multipliers_raise_the_dual(case: Hidden, seed: int, size: float) -> None:
    law, tau = case.solve(), case.couplings_of(case.probabilities)

    def dual(multipliers: Array) -> float:
        a = case.features @ multipliers.reshape(-1, tau.shape[-1])
        return float(np.sum(tau * multipliers) - np.average(np.logaddexp(0, a).sum(axis=1), weights=case.weight))

    step = np.random.default_rng(seed).standard_normal(tau.shape)
    step *= size / np.linalg.norm(step)
    assert dual(law.multipliers + step) < dual(law.multipliers) + 1e-14


@given(seed=SEEDS)
@pytest.mark.parametrize("case", [ORDER2, ORDER3], ids=str)
def test_no_other_law_with_these_couplings_has_more_entropy(case: Hidden, seed: int) -> None:
    """p is moved in the null space of the constraints, as far as some entry allows."""
    law = case.solve()
    seen = case.weight > 0
    constraints = (case.features * case.weight[:, None])[seen].T
    null = np.linalg.svd(constraints)[2][len(constraints) :]
    rng = np.random.default_rng(seed)
    move = null.T @ rng.standard_normal((len(null), law.probabilities.shape[1]))
    p = law.probabilities[seen]
    furthest = np.min(np.where(move > 0, 1 - p, p) / np.abs(move))
    moved = law.probabilities.copy()
    moved[seen] = p + rng.uniform(0.1, 1.0) * furthest * move
    np.testing.assert_allclose(case.couplings_of(moved), case.couplings_of(law.probabilities), atol=1e-12)
    assert np.average(entropy(moved).sum(axis=1), weights=case.weight) < law.entropy


def joint_law(case: Hidden, law: MaxEntropyLaw) -> tuple[Array, Array]:
    """(states (2^n, n), µ(h | O) (m, 2^n)) of (2)-(3) with Z summed over all states."""
    n = case.widths[-1]
    states = np.array(list(itertools.product((0, 1), repeat=n)))
    weights = np.exp(case.features @ law.multipliers.reshape(-1, n) @ states.T)
    return states, weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("case", [ORDER2, ORDER3, CASES[-1]], ids=str)
def test_components_are_independent_as_in_the_joint_law(case: Hidden) -> None:
    law = case.solve()
    states, joint = joint_law(case, law)
    np.testing.assert_allclose(joint @ states, law.probabilities, rtol=1e-12)
    total = -np.average((joint * np.log(joint)).sum(axis=1), weights=case.weight)
    assert law.entropy == pytest.approx(total, rel=1e-12)


@given(seed=SEEDS)
def test_no_correlated_joint_law_has_more_entropy(seed: int) -> None:
    """All of µ(h | O) is moved, correlations between components included, with (1) and normalisation kept."""
    case = Hidden(6, (2, 3), weighted=True)
    law = case.solve()
    states, joint = joint_law(case, law)
    weight = case.weight / case.weight.sum()
    coupled = np.einsum("e,ea,kj->ajek", weight, case.features, states).reshape(-1, joint.size)
    normalised = np.kron(np.eye(case.m), np.ones(len(states)))
    constraints = np.vstack([coupled, normalised])
    move = np.random.default_rng(seed).standard_normal(joint.size)
    move = (move - np.linalg.pinv(constraints) @ (constraints @ move)).reshape(joint.shape)
    moved = joint + 0.9 * np.min(joint / np.abs(move)) * move
    np.testing.assert_allclose(constraints @ moved.ravel(), constraints @ joint.ravel(), atol=1e-12)
    assert -np.sum(weight @ (moved * np.log(moved))) < law.entropy


def attainable(case: Hidden, tau: Array, objective: Array | None = None) -> Any:
    """The program E[φ p] = τ, 0 <= p <= 1, over every example."""
    cost = np.zeros(case.m) if objective is None else objective
    weight = case.weight / case.weight.sum()
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    return linprog(cost, A_eq=(case.features * weight[:, None]).T, b_eq=tau, bounds=(0, 1), options=tight)


@given(seed=SEEDS, m=st.integers(2, 12), n=st.integers(1, 4), size=st.floats(0.1, 5.0), weighted=st.booleans())
def test_couplings_beyond_the_edge_are_refused(seed: int, m: int, n: int, size: float, weighted: bool) -> None:
    """Along a ray from ½E[φ] the gauge is the edge: solved below, the boundary on it, refused above."""
    case = Hidden(m, (n, 1), size, weighted, seed)
    tau, centre = case.couplings_of(case.probabilities), case.couplings_of(np.full((m, 1), 0.5))
    tau = centre + case.solve().gauge[0] / 2 * (tau - centre)  # half way: τ - ½E[φ] keeps its digits
    edge = solve_maxent(case.observed, tau, case.sample_weight).gauge[0]
    assert edge == pytest.approx(2, rel=1e-6)
    for beyond in (1e-8, 1e-3, 2.0):
        outside = centre + edge * (1 + beyond) * (tau - centre)
        with pytest.raises(InfeasibleError, match="component 0") as caught:
            solve_maxent(case.observed, outside, case.sample_weight)
        if np.linalg.matrix_rank(case.features) == n:  # else far couplings may break the features' relations first
            assert caught.value.gauge == pytest.approx(1 / (1 + beyond), rel=1e-9)
        if beyond >= 1e-3:
            assert attainable(case, outside[:, 0]).status == 2
    inside = solve_maxent(case.observed, centre + edge * (1 - 1e-6) * (tau - centre), case.sample_weight)
    assert inside.converged
    assert inside.residual <= 1e-12
    on = solve_maxent(case.observed, centre + edge * (tau - centre), case.sample_weight)
    assert not on.converged
    assert on.status.startswith("boundary")
    assert on.residual <= 1e-11


@st.composite
def integer_cases(draw: st.DrawFn) -> tuple[Hidden, Array]:
    """Small integer observations, repeated and collinear ones among them, and a law with zeros and ones."""
    m, n = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    case = Hidden(m, (n, 1), weighted=draw(st.booleans()) and m > 2, seed=draw(SEEDS))
    values = draw(st.lists(st.integers(-2, 2), min_size=m * n, max_size=m * n))
    case.observed[0] = np.array(values).reshape(m, n)
    direction = np.array(draw(st.lists(st.integers(-2, 2), min_size=n, max_size=n)))
    side = np.sign(case.observed[0] @ direction)
    free = np.array(draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), min_size=m, max_size=m)))
    return case, np.where(side == 0, free, side > 0)[:, None]


@given(drawn=integer_cases())
def test_the_boundary_is_recognised_and_its_limiting_law_found(drawn: tuple[Hidden, Array]) -> None:
    """Against programs that minimise and maximise each p_e by itself, and the optimality of the rest."""
    case, p = drawn
    tau, seen = case.couplings_of(p), case.weight > 0
    law = solve_maxent(case.observed, tau, case.sample_weight)
    least = np.array([attainable(case, tau[:, 0], e).fun for e in np.eye(case.m)])
    most = np.array([-attainable(case, tau[:, 0], -e).fun for e in np.eye(case.m)])
    forced = seen & ((most < 1e-7) | (least > 1 - 1e-7))
    found = law.probabilities[:, 0]
    assert law.residual <= 1e-13
    assert law.converged == (not forced.any())
    assert law.status.startswith("boundary") == forced.any()
    np.testing.assert_array_equal(seen & ((found == 0) | (found == 1)), forced)
    free = seen & ~forced
    if free.any():
        logits, phi = np.log(found[free] / (1 - found[free])), case.features[free]
        np.testing.assert_allclose(phi @ np.linalg.lstsq(phi, logits)[0], logits, atol=1e-8)


@given(drawn=integer_cases(), seed=SEEDS)
def test_the_limiting_law_is_the_limit_of_finite_multipliers(drawn: tuple[Hidden, Array], seed: int) -> None:
    case, p = drawn
    law = solve_maxent(case.observed, case.couplings_of(p), case.sample_weight)
    x = np.random.default_rng(seed).integers(-2, 3, (20, case.widths[0]))
    x = np.vstack([case.observed[0][case.weight > 0], x])
    drift = np.abs(x @ law.direction)[:, 0]
    x, drift = x[(drift < 1e-12) | (drift > 1e-5)], drift[drift > 1e-5]
    far = 1e2 / np.min(drift, initial=1e2)
    expected = 0.5 * (1 + np.tanh(x @ (law.multipliers + far * law.direction) / 2))
    np.testing.assert_allclose(law.probability([x]), expected, atol=1e-6)


def test_a_law_without_any_freedom() -> None:
    """A perceptron's own gates: all couplings at a vertex, entropy 0, one multiplier direction."""
    x = np.random.default_rng(0).standard_normal((30, 3))
    gates = (x @ [1.0, -0.5, 0.3] > 0)[:, None]
    law = solve_maxent([x], x.T @ gates / len(x))
    assert not law.converged
    np.testing.assert_array_equal(law.probabilities, gates)
    np.testing.assert_array_equal(x @ law.direction > 0, gates)
    assert law.entropy == 0
    assert np.linalg.norm(law.direction) == pytest.approx(1)


def test_only_the_components_concerned_are_named() -> None:
    case = Hidden(30, (3, 4))
    p = case.probabilities.copy()
    p[:, [1, 3]] = case.observed[0][:, [0]] > 0
    law = solve_maxent(case.observed, case.couplings_of(p))
    assert "components [1, 3]" in law.status
    np.testing.assert_allclose(law.probabilities, p, atol=1e-10)
    np.testing.assert_allclose(law.multipliers[:, [0, 2]], case.multipliers[:, [0, 2]], atol=1e-9)
    outside = case.couplings_of(p)
    outside[:, 2] *= 10
    with pytest.raises(InfeasibleError, match="component 2 has impossible couplings") as caught:
        solve_maxent(case.observed, outside)
    assert caught.value.component == 2
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("size", [30.0, 100.0])
def test_laws_close_to_the_boundary_are_solved(size: float) -> None:
    """Gauge 1 + 4e-10 at size 100: logits of hundreds beside the ones that decide."""
    case = Hidden(40, (3, 1), size=size, seed=1)
    law = case.solve()
    assert law.converged
    assert 1 < law.gauge[0] < 1 + 1e-3
    np.testing.assert_allclose(law.probabilities, case.probabilities, atol=1e-11)


def test_collinear_features_give_the_smallest_multipliers() -> None:
    case = Hidden(40, (3, 2), weighted=True)
    x = case.observed[0]
    wide = np.column_stack([x, x[:, 0] + x[:, 1], -2 * x[:, 2], np.zeros(case.m)])
    tau = wide.T @ (case.weight[:, None] * case.probabilities) / case.weight.sum()
    law = solve_maxent([wide], tau, case.weight)
    assert law.converged
    assert law.rank == 3
    assert "6 features span 3 dimensions" in law.status
    assert "smallest norm" in law.status
    np.testing.assert_allclose(law.probabilities, case.probabilities, atol=1e-12)
    np.testing.assert_allclose(law.multipliers, np.linalg.pinv(wide) @ (x @ case.multipliers), atol=1e-11)
    tau[4, 1] += 1e-6
    with pytest.raises(InfeasibleError, match=r"component 1 .* collinear"):
        solve_maxent([wide], tau, case.weight)


def test_fewer_examples_than_features() -> None:
    case = Hidden(4, (3, 3, 2), seed=6)
    law = case.solve()
    assert law.converged
    assert law.rank < 9
    np.testing.assert_allclose(law.probabilities, case.probabilities, atol=1e-12)
    seen = case.features @ case.multipliers.reshape(9, 2)
    np.testing.assert_allclose(law.multipliers.reshape(9, 2), np.linalg.pinv(case.features) @ seen, atol=1e-11)


def test_repeated_examples_are_weights() -> None:
    case = Hidden(30, (3, 2, 2), seed=7)
    times = np.arange(case.m) % 3
    repeated = [np.repeat(a, times, axis=0) for a in case.observed]
    tau = case.features.T @ (times[:, None] * case.probabilities) / times.sum()
    once = solve_maxent(case.observed, tau.reshape(case.widths), times)
    many = solve_maxent(repeated, tau.reshape(case.widths))
    np.testing.assert_allclose(once.multipliers, many.multipliers, atol=1e-11)
    np.testing.assert_allclose(once.multipliers, case.multipliers, atol=1e-9)
    assert once.entropy == pytest.approx(many.entropy, rel=1e-12)


def test_contradicting_examples_share_one_probability() -> None:
    """Equal observations that were 0 and 1: the law in between, not the boundary."""
    x = np.array([[1.0], [1.0], [1.0], [1.0]])
    law = solve_maxent([x], x.T @ [[1.0], [0.0], [0.0], [0.0]] / 4)
    assert law.converged
    np.testing.assert_allclose(law.probabilities, 0.25, rtol=1e-14)


def test_units_of_the_inputs_do_not_matter() -> None:
    units = np.array([1e-9, 1.0, 1e8])
    case = Hidden(40, (3, 2))
    tau = case.couplings_of(case.probabilities)
    law = solve_maxent([case.observed[0] * units], tau * units[:, None])
    assert law.status == "converged"
    np.testing.assert_allclose(law.multipliers * units[:, None], case.multipliers, rtol=1e-10)


def test_central_couplings_need_no_multipliers() -> None:
    case = Hidden(20, (2, 3, 4))
    law = solve_maxent(case.observed, case.couplings_of(np.full((20, 4), 0.5)))
    assert law.converged
    np.testing.assert_allclose(law.multipliers, 0, atol=1e-13)
    assert law.entropy == pytest.approx(4 * math.log(2))
    nothing = solve_maxent([np.zeros((5, 2))], np.zeros((2, 3)))
    assert nothing.converged
    assert nothing.entropy == pytest.approx(3 * math.log(2))
    with pytest.raises(InfeasibleError):
        solve_maxent([np.zeros((5, 2))], np.ones((2, 3)))


def test_types_and_layouts() -> None:
    case = Hidden(60, (3, 2, 2), seed=8)
    x, h = case.observed
    whole = np.round(2 * x).astype(int)
    case.observed[0] = whole
    case.__dict__["multipliers"] = case.multipliers / 4
    tau = case.couplings_of(case.probabilities)
    expected = solve_maxent([whole.astype(float), h], tau)
    np.testing.assert_allclose(expected.multipliers, case.multipliers, atol=1e-9)
    strided = [np.repeat(whole, 2, axis=1)[:, ::2], np.asfortranarray(h.astype(bool))]
    for observed in ([whole, h], [whole.astype(np.float32), h.astype(np.int8)], strided, [whole.tolist(), h.tolist()]):
        law = solve_maxent(observed, np.asfortranarray(tau))
        np.testing.assert_allclose(law.multipliers, expected.multipliers, atol=1e-13)
    narrow = solve_maxent([whole, h], tau.astype(np.float32))
    assert narrow.converged
    np.testing.assert_allclose(narrow.probabilities, expected.probabilities, atol=1e-5)


def test_probability_of_new_observations() -> None:
    law = ORDER3.solve()
    new = Hidden(11, ORDER3.widths, seed=9)
    logits = new.features @ ORDER3.multipliers.reshape(-1, 2)
    np.testing.assert_allclose(law.probability(new.observed), 1 / (1 + np.exp(-logits)), atol=1e-9)
    np.testing.assert_array_equal(law.probability(ORDER3.observed), law.probabilities)
    with pytest.raises(ValueError, match="widths"):
        law.probability(new.observed[:1])


def test_a_dual_that_is_not_solved_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxent, "MAX_STEPS", 3)
    law = ORDER2.solve()
    assert not law.converged
    assert law.status.startswith("not converged")
    assert law.residual > 1e-6
    np.testing.assert_array_equal(law.steps, 3)


X, H, TAU = ORDER3.observed[0], ORDER3.observed[1], ORDER3.couplings_of(ORDER3.probabilities)


@pytest.mark.parametrize(
    ("observed", "couplings", "weight", "message"),
    [
        ([], TAU, None, "empty"),
        ([X[:, 0], H], TAU, None, r"observed\[0\] has shape"),
        ([X, H[:-1]], TAU, None, r"observed\[1\] has shape"),
        ([X[:0], H[:0]], TAU, None, r"observed\[0\] has shape"),
        ([np.where(X > 2, np.nan, X), H], TAU, None, r"observed\[0\] .* NaN"),
        ([X * 1j, H], TAU, None, r"observed\[0\] .* non-real"),
        ([X, H * 2], TAU, None, "holds 2: gates are 0 or 1"),
        ([X, X @ np.ones((3, 4))], TAU, None, "gates are 0 or 1"),
        ([X, H], TAU[0], None, "couplings have shape"),
        ([X, H], TAU[:, :-1], None, "couplings have shape"),
        ([X, H], TAU[:, :, :0], None, "couplings have shape"),
        ([X, H], TAU * np.nan, None, "couplings .* NaN"),
        ([X, H], TAU, np.ones(3), "sample_weight has shape"),
        ([X, H], TAU, np.arange(len(X)) - 1.0, "sample_weight holds -1"),
        ([X, H], TAU, np.full(len(X), np.nan), "sample_weight holds nan"),
        ([X, H], TAU, np.zeros(len(X)), "sums to 0"),
    ],
)
def test_unusable_arrays_are_refused(observed: list[Any], couplings: Array, weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        solve_maxent(observed, couplings, weight)
    assert not isinstance(caught.value, InfeasibleError)


def test_features_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxent, "MAX_ENTRIES", 100)
    with pytest.raises(MemoryError, match="80 examples have 12 features each"):
        ORDER3.solve()
