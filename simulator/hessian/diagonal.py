"""The diagonal of a Hessian, exactly: that of its Gauss-Newton part, as the residual part has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backends import Array, Backend
from simulator.network.layers import Layer
from simulator.network.network import Network
from simulator.passes.propagation import Signals, example_gradients, linear_gradient

from .frozen import per_example

GRADIENT_BYTES = 1 << 26  # of the gradients of single examples that a convolution keeps at a time


def squared_gradients(
    network: Network, ops: Backend, batches: Iterator[tuple[Signals, Sequence[Array], Array]]
) -> list[Any]:
    """Σ_i b_i (∂T_i/∂w)² for every weight w, layer by layer, None where there is no example.

    `batches` are (signals, δ_l = ∂T/∂z_l of layers 1..L, b (m,)).
    """
    total: list[Any] = [None] * network.depth
    with ops.computing(reuse=False):
        for signals, slopes, b in batches:
            for index, layer in enumerate(network.layers):
                part = _layer(ops, layer, signals.inputs[index], slopes[index], b)
                total[index] = part if total[index] is None else total[index] + part
    return total


def _layer(ops: Backend, layer: Layer, x: Array, slope: Array, b: Array) -> Array:
    """Of one layer: a dense weight's ∂T/∂w is one product x δ, that of a convolution a sum over sites."""
    if not layer.convolutional:
        return linear_gradient(ops, layer, (x * x, per_example(b, slope, ops) * slope * slope))
    xp, size = ops.xp, max(1, GRADIENT_BYTES // (8 * layer.n_weights))
    total: Any = None
    for start in range(0, int(x.shape[0]), size):
        rows = slice(start, start + size)
        single = example_gradients(ops, layer, x[rows, ...], slope[rows, ...])
        part = xp.sum(per_example(b[rows], single, ops) * single * single, axis=0)
        total = part if total is None else total + part
    return total
