"""The tangent kernel against products of autograd's gradients, the order parameter, and the Gauss-Newton matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import get_backend
from simulator import (
    HessianOperator,
    gradient,
    mlp,
    order_parameter,
    output_derivative,
    output_gradient,
    tangent_kernel,
    vgg12,
)
from simulator.passes import tangent_kernel as module
from support.cases import BACKENDS, CASES, LOSSES, Case, any_case, assert_close, he_weights


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_products_of_gradients(case: Case, backend: str) -> None:
    jacobian = case.oracle().jacobian(case.theta)
    for size in (None, 4, 1):
        kernel = tangent_kernel(case.network, case.weights, case.x, backend=backend, batch_size=size)
        assert_close(kernel, jacobian @ jacobian.T, 1e-12)
        assert np.array_equal(kernel, kernel.T)
    others = tangent_kernel(case.network, case.weights, case.x, case.x[1:4], backend=backend, batch_size=2)
    assert_close(others, jacobian @ jacobian[1:4].T, 1e-12)


@given(case=any_case, size=st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_any_network_and_chunk(case: Case, size: int) -> None:
    jacobian = case.oracle().jacobian(case.theta)
    kernel = tangent_kernel(case.network, case.weights, case.x, batch_size=size)
    assert_close(kernel, jacobian @ jacobian.T, 1e-11, scale=float(np.linalg.norm(jacobian)) ** 2 or 1.0)


@pytest.mark.parametrize("by_jacobians", [True, False])
@pytest.mark.parametrize("name", ["conv5-pool", "four-convs", "pool-to-pixel", "max-then-avg"])
def test_both_ways_of_a_layer_agree(name: str, by_jacobians: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jacobians of a chunk, and sums over pairs of sites: which one is taken is a matter of speed alone."""
    (case,) = (one for one in CASES if one.name == name)
    expected = tangent_kernel(case.network, case.weights, case.x, backend="numpy")
    monkeypatch.setattr(module, "_few_weights", lambda layer: by_jacobians and layer.convolutional)
    assert_close(tangent_kernel(case.network, case.weights, case.x, backend="numpy", batch_size=3), expected, 1e-13)


def test_the_cheaper_way_is_taken() -> None:
    """Early layers have many sites and few weights, late ones few sites: of vgg12:0.25, eight take Jacobians."""
    chosen = [module._few_weights(layer) for layer in vgg12(0.25).layers]
    assert chosen == [True] * 8 + [False] * 4


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", [CASES[2], CASES[7], CASES[-4]], ids=str)
def test_gives_the_order_parameter(case: Case, loss: str) -> None:
    """||∇R||² = c^T K c with c = ∂ℓ/∂T/m."""
    kernel = tangent_kernel(case.network, case.weights, case.x)
    c = HessianOperator(*case.problem, loss, part="residual").c
    assert c @ kernel @ c == pytest.approx(order_parameter(*case.problem, loss), rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[7], CASES[-2]], ids=str)
def test_derivatives_along_a_direction(case: Case, backend: str) -> None:
    """J V by the oracle's Jacobian, zeros of a layer included; directions of other shapes are refused."""
    jacobian, rng = case.oracle().jacobian(case.theta), np.random.default_rng(1)
    flat = rng.standard_normal(case.theta.size)
    first, *rest = case.network.unflatten(flat)
    for direction in ([first, *rest], [np.zeros_like(first), *rest]):
        found = output_derivative(case.network, case.weights, case.x, direction, backend)
        assert_close(found, jacobian @ case.network.flatten(direction), 1e-12)
    with pytest.raises(ValueError, match="direction"):
        output_derivative(case.network, case.weights, case.x, [flat], backend)


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[7], CASES[-2]], ids=str)
def test_sums_of_output_gradients(case: Case, backend: str) -> None:
    """Σ c_i ∇T_i against autograd, zeros among the c; ∇R for c = ∂ℓ/∂T/m."""
    c = np.where(np.arange(case.examples) % 3 == 0, 0.0, np.linspace(-1, 1, case.examples))
    expected = c @ case.oracle().jacobian(case.theta)
    assert_close(case.network.flatten(output_gradient(case.network, case.weights, case.x, c, backend)), expected, 1e-12)
    own = output_gradient(
        case.network, case.weights, case.x, HessianOperator(*case.problem, part="residual").c, backend
    )
    assert_close(case.network.flatten(own), case.network.flatten(gradient(*case.problem)), 1e-12)
    none = output_gradient(case.network, case.weights, case.x, np.zeros(case.examples), backend)
    assert not case.network.flatten(none).any()
    with pytest.raises(ValueError, match=r"c has shape \(1,\): expected"):
        output_gradient(case.network, case.weights, case.x, [1.0], backend)


def test_gauss_newton_matrix_has_its_eigenvalues() -> None:
    """G = J^T diag(ℓ''/m) J and diag(ℓ''/m)^½ K diag(ℓ''/m)^½ share all eigenvalues but zeros."""
    case = CASES[3]
    kernel = tangent_kernel(case.network, case.weights, case.x) / case.examples  # ℓ'' = 1
    dense = HessianOperator(*case.problem, "squared", part="gauss_newton").dense()
    assert_close(np.linalg.eigvalsh(dense)[-case.examples :], np.linalg.eigvalsh(kernel), 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32(backend: str) -> None:
    for case in (CASES[3], CASES[7]):
        kernel = tangent_kernel(case.network, case.weights, case.x, backend=get_backend(backend, "float32"))
        assert kernel.dtype == np.float64
        assert_close(kernel, tangent_kernel(case.network, case.weights, case.x), 2e-6)


def test_dead_examples_and_zero_inputs_have_kernel_zero() -> None:
    network = mlp([3, 4, 1])
    x = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    kernel = tangent_kernel(network, he_weights(network, 0), x)
    assert kernel[0, 0] > 0.0
    assert np.array_equal(kernel[1], [0.0, 0.0])
    assert np.array_equal(kernel[:, 1], [0.0, 0.0])


def test_what_does_not_fit_is_refused() -> None:
    network = mlp([3, 4, 1])
    weights = network.init(0)
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\)"):
        tangent_kernel(network, weights, np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="batch_size 0"):
        tangent_kernel(network, weights, np.ones((2, 3)), batch_size=0)
    with pytest.raises(ValueError, match="at least one example"):
        tangent_kernel(network, weights, np.ones((0, 3)))


def test_multiplications_are_those_that_are_made() -> None:
    """A perceptron: two Gram matrices a layer; convolutions: Jacobians or pairs of sites."""
    assert module.multiplications(mlp([3, 4, 1])) == ((3 + 4) + (4 + 1), 2 * (12 + 4))
    network = vgg12(0.25)
    pair, each = module.multiplications(network)
    assert pair == sum(layer.n_weights for layer in network.layers[:8]) + 16 * 2 * (9 * 128 + 128) + 256 + 129
    assert each > 2 * network.n_weights
