"""Spectra from the Gram matrix of gradients, against dense matrices made of autograd's gradients, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import get_backend
from simulator import (
    GramSpectrum,
    HessianOperator,
    fisher_spectrum,
    gauss_newton_spectrum,
    gram_spectrum,
    kernel_spectrum,
    mlp,
    output_gradient,
    tangent_kernel,
)
from support.cases import BACKENDS, LOSSES, SMALL, Case, any_case, assert_close, he_weights

BENT = [loss for loss in LOSSES if loss not in ("hinge", "perceptron")]
FEW = [case for case in SMALL if case.name in ("linear", "depth4", "four-convs", "avg-first", "max-then-avg")]


def outer_sum(jacobian: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Σ_i d_i ∇T_i ∇T_i^T from its definition, term by term."""
    total = np.zeros((jacobian.shape[1],) * 2)
    for row, weight in zip(jacobian, d, strict=True):
        total += weight * np.outer(row, row)
    return total


def assert_spectrum(found: GramSpectrum, dense: np.ndarray, tolerance: float = 1e-12) -> None:
    """All N eigenvalues, those that are 0 included, the trace and the rms."""
    n = dense.shape[0]
    whole = np.zeros(n)
    whole[n - found.eigenvalues.size :] = found.eigenvalues[::-1]
    expected = np.linalg.eigvalsh(dense)
    assert found.size == n
    assert_close(whole, expected, tolerance, scale=float(np.abs(expected).max()) or 1.0)
    assert found.trace == pytest.approx(np.trace(dense), rel=1e-11, abs=1e-300)
    assert found.rms == pytest.approx(np.sqrt(np.sum(dense**2) / n), rel=1e-11, abs=1e-300)


@pytest.mark.parametrize("loss", BENT)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gauss_newton_is_that_of_the_dense_matrix(case: Case, loss: str) -> None:
    oracle = case.oracle(loss)
    dense = outer_sum(oracle.jacobian(case.theta), oracle.curvature(case.theta))
    for backend in BACKENDS if case in FEW else BACKENDS[:1]:
        assert_spectrum(gauss_newton_spectrum(*case.problem, loss, backend=backend), dense)


@pytest.mark.parametrize("case", FEW, ids=str)
def test_kernel_and_fisher_are_those_of_the_dense_matrices(case: Case) -> None:
    oracle = case.oracle()
    jacobian, t = oracle.jacobian(case.theta), oracle.output(case.theta)
    p, m = 1.0 / (1.0 + np.exp(-t)), len(t)
    assert_spectrum(kernel_spectrum(*case.problem[:3], backend="numpy"), outer_sum(jacobian, np.full(m, 1.0 / m)))
    assert_spectrum(fisher_spectrum(*case.problem[:3], backend="numpy"), outer_sum(jacobian, p * (1 - p) / m))


@pytest.mark.parametrize("case", FEW, ids=str)
def test_fisher_is_the_mean_of_squared_scores(case: Case) -> None:
    """From the definition: E over y of the law of ∇ log P(y|x) ∇ log P(y|x)^T, scores by reverse mode."""
    jacobian, t = case.oracle().jacobian(case.theta), case.oracle().output(case.theta)
    total = np.zeros((jacobian.shape[1],) * 2)
    for row, output in zip(jacobian, t, strict=True):
        for y in (-1.0, 1.0):
            probability = 1.0 / (1.0 + np.exp(-y * output))
            score = (1.0 - probability) * y * row  # ∇ log σ(yT)
            total += probability * np.outer(score, score) / len(t)
    assert_spectrum(fisher_spectrum(*case.problem[:3], backend="numpy"), total, 1e-11)


def test_fisher_is_gauss_newton_of_the_logistic_loss_whatever_the_labels() -> None:
    case = FEW[1]
    fisher = fisher_spectrum(*case.problem[:3], backend="numpy")
    for y in (case.y, -case.y):
        found = gauss_newton_spectrum(case.network, case.weights, case.x, y, "logistic")
        assert_close(found.eigenvalues, fisher.eigenvalues, 1e-13)


@pytest.mark.parametrize("loss", ["hinge", "perceptron"])
@pytest.mark.parametrize("case", FEW, ids=str)
def test_piecewise_linear_losses_have_none(case: Case, loss: str) -> None:
    found = gauss_newton_spectrum(*case.problem, loss)
    assert not found.eigenvalues.any()
    assert not found.loadings.any()
    assert (found.rank, found.trace, found.rms, found.participation) == (0, 0.0, 0.0, 0.0)
    assert found.stieltjes(1j) == pytest.approx(1j)  # the atom at 0 alone
    assert kernel_spectrum(*case.problem[:3], backend="numpy").rank > 0


@pytest.mark.parametrize("case", FEW, ids=str)
def test_eigenvectors_are_those_of_the_operator(case: Case) -> None:
    """G u = θ u with products of the Hessian operator, which knows nothing of the Gram matrix; u of length 1."""
    found = gauss_newton_spectrum(*case.problem, "squared")
    operator = HessianOperator(*case.problem, "squared", part="gauss_newton")
    vectors = np.stack([
        case.network.flatten(output_gradient(case.network, case.weights, case.x, found.loadings[:, k]))
        for k in range(found.rank)
    ])  # fmt: skip
    assert_close(vectors @ vectors.T, np.eye(found.rank), 1e-9)
    scale = float(found.eigenvalues[0])
    assert_close(operator @ vectors.T, vectors.T * found.eigenvalues[: found.rank], 1e-11, scale=scale)


