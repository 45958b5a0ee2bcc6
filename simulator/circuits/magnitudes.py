"""How large the circuits of an example are together, signs left out: what their sum T(x) is to be held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_weights
from simulator.memory import device_memory
from simulator.network.layers import scale_of, scaled, select, window_of
from simulator.network.network import Network
from simulator.passes.propagation import apply_frozen, linear, linear_gradient, propagate
from simulator.passes.risk import batches


def path_magnitudes(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> HostArray:
    """Σ_i |x_{i_0} Ψ_i| over all circuits (11) of an example, exactly: a host array (m,), float64.

    The gates D_l are those of the network itself, max-pools choose the sites that they chose there, and average pools
    average, so that one more forward pass with absolute values sums over all paths,

        Σ_i |x_{i_0} Ψ_i| = |x|^T [Π_{l<L} |W_l| D_l] |W_L|.

    |T(x)| is at most this, and equal to it where all circuits have one sign. Weights enter the pass in units of about
    their mean column sum, because a sum over 10^38 paths may leave the range of single precision. `batch_size` examples
    at a time (as many as suit the backend unless given).

    >>> from simulator import mlp, output, path_magnitudes
    >>> weights = [[[1.0, -1.0], [2.0, 1.0]], [[3.0], [-2.0]]]
    >>> path_magnitudes(mlp([2, 2, 1]), weights, [[1.0, 2.0], [-1.0, -1.0]]).tolist()
    [21.0, 0.0]
    >>> output(mlp([2, 2, 1]), weights, [[1.0, 2.0], [-1.0, -1.0]]).tolist()
    [13.0, 0.0]
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    units = [_unit(ops, layer) for layer in w]
    absolute = [ops.xp.abs(layer) / unit for layer, unit in zip(w, units, strict=True)]
    parts = _batched(
        network, ops, x, batch_size, lambda rows: _magnitudes(network, w, absolute, ops.asarray(x[rows]), ops)
    )
    return np.concatenate([ops.to_numpy(part) for part in parts]).astype(np.float64) * math.prod(units)


def last_neuron_sums(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    top: Any,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> HostArray:
    """Σ_e top_e x_{L-1,k}(x_e) W_L,k for every neuron k below the output, (n_{L-1},), float64.

    They sum to Σ_e top_e T(x_e). No gate sees W_L, so that a changed sign of W_L,k changes the sign of one of them and
    of nothing else: with independent fair signs of the last weights Σ_e top_e T(x_e) has the mean 0 and the variance
    Σ_k of their squares, exactly (S1).
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    top = np.asarray(top, dtype=ops.dtype)
    if top.shape != (len(x),):
        raise ValueError(f"top of shape {top.shape} is not usable: expected ({len(x)},), one number per example")
    parts = _batched(network, ops, x, batch_size, lambda rows: _last(network, w, ops.asarray(x[rows]), top[rows], ops))
    sums = np.sum([ops.to_numpy(part) for part in parts], axis=0, dtype=np.float64)
    return np.asarray(sums * ops.to_numpy(w[-1]))[:, 0]


def _unit(ops: Backend, w: Array) -> float:
    """A power of 2, so that no rounding is added, near the mean over neurons of Σ|w| into one."""
    mean = ops.inner(ops.xp.abs(w), ops.xp.ones_like(w)) / w.shape[-1]
    return math.ldexp(1.0, math.frexp(mean)[1])


def _batched(
    network: Network, ops: Backend, x: HostArray, batch_size: int | None, of: Callable[[slice], Array]
) -> list[Array]:
    size = check_count(ops.batch_size if batch_size is None else batch_size, "batch_size")
    with ops.computing(reuse=size < len(x)), device_memory(network, ops, min(size, len(x))):
        return [of(rows) for rows in batches(len(x), size)]


def _magnitudes(network: Network, weights: Sequence[Array], absolute: Sequence[Array], x: Array, ops: Backend) -> Array:
    """The pass with absolute values through the gates that the weights themselves open, (m,)."""
    gates = propagate(network, weights, x, ops).gates
    reached = _absolute_inputs(network, x, ops)
    for layer, mask, w in zip(network.layers[:-1], gates, absolute[:-1], strict=True):
        # Not in one pass with the gates, which some devices do at a lower precision.
        reached = apply_frozen(ops, layer, mask, linear(ops, layer, (reached, w)))
    return linear(ops, network.layers[-1], (reached, absolute[-1]))[:, 0]


def _absolute_inputs(network: Network, x: Array, ops: Backend) -> Array:
    """|x| behind the pools in front of layer 1, which select by x."""
    pools = network.input_pools
    if not pools:
        return ops.xp.abs(x)
    _, mask = select(ops, pools, x, ops.xp.ones_like(x, dtype=ops.xp.bool))
    return scaled(ops.apply_gates(mask, ops.xp.abs(x), window_of(pools)), scale_of(pools))


def _last(network: Network, weights: Sequence[Array], x: Array, top: HostArray, ops: Backend) -> Array:
    """∂/∂W_L of Σ_e top_e T(x_e) of a batch, (n_{L-1}, 1)."""
    inputs = propagate(network, weights, x, ops).inputs[-1]
    return linear_gradient(ops, network.layers[-1], (inputs, ops.asarray(top)[:, None]))
