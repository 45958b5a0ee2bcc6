"""The E-step: where the gates of a learning step come from, and Monte Carlo sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import (
    check_size,
    check_temperature,
    exact_posterior,
    log_label,
    n_gates,
    relu_states,
    state_bits,
)
from simulator.inputs import check_examples, check_weights
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams, uniform

E_STEPS = ("zero_temperature", "monte_carlo", "exact")
STATE_BLOCK = 1 << 20  # numbers per signal array when configurations are summed in blocks


def check_e_step(network: Network, e_step: str, temperature: float, loss: str) -> None:
    """Raise `ValueError` where an E-step, a temperature, a loss and a network do not go together."""
    if e_step not in E_STEPS:
        raise ValueError(f"e_step {e_step!r} is unknown: use one of {', '.join(E_STEPS)}")
    if (e_step == "zero_temperature") != (check_temperature(temperature) == 0.0):
        raise ValueError(
            f"e_step {e_step!r} at temperature {temperature:g}: zero_temperature needs temperature 0, the others > 0"
        )
    if temperature > 0 and network.has_maxima:
        raise ValueError(f"temperature {temperature:g} meets max-pooling, which has no thermal law: use 0")
    if e_step == "exact" and loss != "logistic":
        raise ValueError(f"loss {loss!r} is not a likelihood: the exact E-step needs 'logistic'")
    if e_step == "exact" and any(layer.convolutional for layer in network.layers):
        raise ValueError("the exact E-step enumerates dense networks only: use a multilayer perceptron")


@dataclass(frozen=True)
class GateSample:
    """Gates that an E-step chose: ``bits`` (m or 1, S, G) of 0 and 1, probabilities ``q`` (m, S), rows summing to 1."""

    bits: Array
    q: Array


def expect(
    network: Network,
    weights: Sequence[Any],
    x: HostArray,
    y: HostArray,
    e_step: str,
    temperature: float,
    ops: Backend,
    rng: np.random.Generator,
    samples: int = 1,
) -> GateSample:
    """The E-step: all configurations with their posterior (exact), `samples` draws from the forward law
    (monte_carlo), or the one configuration h = 1[z > 0] (zero_temperature)."""
    m, gates = x.shape[0], n_gates(network)
    if e_step == "exact":
        return exact_gates(network, weights, x, y, temperature, ops)
    w, rows = check_weights(network, weights, ops), ops.asarray(x.reshape(m, -1))
    if e_step == "zero_temperature":
        bits = state_bits(relu_states(ops, w, rows), gates)[:, None, :]
        return GateSample(ops.asarray(bits), ops.asarray(np.ones((m, 1))))
    return GateSample(
        draw_gates(w, rows, temperature, samples, ops, rng), ops.asarray(np.full((m, samples), 1 / samples))
    )


def exact_gates(
    network: Network, weights: Sequence[Any], x: HostArray, y: HostArray, temperature: float, ops: Backend
) -> GateSample:
    """All 2^G configurations with their posterior µ(h|x,y)."""
    check_size(network, x.shape[0], limit=1 << 24)
    q = exact_posterior(network, weights, x, y, temperature, ops)
    states = np.arange(q.shape[1], dtype=np.int64)
    return GateSample(ops.asarray(state_bits(states, n_gates(network))[None]), ops.asarray(q))


def draw_gates(
    weights: Sequence[Array], x: Array, temperature: float, samples: int, ops: Backend, rng: np.random.Generator
) -> Array:
    """Independent configurations from µ(h|x), (m, samples, G); uniform numbers are drawn on the host."""
    signal, chosen = x[:, None, :], []
    for w in weights[:-1]:
        z = ops.matmul(signal, w)
        z = ops.xp.broadcast_to(z, (x.shape[0], samples, w.shape[1]))
        on = ops.asarray(uniform(rng, tuple(z.shape), ops.dtype)) < (1 + ops.xp.tanh(z / (2 * temperature))) / 2
        h = ops.xp.astype(on, getattr(ops.xp, ops.dtype))
        signal = h * z
        chosen.append(h)
    return ops.xp.concat(chosen, axis=2)


@shown
@dataclass(frozen=True)
class MarginalEstimate:
    """Monte Carlo µ(y=+1|x): ``value`` (m,) with its ``standard_error`` (m,), from ``samples`` draws of the gates."""

    value: HostArray
    standard_error: HostArray
    samples: int


def monte_carlo_marginal(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    samples: int = 1000,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> MarginalEstimate:
    """µ(y=+1|x) ≈ mean of σ(T(x, h)) over draws h ~ µ(h|x), for networks too large to enumerate."""
    ops = get_backend(backend)
    x = check_examples(network, x, ops.dtype)
    if samples < 2 or check_temperature(temperature) == 0.0:
        raise ValueError(f"{samples} samples at temperature {temperature:g}: expected at least 2, at a temperature > 0")
    check_e_step(network, "monte_carlo", temperature, "logistic")
    w, rows = check_weights(network, weights, ops), ops.asarray(x.reshape(x.shape[0], -1))
    rng = Streams(seed)("marginal gates")
    total, square, done = np.zeros(x.shape[0]), np.zeros(x.shape[0]), 0
    block = max(1, STATE_BLOCK // (x.shape[0] * max(a.shape[1] for a in w)))
    while done < samples:
        count = min(block, samples - done)
        bits, start, signal = draw_gates(w, rows, temperature, count, ops, rng), 0, rows[:, None, :]
        for a in w[:-1]:
            signal = bits[:, :, start : start + a.shape[1]] * ops.matmul(signal, a)
            start += a.shape[1]
        t = ops.to_numpy(ops.matmul(signal, w[-1])[:, :, 0]).astype(np.float64)
        p = np.exp(log_label(np, t)[1])
        total, square, done = total + p.sum(axis=1), square + (p**2).sum(axis=1), done + count
    mean = total / samples
    variance = np.maximum(square / samples - mean**2, 0.0) * samples / (samples - 1)
    return MarginalEstimate(mean, np.sqrt(variance / samples), samples)
