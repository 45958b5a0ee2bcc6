"""Output, empirical risk, its gradient, and the plasticity order parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_coefficients, check_count, check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .drawn import DrawnGates, drawing
from .losses import Loss, get_loss
from .propagation import Signals, assemble_gradient, backpropagate, linear, propagate, propagate_output

BATCH_SIZE = 128


def batches(m: int, batch_size: int) -> Iterator[slice]:
    """Consecutive slices that cover range(m)."""
    for start in range(0, m, batch_size):
        yield slice(start, min(start + batch_size, m))


def output(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    backend: str | Backend | None = None,
    temperature: float = 0.0,
    seed: Seed | None = None,
    batch_size: int | None = None,
    choosing_pools: bool = False,
) -> HostArray:
    """T(x) (10), a host array (m,), `batch_size` examples at a time (as many as suit the backend unless given).

    At `temperature` T > 0 hidden gates are drawn, P(h = 1) = σ(z/T), one sample per example from `seed`. The paper
    gives max-pools no law there: they are refused (`ValueError`), but for `choosing_pools`, with which they draw a site
    of each window with probability e^{x/T} over the sum of these (F4).
    """
    ops = get_backend(backend)
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature {temperature!r} is not usable: use a number >= 0")
    check_pools(network, temperature, choosing_pools)
    rng = None
    if temperature > 0:
        rng = Streams(0 if seed is None else seed)("output gates")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    size = check_count(ops.batch_size if batch_size is None else batch_size, "batch_size")
    with ops.computing(reuse=size < x.shape[0]), device_memory(network, ops, min(size, x.shape[0])):
        parts = [
            propagate_output(network, w, ops.asarray(x[part]), ops, temperature, rng)
            for part in batches(x.shape[0], size)
        ]
        return ops.to_numpy(ops.xp.concat(parts))


def check_pools(network: Network, temperature: float, choosing_pools: bool) -> None:
    """Raise `ValueError` for max-pools at a temperature that are not meant to choose."""
    if temperature > 0 and network.has_maxima and not choosing_pools:
        raise ValueError(
            f"temperature {temperature:g} meets max-pooling, to which the paper gives no law: use temperature 0, or "
            "choosing_pools=True for pools that draw a site with probability e^{x/T} over the sum of these"
        )


def risk(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
) -> float:
    """R = (1/m) Σ_i ℓ(y_i T(x_i))."""
    chosen, t = get_loss(loss), output(network, weights, x, backend)
    return float(np.mean(margin_loss(chosen, t, check_labels(y, t.shape[0]))))


def margin_loss(loss: Loss, t: HostArray, y: HostArray) -> HostArray:
    """ℓ(y T) per example on the host, in float64."""
    value: HostArray = loss.value(np, y * t.astype(np.float64))
    return value


@dataclass(frozen=True)
class BatchGradient:
    """Sums over one batch, on the device: ``gradient`` of Σ ℓ per layer, ``loss``, counts ``correct``, ``active``."""

    gradient: list[Array]
    loss: Array
    correct: Array
    active: Array


def batch_gradient(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    loss: Loss,
    ops: Backend,
    temperature: float = 0.0,
    rng: np.random.Generator | None = None,
) -> BatchGradient:
    """Gradient of Σ_i ℓ(y_i T(x_i)) over one device batch, the gates held fixed.

    Examples with ℓ' = 0 (the hinge's inactive ones) contribute nothing and are left out of the backward pass, unless
    counting them would make the host wait for the device. Above
    temperature 0 the gates are one draw from their forward law: for the logistic loss this is an unbiased gradient of
    the evidence bound at that law, whose own terms Σ ∇ log µ(h|x) have mean 0 and are left out.
    """
    if temperature == 0.0 and (whole := ops.perceptron_gradient(weights, x, y, loss.name)) is not None:
        return BatchGradient(*whole)
    with ops.computing(reuse=False):
        return _batch_gradient(network, weights, y, loss, ops, propagate(network, weights, x, ops, temperature, rng))


def _batch_gradient(
    network: Network, weights: Sequence[Array], y: Array, loss: Loss, ops: Backend, signals: Signals
) -> BatchGradient:
    xp = ops.xp
    made = ops.margins(signals.output, y, loss.name)
    slope, total, correct, active = _margins(signals.output, y, loss, xp) if made is None else made
    if not ops.asynchronous and (count := int(active)) <= ops.worth_leaving_out * y.shape[0]:
        if count == 0:
            return BatchGradient([xp.zeros_like(w) for w in weights], total, correct, active)
        rows = ops.asarray(np.flatnonzero(ops.to_numpy(slope)), dtype="int64")
        signals, slope = signals.take(xp, rows), xp.take(slope, rows, axis=0)
    errors = backpropagate(network, weights, signals, slope, ops)
    return BatchGradient(assemble_gradient(network, signals, errors, ops), total, correct, active)


def _margins(t: Array, y: Array, loss: Loss, xp: Any) -> tuple[Array, Array, Array, Array]:
    """See `Backend.margins`."""
    u = y * t
    slope = loss.slope(xp, u) * y
    # An infinite margin of the right sign has loss 0, but no network that computes it is in order.
    value = loss.value(xp, xp.astype(u, xp.float64, copy=False))  # squares of a large margin leave float32
    total = xp.sum(xp.where(xp.isfinite(u), value, math.inf))
    return slope, total, xp.count_nonzero(u > 0), xp.count_nonzero(slope)


@shown
@dataclass(frozen=True)
class Evaluation:
    """``risk``, ``accuracy`` (share of u > 0), ``active_fraction`` (share of ℓ' ≠ 0) and ``gradient`` ∇R (host)."""

    risk: float
    accuracy: float
    active_fraction: float
    gradient: list[HostArray]

    @property
    def order_parameter(self) -> float:
        """||∇R||² (15), in float64."""
        return float(sum(np.sum(np.square(g, dtype=np.float64)) for g in self.gradient))


def evaluate(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> Evaluation:
    """Risk, accuracy, active share and gradient in one pass over the examples."""
    ops, chosen = get_backend(backend), get_loss(loss)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    m = x.shape[0]
    y = check_labels(y, m)
    total: list[Array] = [ops.zeros(shape) for shape in network.weight_shapes]
    counted: list[BatchGradient] = []
    size = check_count(ops.batch_size if batch_size is None else batch_size, "batch_size")
    with device_memory(network, ops, min(size, m)):
        for part in batches(m, size):
            batch = batch_gradient(network, w, ops.asarray(x[part]), ops.asarray(y[part]), chosen, ops)
            total = [a + b for a, b in zip(total, batch.gradient, strict=True)]
            counted.append(replace(batch, gradient=[]))
    value, correct, active = (sum(float(getattr(b, name)) for b in counted) for name in ("loss", "correct", "active"))
    return Evaluation(value / m, correct / m, active / m, [ops.to_numpy(g) / m for g in total])


def gradient(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
) -> list[HostArray]:
    """∇R, sums of circuits (16), one host array per layer; ℓ' = 0 at the hinge's kink u = 1 and h = 0 at z = 0."""
    return evaluate(network, weights, x, y, loss, backend).gradient


def output_gradient(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    c: Any,
    backend: str | Backend | None = None,
    gates: DrawnGates | None = None,
) -> list[HostArray]:
    """Σ_i c_i ∇T(x_i) for c (m,), one host array per layer: ∇R for c = ∂ℓ/∂T/m.

    `gates`: those that the rows x draw at a temperature, held fixed. Rows with c_i = 0 take no part.

    >>> import numpy as np
    >>> from simulator import mlp, output_gradient
    >>> output_gradient(mlp([2, 1]), [np.ones((2, 1))], np.eye(2), [1.0, -2.0], "numpy")[0].ravel().tolist()
    [1.0, -2.0]
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    top = check_coefficients(c, x.shape[0], ops.dtype)

    def part(rows: HostArray) -> list[Array]:
        signals = propagate(network, w, ops.asarray(x[rows]), ops, *drawing(gates, rows))
        errors = backpropagate(network, w, signals, ops.asarray(top[rows]), ops)
        return assemble_gradient(network, signals, errors, ops)

    return summed_gradients(network, np.flatnonzero(top), part, ops)


def summed_gradients(
    network: Network, rows: HostArray, part: Callable[[HostArray], list[Array]], ops: Backend
) -> list[HostArray]:
    """Sums of what `part` makes of these rows, a batch of them at a time; an array for each layer."""
    total: list[Array] = [ops.zeros(shape) for shape in network.weight_shapes]
    with device_memory(network, ops, min(ops.batch_size, rows.size)), ops.computing():
        for piece in batches(rows.size, ops.batch_size):
            total = [a + b for a, b in zip(total, part(rows[piece]), strict=True)]
    return [ops.to_numpy(g) for g in total]


def output_derivative(
    network: Network, weights: Sequence[Any], x: Any, direction: Sequence[Any], backend: str | Backend | None = None
) -> HostArray:
    """∇T(x_i)·V for every example (m,), the derivative of the outputs along a direction V of the weights.

    ``direction`` holds one array for each layer, shaped as the weights. T is linear in the weights of one layer once
    gates are frozen, so the derivative is Σ_l δ_l · (V_l x_{l-1}). It is the adjoint of `output_gradient`:
    Σ_i c_i ∇T(x_i)·V = (Σ_i c_i ∇T(x_i))·V.

    >>> import numpy as np
    >>> from simulator import mlp, output_derivative
    >>> output_derivative(mlp([2, 1]), [np.ones((2, 1))], np.eye(2), [np.array([[3.0], [4.0]])], "numpy").tolist()
    [3.0, 4.0]
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    shapes = network.weight_shapes
    if (given := [tuple(part.shape) for part in direction]) != shapes:
        raise ValueError(f"direction has arrays of shapes {given}: expected those of the weights, {shapes}")
    along = check_weights(network, direction, ops)
    found = []
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            signals = propagate(network, w, ops.asarray(x[part]), ops)
            errors = backpropagate(network, w, signals, ops.asarray(np.ones(x[part].shape[0])), ops)
            layers = zip(network.layers, signals.inputs, errors, along, strict=True)
            terms = [linear(ops, layer, (s, v)) * d for layer, s, d, v in layers]
            sums = [ops.to_numpy(ops.xp.sum(term, axis=tuple(range(1, term.ndim)))) for term in terms]
            found.append(np.sum(sums, axis=0))
    return np.concatenate(found)


def order_parameter(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
) -> float:
    """The plasticity order parameter ||∇R||² (15); no learning rate in it."""
    return evaluate(network, weights, x, y, loss, backend).order_parameter


def signal_powers(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    backend: str | Backend | None = None,
    gates: DrawnGates | None = None,
) -> HostArray:
    """Mean square per neuron and example of x_0, ..., x_{L-1} (behind the pools), (L,): ratios are the growth c.

    `gates`: those that the rows x draw at a temperature.
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    total = np.zeros(network.depth)
    for part in batches(x.shape[0], ops.batch_size):
        drawn = drawing(gates, range(part.start, part.stop))
        signals = propagate(network, w, ops.asarray(x[part]), ops, *drawn)
        total += [ops.inner(s, s) for s in signals.inputs]
    sizes = [math.prod(layer.input_shape) for layer in network.layers]
    powers: HostArray = total / (np.array(sizes) * x.shape[0])
    return powers
