"""Exact statistical mechanics of small networks: sums over all 2^G gate configurations.

The tree of configurations is walked layer by layer: a block of prefixes (h_1..h_l) meets all states of the next
layer in one matrix product, and only a bounded block of leaves exists at a time. Probabilities stay logarithms
throughout. `Backend.log_marginals` may offer a specialised twin for the marginal alone.

The temperature divides the logits of the hidden gates only; the label's law is σ(T(x)) at every temperature. (The
paper's temperature is the scale of all weights, W = Ŵ/T, the label's logit included.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_examples, check_labels, check_weights
from simulator.network.network import Network
from simulator.passes.propagation import linear
from simulator.passes.risk import output
from simulator.shown import shown

MAX_CONFIGURATIONS = 1 << 36  # gate configurations times inputs: minutes with the default backend
MAX_STATES = 1 << 26  # posterior probabilities held at once: 0.5 GB
LEAVES = 1 << 18  # leaves of the tree in memory at a time


class EnumerationError(ValueError):
    """A case with more terms than an exact sum should attempt; the message has the number."""


@dataclass(frozen=True)
class Leaves:
    """A block of S gate configurations of all m inputs.

    ``states`` (S,), host: their indices Σ 2^k h_k, gates in layer order. On the device: ``log_prior`` (m, S) =
    log µ(h|x), ``energy`` (m, S) = -Σ_l z_l·h_l (9) and ``output`` (m, S) = T(x, h).
    """

    states: HostArray
    log_prior: Array
    energy: Array
    output: Array


def n_gates(network: Network) -> int:
    """G, the number of hidden gates."""
    return sum(math.prod(layer.gate_shape) for layer in network.layers[:-1])


def layer_matrices(network: Network, weights: Sequence[Any], ops: Backend) -> list[Array]:
    """Every layer as a dense matrix (inputs, outputs) on flattened signals, convolutions written out.

    Raises `ValueError` for pools: a max-pool has no finite-temperature law.
    """
    if network.input_pools or any(layer.pools for layer in network.layers):
        raise ValueError("gates are enumerated for networks without pools: leave the pools out, or sample the gates")
    matrices = []
    for layer, w in zip(network.layers, check_weights(network, weights, ops), strict=True):
        size = math.prod(layer.input_shape)
        units = ops.asarray(np.eye(size).reshape(size, *layer.input_shape))
        matrices.append(ops.xp.reshape(linear(ops, layer, (units, w)), (size, -1)))
    return matrices


def prepare(
    network: Network, weights: Sequence[Any], x: Any, backend: str | Backend | None
) -> tuple[Backend, list[Array], Array]:
    """(backend, layer matrices, flattened inputs (m, n_0)) on the device."""
    ops = get_backend(backend)
    host = check_examples(network, x, ops.dtype)
    return ops, layer_matrices(network, weights, ops), ops.asarray(host.reshape(host.shape[0], -1))


def check_size(network: Network, inputs: int, limit: int = MAX_CONFIGURATIONS) -> None:
    """Raise `EnumerationError` where 2^G configurations times the inputs exceed the limit."""
    gates = n_gates(network)
    if inputs * 2.0**gates > limit:
        raise EnumerationError(
            f"{gates} gates and {inputs} inputs make {inputs * 2.0**gates:.3g} configurations, above {limit:.3g}: "
            "use a smaller network or fewer inputs, or Monte Carlo marginals"
        )


def bit_table(n: int) -> HostArray:
    """All states of n gates, (2^n, n) of 0.0 and 1.0: row s holds the bits of s, lowest first."""
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def iterate_leaves(ops: Backend, matrices: Sequence[Array], x: Array, temperature: float) -> Iterator[Leaves]:
    """All configurations of flattened inputs x (m, n_0), block by block; Σ exp(log_prior) = 1 for every input."""
    nothing = ops.zeros((x.shape[0], 1))
    root = _Prefixes(np.zeros(1, dtype=np.int64), nothing, nothing, ops.matmul(x, matrices[0])[:, None, :])
    yield from _descend(ops, matrices, temperature, 1, 0, root)


@dataclass(frozen=True)
class _Prefixes:
    """Configurations of layers: ``states`` (P,), ``log_prior`` and ``energy`` (m, P), and the next ``z`` (m, P, n)."""

    states: HostArray
    log_prior: Array
    energy: Array
    z: Array


def _descend(
    ops: Backend, matrices: Sequence[Array], temperature: float, layer: int, shift: int, prefixes: _Prefixes
) -> Iterator[Leaves]:
    """Extend prefixes by all states of `layer`, a bounded number of leaves at a time."""
    if layer == len(matrices):
        yield Leaves(prefixes.states, prefixes.log_prior, prefixes.energy, prefixes.z[:, :, 0])
        return
    xp, (m, _, n) = ops.xp, prefixes.z.shape
    leaves = max(2, LEAVES // m)
    low = min(n, int(math.log2(leaves)))
    per_block = max(1, leaves >> low)
    for first in range(0, prefixes.states.size, per_block):
        part = slice(first, min(first + per_block, prefixes.states.size))
        z = prefixes.z[:, part, :]
        # log µ(h_l | prefix) = Σ_j [h_j z_j/T - log(1 + e^{z_j/T})]
        normaliser = xp.sum(xp.logaddexp(xp.zeros_like(z), z / temperature), axis=2)
        before = (prefixes.log_prior[:, part] - normaliser)[:, :, None]
        below = prefixes.energy[:, part][:, :, None]
        for high in range(1 << (n - low)):
            index = np.arange(1 << low, dtype=np.int64) + (high << low)
            bits = ops.asarray(state_bits(index, n))
            # Both terms of log µ are divided before they are summed: at low temperature they cancel to rounding.
            exponent = ops.matmul(z / temperature, xp.matrix_transpose(bits))
            log_prior, energy = (xp.reshape(a, (m, -1)) for a in (before + exponent, below - temperature * exponent))
            signals = xp.reshape(z[:, :, None, :] * bits, (m, -1, n))
            states = (prefixes.states[part, None] + (index << shift)).reshape(-1)
            extended = _Prefixes(states, log_prior, energy, ops.matmul(signals, matrices[layer]))
            yield from _descend(ops, matrices, temperature, layer + 1, shift + n, extended)


def state_bits(states: HostArray, n: int) -> HostArray:
    """Gates of states (S,) as 0.0 and 1.0: (S, n), lowest bit first."""
    return ((states[:, None] >> np.arange(n)) & 1).astype(np.float64)


def log_sum_exp(xp: Any, values: Array) -> Array:
    """log Σ exp over the last axis."""
    top = xp.max(values, axis=-1)
    return top + xp.log(xp.sum(xp.exp(values - top[..., None]), axis=-1))


def log_label(xp: Any, t: Array) -> Array:
    """log σ(y T) for y = -1 and +1, stacked in front: (2, ...)."""
    zero = xp.zeros_like(t)
    return -xp.stack([xp.logaddexp(zero, t), xp.logaddexp(zero, -t)], axis=0)


def check_temperature(temperature: float) -> float:
    """A finite number >= 0."""
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature {temperature!r} is not usable: use a number >= 0")
    return float(temperature)


def log_marginals(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    backend: str | Backend | None = None,
    max_configurations: int = MAX_CONFIGURATIONS,
) -> HostArray:
    """log µ(y|x) for y = -1 and +1, (m, 2), exactly: the sum over 2^G gate configurations.

    µ(y|x) = Σ_h Π_l µ_l(h_l|O_{l-1}) σ(y T(x, h)); at temperature 0 the one configuration h = 1[z > 0] (7) is left.
    Raises `EnumerationError` beyond `max_configurations` = 2^G m, `ValueError` for pools.
    """
    if check_temperature(temperature) == 0.0:
        log: HostArray = log_label(np, output(network, weights, x, backend).astype(np.float64)).T
        return log
    ops, matrices, rows = prepare(network, weights, x, backend)
    check_size(network, rows.shape[0], max_configurations)
    quick = ops.log_marginals(matrices, rows, temperature)
    return ops.to_numpy(_log_marginals(ops, matrices, rows, temperature) if quick is None else quick)


def _log_marginals(ops: Backend, matrices: Sequence[Array], x: Array, temperature: float) -> Array:
    """The sums of `log_marginals` by log-sum-exp over blocks of leaves: (m, n_0) -> (m, 2)."""
    xp, total = ops.xp, None
    for leaves in iterate_leaves(ops, matrices, x, temperature):
        block = log_sum_exp(xp, leaves.log_prior + log_label(xp, leaves.output))
        total = block if total is None else xp.logaddexp(total, block)
    return xp.matrix_transpose(total)


def exact_marginal(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    backend: str | Backend | None = None,
    max_configurations: int = MAX_CONFIGURATIONS,
) -> HostArray:
    """µ(y = +1|x), (m,), summed over all gate configurations: see `log_marginals`."""
    log = log_marginals(network, weights, x, temperature, backend, max_configurations)
    probability: HostArray = np.exp(log[:, 1])
    return probability


def exact_posterior(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    temperature: float,
    backend: str | Backend | None = None,
) -> HostArray:
    """µ(h|x,y), (m, 2^G): the state index is Σ 2^k h_k with gates k in layer order; every row sums to 1."""
    ops, matrices, rows = prepare(network, weights, x, backend)
    m, gates = rows.shape[0], n_gates(network)
    labels = check_labels(y, m)
    if m * 2.0**gates > MAX_STATES:
        raise EnumerationError(
            f"the posterior of {m} inputs over {gates} gates has {m * 2.0**gates:.3g} entries, the limit is "
            f"{MAX_STATES:.3g}: use a smaller network or fewer inputs"
        )
    if check_temperature(temperature) == 0.0:  # one configuration is left, whatever the label
        posterior = np.zeros((m, 1 << gates))
        posterior[np.arange(m), relu_states(ops, matrices, rows)] = 1.0
        return posterior
    log_joint = np.empty((m, 1 << gates))
    for leaves in iterate_leaves(ops, matrices, rows, temperature):
        log_label_y = -np.logaddexp(0.0, -labels[:, None] * ops.to_numpy(leaves.output))
        log_joint[:, leaves.states] = ops.to_numpy(leaves.log_prior) + log_label_y
    law: HostArray = np.exp(log_joint - log_sum_exp(np, log_joint)[:, None])
    return law


def relu_states(ops: Backend, matrices: Sequence[Array], x: Array) -> HostArray:
    """The index of the configuration h = 1[z > 0] (7) of every input, (m,)."""
    states, shift = np.zeros(x.shape[0], dtype=np.int64), 0
    for w in matrices[:-1]:
        z = ops.matmul(x, w)
        on = ops.to_numpy(z > 0)
        states += on.astype(np.int64) @ (1 << (shift + np.arange(z.shape[1], dtype=np.int64)))
        x, shift = ops.apply_gates(z > 0, z, 1), shift + z.shape[1]
    return states


@shown
@dataclass(frozen=True)
class GateLaw:
    """Exact statistics of the gates of each input (natural logarithms), host arrays.

    ``log_marginal`` (m, 2): log µ(y|x) for y = -1, +1. ``entropy`` (m,): of µ(h|x). ``posterior_entropy`` (m, 2): of
    µ(h|x,y). ``kl`` (m, 2): KL(µ(h|x,y) || µ(h|x)), the information that the label brings about the gates.
    ``bound`` (m, 2): E_{µ(h|x)} log µ(y|h,x), the evidence bound at the forward law. ``mean_output`` (m,): E T.
    ``gate_means`` (m, G): P(h_k = 1 | x), gates in layer order.
    """

    log_marginal: HostArray
    entropy: HostArray
    posterior_entropy: HostArray
    kl: HostArray
    bound: HostArray
    mean_output: HostArray
    gate_means: HostArray


def gate_law(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    backend: str | Backend | None = None,
    max_configurations: int = MAX_CONFIGURATIONS,
) -> GateLaw:
    """Entropies, divergences, bounds and means by enumeration, in memory that does not grow with 2^G.

    Needs temperature > 0: at 0 the gates are a function of x and every entropy is 0.
    """
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves one configuration and no entropy: use a temperature > 0")
    log_marginal = log_marginals(network, weights, x, temperature, backend, max_configurations)
    ops, matrices, rows = prepare(network, weights, x, backend)
    xp, evidence = ops.xp, ops.asarray(log_marginal.T)[:, :, None]
    total: list[Any] = [0.0] * 6
    for leaves in iterate_leaves(ops, matrices, rows, temperature):
        prior, label = xp.exp(leaves.log_prior), log_label(xp, leaves.output)
        gain = label - evidence  # log µ(h|x,y) - log µ(h|x)
        posterior = xp.exp(leaves.log_prior + gain)
        bits = ops.asarray(state_bits(leaves.states, n_gates(network)))
        sums = (
            -xp.sum(prior * leaves.log_prior, axis=1),
            -xp.sum(posterior * (leaves.log_prior + gain), axis=2),
            xp.sum(posterior * gain, axis=2),
            xp.sum(prior * label, axis=2),
            xp.sum(prior * leaves.output, axis=1),
            ops.matmul(prior, bits),
        )
        total = [a + b for a, b in zip(total, sums, strict=True)]
    entropy, posterior_entropy, kl, bound, mean, on = (ops.to_numpy(t) for t in total)
    return GateLaw(log_marginal, entropy, posterior_entropy.T, kl.T, bound.T, mean, on)


def circuit_moments(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    paths: Any,
    temperature: float,
    orders: Sequence[int] = (1, 2),
    backend: str | Backend | None = None,
) -> HostArray:
    """Exact E[(x_{i_0} Ψ_i)^k] of circuits (11) over the law of the gates, (len(orders), m, n_paths).

    `paths` (n_paths, L+1) holds flat neuron indices i_0..i_L of a network without pools. Gates are 0 or 1, so every
    moment is (x_{i_0} Π w)^k times the probability that all gates of the path are on.
    """
    ops, matrices, rows = prepare(network, weights, x, backend)
    route = np.atleast_2d(np.asarray(paths, dtype=np.int64))
    if route.shape[1] != network.depth + 1:
        raise ValueError(f"paths have {route.shape[1]} entries: expected {network.depth + 1}, one per layer of neurons")
    check_size(network, rows.shape[0])
    host = [ops.to_numpy(w) for w in matrices]
    starts = np.cumsum([0, *(w.shape[1] for w in host[:-1])])[:-1]
    masks = np.sum(1 << (route[:, 1:-1] + starts), axis=1)
    amplitude = ops.to_numpy(rows)[:, route[:, 0]] * np.prod(
        [w[route[:, i], route[:, i + 1]] for i, w in enumerate(host)], axis=0
    )
    if check_temperature(temperature) == 0.0:
        on = (relu_states(ops, matrices, rows)[:, None] & masks == masks).astype(np.float64)
        return np.stack([amplitude**order * on for order in orders])
    probability = np.zeros(amplitude.shape)
    for leaves in iterate_leaves(ops, matrices, rows, temperature):
        hit = ops.asarray((leaves.states[:, None] & masks == masks).astype(np.float64))
        probability += ops.to_numpy(ops.matmul(ops.xp.exp(leaves.log_prior), hit))
    return np.stack([amplitude**order * probability for order in orders])
