"""S1-S3 as functions of arrays: against laws written out as dictionaries, quadrature and Monte Carlo."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from theory import coupling_bound, gate_flip_probability, mean_flip_probability, mirror_distance, path_flip_bound

Array = np.ndarray[Any, Any]
points = st.integers(-3, 3)


def distance(rows: list[tuple[int, ...]], mass: list[Fraction]) -> Fraction:
    """½ Σ_v |µ(v) - µ(-v)|, in rational numbers."""
    law: Counter[tuple[int, ...]] = Counter()
    for row, p in zip(rows, mass, strict=True):
        law[row] += p
    support = {*law, *(tuple(-v for v in row) for row in law)}
    return sum((abs(law[row] - law[tuple(-v for v in row)]) for row in support), Fraction(0)) / 2


@given(rows=st.integers(1, 3).flatmap(lambda d: st.lists(st.tuples(*[points] * d), min_size=1, max_size=12)))
def test_mirror_distance_of_equally_likely_points(rows: list[tuple[int, ...]]) -> None:
    expected = distance(rows, [Fraction(1, len(rows))] * len(rows))
    assert mirror_distance(rows) == pytest.approx(float(expected), abs=1e-15)
    assert (mirror_distance(rows) == 0.0) == (expected == 0)
    symmetric = [*rows, *(tuple(-v for v in row) for row in rows)]
    assert mirror_distance(symmetric) == 0.0


@given(law=st.dictionaries(points, st.integers(0, 5), min_size=1).filter(lambda law: sum(law.values()) > 0))
def test_mirror_distance_of_a_law(law: dict[int, int]) -> None:
    mass = [Fraction(p, sum(law.values())) for p in law.values()]
    expected = distance([(v,) for v in law], mass)
    assert mirror_distance(list(law), [float(p) for p in mass]) == pytest.approx(float(expected), abs=1e-14)


def test_symmetric_marginals_are_not_joint_symmetry() -> None:
    joint = np.array([[1, 2], [-1, 1], [2, -2], [-2, -1]])
    assert [mirror_distance(column) for column in joint.T] == [0.0, 0.0]
    assert mirror_distance(joint) == 1.0


def test_mirror_distance_tells_rounding_from_asymmetry() -> None:
    noisy = np.array([1.0 + 1e-14, -1.0, 0.0, -0.0])
    assert mirror_distance(noisy) == 0.5
    assert mirror_distance(noisy, tolerance=1e-10) == 0.0
    assert mirror_distance([1.0, -1.2], tolerance=0.1) == 1.0
    assert mirror_distance([0.0, -0.0]) == 0.0


def test_mirror_distance_refuses_what_is_no_law() -> None:
    for bad in (np.zeros((0, 2)), [np.nan], 1.0):
        with pytest.raises(ValueError, match="values have shape"):
            mirror_distance(bad)
    for mass in ([0.5], [0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError, match="probabilities"):
            mirror_distance([1.0, 2.0], mass)
    with pytest.raises(ValueError, match="tolerance -1"):
        mirror_distance([1.0], tolerance=-1)


@given(
    psi=st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 1])), min_size=1, max_size=10),
    factor=st.sampled_from([1.0, -0.3, 7.0]),
)
def test_coupling_bound_counts(psi: list[tuple[int, int]], factor: float) -> None:
    first, second = factor * np.array(psi, dtype=np.float64).T
    assert coupling_bound(first, second) == pytest.approx(0.5 * np.mean([a != -b for a, b in psi]))
    np.testing.assert_array_equal(coupling_bound([first, first], [second, -first])[1], 0.0)


def test_path_flip_bound_counts_draws_not_gates() -> None:
    gates = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    flipped = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    assert path_flip_bound(gates, flipped) == 0.5 * 2 / 4
    np.testing.assert_array_equal(path_flip_bound([gates, gates], [flipped, gates]), [0.25, 0.0])
    assert path_flip_bound(np.zeros((3, 0)), np.zeros((3, 0))) == 0.0


def test_bounds_of_s2_refuse_unlike_draws() -> None:
    with pytest.raises(ValueError, match="values"):
        coupling_bound([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="gates"):
        path_flip_bound(np.ones((3, 2)), np.ones((2, 2)))


def test_gate_flip_probability_in_closed_cases() -> None:
    for n in (2, 3, 10, 1000):
        expected = 2 / np.pi * np.arctan(1 / np.sqrt(n - 1))
        np.testing.assert_allclose(gate_flip_probability(np.full(n, 0.3), np.arange(n)), expected, rtol=1e-13)
    assert gate_flip_probability([3.0, 0.0], 0) == 1.0  # the weight alone decides
    assert gate_flip_probability([3.0, 0.0], 1) == 0.0
    np.testing.assert_array_equal(gate_flip_probability([0.0, 0.0], [0, 1]), 0.0)
    assert gate_flip_probability([1e-200, 1e200], 0) >= 0.0


def test_gate_flip_probability_broadcasts() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5))
    index = np.array([[0, 4], [2, -1]])
    every = gate_flip_probability(x, index)
    assert every.shape == (2, 3, 2, 2)
    for i, j in np.ndindex(2, 2):
        np.testing.assert_allclose(every[..., i, j], gate_flip_probability(x, int(index[i, j])))
    np.testing.assert_allclose(gate_flip_probability(-7.0 * x, index), every)  # scale and sign do not matter
    with pytest.raises(IndexError, match="5 components"):
        gate_flip_probability(x, 5)
    with pytest.raises(ValueError, match="integer"):
        gate_flip_probability(x, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        gate_flip_probability([np.nan], 0)


@pytest.mark.parametrize("n", [2, 3, 16, 100])
def test_gate_flip_probability_against_monte_carlo(n: int) -> None:
    """Fresh Gaussian weights, any variance; the signal below is that of a ReLU layer."""
    rng, draws = np.random.default_rng(n), 100_000
    x = np.maximum(rng.standard_normal(n), 0.0) + 0.01
    terms = 0.7 * rng.standard_normal((draws, n)) * x
    z = terms.sum(axis=1)
    for a in (0, n - 1):
        expected = float(gate_flip_probability(x, a))
        measured = np.mean((z > 0) != (z - 2 * terms[:, a] > 0))
        assert abs(measured - expected) <= 4 * np.sqrt(expected * (1 - expected) / draws)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 33, 256])
def test_mean_flip_probability_against_quadrature(n: int) -> None:
    def latitude(power: float) -> float:
        return float(quad(lambda t: t**power * np.cos(t) ** (n - 2), 0, np.pi / 2, epsabs=0, epsrel=1e-11)[0])

    assert mean_flip_probability(n) == pytest.approx(2 / np.pi * latitude(1.0) / latitude(0.0), rel=1e-9)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_mean_flip_probability_against_monte_carlo(n: int, rectified: bool) -> None:
    x = np.random.default_rng(5).standard_normal((20_000, n))
    values = gate_flip_probability(np.maximum(x, 0.0) if rectified else x, 0)
    error = 4 * values.std() / np.sqrt(len(x)) + 1e-12
    assert abs(values.mean() - mean_flip_probability(n, rectified)) <= error


def test_mean_flip_probability_falls_as_the_root_of_the_width() -> None:
    widths = 2 ** np.arange(3, 12)
    for rectified in (False, True):
        values = np.array([mean_flip_probability(int(n), rectified) for n in widths])
        slopes = np.diff(np.log(values)) / np.diff(np.log(widths))
        assert slopes[-1] == pytest.approx(-0.5, abs=1e-3)
        assert np.all(np.diff(np.abs(slopes + 0.5)) < 0)
    assert mean_flip_probability(2048) == pytest.approx(2 / np.pi * np.sqrt(2 / (np.pi * 2048)), rel=1e-3)
    with pytest.raises(ValueError, match="n is 0"):
        mean_flip_probability(0)
