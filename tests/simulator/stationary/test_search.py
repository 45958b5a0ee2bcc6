"""The search for stationary points: against least squares, closed-form saddles, and ends that are not stationary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, evaluate, find_stationary, gradient, kink_distances, mlp, output, risk
from simulator.stationary import search
from simulator.stationary.search import FOUND, STEPS, STOPPED, VANISHING, orthogonal_length

Array = np.ndarray[Any, Any]
SADDLE = (np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([1.0, -1.0]))  # with w = (1, 0), W_2 = 0: see test_identities


def problem(m: int, n: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)), rng.choice([-1.0, 1.0], m)


def test_one_layer_and_squares_give_least_squares() -> None:
    """R = Σ(1 - y w·x)²/2m is stationary at the solution of the normal equations alone."""
    x, y = problem(20, 5, 0)
    found = find_stationary(mlp([5, 1]), [np.ones((5, 1))], x, y, "squared", tolerance=1e-10)
    assert found.status == FOUND
    assert found.weights[0].ravel() == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0], rel=1e-7)
    assert found.order_parameter < 1e-18 < found.first_order_parameter


def test_the_saddle_of_one_neuron_is_found_from_beside_it() -> None:
    """w_1 near 1: on the saddle's set (w_1, 0), 0 the gradient is 0, and H has the eigenvalues ±1."""
    start = [np.array([[1.0], [0.1]]), np.array([[0.2]])]
    found = find_stationary(mlp([2, 1, 1]), start, *SADDLE)
    assert found.status == FOUND
    assert [found.weights[0][1, 0], found.weights[1][0, 0]] == pytest.approx([0.0, 0.0], abs=1e-8)
    values = np.linalg.eigvalsh(HessianOperator(mlp([2, 1, 1]), found.weights, *SADDLE).dense())
    assert [values[0], values[-1]] == pytest.approx([-1.0, 1.0])
    assert found.risk == pytest.approx(1.0)


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared"])
def test_what_is_found_is_stationary_by_another_sum(loss: str) -> None:
    """The gradient of an independent pass, over the root of the sum of squares of the examples' own gradients."""
    network, (x, y) = mlp([8, 3, 3, 1]), problem(16, 8, 1)
    statuses, compared = [], 0
    for seed in range(4):
        found = find_stationary(network, network.init(seed), x, y, loss, max_steps=40, backend="numpy")
        statuses.append(found.status)
        slope = network.flatten(gradient(network, found.weights, x, y, loss, "numpy"))
        assert slope @ slope == pytest.approx(found.order_parameter, abs=1e-25)
        assert found.order_parameter <= found.first_order_parameter
        own = [network.flatten(gradient(network, found.weights, x[i : i + 1], y[i : i + 1], loss)) for i in range(16)]
        size = np.linalg.norm([np.linalg.norm(g) / 16 for g in own])
        # Where a gate is at 0, rounding decides it, and batches of other sizes round otherwise.
        if kink_distances(network, found.weights, x, y, loss).nearest > 1e-9:
            compared += 1
            assert np.linalg.norm(slope) / size == pytest.approx(found.relative, rel=1e-6, abs=1e-12)
        assert (found.relative <= 1e-8) == (found.status == FOUND)
        assert found.risk == risk(network, found.weights, x, y, loss)
    assert FOUND in statuses
    assert compared > 0


def test_independent_inputs_leave_no_output_at_active_examples() -> None:
    """Σ c_i x_i δ_1i^T = 0 with independent x_i: δ_1i = 0, so that T_i = x_i·δ_1i = 0 wherever c_i ≠ 0."""
    network, (x, y) = mlp([12, 4, 4, 1]), problem(9, 12, 2)
    seen = 0
    for seed in range(5):
        found = find_stationary(network, network.init(seed), x, y, "hinge", tolerance=1e-10)
        active = HessianOperator(network, found.weights, x, y).active
        if found.status == FOUND and active.size:
            seen += 1
            assert np.abs(output(network, found.weights, x)[active]).max() < 1e-7
            assert found.risk == pytest.approx(found.active_fraction, abs=1e-7)
    assert seen > 1


