"""Distances that see the bulk around 0, and the grid that follows η, on spectra whose eigenvalues are known."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import SpectralDensity, spectral_density
from validation.compare.options import OptionError, Options
from validation.statistics.bulk import FINE_ETA, SIZES, WIDTH, describe_bulk, fine_density, log_density
from validation.statistics.distances import LEAST_ETA, energy_grid, l1_distance, spectral_grid, trapezoid_weights

LOG_WEIGHTS = trapezoid_weights(np.log(SIZES))


def smoothed(places: np.ndarray, energies: np.ndarray, eta: float) -> np.ndarray:
    return np.mean(eta / np.pi / ((places[:, None] - energies) ** 2 + eta**2), axis=0)


@pytest.mark.parametrize("eta", [0.04, 0.01, 0.002, 0.001])
def test_the_trapezoid_rule_counts_sharp_peaks_once(eta: float) -> None:
    """On the standard grid L1 of two laws came out up to 2.8 at η = 0.001, and the mass of one as 2.7."""
    rng = np.random.default_rng(0)
    one, other = rng.uniform(-3, 3, 12), rng.uniform(-3, 3, 12)
    grid = spectral_grid(eta)
    inside = np.mean(np.arctan((4 - one) / eta) + np.arctan((4 + one) / eta)) / np.pi
    assert np.trapezoid(smoothed(one, grid, eta), grid) == pytest.approx(inside, abs=1e-3)
    found = l1_distance(grid, smoothed(one, grid, eta), smoothed(other, grid, eta))
    fine = np.linspace(-4, 4, 100_001)
    exact = l1_distance(fine, smoothed(one, fine, eta), smoothed(other, fine, eta))
    assert found == pytest.approx(exact, abs=2e-3)
    assert found <= 2.0


def test_the_standard_grid_stays_and_the_finest_is_of_bearable_size() -> None:
    for eta in (0.05, 0.1, 1000.0):
        assert np.array_equal(spectral_grid(eta), energy_grid())
    grid = spectral_grid(LEAST_ETA)
    assert np.diff(grid).max() <= LEAST_ETA / 2 * (1 + 1e-9)
    assert np.array_equal(grid, -grid[::-1])
    assert 16_000 <= len(grid) < 17_000
    with pytest.raises(ValueError, match=r"at least 0\.001"):
        spectral_grid(0.0009)
    with pytest.raises(OptionError, match=r"--eta 0\.0009: expected at least 0\.001"):
        Options(eta=0.0009).completed()


def test_the_law_of_log_sizes_leaves_zeros_out_and_counts_the_others() -> None:
    places = np.concatenate([np.zeros(60), [0.01, -0.01, 0.3, -0.3, 2.0, -2.0]])

    def law(z: np.ndarray) -> np.ndarray:
        return np.mean(1.0 / (places[:, None] - z), axis=0)

    sides = [log_density(law, sign) for sign in (1, -1)]
    np.testing.assert_allclose(sides[0], sides[1], rtol=1e-9)  # a symmetric law
    assert sum(LOG_WEIGHTS @ side for side in sides) == pytest.approx(6 / 66, rel=0.01)
    at = SIZES[np.argsort(sides[0])[-1]]
    assert min(abs(np.log(at / size)) for size in (0.01, 0.3, 2.0)) < WIDTH


@pytest.mark.parametrize("size", [0.002, 0.02])
def test_bulks_that_one_eta_hides_are_told_apart(size: float) -> None:
    """The same law with its small eigenvalues at ±size, and at 0: L1 at 0.05 rms says next to nothing of the first."""
    small = np.concatenate([np.full(40, size), np.full(40, -size), np.full(10, 3.0), np.full(10, -3.0)])
    none = np.where(np.abs(small) < 1.0, 0.0, small)
    laws = [lambda z, p=p: np.mean(1.0 / (p[:, None] - z), axis=0) for p in (small, none)]
    grid = energy_grid()
    coarse = l1_distance(grid, smoothed(small, grid, 0.05), smoothed(none, grid, 0.05))
    distance = sum(LOG_WEIGHTS @ np.abs(np.subtract(*(log_density(law, sign) for law in laws))) for sign in (1, -1))
    assert coarse < 0.3
    assert distance > 0.7


def test_the_measured_bulk_of_an_exact_rule_is_that_of_its_eigenvalues() -> None:
    """A rule that ended early is exact: two nodes with their weights."""
    alpha, beta = np.zeros((1, 2)), np.array([[0.5, 0.0]])
    spectrum = SpectralDensity.from_recurrence(alpha, beta)
    found = describe_bulk(spectrum)
    rms = spectrum.rms
    places = spectrum.nodes[0] / rms

    def law(z: np.ndarray) -> np.ndarray:
        return np.sum(spectrum.weights[0][:, None] / (places[:, None] - z), axis=0)

    np.testing.assert_allclose(found["positive"], log_density(law, 1), atol=1e-9)
    np.testing.assert_allclose(found["negative"], log_density(law, -1), atol=1e-9)
    assert found["log_standard_error"] is None
    record = {"alpha": alpha.tolist(), "beta": beta.tolist(), "rms": rms}
    np.testing.assert_allclose(fine_density(record), smoothed(places, spectral_grid(0.01), 0.01), rtol=1e-6)


@pytest.mark.parametrize("steps", [20, 60])
def test_standard_errors_tell_of_steps_that_do_not_resolve_the_bulk(steps: int) -> None:
    """Eigenvalues over five decades: the probes alone would say that a measured law is much closer than it is."""
    rng = np.random.default_rng(3)
    values = np.concatenate([s * np.exp(rng.uniform(np.log(1e-4), np.log(10.0), 300)) for s in (-1.0, 1.0)])
    basis = np.linalg.qr(rng.standard_normal((600, 600)))[0]
    spectrum = spectral_density((basis * values) @ basis.T, 4, steps)
    found, places = describe_bulk(spectrum), values / spectrum.rms

    def law(z: np.ndarray) -> np.ndarray:
        return np.mean(1.0 / (places[:, None] - z), axis=0)

    sides = {"negative": -1, "positive": 1}
    off = sum(float(LOG_WEIGHTS @ np.abs(found[name] - log_density(law, sign))) for name, sign in sides.items())
    assert off > 0.2
    assert off < 2.0 * found["log_standard_error"]
    grid = spectral_grid(FINE_ETA)
    fine = spectrum.terminated_density(grid * spectrum.rms, FINE_ETA * spectrum.rms)[0] * spectrum.rms
    assert l1_distance(grid, fine, smoothed(places, grid, FINE_ETA)) < 2.0 * found["l1_fine_standard_error"]
