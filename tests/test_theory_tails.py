"""Mass beyond an energy and the expected largest eigenvalue, against laws whose tails are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from theory import expected_largest, mass_beyond, semicircle


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
    found = expected_largest(lambda z: semicircle(z, 3.0), n, 3.0) / 3.0
    assert n * semicircle_tail(np.array(min(1.01 * found, 2.0))) < 0.5 < n * semicircle_tail(np.array(0.99 * found))


def test_the_largest_eigenvalue_of_random_matrices() -> None:
    """Within 5 % of the mean over Gaussian symmetric matrices."""
    n, rng = 200, np.random.default_rng(0)
    largest = []
    for _ in range(10):
        a = rng.standard_normal((n, n))
        largest.append(np.linalg.eigvalsh((a + a.T) / np.sqrt(2 * n))[-1])
    assert expected_largest(lambda z: semicircle(z, 1.0), n, 1.0) == pytest.approx(np.mean(largest), rel=0.05)


def test_a_tail_that_never_thins_out_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fall through ½"):
        expected_largest(lambda z: semicircle(z, 1e4), 100, 1.0)
