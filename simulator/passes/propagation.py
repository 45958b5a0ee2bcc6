"""Forward and backward passes with explicit gates.

Frozen gates make T linear in every single layer: x_l = D_l W_l^T x_{l-1} forward and
δ_l = D_l W_{l+1} δ_{l+1} backward, where D_l holds the 0/1 gates of layer l, max-pool choices included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backends import Array, Backend
from simulator.network.layers import Layer, MaxPool, Pool, scaled, select, window_of
from simulator.network.network import Network
from simulator.streams import Numbers

from .laws import Choices, Gates

Pair = tuple[Array, Array]


@dataclass(frozen=True)
class Signals:
    """A forward pass over m examples: ``inputs`` x_0..x_{L-1}, ``gates`` of layers 1..L-1, ``output`` T (m,)."""

    inputs: tuple[Array, ...]
    gates: tuple[Array, ...]
    output: Array

    def take(self, xp: Any, rows: Array) -> Signals:
        """The same pass restricted to some examples."""
        return Signals(
            tuple(xp.take(x, rows, axis=0) for x in self.inputs),
            tuple(xp.take(h, rows, axis=0) for h in self.gates),
            xp.take(self.output, rows, axis=0),
        )


def _rows(ops: Backend, layer: Layer, x: Array) -> Array:
    """Images flattened to rows in front of a dense layer; a leading probe axis is kept."""
    if len(layer.input_shape) == 1:
        return x
    return ops.xp.reshape(x, (*x.shape[:-3], layer.weight_shape[0]))


def _total(terms: list[Array]) -> Array:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def patches(ops: Backend, layer: Layer, x: Array) -> Array:
    """What every site of a layer reads: x (m, *input_shape) -> (m, sites, fan_in), in the order of its weights."""
    if layer.convolutional:
        x = ops.patches(x, layer.weight_shape[0])
    return ops.xp.reshape(x, (x.shape[0], -1, layer.fan_in))


def linear(ops: Backend, layer: Layer, *pairs: Pair) -> Array:
    """z = Σ W^T x over the pairs (x, W): ([K,] m, *input_shape) -> ([K,] m, *gate_shape)."""
    if layer.convolutional:
        return ops.convolve(*pairs)
    return _total([ops.matmul(_rows(ops, layer, x), w) for x, w in pairs])


def linear_gated(ops: Backend, layer: Layer, mask: Array, *pairs: Pair) -> Array:
    """D_l Σ W^T x over the pairs (x, W), pooled, for frozen gates: ([K,] m, *input_shape) -> what layer l+1 reads."""
    if layer.convolutional:
        return scaled(ops.convolve_gated(mask, layer.window, *pairs), layer.scale)
    return apply_frozen(ops, layer, mask, linear(ops, layer, *pairs))


def apply_frozen(ops: Backend, layer: Layer, mask: Array, z: Array) -> Array:
    """D_l z pooled, for frozen gates: ([K,] m, *gate_shape) -> what layer l+1 reads."""
    return scaled(ops.apply_gates(mask, z, layer.window), layer.scale)


def linear_adjoint(ops: Backend, layer: Layer, *pairs: Pair) -> Array:
    """Σ W δ over the pairs (δ, W): ([K,] m, *gate_shape) -> ([K,] m, *input_shape)."""
    if layer.convolutional:
        return ops.convolve_adjoint(*pairs)
    xp = ops.xp
    rows = _total([ops.matmul(d, xp.matrix_transpose(w)) for d, w in pairs])
    return rows if len(layer.input_shape) == 1 else xp.reshape(rows, (*rows.shape[:-1], *layer.input_shape))


def linear_adjoint_gated(ops: Backend, layer: Layer, below: Layer, mask: Array, *pairs: Pair) -> Array:
    """D_{l-1} Σ W δ over the pairs (δ, W), `below` and `mask` those of layer l-1: ([K,] m, *gate_shape of l-1)."""
    if layer.convolutional:
        return scaled(ops.convolve_adjoint_gated(mask, below.window, *pairs), below.scale)
    return scaled(ops.spread_gates(mask, linear_adjoint(ops, layer, *pairs), below.window), below.scale)


def linear_gradient(ops: Backend, layer: Layer, *pairs: Pair) -> Array:
    """Σ_i x_i δ_i^T over the pairs (x, δ) and the examples -> ([K,] *weight_shape)."""
    if layer.convolutional:
        return ops.convolve_gradient(layer.weight_shape[0], *pairs)
    xp = ops.xp
    return _total([ops.matmul(xp.matrix_transpose(_rows(ops, layer, x)), d) for x, d in pairs])


def example_gradients(ops: Backend, layer: Layer, x: Array, d: Array) -> Array:
    """x_i δ_i^T of every example: x (m, *input_shape), δ (m, *gate_shape) -> (m, *weight_shape)."""
    return linear_gradient(ops, layer, (x[:, None, ...], d[:, None, ...]))


def propagate(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    ops: Backend,
    temperature: float = 0.0,
    rng: Numbers | None = None,
) -> Signals:
    """Forward pass of device examples x (m, *input_shape).

    At temperature 0 the gates are h = 1[z > 0] (7); above it they are drawn on the host from
    P(h = 1) = σ(z/T), with z from the weights as they are, max-pools choose by (F4), and `rng` is needed.
    """
    passed = list(_layers(network, weights, x, ops, temperature, rng))
    return Signals(
        tuple(x for x, _ in passed),
        tuple(mask for _, mask in passed[1:]),
        _top(network, weights, passed[-1][0], ops),
    )


def propagate_output(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    ops: Backend,
    temperature: float = 0.0,
    rng: Numbers | None = None,
) -> Array:
    """T (m,) of the same pass, no layer's signals kept for longer than the next one needs them."""
    for reached, _ in _layers(network, weights, x, ops, temperature, rng):
        x = reached
    return _top(network, weights, x, ops)


