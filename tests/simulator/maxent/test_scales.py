"""Networks learned scale by scale: planted chains found again, entropies against sums over all events."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from simulator import exact_marginal, learn_scales
from simulator.maxent.scales import chain_signals, couplings

SEEDS = st.integers(0, 2**31)


def world(seed: int, widths: tuple[int, ...] = (3, 2, 2, 1), inputs: int = 8) -> tuple[list[Any], Any, list[Any]]:
    """Every configuration of the events of a chain with its exact weight, written out event by event."""
    rng = np.random.default_rng(seed)
    chain = [rng.normal(size=shape) for shape in pairwise(widths)]
    rows: list[list[Any]] = [[] for _ in widths]
    weight = []
    for x in rng.normal(size=(inputs, widths[0])):
        for states in product(*(product((0.0, 1.0), repeat=n) for n in widths[1:])):
            signal, likelihood = x, 1.0
            for w, h in zip(chain, states, strict=True):
                p = expit(w.T @ signal)
                likelihood *= float(np.prod(np.where(np.array(h) > 0, p, 1 - p)))
                signal = np.array(h) * (w.T @ signal)
            for kept, value in zip(rows, (x, *states), strict=True):
                kept.append(value)
            weight.append(likelihood / inputs)
    return [np.array(kept) for kept in rows], np.array(weight), chain


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_a_planted_chain_is_found_and_loses_nothing(seed: int) -> None:
    observed, weight, chain = world(seed)
    network, scales = learn_scales(observed, weight)
    assert network.weight_shapes == [w.shape for w in chain]
    for scale, w in zip(scales, chain, strict=True):
        assert np.allclose(scale.weights, w, atol=1e-7)
        assert scale.loss == pytest.approx(0.0, abs=1e-10)
    inputs = observed[0][:: len(weight) // 8]
    y_one = np.array([weight[(observed[0] == x).all(axis=1) & (observed[-1][:, 0] > 0)].sum() * 8 for x in inputs])
    assert np.allclose(exact_marginal(network, [s.weights for s in scales], inputs, 1.0), y_one, atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_of_any_events_the_chain_knows_no_more_than_every_coupling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    observed = [rng.normal(size=(300, 3)), *((rng.random((300, n)) < 0.5).astype(float) for n in (2, 2, 1))]
    _, scales = learn_scales(observed)
    assert all(scale.loss is not None and scale.loss >= -1e-12 for scale in scales)
    assert scales[0].loss == pytest.approx(0.0, abs=1e-12)
    weights = [scale.weights for scale in scales]
    for k, scale in enumerate(scales):
        signals = chain_signals(weights[:k], observed[: k + 1])
        p, h = expit(signals @ scale.weights), observed[k + 1]
        assert np.allclose(signals.T @ (h - p), 0.0, atol=1e-6)  # the likelihood is at its maximum
        assert -np.log(np.where(h > 0, p, 1 - p)).sum(axis=1).mean() == pytest.approx(scale.chain.entropy)


def test_couplings_are_means_of_products() -> None:
    x, h, g = np.array([[2.0, 1.0], [-1.0, 3.0]]), np.array([[1.0], [1.0]]), np.array([[0.0], [1.0]])
    assert couplings([x, h], g).tolist() == [[[-0.5]], [[1.5]]]
    assert couplings([x], h, [3.0, 1.0]).tolist() == [[1.25], [1.5]]


def test_events_that_the_signals_separate_are_refused_by_their_scale() -> None:
    x = np.linspace(-1.0, 1.0, 10)[:, None]
    with pytest.raises(ValueError, match=r"scale 1 has no finite weights .*: use more examples"):
        learn_scales([x, (x > 0).astype(float)])
    with pytest.raises(ValueError, match="observed has 1 layers"):
        learn_scales([x])
    _, scales = learn_scales([x, (np.arange(10) % 3 == 0).astype(float)[:, None]], unfactored=False)
    assert scales[0].unfactored is None
    assert scales[0].loss is None
