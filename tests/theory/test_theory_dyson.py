"""Semicircle, batched fixed points and the vector Dyson equation against closed forms and random matrices."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from theory import ConvergenceError, LowRankProfile, semicircle, solve_fixed_point, solve_vector_dyson

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

HALF = 4.0 * np.expm1(3.0 * np.arange(61) / 60.0) / np.expm1(3.0)
ENERGIES = np.concatenate([-HALF[:0:-1], HALF])


def l1(first: Complex, second: Complex, rms: float = 1.0) -> float:
    """∫ |Δ density| dE over |E| <= 4 rms for transforms given on ENERGIES · rms."""
    return float(np.trapezoid(np.abs(first.imag - second.imag), ENERGIES * rms) / np.pi)


def empirical(matrix: Real, z: Complex) -> Complex:
    """g(z) = (1/N) Σ 1/(λ - z) from dense eigenvalues."""
    g: Complex = (1.0 / (np.linalg.eigvalsh(matrix) - z[:, None])).mean(axis=1)
    return g


def gaussian_with_profile(profile: Real, seed: int) -> Real:
    noise = np.random.default_rng(seed).normal(size=profile.shape)
    upper = np.triu(noise * np.sqrt(profile))
    return np.asarray(upper + np.triu(upper, 1).T)


# semicircle (R0)


@pytest.mark.parametrize("rms", [0.3, 1.0, 25.0])
@pytest.mark.parametrize("height", [0.05, 1.0, 30.0])
def test_semicircle_is_the_integral_of_its_density(rms: float, height: float) -> None:
    z = rms * (np.linspace(-4.0, 4.0, 17) + 1j * height)
    # Gauss-Chebyshev nodes of the second kind: exponentially accurate for a resolvent off the axis.
    angle = np.arange(1, 4000) * np.pi / 4000
    weights = 2.0 / 4000 * np.sin(angle) ** 2
    oracle = (weights / (2.0 * rms * np.cos(angle) - z[:, None])).sum(axis=1)
    np.testing.assert_allclose(semicircle(z, rms), oracle, rtol=1e-12)


def test_semicircle_is_accurate_far_out_and_close_to_the_axis() -> None:
    far = np.array([1e4 + 1j, -1e4 + 1e-3j, 1e4j])
    series = -1.0 / far * (1.0 + far**-2 + 2.0 * far**-4)
    np.testing.assert_allclose(semicircle(far, 1.0), series, rtol=5e-16)
    close = np.linspace(-2.5, 2.5, 101) + 1e-12j
    g = semicircle(close, 1.0)
    assert (g.imag > 0.0).all()
    np.testing.assert_allclose(-1.0 / g, close + g, atol=1e-13)


def test_semicircle_of_nothing_is_an_atom() -> None:
    z = np.array([[0.3 + 0.1j], [1e-4j]])
    g = semicircle(z, 0.0)
    assert g.shape == z.shape
    np.testing.assert_allclose(g, -1.0 / z, rtol=1e-15)


def test_semicircle_describes_goe_eigenvalues() -> None:
    n = 500
    goe = gaussian_with_profile(np.full((n, n), 1.0 / n), seed=1)
    z = ENERGIES + 0.05j
    assert l1(empirical(goe, z), semicircle(z, 1.0)) < 0.02


@pytest.mark.parametrize("rms", [-1.0, np.nan, np.inf])
def test_semicircle_rejects_bad_rms(rms: float) -> None:
    with pytest.raises(ValueError, match="rms is"):
        semicircle(1j, rms)


# the fixed-point iteration


def everything(x: Complex, index: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.ones(len(x), dtype=np.bool_)


def nothing(x: Complex, index: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.zeros(len(x), dtype=np.bool_)


def test_fixed_points_of_unrelated_linear_maps() -> None:
    """x = A x + b row by row; spectral radii 0.5, 0.999 and 3: the last diverges without extrapolation."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 6, 6)) + 1j * rng.normal(size=(3, 6, 6))
    a *= (np.array([0.5, 0.999, 3.0]) / np.abs(np.linalg.eigvals(a)).max(axis=1))[:, None, None]
    b = rng.normal(size=(3, 6)) + 0j
    seen: list[int] = []

    def step(x: Complex, index: NDArray[np.intp]) -> Complex:
        seen.append(len(index))
        return np.asarray((a[index] @ x[:, :, None])[:, :, 0] + b[index])

    found = solve_fixed_point(
        step, np.zeros((3, 6), complex), admissible=everything, tolerance=1e-11, max_iterations=60
    )
    assert found.converged.all()
    assert (found.residual <= 1e-11).all()
    np.testing.assert_allclose(found.value, np.linalg.solve(np.eye(6) - a, b[:, :, None])[:, :, 0], atol=1e-8)
    assert len(seen) == found.iterations.max()
    assert sum(seen) == found.iterations.sum()


