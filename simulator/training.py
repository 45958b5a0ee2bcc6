"""Stochastic gradient descent with momentum: the zero-temperature M-step repeated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend

from .checks import check_batch_size, check_examples, check_labels, check_weights
from .losses import get_loss
from .network import Network
from .risk import batch_gradient
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
    backend: str | Backend | None = None,
) -> TrainingResult:
    """Train by v ← momentum·v + ∇R_batch, w ← w - learning_rate·v; see `train_epochs`."""
    done = [
        *train_epochs(
            network, weights, x, y, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            momentum=momentum, loss=loss, seed=seed, backend=backend,
        )
    ]  # fmt: skip
    final = done[-1].weights if done else [np.array(w) for w in weights]
    history = {
        "epoch": np.array([e.epoch for e in done], dtype=np.int64),
        "risk": np.array([e.risk for e in done]),
        "accuracy": np.array([e.accuracy for e in done]),
    }
    return TrainingResult(final, history)


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
    backend: str | Backend | None = None,
    velocity: Sequence[Any] | None = None,
    first_epoch: int = 1,
) -> Iterator[Epoch]:
    """Yield the state after each of the epochs first_epoch..epochs.

    Epoch e visits a permutation of the examples drawn from its own stream of `seed`, in batches of `batch_size`,
    the last partial one kept; so a run continued from a state's `weights` and `velocity` with
    ``first_epoch=e + 1`` equals the uninterrupted one. Raises `TrainingDivergedError`.
    """
    ops, chosen = get_backend(backend), get_loss(loss)
    _check_schedule(epochs, learning_rate, momentum)
    if first_epoch < 1:
        raise ValueError(f"first_epoch {first_epoch!r} is not usable: use an integer >= 1")
    size = check_batch_size(batch_size)
    host = check_examples(network, x)
    labels = ops.asarray(check_labels(y, host.shape[0]))
    data = ops.asarray(host)
    w = check_weights(network, weights, ops)
    v = [ops.zeros(s) for s in network.weight_shapes] if velocity is None else check_weights(network, velocity, ops)
    streams = spawn_streams(seed, epochs)
    for epoch in range(first_epoch, epochs + 1):
        order = streams[epoch - 1].permutation(host.shape[0])
        total, correct = 0.0, 0
        for start in range(0, order.size, size):
            rows = ops.asarray(order[start : start + size], dtype="int64")
            batch = batch_gradient(
                network, w, ops.xp.take(data, rows, axis=0), ops.xp.take(labels, rows, axis=0), chosen, ops
            )
            scale = 1.0 / rows.shape[0]
            v = [momentum * a + scale * g for a, g in zip(v, batch.gradient, strict=True)]
            w = [a - learning_rate * b for a, b in zip(w, v, strict=True)]
            total += batch.loss
            correct += batch.correct
            if not math.isfinite(total):
                raise TrainingDivergedError(epoch, learning_rate)
        state = Epoch(epoch, _host(w, ops), _host(v, ops), total / order.size, correct / order.size)
        if not all(np.isfinite(a).all() for a in state.weights):
            raise TrainingDivergedError(epoch, learning_rate)
        yield state


def _host(arrays: Sequence[Array], ops: Backend) -> list[HostArray]:
    return [ops.to_numpy(a) for a in arrays]


def _check_schedule(epochs: int, learning_rate: float, momentum: float) -> None:
    if int(epochs) != epochs or epochs < 0:
        raise ValueError(f"epochs {epochs!r} is not usable: use an integer >= 0")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate {learning_rate!r} is not usable: use a number > 0")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum {momentum!r} is not usable: use a number in [0, 1)")
