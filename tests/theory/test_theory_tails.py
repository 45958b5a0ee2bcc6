"""Mass beyond an energy and the expected largest eigenvalue, against laws whose tails are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from theory import ConvergenceError, arc_cosine_law, continued, expected_positions, mass_beyond, semicircle
from theory.edges.tails import CHECKS, TARGETS
from theory.solvers.continuation import ANCHORS


def semicircle_tail(t: np.ndarray) -> np.ndarray:
    """Of unit rms, for 0 ≤ t ≤ 2."""
    return 0.5 - t * np.sqrt(4 - t**2) / (4 * np.pi) - np.arcsin(t / 2) / np.pi


def points(*places: float, weights: tuple[float, ...]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: sum(w / (p - z) for p, w in zip(places, weights, strict=True))


@given(st.floats(0.5, 1.95), st.floats(1e-3, 1e3))
def test_the_tail_of_the_semicircle_at_any_scale(t: float, rms: float) -> None:
    found = mass_beyond(lambda z: semicircle(z, rms), [t * rms])
    assert_allclose(found, semicircle_tail(np.array([t])), atol=2e-5)


def test_no_mass_beyond_the_edge() -> None:
    assert_allclose(mass_beyond(lambda z: semicircle(z, 1.0), [2.2, 3.0, 50.0]), 0.0, atol=1e-6)


def test_atoms_are_counted_by_their_mass() -> None:
    law = points(-2.0, 0.0, 1.0, 6.0, weights=(0.2, 0.5, 0.2, 0.1))
    assert_allclose(mass_beyond(law, [0.5, 3.0, 12.0]), [0.3, 0.1, 0.0], atol=2e-3)


@pytest.mark.parametrize("t", [0.0, -1.0])
def test_thresholds_must_be_positive(t: float) -> None:
    with pytest.raises(ValueError, match="expected energies > 0"):
        mass_beyond(lambda z: semicircle(z, 1.0), [1.0, t])


@pytest.mark.parametrize("n", [20, 1000, 50_000])
def test_the_largest_eigenvalue_leaves_half_an_eigenvalue_beyond(n: int) -> None:
    found = expected_positions(lambda z: semicircle(z, 3.0), n, 3.0)[0] / 3.0
    assert n * semicircle_tail(np.array(min(1.01 * found, 2.0))) < 0.5 < n * semicircle_tail(np.array(0.99 * found))


@given(st.integers(2, 12), st.floats(1e-3, 1e3))
def test_positions_leave_a_half_more_each(count: int, rms: float) -> None:
    n = 400
    found = expected_positions(lambda z: semicircle(z, rms), n, rms, count) / rms
    assert found.shape == (count,)
    assert np.all(np.diff(found) < 0.0)
    ranks = np.arange(1, count + 1) - 0.5
    assert np.all(n * semicircle_tail(np.minimum(1.01 * found, 2.0)) < ranks)
    assert np.all(n * semicircle_tail(0.99 * found) > ranks)


def test_the_largest_eigenvalues_of_random_matrices() -> None:
    """Within 5 % of their means over Gaussian symmetric matrices, the largest, and 1 % the next four."""
    n, rng = 200, np.random.default_rng(0)
    largest = []
    for _ in range(20):
        a = rng.standard_normal((n, n))
        largest.append(np.linalg.eigvalsh((a + a.T) / np.sqrt(2 * n))[:-6:-1])
    found = expected_positions(lambda z: semicircle(z, 1.0), n, 1.0, 5)
    assert_allclose(found[0], np.mean(largest, axis=0)[0], rtol=0.05)
    assert_allclose(found[1:], np.mean(largest, axis=0)[1:], rtol=0.02)


def test_outliers_are_found_where_they_stand() -> None:
    """±7 and ±9 beside a semicircle of 500: two positions each, then the edge of the bulk."""
    law = points(-9.0, -7.0, 7.0, 9.0, weights=(0.25,) * 4)
    found = expected_positions(lambda z: (4 * law(z) + 496 * semicircle(z, 1.0)) / 500, 500, 1.0, 3)
    assert_allclose(found[:2], [9.0, 7.0], rtol=0.01)
    assert 1.8 < found[2] < 2.0


def test_a_tail_that_never_thins_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not fall through 0\.5 and 0\.5"):
        expected_positions(lambda z: semicircle(z, 1e4), 100, 1.0)


def perceptron_law(z: np.ndarray) -> np.ndarray:
    """R3 of a network whose mean directions leave a band of outliers beyond a gap."""
    rng = np.random.default_rng(0)
    x, c = rng.standard_normal((40, 12)), rng.choice([-1.0, 1.0], 40) / 40
    return arc_cosine_law(x, c, [12, 30, 30, 1], [2 / 12, 2 / 30, 1 / 30], z).g


def test_a_law_is_continued_from_few_values() -> None:
    """The semicircle and a law with a band of outliers: counts of 10,000 come out to half of one."""
    far = np.array([1e4j])
    rms = float(np.sqrt((-(far**2) * (1 + far * perceptron_law(far))).real[0]))
    for law, scale in ((lambda z: semicircle(z, 2.0), 2.0), (perceptron_law, rms)):
        asked = []

        def counted(z: np.ndarray, law: Callable[[np.ndarray], np.ndarray] = law) -> np.ndarray:
            asked.append(z.size)  # noqa: B023
            return law(z)

        g = continued(counted, scale)
        assert sum(asked) <= TARGETS + len(ANCHORS) + len(CHECKS)
        thresholds = scale * np.array([1.0, 1.5, 1.9, 2.1, 3.0, 4.0, 8.0, 12.0])
        assert_allclose(1e4 * mass_beyond(g, thresholds), 1e4 * mass_beyond(law, thresholds), atol=0.5)


def test_what_is_not_analytic_is_not_continued() -> None:
    def rough(z: np.ndarray) -> np.ndarray:
        return semicircle(z, 1.0) * (1 + 0.1 * np.sin(40 * np.abs(z)))

    with pytest.raises(ConvergenceError, match=r"off by .* at points left out"):
        continued(rough, 1.0)