def _layers(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    ops: Backend,
    temperature: float,
    rng: Numbers | None,
) -> Iterator[tuple[Array, Array]]:
    """(x_0, None), then (x_l, gates) of layers 1..L-1."""
    x = first_inputs(network, x, ops, temperature, rng)
    yield x, None
    for layer, w in zip(network.layers[:-1], weights[:-1], strict=True):
        if temperature == 0.0 and layer.convolutional:
            x, mask = _behind_maxima(ops, layer, *ops.convolve_and_gate(x, w, layer.first_maxima))
        else:
            x, mask = gate_layer(ops, layer, linear(ops, layer, (x, w)), temperature, rng)
        yield x, mask


def first_inputs(
    network: Network, x: Array, ops: Backend, temperature: float = 0.0, rng: Numbers | None = None
) -> Array:
    """x_0, the examples behind the pools in front of the first layer."""
    for pool in network.input_pools:
        if temperature == 0.0:
            x = scaled(pool.select(ops, x)[0], pool.scale)
        else:
            x, _ = _draw_pool(ops, pool, x, temperature, _needed(rng, temperature))
    return x


def gate_layer(
    ops: Backend, layer: Layer, z: Array, temperature: float = 0.0, rng: Numbers | None = None
) -> tuple[Array, Array]:
    """What layer l hands on, (x_l = D_l z_l behind its pools, mask), from z (m, *gate_shape).

    At temperature 0 gates are h = 1[z > 0] and max-pools select a maximum; above it both are drawn, a site by (F4).
    """
    if temperature == 0.0:
        return _behind_maxima(ops, layer, *ops.gate(z, layer.first_maxima))
    numbers, gates = _needed(rng, temperature), Gates()
    mask = gates.draw(ops, z, temperature, numbers)
    x, window = gates.hand_on(ops, mask, z), 1
    for pool in layer.pools:
        x, selected = _draw_pool(ops, pool, x, temperature, numbers)
        mask = ops.spread_gates(mask, ops.xp.astype(selected, x.dtype), window) > 0
        window *= pool.size
    return x, mask


def _behind_maxima(ops: Backend, layer: Layer, x: Array, mask: Array) -> tuple[Array, Array]:
    """The pools that kernels do not take along with the gates."""
    done = len(layer.first_maxima)
    x, mask = select(ops, layer.pools[done:], x, mask, window_of(layer.pools[:done]))
    return scaled(x, layer.scale), mask


def _top(network: Network, weights: Sequence[Array], x: Array, ops: Backend) -> Array:
    return linear(ops, network.layers[-1], (x, weights[-1]))[:, 0]


def _draw_pool(ops: Backend, pool: Pool, x: Array, temperature: float, rng: Numbers) -> tuple[Array, Array]:
    """(what a pool hands on, the sites that it selects); means are taken as such, since choices see their size."""
    if not isinstance(pool, MaxPool):
        sums, selected = pool.select(ops, x)
        return scaled(sums, pool.scale), selected
    law = Choices(pool.size)
    chosen = law.draw(ops, x, temperature, rng)
    return law.hand_on(ops, chosen, x), chosen


def _needed(rng: Numbers | None, temperature: float) -> Numbers:
    if rng is None:
        raise ValueError(f"temperature {temperature:g} needs a random generator: pass a seed")
    return rng


def backpropagate(
    network: Network, weights: Sequence[Array], signals: Signals, top: Array, ops: Backend
) -> list[Array]:
    """Signals δ_l = Σ ∂(top · T)/∂z_l of layers 1..L for frozen gates; `top` (m,) is δ_L, for instance c."""
    errors = [top[:, None]]
    for index in range(network.depth - 1, 0, -1):
        layer, below = network.layers[index], network.layers[index - 1]
        pair = (errors[0], weights[index])
        errors.insert(0, linear_adjoint_gated(ops, layer, below, signals.gates[index - 1], pair))
    return errors


def assemble_gradient(network: Network, signals: Signals, errors: Sequence[Array], ops: Backend) -> list[Array]:
    """Σ_i x_{l-1,i} δ_{l,i}^T for every layer: ∇R, sums of circuits (16)."""
    parts = zip(network.layers, signals.inputs, errors, strict=True)
    return [linear_gradient(ops, layer, (x, d)) for layer, x, d in parts]
