"""Stochastic gradient descent with momentum: the zero-temperature M-step repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend

from .checks import check_count, check_examples, check_labels, check_weights
from .e_step import check_e_step, exact_gates
from .em import complete_likelihood
from .enumeration import log_marginals
from .losses import get_loss
from .network import Network
from .risk import BatchGradient, batch_gradient
from .streams import Seed, spawn_streams


class TrainingDivergedError(RuntimeError):
    """The risk or a weight became infinite or NaN; ``epoch`` is the epoch in which it was seen."""

    def __init__(self, epoch: int, learning_rate: float) -> None:
        super().__init__(
            f"training diverged in epoch {epoch} at learning rate {learning_rate:g}: "
            "use a smaller learning rate or momentum"
        )
        self.epoch = epoch


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
    backend: str | Backend | None = None,
) -> TrainingResult:
    """Train by v ← momentum·v + ∇R_batch, w ← w - learning_rate·v; see `train_epochs`."""
    final = [np.array(w) for w in weights]
    rows = []
    for state in train_epochs(
        network, weights, x, y, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, momentum=momentum,
        loss=loss, seed=seed, temperature=temperature, e_step=e_step, backend=backend,
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
    backend: str | Backend | None = None,
    velocity: Sequence[Any] | None = None,
    first_epoch: int = 1,
) -> Iterator[Epoch]:
    """Yield the state after each of the epochs first_epoch..epochs.

    Epoch e visits a permutation of the examples drawn from its own stream of `seed`, in batches of `batch_size`,
    the last partial one kept; so a run continued from a state's `weights` and `velocity` with
    ``first_epoch=e + 1`` equals the uninterrupted one. `e_step` says where the gates of a step come from:
    h = 1[z > 0] ("zero_temperature": back-propagation), a draw at `temperature` ("monte_carlo"), or all configurations
    with their posterior ("exact": the gradient is that of the marginal likelihood; logistic loss, small dense nets).
    Raises `TrainingDivergedError`.
    """
    check_e_step(network, e_step, temperature, loss)
    ops, chosen = get_backend(backend), get_loss(loss)
    epochs, first_epoch = check_count(epochs, "epochs", least=0), check_count(first_epoch, "first_epoch")
    _check_schedule(learning_rate, momentum)
    size = check_count(batch_size, "batch_size")
    host = check_examples(network, x)
    labels = ops.asarray(check_labels(y, host.shape[0]))
    data = ops.asarray(host)
    w = check_weights(network, weights, ops)
    v = [ops.zeros(s) for s in network.weight_shapes] if velocity is None else check_weights(network, velocity, ops)
    streams = spawn_streams(seed, epochs)
    for epoch in range(first_epoch, epochs + 1):
        order, gates = streams[epoch - 1].permutation(host.shape[0]), streams[epoch - 1].spawn(1)[0]

        def step(w: list[Array], x: Array, y: Array, gates: np.random.Generator = gates) -> BatchGradient:
            if e_step == "exact":
                return _exact_gradient(network, w, x, y, temperature, ops)
            return batch_gradient(network, w, x, y, chosen, ops, temperature, gates)

        parts = [ops.asarray(order[start : start + size], dtype="int64") for start in range(0, order.size, size)]
        w, v, total, correct = _one_epoch(step, w, v, data, labels, parts, learning_rate, momentum, ops)
        state = Epoch(epoch, _host(w, ops), _host(v, ops), total / order.size, correct / order.size)
        if not (math.isfinite(total) and all(np.isfinite(a).all() for a in state.weights)):
            raise TrainingDivergedError(epoch, learning_rate)
        yield state


def _one_epoch(
    step: Callable[[list[Array], Array, Array], BatchGradient],
    w: list[Array],
    v: list[Array],
    data: Array,
    labels: Array,
    parts: list[Array],
    learning_rate: float,
    momentum: float,
    ops: Backend,
) -> tuple[list[Array], list[Array], float, int]:
    """(weights, velocity, Σ loss, Σ correct) after the batches `parts` of row indices; stops at a risk not finite."""
    total, correct = 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):  # divergence is said by the caller, once
        for rows in parts:
            batch = step(w, ops.xp.take(data, rows, axis=0), ops.xp.take(labels, rows, axis=0))
            scale = 1.0 / rows.shape[0]
            v = [momentum * a + scale * g for a, g in zip(v, batch.gradient, strict=True)]
            w = [a - learning_rate * b for a, b in zip(w, v, strict=True)]
            total, correct = total + batch.loss, correct + batch.correct
            if not math.isfinite(total):
                break
    return w, v, total, correct


def _exact_gradient(
    network: Network, w: list[Array], x: Array, y: Array, temperature: float, ops: Backend
) -> BatchGradient:
    """Gradient of -Σ log µ(y_i|x_i): by Fisher's identity the posterior mean of that of -Σ log µ(y_i,h|x_i)."""
    host, labels = ops.to_numpy(x), ops.to_numpy(y)
    sample = exact_gates(network, w, host, labels, temperature, ops)
    _, ascent = complete_likelihood(network, w, ops.xp.reshape(x, (x.shape[0], -1)), y, sample, temperature, ops)
    log = log_marginals(network, w, host, temperature, ops)
    own = np.where(labels > 0, log[:, 1], log[:, 0])
    correct = int(np.sum(own > np.log(0.5)))
    return BatchGradient([-g for g in ascent], -float(own.sum()), correct, x.shape[0])


def _host(arrays: Sequence[Array], ops: Backend) -> list[HostArray]:
    return [ops.to_numpy(a) for a in arrays]


def _check_schedule(learning_rate: float, momentum: float) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate {learning_rate!r} is not usable: use a number > 0")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum {momentum!r} is not usable: use a number in [0, 1)")
