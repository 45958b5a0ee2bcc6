"""The likelihood without enumeration, training by it, and the paper's unit weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import (
    Conv,
    Dense,
    MaxPool,
    StochasticNetwork,
    evaluate_stochastic,
    exact_marginal,
    exact_posterior,
    expectation_maximization,
    mlp,
    monte_carlo_marginal,
    output,
    sequential,
    train,
    unit_weights,
)
from simulator.passes.laws import Choices
from simulator.stochastic.posterior import posterior_gradient
from simulator.thermal.walk import Shares, drawn, joint_gradient, walk
from simulator.training.descent import _exact_gradient
from simulator.training.e_step import expect
from support.devices import emulated
from support.strict_namespace import strict

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")
NETWORK = mlp([3, 4, 3, 1])


def case(m: int = 6) -> tuple[list[Array], Array, Array]:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((m, 3))
    return [1.5 * w for w in NETWORK.init(2)], x, np.where(x[:, 0] > 0, 1.0, -1.0)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_the_likelihood_of_draws_is_that_of_all_gates(temperature: float) -> None:
    weights, x, y = case()
    positive = exact_marginal(NETWORK, weights, x, temperature, OPS)
    drawn = monte_carlo_marginal(NETWORK, weights, x, temperature, samples=4000, seed=3, backend=OPS)
    # Configurations rarer than 1/samples may never be drawn: the error does not know of them, as the docstring says.
    unseen = 1.0 / drawn.samples
    assert np.all(np.abs(drawn.value - positive) <= 4 * drawn.standard_error + unseen)
    exact = np.log(np.stack([1.0 - positive, positive], axis=1))
    assert np.all(np.abs(drawn.log_marginal - exact) <= 4.5 * drawn.log_standard_error + unseen / np.exp(exact))
    seen, truth = drawn.log_likelihood(y), np.mean(np.where(y > 0, exact[:, 1], exact[:, 0]))
    assert seen.standard_error is not None
    assert abs(seen.value - truth) < 4 * seen.standard_error + 2 * unseen < 0.2


def test_the_logarithm_of_few_draws_is_put_right() -> None:
    """E log of a mean is too low by var/(2 n µ²): without the correction 4000 estimates of 8 draws each show it."""
    weights, x, _ = case(1)
    exact = np.log(exact_marginal(NETWORK, weights, x, 1.0, OPS))[0]
    rows = np.repeat(x, 4000, axis=0)
    drawn = monte_carlo_marginal(NETWORK, weights, rows, 1.0, samples=8, seed=0, backend=OPS)
    error = drawn.log_marginal[:, 1].std() / np.sqrt(4000)
    plain = np.log(drawn.value).mean() - exact
    assert plain < -4 * error
    assert abs(drawn.log_marginal[:, 1].mean() - exact) < 0.3 * abs(plain)
    assert 0.8 < drawn.log_standard_error[:, 1].mean() / drawn.log_marginal[:, 1].std() < 1.2


def test_effective_samples_are_all_of_equal_ones_and_one_of_a_single_one() -> None:
    weights, x, y = case()
    silent = [*weights[:-1], 0.0 * weights[-1]]
    drawn = monte_carlo_marginal(NETWORK, silent, x, 1.0, samples=50, backend=OPS)
    np.testing.assert_allclose(drawn.effective_samples, 50.0)
    np.testing.assert_allclose(drawn.value, 0.5)
    np.testing.assert_allclose(drawn.standard_error, 0.0, atol=1e-12)
    loud = [*weights[:-1], 300.0 * weights[-1]]
    extreme = monte_carlo_marginal(NETWORK, loud, x, 1.0, samples=50, backend=OPS)
    assert np.all(extreme.effective_samples >= 1.0 - 1e-9)
    assert extreme.effective_for(y).min() < 25
    np.testing.assert_array_equal(
        extreme.effective_for(y), np.where(y > 0, extreme.effective_samples[:, 1], extreme.effective_samples[:, 0])
    )
    shares = StochasticNetwork(NETWORK, loud, x, y, 1.0, loss="logistic", law="posterior", samples=20, backend=OPS)
    seen = evaluate_stochastic(shares, draws=4)
    expected = np.mean([1.0 / np.sum(shares.shares(k) ** 2, axis=0) for k in range(4)])
    assert seen.effective_samples == pytest.approx(expected)
    np.testing.assert_allclose(shares.shares(0).sum(axis=0), 1.0)


def test_a_network_with_pools_has_a_likelihood() -> None:
    """One gate, and a pool that chooses between two signals, summed by hand."""
    network = sequential((2, 2, 1), [Conv(1, kernel=1), MaxPool(2), Dense(1)])
    weights = [np.ones((1, 1, 1, 1)), np.array([[2.0]])]
    x = np.array([[[[1.0], [-0.5]], [[0.3], [2.0]]]])
    z, total = x.ravel(), 0.0
    for state in range(16):
        h = np.array([state >> k & 1 for k in range(4)], dtype=float)
        law = np.prod(np.where(h > 0, 1 / (1 + np.exp(-z / 0.7)), 1 / (1 + np.exp(z / 0.7))))
        signals = h * z
        choice = np.exp(signals / 0.7) / np.exp(signals / 0.7).sum()
        total += law * np.sum(choice / (1 + np.exp(-2.0 * signals)))
    drawn = monte_carlo_marginal(network, weights, x, 0.7, samples=20_000, backend=OPS)
    assert abs(drawn.value[0] - total) < 4 * drawn.standard_error[0] < 0.02


def test_output_and_training_refuse_pools_that_are_not_meant_to_choose() -> None:
    network = sequential((4, 4, 1), [Conv(2), MaxPool(2), Dense(1)])
    weights, x, y = network.init(0), np.random.default_rng(0).standard_normal((6, 4, 4, 1)), np.ones(6)
    schedule: dict[str, Any] = {"epochs": 1, "batch_size": 3, "learning_rate": 0.1, "backend": OPS}
    with pytest.raises(ValueError, match=r"to which the paper gives no law.*choosing_pools=True"):
        output(network, weights, x, OPS, temperature=0.5)
    with pytest.raises(ValueError, match=r"choosing_pools=True"):
        train(network, weights, x, y, temperature=0.5, e_step="monte_carlo", **schedule)
    drawn = output(network, weights, x, OPS, temperature=0.5, choosing_pools=True)
    assert np.abs(drawn - output(network, weights, x, OPS)).max() > 1e-3
    for e_step in ("monte_carlo", "posterior"):
        done = train(
            network, weights, x, y, temperature=0.5, e_step=e_step, loss="logistic", choosing_pools=True, **schedule
        )
        assert np.abs(done.weights[0] - weights[0]).max() > 1e-4
    assert Choices(2).size == network.layers[0].window


def test_the_posterior_e_step_tends_to_the_exact_one() -> None:
    weights, x, y = case()
    exact = NETWORK.flatten([OPS.to_numpy(g) for g in _exact_gradient(NETWORK, weights, x, y, 0.6, OPS).gradient])
    rng, found, losses = np.random.default_rng(0), [], []
    for _ in range(60):
        made = posterior_gradient(NETWORK, weights, x, y, 0.6, 300, OPS, rng)
        found.append(NETWORK.flatten(made.gradient))
        losses.append(float(made.loss))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(60)
    assert np.max(np.abs(mean - exact) / (error + 1e-12)) < 4.5
    positive = exact_marginal(NETWORK, weights, x, 0.6, OPS)
    truth = -np.sum(np.log(np.where(y > 0, positive, 1 - positive)))
    assert abs(np.mean(losses) - truth) < 0.02 * truth


@pytest.mark.parametrize("make", [lambda: get_backend("numba"), strict, emulated], ids=["numba", "strict", "emulated"])
def test_backends_agree_on_the_posterior_gradient(make: Callable[[], Any]) -> None:
    network = sequential((6, 5, 2), [Conv(3), MaxPool(2), Dense(3), Dense(1)])
    rng = np.random.default_rng(0)
    weights, x, y = network.init(1), rng.standard_normal((4, 6, 5, 2)), np.array([1.0, -1.0, 1.0, 1.0])

    def made(ops: Any) -> list[Array]:
        w, rows, labels = [ops.asarray(a) for a in weights], ops.asarray(x), ops.asarray(y)
        batch = posterior_gradient(network, w, rows, labels, 0.5, 5, ops, np.random.default_rng(3))
        counts = [np.asarray(float(a)) for a in (batch.loss, batch.correct, batch.active)]
        return [*(ops.to_numpy(g) for g in batch.gradient), *counts]

    for one, other in zip(made(OPS), made(make()), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_the_laws_of_the_gates_add_little_noise_at_low_temperature() -> None:
    """With equal shares for both terms the mean is the same and the noise a hundred times as large."""
    weights, x, y = case()
    temperature, samples, rows = 0.05, 8, np.repeat(np.arange(6)[None], 8, axis=0).ravel()

    def gradient(rng: np.random.Generator, control: bool) -> Array:
        passed = walk(NETWORK, weights, x[rows], OPS, drawn(OPS, temperature, rng))
        law = 1.0 / (1.0 + np.exp(-y[rows] * passed.output)).reshape(samples, 6)
        share = (law / law.sum(axis=0)).ravel()
        shares = Shares(share, share - 1.0 / samples if control else share)
        return NETWORK.flatten(joint_gradient(NETWORK, weights, OPS, passed, y[rows], temperature, shares))

    found = {c: [gradient(rng, c) for rng in np.random.default_rng(1).spawn(400)] for c in (True, False)}
    noise = {c: np.sum(np.var(values, axis=0, ddof=1)) for c, values in found.items()}
    assert noise[True] < 0.02 * noise[False]
    apart = np.mean(found[True], axis=0) - np.mean(found[False], axis=0)
    error = np.std(np.subtract(found[True], found[False]), axis=0, ddof=1) / np.sqrt(400)
    assert np.linalg.norm(apart) < 2.0 * np.linalg.norm(error)


def test_training_by_the_posterior_raises_the_likelihood_as_the_exact_e_step_does() -> None:
    weights, x, y = case(20)

    def likelihood(at: list[Array]) -> float:
        positive = exact_marginal(NETWORK, at, x, 0.5, OPS)
        return float(np.mean(np.log(np.where(y > 0, positive, 1 - positive))))

    ends = {}
    for e_step in ("posterior", "exact"):
        done = train(
            NETWORK, weights, x, y, epochs=15, batch_size=10, learning_rate=0.3, loss="logistic", temperature=0.5,
            e_step=e_step, samples=100, backend=OPS,
        )  # fmt: skip
        ends[e_step] = likelihood(done.weights)
        assert done.history["risk"][-1] < done.history["risk"][0]
    gain = ends["exact"] - likelihood(weights)
    assert gain > 0.1
    assert abs(ends["posterior"] - ends["exact"]) < 0.25 * gain
    with pytest.raises(ValueError, match="the posterior E-step needs 'logistic'"):
        train(NETWORK, weights, x, y, epochs=1, batch_size=4, learning_rate=0.1, temperature=0.5, e_step="posterior")


def test_the_posterior_e_step_of_em_samples_the_posterior() -> None:
    weights, x, y = case(2)
    exact = exact_posterior(NETWORK, weights, x, y, 0.8, OPS)
    sample = expect(NETWORK, weights, x, y, "posterior", 0.8, OPS, np.random.default_rng(0), 60_000)
    states = (sample.bits @ 2.0 ** np.arange(7)).astype(int)
    for i in range(2):
        found = np.bincount(states[i], weights=sample.q[i], minlength=128)
        assert np.abs(found - exact[i]).max() < 0.01
    learned = expectation_maximization(
        NETWORK, weights, x, y, temperature=0.8, e_step="posterior", iterations=10, learning_rate=0.3, backend=OPS
    )
    assert learned.history["log_likelihood"][-1] > learned.history["log_likelihood"][0]


@pytest.mark.parametrize("temperature", [0.2, 1.0, 2.5])
def test_unit_weights_give_the_same_gates_and_outputs(temperature: float) -> None:
    """Gates at T of W are gates at 1 of Ŵ_l/T_l, by the same random numbers; so are choices of pools."""
    network = sequential((4, 4, 1), [Conv(2), MaxPool(2), Dense(3), Dense(1)])
    rng = np.random.default_rng(0)
    weights, x, y = network.init(1), rng.standard_normal((5, 4, 4, 1)), np.ones(5)
    paper = unit_weights(weights, temperature)
    np.testing.assert_allclose([np.linalg.norm(w) for w in paper.weights], 1.0)
    ours = StochasticNetwork(network, weights, x, y, temperature, samples=4, backend=OPS)
    theirs = StochasticNetwork(network, paper.scaled, x, y, 1.0, samples=4, backend=OPS)
    np.testing.assert_allclose(theirs.outputs(0), ours.outputs(0), atol=1e-12)
    norms = [np.linalg.norm(w) for w in weights]
    expected = 1.0 / np.array([norms[0] / temperature, norms[1], norms[2] * temperature])
    np.testing.assert_allclose(paper.temperatures, expected)
    assert unit_weights([np.zeros((2, 1))]).temperatures[0] == np.inf
    with pytest.raises(ValueError, match="temperature 0 has no finite weights"):
        unit_weights(weights, 0.0)
