"""Paths drawn uniformly: every path has the same probability, and its circuits the right values."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import stats

from backends import get_backend
from simulator import (
    Network,
    SampledCircuits,
    count_paths,
    enumerate_circuits,
    enumerate_paths,
    estimate_assemblies,
    mlp,
    path_weights,
    sample_circuits,
    sample_paths,
    vgg12,
)
from simulator.circuits import sampling as subject
from simulator.circuits.paths import AXES, axis_walk, stages
from support.cases import Case, any_case, assert_close
from support.oracles.paths import walk
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
FEW = 3000
few_paths = any_case.filter(lambda case: count_paths(case.network) <= FEW)

# Every way for a count to depend on the site: borders of one and of two paddings, a kernel wider than the image, ragged
# pools, pools of pools, pools of the input, and pools that drop what a convolution could have reached.
UNIFORM = [
    Case("dense", (3,), (("dense", 4), ("dense", 2), ("dense", 1))),
    Case("border", (4, 3, 1), (("conv", 2, 3), ("dense", 1))),
    Case("two-borders", (4, 3, 1), (("conv", 1, 3), ("conv", 2, 3), ("dense", 1))),
    Case("wide-kernel", (3, 2, 2), (("conv", 2, 5), ("dense", 2), ("dense", 1))),
    Case("ragged", (5, 4, 1), (("conv", 2, 3), ("pool", 2), ("dense", 2), ("dense", 1))),
    Case("ragged-between", (5, 5, 1), (("conv", 1, 3), ("pool", 2), ("conv", 2, 3), ("dense", 1))),
    Case("pools-of-pools", (7, 6, 1), (("conv", 1, 3), ("pool", 2), ("pool", 3), ("conv", 3, 3), ("dense", 1))),
    Case("pooled-input", (5, 7, 1), (("pool", 2), ("conv", 2, 3), ("dense", 1))),
    Case("twice-pooled-input", (9, 8, 2), (("pool", 2), ("pool", 2), ("conv", 2, 3), ("dense", 1))),
    Case("pooled-input-dense", (5, 5, 2), (("pool", 2), ("dense", 2), ("dense", 1))),
]


def p_value_of_uniformity(paths: Array, every: Array) -> float:
    """Of the chi-square test that draws are uniform over the given paths; a path of another kind is an error."""
    seen = Counter(map(tuple, paths.tolist()))
    counts = [seen.pop(tuple(path), 0) for path in every.tolist()]
    assert not seen, "paths were drawn that do not exist"
    return float(stats.chisquare(counts).pvalue)


@pytest.mark.parametrize("case", UNIFORM, ids=str)
def test_paths_are_uniform(case: Case) -> None:
    every = walk(case).paths
    drawn = sample_paths(case.network, 60 * len(every), seed=3)
    assert 24 <= len(every) <= 3000
    assert 1e-3 < p_value_of_uniformity(drawn, every) < 1 - 1e-3


def test_the_same_test_catches_a_walk_that_ignores_the_counts() -> None:
    """Uniform steps are not uniform paths where the image ends; the chi-square test of the right sample sees it."""
    case = next(case for case in UNIFORM if case.name == "two-borders")
    every, rng = walk(case).paths, np.random.default_rng(0)
    naive = []
    for _ in range(15 * len(every)):
        paths = every
        for column in range(every.shape[1]):
            choices = np.unique(paths[:, column])
            paths = paths[paths[:, column] == rng.choice(choices)]
        naive.append(paths[0])
    assert p_value_of_uniformity(np.array(naive), every) < 1e-12


def exact_probability(network: Network, path: list[int]) -> Fraction:
    """The product of the step probabilities that the sampler uses, before they are rounded."""
    levels = stages(network)
    places = [stage.places(np.array(index)) for stage, index in zip(levels, path, strict=True)]
    probability = Fraction(1, math.prod(stage.shape[2] for stage in levels))
    for axis in AXES:
        walk, at = axis_walk(network, axis), int(places[0][axis])
        probability *= Fraction(walk.start[at], sum(walk.start))
        for step, place in zip(walk.steps, places[1:], strict=True):
            to = int(place[axis])
            probability *= Fraction(step.counts[at][to - int(step.first[at])], sum(step.counts[at]))
            at = to
    return probability


@pytest.mark.parametrize("case", UNIFORM, ids=str)
def test_every_path_has_probability_one_over_the_count(case: Case) -> None:
    every = walk(case).paths
    for path in every.tolist():
        assert exact_probability(case.network, path) == Fraction(1, len(every))


@pytest.mark.parametrize("width", [1 / 16, 0.25, 1.0])
def test_paths_of_the_papers_network_have_probability_one_over_the_count(width: float) -> None:
    network = vgg12(width)
    for path in sample_paths(network, 20, seed=1).tolist():
        assert exact_probability(network, path) == Fraction(1, count_paths(network))


@given(st.lists(st.lists(st.integers(0, 10**40), min_size=3, max_size=3).filter(any), min_size=1, max_size=4))
def test_counts_become_probabilities_to_the_last_bit(counts: list[list[int]]) -> None:
    for found, row in zip(subject._cumulative(counts), counts, strict=True):
        for j, value in enumerate(found):
            assert abs(Fraction(float(value)) - Fraction(sum(row[: j + 1]), sum(row))) <= Fraction(1, 2**53)
        assert found[-1] == 1.0


def test_an_option_of_probability_zero_is_never_taken() -> None:
    """Also at the ends of the unit interval, where a comparison of the wrong kind would take it."""

    class Fixed:
        def random(self, n: int) -> Array:
            return np.resize([0.0, 0.5, np.nextafter(1.0, 0.0)], n)

    cumulative = subject._cumulative([[0, 1, 1, 0], [2, 0, 0, 2]])
    for row, expected in ((0, [1, 2, 2]), (1, [0, 3, 3])):
        for table, rows in ((cumulative, np.full(3, row)), (cumulative[[row]], np.zeros(3, dtype=int))):
            assert subject._choose(table, rows, Fixed()).tolist() == expected  # type: ignore[arg-type]


@given(any_case, st.integers(0, 2**32 - 1))
def test_every_drawn_path_exists(case: Case, seed: int) -> None:
    paths = sample_paths(case.network, 50, seed)
    edges = path_weights(case.network, paths)  # refuses a path that does not exist
    assert edges.shape == (50, case.network.depth)
    assert (edges < case.network.layer_sizes).all()
    if count_paths(case.network) <= FEW:
        assert {tuple(path) for path in paths.tolist()} <= {tuple(p) for p in enumerate_paths(case.network).tolist()}


@given(few_paths, st.sampled_from([0, 1, 2]), st.integers(0, 2**32 - 1))
def test_sampled_circuits_are_enumerated_ones(case: Case, order: int, seed: int) -> None:
    every = enumerate_circuits(case.network, case.weights, case.x, order)
    place = {tuple(path): i for i, path in enumerate(every.paths.tolist())}
    drawn = sample_circuits(case.network, case.weights, case.x, 40, order, seed)
    index = [place[tuple(path)] for path in drawn.paths.tolist()]
    assert_array_equal(drawn.values, every.values[drawn.examples, index])
    assert (drawn.order, drawn.n_paths) == (order, len(every.paths))


@pytest.mark.parametrize("case", [UNIFORM[0], UNIFORM[5]], ids=str)
def test_examples_are_uniform_and_independent_of_the_paths(case: Case) -> None:
    every = walk(case).paths
    drawn = sample_circuits(case.network, case.weights, case.x, 40 * len(every) * case.examples, seed=5)
    both = np.column_stack([drawn.paths, drawn.examples])
    pairs = np.column_stack([np.repeat(every, case.examples, axis=0), np.tile(np.arange(case.examples), len(every))])
    assert 1e-3 < p_value_of_uniformity(both, pairs) < 1 - 1e-3


def test_seeds_backends_and_orders_meet_the_same_circuits() -> None:
    case = UNIFORM[6]
    first = sample_circuits(case.network, case.weights, case.x, 30, 0, 7, "numpy")
    for order, seed, backend in ((0, 7, "numba"), (1, 7, "numpy"), (2, 7, strict()), (0, 7, "numba")):
        other = sample_circuits(case.network, case.weights, case.x, 30, order, seed, backend)
        assert_array_equal(other.paths, first.paths)
        assert_array_equal(other.examples, first.examples)
    again = sample_circuits(case.network, case.weights, case.x, 30, 0, 8)
    assert not np.array_equal(again.paths, first.paths)
    assert not np.array_equal(again.examples, first.examples)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("case", UNIFORM, ids=str)
def test_the_estimate_is_within_four_standard_errors(case: Case, order: int) -> None:
    every = enumerate_circuits(case.network, case.weights, case.x, order)
    exact = every.values.sum(axis=1).mean(axis=0)
    found = estimate_assemblies(sample_circuits(case.network, case.weights, case.x, 40_000, order, seed=11))
    assert found.value.shape == found.standard_error.shape == exact.shape
    assert (np.abs(found.value - exact) <= 4 * found.standard_error).all()
    assert (found.standard_error > 0).all()


def test_the_standard_error_is_the_spread_of_estimates() -> None:
    case = next(case for case in UNIFORM if case.name == "two-borders")
    every = enumerate_circuits(case.network, case.weights, case.x)
    exact, draws = every.values.sum(axis=1).mean(), 400
    found = [
        estimate_assemblies(sample_circuits(case.network, case.weights, case.x, 500, seed=s)) for s in range(draws)
    ]
    z = np.array([(f.value - exact) / f.standard_error for f in found])
    assert abs(z.mean()) < 4 / math.sqrt(draws)
    assert abs(np.mean(z**2) - 1) < 4 * math.sqrt(2 / draws)
    error = np.std(every.values) * len(every.paths) / math.sqrt(500)
    assert np.median([f.standard_error for f in found]) == pytest.approx(error, rel=0.1)


def test_the_papers_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """vgg12 at 1/16 of its width: existing edges, single precision, and chunks that do not show."""
    network = vgg12(1 / 16)
    weights, x = network.init(0), np.random.default_rng(1).standard_normal((7, 32, 32, 3))
    drawn = [sample_circuits(network, weights, x, 2000, order, 2, get_backend(dtype="float32")) for order in (0, 1, 2)]
    assert [d.values.shape for d in drawn] == [(2000,), (2000, 12), (2000, 66)]
    assert {d.values.dtype for d in drawn} == {np.dtype(np.float32)}
    monkeypatch.setattr("simulator.circuits.values.CHUNK", 500)
    monkeypatch.setattr("simulator.circuits.values.BATCH_SIZE", 3)
    for before in drawn:
        after = sample_circuits(network, weights, x, 2000, before.order, 2)
        assert_array_equal(after.paths, before.paths)
        assert_close(before.values, after.values, 1e-4)


def test_refusals() -> None:
    network = mlp([3, 2, 1])
    weights, x = network.init(0), np.ones((2, 3))
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match=r"n .* is not usable"):
            sample_circuits(network, weights, x, n)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order 3 is not usable"):
        sample_circuits(network, weights, x, 10, 3)
    with pytest.raises(ValueError, match="seed -1 is not usable"):
        sample_circuits(network, weights, x, 10, seed=-1)
    single: SampledCircuits = sample_circuits(network, weights, x, 1)
    with pytest.raises(ValueError, match="no standard error: sample at least 2"):
        estimate_assemblies(single)
