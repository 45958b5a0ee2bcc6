"""Standard errors of a measured spectrum, on matrices whose eigenvalues are known."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType

import numpy as np
import pytest

from backends import HostArray
from simulator import HessianOperator, SpectralDensity, mlp, spectral_density
from support.places import ROOT
from validation.measurements.spectrum import describe_spectrum
from validation.statistics.distances import energy_grid, l1_distance


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibration", ROOT / "benchmarks" / "calibration.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exact(values: HostArray, energies: HostArray, eta: float) -> HostArray:
    density: HostArray = np.mean(eta / np.pi / ((values - energies[:, None]) ** 2 + eta**2), axis=1)
    return density


def test_the_truth_is_within_two_standard_errors(calibration: ModuleType) -> None:
    """A few measurements of every kind: 95 % of the truths within two, 68 % within one, and errors not idle ones."""
    known = calibration.hessians([[64, 5, 5, 1]], examples=40)
    seen = calibration.tables(list(calibration.measurements(4, 3, known)))
    assert set(seen["L1"]) >= {*calibration.RANDOM, "ReLU Hessians"}
    l1 = seen["L1"]["all"]
    assert l1["count"] == 20
    assert l1["two"] >= 0.95
    assert l1["one"] >= 0.68
    assert 1.0 < l1["ratio"] < 2.5
    assert seen["shares"]["all"]["two"] >= 0.9
    assert seen["shares"]["all"]["one"] >= 0.6


@pytest.mark.slow
def test_coverage_of_many_measurements(calibration: ModuleType) -> None:
    each = 10 if os.environ.get("UMWELT_REDUCED") else 40
    seen = calibration.tables(list(calibration.measurements(each, 11, calibration.hessians())))
    for group, found in seen["L1"].items():
        assert found["two"] >= 0.95 - 2.0 * np.sqrt(0.05 / found["count"]), group
        assert found["one"] >= 0.68 - 2.0 * np.sqrt(0.22 / found["count"]), group
    assert seen["shares"]["all"]["two"] >= 0.92
    assert seen["shares"]["all"]["one"] >= 0.65


def scales(n: int, zero: float, width: float, seed: int) -> HostArray:
    """An atom at 0 and magnitudes over many scales, of both signs, as in a Hessian during training."""
    rng, values = np.random.default_rng(seed), np.zeros(n)
    m = int(n * (1.0 - zero))
    values[:m] = np.exp(width * rng.standard_normal(m)) * rng.choice([-1.0, 1.0], m)
    return values


@pytest.mark.parametrize(("zero", "width", "seed", "steps"), [(0.3, 1.0, 0, 15), (0.5, 1.0, 0, 20), (0.3, 2.0, 1, 15)])
def test_too_few_steps_are_told(zero: float, width: float, seed: int, steps: int) -> None:
    """A diagonal matrix: probes of random signs are without error, and the steps alone are to blame.

    Here the change when a quarter of the steps is left out is less than half of what the density is off by.
    """
    values = scales(1200, zero, width, seed)
    found, eta = spectral_density(Diagonal(values), 2, steps), 0.05
    rms, grid = found.rms, energy_grid()
    measured, fewer = (found.terminated_density(grid * rms, eta * rms, k)[0] for k in (steps, steps * 3 // 4))
    l1 = l1_distance(grid * rms, measured, exact(values, grid * rms, eta * rms))
    error = found.l1_standard_error(grid * rms, eta * rms)
    assert l1 > 2.0 * l1_distance(grid * rms, measured, fewer)
    assert 0.5 * l1 < error < 4.0 * l1


class Diagonal:
    """A diagonal matrix."""

    def __init__(self, values: HostArray) -> None:
        self.values, self.shape = values, (values.size, values.size)

    def __matmul__(self, v: HostArray) -> HostArray:
        return self.values[:, None] * v


def test_two_measurements_differ_by_the_standard_error() -> None:
    """Converged in steps, L1 between independent measurements is on average what each says of itself."""
    rng = np.random.default_rng(2)
    half = rng.standard_normal((300, 300))
    matrix, grid = (half + half.T) / np.sqrt(600), energy_grid()
    found = [spectral_density(matrix, 4, 100, seed) for seed in range(8)]
    densities = [f.terminated_density(grid, 0.05)[0] for f in found]
    apart = np.mean([l1_distance(grid, a, b) for a, b in zip(densities[::2], densities[1::2], strict=True)])
    said = [f.l1_standard_error(grid, 0.05) for f in found]
    assert np.mean(said) == pytest.approx(apart, rel=0.15)
    assert np.std(said) < 0.2 * apart


def test_the_standard_error_has_no_unit() -> None:
    matrix, grid = np.diag(scales(200, 0.3, 1.0, 1)), energy_grid()
    one, scaled = (spectral_density(f * matrix, 3, 20).l1_standard_error(f * grid, 0.05 * f) for f in (1.0, 2.0**-40))
    assert one == pytest.approx(scaled, rel=1e-9)


def test_an_exact_rule_leaves_the_error_of_the_probes() -> None:
    """Three eigenvalues take three steps: nothing is left that further steps could change."""
    values = np.repeat([-1.0, 0.0, 2.0], [30, 50, 40])
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((120, 120)))
    found, grid = spectral_density((q * values) @ q.T, 3, 12), energy_grid()
    density, error = found.terminated_density(grid, 0.05)
    for other in (found.terminated_density(grid, 0.05, 9)[0],
                  found.terminated_stieltjes(grid + 0.05j, mirrored=True).imag.mean(axis=-1) / np.pi):  # fmt: skip
        np.testing.assert_allclose(other, density, rtol=1e-9)
    probes = np.sqrt(4.0 / np.pi) * np.trapezoid(error, grid)
    assert found.l1_standard_error(grid, 0.05) == pytest.approx(probes, rel=1e-9)


def test_the_variance_of_a_probe_is_at_most_the_known_bound() -> None:
    """Var v^T f v ≤ (2/N) (tr f²/N - (tr f/N)²), nearly met where eigenvectors are spread over all coordinates."""
    network = mlp([12, 6, 6, 1])
    rng = np.random.default_rng(0)
    operator = HessianOperator(network, network.init(1), rng.standard_normal((40, 12)), rng.choice([-1.0, 1.0], 40))
    values = np.linalg.eigvalsh(operator.dense())
    many = spectral_density(operator, 100, 12, 0)
    for k in (2, 3):
        seen = np.var(np.sum(many.weights * many.nodes**k, axis=1), ddof=1)
        bound = 2.0 / values.size * np.var(values**k)
        assert seen < 1.5 * bound
        assert seen > 0.2 * bound


def test_shares_of_a_hessian_know_their_bias() -> None:
    """Sixteen probes see their own scatter well: what they lack is the rule's bias at 30 and 60 steps."""
    network = mlp([16, 16, 16, 1])
    rng = np.random.default_rng(0)
    operator = HessianOperator(network, network.init(3), rng.standard_normal((60, 16)), rng.choice([-1.0, 1.0], 60))
    values = np.linalg.eigvalsh(operator.dense())
    within = []
    for seed in range(6):
        found = describe_spectrum(spectral_density(operator, 16, 30 + 30 * (seed % 2), seed), 0.05, rng)
        share = found["fraction_zero"]
        truth = np.mean(np.abs(values) <= 0.05 * found["rms"])
        within.append(abs(share["value"] - truth) / share["standard_error"])
    assert np.mean(np.array(within) <= 1.0) >= 0.6
    assert max(within) < 3.0


def test_mirrored_is_a_law_of_mass_one() -> None:
    found = spectral_density(np.diag(scales(300, 0.3, 1.0, 3)), 2, 14)
    z = np.array([1e9j, 0.3 + 1e-3j, -2.0 + 1e-2j])
    g = found.terminated_stieltjes(z, mirrored=True)
    assert np.all(g.imag > 0)
    np.testing.assert_allclose(-z[0] * g[0], 1.0, rtol=1e-6)
    assert isinstance(found, SpectralDensity)
    assert found.size == 300
