"""Covariance operators, the matrix Dyson solver and its moments against definitions, identities and an oracle."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from theory import (
    ConvergenceError,
    Covariance,
    DenseCovariance,
    FunctionCovariance,
    KrausCovariance,
    KroneckerCovariance,
    ProfileCovariance,
    dyson_moments,
    solve_matrix_dyson,
    solve_vector_dyson,
)

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

KINDS = ("dense", "kraus", "kronecker", "profile", "function")


def gaussian(rng: np.random.Generator, *shape: int) -> Complex:
    return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))


def wishart(rng: np.random.Generator, *shape: int) -> Complex:
    root = gaussian(rng, *shape)
    return np.asarray(root @ root.swapaxes(-1, -2).conj()) / shape[-1]


def random_hermitian(rng: np.random.Generator, n: int) -> Complex:
    a = gaussian(rng, n, n)
    return np.asarray(a + a.conj().T) / np.sqrt(8.0 * n)


def operator(kind: str, n: int, seed: int, scale: float = 1.0) -> Covariance:
    """One operator of each kind, tr S[1]/n of order scale²."""
    rng = np.random.default_rng(seed)
    if kind == "kronecker":
        return KroneckerCovariance(scale**2 * wishart(rng, 3, n, n), wishart(rng, 3, n, n) / n)
    if kind == "profile":
        return ProfileCovariance(scale**2 * rng.exponential(size=(n, n)) / n)
    kraus = KrausCovariance(scale * gaussian(rng, 3, n, n) / np.sqrt(6.0 * n))
    if kind == "kraus":
        return kraus
    if kind == "function":
        return FunctionCovariance(kraus, n)
    # κ_ijkl = E[X_ij X_kl] of X = Σ (γ A + γ* A*)/√2, two independent real families for each A.
    a = np.asarray(kraus.coefficients)
    star = a.swapaxes(1, 2).conj()
    return DenseCovariance(0.5 * (np.einsum("aij,akl->ijkl", a, star) + np.einsum("aij,akl->ijkl", star, a)))


# covariance operators


@pytest.mark.parametrize("kind", KINDS)
def test_operators_are_what_a_covariance_is(kind: str) -> None:
    """Linear, batched, adjoint, Hermitian to Hermitian, positive to positive."""
    n, rng = 5, np.random.default_rng(1)
    s = operator(kind, n, seed=2)
    r, q = gaussian(rng, 2, 3, n, n), gaussian(rng, 2, 3, n, n)
    image, dual = s(r), s.adjoint(q)
    assert s.size == n
    assert image.shape == dual.shape == r.shape
    np.testing.assert_allclose(s(r[1, 2]), image[1, 2], atol=1e-13)
    np.testing.assert_allclose(s(2.0 * r + 1j * q), 2.0 * image + 1j * s(q), atol=1e-12)
    np.testing.assert_allclose(np.vecdot(q, image).sum(-1), np.vecdot(dual, r).sum(-1), atol=1e-12)
    np.testing.assert_allclose(s(r.swapaxes(2, 3).conj()), image.swapaxes(2, 3).conj(), atol=1e-13)
    assert np.linalg.eigvalsh(s(wishart(rng, 4, n, 1))).min() > -1e-12
    assert s.second_moment() == pytest.approx(np.trace(s(np.eye(n) + 0j)).real / n)


def test_dense_covariance_is_the_second_moment_of_a_matrix() -> None:
    """S[R] = E[X R X] for X = Σ ξ_k A_k, the expectation over the signs ξ written out."""
    n, rng = 3, np.random.default_rng(3)
    a = np.array([random_hermitian(rng, n) for _ in range(4)])
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T
    x = np.einsum("sk,kij->sij", signs, a)
    dense = DenseCovariance(np.einsum("sij,skl->ijkl", x, x) / len(x))
    r = gaussian(rng, n, n)
    expected = (x @ r @ x).mean(axis=0)
    np.testing.assert_allclose(dense(r), expected, atol=1e-14)
    np.testing.assert_allclose(KrausCovariance(a)(r), expected, atol=1e-14)
    assert dense.second_moment() == pytest.approx((np.abs(x) ** 2).sum() / (n * len(x)))


def test_kronecker_covariance_is_that_of_a_correlated_block() -> None:
    """E[B R B*] = P tr(Q R), B = √P Ξ √Q, written out entry by entry of Ξ."""
    n, rng = 4, np.random.default_rng(4)
    root_p, root_q = (np.linalg.cholesky(wishart(rng, n, n)) for _ in range(2))
    units = np.eye(n * n).reshape(n * n, n, n)
    terms = root_p @ units @ root_q.conj().T
    separable = KroneckerCovariance([root_p @ root_p.conj().T], [root_q @ root_q.conj().T])
    r = gaussian(rng, n, n)
    np.testing.assert_allclose(separable(r), KrausCovariance(terms)(r), atol=1e-12)


def test_real_coefficients_take_the_real_route() -> None:
    a, r = np.random.default_rng(5).normal(size=(2, 4, 4)), gaussian(np.random.default_rng(6), 3, 4, 4)
    expected = sum(k @ r @ k.T for k in a)
    np.testing.assert_allclose(KrausCovariance(a)(r), expected, atol=1e-13)
    np.testing.assert_allclose(KrausCovariance(a + 0j)(r), expected, atol=1e-13)


def test_profile_covariance_sees_the_diagonal() -> None:
    profile = np.random.default_rng(5).random((4, 4))
    r = gaussian(np.random.default_rng(6), 4, 4)
    np.testing.assert_allclose(ProfileCovariance(profile)(r), np.diag(profile @ np.diag(r)), atol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DenseCovariance(np.ones((2, 2, 2))), r"tensor has shape \(2, 2, 2\), expected \(n, n, n, n\)"),
        (lambda: DenseCovariance(-np.ones((2, 2, 2, 2))), "tensor has the eigenvalue -4"),
        (lambda: DenseCovariance(np.arange(16.0).reshape(2, 2, 2, 2)), "tensor differs from its adjoint"),
        (lambda: KrausCovariance(np.ones((2, 3))), r"coefficients have shape \(2, 3\)"),
        (lambda: KrausCovariance(np.ones((2, 3, 2))), r"coefficients have shape \(2, 3, 2\)"),
        (lambda: KrausCovariance([[[np.nan]]]), "coefficients hold NaN"),
        (lambda: KroneckerCovariance(np.ones((2, 2)), np.ones((2, 2))), "expected equal shapes"),
        (lambda: KroneckerCovariance(np.ones((1, 2, 2)), np.ones((2, 2, 2))), "expected equal shapes"),
        (lambda: KroneckerCovariance([np.eye(2)], [np.diag([1.0, -1.0])]), "right has the eigenvalue -1"),
        (lambda: KroneckerCovariance([[[1.0, 1.0], [0.0, 1.0]]], [np.eye(2)]), "left differs from its adjoint"),
        (lambda: KroneckerCovariance([[[np.inf]]], [[[1.0]]]), "left holds NaN or infinity"),
        (lambda: ProfileCovariance(np.ones((2, 3))), "profile has shape"),
        (lambda: ProfileCovariance([[-1.0]]), r"profile\[0, 0\] is -1.0"),
    ],
)
def test_bad_operators_raise(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# the size of a function


MATRICES = np.random.default_rng(7).normal(size=(3, 4, 4))
WEIGHTS = np.random.default_rng(7).random((4, 4))


def blocks_of_three_and_one(r: Complex) -> Complex:
    out = np.zeros((4, 4), dtype=np.complex128)
    out[:3, :3] = np.trace(r[3:, 3:]) * np.eye(3)
    out[3, 3] = np.trace(r[:3, :3])
    return out


@pytest.mark.parametrize(
    "function",
    [
        lambda r: np.trace(r) / 4 * np.eye(4),
        lambda r: sum(a @ r @ a.T for a in MATRICES),
        lambda r: np.einsum("aij,jk,alk->il", MATRICES, r, MATRICES),
        lambda r: np.diag(WEIGHTS @ np.diag(r)),
        lambda r: WEIGHTS * WEIGHTS.T * np.diag(np.diag(r)),
        lambda r: np.diag(r.mean(axis=0) * 0.0) + np.mean(np.diag(r)) * np.eye(4),
        blocks_of_three_and_one,
    ],
    ids=["trace", "sandwich", "einsum", "diagonal", "elementwise", "shifted", "slices"],
)
def test_the_size_of_a_function_is_found(function: Any) -> None:
    found = solve_matrix_dyson(function, [1j])
    np.testing.assert_allclose(found.values, solve_matrix_dyson(function, [1j], size=4).values, rtol=1e-12)
    assert found.values.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda r: np.trace(r) / len(r) * np.eye(len(r)), "accepts matrices of any size.*pass size=n"),
        (lambda r: np.trace(r), "no matrix of size up to 512.*pass size=n"),
        (lambda r: np.ones((2, 3)), "no matrix of size up to 512"),
    ],
)
def test_a_size_that_cannot_be_found_raises(function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_matrix_dyson(function, 1j)


def test_a_function_of_any_size_takes_it_from_size_or_mean() -> None:
    def trace(r: Complex) -> Complex:
        return np.asarray(np.trace(r) / len(r) * np.eye(len(r)))

    sized = solve_matrix_dyson(trace, 1j, size=3)
    with_mean = solve_matrix_dyson(trace, 1j, np.zeros((3, 3)))
    np.testing.assert_array_equal(sized.values, with_mean.values)


# the solver against an oracle


def half_averaged(s: Covariance, z: Complex, mean: Complex, steps: int = 4000) -> Complex:
    """The iteration of Helton, Rashidi Far & Speicher without acceleration: G <- ½ (G - (z - A + S[G])^{-1})."""
    eye = np.eye(s.size)
    g = np.broadcast_to(1j * eye, (len(z), s.size, s.size)).astype(np.complex128)
    for _ in range(steps):
        g = 0.5 * (g - np.linalg.inv(z[:, None, None] * eye - mean + s(g)))
    return g


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_solution_equals_the_plain_iteration(kind: str, with_mean: bool) -> None:
    n = 4
    s = operator(kind, n, seed=8)
    mean = random_hermitian(np.random.default_rng(9), n) if with_mean else np.zeros((n, n), dtype=np.complex128)
    z = np.array([0.3 + 0.1j, -1.4 + 0.05j, 2.5 + 0.2j, 0.05j, 1.4 + 0.05j])
    solved = solve_matrix_dyson(s, z, mean if with_mean else None)
    np.testing.assert_allclose(solved.values, half_averaged(s, z, mean), atol=1e-8)
    function = solve_matrix_dyson(lambda r: s(r), z, mean)
    np.testing.assert_allclose(function.values, solved.values, atol=1e-8)


def residual(s: Covariance, z: Complex, mean: Complex, g: Complex) -> float:
    return float(np.abs(np.eye(s.size) + g @ (z[:, None, None] * np.eye(s.size) - mean + s(g))).max())


def least_imaginary(g: Complex) -> float:
    return float(np.linalg.eigvalsh((g - g.swapaxes(1, 2).conj()) / 2j).min())


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS[:4]),
    n=st.integers(1, 5),
    seed=st.integers(0, 2**16),
    log_scale=st.floats(-3.0, 3.0),
    log_mean=st.none() | st.floats(-2.0, 2.0),
    energy=st.floats(-5.0, 5.0),
    log_eta=st.floats(-2.5, 1.0),
)
def test_every_answer_is_certified(
    kind: str, n: int, seed: int, log_scale: float, log_mean: float | None, energy: float, log_eta: float
) -> None:
    scale = 10.0**log_scale
    s = operator(kind, n, seed, scale)
    size = 0.0 if log_mean is None else scale * 10.0**log_mean
    mean = size * random_hermitian(np.random.default_rng(seed), n)
    z = scale * np.array([energy, 0.0]) + 1j * scale * 10.0**log_eta
    solved = solve_matrix_dyson(s, z, None if log_mean is None else mean)
    recomputed = residual(s, z, mean, solved.values)
    assert recomputed <= 1.001 * solved.residual + 1e-13
    assert solved.residual <= 1e-9
    assert least_imaginary(solved.values) > 0.0
    # A resolvent: |G| <= 1/Im z, and tr G = -n/z (1 + O(1/z)).
    assert np.linalg.norm(solved.values, 2, axis=(1, 2)).max() <= (1.0 + 1e-7) / (scale * 10.0**log_eta)


@pytest.mark.parametrize("height", [1e-2, 1e-4, 1e-5])
def test_an_atom_in_a_rotated_basis_needs_the_descent(height: float) -> None:
    """[[0, B], [B*, 0]] with 12 and 4 rows in a random basis, G ~ 1/η and ~ η: as accurate as the aligned one."""
    n, rng = 16, np.random.default_rng(10)
    basis, _ = np.linalg.qr(gaussian(rng, n, n))
    wide, narrow = np.diag(np.arange(n) < 12.0), np.diag(np.arange(n) >= 12.0)
    rotated = [basis @ part @ basis.conj().T for part in (wide, narrow)]
    covariance = KroneckerCovariance(np.array(rotated) / 12.0, rotated[::-1])
    profile = (np.outer(np.diag(wide), np.diag(narrow)) + np.outer(np.diag(narrow), np.diag(wide))) / 12.0
    z = np.array([0.0, 1e-3, 0.5, 1.2]) + 1j * height
    solved = solve_matrix_dyson(covariance, z)
    np.testing.assert_allclose(solved.g, solve_vector_dyson(profile, z).values.mean(axis=1), rtol=1e-7)
    condition = np.linalg.cond(solved.values).max()
    assert solved.residual <= max(1e-10, 1e-14 * condition)
    if condition > 1e8:
        with pytest.raises(ConvergenceError, match="rounding alone leaves about"):
            solve_matrix_dyson(covariance, z, tolerance=1e-12)


def test_a_hundred_dimensions_on_a_grid_of_energies() -> None:
    """Correlated blocks with an uncorrelated mean; no energy takes more than a few dozen evaluations."""
    n, rng = 100, np.random.default_rng(29)
    s, mean = operator("kronecker", n, seed=30), random_hermitian(rng, n)
    z = np.linspace(-4.0, 4.0, 31) + 0.05j
    solved = solve_matrix_dyson(s, z, mean)
    assert solved.iterations <= 40
    assert residual(s, z, mean, solved.values) <= 1e-10


# identities of the solution


ENERGIES = np.linspace(-3.0, 3.0, 41)


@pytest.mark.parametrize("kind", KINDS)
def test_mirror_images_without_a_mean(kind: str) -> None:
    """G(-z̄) = -G(z)*, by the fold and, with the mean a hair from 0, by itself."""
    s, z = operator(kind, 4, seed=11), ENERGIES + 0.05j
    values = solve_matrix_dyson(s, z).values
    np.testing.assert_allclose(values, -values[::-1].swapaxes(1, 2).conj(), atol=1e-12)
    unfolded = solve_matrix_dyson(s, z, 1e-13 * np.diag(np.arange(4.0)))
    np.testing.assert_allclose(unfolded.values, values, atol=1e-8)


def test_a_mean_is_mirrored_with_its_sign() -> None:
    s, z = operator("kraus", 4, seed=12), ENERGIES + 0.05j
    mean = random_hermitian(np.random.default_rng(13), 4) + 0.5 * np.eye(4)
    plus, minus = solve_matrix_dyson(s, z, mean).values, solve_matrix_dyson(s, -z.conj(), -mean).values
    np.testing.assert_allclose(minus, -plus.swapaxes(1, 2).conj(), atol=1e-8)
    assert np.abs(plus - solve_matrix_dyson(s, -z.conj(), mean).values).max() > 0.1


def test_units_and_bases_do_not_matter() -> None:
    """(a A, a² S, a z) -> G/a, and U A U*, U S[U* . U] U* -> U G U*; a shift of A by a number is one of z."""
    n, rng = 4, np.random.default_rng(14)
    s, mean, z = operator("kraus", n, seed=15), random_hermitian(rng, n), ENERGIES + 0.02j
    unitary, _ = np.linalg.qr(gaussian(rng, n, n))
    plain = solve_matrix_dyson(s, z, mean).values
    a = np.asarray(s.coefficients)  # type: ignore[attr-defined]
    scaled = solve_matrix_dyson(KrausCovariance(250.0 * a), 250.0 * z, 250.0 * mean + 500.0 * np.eye(n)).values
    np.testing.assert_allclose(250.0 * scaled[20], solve_matrix_dyson(s, z[20] - 2.0, mean).values[0], atol=1e-8)
    rotated = KrausCovariance(unitary @ a @ unitary.conj().T)
    turned = solve_matrix_dyson(rotated, z, unitary @ mean @ unitary.conj().T).values
    np.testing.assert_allclose(turned, unitary @ plain @ unitary.conj().T, atol=1e-8)


def test_no_covariance_leaves_the_resolvent_of_the_mean() -> None:
    mean, z = random_hermitian(np.random.default_rng(16), 5), ENERGIES + 1e-3j
    solved = solve_matrix_dyson(lambda r: 0.0 * r, z, mean)
    np.testing.assert_allclose(solved.values, np.linalg.inv(mean - z[:, None, None] * np.eye(5)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_total_mass_is_one(kind: str) -> None:
    z = np.array([1e7j])
    g = solve_matrix_dyson(operator(kind, 4, seed=17), z, np.diag([1.0, 2.0, 3.0, -1.0])).g
    assert (-z * g)[0] == pytest.approx(1.0, abs=1e-6)
    assert 1e7 * g[0].imag == pytest.approx(1.0, abs=1e-10)


def test_diagonal_pencil_is_a_change_of_weights() -> None:
    """-G^{-1} = z J - A + S[G], J > 0: K = √J G √J solves the equation with √J^{-1} around A and S."""
    n, rng = 4, np.random.default_rng(18)
    s, mean, z = operator("kraus", n, seed=19), random_hermitian(rng, n), ENERGIES + 0.05j
    weights = np.array([0.3, 1.0, 2.0, 5.0])
    root = np.diag(1.0 / np.sqrt(weights))
    a = np.asarray(s.coefficients)  # type: ignore[attr-defined]
    plain = solve_matrix_dyson(KrausCovariance(root @ a @ root), z, root @ mean @ root).values
    for pencil in (weights, np.diag(weights)):
        np.testing.assert_allclose(solve_matrix_dyson(s, z, mean, pencil=pencil).values, root @ plain @ root, atol=1e-8)


def test_order_repetition_and_start_do_not_matter() -> None:
    s, mean = operator("kraus", 4, seed=20), random_hermitian(np.random.default_rng(21), 4)
    z = np.array([[0.3 + 0.1j, -0.3 + 0.1j], [2.0 + 0.01j, 0.3 + 0.1j]])
    solved = solve_matrix_dyson(s, z, mean)
    assert solved.values.shape == (4, 4, 4)
    np.testing.assert_array_equal(solved.values[0], solved.values[3])
    for point, expected in zip(z.ravel(), solved.values, strict=True):
        np.testing.assert_allclose(solve_matrix_dyson(s, point, mean).values[0], expected, atol=1e-8)
    far = solve_matrix_dyson(s, z, mean, start=50j * np.eye(4))
    np.testing.assert_allclose(far.values, solved.values, atol=1e-8)


@pytest.mark.parametrize("with_mean", [False, True])
def test_a_start_at_the_solution_is_recognised(with_mean: bool) -> None:
    s, mean = operator("kraus", 4, seed=22), random_hermitian(np.random.default_rng(23), 4)
    z = ENERGIES + 0.05j
    cold = solve_matrix_dyson(s, z, mean if with_mean else None, tolerance=1e-12)
    warm = solve_matrix_dyson(s, z, mean if with_mean else None, start=cold.values)
    assert warm.iterations <= 2 < cold.iterations
    np.testing.assert_allclose(warm.values, cold.values, atol=1e-9)


# moments


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_contour_integrals_of_the_solution(kind: str, with_mean: bool) -> None:
    """M_p = -1/(2πi) ∮ z^p g dz on a circle around the support: the trapezoid rule is exact to rounding."""
    s = operator(kind, 4, seed=24)
    mean = random_hermitian(np.random.default_rng(25), 4) if with_mean else None
    radius, points = 12.0, 64
    z = radius * np.exp(2j * np.pi * (np.arange(points) + 0.5) / points)
    upper = z[z.imag > 0.0]
    g = solve_matrix_dyson(s, upper, mean, tolerance=1e-14, max_iterations=400).g
    expected = [-2.0 * (upper ** (p + 1) * g).sum().real / points for p in range(1, 7)]
    found = dyson_moments(s, mean, order=6)
    np.testing.assert_allclose(found, expected, atol=1e-13 * radius**6)
    np.testing.assert_allclose(found[:4], expected[:4], atol=1e-13 * radius**4)
    np.testing.assert_array_equal(dyson_moments(s, mean), found[:4])


@pytest.mark.parametrize("kind", KINDS)
def test_second_and_fourth_moment(kind: str) -> None:
    """M_2 = A² + S[1]; without a mean M_4 = S[S[1]] + S[1]² and odd moments vanish."""
    s, mean = operator(kind, 4, seed=26), random_hermitian(np.random.default_rng(27), 4)
    total = s(np.eye(4) + 0j)
    assert dyson_moments(s, mean)[1] == pytest.approx(np.trace(mean @ mean + total).real / 4)
    expected = np.trace(s(total) + total @ total).real / 4
    np.testing.assert_allclose(dyson_moments(s), [0.0, s.second_moment(), 0.0, expected], atol=1e-14)


def test_moments_of_the_semicircle_are_catalan_numbers() -> None:
    moments = dyson_moments(lambda r: np.trace(r) / 3 * np.eye(3), order=8)
    np.testing.assert_allclose(moments, [0.0, 1.0, 0.0, 2.0, 0.0, 5.0, 0.0, 14.0], atol=1e-13)


# refusals


def trace_of_two(r: Complex) -> Complex:
    return np.asarray(np.trace(r) / 2 * np.eye(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z": []}, "z is empty"),
        ({"z": 1.0}, "Im z > 0"),
        ({"z": [1j, np.nan]}, "Im z > 0"),
        ({"mean": np.ones((2, 3))}, "mean has shape"),
        ({"mean": np.ones((1, 2, 2))}, "mean has shape"),
        ({"mean": [[0.0, 1.0], [0.0, 0.0]]}, "mean differs from its adjoint by 1"),
        ({"mean": np.zeros((2, 2)), "size": 3}, "size is 3, but mean"),
        ({"size": 0}, "size is 0, expected a whole number"),
        ({"size": 3}, r"covariance returned shape \(2, 2\)"),
        ({"covariance": ProfileCovariance(np.ones((3, 3))), "size": 2}, "size 2 was asked for"),
        ({"covariance": ProfileCovariance(np.ones((3, 3))), "mean": np.eye(2)}, "size 2 was asked for"),
        ({"covariance": np.ones((2, 2))}, "covariance is a ndarray.*ProfileCovariance"),
        ({"covariance": lambda r: -trace_of_two(r)}, r"S\[1\] has the eigenvalue -1"),
        ({"covariance": lambda r: 1j * trace_of_two(r)}, r"S\[1\] differs from its adjoint"),
        ({"pencil": [1.0, -1.0]}, "pencil has the eigenvalue -1"),
        ({"pencil": [1.0, 1.0, 1.0]}, "pencil has shape"),
        ({"start": np.eye(3)}, "start has shape"),
        ({"start": np.eye(2)}, "start has an imaginary part"),
    ],
)
def test_bad_arguments_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_matrix_dyson(**{"covariance": trace_of_two, "z": 1j} | options)


def test_too_few_iterations_raise() -> None:
    with pytest.raises(ConvergenceError, match=r"residual .* after 2 iterations.*max_iterations"):
        solve_matrix_dyson(operator("kraus", 4, seed=28), ENERGIES + 0.05j, max_iterations=2)


@pytest.mark.parametrize("kind", ["kraus", "profile"])
def test_unreachable_tolerance_raises(kind: str) -> None:
    with pytest.raises(ConvergenceError, match="expected at most 1e-25"):
        solve_matrix_dyson(operator(kind, 4, seed=28), 0.5 + 0.05j, tolerance=1e-25, max_iterations=300)


def test_a_map_that_does_not_keep_matrices_hermitian_is_not_mirrored() -> None:
    """Right for Re z > 0 but no covariance: its folded answer at -z̄ fails the certificate."""

    def oblique(r: Complex) -> Complex:
        return np.asarray(0.5 * np.trace(r) * np.diag([1.0, 2.0]) + 0.1j * (r[0, 0] - r[1, 1]) * np.eye(2))

    assert solve_matrix_dyson(oblique, 1.0 + 0.3j).residual <= 1e-10
    with pytest.raises(ConvergenceError, match="at z = -1"):
        solve_matrix_dyson(oblique, [1.0 + 0.3j, -1.0 + 0.3j])


def test_results_are_frozen() -> None:
    solved = solve_matrix_dyson(trace_of_two, 1j)
    with pytest.raises(FrozenInstanceError):
        solved.residual = 0.0  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        ProfileCovariance([[1.0]]).profile = np.ones((1, 1))  # type: ignore[misc]
