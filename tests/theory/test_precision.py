"""The linearised equations in single precision, which starts what double precision decides, and side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from simulator import Conv, Dense, MaxPool, Network, mlp, sequential
from theory.arrays import inverse, solve
from theory.linearised import law
from theory.linearised.factors import Factors
from theory.linearised.law import estimate_seconds, law_of
from theory.linearised.sweep import LinearisedEquation
from theory.signals import NetworkSignals
from validation.measurements.signals import measure_signals

POINTS = np.array([0.0 + 0.03j, 0.4 + 0.05j, -1.3 + 0.05j, 2.0 + 0.1j, 4.0 + 0.2j])
NETWORKS = {
    "two layers": mlp([5, 6, 1]),
    "four layers": mlp([5, 7, 6, 5, 1]),
    "five layers": mlp([4, 6, 5, 6, 5, 1]),
    "convolutions": sequential((4, 4, 2), [Conv(3), MaxPool(2), Conv(3), Dense(4), Dense(1)]),
}


def signals_of(network: Network, m: int = 9) -> NetworkSignals:
    rng = np.random.default_rng(1)
    x, c = rng.standard_normal((m, *network.input_shape)), rng.standard_normal(m) / m
    return measure_signals(network, network.init(2), x, c)


@given(
    n=st.integers(1, 70), batch=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 2**32 - 1),
    single=st.booleans(),
)  # fmt: skip
def test_inverses_in_either_precision(n: int, batch: list[int], seed: int, single: bool) -> None:
    """Of complex symmetric matrices with a positive definite imaginary part: blocks need no change of rows."""
    rng = np.random.default_rng(seed)
    real, other = (rng.standard_normal((*batch, n, n)) for _ in range(2))
    matrix = real + np.swapaxes(real, -1, -2) + 1j * (other @ np.swapaxes(other, -1, -2) + n * np.eye(n))
    right = rng.standard_normal((n, 2)) + 0j
    given_matrix = matrix.astype(np.complex64) if single else matrix
    tolerance = 2e-5 if single else 1e-12
    found = inverse(np, given_matrix)
    assert found.dtype == given_matrix.dtype
    exact = np.linalg.inv(matrix)
    assert np.abs(found - exact).max() <= tolerance * np.abs(exact).max()
    answer = solve(np, given_matrix, right.astype(given_matrix.dtype))
    assert np.abs(answer - exact @ right).max() <= tolerance * n * np.abs(exact @ right).max()


@pytest.mark.parametrize("closure", ["mean_field", "cavity"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_law_is_that_of_double_precision_alone(name: str, closure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    equation = LinearisedEquation(signals_of(NETWORKS[name]), closure)
    z = equation.rms * POINTS
    mixed = law_of(equation, z, 1e-9)

    def nothing(found: LinearisedEquation, points: Any, *_: object) -> tuple[Any, Any]:
        return found.start(points + 1j * found.own_rms), np.zeros(len(points), dtype=np.int64)

    monkeypatch.setattr(law, "_rough", nothing)
    alone = law_of(equation, z, 1e-9)
    assert_allclose(mixed.g, alone.g, rtol=1e-7)
    assert max(mixed.residual, alone.residual) <= 1e-9


@pytest.mark.parametrize("trouble", ["no inverse", "beyond the range", "not a number"])
def test_where_single_precision_fails_double_precision_starts_again(
    trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    equation = LinearisedEquation(signals_of(NETWORKS["five layers"]), "cavity")
    z = equation.rms * POINTS
    right = law_of(equation, z, 1e-9).g
    sweep = equation.single.sweep

    def failing(points: Any, state: Any) -> tuple[Any, Any]:
        if trouble == "no inverse":
            raise np.linalg.LinAlgError("Singular matrix")
        after, trace = sweep(points, state)
        return after * np.complex64(np.inf if trouble == "beyond the range" else np.nan), trace

    monkeypatch.setattr(equation.single, "sweep", failing)
    assert_allclose(law_of(equation, z, 1e-9).g, right, rtol=1e-7)


@pytest.mark.parametrize("cut", [0.0, 1e-3])
@pytest.mark.parametrize("name", NETWORKS)
def test_both_precisions_share_their_factors(name: str, cut: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made once, and are what single precision would make of its own signals, to the last digit."""
    made: list[Factors] = []
    original = Factors.of

    def counted(signals: NetworkSignals, at: float) -> Factors:
        made.append(original(signals, at))
        return made[-1]

    monkeypatch.setattr(Factors, "of", counted)
    equation = LinearisedEquation(signals_of(NETWORKS[name]), "mean_field", cut)
    single = equation.single
    assert single.factors is equation.factors
    assert len(made) == 1
    again = LinearisedEquation(equation.signals, "mean_field", cut, precision="float32")
    assert len(made) == 2
    z = equation.own_rms * POINTS
    assert_array_equal(single.sweep(z, single.start(z))[0], again.sweep(z, again.start(z))[0])


@pytest.mark.parametrize("closure", ["mean_field", "cavity"])
def test_a_point_does_not_depend_on_what_is_solved_beside_it(closure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    equation = LinearisedEquation(signals_of(NETWORKS["four layers"]), closure)
    z = equation.rms * POINTS
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(law, "blas_threads", lambda n=threads: n)
        found.append(law_of(equation, z).g)
    alone = np.array([law_of(equation, point).g for point in z])
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])
    assert_array_equal(found[0], alone)


def test_an_estimate_counts_points_rounds_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    equation = LinearisedEquation(signals_of(NETWORKS["four layers"]), "cavity")
    monkeypatch.setattr(law, "blas_threads", lambda: 1)
    one, rounds = estimate_seconds(equation, 60), estimate_seconds(equation, 60, 6)
    monkeypatch.setattr(law, "blas_threads", lambda: 2)
    assert estimate_seconds(equation, 60) < one < rounds
    assert estimate_seconds(equation, 0) == 0.0
