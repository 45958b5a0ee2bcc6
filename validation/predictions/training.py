"""Training predicted before it begins: risk, accuracy, active examples and order parameter of every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network, fresh_weights
from simulator.inputs import check_count, check_examples, check_labels
from simulator.passes.losses import get_loss
from simulator.streams import Seed, Streams
from simulator.training.descent import check_schedule

from .linearised import (
    Linearised,
    Motion,
    Schedule,
    infinite_width,
    linearised_epochs,
    linearised_networks,
    reader,
    times,
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PredictedTraining:
    """What the linearised dynamics say of training, per epoch (0 first) and network.

    ``outputs`` T (epochs + 1, networks, m), ``c`` = ∂ℓ/∂T/m of the same shape. Of shape (epochs + 1, networks):
    ``risk``, ``accuracy`` (share of examples with yT > 0), ``active`` (number of examples with ℓ' ≠ 0) and the
    ``order_parameter`` ||∇R||² = c^T K c (15). ``test_outputs`` (epochs + 1, networks, m') where examples for a test
    were given, else None.
    """

    outputs: Array
    c: Array
    risk: Array
    accuracy: Array
    active: Array
    order_parameter: Array
    test_outputs: Array | None


def schedule_of(
    learning_rate: float | Sequence[float], epochs: int, batch_size: int, momentum: float, loss: str, seed: Seed
) -> Schedule:
    """A schedule, its values checked; one learning rate, or one for each epoch."""
    count, size = check_count(epochs, "epochs", least=0), check_count(batch_size, "batch_size")
    if isinstance(learning_rate, (int, float)):
        rates = [float(learning_rate)] * count
    else:
        rates = [float(rate) for rate in learning_rate]
    if len(rates) != count:
        raise ValueError(f"learning_rate has {len(rates)} numbers: expected one, or one for each of {count} epochs")
    for rate in rates or [1.0]:  # the momentum of no epoch is checked too
        check_schedule(rate, momentum)
    return Schedule(rates, size, momentum, get_loss(loss).name, seed)


def describe(law: Linearised, motion: Motion, y: Array, loss: str) -> dict[str, Array]:
    """T, c, risk, accuracy, active and order parameter of every network after this motion."""
    chosen, t = get_loss(loss), law.outputs(motion)
    u = y * t
    c = chosen.slope(np, u) * y / t.shape[1]
    return {
        "outputs": t,
        "c": c,
        "risk": np.mean(chosen.value(np, u), axis=1),
        "accuracy": np.mean(u > 0, axis=1),
        "active": np.count_nonzero(c, axis=1),
        "order_parameter": np.sum(c * times(law.kernel, c), axis=1),
    }


def predict_training(
    network: Network,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float | Sequence[float],
    momentum: float = 0.0,
    loss: str = "hinge",
    weights: Sequence[Any] | None = None,
    networks: int = 4,
    seed: Seed = 0,
    x_test: Any = None,
    backend: str | Backend | None = None,
    wide: bool = False,
    reads: Sequence[int] = (),
) -> PredictedTraining:
    """Risk, accuracy, active examples and order parameter of training, before a single step is taken.

    While a network moves little (wide layers, small steps), its outputs follow the tangent kernel K that it has at the
    start [Jacot2018] [Lee2019]: `linearised_epochs` has the recursion, under the batches, momentum and learning rates
    of `simulator.train` with the same `seed`. What is known of the network that will be trained is its shape alone.

    Parameters
    ----------
    x, y : (m, ...) training examples and their labels; ``x_test`` (m', ...): examples whose outputs are predicted too
    learning_rate : one number, or one for each epoch
    weights : of one network, whose own T_0 and K are taken; by default `networks` fresh ones are drawn from `seed`
    wide : T_0 and K of infinitely wide layers instead, at the network's widths; multilayer perceptrons only
    reads : epochs after which K is read again, at the weights that the linearised dynamics have led the networks to:
        the motion of the kernel, in as many steps. From there on outputs are linear about these weights

    Returns
    -------
    A `PredictedTraining`. Its differences between networks are the randomness of T_0 and K. Without `reads` the motion
    of the kernel is left out: the prediction fails where a network learns features.

    K takes networks · m² numbers in float64. Raises `ValueError` for arrays and settings that cannot be used,
    `simulator.TrainingDivergedError` where the linearised outputs leave every bound.

    >>> import numpy as np
    >>> from simulator import mlp
    >>> from validation import predict_training
    >>> x, y = np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    >>> law = predict_training(mlp([4, 64, 1]), x, y, epochs=20, batch_size=2, learning_rate=0.1, backend="numpy")
    >>> law.risk.shape, bool(np.all(law.risk[-1] < law.risk[0]))
    ((21, 4), True)
    """
    labels = check_labels(y, check_examples(network, x, "float64").shape[0])
    schedule = schedule_of(learning_rate, epochs, batch_size, momentum, loss, seed)
    if weights is not None:
        law = linearised_networks(network, x, [weights], x_test, backend)
    elif wide:
        law = infinite_width(network, x, check_count(networks, "networks"), seed, x_test)
    else:
        streams = Streams(seed)
        drawn = [fresh_weights(network, streams, k) for k in range(check_count(networks, "networks"))]
        law = linearised_networks(network, x, drawn, x_test, backend)
    rows: list[dict[str, Array]] = []
    tested: list[Array] = []
    for state in linearised_epochs(law, labels, schedule, reads, reader(network, x, x_test, backend)):
        rows.append(describe(*state, labels, loss))
        if (test := state[0].test_outputs(state[1])) is not None:
            tested.append(test)
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return PredictedTraining(**columns, test_outputs=np.stack(tested) if tested else None)
