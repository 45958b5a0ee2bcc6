"""One network under many sign patterns of its weights at once: forward pass, gradient and Hessian entries of T.

A pattern p is an integer: bit j set means that the j-th intact weight, in flat order, is negative. Weights carry a
leading axis of patterns, and z = W^T x is summed in index order by separate multiplications and additions, so that
every namespace and every kernel rounds alike and an exact tie z = 0 stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends import Array, Backend, HostArray
from simulator.network.network import Network


@dataclass(frozen=True)
class PatternSignals:
    """A forward pass of one input under P patterns, on the device.

    ``weights``: L arrays (P, n_{l-1}, n_l). ``inputs``: x_0..x_{L-1}, (P, n_l). ``fields``: z_1..z_{L-1}.
    ``output``: T, (P,).
    """

    weights: tuple[Array, ...]
    inputs: tuple[Array, ...]
    fields: tuple[Array, ...]
    output: Array


def signed_weights(
    network: Network, magnitudes: HostArray, bits: HostArray, patterns: HostArray, ops: Backend
) -> list[Array]:
    """Weights (P, n_{l-1}, n_l) per layer under patterns (P,), from flat magnitudes and sign bits, (N,), -1: none."""
    negative = (patterns[:, None] >> np.maximum(bits, 0)) & (bits >= 0)
    flat = np.where(negative, -magnitudes, magnitudes)
    parts = zip(network.slices, network.weight_shapes, strict=True)
    return [ops.asarray(flat[:, part].reshape(-1, *shape)) for part, shape in parts]


def _ordered_product(x: Array, w: Array) -> Array:
    """W^T x of every pattern, summed in index order: (P, n), (P, n, k) -> (P, k)."""
    total = x[:, 0, None] * w[:, 0, :]
    for a in range(1, w.shape[1]):
        total = total + x[:, a, None] * w[:, a, :]
    return total


def propagate_patterns(weights: Sequence[Array], x: HostArray, ops: Backend) -> PatternSignals:
    """Forward pass of one input x (n_0,) at temperature 0, h = 1[z > 0]."""
    inputs, fields = [ops.asarray(np.broadcast_to(x, (weights[0].shape[0], x.size)))], []
    for w in weights[:-1]:
        z = _ordered_product(inputs[-1], w)
        fields.append(z)
        inputs.append(ops.apply_gates(z > 0, z, 1))
    return PatternSignals(tuple(weights), tuple(inputs), tuple(fields), _ordered_product(inputs[-1], weights[-1])[:, 0])


def pattern_gradients(signals: PatternSignals, ops: Backend) -> list[Array]:
    """∂T/∂W_l of every pattern with frozen gates, of circuits (16) without the loss: L arrays (P, n_{l-1}, n_l)."""
    xp = ops.xp
    above = xp.ones_like(signals.output)[:, None]
    gradients: list[Array] = []
    for layer in range(len(signals.weights) - 1, -1, -1):
        gradients.insert(0, signals.inputs[layer][:, :, None] * above[:, None, :])
        if layer > 0:
            below = xp.sum(signals.weights[layer] * above[:, None, :], axis=2)
            above = ops.apply_gates(signals.fields[layer - 1] > 0, below, 1)
    return gradients


def pattern_hessian(signals: PatternSignals, layers: tuple[int, int], ops: Backend) -> Array:
    """∂²T/∂W_l∂W_l' of every pattern, l < l' (0 for the first): (P, n_{l-1}, n_l, n_{l'-1}, n_{l'}), terms of (18).

    x_{l-1,a} J_{bc} δ_{l',d}, with J the Jacobian from z_l to x_{l'-1} and δ_{l'} = ∂T/∂z_{l'}.
    """
    xp, (low, high) = ops.xp, layers
    if not 0 <= low < high < len(signals.weights):
        raise ValueError(f"layers {layers} are not a block: use two different layers, the lower first (0 is layer 1)")
    gates = [xp.astype(z > 0, z.dtype) for z in signals.fields]
    jacobian = ops.asarray(np.eye(gates[low].shape[1]))[None, :, :] * gates[low][:, None, :]
    for layer in range(low + 1, high):
        jacobian = ops.matmul(jacobian, signals.weights[layer]) * gates[layer][:, None, :]
    above = xp.ones_like(signals.output)[:, None]
    for layer in range(len(signals.weights) - 1, high, -1):
        above = xp.sum(signals.weights[layer] * above[:, None, :], axis=2) * gates[layer - 1]
    left = signals.inputs[low][:, :, None, None, None] * jacobian[:, None, :, :, None]
    return left * above[:, None, None, None, :]
