"""Training predicted before it begins: the linearised dynamics of the outputs under the tangent kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import Network, TrainingDivergedError, fresh_weights, output, output_gradient, tangent_kernel
from simulator.inputs import check_count, check_examples, check_labels
from simulator.passes.losses import get_loss
from simulator.passes.risk import batches
from simulator.streams import Seed, Streams
from simulator.training.descent import check_schedule
from theory import infinite_width_kernel

from .predict import perceptron_case

Array = np.ndarray[Any, Any]
BOUND = 1e30  # beyond it training has diverged: float32 still holds such numbers, and float64 their squares


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


@dataclass(frozen=True)
class Linearised:
    """Networks whose outputs move along their tangent kernels as these were when they were last read.

    ``start`` T (networks, m) and ``kernel`` K (networks, m, m) at that moment, on the training examples; ``test_start``
    (networks, m') and ``test_kernel`` (networks, m', m) between the examples of a test and those. ``weights`` of every
    network at that moment; None in the limit of wide layers, which has none.
    """

    start: Array
    kernel: Array
    test_start: Array | None = None
    test_kernel: Array | None = None
    weights: Sequence[Sequence[Any]] | None = None

    def outputs(self, moved: Array) -> Array:
        """T after the weights have moved by -∇T^T u: T - K u for u (networks, m)."""
        return self.start - _times(self.kernel, moved)

    def test_outputs(self, moved: Array) -> Array | None:
        """The same of the test, None without one."""
        if self.test_start is None or self.test_kernel is None:
            return None
        return self.test_start - _times(self.test_kernel, moved)


def _times(kernel: Array, vectors: Array) -> Array:
    product: Array = (kernel @ vectors[..., None])[..., 0]
    return product


def linearised_networks(
    network: Network,
    x: Any,
    weights: Sequence[Sequence[Any]],
    x_test: Any = None,
    backend: str | Backend | None = None,
) -> Linearised:
    """T and K of networks with these weights, on x (m, ...) and on the examples of a test."""
    ops = get_backend(backend)
    start = np.stack([output(network, w, x, ops).astype(np.float64) for w in weights])
    kernel = np.stack([tangent_kernel(network, w, x, backend=ops) for w in weights])
    if x_test is None:
        return Linearised(start, kernel, weights=weights)
    test_start = np.stack([output(network, w, x_test, ops).astype(np.float64) for w in weights])
    test_kernel = np.stack([tangent_kernel(network, w, x_test, x, backend=ops) for w in weights])
    return Linearised(start, kernel, test_start, test_kernel, weights)


def infinite_width(network: Network, x: Any, networks: int, seed: Seed, x_test: Any = None) -> Linearised:
    """Draws of T_0 from its Gaussian limit, and the limit of K, for a multilayer perceptron of these widths."""
    rows = check_examples(network, x, "float64")
    tested = [] if x_test is None else [check_examples(network, x_test, "float64")]
    every = np.concatenate([rows, *tested])
    flat, _, widths, variances = perceptron_case(network, every, np.ones(len(every)), "R7")
    kernel, covariance = infinite_width_kernel(flat, widths, variances)
    values, vectors = np.linalg.eigh(covariance)
    root, streams = vectors * np.sqrt(np.clip(values, 0.0, None)), Streams(seed)
    drawn = np.stack([root @ streams("fresh networks", k).standard_normal(len(every)) for k in range(networks)])
    m = len(rows)
    every_kernel = np.broadcast_to(kernel, (networks, *kernel.shape))
    if not tested:
        return Linearised(drawn, every_kernel)
    return Linearised(drawn[:, :m], every_kernel[:, :m, :m], drawn[:, m:], every_kernel[:, m:, :m])


def moved_weights(
    network: Network, weights: Sequence[Any], x: Any, moved: Array, backend: str | Backend | None = None
) -> list[Array]:
    """w - Σ_i u_i ∇T(x_i) for u (m,): where the weights of a linearised network are, in float64.

    The gradient is taken for u of largest size 1: a backend of float32 holds no step of 1e-300, and the weights do not
    need it to.
    """
    size = float(np.abs(moved).max(initial=0.0)) or 1.0
    steps = output_gradient(network, weights, x, moved / size, backend)
    return [np.asarray(w, dtype=np.float64) - size * step for w, step in zip(weights, steps, strict=True)]


@dataclass(frozen=True)
class Schedule:
    """What `simulator.train` is told: ``rates`` are the learning rates of the epochs."""

    rates: Sequence[float]
    batch_size: int
    momentum: float = 0.0
    loss: str = "hinge"
    seed: Seed = 0


Read = Callable[[Linearised, Array], Linearised]
"""(law, u) -> the law of the same networks once their weights have moved by -Σ_i u_i ∇T_i.

