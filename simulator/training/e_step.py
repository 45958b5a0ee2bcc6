"""The E-step: where the gates of a learning step come from, and Monte Carlo sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray
from simulator.enumeration.gates import (
    check_size,
    check_temperature,
    exact_posterior,
    log_label,
    n_gates,
    relu_states,
    state_bits,
)
from simulator.inputs import check_weights
from simulator.network.network import Network
from simulator.passes.risk import check_pools
from simulator.streams import uniform

E_STEPS = ("zero_temperature", "monte_carlo", "posterior", "exact")
STATE_BLOCK = 1 << 20  # numbers per signal array when configurations are summed in blocks


def check_e_step(network: Network, e_step: str, temperature: float, loss: str, choosing_pools: bool = False) -> None:
    """Raise `ValueError` where an E-step, a temperature, a loss and a network do not go together."""
    if e_step not in E_STEPS:
        raise ValueError(f"e_step {e_step!r} is unknown: use one of {', '.join(E_STEPS)}")
    if (e_step == "zero_temperature") != (check_temperature(temperature) == 0.0):
        raise ValueError(
            f"e_step {e_step!r} at temperature {temperature:g}: zero_temperature needs temperature 0, the others > 0"
        )
    check_pools(network, temperature, choosing_pools)
    if e_step in ("exact", "posterior") and loss != "logistic":
        raise ValueError(f"loss {loss!r} is not a likelihood: the {e_step} E-step needs 'logistic'")
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
    """The E-step: all configurations with their posterior (exact), `samples` draws from the forward law (monte_carlo),
    the same with shares in proportion to µ(y|x,h) (posterior), or the one h = 1[z > 0] (zero_temperature)."""
    m, gates = x.shape[0], n_gates(network)
    if e_step == "exact":
        return exact_gates(network, weights, x, y, temperature, ops)
    w, rows = check_weights(network, weights, ops), ops.asarray(x.reshape(m, -1))
    if e_step == "zero_temperature":
        bits = state_bits(relu_states(ops, w, rows), gates)[:, None, :]
        return GateSample(ops.asarray(bits), ops.asarray(np.ones((m, 1))))
    bits = draw_gates(w, rows, temperature, samples, ops, rng)
    if e_step == "monte_carlo":
        return GateSample(bits, ops.asarray(np.full((m, samples), 1 / samples)))
    log = log_label(np, y[:, None] * _outputs(ops, w, rows, bits))[1]
    return GateSample(bits, ops.asarray(np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True))))


def exact_gates(
    network: Network, weights: Sequence[Any], x: HostArray, y: HostArray, temperature: float, ops: Backend
) -> GateSample:
    """All 2^G configurations with their posterior µ(h|x,y)."""
    check_size(network, x.shape[0], limit=1 << 24)
    q = exact_posterior(network, weights, x, y, temperature, ops)
    states = np.arange(q.shape[1], dtype=np.int64)
    return GateSample(ops.asarray(state_bits(states, n_gates(network))[None]), ops.asarray(q))


def _outputs(ops: Backend, weights: Sequence[Array], x: Array, bits: Array) -> HostArray:
    """T(x_i, h) of configurations (m, samples, G), in float64 on the host."""
    start, signal = 0, x[:, None, :]
    for w in weights[:-1]:
        signal = bits[:, :, start : start + w.shape[1]] * ops.matmul(signal, w)
        start += w.shape[1]
    return ops.to_numpy(ops.matmul(signal, weights[-1])[:, :, 0]).astype(np.float64)


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