@given(case=any_case)
@settings(max_examples=15, deadline=None)
def test_any_network(case: Case) -> None:
    jacobian = case.oracle().jacobian(case.theta)
    d = np.random.default_rng(case.seed).random(case.examples)
    kernel = tangent_kernel(case.network, case.weights, case.x)
    dense = outer_sum(jacobian, d)
    found = gram_spectrum(kernel, d, case.network.n_weights)
    expected = np.linalg.eigvalsh(dense)[::-1][: found.eigenvalues.size]
    assert_close(found.eigenvalues, expected, 1e-11, scale=float(np.abs(expected).max(initial=0.0)) or 1.0)


def test_more_examples_than_weights_leave_no_false_zeros() -> None:
    case = Case("narrow", (2,), (("dense", 1),), examples=7)
    found = kernel_spectrum(*case.problem[:3], backend="numpy")
    assert found.eigenvalues.shape == (2,)
    assert_spectrum(found, case.x.T @ case.x / 7)


def test_transform_and_density_are_sums_over_all_eigenvalues() -> None:
    case = FEW[1]
    found = gauss_newton_spectrum(*case.problem, "logistic")
    oracle = case.oracle("logistic")
    values = np.linalg.eigvalsh(outer_sum(oracle.jacobian(case.theta), oracle.curvature(case.theta)))
    z = np.array([[0.3 + 0.1j, -0.2 + 0.5j]])
    g, expected = found.stieltjes(z), np.mean(1.0 / (values - z[..., None]), axis=-1)
    assert g.shape == z.shape
    assert_close(np.stack([g.real, g.imag]), np.stack([expected.real, expected.imag]), 1e-11)
    energies = np.linspace(-1, 1, 5)
    smoothed = np.mean(0.1 / np.pi / ((values - energies[:, None]) ** 2 + 0.01), axis=1)
    assert_close(found.density(energies, 0.1), smoothed, 1e-11)


@given(equal=st.integers(1, 9), scale=st.floats(1e-200, 1e150))
def test_participation_counts_equal_eigenvalues(equal: int, scale: float) -> None:
    kernel = np.diag([scale] * equal + [0.0])
    assert gram_spectrum(kernel, np.ones(equal + 1), 100).participation == pytest.approx(equal)


def test_equal_examples_have_rank_one() -> None:
    """Copies of one example: the other eigenvalues are rounding, and have no eigenvectors."""
    network = mlp([3, 4, 1])
    found = kernel_spectrum(network, he_weights(network, 1), np.tile([[1.0, -2.0, 0.5]], (5, 1)))
    assert found.rank == 1
    assert not found.loadings[:, 1:].any()
    assert found.eigenvalues[0] == pytest.approx(found.trace, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32(backend: str) -> None:
    case = FEW[2]
    ops = get_backend(backend, "float32")
    single = gauss_newton_spectrum(*case.problem, "logistic", backend=ops).eigenvalues
    double = gauss_newton_spectrum(*case.problem, "logistic").eigenvalues
    assert_close(single, double, 1e-5, scale=float(double[0]))


def test_a_kernel_at_hand_is_used() -> None:
    case = FEW[1]
    three = case.problem[:3]
    doubled = 2.0 * tangent_kernel(*three)
    for found, plain in (
        (kernel_spectrum(*three, kernel=doubled), kernel_spectrum(*three)),
        (fisher_spectrum(*three, kernel=doubled), fisher_spectrum(*three)),
        (gauss_newton_spectrum(*case.problem, kernel=doubled), gauss_newton_spectrum(*case.problem)),
    ):
        assert_close(found.eigenvalues, 2.0 * plain.eigenvalues, 1e-12)


def test_what_does_not_fit_is_refused() -> None:
    eye = np.eye(2)
    with pytest.raises(ValueError, match=r"kernel has shape \(2, 2\), coefficients \(3,\)"):
        gram_spectrum(eye, np.ones(3), 5)
    with pytest.raises(ValueError, match="a coefficient is -1"):
        gram_spectrum(eye, [-1.0, 1.0], 5)
    with pytest.raises(ValueError, match="not symmetric"):
        gram_spectrum([[1.0, 1.0], [0.0, 1.0]], np.ones(2), 5)
    with pytest.raises(ValueError, match="not finite"):
        gram_spectrum([[np.inf, 0.0], [0.0, 1.0]], np.ones(2), 5)
    with pytest.raises(ValueError, match="size 0"):
        gram_spectrum(eye, np.ones(2), 0)
    network = mlp([2, 1])
    with pytest.raises(ValueError, match="loss 'none' is unknown"):
        gauss_newton_spectrum(network, network.init(0), eye, [1.0, -1.0], "none")
    with pytest.raises(ValueError, match=r"kernel has shape \(3, 3\)"):
        kernel_spectrum(network, network.init(0), eye, kernel=np.eye(3))


def test_shows_what_it_is() -> None:
    text = repr(gram_spectrum(np.diag([3.0, 1.0]), np.ones(2), 1000))
    for words in ("rank 2 of N = 1,000", "trace 4", "as spread as 1.6 equal ones"):
        assert words in text
