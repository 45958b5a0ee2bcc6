"""Learning as generalised expectation-maximisation: one bound, three E-steps.

log µ(y|x) ≥ E_q[log µ(y,h|x) - log q(h)], with equality at q = µ(h|x,y). The E-step chooses q, the M-step ascends
Q(W) = Σ_i E_{q_i}[log µ(y_i,h|x_i)] with the gates held fixed, where

    log µ(y,h|x) = Σ_{l<L} Σ_j [h_{l,j} z_{l,j}/T - log(1 + e^{z_{l,j}/T})] + log σ(y z_L),
    z_l = W_l^T D_{l-1} z_{l-1}.

At temperature 0 the gates are h = 1[z > 0], their own terms vanish, and the M-step is back-propagation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend

from .checks import check_examples, check_labels, check_weights
from .enumeration import (
    check_size,
    check_temperature,
    exact_posterior,
    gate_law,
    log_label,
    log_marginals,
    n_gates,
    relu_states,
    state_bits,
)
from .network import Network
from .streams import Seed, spawn_streams, uniform

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
    if temperature > 0 and (network.input_pools or any(layer.pools for layer in network.layers)):
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


def complete_likelihood(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    sample: GateSample,
    temperature: float,
    ops: Backend,
) -> tuple[float, list[Array]]:
    """Q = Σ_i E_{q_i} log µ(y_i,h|x_i) and its gradient in the weights for fixed gates (device arrays).

    x (m, n_0), y (m,). Sums over configurations in blocks, so that memory stays bounded.
    """
    m, states = sample.q.shape
    block = max(1, STATE_BLOCK // (m * max(w.shape[1] for w in weights)))
    value, total = 0.0, [ops.zeros(tuple(w.shape)) for w in weights]
    for first in range(0, states, block):
        part = slice(first, first + block)
        piece = GateSample(sample.bits[:, part, :], sample.q[:, part])
        v, gradient = _block_likelihood(weights, x, y, piece, temperature, ops)
        value, total = value + v, [a + b for a, b in zip(total, gradient, strict=True)]
    return value, total


def _block_likelihood(
    weights: Sequence[Array], x: Array, y: Array, sample: GateSample, temperature: float, ops: Backend
) -> tuple[float, list[Array]]:
    xp, q = ops.xp, sample.q
    inputs, gates, local, log_law = [x[:, None, :]], [], [], xp.zeros_like(q)
    start = 0
    for w in weights[:-1]:
        z = ops.matmul(inputs[-1], w)
        h = sample.bits[:, :, start : start + z.shape[2]]
        start += z.shape[2]
        if temperature > 0:
            field = z / temperature
            log_law = log_law + xp.sum(h * field - xp.logaddexp(xp.zeros_like(field), field), axis=2)
            local.append((h - (1 + xp.tanh(field / 2)) / 2) / temperature)
        else:
            local.append(xp.zeros_like(z))
        inputs.append(h * z)
        gates.append(h)
    u = y[:, None] * ops.matmul(inputs[-1], weights[-1])[:, :, 0]
    value = ops.inner(q, log_law - xp.logaddexp(xp.zeros_like(u), -u))
    error = (q * y[:, None] * (1 - xp.tanh(u / 2)) / 2)[:, :, None]
    gradient: list[Array] = []
    for index in range(len(weights) - 1, -1, -1):
        signals = xp.broadcast_to(inputs[index], (*error.shape[:2], inputs[index].shape[2]))
        rows = [xp.reshape(a, (-1, a.shape[2])) for a in (signals, error)]
        gradient.insert(0, ops.matmul(xp.matrix_transpose(rows[0]), rows[1]))
        if index > 0:
            below = ops.matmul(error, xp.matrix_transpose(weights[index]))
            error = gates[index - 1] * below + q[:, :, None] * local[index - 1]
    return value, gradient


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
    ops, x = get_backend(backend), check_examples(network, x)
    if samples < 2 or check_temperature(temperature) == 0.0:
        raise ValueError(f"{samples} samples at temperature {temperature:g}: expected at least 2, at a temperature > 0")
    check_e_step(network, "monte_carlo", temperature, "logistic")
    w, rows = check_weights(network, weights, ops), ops.asarray(x.reshape(x.shape[0], -1))
    rng = spawn_streams(seed, 1)[0]
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


@dataclass(frozen=True)
class FreeEnergy:
    """The split (9) of the logistic risk, nats an example: ``risk`` = ``entropy`` S(µ(y|x)) + ``kl`` to the model."""

    risk: float
    entropy: float
    kl: float


def free_energy(x: HostArray, y: HostArray, log_marginal: HostArray) -> FreeEnergy:
    """The split (9) with the empirical law of the label given the input: identical rows of x are one input.

    `log_marginal` (m, 2): the model's log µ(y|x) for y = -1, +1.
    """
    rows = x.reshape(x.shape[0], -1)
    _, first, group, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    positive = np.bincount(group.reshape(-1), weights=y > 0) / counts
    law = np.stack([1.0 - positive, positive], axis=1)
    share = counts / rows.shape[0]
    log_law = np.log(law, out=np.zeros_like(law), where=law > 0)
    entropy = -float(share @ np.sum(law * log_law, axis=1))
    kl = float(share @ np.sum(law * (log_law - log_marginal[first]), axis=1))
    return FreeEnergy(-float(np.mean(np.where(y > 0, log_marginal[:, 1], log_marginal[:, 0]))), entropy, kl)


@dataclass(frozen=True)
class EMResult:
    """Final ``weights`` and, per iteration (0: the start), ``history``.

    Keys: "log_likelihood" (exact, mean an example, nats), "bound" (the evidence bound that the M-step left behind),
    "entropy" and "kl" (the free-energy split (9); their sum is -log_likelihood), "gate_entropy" (mean of µ(h|x); 0 at
    temperature 0), "step" (0 where the line search found no ascent).
    """

    weights: list[HostArray]
    history: dict[str, HostArray]


def expectation_maximization(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    *,
    temperature: float,
    e_step: str = "exact",
    iterations: int = 100,
    learning_rate: float = 1.0,
    samples: int = 100,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> EMResult:
    """Generalised EM on a dense network small enough to enumerate (which is how the likelihood is recorded).

    Each M-step is one gradient step on Q/m. The exact E-step halves it until Q grows by Armijo's share of what the
    gradient promises, starting from twice the last accepted step (`learning_rate` at first): the likelihood then
    never decreases. Monte Carlo and zero temperature take steps of `learning_rate`.
    """
    check_e_step(network, e_step, temperature, "logistic")
    if any(layer.convolutional for layer in network.layers):
        raise ValueError("expectation_maximization enumerates dense networks only: use a multilayer perceptron")
    ops, x = get_backend(backend), check_examples(network, x)
    y = check_labels(y, x.shape[0])
    w = check_weights(network, weights, ops)
    rows, labels = ops.asarray(x.reshape(x.shape[0], -1)), ops.asarray(y)
    rng, step = spawn_streams(seed, 1)[0], learning_rate
    records = [_record(network, w, x, y, temperature, None, 0.0, ops)]
    for _ in range(iterations):
        sample = expect(network, w, x, y, e_step, temperature, ops, rng, samples)
        start, gradient = complete_likelihood(network, w, rows, labels, sample, temperature, ops)
        if e_step == "exact":
            w, step, reached = _line_search(network, w, rows, labels, sample, temperature, ops, start, gradient, step)
            bound = (reached + _entropy(sample, ops)) / x.shape[0]
            records.append(_record(network, w, x, y, temperature, bound, step, ops))
            step = 2.0 * step if step > 0 else learning_rate
        else:
            w = [a + learning_rate / x.shape[0] * g for a, g in zip(w, gradient, strict=True)]
            records.append(_record(network, w, x, y, temperature, None, learning_rate, ops))
    history = {name: np.array([r[name] for r in records]) for name in records[0]}
    return EMResult([ops.to_numpy(a) for a in w], history)


def _line_search(
    network: Network,
    w: list[Array],
    x: Array,
    y: Array,
    sample: GateSample,
    temperature: float,
    ops: Backend,
    start: float,
    gradient: list[Array],
    step: float,
) -> tuple[list[Array], float, float]:
    """(weights, accepted step, Q): the step is halved until Armijo's condition holds; 0 at a stationary point."""
    m = x.shape[0]
    slope = sum(ops.inner(g, g) for g in gradient) / m
    for _ in range(60):
        trial = [a + step / m * g for a, g in zip(w, gradient, strict=True)]
        reached, _ = complete_likelihood(network, trial, x, y, sample, temperature, ops)
        if math.isfinite(reached) and reached >= start + 1e-4 * step * slope:
            return trial, step, reached
        step /= 2.0
    return w, 0.0, start


def _entropy(sample: GateSample, ops: Backend) -> float:
    q = ops.to_numpy(sample.q).astype(np.float64)
    return -float(np.sum(q * np.log(q, out=np.zeros_like(q), where=q > 0)))


def _record(
    network: Network,
    w: list[Array],
    x: HostArray,
    y: HostArray,
    temperature: float,
    bound: float | None,
    step: float,
    ops: Backend,
) -> dict[str, float]:
    """Exact likelihood and its split; the bound of the exact E-step, or the one at the forward law."""
    if temperature > 0:
        law = gate_law(network, w, x, temperature, ops)
        log_marginal, entropy = law.log_marginal, float(law.entropy.mean())
        forward = float(np.mean(np.where(y > 0, law.bound[:, 1], law.bound[:, 0])))
    else:
        log_marginal, entropy = log_marginals(network, w, x, 0.0, ops), 0.0
        forward = float(np.mean(np.where(y > 0, log_marginal[:, 1], log_marginal[:, 0])))
    split = free_energy(x, y, log_marginal)
    return {
        "log_likelihood": -split.risk,
        "bound": forward if bound is None else bound,
        "entropy": split.entropy,
        "kl": split.kl,
        "gate_entropy": entropy,
        "step": step,
    }
