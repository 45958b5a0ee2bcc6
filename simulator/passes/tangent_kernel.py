"""The tangent kernel ∇T_i · ∇T_j, from the signals of every layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_weights
from simulator.memory import device_memory
from simulator.network.layers import Layer
from simulator.network.network import Network

from .propagation import backpropagate, example_gradients, patches, propagate
from .risk import batches

SHARE = 4  # a chunk of examples, its Jacobian included, takes this share of the backend's `kept_bytes`


@dataclass(frozen=True)
class _Slopes:
    """Of a chunk of examples: ``inputs`` x_{l-1} and ``slopes`` δ_l = ∂T/∂z_l of every layer."""

    inputs: Sequence[Array]
    slopes: Sequence[Array]


def tangent_kernel(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    x_other: Any = None,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> HostArray:
    """K_ij = ∇T(x_i) · ∇T(x'_j), the neural tangent kernel [Jacot2018] of a network as it is; (m, m'), float64.

    With frozen gates ∇_{W_l} T = Σ_p x_{l-1}(p) δ_l(p)^T over the sites p of a layer (one site, if it is dense), so

        K_ij = Σ_l Σ_{p,q} [x_{l-1,i}(p) · x_{l-1,j}(q)] [δ_{l,i}(p) · δ_{l,j}(q)],

    x(p) being the patch that site p reads. A layer of few sites is summed in this form. A layer of many sites takes
    the Jacobians of a chunk of examples, whichever needs fewer operations. Nothing of m × N numbers is formed.

    K gives the plasticity order parameter (15): ||∇R||² = c^T K c with c = ∂ℓ/∂T/m.

    Parameters
    ----------
    x : (m, *input_shape) examples; ``x_other`` (m', *input_shape): others, by default the same
    batch_size : examples of a chunk, by default as many as fit into the memory that the backend keeps

    Products are made in the backend's dtype and added up over layers in float64. Raises `ValueError` for arrays that
    do not fit the network.

    >>> import numpy as np
    >>> from simulator import mlp, tangent_kernel
    >>> network = mlp([2, 1])
    >>> tangent_kernel(network, [np.ones((2, 1))], np.array([[1.0, 2.0], [3.0, 0.0]]), backend="numpy")
    array([[5., 3.],
           [3., 9.]])
    """
    ops = get_backend(backend)
    w = check_weights(network, weights, ops)
    rows = check_examples(network, x, ops.dtype)
    columns = None if x_other is None else check_examples(network, x_other, ops.dtype)
    size = chunk_size(network, ops) if batch_size is None else check_count(batch_size, "batch_size")
    kernel = np.zeros((len(rows), len(rows if columns is None else columns)))
    with device_memory(network, ops, min(size, len(rows))):
        for part in batches(len(rows), size):
            above = _slopes(network, w, rows[part], ops)
            if columns is None:
                block = _block(network, above, above, ops)
                kernel[part, part] = (block + block.T) / 2
            others = rows[part.stop :] if columns is None else columns
            first = part.stop if columns is None else 0
            for other in batches(len(others), size):
                block = _block(network, above, _slopes(network, w, others[other], ops), ops)
                at = slice(first + other.start, first + other.stop)
                kernel[part, at] = block
                if columns is None:
                    kernel[at, part] = block.T
    return kernel


def _slopes(network: Network, weights: Sequence[Array], x: HostArray, ops: Backend) -> _Slopes:
    """Signals of a chunk, made in batches that suit the backend."""
    parts = []
    with ops.computing(reuse=len(x) > ops.batch_size):
        for part in batches(len(x), ops.batch_size):
            signals = propagate(network, weights, ops.asarray(x[part]), ops)
            top = ops.xp.ones_like(signals.output)
            parts.append((signals.inputs, backpropagate(network, weights, signals, top, ops)))
    inputs, slopes = (
        [ops.xp.concat(layer) if len(parts) > 1 else layer[0] for layer in zip(*kind, strict=True)]
        for kind in zip(*parts, strict=True)
    )
    return _Slopes(inputs, slopes)


def _block(network: Network, rows: _Slopes, columns: _Slopes, ops: Backend) -> HostArray:
    """K of two chunks, (m, m')."""
    total = np.zeros((rows.inputs[0].shape[0], columns.inputs[0].shape[0]))
    with ops.computing(reuse=False):
        for index, layer in enumerate(network.layers):
            of_layer = _by_jacobians if _few_weights(layer) else _by_sites
            one, other = ((part.inputs[index], part.slopes[index]) for part in (rows, columns))
            total += ops.to_numpy(of_layer(layer, one, one if columns is rows else other, ops))
    return total


def _few_weights(layer: Layer) -> bool:
    """Whether Jacobians, N_l multiplications a pair, are less work than all pairs of sites."""
    sites = math.prod(layer.gate_shape[:-1])
    return layer.convolutional and layer.n_weights < sites**2 * (layer.fan_in + layer.weight_shape[-1])


def multiplications(network: Network) -> tuple[int, int]:
    """Of a pair of examples, and of one: its passes and its Jacobians."""
    pair, each = 0, 0
    for layer in network.layers:
        sites = math.prod(layer.gate_shape[:-1])
        pair += layer.n_weights if _few_weights(layer) else sites**2 * (layer.fan_in + layer.weight_shape[-1])
        each += (3 if _few_weights(layer) else 2) * sites * layer.n_weights
    return pair, each


Signals = tuple[Array, Array]  # x_{l-1} (m, *input_shape) and δ_l (m, *gate_shape)


def _by_jacobians(layer: Layer, one: Signals, other: Signals, ops: Backend) -> Array:
    xp = ops.xp
    jacobians = []
    for x, slope in (one,) if other is one else (one, other):
        made = example_gradients(ops, layer, x, slope)
        jacobians.append(xp.reshape(made, (x.shape[0], layer.n_weights)))
    return ops.matmul(jacobians[0], xp.matrix_transpose(jacobians[-1]))


def _by_sites(layer: Layer, one: Signals, other: Signals, ops: Backend) -> Array:
    """Pair of sites by pair of sites, so that no array is larger than (m, m')."""
    xp = ops.xp
    both = [
        (patches(ops, layer, x), xp.reshape(slope, (slope.shape[0], -1, slope.shape[-1])))
        for x, slope in ((one,) if other is one else (one, other))
    ]
    (rows, errors), (columns, others) = both[0], both[-1]
    total = None
    for p in range(rows.shape[1]):
        for q in range(columns.shape[1]):
            seen = ops.matmul(rows[:, p, :], xp.matrix_transpose(columns[:, q, :]))
            term = seen * ops.matmul(errors[:, p, :], xp.matrix_transpose(others[:, q, :]))
            total = term if total is None else total + term
    return total


def chunk_size(network: Network, ops: Backend) -> int:
    """Examples whose signals and largest Jacobian, or patches, fit into a share of what the backend keeps."""
    each = 0
    for layer in network.layers:
        each += math.prod(layer.gate_shape) + math.prod(layer.input_shape)
    largest = max(
        layer.n_weights if _few_weights(layer) else math.prod(layer.gate_shape[:-1]) * layer.fan_in
        for layer in network.layers
    )
    return max(1, int(ops.kept_bytes / SHARE / ((each + largest) * np.dtype(ops.dtype).itemsize)))
