"""Sums of circuits equal output, gradient, Hessian and order parameter: exact identities on random architectures.

A tolerance is relative to the size of what cancels: the same sum over absolute values.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backends import get_backend
from simulator import (
    Circuits,
    EnumerationError,
    HessianOperator,
    count_paths,
    enumerate_circuits,
    gradient,
    gradient_assemblies,
    hessian_assemblies,
    mlp,
    order_parameter,
    order_parameter_pairs,
    output,
    output_assembly,
    path_weights,
)
from simulator.circuits import assemblies as subject
from support.cases import BACKENDS, LOSSES, SMALL, Case, any_case, assert_close

Array = np.ndarray[Any, Any]
few_paths = any_case.filter(lambda case: count_paths(case.network) <= 3000)
CASES = [case for case in SMALL if count_paths(case.network) <= 6000]
backends = st.sampled_from(BACKENDS)
losses = st.sampled_from(LOSSES)


def circuits_of(case: Case, order: int, backend: str) -> Circuits:
    return enumerate_circuits(case.network, case.weights, case.x, order, backend)


def in_size(circuits: Circuits) -> Circuits:
    """The absolute values: their assembly is the size of what cancels."""
    return Circuits(np.abs(circuits.values), circuits.paths, circuits.order)


def output_gradient(case: Case, i: int, backend: str) -> list[Array]:
    """∇T(x_i), from the squared loss: ∇R = -(1 - yT) y ∇T at one example; T is shifted off 1 by scaling W_L."""
    *hidden, last = case.weights
    x, t = case.x[[i]], float(output(case.network, case.weights, case.x[[i]], backend)[0])
    scale = 1.0 if t <= 0.5 else 0.5 / t
    slope = gradient(case.network, [*hidden, last * scale], x, np.ones(1), "squared", backend)
    factors = [scale] * len(hidden) + [1.0]
    return [g / (scale * t - 1.0) / f for g, f in zip(slope, factors, strict=True)]


def check_output(case: Case, backend: str) -> None:
    circuits = circuits_of(case, 0, backend)
    size = float(np.linalg.norm(output_assembly(in_size(circuits))))
    assert_close(output_assembly(circuits), output(case.network, case.weights, case.x, backend), 1e-12, size)


def check_gradients(case: Case, backend: str) -> None:
    circuits = circuits_of(case, 1, backend)
    found, sizes = (gradient_assemblies(case.network, c) for c in (circuits, in_size(circuits)))
    jacobian = case.oracle().jacobian(case.theta)
    for assembly, size, part, shape in zip(found, sizes, case.network.slices, case.network.weight_shapes, strict=True):
        assert assembly.shape == (case.examples, *shape)
        assert_close(assembly, jacobian[:, part].reshape(assembly.shape), 1e-12, float(np.linalg.norm(size)))
    for i in range(case.examples):
        for assembly, size, expected in zip(found, sizes, output_gradient(case, i, backend), strict=True):
            assert_close(assembly[i], expected, 1e-12, float(np.linalg.norm(size[i])))


def check_hessians(case: Case, backend: str) -> None:
    circuits = circuits_of(case, 2, backend)
    found, sizes = (hessian_assemblies(case.network, c) for c in (circuits, in_size(circuits)))
    for i in range(case.examples):
        c = np.eye(case.examples)[i]
        expected = HessianOperator(*case.problem, c=c, backend=backend).dense()
        assert_close(found[i], expected, 1e-12, float(np.linalg.norm(sizes[i])))


@given(few_paths, backends)
def test_order_zero_is_the_output(case: Case, backend: str) -> None:
    check_output(case, backend)


@given(few_paths, backends)
def test_order_one_is_the_gradient(case: Case, backend: str) -> None:
    """Against autograd's Jacobian, and against the simulator's own gradient one example at a time."""
    check_gradients(case, backend)


@given(few_paths, backends)
def test_order_two_is_the_hessian(case: Case, backend: str) -> None:
    check_hessians(case, backend)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cases(case: Case, backend: str) -> None:
    """No cancellation to hide behind: relative to the assembly itself."""
    t = output(case.network, case.weights, case.x, backend)
    assert_close(output_assembly(circuits_of(case, 0, backend)), t, 1e-12)
    check_gradients(case, backend)
    found = hessian_assemblies(case.network, circuits_of(case, 2, backend))
    for i, c in enumerate(np.eye(case.examples)):
        assert_close(found[i], HessianOperator(*case.problem, c=c, backend=backend).dense(), 1e-12)


@given(few_paths, backends)
def test_euler_order_by_order(case: Case, backend: str) -> None:
    """A removed weight put back: circuits of order 1 and 2 times their weights are circuits of lower order."""
    low, middle, high = (circuits_of(case, order, backend) for order in (0, 1, 2))
    edges = path_weights(case.network, low.paths)
    factors = [w.ravel()[edges[:, i]] for i, w in enumerate(case.weights)]
    for i, w in enumerate(factors):
        np.testing.assert_allclose(middle.values[:, :, i] * w, low.values, rtol=1e-13, atol=0)
    for pair, (i, j) in enumerate(itertools.combinations(range(case.network.depth), 2)):
        np.testing.assert_allclose(high.values[:, :, pair] * factors[j], middle.values[:, :, i], rtol=1e-13, atol=0)
        np.testing.assert_allclose(high.values[:, :, pair] * factors[i], middle.values[:, :, j], rtol=1e-13, atol=0)
    t = output_assembly(low)
    for assembly, w in zip(gradient_assemblies(case.network, middle), case.weights, strict=True):
        share = np.sum(assembly * w, axis=tuple(range(1, assembly.ndim)))
        assert_close(share, t, 1e-12, float(np.linalg.norm(output_assembly(in_size(low)))))


def pair_by_pair(case: Case, loss: str) -> tuple[Array, Array, Array, list[int]]:
    """(15) as two nested loops over the circuits of each layer: (self, constructive, destructive, pairs)."""
    circuits = circuits_of(case, 1, "numpy")
    seen = np.einsum("i,ipl->pl", case.oracle(loss).coefficients(case.theta), circuits.values)
    edges = path_weights(case.network, circuits.paths)
    sums, pairs = np.zeros((3, case.network.depth)), [0] * case.network.depth
    for layer in range(case.network.depth):
        for a, b in itertools.product(range(len(seen)), repeat=2):
            if edges[a, layer] == edges[b, layer]:
                product = seen[a, layer] * seen[b, layer]
                sums[0 if a == b else 1 if product > 0 else 2, layer] += product
                pairs[layer] += 1
    return sums[0], sums[1], sums[2], pairs


@pytest.mark.parametrize("name", ["linear", "depth3", "one-pixel", "flattened"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_parameter_pair_by_pair(name: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in SMALL if case.name == name)
    own, constructive, destructive, pairs = pair_by_pair(case, loss)
    for block in (subject.PAIR_BLOCK, 7):
        monkeypatch.setattr(subject, "PAIR_BLOCK", block)
        found = order_parameter_pairs(*case.problem, loss)
        assert_close(found.self_pairs, own, 1e-12)
        assert_close(found.constructive, constructive, 1e-12)
        assert_close(found.destructive, destructive, 1e-12)
        assert list(found.n_pairs) == pairs


@given(few_paths, losses, backends)
def test_the_order_parameter_is_the_sum_over_pairs(case: Case, loss: str, backend: str) -> None:
    found = order_parameter_pairs(*case.problem, loss, backend)
    slope = gradient(*case.problem, loss, backend)
    size = found.self_pairs + found.constructive - found.destructive
    for layer, g in enumerate(slope):
        assert abs(found.layers[layer] - np.sum(g**2)) <= 1e-12 * size[layer]
    assert abs(found.total - order_parameter(*case.problem, loss, backend)) <= 1e-12 * size.sum()
    assert (found.self_pairs >= 0).all()
    assert (found.constructive >= 0).all()
    assert (found.destructive <= 0).all()
    if found.total > 1e-6 * size.sum():
        assert found.coherent_share == pytest.approx(1 - found.self_pairs.sum() / found.total, abs=1e-8)


@pytest.mark.parametrize("case", [case for case in CASES if count_paths(case.network) <= 4000], ids=str)
def test_the_order_parameter_of_the_cases(case: Case, backend: str) -> None:
    """Relative to the order parameter itself."""
    found = order_parameter_pairs(*case.problem, backend=backend)
    assert found.total == pytest.approx(order_parameter(*case.problem, backend=backend), rel=1e-12, abs=0)


def test_coherence_of_two_circuits_by_hand() -> None:
    """T = x (w_1 v_1 + w_2 v_2): the two circuits share no weight. T = (x_1 w_1 + x_2 w_2) v: they share v."""
    weights = [np.array([[2.0, 3.0]]), np.array([[5.0], [7.0]])]
    alone = order_parameter_pairs(mlp([1, 2, 1]), weights, [[1.0]], [-1.0])
    assert (alone.coherent_share, alone.total) == (0.0, 25.0 + 49.0 + 4.0 + 9.0)
    weights = [np.array([[2.0], [-1.0]]), np.array([[1.0]])]
    found = order_parameter_pairs(mlp([2, 1, 1]), weights, [[1.0, 1.0]], [-1.0])
    assert found.self_pairs.tolist() == [2.0, 4.0 + 1.0]
    assert found.constructive.tolist() == [0.0, 0.0]
    assert found.destructive.tolist() == [0.0, -4.0]
    assert found.n_pairs == (2, 4)
    assert found.coherent_share == -4.0 / 3.0


def test_no_active_example_no_order_parameter() -> None:
    network = mlp([2, 2, 1])
    weights = [np.ones((2, 2)), np.ones((2, 1))]
    found = order_parameter_pairs(network, weights, [[1.0, 1.0]], [1.0])
    assert (found.total, found.coherent_share) == (0.0, 0.0)


@given(few_paths)
def test_single_precision_is_summed_in_double(case: Case) -> None:
    assume(case.network.depth > 1)
    ops = get_backend("numpy", "float32")
    circuits = enumerate_circuits(case.network, case.weights, case.x, 0, ops)
    assert circuits.values.dtype == np.float32
    found = output_assembly(circuits)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.sum(circuits.values.astype(np.float64), axis=1))


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in SMALL if case.name == "depth3")
    circuits = [circuits_of(case, order, "numpy") for order in (0, 1, 2)]
    with pytest.raises(ValueError, match="order 1 were given: this assembly sums circuits of order 0"):
        output_assembly(circuits[1])
    with pytest.raises(ValueError, match="order 0 were given: this assembly sums circuits of order 1"):
        gradient_assemblies(case.network, circuits[0])
    with pytest.raises(ValueError, match="order 1 were given: this assembly sums circuits of order 2"):
        hessian_assemblies(case.network, circuits[1])
    monkeypatch.setattr(subject, "MAX_PAIRS", 10)
    with pytest.raises(EnumerationError, match=r"210 paths make \d+ pairs .* the limit is 10"):
        order_parameter_pairs(*case.problem)
    monkeypatch.setattr(subject, "MAX_VALUES", 10)
    with pytest.raises(EnumerationError, match="the limit is 10"):
        hessian_assemblies(case.network, circuits[2])
