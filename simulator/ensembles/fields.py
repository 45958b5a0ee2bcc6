"""Signals drawn again from their Gram matrices: independent Gaussian fields in place of a layer's neurons.

The preactivations z_l of a layer are one field over its sites for each neuron. Mixed by independent Gaussian numbers,

    z'_l = µ_l + (z_l - µ_l) G / √n_l,    G (n_l, n_l),  G_ij ~ N(0, 1),

they are n_l independent Gaussian fields with the same mean over neurons µ_l and the same Gram matrix of z_l - µ_l:
nothing of size sites × sites is formed. So are the unmasked errors ω_l = W_{l+1} δ_{l+1}, with mixing numbers of their
own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backends import Array, Backend, HostArray
from simulator.hessian.frozen import per_example
from simulator.network.layers import scaled
from simulator.network.network import Network
from simulator.passes.drawn import DrawnGates, drawing
from simulator.passes.propagation import Signals, first_inputs, gate_layer, linear, linear_adjoint
from simulator.streams import Numbers


@dataclass(frozen=True)
class FieldScales:
    """Root mean squares over sites of every neuron's fields, ``forward`` of z (n_l,), ``backward`` of ω (n_l,)."""

    forward: HostArray
    backward: HostArray


@dataclass(frozen=True)
class Mixing:
    """How the fields of a layer are drawn again: z' = b µ + (z - b µ) F with µ = Σ_j a_j z_j, and ω' = ω B.

    ``forward`` F and ``backward`` B (n_l, n_l); ``taken`` a and ``given`` b (n_l,). Device or host arrays.
    """

    forward: Array
    backward: Array
    taken: Array
    given: Array

    def on_device(self, ops: Backend) -> Mixing:
        """The same on a backend's device, in its dtype."""
        return Mixing(*(ops.asarray(a) for a in (self.forward, self.backward, self.taken, self.given)))

    def preactivations(self, ops: Backend, z: Array) -> Array:
        """z' (m, ..., n_l)."""
        mean = ops.xp.sum(z * self.taken, axis=-1, keepdims=True) * self.given
        return mean + ops.matmul(z - mean, self.forward)

    def errors(self, ops: Backend, field: Array) -> Array:
        """ω' (m, ..., n_l)."""
        return ops.matmul(field, self.backward)


def draw_mixing(width: int, rng: np.random.Generator, scales: FieldScales | None = None, joint: bool = False) -> Mixing:
    """Mixing numbers of a layer of `width` neurons.

    `scales`: every neuron's fields are divided by its own before they are mixed and multiplied after. So it keeps them:
    its rescaling (E8) changes the spectrum and not the function. `joint`: F = B, which keeps the Gram matrix between z
    and ω too.
    """
    forward = rng.standard_normal((width, width))
    backward = forward if joint else rng.standard_normal((width, width))
    ones = np.ones(width)
    ahead, back = (ones, ones) if scales is None else (scales.forward, scales.backward)
    taken = _inverse(ahead)
    return Mixing(_scaled(forward, ahead), _scaled(backward, back), taken / max(np.count_nonzero(taken), 1), ahead)


def _scaled(mixing: HostArray, scales: HostArray) -> HostArray:
    inverse = _inverse(scales)
    found: HostArray = inverse[:, None] * mixing * scales / math.sqrt(max(int(np.count_nonzero(inverse)), 1))
    return found


def _inverse(scales: HostArray) -> HostArray:
    """1/s, and 0 where s = 0: a neuron that is always 0 has no part in the others."""
    return np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0.0)


