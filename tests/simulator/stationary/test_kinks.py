"""Distances to kinks by brute force, and the shortest combination of gradients against optimisers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from simulator import AvgPool, Conv, Dense, MaxPool, gradient, kink_distances, mlp, nearby_gradients, output, sequential
from simulator.stationary.kinks import shortest_combination

Array = np.ndarray[Any, Any]


def test_distances_of_a_perceptron_by_loops() -> None:
    network, rng = mlp([4, 5, 3, 1]), np.random.default_rng(0)
    weights, x, y = network.init(1), rng.standard_normal((6, 4)), rng.choice([-1.0, 1.0], 6)
    length = np.linalg.norm(network.flatten(weights))
    u = y * output(network, weights, x)
    gates, margins = [], []
    for i in range(6):
        slope = network.flatten(gradient(network, weights, x[i : i + 1], y[i : i + 1], "squared")) / (u[i] - 1)
        if np.linalg.norm(slope) > 0:
            margins.append(abs(u[i] - 1) / np.linalg.norm(slope))
        signal = x[i]
        for w in weights[:-1]:
            if u[i] < 1 and np.linalg.norm(signal) > 0:
                gates += list(np.abs(signal @ w) / np.linalg.norm(signal))
            signal = np.maximum(signal @ w, 0.0)
    found = kink_distances(network, weights, x, y)
    assert found.gate == pytest.approx(min(gates) / length, rel=1e-10)
    assert found.margin == pytest.approx(min(margins) / length, rel=1e-10)
    assert found.nearest == min(found.gate, found.margin)
    assert kink_distances(network, weights, x, y, "squared").margin == np.inf


def test_a_gate_flips_just_beyond_its_distance() -> None:
    """The neuron's weights moved against its input by a little more than |z|/||x||."""
    network, x = mlp([3, 1, 1]), np.array([[1.0, 2.0, -1.0]])
    w = np.array([[0.5], [0.1], [0.2]])
    found = kink_distances(network, [w, np.ones((1, 1))], x, [1.0])
    reach = found.gate * np.sqrt(np.sum(w**2) + 1)
    for share, sign in ((0.999, 1.0), (1.001, -1.0)):
        moved = w - share * reach * x.T / np.linalg.norm(x)
        assert np.sign(x @ moved) == sign


def test_convolutions_and_average_pools_have_distances_and_max_pools_are_refused() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 4, 4, 1)), np.array([1.0, -1.0, 1.0])
    smooth = sequential((4, 4, 1), [Conv(2), AvgPool(2), Dense(1)])
    w = smooth.init(0)
    found = kink_distances(smooth, w, x, y)
    padded, least = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), np.inf
    for i, a, b in np.ndindex(3, 4, 4):
        patch = padded[i, a : a + 3, b : b + 3, 0]
        least = min(least, np.abs(np.einsum("ab,abc->c", patch, w[0][:, :, 0])).min() / np.linalg.norm(patch))
    assert found.gate == pytest.approx(least / np.linalg.norm(smooth.flatten(w)), rel=1e-10)
    with pytest.raises(ValueError, match="max-pools, whose choices are kinks"):
        kink_distances(sequential((4, 4, 1), [Conv(2), MaxPool(2), Dense(1)]), w, x, y)


def test_the_shortest_combination_against_an_optimiser() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        rows = rng.standard_normal((5, 6)) + rng.standard_normal(6)
        bounds, whole = [(0.0, 1.0)] * 5, {"type": "eq", "fun": lambda a: np.sum(a) - 1}
        best = minimize(
            lambda a, g=rows: np.sum((a @ g) ** 2), np.full(5, 0.2), bounds=bounds, constraints=whole, tol=1e-14
        )
        assert shortest_combination(rows) == pytest.approx(np.sqrt(best.fun), abs=1e-5)
    assert shortest_combination(np.zeros((2, 3))) == 0.0
    assert shortest_combination(np.array([[3.0, 4.0]])) == pytest.approx(5.0)


def test_gradients_around_a_minimum_at_a_kink_cancel_and_elsewhere_not() -> None:
    network, x, y = mlp([1, 1]), [[1.0]] * 3, [1.0, 1.0, -1.0]
    at, beside = (nearby_gradients(network, [np.array([[w]])], x, y, seed=1) for w in (1.0, 0.9))
    assert (at.distinct, beside.distinct) == (2, 1)
    assert at.shortest == pytest.approx(0.0, abs=1e-9)
    assert beside.shortest == pytest.approx(beside.own) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match=r"radius 0\.0 is not usable"):
        nearby_gradients(network, [np.array([[1.0]])], x, y, radius=0.0)
