"""Distances against closed forms; the terminated density against each probe's own measure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import trapezoid

from simulator import HessianOperator, spectral_density
from support.cases import DENSE, IMAGES, Array, rotated
from validation.statistics.distances import energy_grid, l1_distance, w1_distance

GRID = energy_grid()
FINE = energy_grid(2000)


def lorentzian(energies: Array, centre: float, width: float) -> Array:
    density: Array = width / np.pi / ((energies - centre) ** 2 + width**2)
    return density


def semicircle(energies: Array, centre: float, rms: float) -> Array:
    density: Array = np.sqrt(np.maximum(4 * rms**2 - (energies - centre) ** 2, 0)) / (2 * np.pi * rms**2)
    return density


def test_the_grid_is_the_formula() -> None:
    """E_j = ±4 rms (e^{3j/60} - 1)/(e³ - 1), written out."""
    half = [4 * (np.exp(3 * j / 60) - 1) / (np.exp(3) - 1) for j in range(61)]
    assert GRID.shape == (121,)
    assert_allclose(GRID[60:], half, rtol=1e-13)
    assert_array_equal(GRID, -GRID[::-1])
    assert (GRID[60], GRID[-1]) == (0.0, 4.0)
    assert np.diff(GRID)[60] < 0.05 / 2 < np.diff(GRID)[-1]


@pytest.mark.parametrize(("grid", "tolerance"), [(GRID, 5e-3), (FINE, 5e-6)], ids=["grid", "fine"])
@pytest.mark.parametrize(("a", "width"), [(0.1, 0.05), (1.0, 0.5), (0.4, 1.0)])
def test_two_lorentzians(a: float, width: float, grid: Array, tolerance: float) -> None:
    """Centres ±a cross at 0; both distances are integrals of arctangents over |E| ≤ 4."""
    laws = lorentzian(grid, a, width), lorentzian(grid, -a, width)

    def cumulative(energy: Array) -> Array:
        values: Array = (np.arctan((energy - a) / width) - np.arctan((energy + a) / width)) / np.pi
        return values

    inside = np.abs(cumulative(FINE) - cumulative(np.array(-4.0)))
    half = 2 * float(cumulative(np.array(4.0)) - cumulative(np.array(0.0)))
    assert l1_distance(grid, *laws) == pytest.approx(half, abs=tolerance)
    assert w1_distance(grid, *laws) == pytest.approx(float(trapezoid(inside, FINE)), abs=tolerance)


def test_two_semicircles() -> None:
    """Concentric: W1 = |r - s| E|x|, E|x| = 8/3π. Shifted by d: W1 = d and L1 = 4 F(d/2) - 2 of the unit law."""
    wide, narrow = semicircle(GRID, 0, 1.0), semicircle(GRID, 0, 0.6)
    assert w1_distance(GRID, wide, narrow) == pytest.approx(0.4 * 8 / (3 * np.pi), abs=4e-3)
    left, right = semicircle(GRID, -0.4, 1.0), semicircle(GRID, 0.4, 1.0)
    assert w1_distance(GRID, left, right) == pytest.approx(0.8, abs=8e-3)
    cumulative = 0.5 + 0.4 * np.sqrt(4 - 0.4**2) / (4 * np.pi) + np.arcsin(0.2) / np.pi
    assert l1_distance(GRID, left, right) == pytest.approx(4 * cumulative - 2, abs=8e-3)


def test_identical_disjoint_and_lost_mass() -> None:
    """0 for one law twice; 2 for two laws side by side; what lies off the grid is not counted."""
    law, other = semicircle(GRID, -1.5, 0.5), semicircle(GRID, 1.5, 0.5)
    assert l1_distance(GRID, law, law) == w1_distance(GRID, law, law) == 0.0
    assert l1_distance(GRID, law, other) == pytest.approx(2.0, abs=2e-2)
    assert w1_distance(GRID, law, other) == pytest.approx(3.0, abs=3e-2)
    half_outside = semicircle(GRID, 4.0, 0.5)
    assert l1_distance(GRID, law, half_outside) == pytest.approx(1.5, abs=3e-2)


@given(st.integers(0, 2**32 - 1))
def test_both_are_metrics(seed: int) -> None:
    a, b, c = np.random.default_rng(seed).uniform(0, 1, (3, GRID.size))
    for distance in (l1_distance, w1_distance):
        assert distance(GRID, a, b) == distance(GRID, b, a) > 0
        assert distance(GRID, a, c) <= distance(GRID, a, b) + distance(GRID, b, c) + 1e-12
    span = GRID[-1] - GRID[0]
    assert w1_distance(GRID, a, b) <= span * l1_distance(GRID, a, b)


class Probed:
    """A symmetric matrix that remembers the probes it was started from, as columns."""

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.shape, self.probes = matrix, matrix.shape, np.zeros((0, 0))

    def __matmul__(self, v: Array) -> Array:
        if not self.probes.size:
            self.probes = np.array(v)
        product: Array = self.matrix @ v
        return product


def goe() -> Array:
    a = np.random.default_rng(3).standard_normal((500, 500))
    matrix: Array = (a + a.T) / np.sqrt(2 * 500)
    return matrix


MATRICES: dict[str, Callable[[], Array]] = {
    "goe": goe,
    "mlp": lambda: HessianOperator(*DENSE[4].problem).dense(),
    "conv": lambda: HessianOperator(*IMAGES[10].problem).dense(),
}


@pytest.mark.parametrize(("name", "steps"), [("goe", 12), ("mlp", 14), ("conv", 14)])
def test_the_terminated_density_is_closer_to_each_probes_measure_than_the_gauss_rule(name: str, steps: int) -> None:
    """v^T δ_η(E - H) v of the very probes that were used, from dense eigenvectors; mean over probes, each by itself."""
    matrix = MATRICES[name]()
    rms = np.sqrt(np.mean(np.linalg.eigvalsh(matrix) ** 2))
    eigenvalues, vectors = np.linalg.eigh(matrix)
    operator, grid, eta = Probed(matrix), GRID * rms, 0.05 * rms
    result = spectral_density(operator, n_probes=16, n_steps=steps)
    share = (vectors.T @ operator.probes) ** 2
    exact = (1 / (eigenvalues - grid[:, None] - 1j * eta)).imag / np.pi @ share
    gauss = np.sum(result.weights / (result.nodes - grid[:, None, None] - 1j * eta), axis=-1).imag / np.pi
    terminated = result.terminated_densities(grid, eta)
    assert terminated.shape == exact.shape == (121, 16)
    errors, gauss_errors = (trapezoid(np.abs(d - exact), grid, axis=0) for d in (terminated, gauss))
    assert errors.mean() < 0.8 * gauss_errors.mean()
    assert np.mean(errors < gauss_errors) > 0.75


@pytest.mark.parametrize("steps", [1, 2, 9, 40])
@pytest.mark.parametrize("name", MATRICES)
def test_the_terminated_density_is_a_density_of_mass_one(name: str, steps: int) -> None:
    """∫ρ = 1 once the tails η/πE² beyond the grid are added."""
    result = spectral_density(MATRICES[name](), n_probes=4, n_steps=steps)
    scale = np.abs(result.nodes).max() + result.beta.max()
    eta, far = 0.05 * scale, 1e4 * scale
    half = np.concatenate([np.linspace(0, 3 * scale, 6001), np.geomspace(3 * scale, far, 3000)[1:]])
    energies = np.concatenate([-half[:0:-1], half])
    densities = result.terminated_densities(energies, eta)
    assert np.isfinite(densities).all()
    assert densities.min() >= 0
    assert_allclose(trapezoid(densities, energies, axis=0) + 2 * eta / (np.pi * far), 1.0, atol=1e-4)


@pytest.mark.parametrize("values", [[1.0, -0.5, 2.5], [0.0], [3.0]], ids=["three", "zero", "one"])
def test_where_a_probe_broke_down_the_terminator_adds_nothing(values: list[float]) -> None:
    """Few distinct eigenvalues: the Gauss rule is exact, and the continued fraction ends in β = 0."""
    result = spectral_density(rotated(np.repeat(values, 30)), n_probes=3, n_steps=20)
    energies = np.linspace(-3, 4, 57)
    terminated, gauss = result.terminated_density(energies, 0.1), result.density(energies, 0.1)
    assert np.isfinite(terminated).all()
    assert_allclose(terminated[0], gauss[0], rtol=1e-9, atol=1e-12)
    # An error is the root of a difference that may be 0 but for rounding.
    assert_allclose(np.square(terminated[1]), np.square(gauss[1]), rtol=1e-9, atol=1e-14)