def test_damped_steps_alone_solve_an_oscillating_map() -> None:
    """No extrapolation is admissible: x -> -0.99 x + 1 must still be solved, by damping."""
    start = np.full((2, 1), 5.0 + 0j)
    found = solve_fixed_point(
        lambda x, index: 1.0 - 0.99 * x, start, admissible=nothing, tolerance=1e-12, max_iterations=100
    )
    np.testing.assert_allclose(found.value, 1.0 / 1.99, rtol=1e-11)


def test_a_misleading_secant_model_is_dropped() -> None:
    """A contraction with a kink at every scale, on which secants keep pointing to the wrong place."""

    def step(x: Complex, index: NDArray[np.intp]) -> Complex:
        return np.asarray(0.9 * np.abs(x) * np.exp(1j * np.log(np.abs(x) + 1e-300)))

    found = solve_fixed_point(
        step, np.full((1, 3), 1.0 + 0j), admissible=everything, tolerance=1e-10, max_iterations=4000
    )
    assert found.converged.all()
    assert np.abs(found.value).max() < 1e-8


def test_stride_bounds_every_extrapolation() -> None:
    path: list[complex] = []

    def step(x: Complex, index: NDArray[np.intp]) -> Complex:
        path.append(complex(x[0, 0]))
        return np.asarray(0.999 * x + 0.01)

    found = solve_fixed_point(
        step, np.zeros((1, 1), complex), admissible=everything, tolerance=1e-12, max_iterations=50, stride=1.0
    )
    assert found.value[0, 0] == pytest.approx(10.0)
    assert np.abs(np.diff(path)).max() <= 1.0 + 1e-12


def test_unsolvable_and_broken_rows_are_reported_and_leave_the_others_alone() -> None:
    shift = np.array([[1.0], [0.0], [np.nan]])
    slope = np.array([[1.0], [0.5], [0.5]])
    found = solve_fixed_point(
        lambda x, index: slope[index] * x + shift[index],
        np.ones((3, 1), complex),
        admissible=everything,
        tolerance=1e-12,
        max_iterations=30,
    )
    assert found.converged.tolist() == [False, True, False]
    assert found.residual[0] == pytest.approx(1.0)
    assert found.iterations[0] == 30
    assert found.residual[2] == np.inf
    assert found.iterations[2] == 1


# the vector Dyson equation: closed forms


def bipartite_profile(n_1: int, n_2: int) -> Real:
    """2 x 2 reduced profile of H = [[0, B], [B^T, 0]], B (n_1, n_2), scaled to rms 1."""
    variance = (n_1 + n_2) / (2.0 * n_1 * n_2)
    return variance * np.array([[0.0, n_2], [n_1, 0.0]])


def marchenko_pastur(z: Complex, n_1: int, n_2: int) -> Complex:
    """g of the bipartite matrix, n_1 >= n_2: atom (n_1 - n_2)/n at 0 and eigenvalues ±√x, x of B^T B.

    The density of x is √((b-x)(x-a))/(2π v n_2 x), a, b = v(√n_1 ∓ √n_2)², v the variance of an entry;
    x = centre + r cos θ turns the integral of 2z/(x - z²) into one of a smooth periodic function.
    """
    n, v = n_1 + n_2, (n_1 + n_2) / (2.0 * n_1 * n_2)
    centre, r = v * (n_1 + n_2), 2.0 * v * np.sqrt(n_1 * n_2)
    theta = (np.arange(4000) + 0.5) * np.pi / 4000
    x = centre + r * np.cos(theta)
    weights = (r * np.sin(theta)) ** 2 / (2.0 * v * n_2 * x) / 4000
    pairs = (weights * z[:, None] / (x - z[:, None] ** 2)).sum(axis=1) * 2.0
    return np.asarray(-(n_1 - n_2) / n / z + n_2 / n * pairs)


@pytest.mark.parametrize(("n_1", "n_2"), [(1000, 1000), (1000, 250), (1000, 50)])
def test_bipartite_blocks_give_marchenko_pastur_with_its_atom(n_1: int, n_2: int) -> None:
    z = ENERGIES + 0.05j
    solved = solve_vector_dyson(bipartite_profile(n_1, n_2), z)
    g = solved.values @ np.array([n_1, n_2]) / (n_1 + n_2)
    np.testing.assert_allclose(g, marchenko_pastur(z, n_1, n_2), rtol=1e-8)
    assert solved.iterations <= 60


