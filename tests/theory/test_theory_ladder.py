"""Rungs R1 and R2 against expanded profiles, closed forms and random matrices."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from theory import ConvergenceError, block_law, semicircle, separable_law, solve_vector_dyson

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

HALF = 4.0 * np.expm1(3.0 * np.arange(61) / 60.0) / np.expm1(3.0)
ENERGIES = np.concatenate([-HALF[:0:-1], HALF])
Z = ENERGIES + 0.05j


def l1(first: Complex, second: Complex) -> float:
    return float(np.trapezoid(np.abs(first.imag - second.imag), ENERGIES) / np.pi)


def block_totals(n_layers: int, seed: int) -> Real:
    """Symmetric sums of squares of the blocks, zero on the diagonal as for the hinge (E1)."""
    totals = np.random.default_rng(seed).lognormal(size=(n_layers, n_layers))
    totals = totals + totals.T
    np.fill_diagonal(totals, 0.0)
    return np.asarray(totals)


def moments_from(factors: Real, sizes: list[int], totals: Real) -> Real:
    """row_moments (N, L) with block sums proportional to `totals` and Σ = N, so that rms = 1."""
    layers = np.split(factors, np.cumsum(sizes)[:-1])
    moments = np.concatenate([layer / layer.sum(axis=0) * total for layer, total in zip(layers, totals, strict=True)])
    return np.asarray(moments * len(moments) / moments.sum())


def dense_profile(moments: Real, sizes: list[int]) -> Real:
    """S_pq = r_p^{l'} r_q^l / T_ll' written out."""
    layer = np.repeat(np.arange(len(sizes)), sizes)
    totals = np.array([moments[layer == here].sum(axis=0) for here in range(len(sizes))])
    product = moments[:, layer] * moments[:, layer].T
    scale = totals[np.ix_(layer, layer)]
    return np.asarray(np.divide(product, scale, out=np.zeros_like(product), where=scale > 0.0))


# R1


def test_one_block_is_the_semicircle() -> None:
    law = block_law(Z, [[0.02]], [50])
    np.testing.assert_allclose(law.g, semicircle(Z, 1.0), rtol=1e-9)


def test_blocks_equal_the_expanded_profile() -> None:
    sizes = [5, 17, 30]
    square = block_totals(3, seed=1) / np.outer(sizes, sizes)
    layer = np.repeat(np.arange(3), sizes)
    full = solve_vector_dyson(square[np.ix_(layer, layer)], Z)
    np.testing.assert_allclose(block_law(Z, square, sizes).g, full.values.mean(axis=1), rtol=1e-7)


@pytest.mark.parametrize("eta", [0.05, 1e-4])
def test_very_unequal_layers_leave_their_atom(eta: float) -> None:
    """Rank of H is at most twice the smaller layer: 90 % of the spectrum is at 0."""
    law = block_law(1j * eta, [[0.0, 1e-3], [1e-3, 0.0]], [9500, 500])
    assert eta * law.g.imag == pytest.approx(0.9, abs=0.02 * eta)


def test_two_estimates_of_a_block_are_averaged() -> None:
    symmetric = block_law(Z, [[0.0, 0.02], [0.02, 0.0]], [20, 70])
    uneven = block_law(Z, [[0.0, 0.025], [0.015, 0.0]], [20, 70])
    np.testing.assert_allclose(uneven.g, symmetric.g, rtol=1e-12)


# R2


@pytest.mark.parametrize("own", [0.0, 0.7], ids=["hinge", "own blocks"])
def test_separable_law_equals_its_dense_profile(own: float) -> None:
    """Four layers, a third of the rows dead, the last layer coupled to nothing."""
    sizes = [12, 30, 25, 6]
    rng = np.random.default_rng(2)
    totals = block_totals(4, seed=2) + own * np.eye(4)
    totals[3], totals[:, 3] = 0.0, 0.0
    factors = rng.lognormal(sigma=1.5, size=(73, 4)) * (rng.random((73, 1)) > 0.3)
    moments = moments_from(factors, sizes, totals)
    law = separable_law(Z, moments, sizes)
    full = solve_vector_dyson(dense_profile(moments, sizes), Z)
    np.testing.assert_allclose(law.g, full.values.mean(axis=1), rtol=1e-7)
    assert law.residual <= 1e-10


def test_constant_rows_are_the_block_law() -> None:
    sizes = [40, 10, 25]
    totals = block_totals(3, seed=3)
    totals[0, 1] *= 1.2  # the two sides of an estimated block disagree
    moments = np.repeat(totals / np.array(sizes)[:, None], sizes, axis=0) / 25.0
    square = totals / np.outer(sizes, sizes) / 25.0
    law = separable_law(Z, moments, sizes)
    np.testing.assert_allclose(law.g, block_law(Z, square, sizes).g, rtol=1e-8)


def test_rows_without_moments_are_an_atom() -> None:
    law = separable_law(Z, np.zeros((8, 2)), [5, 3])
    np.testing.assert_allclose(law.g, -1.0 / Z, rtol=1e-14)


def test_a_block_that_one_side_sees_as_zero_is_zero() -> None:
    moments = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    np.testing.assert_allclose(separable_law(Z, moments, [2, 1]).g, -1.0 / Z, rtol=1e-14)


def test_large_z_carries_the_trace_of_the_square() -> None:
    """Also when the estimates from both sides of a block differ."""
    sizes = [12, 30, 25]
    rng = np.random.default_rng(4)
    moments = moments_from(rng.lognormal(size=(67, 3)), sizes, block_totals(3, seed=4))
    moments *= rng.uniform(0.5, 1.5, size=moments.shape)
    z = 300.0 + 400.0j
    g = complex(separable_law(z, moments, sizes, tolerance=1e-13).g)
    assert -(g + 1.0 / z) * z**3 == pytest.approx(moments.sum() / 67, rel=1e-3)


def test_row_moments_of_a_random_matrix_predict_its_spectrum() -> None:
    """R2 sees the uneven rows of a multilayer matrix; R1, which does not, is far off."""
    sizes = [300, 200, 100]
    rng = np.random.default_rng(5)
    factors = rng.lognormal(sigma=1.2, size=(600, 3)) * (rng.random((600, 1)) > 0.4)
    profile = dense_profile(moments_from(factors, sizes, block_totals(3, seed=5)), sizes)
    noise = np.triu(rng.normal(size=(600, 600)) * np.sqrt(profile))
    matrix = noise + noise.T
    matrix /= np.sqrt((matrix**2).sum() / 600)
    layer = np.repeat(np.arange(3), sizes)
    moments = np.stack([(matrix[:, layer == other] ** 2).sum(axis=1) for other in range(3)], axis=1)
    square = np.array([moments[layer == here].mean(axis=0) for here in range(3)]) / np.array(sizes)
    measured = (1.0 / (np.linalg.eigvalsh(matrix) - Z[:, None])).mean(axis=1)
    assert l1(measured, separable_law(Z, moments, sizes).g) < 0.06
    assert l1(measured, block_law(Z, square, sizes).g) > 0.5


@pytest.mark.parametrize(("shared", "bound"), [(False, 0.012), (True, 1e-4)], ids=["own factors", "one factor"])
@pytest.mark.parametrize("dead", [0.0, 0.8])
def test_sampled_rows_stand_for_all(shared: bool, bound: float, dead: float) -> None:
    sizes = [9000, 6000, 4000, 1000]
    rng = np.random.default_rng(6)
    columns = 1 if shared else 4
    factors = rng.lognormal(sigma=2.0, size=(20_000, columns)) * (rng.random((20_000, 1)) >= dead)
    moments = moments_from(np.broadcast_to(factors, (20_000, 4)), sizes, block_totals(4, seed=6))
    everything = separable_law(Z, moments, sizes, max_rows=20_000)
    sampled = separable_law(Z, moments, sizes)
    assert l1(sampled.g, everything.g) < bound
    assert everything.iterations <= 80
    assert sampled.iterations <= 80


def test_order_of_rows_within_a_layer_does_not_matter() -> None:
    sizes = [400, 300]
    rng = np.random.default_rng(7)
    moments = moments_from(rng.lognormal(size=(700, 2)), sizes, block_totals(2, seed=7))
    shuffled = np.concatenate([rng.permutation(moments[:400]), rng.permutation(moments[400:])])
    first, second = separable_law(Z, moments, sizes, 50), separable_law(Z, shuffled, sizes, 50)
    np.testing.assert_allclose(first.g, second.g, rtol=1e-8)


def test_a_sample_that_misses_a_block_says_so() -> None:
    """Two rows stand for the ten of layer 0: the largest, which is its own column's, and a dead one."""
    moments = np.zeros((12, 2))
    moments[7:9, 1], moments[9, 0] = 1.0, 10.0
    moments[10:, 0] = 1.0
    with pytest.raises(ValueError, match=r"layer 0 all have zero moment towards layer 1.*raise max_rows"):
        separable_law(Z, moments, [10, 2], max_rows=2)


# shapes and refusals


def test_g_has_the_shape_of_z() -> None:
    grid = np.array([[0.1 + 0.1j, 0.2 + 0.1j, 1j]])
    moments = np.ones((5, 2))
    for law in (block_law(grid, np.ones((2, 2)), [2, 3]), separable_law(grid, moments, [2, 3])):
        assert law.g.shape == (1, 3)
        assert (law.g.imag > 0.0).all()
        with pytest.raises(FrozenInstanceError):
            law.residual = 0.0  # type: ignore[misc]
    assert block_law(1j, [[1.0]], [4]).g.shape == ()


def test_too_few_iterations_raise() -> None:
    with pytest.raises(ConvergenceError, match="max_iterations"):
        block_law(Z, [[0.0, 0.1], [0.1, 0.2]], [4, 8], max_iterations=2)
    moments = np.random.default_rng(0).random((12, 2))
    with pytest.raises(ConvergenceError, match="max_iterations"):
        separable_law(Z, moments, [4, 8], max_iterations=2)


@pytest.mark.parametrize(
    ("square", "sizes", "message"),
    [
        (np.ones((2, 3)), [1, 2], "mean_square has shape"),
        (np.ones((2, 2)), [1, 2, 3], "sizes has shape"),
        (np.ones((2, 2)), [0, 2], "whole numbers"),
        (np.ones((2, 2)), [1.5, 2], "whole numbers"),
        ([[0.0, -1.0], [0.0, 0.0]], [1, 2], r"mean_square\[0, 1\] is -1.0"),
    ],
)
def test_bad_blocks_raise(square: Any, sizes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        block_law(1j, square, sizes)


@pytest.mark.parametrize(
    ("moments", "sizes", "max_rows", "message"),
    [
        (np.ones(5), [5], 10, "row_moments has shape"),
        (np.ones((5, 2)), [2, 2], 10, "sizes sum to 4"),
        (np.ones((5, 2)), [2, 3], 1, "max_rows is 1"),
        (np.full((5, 2), np.inf), [2, 3], 10, r"row_moments\[0, 0\] is inf"),
    ],
)
def test_bad_row_moments_raise(moments: Any, sizes: Any, max_rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        separable_law(1j, moments, sizes, max_rows)


def test_z_on_the_axis_raises() -> None:
    with pytest.raises(ValueError, match="Im z > 0"):
        block_law(1.0, [[1.0]], [4])
    with pytest.raises(ValueError, match="Im z > 0"):
        separable_law(1.0, [[1.0]], [1])
