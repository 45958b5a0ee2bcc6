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
from simulator.enumeration.gates import gate_law, log_marginals
from simulator.inputs import check_examples, check_labels, check_weights
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .e_step import STATE_BLOCK, GateSample, check_e_step, expect


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
        part = slice(first, min(first + block, states))
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


@shown
@dataclass(frozen=True)
class FreeEnergy:
    """The logistic risk split in two, nats an example: ``risk`` = ``entropy`` S(µ(y|x)) + ``kl`` to the model."""

    risk: float
    entropy: float
    kl: float


def free_energy(x: HostArray, y: HostArray, log_marginal: HostArray) -> FreeEnergy:
    """The split with the empirical law of the label given the input: identical rows of x are one input.

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


@shown
@dataclass(frozen=True)
class EMResult:
    """Final ``weights`` and, per iteration (0: the start), ``history``.

    Keys: "log_likelihood" (exact, mean an example, nats), "bound" (the evidence bound that the M-step left behind),
    "entropy" and "kl" (the free-energy split; their sum is -log_likelihood), "gate_entropy" (mean of µ(h|x); 0 at
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
    ops = get_backend(backend)
    x = check_examples(network, x, ops.dtype)
    y = check_labels(y, x.shape[0])
    w = check_weights(network, weights, ops)
    rows, labels = ops.asarray(x.reshape(x.shape[0], -1)), ops.asarray(y)
    rng, step = Streams(seed)("em gates"), learning_rate
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
