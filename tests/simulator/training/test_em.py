"""Generalised EM: the bound, the three E-steps, the free-energy split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import get_backend
from simulator import (
    Conv,
    Dense,
    MaxPool,
    exact_marginal,
    expectation_maximization,
    free_energy,
    gate_law,
    gradient,
    log_marginals,
    mlp,
    monte_carlo_marginal,
    sequential,
    train,
)
from simulator.training.e_step import draw_gates, expect
from simulator.training.em import complete_likelihood

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")


def problem(widths: list[int], seed: int = 0, m: int = 12) -> tuple[Any, list[Array], Array, Array]:
    rng = np.random.default_rng(seed)
    network = mlp(widths)
    return network, network.init(rng), rng.normal(size=(m, widths[0])), rng.choice([-1.0, 1.0], m)


def likelihood(network: Any, weights: list[Array], x: Array, y: Array, temperature: float) -> float:
    log = log_marginals(network, weights, x, temperature, "numpy")
    return float(np.where(y > 0, log[:, 1], log[:, 0]).sum())


def inner(a: list[Array], b: list[Array]) -> float:
    return float(sum(np.sum(p * q) for p, q in zip(a, b, strict=True)))


@pytest.mark.parametrize("widths", [[3, 3, 1], [2, 3, 2, 1], [2, 2, 2, 2, 1]], ids=str)
@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_gradients_of_the_bound_and_fishers_identity(widths: list[int], temperature: float) -> None:
    """∇Q by central differences; at q = µ(h|x,y) it is the likelihood's own gradient, and the bound is tight."""
    network, weights, x, y = problem(widths)
    sample = expect(network, weights, x, y, "exact", temperature, OPS, np.random.default_rng(0))
    value, ascent = complete_likelihood(network, weights, x, y, sample, temperature, OPS)
    entropy = -np.sum(sample.q * np.log(sample.q))
    assert value + entropy == pytest.approx(likelihood(network, weights, x, y, temperature), abs=1e-11)
    direction = [np.random.default_rng(1).normal(size=w.shape) for w in weights]
    step = 1e-5

    def moved(sign: float) -> list[Array]:
        return [w + sign * step * d for w, d in zip(weights, direction, strict=True)]

    q = [complete_likelihood(network, moved(s), x, y, sample, temperature, OPS)[0] for s in (1, -1)]
    whole = [likelihood(network, moved(s), x, y, temperature) for s in (1, -1)]
    slope = inner(ascent, direction)
    assert (q[0] - q[1]) / (2 * step) == pytest.approx(slope, rel=1e-7, abs=1e-7)
    assert (whole[0] - whole[1]) / (2 * step) == pytest.approx(slope, rel=1e-7, abs=1e-7)


@settings(deadline=None, max_examples=20)
@given(
    hidden=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.1, 3.0),
    rate=st.floats(0.01, 100.0),
)
def test_exact_em_never_decreases_the_likelihood(hidden: list[int], seed: int, temperature: float, rate: float) -> None:
    """60 iterations from any start and any first step; the bound never exceeds the likelihood."""
    network, weights, x, y = problem([2, *hidden, 1], seed, m=6)
    history = expectation_maximization(
        network, weights, x, y, temperature=temperature, iterations=60, learning_rate=rate, backend="numpy"
    ).history
    assert np.diff(history["log_likelihood"]).min() >= -1e-12
    assert np.all(history["bound"] <= history["log_likelihood"] + 1e-12)
    np.testing.assert_allclose(history["entropy"] + history["kl"], -history["log_likelihood"], atol=1e-12)


def test_monte_carlo_gradient_is_unbiased() -> None:
    """Mean over many samples within four standard errors of the bound's gradient for the forward law."""
    network, weights, x, y = problem([3, 4, 3, 1])
    rng, temperature = np.random.default_rng(0), 0.5
    exact = complete_likelihood(
        network, weights, x, y, forward_law(network, weights, x, temperature), temperature, OPS
    )[1]
    draws = [
        complete_likelihood(
            network,
            weights,
            x,
            y,
            expect(network, weights, x, y, "monte_carlo", temperature, OPS, rng, 20),
            temperature,
            OPS,
        )[1]
        for _ in range(200)
    ]
    check_unbiased([np.concatenate([g.reshape(-1) for g in draw]) for draw in draws], exact)


def test_training_at_a_temperature_follows_the_bound_on_average() -> None:
    """Back-propagation through drawn gates, which leaves Σ ∇ log µ(h|x) out, has the same mean."""
    network, weights, x, y = problem([3, 4, 3, 1])
    exact = complete_likelihood(network, weights, x, y, forward_law(network, weights, x, 0.5), 0.5, OPS)[1]
    steps = []
    for seed in range(600):
        one = train(
            network, weights, x, y, epochs=1, batch_size=12, learning_rate=1.0, loss="logistic", seed=seed,
            temperature=0.5, e_step="monte_carlo", backend="numpy",
        )  # fmt: skip
        steps.append(np.concatenate([12 * (b - a).reshape(-1) for a, b in zip(weights, one.weights, strict=True)]))
    check_unbiased(steps, exact)


def forward_law(network: Any, weights: list[Array], x: Array, temperature: float) -> Any:
    """All configurations weighted by µ(h|x)."""
    from simulator.enumeration.gates import iterate_leaves, n_gates, state_bits
    from simulator.training.e_step import GateSample

    gates = n_gates(network)
    q = np.empty((x.shape[0], 1 << gates))
    for leaves in iterate_leaves(OPS, weights, x, temperature):
        q[:, leaves.states] = np.exp(leaves.log_prior)
    return GateSample(state_bits(np.arange(1 << gates), gates)[None], q)