@pytest.mark.parametrize("eta", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize(("n_1", "n_2"), [(1000, 940), (1000, 250), (1000, 50)])
def test_bipartite_blocks_close_to_the_axis(n_1: int, n_2: int, eta: float) -> None:
    """b z m² + (z² - a + b) m + z = 0 for the first block, (a, b) its and the other's total variance."""
    z = ENERGIES + 1j * eta
    profile = bipartite_profile(n_1, n_2)
    values = solve_vector_dyson(profile, z).values
    a, b = profile[0, 1], profile[1, 0]
    for point, m in zip(z, values, strict=True):
        roots = np.roots([b * point, point**2 - a + b, point])
        partner = -1.0 / (point + b * roots)
        (true,) = roots[(roots.imag > 0.0) & (partner.imag > 0.0)]
        assert m[0] == pytest.approx(true, rel=1e-5)
    atom = eta * (values[len(HALF) - 1] @ np.array([n_1, n_2])).imag / (n_1 + n_2)
    assert atom == pytest.approx((n_1 - n_2) / (n_1 + n_2), abs=2.0 * eta)


def test_profile_need_not_be_symmetric() -> None:
    z = np.array([0.2 + 0.1j, -1.5 + 0.3j, 2j])
    values = solve_vector_dyson([[0.0, 3.0], [0.0, 0.0]], z).values
    np.testing.assert_allclose(values[:, 1], -1.0 / z, rtol=1e-12)
    np.testing.assert_allclose(values[:, 0], -1.0 / (z - 3.0 / z), rtol=1e-9)


def test_constant_profile_is_the_semicircle() -> None:
    z = ENERGIES + 1e-3j
    values = solve_vector_dyson(np.full((5, 5), 0.8), z).values
    np.testing.assert_allclose(values, np.repeat(semicircle(z, 2.0)[:, None], 5, axis=1), rtol=1e-8)


def test_zero_profile_is_an_atom() -> None:
    solved = solve_vector_dyson(np.zeros((3, 3)), [0.1 + 0.2j])
    np.testing.assert_allclose(solved.values, np.full((1, 3), -1.0 / (0.1 + 0.2j)), rtol=1e-14)
    empty = solve_vector_dyson(LowRankProfile(np.zeros((3, 2)), np.ones((3, 2))), [0.1 + 0.2j])
    np.testing.assert_allclose(empty.values, solved.values, rtol=1e-14)


def test_large_z_carries_the_second_moment() -> None:
    profile = np.random.default_rng(3).uniform(size=(7, 7))
    z = np.array([300.0 + 400.0j])
    mean = solve_vector_dyson(profile, z, tolerance=1e-13).values.mean()
    assert -(mean + 1.0 / z[0]) * z[0] ** 3 == pytest.approx(profile.sum() / 7, rel=1e-3)


# the vector Dyson equation: consistency


def uneven_profile(n: int, seed: int) -> Real:
    """Lognormal row factors, one dead quarter, two blocks; rms 1."""
    rng = np.random.default_rng(seed)
    factor = np.exp(rng.normal(size=n)) * (np.arange(n) >= n // 4)
    profile = np.outer(factor, factor)
    profile[: n // 2, : n // 2] *= 0.1
    return np.asarray(profile * n / profile.sum())


def test_known_variance_profile_predicts_a_random_matrix() -> None:
    profile = uneven_profile(600, seed=5)
    z = ENERGIES + 0.05j
    measured = np.mean([empirical(gaussian_with_profile(profile, seed), z) for seed in (6, 7, 8)], axis=0)
    predicted = solve_vector_dyson(profile, z).values.mean(axis=1)
    assert l1(measured, predicted) < 0.025
    assert l1(measured, semicircle(z, 1.0)) > 0.3


def test_low_rank_profile_equals_the_dense_one() -> None:
    rng = np.random.default_rng(7)
    left, right = rng.exponential(size=(40, 3)), rng.exponential(size=(40, 3))
    left[:10], right[:, 2] = 0.0, 0.0
    z = 30.0 * (ENERGIES + 0.05j)
    dense = solve_vector_dyson(left @ right.T, z)
    thin = solve_vector_dyson(LowRankProfile(left, right), z)
    np.testing.assert_allclose(thin.values, dense.values, rtol=1e-7)


def test_mirrored_energies_and_order_of_z() -> None:
    profile = uneven_profile(20, seed=8)
    z = np.array([1.0 + 0.1j, -1.0 + 0.1j, 0.3 + 0.2j, 0.1j, -0.3 + 0.2j])
    values = solve_vector_dyson(profile, z).values
    np.testing.assert_allclose(values[[1, 4]], -values[[0, 2]].conj(), rtol=1e-14)
    np.testing.assert_allclose(values[3].real, 0.0, atol=1e-11)
    for point, row in zip(z, values, strict=True):
        np.testing.assert_allclose(solve_vector_dyson(profile, point).values[0], row, rtol=1e-8)


def test_nearly_cut_chain_needs_the_descent_and_gets_it() -> None:
    """Couplings over six decades, η 1e-5 of the rms: far more than the direct attempt can do."""
    coupling = np.array([24.05, 0.1012, 21.85, 1.038e-3, 655.2])
    profile = np.diag(coupling, 1) + np.diag(coupling, -1)
    solved = solve_vector_dyson(profile, [1.077e-3j, 1.4e-3j, 1e-4 + 1e-3j])
    assert solved.residual <= 1e-10
    assert solved.iterations > 100


@settings(max_examples=60, deadline=None)
@given(
    exponents=st.integers(1, 6).flatmap(
        lambda n: arrays(np.float64, (n, n), elements=st.sampled_from([-np.inf]) | st.floats(-2.0, 2.0))
    ),
    energy=st.floats(-10.0, 10.0),
    log_eta=st.floats(-2.0, 1.0),
)
def test_every_answer_is_certified(exponents: Real, energy: float, log_eta: float) -> None:
    profile = 10.0**exponents
    z = np.array([energy + 1j * 10.0**log_eta])
    solved = solve_vector_dyson(profile, z)
    m = solved.values
    residual = np.abs(1.0 + m * (z[:, None] + m @ profile.T)).max()
    assert residual <= 1.001e-10
    assert residual == pytest.approx(solved.residual, abs=1e-12)
    assert (m.imag > 0.0).all()


# refusals


def test_too_few_iterations_raise() -> None:
    with pytest.raises(ConvergenceError, match=r"residual .* after 2 iterations.*max_iterations"):
        solve_vector_dyson(uneven_profile(20, seed=8), ENERGIES + 0.05j, max_iterations=2)


def test_unreachable_tolerance_raises() -> None:
    with pytest.raises(ConvergenceError, match="expected at most 1e-25"):
        solve_vector_dyson(uneven_profile(20, seed=8), 0.5 + 0.05j, tolerance=1e-25, max_iterations=300)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (np.ones((2, 3)), "profile has shape"),
        (np.ones(3), "profile has shape"),
        (np.ones((0, 0)), "profile has shape"),
        ([[1.0, -0.5], [0.0, 1.0]], r"profile\[0, 1\] is -0.5"),
        ([[1.0, np.nan], [0.0, 1.0]], r"profile\[0, 1\] is nan"),
        (LowRankProfile(np.ones((3, 2)), np.ones((3, 1))), "expected equal shapes"),
        (LowRankProfile(np.ones((3, 2)), -np.ones((3, 2))), r"right\[0, 0\] is -1.0"),
    ],
)
def test_bad_profiles_raise(profile: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_vector_dyson(profile, 1j)


@pytest.mark.parametrize("z", [1.0, -1j, [1j, 0.5], complex(np.nan, 1.0), complex(0.0, np.inf)])
def test_z_outside_the_upper_half_plane_raises(z: Any) -> None:
    with pytest.raises(ValueError, match="Im z > 0"):
        semicircle(z, 1.0)
    with pytest.raises(ValueError, match="Im z > 0"):
        solve_vector_dyson([[1.0]], z)


def test_empty_z_raises() -> None:
    with pytest.raises(ValueError, match="z is empty"):
        solve_vector_dyson([[1.0]], [])


def test_results_are_frozen() -> None:
    solved = solve_vector_dyson([[1.0]], 1j)
    assert solved.values.shape == (1, 1)
    with pytest.raises(FrozenInstanceError):
        solved.residual = 0.0  # type: ignore[misc]


def test_rows_that_miss_the_tolerance_by_a_little_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The iteration ends by its own criterion, the answer is certified by another: a near miss is not a failure."""
    factor = np.random.default_rng(0).exponential(size=(30, 3)) / 30
    profile = LowRankProfile(factor, factor)
    z = np.linspace(-2.0, 2.0, 9) + 0.05j
    expected = solve_vector_dyson(profile, z)
    monkeypatch.setattr("theory.solvers.vector_dyson.INNER", 30.0)
    found = solve_vector_dyson(profile, z)
    assert found.residual <= 1e-10
    assert found.iterations > 0
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-8)
    monkeypatch.setattr("theory.solvers.vector_dyson.SHARPER", 1.0)
    with pytest.raises(ConvergenceError):
        solve_vector_dyson(profile, z)