@dataclass(frozen=True)
class FieldFreeze:
    """`Freeze` of signals whose fields in the layers of `mixings` (0 for the first) are drawn again, no others.

    With `law` the gates of both, the network's and those of the new fields, are drawn at its temperature; ``draw``
    numbers the latter.
    """

    network: Network
    weights: Sequence[Array]
    mixings: Mapping[int, Mixing]
    ops: Backend
    law: DrawnGates | None = None
    draw: int = 0

    def __call__(self, x: Array, top: Array, rows: HostArray) -> tuple[Signals, list[Array]]:
        network, ops = self.network, self.ops
        own, again = drawing(self.law, rows), drawing(self.law, rows, self.draw + 1)
        inputs, gates, true_gates = [first_inputs(network, x, ops, *own)], [], []
        for index, z, drawn, mask in preactivations(network, self.weights, inputs[0], ops, *own):
            true_gates.append(mask)
            if index in self.mixings:
                field = self.mixings[index].preactivations(ops, z)
                drawn, mask = gate_layer(ops, network.layers[index], field, *again)
            inputs.append(drawn)
            gates.append(mask)
        errors = [top[:, None]]
        for index, field in unmasked_errors(network, self.weights, true_gates, top, ops):
            layer, mixing = network.layers[index], self.mixings.get(index)
            unmasked = field if mixing is None else mixing.errors(ops, field)
            errors.insert(0, scaled(ops.spread_gates(gates[index], unmasked, layer.window), layer.scale))
        return Signals(tuple(inputs), tuple(gates), top), errors


def preactivations(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    ops: Backend,
    temperature: float = 0.0,
    numbers: Numbers | None = None,
) -> Iterator[tuple[int, Array, Array, Array]]:
    """(layer, z_l, x_l, gates) of the hidden layers, first to last, from x_0 of `first_inputs`."""
    for index, (layer, w) in enumerate(zip(network.layers[:-1], weights[:-1], strict=True)):
        z = linear(ops, layer, (x, w))
        x, mask = gate_layer(ops, layer, z, temperature, numbers)
        yield index, z, x, mask


def unmasked_errors(
    network: Network, weights: Sequence[Array], gates: Sequence[Array], top: Array, ops: Backend
) -> Iterator[tuple[int, Array]]:
    """(layer, ω_l = W_{l+1} δ_{l+1}) of the hidden layers, last to first, behind their pools; δ_L = `top` (m,)."""
    error = top[:, None]
    for index in range(network.depth - 2, -1, -1):
        layer, above = network.layers[index], network.layers[index + 1]
        field = linear_adjoint(ops, above, (error, weights[index + 1]))
        error = scaled(ops.spread_gates(gates[index], field, layer.window), layer.scale)
        yield index, field


class FieldPowers:
    """Σ_i c_i² Σ_sites z² and Σ_i Σ_sites ω² (with δ_L = c) of every neuron, over batches; for `FieldScales`."""

    def __init__(self, network: Network, weights: Sequence[Array], ops: Backend, law: DrawnGates | None = None) -> None:
        self._network, self._weights, self._ops, self._law = network, weights, ops, law
        widths = [layer.gate_shape[-1] for layer in network.layers[:-1]]
        self._forward, self._backward = ([np.zeros(n) for n in widths] for _ in range(2))

    def add(self, x: Array, c: Array, rows: HostArray) -> None:
        """Another batch, with its coefficients (m,) and its rows among all examples."""
        ops, gates, drawn = self._ops, [], drawing(self._law, rows)
        start = first_inputs(self._network, x, ops, *drawn)
        for index, z, _, mask in preactivations(self._network, self._weights, start, ops, *drawn):
            gates.append(mask)
            self._forward[index] += self._power(per_example(c, z, ops) * z)
        for index, field in unmasked_errors(self._network, self._weights, gates, c, ops):
            self._backward[index] += self._power(field)

    def _power(self, field: Array) -> HostArray:
        xp = self._ops.xp
        square = xp.square(xp.astype(field, xp.float64))
        return self._ops.to_numpy(xp.sum(square, axis=tuple(range(field.ndim - 1))))

    def scales(self, index: int) -> FieldScales:
        """Those of a layer, up to a common factor."""
        return FieldScales(np.sqrt(self._forward[index]), np.sqrt(self._backward[index]))
