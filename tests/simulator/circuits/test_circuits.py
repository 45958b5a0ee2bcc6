"""Paths and circuits of order 0, 1 and 2, against a walk through the network in plain Python."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from backends import get_backend
from simulator import (
    Conv,
    Dense,
    EnumerationError,
    MaxPool,
    circuit_moments,
    circuit_values,
    count_paths,
    enumerate_circuits,
    enumerate_paths,
    mlp,
    output,
    path_weights,
    sequential,
    vgg12,
)
from simulator.circuits import values as subject
from simulator.enumeration.gates import layer_matrices
from support.cases import BACKENDS, DENSE, IMAGES, Case, any_case, assert_close
from support.oracles.paths import count_from_below, walk
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
FEW = 3000
TWICE_POOLED = Case("twice-pooled-input", (9, 8, 2), (("pool", 2), ("pool", 2), ("conv", 2, 3), ("dense", 1)))
WALKED = [case for case in [*DENSE, *IMAGES, TWICE_POOLED] if count_paths(case.network) <= 2 * FEW]
few_paths = any_case.filter(lambda case: count_paths(case.network) <= FEW)
orders = st.sampled_from([0, 1, 2])
backends = st.sampled_from(BACKENDS)


def vgg12_case(width: float) -> Case:
    sizes = [round(c * width) for c in (64, 128, 256, 512, 512)]
    stages = [step for c in sizes for step in (("conv", c, 3), ("conv", c, 3), ("pool", 2))]
    return Case("vgg12", (32, 32, 3), (*stages, ("dense", sizes[-1]), ("dense", 1)))


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("case", WALKED, ids=str)
def test_circuits_equal_a_walk(case: Case, order: int, backend: str) -> None:
    expected = walk(case)
    found = enumerate_circuits(case.network, case.weights, case.x, order, backend)
    assert_array_equal(found.paths, expected.paths)
    assert_array_equal(path_weights(case.network, found.paths), expected.edges)
    assert_close(found.values, expected.values(order), 1e-14)
    assert (found.order, found.values.dtype) == (order, np.float64)


@given(few_paths, orders, backends)
def test_circuits_of_random_architectures(case: Case, order: int, backend: str) -> None:
    expected = walk(case)
    found = enumerate_circuits(case.network, case.weights, case.x, order, backend)
    assert_array_equal(found.paths, expected.paths)
    assert_array_equal(path_weights(case.network, found.paths), expected.edges)
    assert_close(found.values, expected.values(order), 1e-14)


@given(any_case)
def test_counts_from_above_and_from_below(case: Case) -> None:
    assert count_paths(case.network) == count_from_below(case)


@pytest.mark.parametrize("case", [*DENSE, *IMAGES], ids=str)
def test_counts_of_the_cases(case: Case) -> None:
    assert count_paths(case.network) == count_from_below(case)


def test_exact_counts_of_the_papers_network() -> None:
    """39 digits; at a width without powers of two no float holds them."""
    count, wider = count_paths(vgg12()), count_paths(vgg12(1.1))
    assert count == count_from_below(vgg12_case(1.0)) == 123185953956245239348962505048253792256
    assert wider == count_from_below(vgg12_case(1.1)) != int(float(wider))


@pytest.mark.parametrize("widths", [[4, 1], [3, 4, 1], [3, 2, 4, 1], [2, 3, 1, 3, 1]], ids=str)
def test_dense_circuits_one_index_tuple_at_a_time(widths: list[int]) -> None:
    """(11) letter by letter: all Π n_l index tuples in C order, gates from the signals, weights left out one by one."""
    network, rng = mlp(widths), np.random.default_rng(7)
    weights, x = network.init(1), rng.standard_normal((3, widths[0]))
    found = [enumerate_circuits(network, weights, x, order) for order in (0, 1, 2)]
    tuples = list(itertools.product(*map(range, widths)))
    assert count_paths(network) == math.prod(widths) == len(tuples)
    for circuits in found:
        assert circuits.paths.tolist() == [list(path) for path in tuples]
    for (i, example), (j, path) in itertools.product(enumerate(x), enumerate(tuples)):
        signal, live, factors = example, example[path[0]], []
        for layer, w in enumerate(weights):
            signal = signal @ w
            factors.append(w[path[layer], path[layer + 1]])
            if layer < len(weights) - 1:
                live = live * (signal[path[layer + 1]] > 0)
                signal = np.maximum(signal, 0.0)
        for order, circuits in enumerate(found):
            kept = [
                live * math.prod(f for k, f in enumerate(factors) if k not in removed)
                for removed in itertools.combinations(range(len(weights)), order)
            ]
            np.testing.assert_allclose(circuits.values[i, j], kept[0] if order == 0 else kept, rtol=1e-13, atol=0)


@pytest.mark.parametrize("shape", [(4, 3, 2), (1, 5, 1)], ids=str)
def test_convolutions_as_the_nonzero_entries_of_dense_layers(shape: tuple[int, ...]) -> None:
    """Without pools, the paths are the index tuples along which no entry of the dense layer matrices is missing."""
    network = sequential(shape, [Conv(2), Conv(1, 1), Dense(1)])
    weights, x = network.init(3), np.random.default_rng(4).standard_normal((2, *shape))
    ones = [np.ones(s) for s in network.weight_shapes]
    exists, values = (layer_matrices(network, w, get_backend("numpy")) for w in (ones, weights))
    expected = [
        path
        for path in itertools.product(*(range(len(w)) for w in exists), range(1))
        if all(w[path[i], path[i + 1]] for i, w in enumerate(exists))
    ]
    found = enumerate_circuits(network, weights, x)
    assert found.paths.tolist() == [list(path) for path in expected]
    edges = path_weights(network, found.paths)
    for i, w in enumerate(values):
        assert_array_equal(w[found.paths[:, i], found.paths[:, i + 1]], weights[i].ravel()[edges[:, i]])


def test_circuits_are_the_zero_temperature_limit_of_their_moments() -> None:
    network = sequential((3, 3, 1), [Conv(2), Dense(2), Dense(1)])
    weights, x = network.init(5), np.random.default_rng(6).standard_normal((3, 3, 3, 1))
    circuits = enumerate_circuits(network, weights, x)
    (moments,) = circuit_moments(network, weights, x, circuits.paths, 0.0, orders=[1])
    assert_close(circuits.values, moments, 1e-14)


@given(few_paths, orders, st.integers(0, 2**32 - 1), backends)
def test_circuits_along_given_paths(case: Case, order: int, seed: int, backend: str) -> None:
    """Any paths at any examples, in any order and repeated: the entries of the enumeration, bit for bit."""
    rng = np.random.default_rng(seed)
    every = enumerate_circuits(case.network, case.weights, case.x, order, backend)
    path, example = (rng.integers(0, size, 25) for size in (len(every.paths), case.examples))
    found = circuit_values(case.network, case.weights, case.x, every.paths[path], example, order, backend)
    assert_array_equal(found, every.values[example, path])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_batches_and_chunks_do_not_show(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = WALKED[-1]
    whole = enumerate_circuits(case.network, case.weights, case.x, order)
    rows = np.arange(len(whole.paths)) % case.examples
    picked = circuit_values(case.network, case.weights, case.x, whole.paths, rows, order)
    monkeypatch.setattr(subject, "CHUNK", 50)
    monkeypatch.setattr(subject, "BATCH_SIZE", 4)
    assert_close(enumerate_circuits(case.network, case.weights, case.x, order).values, whole.values, 1e-15)
    assert_close(circuit_values(case.network, case.weights, case.x, whole.paths, rows, order), picked, 1e-15)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("case", [case for case in WALKED if count_paths(case.network) <= FEW], ids=str)
def test_any_array_namespace(case: Case, order: int) -> None:
    found, expected = (enumerate_circuits(case.network, case.weights, case.x, order, b) for b in (strict(), "numpy"))
    assert_close(found.values, expected.values, 1e-14)
    rows = np.arange(len(found.paths)) % case.examples
    drawn = circuit_values(case.network, case.weights, case.x, found.paths, rows, order, strict())
    assert_close(drawn, expected.values[rows, np.arange(len(rows))], 1e-14)


def test_single_precision_stays_single() -> None:
    case = DENSE[3]
    found = enumerate_circuits(case.network, case.weights, case.x, 2, get_backend("numba", "float32"))
    assert found.values.dtype == np.float32
    assert_close(found.values, enumerate_circuits(case.network, case.weights, case.x, 2).values, 1e-6)


def test_refusals_name_the_number_of_paths_and_the_way_out() -> None:
    network = vgg12(0.25)
    with pytest.raises(EnumerationError, match=rf"{count_paths(network)} paths .* use sample_circuits"):
        enumerate_circuits(network, network.init(0), np.zeros((1, 32, 32, 3)))
    with pytest.raises(EnumerationError, match=rf"{count_paths(network)} paths.*use sample_circuits"):
        enumerate_paths(network)
    case = DENSE[1]
    for order in (3, -1, 0.5, True):
        with pytest.raises(ValueError, match=r"order .* is not usable"):
            enumerate_circuits(case.network, case.weights, case.x, order)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ([[0, 0, 0, 0]], r"expected integers \(n_paths, 3\)"),
        ([[0.0, 0.0, 0.0]], "expected integers"),
        ([[0, 99, 0]], r"\[0, 99, 0\] names neuron 99 of layer 1: expected 0..15"),
        ([[0, 0, 0], [-1, 0, 0]], "names neuron -1 of layer 0"),
        ([[0, 0, 0], [0, 15, 0]], r"path \[0, 15, 0\] has no edge in layer 1"),
    ],
)
def test_paths_that_do_not_exist_are_refused(path: list[list[Any]], complaint: str) -> None:
    network = sequential((4, 4, 1), [Conv(1), Dense(1)])
    with pytest.raises(ValueError, match=complaint):
        path_weights(network, path)


def test_ragged_edges_have_no_path() -> None:
    """A pool of 2 drops the fifth row: its neurons have no edge upwards, nor has the input that only they see."""
    network = sequential((5, 2, 1), [Conv(1, 1), MaxPool(2), Dense(1)])
    assert count_paths(network) == 8
    assert enumerate_paths(network).tolist() == [[site, site, 0] for site in range(8)]
    with pytest.raises(ValueError, match=r"path \[9, 9, 0\] has no edge in layer 2"):
        path_weights(network, [[0, 0, 0], [9, 9, 0]])


@pytest.mark.parametrize("rows", [[0, 1, 99], [0, 1], [0.0, 1.0, 2.0], [-1, 0, 0]])
def test_rows_that_do_not_exist_are_refused(rows: list[Any]) -> None:
    case = DENSE[1]
    with pytest.raises(ValueError, match="one row of x per path"):
        circuit_values(case.network, case.weights, case.x, [[0, 0, 0]] * 3, rows)


def test_order_zero_sums_to_the_output(backend: str) -> None:
    for case in WALKED:
        values = enumerate_circuits(case.network, case.weights, case.x, 0, backend).values
        assert_close(values.sum(axis=1), output(case.network, case.weights, case.x, backend), 1e-12)
