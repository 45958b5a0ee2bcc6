"""A network with drawn gates, against sums over all gates that are written out, and against the ReLU network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import (
    AvgPool,
    Conv,
    Dense,
    Ensemble,
    HessianOperator,
    MaxPool,
    Network,
    StochasticNetwork,
    evaluate,
    evaluate_stochastic,
    exact_marginal,
    hessian_scale,
    mlp,
    output,
    sequential,
)
from simulator.ensembles.fields import FieldFreeze
from simulator.hessian.frozen import NetworkFreeze
from simulator.passes.losses import get_loss
from simulator.stochastic.average import gram_of, squared_mean
from support.devices import emulated
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")
SMALL = mlp([2, 2, 2, 1])
X, Y = np.array([[1.0, -0.5], [0.3, 0.8], [-1.2, 0.4]]), np.array([1.0, -1.0, 1.0])
POOLED = sequential((5, 4, 2), [MaxPool(2), Conv(3), AvgPool(2), Dense(4), Dense(1)])
DEEP = sequential((6, 5, 2), [Conv(3), MaxPool(2), Conv(2), AvgPool(2), Dense(3), Dense(1)])
NETWORKS = {"mlp": SMALL, "input pool": POOLED, "pools": DEEP}


def case(name: str, m: int = 5) -> tuple[Network, list[Array], Array, Array]:
    network, rng = NETWORKS[name], np.random.default_rng(3)
    x = rng.standard_normal((m, *network.input_shape))
    return network, network.init(1), x, np.where(rng.random(m) < 0.5, -1.0, 1.0)


def small_weights() -> list[Array]:
    rng = np.random.default_rng(0)
    return [1.5 * rng.standard_normal(shape) for shape in SMALL.weight_shapes]


def configurations(weights: list[Array], x: Array, temperature: float) -> Iterator[tuple[float, list[Array]]]:
    """(µ(h|x), [h_1, h_2]) of all gates of `SMALL` for one example."""
    for bits in itertools.product((0.0, 1.0), repeat=4):
        law, signal, gates = 1.0, x, [np.array(bits[:2]), np.array(bits[2:])]
        for w, h in zip(weights, gates, strict=False):
            z = signal @ w
            p = 1.0 / (1.0 + np.exp(-z / temperature))
            law *= float(np.prod(np.where(h > 0, p, 1.0 - p)))
            signal = h * z
        yield law, gates


def frozen_output(flat: Array, x: Array, gates: list[Array]) -> float:
    first, second, last = SMALL.unflatten(flat)
    return float(((x @ first) * gates[0] @ second * gates[1] @ last)[0])


def derivatives(flat: Array, x: Array, gates: list[Array]) -> tuple[float, Array, Array]:
    """T, ∇T and ∇²T with gates held fixed: differences of whole steps are exact, T being linear in every weight."""
    n, unit = flat.size, np.eye(flat.size)
    t = frozen_output(flat, x, gates)
    once = np.array([frozen_output(flat + unit[a], x, gates) for a in range(n)])
    twice = np.array([[frozen_output(flat + unit[a] + unit[b], x, gates) for b in range(n)] for a in range(n)])
    return t, once - t, twice - once[:, None] - once + t - np.diag(np.diagonal(twice - 2 * once[:, None] + t))


def exact_means(temperature: float, loss: str, posterior: bool) -> tuple[float, Array, Array]:
    """R, ∇R and H with gates held fixed, as means over µ(h|x), or over µ(h|x,y)."""
    weights, chosen = small_weights(), get_loss(loss)
    flat = SMALL.flatten(weights)
    risk, gradient, hessian = 0.0, np.zeros(flat.size), np.zeros((flat.size, flat.size))
    for x, y in zip(X, Y, strict=True):
        terms = [(law, *derivatives(flat, x, gates)) for law, gates in configurations(weights, x, temperature)]
        shares = np.array([law / (1.0 + np.exp(-y * t)) if posterior else law for law, t, _, _ in terms])
        for share, (_, t, first, second) in zip(shares / shares.sum(), terms, strict=True):
            u = np.array(y * t)
            slope, bent = float(chosen.slope(np, u)) * y, float(chosen.curvature(np, u))
            risk += share * float(chosen.value(np, u)) / len(X)
            gradient += share * slope * first / len(X)
            hessian += share * (slope * second + bent * np.outer(first, first)) / len(X)
    return risk, gradient, hessian


def drawn_mean(values: list[Array]) -> tuple[Array, Array]:
    stack = np.array(values)
    return stack.mean(axis=0), stack.std(axis=0, ddof=1) / np.sqrt(len(stack))


def off(found: Array, error: Array, expected: Array) -> float:
    """The largest deviation in standard errors; where nothing varies, deviations must be rounding."""
    sure = error < 1e-12
    assert np.abs(found - expected)[sure].max(initial=0.0) < 1e-12
    return float(np.max(np.abs(found - expected)[~sure] / error[~sure]))


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_means_over_the_forward_law_are_those_over_all_gates(loss: str) -> None:
    risk, gradient, hessian = exact_means(0.7, loss, posterior=False)
    drawn = StochasticNetwork(SMALL, small_weights(), X, Y, 0.7, loss=loss, samples=2, backend=OPS)
    sets = range(400)
    seen = evaluate_stochastic(drawn, draws=len(sets))
    assert seen.risk.standard_error is not None
    assert abs(seen.risk.value - risk) < 4 * seen.risk.standard_error < 0.2 * risk
    assert off(*drawn_mean([SMALL.flatten(drawn.gradient(k)) for k in sets]), gradient) < 4.5
    assert off(*drawn_mean([drawn.draw(k).dense() for k in sets]), hessian) < 4.5
    np.testing.assert_allclose(
        SMALL.flatten(seen.gradient), np.mean([SMALL.flatten(drawn.gradient(k)) for k in sets], 0)
    )
    assert seen.order_parameter.standard_error is not None
    length = float(gradient @ gradient)
    assert abs(seen.order_parameter.value - length) < 4 * seen.order_parameter.standard_error < length


def test_means_over_the_posterior_are_those_over_all_gates() -> None:
    _, gradient, hessian = exact_means(0.7, "logistic", posterior=True)
    drawn = StochasticNetwork(
        SMALL, small_weights(), X, Y, 0.7, loss="logistic", law="posterior", samples=400, backend=OPS
    )
    sets = range(20)
    assert off(*drawn_mean([SMALL.flatten(drawn.output_gradient(k)) for k in sets]), gradient) < 4.5
    assert off(*drawn_mean([drawn.draw(k).dense() for k in sets]), hessian) < 4.5


def test_the_posterior_gradient_is_that_of_the_likelihood() -> None:
    weights, step = small_weights(), 1e-5
    flat = SMALL.flatten(weights)

    def risk(at: Array) -> float:
        positive = exact_marginal(SMALL, SMALL.unflatten(at), X, 0.7, OPS)
        return -float(np.mean(np.log(np.where(Y > 0, positive, 1.0 - positive))))

    units = np.eye(flat.size) * step
    expected = np.array([(risk(flat + u) - risk(flat - u)) / (2 * step) for u in units])
    drawn = StochasticNetwork(SMALL, weights, X, Y, 0.7, loss="logistic", law="posterior", samples=400, backend=OPS)
    found, error = drawn_mean([SMALL.flatten(drawn.gradient(k)) for k in range(20)])
    assert off(found, error, expected) < 4.5
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(expected)
    # The terms of the gates' own laws matter: without them the gradient is another one.
    assert np.linalg.norm(found - SMALL.flatten(drawn.output_gradient(0))) > 10 * np.linalg.norm(error)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("loss", ["hinge", "squared"])
def test_at_temperature_0_it_is_the_relu_network(name: str, loss: str) -> None:
    network, weights, x, y = case(name)
    known = evaluate(network, weights, x, y, loss, OPS)
    exact = HessianOperator(network, weights, x, y, loss, backend=OPS).dense()
    for temperature in (0.0, 1e-13):
        drawn = StochasticNetwork(network, weights, x, y, temperature, loss=loss, samples=2, backend=OPS)
        np.testing.assert_allclose(drawn.outputs(0), [output(network, weights, x, OPS)] * 2, atol=1e-13)
        np.testing.assert_allclose(network.flatten(drawn.gradient(0)), network.flatten(known.gradient), atol=1e-13)
        np.testing.assert_allclose(drawn.draw(0).dense(), exact, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("law", ["forward", "posterior"])
def test_every_pass_meets_the_same_gates(name: str, law: str) -> None:
    """The Hessian is that of the drawn outputs (E3), whatever the batches and the number of draws."""
    network, weights, x, y = case(name)
    drawn = StochasticNetwork(
        network, weights, x, y, 0.4, loss="logistic", law=law, samples=3, part="residual", backend=OPS
    )
    hessian, gradient = drawn.draw(1), network.flatten(drawn.output_gradient(1))
    for layer, part in enumerate(network.slices):
        theta = np.zeros(network.n_weights)
        theta[part] = np.ravel(weights[layer])
        expected = gradient.copy()
        expected[part] = 0.0  # E3, and E1
        np.testing.assert_allclose(hessian @ theta, expected, atol=1e-12)
    c, _ = drawn.coefficients(1)
    small = HessianOperator(network, weights, drawn.rows, None, c=c, gates=drawn.gates(1), backend=OPS, batch_size=4)
    np.testing.assert_allclose(small.dense(), hessian.dense(), atol=1e-13)
    fewer = StochasticNetwork(network, weights, x, y, 0.4, samples=1, backend=OPS)
    np.testing.assert_array_equal(fewer.outputs(1)[0], drawn.outputs(1)[0])
    assert np.abs(drawn.outputs(0) - drawn.outputs(1)).max() > 1e-6
    some = HessianOperator(network, weights, drawn.rows, None, c=np.where(np.arange(c.size) % 3 == 0, c, 0.0),
                           gates=drawn.gates(1), backend=OPS)  # fmt: skip
    rest = HessianOperator(network, weights, drawn.rows, None, c=np.where(np.arange(c.size) % 3 == 0, 0.0, c),
                           gates=drawn.gates(1), backend=OPS)  # fmt: skip
    np.testing.assert_allclose(some.dense() + rest.dense(), hessian.dense(), atol=1e-13)


def test_the_gauss_newton_part_and_the_residual_make_the_whole() -> None:
    network, weights, x, y = case("pools")
    parts = {
        part: StochasticNetwork(network, weights, x, y, 0.5, loss="squared", samples=2, part=part, backend=OPS).draw(0)
        for part in ("full", "residual", "gauss_newton")
    }
    whole = {name: one.dense() for name, one in parts.items()}
    np.testing.assert_allclose(whole["full"], whole["residual"] + whole["gauss_newton"], atol=1e-12)
    assert np.linalg.eigvalsh(whole["gauss_newton"]).min() > -1e-12
    assert min(np.abs(a).max() for a in whole.values()) > 1e-3


@pytest.mark.parametrize("make", [lambda: get_backend("numba"), strict, emulated], ids=["numba", "strict", "emulated"])
def test_backends_agree(make: Callable[[], Any]) -> None:
    network, weights, x, y = case("pools")

    def seen(ops: Any) -> list[Array]:
        drawn = StochasticNetwork(network, weights, x, y, 0.4, loss="logistic", law="posterior", samples=3, backend=ops)
        v = np.random.default_rng(0).standard_normal(network.n_weights)
        return [drawn.outputs(0), network.flatten(drawn.gradient(0)), drawn.draw(0) @ v]

    for one, other in zip(seen(OPS), seen(make()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_squared_mean_is_unbiased_and_its_error_is_the_jackknife() -> None:
    rng = np.random.default_rng(5)
    truth = np.array([0.3, -0.4])
    values, errors = [], []
    for _ in range(2000):
        draws = list(truth + rng.standard_normal((6, 2)))
        found = squared_mean(gram_of(draws))
        values.append(found.value)
        errors.append(found.standard_error or 0.0)
        if len(values) == 1:
            left = [squared_mean(gram_of(draws[:k] + draws[k + 1 :])).value for k in range(6)]
            assert found.standard_error == pytest.approx(np.sqrt(5 / 6 * np.sum((left - np.mean(left)) ** 2)))
            plain = np.mean([draws[i] @ draws[j] for i in range(6) for j in range(6) if i != j])
            assert found.value == pytest.approx(plain)
    assert abs(np.mean(values) - 0.25) < 4 * np.std(values) / np.sqrt(2000)
    assert 0.7 < np.mean(errors) / np.std(values) < 1.5
    assert squared_mean(np.eye(2)).standard_error is None


def test_the_scale_of_the_mean_hessian_has_no_noise_in_it() -> None:
    _, _, hessian = exact_means(0.7, "logistic", posterior=False)
    n = len(hessian)
    drawn = StochasticNetwork(SMALL, small_weights(), X, Y, 0.7, loss="logistic", backend=OPS)
    scale = hessian_scale(drawn, draws=60, n_probes=64, seed=1)
    squares = [np.sum(drawn.draw(k).dense() ** 2) / n for k in range(500)]
    for found, expected in ((scale.of_the_mean, np.sum(hessian**2) / n), (scale.of_a_set, np.mean(squares))):
        assert found.standard_error is not None
        assert abs(found.value - np.sqrt(expected)) < 4 * found.standard_error < 0.4 * np.sqrt(expected)
    assert scale.of_the_mean.value < scale.of_a_set.value


def test_ensembles_draw_beside_the_same_gates() -> None:
    """Given all directions the weights of RE are the network's own; without mixing RK's signals are its own."""
    network, weights, x, y = case("pools")
    drawn = StochasticNetwork(network, weights, x, y, 0.4, samples=2, part="residual", backend=OPS)
    c, _ = drawn.coefficients(0)
    ensemble = Ensemble(network, weights, drawn.rows, c, directions=10_000, gates=drawn.gates(0), backend=OPS)
    exact = drawn.draw(0).dense()
    np.testing.assert_allclose(ensemble.operator.dense(), exact, atol=1e-13)
    rows = np.arange(len(drawn.rows))
    freezes = [
        NetworkFreeze(network, ensemble.operator.frozen_weights, OPS, drawn.gates(0)),
        FieldFreeze(network, ensemble.operator.frozen_weights, {}, OPS, drawn.gates(0)),
    ]
    (signals, errors), (again, same) = (freeze(drawn.rows, c, rows) for freeze in freezes)
    for one, other in zip(
        [*signals.inputs, *signals.gates, *errors], [*again.inputs, *again.gates, *same], strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_new_fields_draw_their_gates_at_the_temperature() -> None:
    """RK of a wide layer at a high temperature: half of the gates of new fields are on, whatever their sign."""
    network = mlp([3, 2000, 1])
    weights, x = network.init(0), np.eye(3)
    shares = {}
    for temperature in (0.0, 100.0):
        drawn = StochasticNetwork(network, weights, x, [1.0, -1.0, 1.0], temperature, part="residual", backend=OPS)
        c, _ = drawn.coefficients(0)
        ensemble = Ensemble(network, weights, x, c, fields=True, gates=drawn.gates(0), backend=OPS)
        signals, _ = ensemble.signals(0, 1)(x, c, np.arange(3))
        positive = signals.inputs[1] > 0  # x' = h z': negative signals are handed on where h = 1 by chance
        shares[temperature] = (signals.gates[0].mean(), positive.mean())
    assert shares[0.0][0] == shares[0.0][1]
    assert abs(shares[100.0][0] - 0.5) < 4 * 0.5 / np.sqrt(6000)
    assert shares[100.0][1] < 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"law": "backward"}, "law 'backward' of the gates is unknown"),
        ({"law": "posterior"}, "loss 'hinge' is not a likelihood"),
        ({"samples": 0}, "samples 0"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StochasticNetwork(SMALL, small_weights(), X, Y, 0.5, backend=OPS, **given)


def test_gates_without_coefficients_and_averages_of_one_set_are_refused() -> None:
    drawn = StochasticNetwork(SMALL, small_weights(), X, Y, 0.5, backend=OPS)
    with pytest.raises(ValueError, match="c is not given"):
        HessianOperator(SMALL, small_weights(), X, Y, gates=drawn.gates(0), backend=OPS)
    with pytest.raises(ValueError, match="draws 1"):
        evaluate_stochastic(drawn, draws=1)
    with pytest.raises(ValueError, match="draws 1"):
        hessian_scale(drawn, draws=1)
