"""Correlations of signals and the stretch of small differences: closed forms, finite differences, wide networks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from simulator import Conv, Dense, MaxPool, input_stretch, mlp, sequential, signal_correlations
from simulator.streams import Streams
from theory import correlation_map, stretch

Array = np.ndarray[Any, Any]


def test_correlations_of_every_layer_by_loops() -> None:
    network, x = mlp([4, 6, 5, 1]), np.random.default_rng(0).standard_normal((5, 4))
    weights, signal = network.init(0), x
    found = signal_correlations(network, weights, x)
    assert len(found) == 3
    for rho, w in zip(found, weights, strict=True):
        sizes = np.linalg.norm(signal, axis=1)
        assert rho == pytest.approx(signal @ signal.T / np.outer(sizes, sizes), abs=1e-12)
        signal = np.maximum(signal @ w, 0.0)


def test_a_signal_of_zeros_has_no_correlation_and_no_stretch() -> None:
    network, weights = mlp([2, 1, 1]), [np.array([[1.0], [0.0]]), np.ones((1, 1))]
    x = np.array([[1.0, 0.0], [-1.0, 0.5]])
    rho = signal_correlations(network, weights, x)
    assert np.isnan(rho[1][1]).all()
    assert rho[1][0, 0] == 1.0
    found = input_stretch(network, weights, x)
    assert np.isnan(found.distance[0, 1])
    assert np.isfinite(found.distance[0, 0])


@pytest.mark.parametrize(
    ("network", "shape"),
    [(mlp([6, 8, 7, 1]), (6,)), (sequential((4, 4, 2), [Conv(3), MaxPool(2), Dense(4), Dense(1)]), (4, 4, 2))],
)
def test_the_stretch_is_the_limit_of_differences(network: Any, shape: tuple[int, ...]) -> None:
    """Signals of x + εv less those of x, by the correlations of the pair where ε is small."""
    x, weights = np.random.default_rng(1).standard_normal((1, *shape)), network.init(2)
    found = input_stretch(network, weights, x, directions=3, seed=5)
    drawn = Streams(5)("input directions").standard_normal((3, *shape))
    gaps = np.array(
        [[1 - rho[0, 1] for rho in signal_correlations(network, weights, np.concatenate([x, x + 1e-4 * v[None]]))]
         for v in drawn]
    ).mean(axis=0)  # fmt: skip
    assert found.correlation[:, 0] == pytest.approx(gaps[1:] / gaps[:-1], rel=1e-2)


def test_planted_weights_have_the_stretch_that_was_planted() -> None:
    """W = a 1 on positive inputs: every gate is on, and u grows by a² per neuron and layer."""
    network, x = mlp([5, 5, 5, 1]), np.abs(np.random.default_rng(0).standard_normal((4, 5)))
    weights = [3.0 * np.eye(5), 0.5 * np.eye(5), np.ones((5, 1))]
    found = input_stretch(network, weights, x)
    assert found.distance == pytest.approx(np.repeat([[9.0], [0.25]], 4, axis=1))
    assert found.correlation == pytest.approx(np.ones((2, 4)))


def test_wide_layers_follow_the_arc_cosine_map_and_its_slope() -> None:
    """Width 1,500, gain 0.5 and 2: correlations do not feel the gain, χ is its square."""
    widths, rng = [50, 1500, 1500, 1], np.random.default_rng(0)
    network = mlp(widths)
    x = rng.standard_normal((1, 50)) + np.linspace(0.0, 3.0, 6)[:, None] * rng.standard_normal((6, 50))
    for gain in (0.5, 2.0):
        weights = [gain * w for w in network.init(1)]
        rho = signal_correlations(network, weights, x)
        for below, above in pairwise(rho):
            assert above == pytest.approx(correlation_map(below), abs=0.08)
        expected = stretch(widths, [gain**2 * 2 / n for n in widths[:-1]])
        assert expected == pytest.approx([gain**2] * 2)
        chi = input_stretch(network, weights, x, directions=16)
        assert chi.distance.mean(axis=1) == pytest.approx(expected, rel=0.1)
        assert chi.correlation.mean(axis=1) == pytest.approx(np.ones(2), rel=0.1)
