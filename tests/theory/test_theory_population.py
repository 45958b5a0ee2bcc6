"""Population kernels against closed forms, Gaussian integrals and random networks; R4 against ensembles."""

from __future__ import annotations

import math
import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad

from backends import get_backend
from simulator import HessianOperator, mlp
from simulator.passes.propagation import backpropagate, propagate
from support.cases import Array, assert_close
from support.oracles import linearised as oracle
from support.spectra import l1_error, small_digits
from theory import (
    correlation_map,
    correlation_slope,
    linearised_law,
    population_kernels,
    population_signals,
    stretch,
)
from theory.rungs.population import factor
from theory.signals import OFF
from validation.predictions.predict import initial_variances

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))


def scores(samples: Array, expected: Array) -> Array:
    """(mean - expected) / standard error, samples along the first axis."""
    error = np.std(samples, axis=0) / math.sqrt(len(samples))
    return np.asarray((samples.mean(axis=0) - expected) / np.where(error > 0.0, error, 1e-12))


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi], ids=["equal", "orthogonal", "opposite"])
def test_known_angles(angle: float) -> None:
    """θ = 0: q = 1/2, k = Σ/2; π/2: q = 1/4, k = √(Σ_ii Σ_kk)/2π; π: both 0."""
    x = np.array([[2.0, 0.0], [3.0 * math.cos(angle), 3.0 * math.sin(angle)]])
    kernels = population_kernels(x, [2, 5, 1], [0.5, 0.3])
    q, k = {
        0.0: (0.5, 0.5 * 0.5 * 6.0),
        math.pi / 2: (0.25, 0.5 * 6.0 / (2 * math.pi)),
        math.pi: (0.0, 0.0),
    }[angle]
    assert_allclose(kernels.overlap[0], [[0.5, q], [q, 0.5]], atol=1e-8)
    assert_allclose(kernels.activation[0], [[1.0, k], [k, 0.25 * 9.0]], atol=1e-7)
    assert_allclose(kernels.backward[0], 0.3 * kernels.overlap[0], rtol=1e-14)


def test_an_example_without_signal_opens_no_gate() -> None:
    """z = 0 gives h = 0."""
    kernels = population_kernels([[1.0, 2.0], [0.0, 0.0]], [2, 3, 4, 1], [0.5, 0.5, 0.5])
    for arrays in (kernels.overlap, kernels.activation, kernels.backward):
        for matrix in arrays:
            assert matrix[0, 0] > 0.0
            assert not matrix[1].any()
            assert not matrix[:, 1].any()


