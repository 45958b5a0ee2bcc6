"""Exact sums over gate configurations, against a brute-force sum written independently."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import (
    AvgPool,
    Conv,
    Dense,
    EnumerationError,
    MaxPool,
    circuit_moments,
    exact_marginal,
    exact_posterior,
    gate_law,
    log_marginals,
    mlp,
    output,
    sequential,
)
from simulator.enumeration import gates as subject

Array = np.ndarray[Any, Any]
NETS = [[3, 4, 1], [3, 4, 3, 1], [2, 3, 2, 3, 1]]
TEMPERATURES = [0.05, 0.3, 1.0, 5.0]


def sigmoid(a: float) -> float:
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0 else math.exp(a) / (1.0 + math.exp(a))


def brute_force(weights: list[Array], x: Array, temperature: float) -> list[tuple[float, float]]:
    """(µ(h|x), T(x, h)) of every configuration in index order, one gate at a time."""
    gates = sum(w.shape[1] for w in weights[:-1])
    found = []
    for state in itertools.product((0, 1), repeat=gates):
        bits = state[::-1]  # product runs its last entry fastest; gate 0 is the lowest bit
        probability, k, signal = 1.0, 0, list(x)
        for w in weights[:-1]:
            z = [sum(s * w[a, b] for a, s in enumerate(signal)) for b in range(w.shape[1])]
            for value in z:
                on = sigmoid(value / temperature)
                probability *= on if bits[k] else 1.0 - on
                k += 1
            signal = [value * bits[k - len(z) + b] for b, value in enumerate(z)]
        found.append((probability, sum(s * weights[-1][a, 0] for a, s in enumerate(signal))))
    return found


def hidden_signals(weights: list[Array], x: Array) -> list[Array]:
    """x_1..x_{L-2}: what the gates behind the first layer see."""
    signals = []
    for w in weights[:-2]:
        x = np.maximum(x @ w, 0.0)
        signals.append(x)
    return signals


def case(widths: list[int], seed: int = 0, m: int = 3) -> tuple[Any, list[Array], Array]:
    network = mlp(widths)
    return network, network.init(seed), np.random.default_rng(seed + 1).normal(size=(m, widths[0]))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("widths", NETS, ids=str)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_marginal_and_posterior_equal_brute_force(widths: list[int], temperature: float, backend: str) -> None:
    network, weights, x = case(widths)
    y = np.array([1.0, -1.0, 1.0])
    marginal = exact_marginal(network, weights, x, temperature, backend)
    posterior = exact_posterior(network, weights, x, y, temperature, backend)
    for i, example in enumerate(x):
        states = brute_force(weights, example, temperature)
        assert marginal[i] == pytest.approx(sum(p * sigmoid(t) for p, t in states), abs=1e-12)
        joint = np.array([p * sigmoid(y[i] * t) for p, t in states])
        np.testing.assert_allclose(posterior[i], joint / joint.sum(), atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    hidden=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 10_000),
    temperature=st.floats(0.02, 10.0),
    scale=st.floats(0.1, 30.0),
)
def test_backends_and_block_sizes_agree(hidden: list[int], seed: int, temperature: float, scale: float) -> None:
    network, weights, x = case([3, *hidden, 1], seed)
    reference = log_marginals(network, weights, scale * x, temperature, "numpy")
    kernel = log_marginals(network, weights, scale * x, temperature, "numba")
    # The logarithm of a probability near 1 is a difference of numbers as large as the other one's logarithm, and as
    # the logarithms of the gates, |z|/T.
    fields, signal = [0.0], np.abs(scale * x)
    for w in weights[:-1]:
        signal = signal @ np.abs(w)
        fields.append(signal.max() / temperature)
    rounding = 1e-14 * (1.0 + np.abs(reference).max()) + 1e-15 * max(fields)
    np.testing.assert_allclose(kernel, reference, rtol=1e-10, atol=rounding)
    before = subject.LEAVES
    try:
        subject.LEAVES = 4
        blocked = log_marginals(network, weights, scale * x, temperature, "numpy")
    finally:
        subject.LEAVES = before
    np.testing.assert_allclose(blocked, reference, rtol=1e-10, atol=rounding)
    np.testing.assert_allclose(np.exp(reference).sum(axis=1), 1.0, atol=1e-12)


def test_outputs_beyond_the_kernel_range_keep_their_logarithm() -> None:
    network, weights, x = case([3, 4, 3, 1])
    far = [*weights[:-1], 3000.0 * weights[-1]]
    kernel, reference = (log_marginals(network, far, x, 0.001, backend) for backend in ("numba", "numpy"))
    np.testing.assert_allclose(kernel, reference, rtol=1e-12, atol=1e-14)
    assert np.isfinite(reference).all()
    assert reference.min() < -700  # a probability that a double cannot hold


@pytest.mark.parametrize("widths", NETS, ids=str)
def test_zero_temperature_is_the_relu_network(widths: list[int]) -> None:
    network, weights, x = case(widths)
    t = output(network, weights, x, "numpy")
    expected = np.array([sigmoid(v) for v in t])
    np.testing.assert_allclose(exact_marginal(network, weights, x, 0.0), expected, rtol=1e-14)
    np.testing.assert_allclose(exact_marginal(network, weights, x, 1e-4), expected, rtol=1e-9)
    frozen = exact_posterior(network, weights, x, np.ones(3), 0.0)
    # Behind a layer that is off everywhere z = 0: gates that do not matter are fair coins at any T > 0.
    alive = [all((s > 0).any() for s in hidden_signals(weights, e)) for e in x]
    assert any(alive)
    cold = exact_posterior(network, weights, x, np.ones(3), 1e-4)
    np.testing.assert_allclose(cold[alive], frozen[alive], atol=1e-9)
    assert np.array_equal(np.sort(frozen, axis=1)[:, -2:], [[0.0, 1.0]] * 3)


def test_gate_law_equals_brute_force_sums() -> None:
    network, weights, x = case([3, 3, 2, 1])
    law = gate_law(network, weights, x, 0.4, "numpy")
    for i, example in enumerate(x):
        p, t = (np.array(column) for column in zip(*brute_force(weights, example, 0.4), strict=True))
        for side, sign in enumerate((-1.0, 1.0)):
            label = np.array([sigmoid(sign * v) for v in t])
            posterior = p * label / (p @ label)
            assert law.kl[i, side] == pytest.approx(posterior @ np.log(posterior / p), abs=1e-12)
            assert law.posterior_entropy[i, side] == pytest.approx(-posterior @ np.log(posterior), abs=1e-12)
            assert law.bound[i, side] == pytest.approx(p @ np.log(label), abs=1e-12)
            assert law.bound[i, side] <= law.log_marginal[i, side]
        assert law.entropy[i] == pytest.approx(-p @ np.log(p), abs=1e-12)
        assert law.mean_output[i] == pytest.approx(p @ t, abs=1e-12)
        bits = (np.arange(p.size)[:, None] >> np.arange(5)) & 1
        np.testing.assert_allclose(law.gate_means[i], p @ bits, atol=1e-12)


def test_circuit_moments_sum_to_the_mean_output() -> None:
    """Σ_i E[x_{i_0} Ψ_i] = E T (10), at any temperature; single circuits against brute force."""
    network, weights, x = case([3, 3, 2, 1])
    paths = np.array(list(itertools.product(range(3), range(3), range(2), range(1))))
    for temperature in (0.2, 2.0):
        first, second = circuit_moments(network, weights, x, paths, temperature)
        np.testing.assert_allclose(
            first.sum(axis=1), gate_law(network, weights, x, temperature).mean_output, atol=1e-12
        )
        p = np.array([q for q, _ in brute_force(weights, x[0], temperature)])
        on = [((np.arange(32) >> a) & 1) * ((np.arange(32) >> (3 + b)) & 1) for _, a, b, _ in paths]
        gain = [x[0, i] * weights[0][i, a] * weights[1][a, b] * weights[2][b, 0] for i, a, b, _ in paths]
        np.testing.assert_allclose(second[0], [g**2 * (p @ o) for g, o in zip(gain, on, strict=True)], atol=1e-14)
    frozen = circuit_moments(network, weights, x, paths, 0.0, orders=[1])[0]
    np.testing.assert_allclose(frozen.sum(axis=1), output(network, weights, x), atol=1e-12)


def test_convolutions_are_enumerated_as_sparse_dense_layers() -> None:
    network = sequential((2, 2, 1), [Conv(1), Dense(2), Dense(1)])
    weights, x = network.init(0), np.random.default_rng(0).normal(size=(2, 2, 2, 1))
    dense = [np.zeros((4, 4)), *weights[1:]]
    for a, b in itertools.product(range(4), repeat=2):
        dy, dx = a // 2 - b // 2 + 1, a % 2 - b % 2 + 1
        dense[0][a, b] = weights[0][dy, dx, 0, 0]
    expected = [sum(p * sigmoid(t) for p, t in brute_force(dense, e.reshape(-1), 0.7)) for e in x]
    np.testing.assert_allclose(exact_marginal(network, weights, x, 0.7), expected, atol=1e-12)


def test_cases_that_are_too_large_or_have_no_law_are_refused() -> None:
    network, weights, x = case([3, 20, 20, 1])
    with pytest.raises(EnumerationError, match=r"40 gates and 3 inputs make 3\.3e\+12 configurations"):
        exact_marginal(network, weights, x, 1.0)
    with pytest.raises(EnumerationError, match="posterior of 3 inputs over 40 gates"):
        exact_posterior(network, weights, x, np.ones(3), 1.0)
    with pytest.raises(EnumerationError, match="configurations"):
        exact_marginal(*case([3, 4, 1]), 1.0, max_configurations=10)
    for pool in (MaxPool(2), AvgPool(2)):
        pooled = sequential((4, 4, 1), [Conv(1), pool, Dense(1)])
        with pytest.raises(ValueError, match="for networks without pools"):
            exact_marginal(pooled, pooled.init(0), np.ones((1, 4, 4, 1)), 1.0)
    for temperature in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature"):
            exact_marginal(*case([3, 4, 1]), temperature)
    with pytest.raises(ValueError, match="temperature 0 leaves one configuration"):
        gate_law(*case([3, 4, 1]), 0.0)


def test_many_gates_in_the_last_layer_and_many_before_it() -> None:
    """The table split (more than 8 low bits) and the subtree split (more than 8 first gates) of the kernel."""
    for widths in ([2, 11, 1], [2, 10, 3, 1], [2, 1, 12, 1]):
        network, weights, x = case(widths, seed=3)
        kernel, reference = (log_marginals(network, weights, x, 0.3, backend) for backend in ("numba", "numpy"))
        np.testing.assert_allclose(kernel, reference, rtol=1e-12)
