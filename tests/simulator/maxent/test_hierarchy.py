"""The hierarchical parameterisation (4)-(6): tensor and chain agree, and chains are found again."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import expand_multipliers, fit_hierarchy, hierarchical_logits, mlp, output, tensor_logits
from simulator.maxent.hierarchy import hierarchical_exponent

Array = np.ndarray[Any, Any]
SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=5)


def chain(widths: list[int], seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=pair) for pair in itertools.pairwise(widths)]


def gates(widths: list[int], m: int, seed: int) -> list[Array]:
    """[x, h_1, ..., h_l]: an input and any gates."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(m, widths[0])), *(rng.integers(0, 2, (m, n)).astype(float) for n in widths[1:])]


@given(widths=SHAPES, seed=st.integers(0, 10_000))
def test_tensor_and_chain_give_the_same_logits_and_exponent(widths: list[int], seed: int) -> None:
    weights, observed = chain(widths, seed), gates(widths, 5, seed)
    tensor = expand_multipliers(weights)
    assert tensor.shape == tuple(widths)
    for index in itertools.product(*map(range, widths)):
        product = np.prod([w[a, b] for w, (a, b) in zip(weights, itertools.pairwise(index), strict=True)])
        assert tensor[index] == pytest.approx(product, rel=1e-13)
    logits = tensor_logits(tensor, observed[:-1])
    np.testing.assert_allclose(hierarchical_logits(weights, observed[:-1]), logits, rtol=1e-11, atol=1e-12)
    # (6): x^T W_1 D_1 ... W_l D_l 1 as written.
    for e, exponent in enumerate(hierarchical_exponent(weights, observed)):
        row = observed[0][e]
        for w, h in zip(weights, observed[1:], strict=True):
            row = (row @ w) * h[e]
        assert exponent == pytest.approx(row.sum(), rel=1e-11, abs=1e-12)


def test_with_relu_gates_the_logits_are_the_network_s_output() -> None:
    """(7), (8): at h = 1[z > 0] the last logit of the chain is T(x)."""
    network = mlp([3, 4, 3, 1])
    weights, x = network.init(0), np.random.default_rng(0).normal(size=(6, 3))
    observed = [x]
    for _ in weights[:-1]:
        observed.append((hierarchical_logits(weights, observed) > 0).astype(float))
    logits = hierarchical_logits(weights, observed)
    np.testing.assert_allclose(logits[:, 0], output(network, weights, x, "numpy"), atol=1e-13)
    assert expand_multipliers(weights, layer=2).shape == (3, 4, 3)


@given(widths=SHAPES, seed=st.integers(0, 10_000))
def test_a_hierarchical_tensor_is_fitted_exactly(widths: list[int], seed: int) -> None:
    tensor = expand_multipliers(chain(widths, seed))
    fit = fit_hierarchy(tensor)
    assert fit.converged, fit.status
    assert fit.residual < 1e-10
    np.testing.assert_allclose(expand_multipliers(fit.weights), tensor, atol=1e-9 * np.abs(tensor).max())
    norms = [np.linalg.norm(w) for w in fit.weights]  # the gauge: all layers of one size
    np.testing.assert_allclose(norms, norms[0], rtol=1e-6)


def test_two_layers_are_a_singular_value_problem_each() -> None:
    """λ_{abc} ≈ w¹_ab w²_bc is a rank-one problem for every b: the residual is what the SVD leaves (Eckart-Young)."""
    tensor = np.random.default_rng(0).normal(size=(4, 3, 5))
    left = sum(np.sum(np.linalg.svd(tensor[:, b, :], compute_uv=False)[1:] ** 2) for b in range(3))
    fit = fit_hierarchy(tensor)
    assert fit.residual == pytest.approx(np.sqrt(left) / np.linalg.norm(tensor), rel=1e-10)


def test_a_fit_is_stationary_and_its_residual_is_honest() -> None:
    tensor = np.random.default_rng(1).normal(size=(3, 2, 3, 2))
    fit = fit_hierarchy(tensor, n_starts=8, seed=2)
    assert fit.converged, fit.status
    miss = np.linalg.norm(tensor - expand_multipliers(fit.weights)) / np.linalg.norm(tensor)
    assert fit.residual == pytest.approx(miss, rel=1e-12)
    assert fit.residual == pytest.approx(fit.residuals.min())
    for layer, entry in ((0, (1, 0)), (1, (0, 2)), (2, (2, 1))):
        for step in (-1e-4, 1e-4):
            moved = [w.copy() for w in fit.weights]
            moved[layer][entry] += step
            assert np.linalg.norm(tensor - expand_multipliers(moved)) / np.linalg.norm(tensor) >= miss - 1e-12


def test_an_unfinished_fit_says_so() -> None:
    fit = fit_hierarchy(np.random.default_rng(0).normal(size=(4, 4, 4, 4)), n_starts=1, max_sweeps=1)
    assert not fit.converged
    assert "1 sweep" in fit.status or "max_sweeps" in fit.status


def test_zero_and_dead_neurons() -> None:
    assert fit_hierarchy(np.zeros((2, 3, 2))).residual == 0.0
    weights = chain([3, 4, 2], 0)
    weights[0][:, 1] = 0.0
    assert fit_hierarchy(expand_multipliers(weights)).residual < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expand_multipliers([np.ones((2, 3)), np.ones((2, 1))]), "chain|expected"),
        (lambda: expand_multipliers(chain([2, 3, 1], 0), layer=3), "layer 3"),
        (lambda: tensor_logits(np.ones((2, 3, 1)), gates([2, 4], 3, 0)), "expected"),
        (lambda: fit_hierarchy(np.ones(3)), "two axes or more"),
        (lambda: fit_hierarchy(np.ones((2, 2)), n_starts=0), "n_starts 0"),
        (lambda: fit_hierarchy(np.full((2, 2), np.nan)), "NaN|finite"),
    ],
)
def test_what_has_no_answer_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_tensor_too_large_to_form_is_refused_before_it_is_formed() -> None:
    wide = [np.ones((1000, 1000)), np.ones((1000, 1000))]
    with pytest.raises(MemoryError, match="hierarchical_logits"):
        expand_multipliers(wide)
    assert hierarchical_logits(wide, [np.ones((1, 1000)), np.ones((1, 1000))])[0, 0] == 1e6
