"""Principal components of inputs, and labels that know nothing of them."""

from __future__ import annotations

import numpy as np
import pytest

from validation.data import DataError
from validation.data.labels import labels_of
from validation.data.preprocessing import principal_components


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_components_are_those_of_the_singular_value_decomposition(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((50, 2, 6)) * np.arange(1, 7) + 3.0).astype(dtype)
    flat = x.reshape(50, 12).astype(float)
    u, s, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    expected = u[:, :4] * s[:4]
    found = principal_components(x, 4)
    assert found.dtype == dtype
    assert np.abs(found) == pytest.approx(np.abs(expected / expected.std()), abs=1e-4)
    assert np.array_equal(found, principal_components(x, 4))
    mirrored = principal_components(x.copy(order="F"), 4)
    assert mirrored == pytest.approx(found, abs=1e-4)
    whole = principal_components(x, 12)
    gram = (flat - flat.mean(axis=0)) @ (flat - flat.mean(axis=0)).T
    assert whole @ whole.T / np.trace(whole @ whole.T) == pytest.approx(gram / np.trace(gram), abs=1e-4)


@pytest.mark.parametrize("count", [0, 3, 9])
def test_there_are_no_more_components_than_the_inputs_have(count: int) -> None:
    x = np.zeros((10, 4))
    x[:, :2] = np.random.default_rng(0).standard_normal((10, 2))
    with pytest.raises(DataError, match=f"are {count}, but the inputs have 2; choose 1 to 2"):
        principal_components(x, count)


def test_random_labels_are_fair_coins() -> None:
    y = np.ones(4000)
    assert labels_of("true", y, np.random.default_rng(0)) is y
    coins = labels_of("random", y, np.random.default_rng(0))
    assert set(coins) == {-1.0, 1.0}
    assert abs(coins.mean()) < 4 / np.sqrt(4000)
