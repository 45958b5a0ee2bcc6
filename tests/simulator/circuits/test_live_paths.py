"""Circuits that are not 0: their exact share and uniform draws, against all circuits of small networks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.stats import chisquare

from backends import get_backend
from simulator import circuit_values, count_paths, enumerate_circuits, mlp, sample_circuits, sample_live_paths
from support.cases import BACKENDS, SMALL, VGG12, Array, Case, any_case, assert_close
from support.strict_namespace import strict

by_case = pytest.mark.parametrize("case", SMALL, ids=str)


def live(case: Case) -> Array:
    """Of all circuits, which are not 0: (m, n_paths)."""
    return enumerate_circuits(case.network, case.weights, case.x, backend="numpy").values != 0


@by_case
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_share_of_live_circuits_is_exact(case: Case, backend: str) -> None:
    found = sample_live_paths(case.network, case.weights, case.x, 1, backend=backend).fractions
    assert_close(found, np.mean(live(case), axis=1), 1e-13)


@settings(max_examples=60)
@given(any_case.filter(lambda case: count_paths(case.network) <= 20_000), st.integers(0, 2**32 - 1))
def test_every_path_drawn_is_live_and_its_share_exact(case: Case, seed: int) -> None:
    drawn = sample_live_paths(case.network, case.weights, case.x, 50, seed, "numpy")
    expected = live(case)
    assert_close(drawn.fractions, np.mean(expected, axis=1), 1e-12)
    assert len(drawn.paths) == len(drawn.examples) == (50 if expected.any() else 0)
    values = circuit_values(case.network, case.weights, case.x, drawn.paths, drawn.examples, backend="numpy")
    assert np.all(values != 0)


@by_case
def test_live_circuits_are_drawn_uniformly(case: Case) -> None:
    """Chi-square over all pairs of an example and a live path, in at most 40 groups of equal size."""
    expected, n = live(case), 20_000
    drawn = sample_live_paths(case.network, case.weights, case.x, n, 7, "numpy")
    paths = enumerate_circuits(case.network, case.weights, case.x[:1], backend="numpy").paths
    # Paths are enumerated in lexicographic order, so that their place is found by their flat index.
    sizes = paths.max(axis=0) + 1
    index = np.searchsorted(np.ravel_multi_index(paths.T, sizes), np.ravel_multi_index(drawn.paths.T, sizes))
    rank = np.cumsum(expected.reshape(-1)).reshape(expected.shape) - 1
    assert np.all(expected[drawn.examples, index])
    total = int(expected.sum())
    groups = min(total, 40)
    group = np.arange(total) * groups // total
    counts = np.bincount(group[rank[drawn.examples, index]], minlength=groups)
    assert chisquare(counts, n * np.bincount(group) / total).pvalue > 1e-3


def test_uniform_sampling_finds_the_same_share_and_law() -> None:
    """`sample_circuits` draws from all circuits: as many of its values are not 0, and those have the same mean."""
    case, n = SMALL[3], 100_000
    values = sample_circuits(case.network, case.weights, case.x, n, seed=1, backend="numpy").values
    drawn = sample_live_paths(case.network, case.weights, case.x, n, 2, "numpy")
    share, found = drawn.fractions.mean(), np.mean(values != 0)
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / n)
    there = circuit_values(case.network, case.weights, case.x, drawn.paths, drawn.examples, backend="numpy")
    here = values[values != 0]
    error = np.hypot(there.std() / np.sqrt(n), here.std() / np.sqrt(here.size))
    assert abs(there.mean() - here.mean()) < 4 * error


def test_deep_networks_too() -> None:
    """12 layers with five pools: of 10^5 uniform circuits about one is live, of these every one."""
    drawn = sample_live_paths(VGG12.network, VGG12.weights, VGG12.x, 2000, backend="numpy")
    assert 0 < drawn.fractions.max() < 1e-3
    for order in (0, 1, 2):
        values = circuit_values(
            VGG12.network, VGG12.weights, VGG12.x, drawn.paths, drawn.examples, order, backend="numpy"
        )
        assert np.all(values != 0)


@by_case
def test_every_backend_draws_the_same(case: Case) -> None:
    first, *others = (
        sample_live_paths(case.network, case.weights, case.x, 200, 3, ops)
        for ops in (get_backend("numpy"), get_backend("numba"), strict())
    )
    for other in others:
        assert_array_equal(other.paths, first.paths)
        assert_array_equal(other.examples, first.examples)


def test_batches_of_examples_join() -> None:
    case = SMALL[3]
    x = np.tile(case.x, (40, 1))
    drawn = sample_live_paths(case.network, case.weights, x, 3000, backend="numpy")
    assert_close(drawn.fractions, np.tile(live(case).mean(axis=1), 40), 1e-13)
    assert drawn.examples.max() > 256


def test_nothing_live_and_bad_counts() -> None:
    network = mlp([3, 2, 1])
    dead = [-np.ones((3, 2)), np.ones((2, 1))]
    drawn = sample_live_paths(network, dead, np.ones((4, 3)), 10)
    assert drawn.paths.shape == (0, 3)
    assert not drawn.fractions.any()
    with pytest.raises(ValueError, match="n 0 is not usable"):
        sample_live_paths(network, dead, np.ones((4, 3)), 0)
