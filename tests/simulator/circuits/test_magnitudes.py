"""Circuits by their magnitude, against sums over enumerated circuits, and what the last layer's signs make of them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import get_backend
from simulator import AvgPool, Conv, Dense, MaxPool, enumerate_circuits, mlp, output, path_magnitudes, sequential
from simulator.circuits.magnitudes import last_neuron_sums
from simulator.network.network import Network
from support.cases import BACKENDS, CASES, DENSE, IMAGES, Case, any_case, assert_close
from support.oracles.paths import count_from_below
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
FEW = 20_000
ENUMERATED = [case for case in [*DENSE, *IMAGES] if count_from_below(case) <= FEW]
TIED = sequential((6, 6, 2), [MaxPool(2), Conv(3), MaxPool(2), Conv(2, 1), Dense(3), Dense(1)])
AVERAGED = sequential((6, 6, 1), [AvgPool(2), Conv(3), AvgPool(3), Dense(2), Dense(1)])
MIXED = sequential((8, 8, 1), [Conv(2, 1), MaxPool(2), AvgPool(2), Conv(2), Dense(1)])


def by_enumeration(case: Case) -> Array:
    circuits = enumerate_circuits(case.network, case.weights, case.x, backend="numpy")
    return np.asarray(np.abs(circuits.values).sum(axis=1))


def test_the_cases_have_pools_of_both_kinds() -> None:
    kinds = {kind for case in ENUMERATED for kind, *_ in case.spec}
    assert kinds == {"dense", "conv", "pool", "avg"}


@pytest.mark.parametrize("case", ENUMERATED, ids=str)
def test_the_sum_over_enumerated_circuits(case: Case, backend: str) -> None:
    assert_close(path_magnitudes(case.network, case.weights, case.x, backend), by_enumeration(case), 1e-13)


@given(any_case.filter(lambda case: count_from_below(case) <= FEW), st.sampled_from(BACKENDS))
def test_random_architectures(case: Case, backend: str) -> None:
    assert_close(path_magnitudes(case.network, case.weights, case.x, backend), by_enumeration(case), 1e-13)


@pytest.mark.parametrize("network", [TIED, AVERAGED, MIXED], ids=["max", "average", "max then average"])
def test_ties_and_exact_zeros(network: Network, backend: str) -> None:
    """Equal values in a window, z = 0 and inputs of 0: a tie is one circuit, the first, and not the sum of both."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-1, 2, shape).astype(float) for shape in network.weight_shapes]
    x = rng.integers(-1, 2, (40, *network.input_shape)).astype(float)
    circuits = enumerate_circuits(network, weights, x, backend="numpy").values
    assert (circuits == 0).any()
    expected = np.abs(circuits).sum(axis=1)
    assert expected.any()
    assert_close(path_magnitudes(network, weights, x, backend), expected, 1e-14)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_output_exceeds_it_and_positive_networks_meet_it(case: Case, backend: str) -> None:
    network, weights, x, _ = case.problem
    assert (np.abs(output(network, weights, x, backend)) <= path_magnitudes(network, weights, x, backend) + 1e-12).all()
    positive, bright = [np.abs(w) for w in weights], np.abs(x)
    t = output(network, positive, bright, backend)
    assert (t > 0).all()
    assert_close(path_magnitudes(network, positive, bright, backend), t, 1e-13)


def test_nothing_reaches_the_output_of_a_dead_network(backend: str) -> None:
    weights = [np.ones((2, 3)), -np.ones((3, 3)), np.ones((3, 1))]
    assert path_magnitudes(mlp([2, 3, 3, 1]), weights, np.ones((4, 2)), backend).tolist() == [0.0] * 4
    none = [np.zeros(shape) for shape in mlp([2, 3, 1]).weight_shapes]
    assert path_magnitudes(mlp([2, 3, 1]), none, np.ones((4, 2)), backend).tolist() == [0.0] * 4


def test_sums_beyond_single_precision(backend: str) -> None:
    """Signals stay in range, because they cancel; their circuits' magnitudes do not."""
    network, rng = mlp([64] * 10 + [1]), np.random.default_rng(0)
    weights = [rng.choice([-500.0, 500.0], shape) for shape in network.weight_shapes]
    x = rng.standard_normal((3, 64))
    found = path_magnitudes(network, weights, x, get_backend(backend, "float32"))
    assert found.dtype == np.float64
    assert found.min() > np.finfo(np.float32).max
    assert_close(found, path_magnitudes(network, weights, x, backend), 1e-5)


@pytest.mark.parametrize("case", [*DENSE, *IMAGES], ids=str)
def test_batches_do_not_show_and_any_array_library_will_do(case: Case) -> None:
    network, weights, x, y = case.problem
    whole, sums = path_magnitudes(network, weights, x), last_neuron_sums(network, weights, x, y)
    for ops, size in ((None, 4), (strict(), None)):
        assert_close(path_magnitudes(network, weights, x, ops, size), whole, 1e-14)
        assert_close(last_neuron_sums(network, weights, x, y, ops, size), sums, 1e-13)


@pytest.mark.parametrize("case", [*DENSE, *IMAGES], ids=str)
def test_neurons_below_the_output_share_the_sum(case: Case, backend: str) -> None:
    network, weights, x, y = case.problem
    sums = last_neuron_sums(network, weights, x, y, backend)
    assert sums.shape == (network.layers[-1].fan_in,)
    assert sums.sum() == pytest.approx(float(y @ output(network, weights, x)), rel=1e-9, abs=1e-12)


def test_all_signs_of_the_last_layer_have_the_variance_that_is_said(backend: str) -> None:
    """All 2^5 signs: mean 0, variance Σ_k A_k², and the magnitudes stay as they are."""
    case = Case("five below the output", (4,), (("dense", 6), ("dense", 5), ("dense", 1)))
    network, (*hidden, last), x, y = case.problem
    magnitudes = path_magnitudes(network, [*hidden, last], x, backend)
    found = []
    for signs in itertools.product((-1.0, 1.0), repeat=5):
        drawn = [*hidden, last * np.array(signs)[:, None]]
        found.append(float(y @ output(network, drawn, x, backend)))
        assert_close(path_magnitudes(network, drawn, x, backend), magnitudes, 1e-15)
    assert np.mean(found) == pytest.approx(0.0, abs=1e-13)
    assert np.var(found) == pytest.approx(float(np.sum(last_neuron_sums(network, [*hidden, last], x, y) ** 2)))
    assert math.sqrt(np.var(found)) > 0.1


@pytest.mark.parametrize("top", [[1.0], np.ones((6, 1)), 1.0])
def test_one_number_per_example(top: object) -> None:
    with pytest.raises(ValueError, match=r"top of shape .* expected \(6,\)"):
        last_neuron_sums(DENSE[1].network, DENSE[1].weights, DENSE[1].x, top)


def test_no_batch_without_examples() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        path_magnitudes(DENSE[1].network, DENSE[1].weights, DENSE[1].x, batch_size=0)
