"""Training towards risk 0: L-BFGS for the squared hinge, stochastic gradient descent for the hinge.

T(a θ) = a^L T(θ) for a > 0, since there are no biases. So a network whose margins are all > 0 has, rescaled, a risk of
exactly 0; and no stationary point of positive risk has such margins, because <θ, ∇R> = (L/m) Σ ℓ'(u_i) u_i < 0 there.
Training may therefore end as soon as every example is on its side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from backends import Backend
from simulator import Network, TrainingDivergedError, evaluate, output, train_epochs

Array = np.ndarray[Any, Any]
Weights = Sequence[Array]
SMOOTH = "squared_hinge"
LOSSES = ("squared_hinge", "hinge")
MEMORY = 20  # pairs that L-BFGS keeps
PROGRESS = 1e-3  # the share of the risk that a restart has to remove for another one to follow
NEAR = 0.9  # the accuracy over an epoch's batches from which on the network at its end is looked at
CLEAR = 1.0 + 1e-6  # the smallest margin after rescaling


@dataclass(frozen=True)
class Schedule:
    """How long and how a network is trained: `iterations` of L-BFGS, `updates` of stochastic gradient descent."""

    iterations: int
    updates: int
    batch_size: int
    learning_rate: float
    momentum: float


@dataclass(frozen=True)
class Attempt:
    """Where one training ended; ``fitted``: every margin is > 0. ``weights`` None: it diverged.

    ``steps``: risks computed by L-BFGS, or epochs of stochastic gradient descent.
    """

    weights: Weights | None
    margins: Array
    steps: int

    @property
    def fitted(self) -> bool:
        return bool(self.weights is not None and np.all(self.margins > 0.0))

    @property
    def lost(self) -> int:
        """Examples that pass no gate of some layer: T = 0 exactly, and no gradient brings them back."""
        return int(np.sum(self.margins == 0.0))


class _Fitted(Exception):
    """Every example is on its side."""


def train_once(
    network: Network,
    weights: Weights,
    x: Array,
    y: Array,
    loss: str,
    schedule: Schedule,
    batches: np.random.Generator,
    backend: Backend,
) -> Attempt:
    """Train from `weights` until every margin is > 0, or to the end of the schedule."""
    if loss == SMOOTH:
        found, steps = _quasi_newton(network, weights, x, y, schedule.iterations, backend)
    else:
        try:
            found, steps = _descent(network, weights, x, y, loss, schedule, batches, backend)
        except TrainingDivergedError as error:
            return Attempt(None, np.full(len(y), np.nan), error.epoch)
    return Attempt(found, y * output(network, found, x, backend), steps)


def _quasi_newton(
    network: Network, weights: Weights, x: Array, y: Array, iterations: int, backend: Backend
) -> tuple[Weights, int]:
    """L-BFGS on the whole risk; begun again where a kink of a gate ends its search along a line."""
    seen, calls = network.flatten(list(weights)).astype(np.float64), 0

    def risk(vector: Array) -> tuple[float, Array]:
        nonlocal seen, calls
        calls += 1
        now = evaluate(network, network.unflatten(vector), x, y, SMOOTH, backend, batch_size=len(y))
        seen = vector.copy()
        if now.accuracy == 1.0:
            raise _Fitted
        return now.risk, network.flatten(now.gradient).astype(np.float64)

    done, before, vector = 0, np.inf, seen
    while done < iterations:
        left = iterations - done
        options = {"maxiter": left, "maxfun": 2 * left + 10, "maxcor": MEMORY, "ftol": 0.0, "gtol": 1e-13}
        try:
            run = minimize(risk, vector, jac=True, method="L-BFGS-B", options=options)
        except _Fitted:
            return network.unflatten(seen), calls
        done, vector = done + max(int(run.nit), 1), run.x
        if not run.fun < before * (1.0 - PROGRESS):
            break
        before = float(run.fun)
    return network.unflatten(vector), calls


def _descent(
    network: Network,
    weights: Weights,
    x: Array,
    y: Array,
    loss: str,
    schedule: Schedule,
    batches: np.random.Generator,
    backend: Backend,
) -> tuple[Weights, int]:
    """Stochastic gradient descent with momentum, as in the plasticity phase diagram."""
    epochs = -(-schedule.updates // -(-len(y) // schedule.batch_size))
    last: Weights = weights
    for state in train_epochs(
        network, weights, x, y, epochs=epochs, batch_size=schedule.batch_size, learning_rate=schedule.learning_rate,
        momentum=schedule.momentum, loss=loss, seed=batches, backend=backend,
    ):  # fmt: skip
        last = state.weights
        if state.accuracy >= NEAR and evaluate(network, last, x, y, loss, backend).accuracy == 1.0:
            return last, state.epoch
    return last, epochs


def rescaled(network: Network, attempt: Attempt) -> list[Array]:
    """The weights of a fitted network times the factor that makes its smallest margin `CLEAR`, beyond the hinge."""
    assert attempt.weights is not None
    factor = (CLEAR / float(attempt.margins.min())) ** (1.0 / network.depth)
    return [factor * w for w in attempt.weights]
