"""Worlds of observed events: two whose laws are known, by sums over all events, and the digits.

In a planted world inputs are few, and every configuration of the events occurs with its exact probability as weight.
The digits have events at three scales: ink in eight regions, strokes that a digit has, and odd against even.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import log_expit

from backends import Backend
from simulator import (
    LearnedScale,
    Network,
    expand_multipliers,
    fit_hierarchy,
    hierarchical_logits,
    learn_scales,
    log_marginals,
    output,
    tensor_logits,
    train,
)
from simulator.enumeration.gates import bit_table
from simulator.streams import spawn_streams
from validation.data.sources import open_source
from validation.statistics.estimate import mean_and_error, ratio

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

PLANTED, INPUTS = (4, 3, 2, 1), 12
STRENGTH = 1.5  # of planted weights, in units of 1/sqrt(fan-in)
MIXTURES = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)  # of a random tensor over the chain, both of the same norm
ATTRIBUTES = {"loop": (0, 6, 8, 9), "stem": (1, 4, 7, 9), "bow": (2, 3, 5)}
TRAINING = 1437  # digits; the other 360 are held out, as everywhere
SCALES = ("ink in eight regions", "loop, stem, bow", "odd")


@dataclass(frozen=True)
class Sizes:
    """How much is computed: planted ``worlds``, ``epochs`` of training, and networks ``starts`` by back-propagation."""

    worlds: int = 5
    epochs: int = 300
    starts: int = 5


QUICK = Sizes(worlds=2, epochs=60, starts=2)


def every_event(inputs: Array, tensors: Sequence[Array]) -> tuple[list[Array], Array]:
    """All configurations [x, h_1, ..., h_S] of the laws (2) with these multipliers, and the weight of each."""
    observed, weight = [inputs], np.full(len(inputs), 1.0 / len(inputs))
    for tensor in tensors:
        states = bit_table(tensor.shape[-1])
        logits = tensor_logits(tensor, observed)
        log_law = (states @ log_expit(logits).T + (1.0 - states) @ log_expit(-logits).T).T
        weight = (weight[:, None] * np.exp(log_law)).reshape(-1)
        observed = [np.repeat(a, len(states), axis=0) for a in observed]
        observed.append(np.tile(states, (len(logits), 1)))
    return observed, weight


def planted_worlds(sizes: Sizes, seed: np.random.Generator) -> Record:
    """Chains learned from exact couplings, and what the chain form loses as a random tensor is mixed in."""
    errors: dict[str, list[float]] = {"multipliers": [], "weights": [], "couplings": [], "divergence": []}
    curves: list[list[Record]] = []
    for rng in spawn_streams(seed, sizes.worlds):
        inputs = np.column_stack([rng.standard_normal((INPUTS, PLANTED[0] - 1)), np.ones(INPUTS)])
        chain: list[Array] = [STRENGTH / math.sqrt(a) * rng.standard_normal((a, b)) for a, b in pairwise(PLANTED)]
        tensors = [expand_multipliers(chain, s) for s in range(1, len(PLANTED))]
        noise: list[Array] = [t if t.ndim == 2 else _of_norm(rng.standard_normal(t.shape), t) for t in tensors]
        curve = []
        for mixture, starts in zip(MIXTURES, spawn_streams(rng, len(MIXTURES)), strict=True):
            planted = [t if t.ndim == 2 else t + mixture * n for t, n in zip(tensors, noise, strict=True)]
            observed, weight = every_event(inputs, planted)
            scales = learn_scales(observed, weight)[1]
            full = [s.unfactored for s in scales if s.unfactored is not None]
            errors["multipliers"] += [_relative(law.multipliers, p) for law, p in zip(full, planted, strict=True)]
            errors["couplings"] += [law.residual for s in scales for law in (s.chain, s.unfactored) if law]
            errors["divergence"] += [abs(_divergence(scales, k, observed, weight) - (s.loss or 0.0))
                                     for k, s in enumerate(scales)]  # fmt: skip
            if mixture == 0.0:
                errors["weights"] += [_relative(s.weights, w) for s, w in zip(scales, chain, strict=True)]
            nearest = fit_hierarchy(planted[-1], seed=starts).weights
            curve.append({
                "mixture": mixture, "loss": [s.loss for s in scales],
                "least_squares": _nearest_loss(nearest, planted[-1], observed, weight),
            })  # fmt: skip
        curves.append(curve)
    return {"errors": {name: max(values) for name, values in errors.items()}, "curves": curves}


def _of_norm(tensor: Any, like: Array) -> Array:
    return np.asarray(tensor * (np.linalg.norm(like) / np.linalg.norm(tensor)))


def _relative(found: Array, planted: Array) -> float:
    return float(np.linalg.norm(found - planted) / np.linalg.norm(planted))


def _log_law(logits: Array, events: Array) -> Array:
    """log µ(h|O) of independent events, (m,)."""
    return np.asarray(np.where(events > 0, log_expit(logits), log_expit(-logits)).sum(axis=1))


def _divergence(scales: Sequence[LearnedScale], k: int, observed: Sequence[Array], weight: Array) -> float:
    """Σ weight · (log µ_s - log µ̂_s) of one scale, summed over all events."""
    law, events = scales[k].unfactored, observed[k + 1]
    assert law is not None
    chain = hierarchical_logits([s.weights for s in scales[: k + 1]], observed[: k + 1])
    full = tensor_logits(law.multipliers, observed[: k + 1])
    return float(weight @ (_log_law(full, events) - _log_law(chain, events)))


def _nearest_loss(weights: Sequence[Array], planted: Array, observed: Sequence[Array], weight: Array) -> float:
    """The same of the chain nearest to the multipliers by least squares, at the last scale."""
    full, chain = tensor_logits(planted, observed[:-1]), hierarchical_logits(weights, observed[:-1])
    return float(weight @ (_log_law(full, observed[-1]) - _log_law(chain, observed[-1])))


def digit_events() -> tuple[list[Array], list[Array]]:
    """[x, h_1, h_2, h_3] of the digits in the order of their file: training examples, and those held out.

    x: ink in the four quadrants, less its mean and over its standard deviation, and 1. h_1: ink above the median in the
    eight regions of 4 × 2 pixels. h_2: whether the digit has a loop, a stem, a bow. h_3: whether it is odd.
    """
    source = open_source("digits", "data")
    images = np.asarray(source.read(np.arange(len(source.classes))), dtype=np.float64).reshape(-1, 8, 8)
    digits = np.array([int(source.names[c]) for c in source.classes])
    quadrants = images.reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(-1, 4)
    quadrants = (quadrants - quadrants[:TRAINING].mean(axis=0)) / quadrants[:TRAINING].std()
    regions = images.reshape(-1, 2, 4, 4, 2).mean(axis=(2, 4)).reshape(-1, 8)
    events = [
        np.column_stack([quadrants, np.ones(len(images))]),
        (regions > np.median(regions[:TRAINING], axis=0)).astype(np.float64),
        np.column_stack([np.isin(digits, held) for held in ATTRIBUTES.values()]).astype(np.float64),
        (digits % 2 == 1).astype(np.float64)[:, None],
    ]
    return [a[:TRAINING] for a in events], [a[TRAINING:] for a in events]


def learned_digits(sizes: Sizes, seed: np.random.Generator, ops: Backend) -> Record:
    """The stack of the digits: entropies and losses by scale, and its label beside that of trained networks."""
    training, held = digit_events()
    network, scales = learn_scales(training)
    weights = [scale.weights for scale in scales]
    layers = [_scale(scales, k, training, held) for k in range(len(scales))]
    y, y_held = (2.0 * a[-1][:, 0] - 1.0 for a in (training, held))
    shared: Record = {"epochs": sizes.epochs, "batch_size": 128, "learning_rate": 0.05, "momentum": 0.9}
    modify, *starts = spawn_streams(seed, 1 + sizes.starts)
    modified = train(network, weights, training[0], y, **shared, loss="logistic", seed=modify, backend=ops).weights
    trained = []
    for rng in starts:
        first, order = spawn_streams(rng, 2)
        trained.append(train(network, network.init(first), training[0], y, **shared, loss="logistic", seed=order,
                             backend=ops).weights)  # fmt: skip
    x = held[0]
    stacks = {"stack": weights, "modified": modified}
    outcomes = {name: _marginal(network, w, x, y_held, ops) for name, w in stacks.items()}
    cold = {name: _cold(network, w, x, y_held, ops) for name, w in stacks.items()}
    sharp = {name: likelihood for name, (likelihood, _) in cold.items()}
    plain = [_cold(network, w, x, y_held, ops) for w in trained]
    best = int(np.argmax([_cold(network, w, training[0], y, ops)[0].mean() for w in trained]))
    return {
        "widths": [a.shape[1] for a in training], "examples": len(y), "held_out": len(y_held), "scales": layers,
        "residual": max(law.residual for s in scales for law in (s.chain, s.unfactored) if law and law.converged),
        "marginal": {name: _described(o) for name, o in outcomes.items()},
        "cold": {name: _described(o) for name, o in cold.items()},
        "back_propagation": [_described(o) for o in plain],
        "best": best, "accuracy_gap": _mean(plain[best][1] - outcomes["stack"][1]),
        "likelihood_gain": _mean(sharp["modified"] - sharp["stack"]),
        "events_kept": _events_kept(modified, weights, held),
    }  # fmt: skip


def _scale(scales: Sequence[LearnedScale], k: int, training: Sequence[Array], held: Sequence[Array]) -> Record:
    """One scale: entropies of both laws and of independent events, and the share of the gain that the chain loses."""
    scale, law = scales[k], scales[k].unfactored
    assert law is not None
    events = training[k + 1]
    share = events.mean(axis=0)
    weights = [s.weights for s in scales[: k + 1]]
    full = np.log(np.where(events > 0, law.probabilities, 1.0 - law.probabilities)).sum(axis=1)
    chain = _log_law(hierarchical_logits(weights, training[: k + 1]), events)
    alone = np.log(np.where(events > 0, share, 1.0 - share)).sum(axis=1)
    p = law.probability(held[: k + 1])
    new = np.where(held[k + 1] > 0, p, 1.0 - p)
    possible = (new > 0).all(axis=1)
    chain_new = _log_law(hierarchical_logits(weights, held[: k + 1]), held[k + 1])
    lost = np.log(new[possible]).sum(axis=1) - chain_new[possible]
    return {
        "events": SCALES[k], "multipliers": int(law.multipliers.size), "weights": int(scale.weights.size),
        "independent": float(-alone.mean()), "unfactored": law.entropy, "chain": scale.chain.entropy,
        "loss": _mean(full - chain), "share": ratio(full - chain, full - alone), "held_out_loss": _mean(lost),
        "impossible": int(np.count_nonzero(~possible)), "finite": law.converged,
    }  # fmt: skip


def _mean(values: Array) -> Record:
    found = mean_and_error(values.tolist())
    return {"value": found.value, "standard_error": found.standard_error}


def _marginal(network: Network, weights: Sequence[Array], x: Array, y: Array, ops: Backend) -> tuple[Array, Array]:
    """log µ(y|x) at temperature 1, and whether the likelier label is right; (m,) each."""
    both = log_marginals(network, weights, x, 1.0, backend=ops)
    found = np.where(y > 0, both[:, 1], both[:, 0])
    return found, found > math.log(0.5)


def _cold(network: Network, weights: Sequence[Array], x: Array, y: Array, ops: Backend) -> tuple[Array, Array]:
    """The same of the ReLU network, T → 0; where its output is 0 the label is a coin."""
    margin = y * output(network, weights, x, backend=ops)
    return np.asarray(log_expit(margin)), np.where(margin == 0, 0.5, margin > 0)


def _described(outcome: tuple[Array, Array]) -> Record:
    likelihood, right = outcome
    return {"log_likelihood": _mean(likelihood), "accuracy": _mean(np.asarray(right, dtype=np.float64))}


def _events_kept(modified: Sequence[Array], weights: Sequence[Array], held: Sequence[Array]) -> list[Record]:
    """What the events of the lower scales lose when these are modified for the label, nats an example."""
    lost = []
    for k in range(len(weights) - 1):
        logits = [hierarchical_logits(w[: k + 1], held[: k + 1]) for w in (weights, modified)]
        before, after = (_log_law(z, held[k + 1]) for z in logits)
        lost.append(_mean(before - after) | {"events": SCALES[k]})
    return lost
