"""Matrix Dyson equations whose laws are known in closed form, and random matrices that follow them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from theory import (
    KrausCovariance,
    KroneckerCovariance,
    ProfileCovariance,
    axis_resolvent,
    outliers,
    semicircle,
    solve_matrix_dyson,
    solve_vector_dyson,
    spectral_edge,
)

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

ENERGIES = np.linspace(-4.0, 4.0, 33)
HEIGHTS = (0.5, 0.05, 1e-3)


def block(n: int, *places: tuple[int, int]) -> Real:
    """n × n matrix with ones at `places` and their mirror images."""
    out = np.zeros((n, n))
    for row, column in places:
        out[row, column] = out[column, row] = 1.0
    return out


def coupled(n: int, *terms: tuple[int, int, float, float]) -> KroneckerCovariance:
    """S on n blocks: for each (i, j, a, b), S_ii = a G_jj and S_jj = b G_ii, an independent block X_ij."""
    left = [block(n, (r, r)) for i, j, _, _ in terms for r in (i, j)]
    right = [v * block(n, (r, r)) for i, j, a, b in terms for r, v in ((j, a), (i, b))]
    return KroneckerCovariance(left, right)


def root_followed(coefficients: Callable[[complex], list[complex]], z: Complex) -> Complex:
    """The root g of a polynomial with g ~ -1/z at infinity, followed down from there: an oracle without a solver."""
    found = []
    for point in z:
        path = point + 1j * np.append(np.geomspace(100.0, 1e-5, 160), 0.0)
        g = -1.0 / path[0]
        for step in path:
            roots = np.roots(coefficients(complex(step)))
            g = roots[np.argmin(np.abs(roots - g))]
        found.append(g)
    return np.array(found)


def marchenko_pastur(z: Complex, ratio: float) -> Complex:
    """g of X X^T, X (n, p) with entries of variance 1/p, ratio c = n/p; atom 1 - 1/c at 0 if c > 1."""
    low, high = (1.0 - np.sqrt(ratio)) ** 2, (1.0 + np.sqrt(ratio)) ** 2
    root = np.sqrt(z - low) * np.sqrt(z - high)
    return np.asarray((1.0 - ratio - z + root) / (2.0 * ratio * z))


# semicircle and Marchenko-Pastur


@pytest.mark.parametrize("height", [*HEIGHTS, 1e-6])
def test_full_covariance_is_the_semicircle(height: float) -> None:
    n, z = 6, 2.5 * ENERGIES + 1j * height
    solved = solve_matrix_dyson(lambda r: 6.25 * np.trace(r) / n * np.eye(n), z)
    np.testing.assert_allclose(solved.values, semicircle(z, 2.5)[:, None, None] * np.eye(n), atol=1e-9)


@pytest.mark.parametrize("height", [0.5, 0.05, 1e-3])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_marchenko_pastur_from_the_square_root_of_z(ratio: float, height: float) -> None:
    """[[0, X], [X^T, 0]] at √z: g_11(√z)/√z is the transform of X X^T at z."""
    z = np.linspace(-1.0, 8.0, 46) + 1j * height
    root = np.sqrt(z)
    solved = solve_matrix_dyson(coupled(2, (0, 1, 1.0, ratio)), root)
    np.testing.assert_allclose(solved.values[:, 0, 0] / root, marchenko_pastur(z, ratio), rtol=1e-7)


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_marchenko_pastur_from_the_pencil(ratio: float) -> None:
    """[[-z, X], [X^T, -1]]: the Schur complement on the first block is X X^T - z."""
    z = np.linspace(-1.0, 8.0, 46) + 0.02j
    solved = solve_matrix_dyson(coupled(2, (0, 1, 1.0, ratio)), z, np.diag([0.0, -1.0]), pencil=[1.0, 0.0])
    np.testing.assert_allclose(solved.values[:, 0, 0], marchenko_pastur(z, ratio), rtol=1e-8)


@pytest.mark.parametrize("height", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("ratio", [1.2, 2.5, 20.0])
def test_marchenko_pastur_keeps_its_atom(ratio: float, height: float) -> None:
    z = np.array([1j * height, 1e-5 + 1j * height])
    solved = solve_matrix_dyson(coupled(2, (0, 1, 1.0, ratio)), np.sqrt(z))
    g = solved.values[:, 0, 0] / np.sqrt(z)
    np.testing.assert_allclose(g, marchenko_pastur(z, ratio), rtol=1e-6)
    assert height * g[0].imag == pytest.approx(1.0 - 1.0 / ratio, abs=30.0 * height)


@pytest.mark.parametrize("basis_seed", [None, 3], ids=["aligned", "rotated"])
@pytest.mark.parametrize(("n_1", "n_2"), [(10, 10), (12, 8), (18, 2)])
def test_the_block_matrix_and_its_atom(n_1: int, n_2: int, basis_seed: int | None) -> None:
    """[[0, B], [B^T, 0]], B (n_1, n_2) of variance 1/n_1: semicircle if square, else |n_1 - n_2| zeros; any basis."""
    n = n_1 + n_2
    basis = np.eye(n) if basis_seed is None else np.linalg.qr(np.random.default_rng(basis_seed).normal(size=(n, n)))[0]
    first, second = basis[:, :n_1] @ basis[:, :n_1].T, basis[:, n_1:] @ basis[:, n_1:].T
    covariance = KroneckerCovariance([first / n_1, second / n_1], [second, first])
    z = np.append(ENERGIES + 0.01j, 1e-3j)
    solved = solve_matrix_dyson(covariance, z)
    # X X^T of B^T B has ratio n_2/n_1 <= 1: no atom of its own.
    pairs = z * marchenko_pastur(z**2, n_2 / n_1)
    np.testing.assert_allclose(solved.g, (2 * n_2 * pairs - (n_1 - n_2) / z) / n, rtol=1e-6)
    if n_1 == n_2:
        np.testing.assert_allclose(solved.g, semicircle(z, 1.0), rtol=1e-8)
    assert 1e-3 * solved.g[-1].imag == pytest.approx((n_1 - n_2) / n, abs=2e-3)


# free convolutions


def test_semicircles_add_their_variances() -> None:
    z = ENERGIES + 0.05j
    covariance = KroneckerCovariance([np.eye(4)] * 2, [0.36 * np.eye(4) / 4, 0.64 * np.eye(4) / 4])
    np.testing.assert_allclose(solve_matrix_dyson(covariance, z).g, semicircle(z, 1.0), rtol=1e-9)


@pytest.mark.parametrize("height", HEIGHTS)
@pytest.mark.parametrize("gap", [0.5, 1.0, 2.0])
def test_semicircle_plus_two_points_is_a_cubic(gap: float, height: float) -> None:
    """A = ±a: g = ½ Σ 1/(±a - z - g), that is g³ + 2 z g² + (z² - a² + 1) g + z = 0; at a = 1 the gap closes."""
    z = ENERGIES + 1j * height
    solved = solve_matrix_dyson(KroneckerCovariance([np.eye(2)], [np.eye(2) / 2]), z, np.diag([gap, -gap]))
    oracle = root_followed(lambda w: [1.0, 2.0 * w, w * w - gap * gap + 1.0, w], z)
    np.testing.assert_allclose(solved.g, oracle, rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_semicircle_plus_marchenko_pastur_is_a_cubic(ratio: float) -> None:
    """[[W - z, X], [X^T, -1]]: -1/g = z + s² g - c/(1 + g), the R-transforms s² G and c/(1 - G) added."""
    variance, z = 0.49, np.linspace(-3.0, 6.0, 31) + 0.05j
    corner = block(2, (0, 0))
    pair = coupled(2, (0, 1, ratio, 1.0))
    covariance = KroneckerCovariance([*np.asarray(pair.left), corner], [*np.asarray(pair.right), variance * corner])
    solved = solve_matrix_dyson(covariance, z, np.diag([0.0, -1.0]), pencil=[1.0, 0.0])
    oracle = root_followed(lambda w: [variance, w + variance, w - ratio + 1.0, 1.0], z)
    np.testing.assert_allclose(solved.values[:, 0, 0], oracle, rtol=1e-7)


def test_marchenko_pastur_laws_add_their_columns() -> None:
    """X_1 X_1^T + X_2 X_2^T is X X^T with the columns of both, here 0.5 n and 0.75 n of variance 1/(1.25 n)."""
    z = np.linspace(-1.0, 6.0, 29) + 0.05j
    covariance = coupled(3, (0, 1, 0.5 / 1.25, 0.8), (0, 2, 0.75 / 1.25, 0.8))
    solved = solve_matrix_dyson(covariance, z, np.diag([0.0, -1.0, -1.0]), pencil=[1.0, 0.0, 0.0])
    np.testing.assert_allclose(solved.values[:, 0, 0], marchenko_pastur(z, 0.8), rtol=1e-8)


@pytest.mark.parametrize("height", HEIGHTS)
def test_product_of_two_marchenko_pastur_laws_is_fuss_catalan(height: float) -> None:
    """X_1 X_2 X_2^T X_1^T, linearised: z² g³ - z g - 1 = 0 for g; moments (3k choose k)/(2k + 1)."""
    z = np.linspace(-1.0, 8.0, 28) + 1j * height
    mean = block(4, (1, 2)) - block(4, (3, 3))
    covariance = coupled(4, (0, 1, 1.0, 1.0), (2, 3, 1.0, 1.0))
    g = solve_matrix_dyson(covariance, z, mean, pencil=[1.0, 0.0, 0.0, 0.0]).values[:, 0, 0]
    oracle = root_followed(lambda w: [w * w, 0.0, -w, -1.0], z)
    np.testing.assert_allclose(g, oracle, rtol=1e-6)
    far = np.array([300.0 + 400.0j])
    tail = solve_matrix_dyson(covariance, far, mean, pencil=[1.0, 0.0, 0.0, 0.0]).values[:, 0, 0]
    series = -sum(m / far ** (k + 1) for k, m in enumerate((1.0, 1.0, 3.0, 12.0, 55.0, 273.0)))
    np.testing.assert_allclose(tail, series, rtol=1e-12)


@pytest.mark.parametrize("ratio", [0.5, 3.0])
def test_marchenko_pastur_times_two_points_is_a_cubic(ratio: float) -> None:
    """X T X^T with half of T at 1, half at 3: -1/g = z - c/2 (1/(1 + g) + 3/(1 + 3 g)), c columns per row."""
    z = np.linspace(-1.0, 20.0, 43) + 0.05j
    root = np.sqrt(z)
    covariance = coupled(3, (0, 1, 0.5 * ratio, 1.0), (0, 2, 1.5 * ratio, 3.0))
    g = solve_matrix_dyson(covariance, root).values[:, 0, 0] / root
    oracle = root_followed(lambda w: [3.0 * w, 4.0 * w - 3.0 * ratio + 3.0, w - 2.0 * ratio + 4.0, 1.0], z)
    np.testing.assert_allclose(g, oracle, rtol=1e-7)


# band matrices and variance profiles


def band(n: int, width: int, periodic: bool) -> Real:
    """Variances 1/(2 width + 1) within `width` of the diagonal."""
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    if periodic:
        distance = np.minimum(distance, n - distance)
    return np.asarray((distance <= width) / (2.0 * width + 1.0))


def diagonal_function(profile: Real) -> Callable[[Complex], Complex]:
    return lambda r: np.diag(profile @ np.diag(r))


def test_periodic_band_matrices_follow_the_semicircle_exactly() -> None:
    z = ENERGIES + 0.02j
    profile = band(24, 3, periodic=True)
    for covariance in (ProfileCovariance(profile), diagonal_function(profile)):
        np.testing.assert_allclose(solve_matrix_dyson(covariance, z).g, semicircle(z, 1.0), rtol=1e-8)


def test_open_band_matrices_follow_the_vector_equation() -> None:
    profile, z = band(24, 5, periodic=False), ENERGIES + 0.02j
    vector = solve_vector_dyson(profile, z).values
    for covariance in (ProfileCovariance(profile), diagonal_function(profile)):
        solved = solve_matrix_dyson(covariance, z)
        np.testing.assert_allclose(solved.values, vector[:, :, None] * np.eye(24), atol=1e-8)
    assert np.abs(solved.g - semicircle(z, 1.0)).max() > 0.1


def hermitian_noise(profile: Real, rng: np.random.Generator) -> Complex:
    """Complex entries, for which the law holds to order 1/n² and not only 1/n."""
    upper = np.triu(rng.normal(size=profile.shape) + 1j * rng.normal(size=profile.shape), 1) * np.sqrt(profile / 2.0)
    return np.asarray(upper + upper.conj().T + np.diag(rng.normal(size=len(profile)) * np.sqrt(np.diag(profile))))


@pytest.mark.parametrize("shifted", [False, True], ids=["centred", "with a mean"])
def test_random_band_matrices_agree_within_their_standard_error(shifted: bool) -> None:
    n, samples, rng = 160, 40, np.random.default_rng(1)
    profile, z = band(n, 50, periodic=False), np.linspace(-2.5, 2.5, 11) + 0.4j
    mean = np.diag(np.linspace(-1.5, 1.5, n)) if shifted else None
    laws = []
    for _ in range(samples):
        matrix = hermitian_noise(profile, rng) + (0.0 if mean is None else mean)
        laws.append((1.0 / (np.linalg.eigvalsh(matrix) - z[:, None])).mean(axis=1))
    predicted = solve_matrix_dyson(ProfileCovariance(profile), z, mean).g
    for part in (np.real, np.imag):
        error = part(laws).std(axis=0, ddof=1) / np.sqrt(samples)
        assert (np.abs(part(np.mean(laws, axis=0) - predicted)) < 4.5 * error).all()
        assert (error < 2e-3).all()


def test_vector_equation_takes_z_of_any_shape() -> None:
    profile = band(9, 2, periodic=False)
    z = np.array([[0.3 + 0.1j, -1.0 + 0.2j, 2.0 + 1e-4j], [0.5j, 1e-3j, -0.7 + 3.0j]])
    shaped = solve_vector_dyson(profile, z).values
    matrix = solve_matrix_dyson(diagonal_function(profile), z).values
    assert matrix.shape == (6, 9, 9)
    np.testing.assert_array_equal(shaped, solve_vector_dyson(profile, z.ravel()).values)
    np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), shaped, rtol=1e-7)


# a matrix unknown: correlated entries


def test_correlated_blocks_agree_with_a_random_matrix() -> None:
    """Σ_k A_k ⊗ W_k with GUE W_k and A_k that do not commute: the n × n blocks of the resolvent, off-diagonals too."""
    rng = np.random.default_rng(2)
    n, size, samples = 3, 80, 30
    coefficients = rng.normal(size=(4, n, n))
    coefficients = 0.2 * (coefficients + coefficients.transpose(0, 2, 1))
    mean = np.array([[0.5, 0.3, 0.0], [0.3, -0.2, 0.1j], [0.0, -0.1j, 0.0]])
    z = np.array([0.3 + 0.5j, -1.2 + 0.5j])
    measured = []
    for _ in range(samples):
        noise = [hermitian_noise(np.full((size, size), 1.0 / size), rng) for _ in coefficients]
        matrix = np.kron(mean, np.eye(size)) + sum(np.kron(a, w) for a, w in zip(coefficients, noise, strict=True))
        values, vectors = np.linalg.eigh(matrix)
        parts = vectors.reshape(n, size, n * size)
        measured.append([np.einsum("iaz,z,jaz->ij", parts, 1.0 / (values - w), parts.conj()) / size for w in z])
    predicted = solve_matrix_dyson(KrausCovariance(coefficients), z, mean).values
    gap, error = np.mean(measured, axis=0) - predicted, np.std(measured, axis=0, ddof=1) / np.sqrt(samples)
    assert (np.abs(gap) < 5.0 * error).all()
    assert (error < 0.01).all()
    assert np.abs(predicted[:, 0, 1]).min() > 0.05


# edges and outliers


@pytest.mark.parametrize(("ratio", "inside", "outside"), [(0.3, 1.0, 4.0), (0.3, 1.0, 0.01), (2.5, 3.0, 9.0)])
def test_edges_of_marchenko_pastur(ratio: float, inside: float, outside: float) -> None:
    edge = (1.0 + np.sign(outside - inside) * np.sqrt(ratio)) ** 2
    found = spectral_edge(lambda z: marchenko_pastur(z, ratio), inside, outside, 1e-6)
    assert found == pytest.approx(edge, abs=1e-5)


def test_edge_of_a_solved_equation() -> None:
    """Semicircle plus ±2, inner edge: z = w - w/(4 - w²) with w = z + g, which has its maximum there."""
    covariance, mean = KroneckerCovariance([np.eye(2)], [np.eye(2) / 2]), np.diag([2.0, -2.0])
    found = spectral_edge(lambda z: solve_matrix_dyson(covariance, z, mean).g, 2.0, 0.0, 1e-5)
    w = np.linspace(1e-3, 1.999, 200_001)
    assert found == pytest.approx(np.max(w - w / (4.0 - w**2)), abs=1e-4)


SIGMA = 1.3


def wigner_resolvent(n: int = 4, r: int = 2) -> Callable[[Real], Complex]:
    covariance = KroneckerCovariance([SIGMA**2 * np.eye(n) / n], [np.eye(n)])
    return axis_resolvent(covariance, np.eye(n)[:, :r], height=1e-4)


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        ([3.0, 2.0], [2.0, 3.0]),
        ([1.29, 3.0], [3.0]),
        ([1.3, -1.3], []),
        ([-2.0, 0.5], [-2.0]),
        ([0.0, 2.0], [2.0]),
        ([0.0, 0.0], []),
        ([2.0, 2.0], [2.0, 2.0]),
        ([[1.0, 2.0], [2.0, 1.0]], [3.0]),
        ([[0.0, 2.0j], [-2.0j, 0.0]], [-2.0, 2.0]),
    ],
)
def test_outliers_of_deformed_wigner_matrices(strength: ArrayLike, expected: list[float]) -> None:
    """θ + σ²/θ for each eigenvalue θ of the strength beyond σ, none for the others."""
    resolvent, edge = wigner_resolvent(), 2.0 * SIGMA + 0.003
    found = np.concatenate([outliers(resolvent, strength, ends) for ends in ((-9.0, -edge), (edge, 9.0))])
    np.testing.assert_allclose(found, [theta + SIGMA**2 / theta for theta in expected], atol=1e-8)


def test_spiked_covariance_matrices() -> None:
    """√P W √P, W = X X^T, P = 1 + t u u^T: det(W P - E) = 0 iff 1/t + u^T W (W - E)^{-1} u = 0; (1 + t)(1 + c/t)."""
    ratio, t = 0.5, 2.0

    def resolvent(energies: Real) -> Complex:
        g = marchenko_pastur(energies + 0j, ratio).real
        return np.asarray((1.0 + energies * g)[:, None, None] + 0j)

    found = outliers(resolvent, [t], ((1.0 + np.sqrt(ratio)) ** 2 + 1e-3, 20.0))
    np.testing.assert_allclose(found, [(1.0 + t) * (1.0 + ratio / t)], atol=1e-7)


def test_a_finite_rank_mean_puts_a_pole_at_its_outlier() -> None:
    """v^T G v = 1/(θ - z - g): weight 1 - 1/θ² at θ + 1/θ; none of it in a bulk of n = 60 dimensions."""
    n, theta, height = 60, 2.0, 1e-4
    v = np.random.default_rng(4).normal(size=n)
    v /= np.linalg.norm(v)
    # The spike takes no part in the self-energy: the limit n → ∞ of the trace at a fixed rank.
    orthogonal = (np.eye(n) - np.outer(v, v)) / (n - 1)
    covariance = KroneckerCovariance([np.eye(n)], [orthogonal])
    z = np.array([theta + 1.0 / theta + 1j * height, 0.3 + 0.1j])
    solved = solve_matrix_dyson(covariance, z, theta * np.outer(v, v))
    spike = np.einsum("i,kij,j->k", v, solved.values, v)
    np.testing.assert_allclose(spike, 1.0 / (theta - z - semicircle(z, 1.0)), rtol=1e-5)
    assert height * spike[0].imag == pytest.approx(1.0 - 1.0 / theta**2, abs=1e-3)


def test_outliers_of_a_random_matrix() -> None:
    """A Wigner matrix with a variance profile and two spikes: positions to the order of their fluctuation, n^{-1/2}."""
    n, rng = 700, np.random.default_rng(5)
    levels = np.where(np.arange(n) < n // 3, 1.5, 0.6)
    profile = np.outer(levels, levels) / n
    noise = np.triu(rng.normal(size=(n, n)) * np.sqrt(profile))
    vectors = np.zeros((n, 2))
    vectors[: n // 3, 0], vectors[n // 3 :, 1] = 1.0 / np.sqrt(n // 3), 1.0 / np.sqrt(n - n // 3)
    strength = np.array([[2.5, 0.4], [0.4, -2.2]])
    bulk = noise + np.triu(noise, 1).T
    measured = np.linalg.eigvalsh(bulk + vectors @ strength @ vectors.T)
    # Two kinds of rows: the equation closes on 2 x 2 diagonal matrices.
    share = np.array([n // 3, n - n // 3]) / n
    reduced = ProfileCovariance(np.outer([1.5, 0.6], [1.5, 0.6] * share))
    resolvent = axis_resolvent(reduced, np.eye(2), height=1e-4)
    edge = spectral_edge(lambda z: solve_matrix_dyson(reduced, z).g, 0.5, 6.0, 1e-5)
    top, bottom = (outliers(resolvent, strength, ends) for ends in ((edge + 0.02, 9.0), (-9.0, -edge - 0.02)))
    assert len(top) == len(bottom) == 1
    assert top[0] == pytest.approx(measured[-1], abs=0.15)
    assert bottom[0] == pytest.approx(measured[0], abs=0.15)
    assert measured[-2] == pytest.approx(edge, abs=0.1)


def test_intervals_that_meet_the_support_are_refused() -> None:
    with pytest.raises(ValueError, match="energy 2 is not outside the support"):
        outliers(wigner_resolvent(), [3.0, 3.0], (2.0, 9.0))
    with pytest.raises(ValueError, match=r"does not increase from -9 to 9"):
        outliers(wigner_resolvent(), [3.0, 3.0], (-9.0, 9.0))


@pytest.mark.parametrize("interval", [(3.0, 3.0), (4.0, 3.0), (3.0, np.inf), (-np.inf, 3.0), (np.nan, 3.0)])
def test_bad_intervals_are_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected finite and ascending"):
        outliers(wigner_resolvent(), [3.0, 3.0], interval)


def test_an_edge_needs_two_sides() -> None:
    with pytest.raises(ValueError, match=r"no edge between 0 .* and 1"):
        spectral_edge(lambda z: semicircle(z, 1.0), 0.0, 1.0, 1e-6)


def test_bad_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vectors have shape \(4,\)"):
        axis_resolvent(KroneckerCovariance([np.eye(4)], [np.eye(4)]), np.ones(4), height=1e-3)