`OverflowError` where these or their outputs are too large."""


def linearised_epochs(
    law: Linearised, y: Array, schedule: Schedule, reads: Sequence[int] = (), read: Read | None = None
) -> Iterator[tuple[Linearised, Array]]:
    """(law, u) after epochs 0, 1, ...: since the law was read the weights have moved by -Σ_i u_i ∇T_i.

    On the batches B_t that `simulator.train` visits for the same seed,

        v_{t+1} = momentum v_t + c_t,   u_{t+1} = u_t + learning_rate v_{t+1},   c_t = ∂ℓ/∂T/|B_t| on B_t, else 0,

    at the outputs T_t = T - K u_t. After the epochs `reads` the law is read again by `read`, at the weights that it
    leads to, and u starts from 0; what v holds is taken for steps along the new gradients. Raises
    `simulator.TrainingDivergedError`.
    """
    chosen, m, streams = get_loss(schedule.loss), law.start.shape[1], Streams(schedule.seed)
    moved, velocity = np.zeros_like(law.start), np.zeros_like(law.start)
    yield law, moved
    for epoch, rate in enumerate(schedule.rates, start=1):
        order = streams("batches", epoch).permutation(m)
        moved = moved.copy()  # what was handed out stays
        with np.errstate(over="ignore", invalid="ignore"):
            for part in batches(m, schedule.batch_size):
                rows = order[part]
                t = law.start[:, rows] - _times(np.take(law.kernel, rows, axis=1), moved)
                velocity *= schedule.momentum
                velocity[:, rows] += chosen.slope(np, y[rows] * t) * y[rows] / rows.size
                moved += rate * velocity
        if not np.abs(moved).max(initial=0.0) <= BOUND:
            raise TrainingDivergedError(epoch, rate)
        if read is not None and epoch in reads:
            try:
                law, moved = read(law, moved), np.zeros_like(moved)
            except OverflowError:
                raise TrainingDivergedError(epoch, rate) from None
        yield law, moved


def reader(network: Network, x: Any, x_test: Any = None, backend: str | Backend | None = None) -> Read:
    """Kernels read again at the weights that the law leads to."""

    def read(law: Linearised, moved: Array) -> Linearised:
        if law.weights is None:
            raise ValueError("the limit of wide layers has no weights to move: use wide=False, or no reads")
        pairs = zip(law.weights, moved, strict=True)
        weights = [moved_weights(network, w, x, u, backend) for w, u in pairs]
        if not all(np.abs(layer).max() <= BOUND for w in weights for layer in w):
            raise OverflowError(f"the weights are beyond {BOUND:g}")
        with np.errstate(over="ignore", invalid="ignore"):
            again = linearised_networks(network, x, weights, x_test, backend)
        if not all(np.isfinite(a).all() for a in (again.start, again.kernel)):
            raise OverflowError("the outputs or kernels of the moved weights are not finite")
        return again

    return read


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


def describe(law: Linearised, moved: Array, y: Array, loss: str) -> dict[str, Array]:
    """T, c, risk, accuracy, active and order parameter of every network that has moved by u (networks, m)."""
    chosen, t = get_loss(loss), law.outputs(moved)
    u = y * t
    c = chosen.slope(np, u) * y / t.shape[1]
    return {
        "outputs": t,
        "c": c,
        "risk": np.mean(chosen.value(np, u), axis=1),
        "accuracy": np.mean(u > 0, axis=1),
        "active": np.count_nonzero(c, axis=1),
        "order_parameter": np.sum(c * _times(law.kernel, c), axis=1),
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
