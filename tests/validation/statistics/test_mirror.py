"""The mirror symmetry of a spectrum: closed forms, and what its test and its errors are under exact nulls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from simulator import SpectralDensity, spectral_density
from support.cases import Array, rotated
from validation.statistics.mirror import mirror_symmetry

SYMMETRIC = np.concatenate([-np.linspace(0.2, 2, 20), np.linspace(0.2, 2, 20), np.zeros(5)])


def diagonal(eigenvalues: Array, probes: int = 4) -> SpectralDensity:
    """Rademacher probes see exactly the spectrum of a diagonal matrix: every probe the same measure."""
    return spectral_density(np.diag(eigenvalues), n_probes=probes, n_steps=len(eigenvalues))


def symmetry(spectrum: SpectralDensity, eta: float = 0.05) -> Any:
    return mirror_symmetry(spectrum, eta, np.random.default_rng(0))


def bipartite(seed: int, half: int = 10) -> Array:
    """[[0, B], [B^T, 0]]: S H S = -H for signs S, so that a probe of random signs sees H as often as -H."""
    b = np.random.default_rng(seed).standard_normal((half, half))
    return np.block([[np.zeros_like(b), b], [b.T, np.zeros_like(b)]])


@pytest.mark.parametrize("probes", [1, 2, 3, 4, 6])
def test_the_randomisation_test_is_exact(probes: int) -> None:
    """Under an exact null p takes the values k/2^(n-1) with equal probability, and is never below the least one."""
    found = [symmetry(spectral_density(bipartite(s), probes, 8, seed=s)) for s in range(200)]
    p = np.array([f.p_value for f in found])
    patterns = 2 ** (probes - 1)
    assert {f.patterns for f in found} == {patterns}
    assert_allclose(p * patterns, np.round(p * patterns), atol=1e-9)
    for level in (0.125, 0.25, 0.5):
        allowed = np.floor(level * patterns + 1e-9) / patterns
        assert abs(np.mean(p <= level + 1e-9) - allowed) <= 4.0 * np.sqrt(max(allowed * (1 - allowed), 1e-4) / p.size)
    assert [f.value > f.null_95 for f in found] == [f.p_value <= 0.05 for f in found]


def test_the_standard_error_covers_a_symmetric_spectrum() -> None:
    """W1 of what is exactly symmetric is noise, and noise of the size that is said."""
    for probes in (1, 4):
        found = [symmetry(spectral_density(bipartite(s, 60), probes, 30, seed=s)) for s in range(30)]
        ratio = np.array([f.value / f.standard_error for f in found])
        assert 0.3 < ratio.mean() < 1.2
        assert np.mean(ratio > 2.0) <= 0.05
        skew = np.array([f.skew / f.skew_standard_error for f in found])
        assert np.mean(np.abs(skew) > 2.0) <= 0.15


@pytest.mark.parametrize("shift", [0.02, 0.3, -0.3])
def test_a_shifted_spectrum(shift: float) -> None:
    """W1 of a law to its mirror image is twice its shift. With equal probes, mirroring k of 4 leaves |4 - 2k|/4 of it:

    of the 8 patterns 0, 0, 0, 1/2, 1/2, 1/2, 1/2, 1 of the value. So p = 1/8, and no number is exceeded in 5 % but the
    value itself.
    """
    values = SYMMETRIC + shift
    rms = np.sqrt(np.mean(values**2))
    found = symmetry(diagonal(values), eta=0.05 * rms)
    assert found.value == pytest.approx(2 * abs(shift) / rms, rel=0.03)
    assert (found.patterns, found.p_value) == (8, 0.125)
    assert found.null_95 == pytest.approx(found.value, rel=1e-9)
    assert found.m3 == pytest.approx(np.mean(values**3) / rms**3, rel=1e-9)
    assert found.skew == pytest.approx(np.sum(values**3) / np.sum(np.abs(values) ** 3), rel=1e-9)
    # Probes on a diagonal matrix are all alike; what is left is the known bound, counted as two probes beside four.
    bound = np.sqrt(2 / values.size * np.var(values**3)) / rms**3
    assert found.m3_standard_error == pytest.approx(bound * np.sqrt(2 / 5 / 4), rel=1e-6)


def test_six_probes_are_enough_to_reject() -> None:
    found = symmetry(diagonal(SYMMETRIC + 0.3, probes=6))
    assert found.p_value == 1 / 32
    assert found.value > found.null_95


def test_outliers_of_one_sign_are_seen_by_the_skew_and_not_by_w1() -> None:
    """One eigenvalue in 400 at 20 rms: W1 moves it alone, tr H³ is nearly its own."""
    values = np.concatenate([np.random.default_rng(1).standard_normal(399), [20.0]])
    found = symmetry(spectral_density(rotated(values), 8, 60))
    assert found.value < 0.3
    assert found.skew > 0.8
    assert found.skew_standard_error < 0.1


def test_mirroring_changes_nothing_but_the_sign_of_odd_moments() -> None:
    matrix = rotated(SYMMETRIC + 0.3)
    found, mirrored = (symmetry(spectral_density(sign * matrix, n_probes=4, n_steps=20)) for sign in (1, -1))
    assert_allclose([mirrored.m3, mirrored.skew], [-found.m3, -found.skew], rtol=1e-9)
    assert found.m3 > 3 * found.m3_standard_error > 0
    even = ("value", "standard_error", "null_95", "p_value", "m3_standard_error", "skew_standard_error")
    assert_allclose([getattr(mirrored, k) for k in even], [getattr(found, k) for k in even], rtol=1e-9)


def test_it_is_in_units_of_the_rms() -> None:
    matrix = rotated(SYMMETRIC + 0.3)
    found, scaled = (symmetry(spectral_density(f * matrix, n_probes=4, n_steps=20), 0.05 * f) for f in (1, 1e-6))
    keys = ("value", "standard_error", "null_95", "m3", "skew", "skew_standard_error")
    assert_allclose([getattr(scaled, k) for k in keys], [getattr(found, k) for k in keys], rtol=1e-8)


def test_many_probes_are_mirrored_at_random() -> None:
    """12 equal probes: |Σ ±1|/12 of the value, at least 6/12 in 14.6 % and at least 8/12 in 3.9 % of the patterns.

    The measured pattern is one of those that count, so that p is never 0.
    """
    found = symmetry(diagonal(SYMMETRIC + 0.3, probes=12))
    assert found.patterns == 1000
    assert found.null_95 / found.value == pytest.approx(0.5, abs=1e-6)
    assert 1e-3 <= found.p_value <= 5e-3


def test_one_probe_and_no_spectrum() -> None:
    one = symmetry(diagonal(SYMMETRIC + 0.3, probes=1))
    assert (one.patterns, one.null_95, one.p_value) == (1, one.value, 1.0)
    assert min(one.m3_standard_error, one.standard_error) > 0
    zero = symmetry(spectral_density(np.zeros((9, 9))))
    assert (zero.value, zero.standard_error, zero.null_95, zero.p_value, zero.patterns) == (0.0, 0.0, 0.0, 1.0, 0)
    assert (zero.m3, zero.m3_standard_error, zero.skew, zero.skew_standard_error) == (0.0, 0.0, 0.0, 0.0)
