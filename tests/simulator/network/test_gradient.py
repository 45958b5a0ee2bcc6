"""Output, risk, gradient and the order parameter against `autograd`."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from backends import get_backend
from simulator import evaluate, gradient, mlp, order_parameter, output, risk, signal_powers
from simulator.passes.losses import get_loss
from simulator.passes.risk import batch_gradient
from support.cases import CASES, DENSE, LOSSES, SMALL, Array, Case, assert_close, he_weights


@cache
def expected(case: Case, loss: str) -> tuple[float, Array]:
    oracle = case.oracle(loss)
    return float(oracle.risk(case.theta)), oracle.gradient(case.theta)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_output(case: Case, backend: str) -> None:
    assert_close(output(case.network, case.weights, case.x, backend), case.oracle().output(case.theta))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_risk_and_gradient(case: Case, loss: str, backend: str) -> None:
    value, slope = expected(case, loss)
    assert np.linalg.norm(slope) > 0, "the case is dead and tests nothing"
    assert_close(risk(*case.problem, loss, backend), value)
    found = gradient(*case.problem, loss, backend)
    assert [g.shape for g in found] == case.network.weight_shapes
    assert_close(case.network.flatten(found), slope)
    assert_close(order_parameter(*case.problem, loss, backend), slope @ slope)


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_evaluate_is_independent_of_the_batch_size(case: Case, backend: str) -> None:
    whole = evaluate(*case.problem, backend=backend)
    u = case.y * case.oracle().output(case.theta)
    assert whole.accuracy == np.mean(u > 0)
    assert whole.active_fraction == np.mean(u < 1)
    for size in (1, 4):
        parts = evaluate(*case.problem, backend=backend, batch_size=size)
        assert (parts.accuracy, parts.active_fraction) == (whole.accuracy, whole.active_fraction)
        assert_close(parts.risk, whole.risk)
        assert_close(case.network.flatten(parts.gradient), case.network.flatten(whole.gradient))


def test_the_table_has_active_and_inactive_examples() -> None:
    shares = [evaluate(*case.problem).active_fraction for case in CASES]
    assert sum(0 < share < 1 for share in shares) >= len(CASES) // 2
    assert min(shares) > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_inactive_examples_do_not_matter(loss: str, backend: str) -> None:
    """The gradient is that of the active examples alone, times their share, where the slope is 0 elsewhere."""
    case = DENSE[4]
    network, weights, x, y = case.problem
    on = y * case.oracle().output(case.theta) < (0 if loss == "perceptron" else 1)
    assert 0 < on.sum() < len(on)
    alone = network.flatten(gradient(network, weights, x[on], y[on], loss, backend)) * on.mean()
    whole = network.flatten(gradient(network, weights, x, y, loss, backend))
    if loss in ("hinge", "perceptron", "squared_hinge"):
        assert_close(whole, alone, 1e-13)
    else:
        assert np.linalg.norm(whole - alone) > 1e-6 * np.linalg.norm(whole)


def test_all_inactive_gives_exactly_zero(backend: str) -> None:
    case = DENSE[4]
    t = output(case.network, case.weights, case.x, backend)
    live = np.abs(t) > 1e-3
    weights = [*case.weights[:-1], case.weights[-1] * 2 / np.abs(t[live]).min()]
    data = (case.x[live], np.sign(t[live]))
    assert risk(case.network, weights, *data, backend=backend) == 0.0
    assert order_parameter(case.network, weights, *data, backend=backend) == 0.0


@pytest.mark.parametrize("loss", LOSSES)
def test_extreme_margins_do_not_overflow(loss: str, backend: str) -> None:
    """log(1 + e^{-u}) = -u for u → -∞ and 0 for u → ∞; its slope tends to -1 and 0."""
    case = DENSE[0]
    x = np.array([[1e3, 0, 0, 0, 0], [-1e3, 0, 0, 0, 0]])
    value = risk(case.network, [np.ones((5, 1))], x, [1, 1], loss, backend)
    slope = gradient(case.network, [np.ones((5, 1))], x, [1, 1], loss, backend)[0][0, 0]
    closed = {
        "hinge": (1001 / 2, 500.0),
        "perceptron": (1000 / 2, 500.0),
        "logistic": (1000 / 2, 500.0),
        "squared_hinge": (1001**2 / 4, 1001 * 1000 / 2),
        "squared": ((999**2 + 1001**2) / 4, (999 * 1000 + 1001 * 1000) / 2),
    }
    assert_close([value, slope], closed[loss], 1e-12)


def test_float32(backend: str) -> None:
    ops = get_backend(backend, "float32")
    for case in SMALL:
        found = gradient(*case.problem, "logistic", ops)
        assert {g.dtype for g in found} == {np.dtype("float32")}
        assert_close(case.network.flatten(found), expected(case, "logistic")[1], 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("widths", [(5, 1), (6, 4, 1), (7, 9, 8, 5, 1)], ids=str)
def test_a_small_perceptron_in_one_call(
    widths: tuple[int, ...], loss: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums and gradients of the compiled twin are those of the reference, whatever share of the batch is active."""
    network, fast, slow = mlp(widths), get_backend("numba", dtype), get_backend("numpy", dtype)
    rng = np.random.default_rng(4)
    w = [a.astype(dtype) for a in he_weights(network, 4)]
    x, y = rng.standard_normal((24, widths[0])).astype(dtype), rng.choice([-1.0, 1.0], 24).astype(dtype)
    t = output(network, w, x, slow)
    for scale, labels in ((1.0, y), (30.0, y), (1e3 / np.abs(t).min(), np.sign(t)), (1e-3, y)):
        one, two = (
            batch_gradient(network, [*w[:-1], w[-1] * np.dtype(dtype).type(scale)], x, labels, get_loss(loss), ops)
            for ops in (fast, slow)
        )
        assert (int(one.correct), int(one.active)) == (int(two.correct), int(two.active))
        tolerance = 1e-13 if dtype == "float64" else 1e-5
        assert_close(float(one.loss), float(two.loss), tolerance, max(float(two.loss), 1e-30))
        for a, b in zip(one.gradient, two.gradient, strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype == dtype
            assert_close(a, b, tolerance, max(float(np.linalg.norm(b)), 1e-30))
    monkeypatch.setattr("backends.numba.backend.LARGE_PRODUCT", 0)
    assert fast.perceptron_gradient(w, x, y, loss) is None


def test_a_perceptron_that_overflows_has_an_infinite_risk() -> None:
    for last in (1e200, np.nan):
        w = [np.full(shape, size) for shape, size in zip(mlp([3, 4, 1]).weight_shapes, (1e200, last), strict=True)]
        found = get_backend("numba").perceptron_gradient(w, np.ones((2, 3)), np.ones(2), "hinge")
        assert found is not None
        assert np.isinf(found[1])


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_signal_powers(case: Case, backend: str) -> None:
    """The first is the mean square input; a layer of positive homogeneity 1 scales with its own weights alone."""
    powers = signal_powers(case.network, case.weights, case.x, backend)
    doubled = signal_powers(case.network, [2 * case.weights[0], *case.weights[1:]], case.x, backend)
    assert powers.shape == (case.network.depth,)
    if not case.network.input_pools:
        assert_close(powers[0], np.mean(case.x**2))
    assert_close(doubled, powers * np.array([1.0] + [4.0] * (len(powers) - 1)))
