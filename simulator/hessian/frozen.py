"""What a Hessian product takes as given of a batch of examples: a forward pass, its gates, and δ̂."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backends import Array, Backend, HostArray
from simulator.network.network import Network
from simulator.passes.drawn import DrawnGates, drawing
from simulator.passes.propagation import Signals, backpropagate, propagate

Freeze = Callable[[Array, Array, HostArray], tuple[Signals, list[Array]]]
"""(examples x (m, *input_shape), top (m,), their rows (m,) among all) -> (signals, top · ∂T/∂z_l of layers 1..L)."""


@dataclass(frozen=True)
class Frozen:
    """Frozen quantities of a batch: signals, ``errors`` δ̂_l = c ∂T/∂z_l, ``curvature`` ℓ''/m.

    ``slopes`` δ_l = ∂T/∂z_l, where the Gauss-Newton part is made of signals; None elsewhere.
    """

    signals: Signals
    errors: list[Array]
    curvature: Array
    slopes: list[Array] | None = None


@dataclass(frozen=True)
class NetworkFreeze:
    """`Freeze` of the signals that a network's own weights make: with ReLU gates, or with drawn ones."""

    network: Network
    weights: Sequence[Array]
    ops: Backend
    gates: DrawnGates | None = None

    def __call__(self, x: Array, top: Array, rows: HostArray) -> tuple[Signals, list[Array]]:
        signals = self.signals(x, rows)
        return signals, backpropagate(self.network, self.weights, signals, top, self.ops)

    def signals(self, x: Array, rows: HostArray) -> Signals:
        """The forward pass alone."""
        return propagate(self.network, self.weights, x, self.ops, *drawing(self.gates, rows))


def per_example(values: Array, like: Array, ops: Backend) -> Array:
    """Numbers of the examples ([K,] m) in a shape that multiplies arrays of examples like `like` (m, ...)."""
    return ops.xp.reshape(values, (*values.shape, *(1,) * (like.ndim - 1)))


def signal_sizes(network: Network) -> tuple[list[int], list[int]]:
    """Per layer, the numbers that an example has in front of its gates, and at its input."""
    shapes = [(layer.gate_shape, layer.input_shape) for layer in network.layers]
    return [math.prod(gates) for gates, _ in shapes], [math.prod(inputs) for _, inputs in shapes]
