"""Laws of sizes against laws that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rayleigh

from validation.statistics.sizes import (
    FACTOR_VARIANCE,
    LEVELS,
    product_chance,
    product_law,
    size_distance,
    size_law,
)

NUMBERS = st.lists(st.floats(-50, 50).filter(lambda v: v == 0.0 or abs(v) > 1e-3), min_size=1, max_size=30)


def test_a_gaussian_weighted_by_size_is_a_rayleigh_variable() -> None:
    law = product_law(1)
    exact = np.log(rayleigh.ppf(LEVELS))
    assert np.abs(law - (exact - np.interp(0.5, LEVELS, exact))).max() < 2e-3
    assert pytest.approx(math.pi**2 / 24) == FACTOR_VARIANCE


@pytest.mark.parametrize("factors", [1, 2, 3, 5])
def test_products_of_gaussians_have_their_number_of_factors(factors: int) -> None:
    rng = np.random.default_rng(factors)
    law = size_law(np.prod(rng.normal(size=(factors, 60_000)), axis=0))
    assert law is not None
    assert size_distance(law.quantiles, product_law(factors)) < 0.03
    assert law.factors == pytest.approx(factors, rel=0.06)
    assert abs(law.signed) < 0.05


def test_a_sample_of_many_factors_is_far_from_its_own_law() -> None:
    values = np.array([1.0, -1.0])
    apart = [
        np.mean([product_chance(k, values, 20_000, np.random.default_rng(seed)) for seed in range(8)]) for k in (1, 12)
    ]
    assert apart[0] < 0.01
    assert 0.1 < apart[1] < 0.5


def test_one_more_factor_from_values() -> None:
    rng = np.random.default_rng(1)
    values = np.array([0.0, 0.3, -1.0, 4.0])
    drawn = rng.choice(values, 60_000) * rng.normal(size=60_000)
    law = size_law(drawn)
    assert law is not None
    assert size_distance(law.quantiles, product_law(1, values)) < 0.03
    assert size_distance(law.quantiles, product_law(1)) > 0.1
    assert law.zeros == pytest.approx(0.25, abs=0.02)


def test_a_symmetric_law_at_half_its_mass_and_a_wrong_one_is_told_apart() -> None:
    """Two atoms: |v| = 1 and e³ with as much mass each; the law without weights has its median at 1."""
    law = size_law(np.array([math.exp(3), *[-1.0] * 20]))
    assert law is not None
    assert law.signed == pytest.approx((math.exp(3) - 20) / (math.exp(3) + 20))
    assert 1.0 < law.scale < math.exp(3)


@given(NUMBERS, st.floats(1e-100, 1e100), st.booleans())
def test_a_factor_and_zeros_change_the_scale_and_the_share_of_zeros_alone(
    numbers: list[float], factor: float, negative: bool
) -> None:
    first, sign = size_law(np.array(numbers)), -1.0 if negative else 1.0
    other = size_law(np.array([*numbers, *[0.0] * len(numbers)]) * factor * sign)
    if not any(numbers):
        assert first is None
        assert other is None
        return
    assert first is not None
    assert other is not None
    assert size_distance(first.quantiles, other.quantiles) < 1e-9
    assert other.scale == pytest.approx(first.scale * factor, rel=1e-9)
    assert other.signed == pytest.approx(sign * first.signed)
    assert other.zeros == pytest.approx(0.5 + first.zeros / 2)


@given(NUMBERS)
def test_weights_are_counts(numbers: list[float]) -> None:
    """Up to the interpolation between neighbours: sizes that occur twice in a row share one place."""
    twice, counted = size_law(np.array(numbers)), size_law(np.array(numbers), np.full(len(numbers), 2.5))
    if twice is None or counted is None:
        assert twice is counted
        return
    assert np.allclose(twice.quantiles, counted.quantiles)
    assert counted.zeros == pytest.approx(twice.zeros)