@given(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**31))
@settings(max_examples=25)
def test_kernels_are_the_formulas_and_gram_matrices(m: int, widths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = [*widths, 1]
    x, variances = rng.normal(size=(m, widths[0])), list(rng.uniform(0.1, 2.0, len(widths) - 1))
    found = population_kernels(x, widths, variances)
    sigma, overlap, activation = oracle.arc_cosine_kernels(x, widths, variances)
    for mine, other in zip(
        (*found.covariance, *found.overlap, *found.activation), (*sigma, *overlap, *activation), strict=True
    ):
        assert_allclose(mine, other, atol=1e-7 * np.abs(other).max())  # arccos near 1 keeps half of the digits
    for matrix in (*found.covariance, *found.overlap, *found.activation, *found.backward):
        assert_allclose(matrix, matrix.T, atol=1e-7 * np.trace(matrix))
        assert np.linalg.eigvalsh(matrix).min() >= -1e-7 * np.trace(matrix)
        assert_close(factor(matrix) @ factor(matrix).T, matrix, 1e-6)


def test_kernels_are_gaussian_means() -> None:
    """q and k of every layer against draws of its preactivations, within four standard errors."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    kernels = population_kernels(x, [3, 5, 6, 4, 1], [0.7, 0.4, 0.3, 0.2])
    rng = np.random.default_rng(1)
    for sigma, q, k in zip(kernels.covariance, kernels.overlap, kernels.activation, strict=True):
        z = rng.multivariate_normal(np.zeros(4), sigma, size=40_000)
        on = (z > 0.0).astype(float)
        for samples, expected in ((on, q), (np.maximum(z, 0.0), k)):
            assert np.abs(scores(samples[:, :, None] * samples[:, None, :], expected)).max() < 4.5


@pytest.mark.parametrize(("depth", "n", "slack"), [(2, 3, 0.0), (4, 128, 0.06)], ids=["exact", "wide"])
def test_kernels_are_means_over_random_networks(depth: int, n: int, slack: float) -> None:
    """n k and d against Gram matrices of x_l and ∂T/∂z_l: exact at any width for L = 2, up to O(1/n) beyond."""
    x = np.random.default_rng(2).normal(size=(4, 3))
    network, ops = mlp([3, *[n] * (depth - 1), 1]), get_backend("numpy")
    kernels = population_kernels(x, [3, *[n] * (depth - 1), 1], initial_variances(network))
    count = 3000 if depth == 2 else 300
    signals, errors = np.zeros((count, depth - 1, 4, 4)), np.zeros((count, depth - 1, 4, 4))
    for s in range(count):
        weights = network.init(s)
        passed = propagate(network, weights, x, ops)
        back = backpropagate(network, weights, passed, np.ones(4), ops)
        for at in range(depth - 1):
            gated = back[at]
            errors[s, at] = gated @ gated.T / n
            if at + 1 < depth:
                signals[s, at] = passed.inputs[at + 1] @ passed.inputs[at + 1].T / n
    for at in range(depth - 1):
        for samples, expected in ((signals[:, at], kernels.activation[at]), (errors[:, at], kernels.backward[at])):
            error = np.std(samples, axis=0) / math.sqrt(count)
            gap = np.abs(samples.mean(axis=0) - expected)
            assert np.all(gap <= 4.5 * error + slack * np.sqrt(np.outer(np.diag(expected), np.diag(expected))))
            assert np.diag(error).max() < 0.1 * np.diag(expected).max()


def test_signals_carry_the_kernels() -> None:
    rng = np.random.default_rng(3)
    x, c, widths, variances = rng.normal(size=(5, 3)), rng.normal(size=5), [3, 7, 4, 6, 1], [0.5, 0.3, 0.6, 0.2]
    signals = population_signals(x, c, widths, variances, 2000, np.random.default_rng(4))
    kernels = population_kernels(x, widths, variances)
    assert signals.sizes == (21, 28, 24, 6)
    assert_close(signals.top, c[:, None], 1e-15)
    for at, layer in enumerate(signals.layers):
        assert (layer.n_in, layer.n_out, layer.variance) == (widths[at], widths[at + 1], variances[at])
        below = x @ x.T if at == 0 else widths[at] * kernels.activation[at - 1]
        assert_close(layer.inputs @ layer.inputs.T, below, 1e-8)
        if at > 0:
            assert layer.errors is not None
            expected = widths[at + 1] * np.outer(c, c) * kernels.backward[at]
            assert_close(layer.errors @ layer.errors.T, expected, 1e-8)
        on = (layer.source != OFF).astype(float).T
        assert np.abs(scores(on[:, :, None] * on[:, None, :], kernels.overlap[at])).max() < 4.5


def ensemble_error(n: int, seeds: int, m: int, samples: int, grid: int) -> float:
    """L1 of R4 for L = 3 against the averaged spectrum of networks at initialisation, every example active."""
    x, y = small_digits(m)
    network, c = mlp([16, n, n, 1]), -y / m
    spectra = np.stack(
        [np.linalg.eigvalsh(HessianOperator(network, network.init(s), x, None, c=c).dense()) for s in range(seeds)]
    )
    signals = population_signals(x, c, [16, n, n, 1], initial_variances(network), samples, np.random.default_rng(0))
    return l1_error(spectra, lambda z: linearised_law(signals, z).g, grid)


def test_r4_approaches_the_averaged_spectrum_as_the_width_grows() -> None:
    narrow, wide = ensemble_error(8, 16, 30, 40, 20), ensemble_error(24, 4, 30, 40, 20)
    assert wide < 0.7 * narrow
    assert wide < 0.12


@pytest.mark.slow
def test_r4_meets_the_reference_figures() -> None:
    """L = 3: 0.133, 0.062 and 0.025 at n = 12, 24 and 48 on the reference's images."""
    widths = (12, 24) if REDUCED else (12, 24, 48)
    errors = [ensemble_error(n, 4 * 48 // n, 60, 128, 40) for n in widths]
    assert all(a > b for a, b in pairwise(errors))
    assert errors[0] < 0.2
    assert errors[1] < 0.1


def test_arrays_that_do_not_go_together_are_refused() -> None:
    for x, widths, variances in (
        (np.ones((4, 3)), [2, 5, 1], [1.0, 1.0]),
        (np.ones((4, 3)), [3, 5, 1], [1.0]),
        (np.ones(3), [3, 5, 1], [1.0, 1.0]),
    ):
        with pytest.raises(ValueError, match="do not go together"):
            population_kernels(x, widths, variances)


# The map of the correlations of two inputs


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.4, 0.95])
def test_the_map_is_the_gaussian_integral(rho: float) -> None:
    """z = r (cos φ, cos(φ - θ)): E[z_+ z'_+] over E[z_+²] is an integral over angles alone."""
    theta = np.arccos(rho)
    shared = quad(lambda a: np.cos(a) * np.cos(a - theta), theta - np.pi / 2, np.pi / 2)[0]
    assert correlation_map(rho) == pytest.approx(shared / (np.pi / 2), abs=1e-10)
    assert correlation_slope(rho) == pytest.approx((np.pi - theta) / np.pi, abs=1e-12)


def test_the_slope_is_the_derivative_and_1_at_the_fixed_point() -> None:
    rho = np.linspace(-0.99, 0.99, 41)
    difference = (correlation_map(rho + 1e-6) - correlation_map(rho - 1e-6)) / 2e-6
    assert correlation_slope(rho) == pytest.approx(difference, abs=1e-6)
    assert correlation_map(1.0) == correlation_slope(1.0) == 1.0
    deep = correlation_map(rho, layers=300)
    assert np.all(np.diff(correlation_map(rho)) > 0)
    assert (deep > 0.99).all()
    assert correlation_map(rho, layers=2) == pytest.approx(correlation_map(correlation_map(rho)), abs=1e-15)


def test_the_kernels_of_the_population_have_these_correlations_at_any_variance() -> None:
    x = np.random.default_rng(0).standard_normal((5, 4))
    rho = x @ x.T / np.outer(*[np.linalg.norm(x, axis=1)] * 2)
    for variance in (0.1, 3.0):
        kernels = population_kernels(x, [4, 7, 6, 1], [variance] * 3)
        for layers, k in enumerate(kernels.activation, start=1):
            size = np.sqrt(np.outer(np.diag(k), np.diag(k)))
            assert k / size == pytest.approx(correlation_map(np.clip(rho, -1, 1), layers), abs=1e-7)


def test_the_stretch_and_what_is_refused() -> None:
    assert stretch([10, 20, 5, 1], [0.2, 0.2, 9.0]).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="one variance per layer"):
        stretch([10, 20, 1], [0.2])
    with pytest.raises(ValueError, match=r"correlations hold 1\.5: expected numbers in \[-1, 1\]"):
        correlation_map([0.0, 1.5])
    with pytest.raises(ValueError, match="layers -1 is not usable"):
        correlation_map(0.0, layers=-1)
