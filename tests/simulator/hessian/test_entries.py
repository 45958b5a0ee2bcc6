"""Hessian entries example by example: equal to dense Hessians, sampled from the pairs that can differ from 0."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from backends import get_backend
from simulator import (
    EntryPairs,
    HessianOperator,
    entry_values,
    hessian_entries,
    mlp,
    output,
    sample_pairs,
)
from simulator.hessian import entries as subject
from simulator.hessian.entry_pairs import overlap, weight_axes
from support.cases import LOSSES, SMALL, VGG12, Case, any_case, assert_close
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
MANY = [case for case in SMALL if case.network.n_weights <= 240]
DEEP = [case for case in MANY if case.network.depth > 1]


def every_pair(n: int) -> tuple[Array, Array]:
    first, second = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    return first.ravel(), second.ravel()


def dense(case: Case, c: Array) -> Array:
    """Σ c_i ∇²T_i for one example at a time, (m, N, N)."""
    return np.stack([HessianOperator(*case.problem, c=row).dense() for row in np.diag(c)])


def existing(pairs: EntryPairs) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize("case", MANY, ids=str)
def test_all_entries_of_every_example_equal_dense_hessians(case: Case, backend: str) -> None:
    n, m = case.network.n_weights, case.examples
    values = entry_values(*case.problem, *every_pair(n), backend=backend)
    expected = dense(case, m * HessianOperator(*case.problem).c)
    assert_close(values.reshape(m, n, n), expected, 1e-10)


@given(any_case, st.sampled_from(LOSSES), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_entries_of_any_network(case: Case, loss: str, batch_size: int, seed: int) -> None:
    n, rng = case.network.n_weights, np.random.default_rng(seed)
    first, second = rng.integers(0, n, (2, 40))
    values = entry_values(*case.problem, first, second, loss, batch_size=batch_size)
    slopes = case.examples * HessianOperator(*case.problem, loss).c
    assert_close(values, dense(case, slopes)[:, first, second], 1e-10, scale=max(1.0, float(np.abs(slopes).max())))


@given(any_case.filter(lambda case: case.network.depth > 1), st.integers(0, 2**32 - 1))
def test_a_mean_over_examples_is_the_hessian(case: Case, seed: int) -> None:
    found = hessian_entries(*case.problem, n=60, n_first=10, seed=seed)
    whole = HessianOperator(*case.problem, part="residual").dense()[found.first, found.second]
    assert_close(found.values.mean(axis=0), whole, 1e-10, scale=max(1e-8, float(np.linalg.norm(whole))))


def test_own_coefficients() -> None:
    case = SMALL[3]
    network, weights, x, _ = case.problem
    c = np.linspace(-1.0, 2.0, case.examples)
    first, second = every_pair(network.n_weights)
    values = entry_values(network, weights, x, None, first, second, c=c)
    assert_close(values, dense(case, c).reshape(case.examples, -1))


def test_inactive_examples_are_exactly_0_and_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SMALL[3]
    network, weights, x, y = case.problem
    u = y * output(network, weights, x)
    passed: list[int] = []
    propagate = subject.propagate

    def counting(network: Any, weights: Any, x: Any, ops: Any) -> Any:
        passed.append(len(x))
        return propagate(network, weights, x, ops)

    monkeypatch.setattr(subject, "propagate", counting)
    values = entry_values(network, weights, x, y, *every_pair(network.n_weights))
    assert 0 < np.sum(u >= 1) < len(u)
    assert not values[u >= 1].any()
    assert values[u < 1].any(axis=1).sum() >= 3
    assert sum(passed) == np.sum(u < 1)


@pytest.mark.parametrize("case", [*DEEP[:3], *DEEP[-3:]], ids=str)
def test_passes_are_split_under_a_memory_bound(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = sample_pairs(case.network, 100, 20)
    whole = entry_values(*case.problem, pairs.first, pairs.second)
    monkeypatch.setattr(subject, "TANGENT_BYTES", 1)  # one first parameter at a time
    assert_close(entry_values(*case.problem, pairs.first, pairs.second), whole, 1e-14)


def test_the_order_of_a_pair_is_free() -> None:
    case = SMALL[9]
    pairs = sample_pairs(case.network, 50)
    assert_array_equal(
        entry_values(*case.problem, pairs.second, pairs.first), entry_values(*case.problem, pairs.first, pairs.second)
    )


def test_vgg12_in_single_precision(backend: str) -> None:
    pairs = sample_pairs(VGG12.network, 132, 22)
    single = entry_values(*VGG12.problem, pairs.first, pairs.second, backend=get_backend(backend, "float32"))
    assert single.dtype == np.float32
    double = entry_values(*VGG12.problem, pairs.first, pairs.second, backend=backend)
    assert_close(single, double, 1e-4)
    columns = []
    for p in np.unique(pairs.first)[::6]:  # against products with the operator
        unit = np.zeros(VGG12.network.n_weights)
        unit[p] = 1.0
        mine = np.flatnonzero(pairs.first == p)
        columns.append((double[:, mine].mean(axis=0), (HessianOperator(*VGG12.problem) @ unit)[pairs.second[mine]]))
    assert_close(np.concatenate([a for a, _ in columns]), np.concatenate([b for _, b in columns]), 1e-10)


@pytest.mark.parametrize("case", [SMALL[3], SMALL[5], SMALL[7], SMALL[11]], ids=str)
def test_entries_under_the_strict_namespace(case: Case) -> None:
    pairs = sample_pairs(case.network, 40, 10)
    values = entry_values(*case.problem, pairs.first, pairs.second, backend=strict())
    assert_close(values, entry_values(*case.problem, pairs.first, pairs.second, backend="numpy"))


# Which entries can differ from 0.


def ever_nonzero(case: Case) -> set[tuple[int, int]]:
    """Pairs p < q with a non-zero entry at some positive weights and inputs: no gate is off, only max-pools select."""
    network, rng = case.network, np.random.default_rng(5)
    draws = 60 if any(kind == "pool" for kind, *_ in case.spec) else 2
    found = np.zeros((network.n_weights,) * 2, dtype=bool)
    for _ in range(draws):
        weights = [rng.uniform(0.1, 1.0, shape) * 10 ** rng.uniform(-2, 2, shape) for shape in network.weight_shapes]
        x = rng.uniform(0.1, 1.0, (3, *network.input_shape)) * 10 ** rng.uniform(-2, 2, (3, *network.input_shape))
        found |= HessianOperator(network, weights, x, None, c=np.ones(3)).dense() != 0
    return set(zip(*(index.tolist() for index in np.nonzero(np.triu(found))), strict=True))


@pytest.mark.parametrize("case", DEEP, ids=str)
def test_the_pairs_are_those_that_can_differ_from_0(case: Case) -> None:
    network, n = case.network, case.network.n_weights
    pairs = sample_pairs(network, n * n, n_first=n * network.depth)  # more than there are: all of them
    truth = ever_nonzero(case)
    assert existing(pairs) == truth
    assert len(pairs.first) == len(truth) == pairs.existing.sum()
    ends = np.cumsum(network.layer_sizes)
    strata = [tuple(np.searchsorted(ends, pair, side="right").tolist()) for pair in truth]
    assert {tuple(s): k for s, k in zip(pairs.strata.tolist(), pairs.existing.tolist(), strict=True)} == {
        s: strata.count(s) for s in set(strata)
    }


@given(any_case.filter(lambda case: case.network.depth > 1))
def test_existing_and_excluded_pairs_are_all_pairs(case: Case) -> None:
    n, sizes = case.network.n_weights, case.network.layer_sizes
    pairs = sample_pairs(case.network, 10, 2)
    assert pairs.existing.sum() + sum(pairs.excluded.values()) == n * (n + 1) // 2
    assert pairs.excluded["same layer"] == sum(k * (k + 1) // 2 for k in sizes)
    assert min(pairs.excluded.values()) >= 0


def test_excluded_pairs_of_dense_layers() -> None:
    pairs = sample_pairs(mlp([4, 3, 5, 1]), 10)
    assert pairs.excluded == {"same layer": 78 + 120 + 15, "other neuron": 12 * 15 * 2 // 3 + 15 * 5 * 4 // 5,
                              "no joint site": 0}  # fmt: skip


def test_a_sample_is_stratified_and_meets_enough_first_parameters() -> None:
    pairs = sample_pairs(VGG12.network, 2000, 110, seed=3)
    assert len(existing(pairs)) == len(pairs.first) == 2000
    assert pairs.n_first >= 110
    strata, counts = np.unique(pairs.layers, axis=0, return_counts=True)
    assert_array_equal(strata, list(combinations(range(12), 2)))
    assert set(counts.tolist()) == {30, 31}
    for flat, column in ((pairs.first, 0), (pairs.second, 1)):
        ends = np.cumsum(VGG12.network.layer_sizes)
        assert_array_equal(np.searchsorted(ends, flat, side="right"), pairs.layers[:, column])
    # Second parameters are spread evenly over the first ones of a stratum.
    for stratum in strata[strata[:, 1] < 11]:
        _, shared = np.unique(pairs.first[(pairs.layers == stratum).all(axis=1)], return_counts=True)
        assert shared.max() - shared.min() <= 1


def test_one_seed_gives_one_sample() -> None:
    first, again, other = (sample_pairs(VGG12.network, 50, 20, seed).second for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).any()


def test_pairs_are_drawn_uniformly() -> None:
    """Every pair of a network in which all first parameters have as many seconds."""
    network = mlp([2, 2, 2, 1])
    counts: dict[tuple[int, int], int] = {}
    for seed in range(600):
        pairs = sample_pairs(network, 3, 3, seed)
        for pair, layers in zip(sorted(existing(pairs)), pairs.layers, strict=True):
            counts[pair] = counts.get(pair, 0) + int(layers.size > 0)
    whole = sample_pairs(network, 1000, 100)
    for stratum, size in zip(whole.strata, whole.existing, strict=True):
        own = [counts.get(pair, 0) for pair in
               existing(whole) if tuple(_layers(network, pair)) == tuple(stratum)]  # fmt: skip
        assert len(own) == size
        expected = 600 / size
        assert np.sum((np.array(own) - expected) ** 2 / expected) < size + 5 * np.sqrt(2 * size)


def _layers(network: Any, pair: tuple[int, int]) -> list[int]:
    return [int(k) for k in np.searchsorted(np.cumsum(network.layer_sizes), pair, side="right")]


@given(st.integers(1, 7), st.integers(-8, 8))
def test_overlap(size: int, shift: int) -> None:
    here, there = overlap(size, shift)
    sites = np.arange(size)
    assert_array_equal(sites[here], [t for t in range(size) if 0 <= t + shift < size])
    assert_array_equal(sites[there], sites[here] + shift)


def test_axes_of_weights_are_offsets_and_channels() -> None:
    assert [weight_axes(layer) for layer in VGG12.network.layers[-3:]] == [(9, 32, 32), (1, 32, 32), (1, 32, 1)]
    assert weight_axes(SMALL[5].network.layers[0]) == (6, 2, 5)
    assert weight_axes(SMALL[6].network.layers[1]) == (35, 3, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": np.array([0, 10_000])}, "expected integers .* to 72"),
        ({"first": np.array([0.5, 1.0])}, "expected integers"),
        ({"first": np.array([0])}, "1 first and 2 second"),
        ({"c": np.ones(3)}, "one finite coefficient per example"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"y": np.zeros(9)}, "labels are -1 or [+]1"),
    ],
)
def test_what_cannot_be_used_is_refused(change: dict[str, Any], message: str) -> None:
    network, weights, x, y = SMALL[3].problem
    arguments: dict[str, Any] = {"y": y, "first": np.array([0, 1]), "second": np.array([60, 70])} | change
    with pytest.raises(ValueError, match=message):
        entry_values(network, weights, x, **arguments)


def test_one_layer_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="one layer has no pairs"):
        sample_pairs(mlp([5, 1]), 10)