def test_a_relative_gradient_does_not_change_where_signals_are_scaled() -> None:
    """Hinge, all examples active: the gradients of all examples grow by one factor."""
    network, (x, y) = mlp([6, 4, 4, 1]), problem(10, 6, 3)
    weights = [0.1 * w for w in network.init(0)]
    starts = [find_stationary(network, [a * w for w in weights], x, y, max_steps=0) for a in (1.0, 0.5)]
    assert starts[0].status == starts[1].status == STEPS
    assert starts[0].active_fraction == starts[1].active_fraction == 1.0
    assert starts[0].relative == pytest.approx(starts[1].relative, rel=1e-12)
    assert starts[0].order_parameter == pytest.approx(16 * starts[1].order_parameter, rel=1e-12)
    assert starts[0].steps == 0


def test_the_orthogonal_length_is_the_root_of_a_sum_of_squares() -> None:
    network, (x, y) = mlp([5, 4, 3, 1]), problem(7, 5, 4)
    weights = network.init(0)
    hessian = HessianOperator(network, weights, x, y, "squared")
    own = [evaluate(network, weights, x[i : i + 1], y[i : i + 1], "squared").order_parameter / 49 for i in range(7)]
    assert orthogonal_length(hessian, weights, x) == pytest.approx(np.sqrt(np.sum(own)), rel=1e-12)


def test_a_perfect_fit_is_found_though_its_terms_do_not_cancel() -> None:
    """More weights than examples: every (1 - u)² falls to 0 by itself."""
    x, y = problem(4, 12, 6)
    found = find_stationary(mlp([12, 1]), [np.ones((12, 1))], x, y, "squared")
    assert (found.status, found.relative) == (FOUND, 0.0)
    assert found.risk < 1e-16


def test_a_logistic_risk_that_falls_to_0_at_infinity_is_not_called_stationary() -> None:
    """Separable, one layer: ∇R → 0 along a ray, and there is no stationary point."""
    found = find_stationary(mlp([1, 1]), [np.array([[5.0]])], [[1.0], [-1.0]], [1.0, -1.0], "logistic", max_steps=80)
    assert found.status in (VANISHING, STEPS)
    assert found.relative > 0.1
    assert found.order_parameter < 0.01 * found.first_order_parameter


def test_products_and_eigenvectors_make_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    network, (x, y) = mlp([6, 4, 1]), problem(12, 6, 5)
    hessian, g = HessianOperator(network, network.init(1), x, y, "squared", backend="numpy"), np.ones(28)
    by_vectors = [search._least_squares(hessian, g)(mu) for mu in (0.01, 1.0)]
    monkeypatch.setattr(search, "DENSE", 1)
    h = hessian.dense()
    for mu, expected in zip((0.01, 1.0), by_vectors, strict=True):
        assert search._least_squares(hessian, g)(mu) == pytest.approx(expected, rel=1e-8, abs=1e-10)
        assert np.linalg.solve(h @ h + mu**2 * np.eye(28), -h @ g) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_a_kink_stops_the_search() -> None:
    """R = (2 max(0, 1-w) + max(0, 1+w))/3 has slope ±1/3 around its minimum at 1 and H = 0 everywhere."""
    found = find_stationary(mlp([1, 1]), [np.array([[0.7]])], [[1.0]] * 3, [1.0, 1.0, -1.0])
    assert (found.status, found.steps, found.weights[0][0, 0]) == (STOPPED, 0, 0.7)
    assert found.order_parameter == pytest.approx(1 / 9)


def test_the_search_is_that_of_every_backend() -> None:
    network, (x, y) = mlp([6, 4, 1]), problem(12, 6, 5)
    kinds = [get_backend(name, "float64") for name in ("numpy", "numba")]
    ends = [find_stationary(network, network.init(1), x, y, "squared", backend=ops) for ops in kinds]
    assert ends[0].status == ends[1].status
    assert ends[0].risk == pytest.approx(ends[1].risk, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"tolerance": 0.0}, "tolerance 0.0 is not usable"), ({"max_steps": -1}, "max_steps -1 is not usable")],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        find_stationary(mlp([2, 1]), [np.ones((2, 1))], *SADDLE, **options)
