"""M1-M4 and the brackets of (20) and (21), against sums over all signs written out here and against Monte Carlo."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory import (
    mean_bracket,
    mean_output,
    mean_output_bound,
    positive_part_bound,
    second_moment,
    second_moment_bracket,
    shifted_second_moment_bound,
)

Array = np.ndarray[Any, Any]
reals = st.floats(-4, 4, allow_subnormal=False).map(lambda v: round(v, 3))
draws = st.integers(1, 8).flatmap(lambda n: arrays(np.float64, n, elements=reals))


def powers(weights: list[Array], x: Array) -> Array:
    """||x_1||², ..., T² of one network."""
    found = []
    for w in weights[:-1]:
        x = np.maximum(x @ w, 0.0)
        found.append(x @ x)
    return np.array([*found, float((x @ weights[-1])[0]) ** 2])


@pytest.mark.parametrize("widths", [[3, 1], [2, 2, 1], [2, 3, 1, 1], [3, 2, 1]], ids=str)
def test_second_moment_equals_the_sum_over_all_signs(widths: list[int]) -> None:
    """M1 for weights ±s_l: the mean over every one of the 2^N networks."""
    scales = 0.5 + np.arange(len(widths) - 1)
    x = np.random.default_rng(0).standard_normal(widths[0])
    shapes = list(itertools.pairwise(widths))
    sizes = [a * b for a, b in shapes]
    total = np.zeros(len(shapes))
    for signs in itertools.product((-1.0, 1.0), repeat=sum(sizes)):
        parts = np.split(np.array(signs), np.cumsum(sizes)[:-1])
        total += powers([s * p.reshape(shape) for s, p, shape in zip(scales, parts, shapes, strict=True)], x)
    expected = second_moment(widths, scales**2, x)
    np.testing.assert_allclose(total / 2.0 ** sum(sizes), expected, rtol=1e-12)
    np.testing.assert_allclose(second_moment(widths[1:], scales**2, x), expected, rtol=0)


def test_second_moment_against_gaussian_weights() -> None:
    widths, rng, count = [5, 8, 6, 1], np.random.default_rng(1), 20_000
    x, variances = rng.standard_normal(5), np.array([0.4, 0.25, 1 / 6])
    shapes = itertools.pairwise(widths)
    deep = [rng.standard_normal((count, *s)) * np.sqrt(v) for s, v in zip(shapes, variances, strict=True)]
    found = np.array([powers([w[i] for w in deep], x) for i in range(count)])
    error = found.std(axis=0) / np.sqrt(count)
    assert np.all(np.abs(found.mean(axis=0) - second_moment(widths, variances, x)) <= 4 * error)


def test_second_moment_at_the_edge_of_chaos_is_conserved() -> None:
    x = np.ones((2, 3, 64))
    moments = second_moment([64] * 6 + [1], [2 / 64] * 5 + [1 / 64], x)
    assert moments.shape == (2, 3, 6)
    np.testing.assert_allclose(moments[..., :-1], 64.0)
    np.testing.assert_allclose(moments[..., -1], 1.0)


def test_second_moment_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 components: expected n_0 = 3"):
        second_moment([3, 4, 1], [1.0, 1.0], np.ones(2))
    for widths in ([3, 4, 2], [4, 1, 1, 1], [0, 1]):
        with pytest.raises(ValueError, match="do not fit 2 variances"):
            second_moment(widths, [1.0, 1.0], np.ones(3))
    for variances in ([-1.0], [np.nan], [], 1.0):
        with pytest.raises(ValueError, match="variances"):
            second_moment([1], variances, np.ones(3))


@given(half=draws)
def test_positive_part_of_symmetric_draws(half: Array) -> None:
    mean, middle, bound = positive_part_bound(np.concatenate([half, -half]))
    assert mean == pytest.approx(middle, abs=1e-14)
    assert 0 <= middle <= bound * (1 + 1e-14)


def test_positive_part_bound_is_sharp_and_needs_symmetry() -> None:
    assert positive_part_bound([1.0, -1.0]) == (0.5, 0.5, 0.5)
    mean, half, bound = positive_part_bound([[1.0, 1.0], [3.0, -3.0]])
    assert mean[0] > bound[0] == half[0]
    assert mean[1] == bound[1]


@given(pairs=st.lists(st.tuples(reals, reals), min_size=1, max_size=8))
def test_shifted_second_moment_for_any_shift_that_leaves_the_rest_symmetric(pairs: list[tuple[float, float]]) -> None:
    symmetric = np.array([sign * s for s, _ in pairs for sign in (1, -1)])
    beta = np.array([b for _, b in pairs for _ in range(2)])
    measured, bound = shifted_second_moment_bound(symmetric, beta)
    assert measured <= bound + 1e-12
    centred = shifted_second_moment_bound(symmetric, 0 * beta)
    assert centred[0] == pytest.approx(centred[1], abs=1e-12)  # M1: half of E z²


def test_shifted_second_moment_by_hand() -> None:
    """z = 3, 1: E z_+² = 5; ½·5 + 2 + ½·4 = 6.5."""
    measured, bound = shifted_second_moment_bound([1.0, -1.0], [2.0, 2.0])
    assert (measured, bound) == (5.0, 6.5)
    with pytest.raises(ValueError, match="differ"):
        shifted_second_moment_bound([1.0, -1.0], [2.0])


def test_mean_output_and_its_bound() -> None:
    assert mean_output([1.0, -2.0, 0.0], [0.5, 0.25, 9.0]) == 0.0
    assert mean_output_bound([1.0, -2.0, 0.0], [4.0, 1.0, 9.0]) == 2.0
    np.testing.assert_array_equal(mean_output_bound(np.eye(2), [[4.0, 16.0]]), [1.0, 2.0])
    with pytest.raises(ValueError, match="differ"):
        mean_output([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="second_moments hold -1"):
        mean_output_bound([1.0], [-1.0])


@given(weights=draws, half=draws)
def test_mean_output_bound_follows_from_m2(weights: Array, half: Array) -> None:
    z = np.concatenate([half, -half])
    signals = np.full(weights.shape, np.mean(np.maximum(z, 0.0)))
    bound = mean_output_bound(weights, np.full(weights.shape, np.mean(z**2)))
    assert abs(mean_output(weights, signals)) <= bound * (1 + 1e-12) + 1e-14


def test_brackets_are_the_formulas_and_broadcast() -> None:
    assert mean_bracket(16, 4, 0.5, 1.0) == pytest.approx(2.0**-4 + 16.0**-1)
    assert second_moment_bracket(16, 4, 0.5, 2.0) == pytest.approx(2.0**8 + 1.0 + 2.0**8 * 16.0**-2)
    n, depth = np.array([8, 64, 512])[:, None], np.array([2, 4, 8, 16])
    for bracket in (mean_bracket, second_moment_bracket):
        grid = bracket(n, depth, 0.25, 1.0)
        assert grid.shape == (3, 4)
        assert grid[1, 2] == bracket(64, 8, 0.25, 1.0)
        for bad in ((0, 1, 1, 1), (1, 0, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1), (np.nan, 1, 1, 1)):
            with pytest.raises(ValueError, match="expected finite numbers"):
                bracket(*bad)


def test_the_bracket_of_the_mean_loses_to_m4_by_two_to_the_depth() -> None:
    """(20) cannot hold with layer L removed: E ∂T/∂w^L_j = E x_{L-1}^j, all weights Gaussian and intact.

    z_{L-1}^j given x_{L-2} is Gaussian: E x_{L-1}^j = s E||x_{L-2}||/√(2π) does not fall with L at the edge of chaos.
    """
    n, rng, count = 32, np.random.default_rng(0), 2000
    ratios = []
    for depth in (3, 5, 7):
        x = np.tile(np.ones(n), (count, 1))
        for _ in range(depth - 2):
            x = np.maximum(np.linalg.norm(x, axis=1, keepdims=True) * rng.normal(size=(count, n)) * np.sqrt(2 / n), 0.0)
        norms = np.linalg.norm(x, axis=1) * np.sqrt(2 / n) / np.sqrt(2 * np.pi)
        assert norms.std() / np.sqrt(count) < 0.02 * norms.mean()
        ratios.append(norms.mean() / mean_bracket(n, depth, 1.0, 1.0))
    growth = np.diff(np.log2(ratios)) / 2
    assert np.all(growth > 0.8)  # nearly a factor 2 with every layer
