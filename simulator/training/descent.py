"""Stochastic gradient descent with momentum: the zero-temperature M-step repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, Step, get_backend
from simulator.enumeration.gates import log_marginals
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.risk import BatchGradient, batch_gradient, batches
from simulator.shown import shown
from simulator.stochastic.posterior import posterior_gradient
from simulator.streams import Seed, Streams

from .e_step import check_e_step, exact_gates
from .em import complete_likelihood


class TrainingDivergedError(RuntimeError):
    """The risk or a weight became infinite or NaN; ``epoch`` is the epoch in which it was seen."""

    def __init__(self, epoch: int, learning_rate: float) -> None:
        super().__init__(
            f"training diverged in epoch {epoch} at learning rate {learning_rate:g}: "
            "use a smaller learning rate or momentum"
        )
        self.epoch = epoch


@shown
@dataclass(frozen=True)
class Epoch:
    """The state after an epoch: host ``weights`` and ``velocity``.

    ``risk`` and ``accuracy`` are means over the epoch's mini-batches, each seen before its own update.
    """

    epoch: int
    weights: list[HostArray]
    velocity: list[HostArray]
    risk: float
    accuracy: float


@shown
@dataclass(frozen=True)
class TrainingResult:
    """Final ``weights`` (host) and ``history``: "epoch" (1, 2, ...), "risk" and "accuracy" as in `Epoch`."""

    weights: list[HostArray]
    history: dict[str, HostArray]


def train(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float = 0.0,
    loss: str = "hinge",
    seed: Seed = 0,
    temperature: float = 0.0,
    e_step: str = "zero_temperature",
    samples: int = 10,
    choosing_pools: bool = False,
    backend: str | Backend | None = None,
) -> TrainingResult:
    """Train by v ← momentum·v + ∇R_batch, w ← w - learning_rate·v; see `train_epochs`."""
    final = [np.array(w) for w in weights]
    rows = []
    for state in train_epochs(
        network, weights, x, y, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, momentum=momentum,
        loss=loss, seed=seed, temperature=temperature, e_step=e_step, samples=samples, choosing_pools=choosing_pools,
        backend=backend,
    ):  # fmt: skip
        final = state.weights
        rows.append((state.epoch, state.risk, state.accuracy))
    epoch, value, accuracy = (np.array(column) for column in zip(*rows, strict=True)) if rows else np.zeros((3, 0))
    return TrainingResult(final, {"epoch": epoch.astype(np.int64), "risk": value, "accuracy": accuracy})


def train_epochs(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float = 0.0,
    loss: str = "hinge",
    seed: Seed = 0,
    temperature: float = 0.0,
    e_step: str = "zero_temperature",
    samples: int = 10,
    choosing_pools: bool = False,
    backend: str | Backend | None = None,
    velocity: Sequence[Any] | None = None,
    first_epoch: int = 1,
) -> Iterator[Epoch]:
    """Yield the state after each of the epochs first_epoch..epochs.

    Epoch e visits a permutation of the examples drawn from its own stream of `seed`, in batches of `batch_size`,
    the last partial one kept; so a run continued from a state's `weights` and `velocity` with
    ``first_epoch=e + 1`` equals the uninterrupted one. `e_step` says where the gates of a step come from:
    h = 1[z > 0] ("zero_temperature": back-propagation), a draw at `temperature` ("monte_carlo"), `samples` draws with
    shares in proportion to µ(y|x,h) ("posterior", an importance sample of µ(h|x,y); logistic loss), or all
    configurations with their posterior ("exact": the gradient is that of the marginal likelihood; logistic loss, small
    dense nets). The risk of the last two is -log µ(y|x), of draws their estimate. With `choosing_pools` max-pools draw
    a site of each window at a temperature (F4). Raises `TrainingDivergedError`.
    """
    check_e_step(network, e_step, temperature, loss, choosing_pools)
    draws = check_count(samples, "samples")
    ops, chosen = get_backend(backend), get_loss(loss)
    epochs, first_epoch = check_count(epochs, "epochs", least=0), check_count(first_epoch, "first_epoch")
    check_schedule(learning_rate, momentum)
    size = check_count(batch_size, "batch_size")
    host = check_examples(network, x, ops.dtype)
    labels = ops.asarray(check_labels(y, host.shape[0]))
    data = ops.asarray(host)
    w = check_weights(network, weights, ops)
    v = [ops.zeros(s) for s in network.weight_shapes] if velocity is None else check_weights(network, velocity, ops)
    streams = Streams(seed)
    gates: list[np.random.Generator] = []  # where the epoch at hand draws its gates from

    def gradient(w: list[Array], x: Array, y: Array) -> BatchGradient:
        if e_step == "exact":
            return _exact_gradient(network, w, x, y, temperature, ops)
        if e_step == "posterior":
            return posterior_gradient(network, w, x, y, temperature, draws, ops, gates[0])
        return batch_gradient(network, w, x, y, chosen, ops, temperature, gates[0])

    step: Step = _Descent(network, data, labels, gradient, learning_rate, momentum, ops).step
    if temperature == 0.0:  # gates are not drawn on the host
        step = ops.replay(step)
    for epoch in range(first_epoch, epochs + 1):
        order = streams("batches", epoch).permutation(host.shape[0])
        gates[:] = [streams("training gates", epoch)]
        with device_memory(network, ops, min(size, order.size)):
            w, v, total, correct = _one_epoch(step, w, v, order, size, ops)
        state = Epoch(epoch, _host(w, ops), _host(v, ops), total / order.size, correct / order.size)
        if not (math.isfinite(total) and all(np.isfinite(a).all() for a in state.weights)):
            raise TrainingDivergedError(epoch, learning_rate)
        yield state


class _Descent:
    """Steps of gradient descent on data that stay on the device: state (w, v, Σ loss, Σ correct), inputs (rows,)."""

    def __init__(
        self,
        network: Network,
        data: Array,
        labels: Array,
        gradient: Callable[[list[Array], Array, Array], BatchGradient],
        learning_rate: float,
        momentum: float,
        ops: Backend,
    ) -> None:
        self._depth, self._data, self._labels, self._gradient = network.depth, data, labels, gradient
        self._rate, self._momentum, self._ops = learning_rate, momentum, ops

    def step(self, state: list[Array], inputs: list[Array]) -> list[Array]:
        ops, depth, (rows,) = self._ops, self._depth, inputs
        w, v, (total, correct) = state[:depth], state[depth : 2 * depth], state[2 * depth :]
        x, y = (ops.xp.take(a, rows, axis=0) for a in (self._data, self._labels))
        batch = self._gradient(w, x, y)
        moved = [
            ops.descend(a, b, g, self._momentum, 1.0 / rows.shape[0], self._rate)
            for a, b, g in zip(w, v, batch.gradient, strict=True)
        ]
        return [*(a for a, _ in moved), *(b for _, b in moved), total + batch.loss, correct + batch.correct]


def _one_epoch(
    step: Step, w: list[Array], v: list[Array], order: HostArray, size: int, ops: Backend
) -> tuple[list[Array], list[Array], float, float]:
    """(weights, velocity, Σ loss, Σ correct) after the batches of `order`; stops at a risk not finite."""
    rows, depth = ops.asarray(order, dtype="int64"), len(w)
    counts = [ops.xp.zeros((), dtype=kind, device=rows.device) for kind in (ops.xp.float64, ops.xp.int64)]
    state = [*w, *v, *counts]
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is said by the caller, once
        for part in batches(order.size, size):
            state = step(state, [rows[part]])
            if not ops.asynchronous and not math.isfinite(float(state[-2])):
                break
    return state[:depth], state[depth : 2 * depth], float(state[-2]), float(state[-1])


def _exact_gradient(
    network: Network, w: list[Array], x: Array, y: Array, temperature: float, ops: Backend
) -> BatchGradient:
    """Gradient of -Σ log µ(y_i|x_i): by Fisher's identity the posterior mean of that of -Σ log µ(y_i,h|x_i)."""
    host, labels = ops.to_numpy(x), ops.to_numpy(y)
    sample = exact_gates(network, w, host, labels, temperature, ops)
    _, ascent = complete_likelihood(network, w, ops.xp.reshape(x, (x.shape[0], -1)), y, sample, temperature, ops)
    log = log_marginals(network, w, host, temperature, ops)
    own = np.where(labels > 0, log[:, 1], log[:, 0])
    counts = (np.sum(own > np.log(0.5)), x.shape[0])
    loss, (correct, active) = ops.asarray(-own.sum(), "float64"), (ops.asarray(n, "int64") for n in counts)
    return BatchGradient([-g for g in ascent], loss, correct, active)


def _host(arrays: Sequence[Array], ops: Backend) -> list[HostArray]:
    return [ops.to_numpy(a) for a in arrays]


def check_schedule(learning_rate: float, momentum: float) -> None:
    """Raise `ValueError` for a learning rate or a momentum that no descent can use."""
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate {learning_rate!r} is not usable: use a number > 0")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum {momentum!r} is not usable: use a number in [0, 1)")