def check_unbiased(draws: list[Array], exact: list[Array]) -> None:
    values = np.array(draws)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(draws))
    expected = np.concatenate([g.reshape(-1) for g in exact])
    # Rounding only where an entry does not fluctuate at all.
    assert np.all(np.abs(values.mean(axis=0) - expected) <= 4 * error + 1e-12)


def test_exact_training_step_is_the_likelihood_gradient() -> None:
    network, weights, x, y = problem([3, 3, 2, 1])
    sample = expect(network, weights, x, y, "exact", 0.5, OPS, np.random.default_rng(0))
    ascent = complete_likelihood(network, weights, x, y, sample, 0.5, OPS)[1]
    one = train(
        network, weights, x, y, epochs=1, batch_size=12, learning_rate=0.1, loss="logistic", temperature=0.5,
        e_step="exact", backend="numpy",
    )  # fmt: skip
    for before, after, g in zip(weights, one.weights, ascent, strict=True):
        np.testing.assert_allclose(after, before + 0.1 * g / 12, atol=1e-13)
    assert one.history["risk"][0] == pytest.approx(-likelihood(network, weights, x, y, 0.5) / 12, abs=1e-12)


def test_zero_temperature_is_back_propagation_and_the_limit_of_monte_carlo() -> None:
    network, weights, x, y = problem([3, 4, 3, 1])
    sample = expect(network, weights, x, y, "zero_temperature", 0.0, OPS, np.random.default_rng(0))
    ascent = complete_likelihood(network, weights, x, y, sample, 0.0, OPS)[1]
    for a, g in zip(ascent, gradient(network, weights, x, y, "logistic", "numpy"), strict=True):
        np.testing.assert_allclose(-a / 12, g, atol=1e-14)
    options: dict[str, Any] = {
        "epochs": 5,
        "batch_size": 4,
        "learning_rate": 0.1,
        "loss": "logistic",
        "backend": "numpy",
    }
    frozen = train(network, weights, x, y, **options)
    cold = train(network, weights, x, y, temperature=1e-9, e_step="monte_carlo", **options)
    for a, b in zip(frozen.weights, cold.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_monte_carlo_marginal_within_its_standard_error() -> None:
    network, weights, x, _ = problem([3, 4, 3, 1], m=30)
    estimate = monte_carlo_marginal(network, weights, x, 0.5, samples=4000, seed=1)
    z = (estimate.value - exact_marginal(network, weights, x, 0.5)) / estimate.standard_error
    assert np.abs(z).max() < 4
    assert 0.6 < z.std() < 1.5  # neither too wide nor too narrow
    again = monte_carlo_marginal(network, weights, x, 0.5, samples=4000, seed=1)
    assert np.array_equal(estimate.value, again.value)


def test_drawn_gates_follow_their_law() -> None:
    network, weights, x, _ = problem([3, 3, 2, 1], m=4)
    bits = draw_gates(weights, x, 0.7, 20_000, OPS, np.random.default_rng(0))
    means = gate_law(network, weights, x, 0.7).gate_means
    np.testing.assert_allclose(bits.mean(axis=1), means, atol=5 * 0.5 / np.sqrt(20_000))


def test_free_energy_splits_the_risk_on_repeated_inputs() -> None:
    """Split with mixed labels on equal inputs: the entropy is that of the empirical law, the rest a divergence."""
    x = np.array([[0.0], [0.0], [0.0], [1.0]])
    y = np.array([1.0, 1.0, -1.0, -1.0])
    p = np.array([0.3, 0.3, 0.3, 0.2])
    split = free_energy(x, y, np.log(np.stack([1 - p, p], axis=1)))
    entropy = 0.75 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    kl = 0.75 * (2 / 3 * np.log((2 / 3) / 0.3) + 1 / 3 * np.log((1 / 3) / 0.7)) + 0.25 * np.log(1 / 0.8)
    assert split.entropy == pytest.approx(entropy)
    assert split.kl == pytest.approx(kl)
    assert split.risk == pytest.approx(entropy + kl)


def test_combinations_that_have_no_meaning_are_refused() -> None:
    network, weights, x, y = problem([3, 3, 1])
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    for bad, message in (
        ({"e_step": "gibbs"}, "e_step 'gibbs' is unknown"),
        ({"e_step": "exact"}, "zero_temperature needs temperature 0"),
        ({"temperature": 0.5}, "zero_temperature needs temperature 0"),
        ({"temperature": 0.5, "e_step": "exact", "loss": "hinge"}, "not a likelihood"),
        ({"temperature": -1.0, "e_step": "monte_carlo"}, "temperature"),
    ):
        with pytest.raises(ValueError, match=message):
            train(network, weights, x, y, **options, **bad)
    pooled = sequential((4, 4, 1), [Conv(1), MaxPool(2), Dense(1)])
    with pytest.raises(ValueError, match="max-pooling"):
        train(pooled, pooled.init(0), np.ones((2, 4, 4, 1)), [1, -1], temperature=1.0, e_step="monte_carlo", **options)
    with pytest.raises(ValueError, match="at least 2"):
        monte_carlo_marginal(network, weights, x, 0.5, samples=1)
