"""Networks whose outputs move along their tangent kernels: the linearised dynamics of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import (
    Network,
    TrainingDivergedError,
    output,
    output_derivative,
    output_gradient,
    tangent_kernel,
)
from simulator.inputs import check_examples
from simulator.passes.losses import get_loss
from simulator.passes.risk import batches
from simulator.streams import Seed, Streams
from theory import infinite_width_kernel

from .predict import perceptron_case

Array = np.ndarray[Any, Any]
BOUND = 1e30  # beyond it training has diverged: float32 still holds such numbers, and float64 their squares


@dataclass(frozen=True)
class Motion:
    """How the weights have moved since the law was read: by -(Σ_i u_i ∇T_i + a V), V the velocity that they had then.

    ``steps`` u and ``velocity`` v (networks, m), ``drift`` a and ``left`` g: the velocity is now Σ_i v_i ∇T_i + g V.
    """

    steps: Array
    velocity: Array
    drift: float = 0.0
    left: float = 1.0

    @classmethod
    def none(cls, law: Linearised) -> Motion:
        """Where the law was read."""
        return cls(np.zeros_like(law.start), np.zeros_like(law.start))


@dataclass(frozen=True)
class Linearised:
    """Networks whose outputs move along their tangent kernels as these were when they were last read.

    ``start`` T (networks, m) and ``kernel`` K (networks, m, m) at that moment, on the training examples; ``drift`` q
    (networks, m), the derivative of the outputs along the velocity that momentum had given to the weights, None before
    the first step; ``test_start``, ``test_drift`` (networks, m') and ``test_kernel`` (networks, m', m) of the examples
    of a test. ``weights`` and ``velocity`` of every network at that moment; the limit of wide layers has none.
    """

    start: Array
    kernel: Array
    test_start: Array | None = None
    test_kernel: Array | None = None
    weights: Sequence[Sequence[Any]] | None = None
    velocity: Sequence[Sequence[Any]] | None = None
    drift: Array | None = None
    test_drift: Array | None = None

    def outputs(self, motion: Motion) -> Array:
        """T - K u - a q."""
        return _moved(self.start, self.kernel, self.drift, motion)

    def test_outputs(self, motion: Motion) -> Array | None:
        """The same of the test, None without one."""
        if self.test_start is None or self.test_kernel is None:
            return None
        return _moved(self.test_start, self.test_kernel, self.test_drift, motion)


def _moved(start: Array, kernel: Array, drift: Array | None, motion: Motion) -> Array:
    moved = start - times(kernel, motion.steps)
    return moved if drift is None else moved - motion.drift * drift


def times(kernel: Array, vectors: Array) -> Array:
    """K u of every network."""
    product: Array = (kernel @ vectors[..., None])[..., 0]
    return product


def linearised_networks(
    network: Network,
    x: Any,
    weights: Sequence[Sequence[Any]],
    x_test: Any = None,
    backend: str | Backend | None = None,
    velocity: Sequence[Sequence[Any]] | None = None,
) -> Linearised:
    """T, K and q of networks with these weights and velocities, on x (m, ...) and on the examples of a test."""
    ops = get_backend(backend)

    def of_outputs(rows: Any) -> Array:
        return np.stack([output(network, w, rows, ops).astype(np.float64) for w in weights])

    def of_drift(rows: Any) -> Array | None:
        if velocity is None:
            return None
        return np.stack([derivative(network, w, v, rows, ops) for w, v in zip(weights, velocity, strict=True)])

    kernel = np.stack([tangent_kernel(network, w, x, backend=ops) for w in weights])
    law = Linearised(of_outputs(x), kernel, weights=weights, velocity=velocity, drift=of_drift(x))
    if x_test is None:
        return law
    test_kernel = np.stack([tangent_kernel(network, w, x_test, x, backend=ops) for w in weights])
    return replace(law, test_start=of_outputs(x_test), test_kernel=test_kernel, test_drift=of_drift(x_test))


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


def derivative(network: Network, weights: Sequence[Any], velocity: Sequence[Any], x: Any, ops: Backend) -> Array:
    """∇T(x_i)·V, taken for V of largest size 1: a velocity of 1e-300 is a number that float32 does not hold."""
    size = _size(*velocity)
    # Layers that vanish in this dtype beside others are as good as 0.
    along = [(part / size).astype(ops.dtype) for part in velocity]
    slopes = output_derivative(network, weights, x, along, ops)
    return size * slopes.astype(np.float64)


def combined(
    network: Network, weights: Sequence[Any], x: Any, u: Array, backend: str | Backend | None = None
) -> list[Array]:
    """Σ_i u_i ∇T(x_i) for u (m,), in float64; taken for u of largest size 1, as in `derivative`."""
    size = _size(u)
    return [size * part.astype(np.float64) for part in output_gradient(network, weights, x, u / size, backend)]


def _size(*parts: Array) -> float:
    return max((float(np.abs(part).max(initial=0.0)) for part in parts), default=0.0) or 1.0


def moved(
    network: Network,
    weights: Sequence[Any],
    velocity: Sequence[Any] | None,
    x: Any,
    motion: Motion,
    index: int,
    backend: str | Backend | None = None,
) -> tuple[list[Array], list[Array]]:
    """Weights and velocity of linearised network number `index`: w - Σ_i u_i ∇T_i - a V and Σ_i v_i ∇T_i + g V."""
    steps = combined(network, weights, x, motion.steps[index], backend)
    speeds = combined(network, weights, x, motion.velocity[index], backend)
    there = [np.asarray(w, dtype=np.float64) - step for w, step in zip(weights, steps, strict=True)]
    if velocity is None:
        return there, speeds
    pairs = zip(there, speeds, velocity, strict=True)
    both = [(w - motion.drift * old, new + motion.left * old) for w, new, old in pairs]
    return [w for w, _ in both], [v for _, v in both]


@dataclass(frozen=True)
class Schedule:
    """What `simulator.train` is told: ``rates`` are the learning rates of the epochs."""

    rates: Sequence[float]
    batch_size: int
    momentum: float = 0.0
    loss: str = "hinge"
    seed: Seed = 0


Read = Callable[[Linearised, Motion], Linearised]
"""The law of the same networks at the weights that it leads to; `OverflowError` where something there is too large."""


def linearised_epochs(
    law: Linearised, y: Array, schedule: Schedule, reads: Sequence[int] = (), read: Read | None = None
) -> Iterator[tuple[Linearised, Motion]]:
    """(law, motion since it was read) after epochs 0, 1, ...

    On the batches B_t that `simulator.train` visits for the same seed,

        v_{t+1} = momentum v_t + c_t,   u_{t+1} = u_t + learning_rate v_{t+1},   c_t = ∂ℓ/∂T/|B_t| on B_t, else 0,
        g_{t+1} = momentum g_t,         a_{t+1} = a_t + learning_rate g_{t+1},

    at the outputs T_t = T - K u_t - a_t q. After the epochs `reads` the law is read again by `read`, at the weights
    that it leads to: u, v and a start from 0 and g from 1, and the velocity that the weights then have is the law's V,
    which lasts as momentum lets it. With a reading at every step this is training itself. Raises
    `simulator.TrainingDivergedError`.
    """
    chosen, m, streams = get_loss(schedule.loss), law.start.shape[1], Streams(schedule.seed)
    motion = Motion.none(law)
    yield law, motion
    for epoch, rate in enumerate(schedule.rates, start=1):
        order = streams("batches", epoch).permutation(m)
        u, v, a, g = motion.steps.copy(), motion.velocity.copy(), motion.drift, motion.left
        drift = np.zeros_like(law.start) if law.drift is None else law.drift
        with np.errstate(over="ignore", invalid="ignore"):
            for part in batches(m, schedule.batch_size):
                rows = order[part]
                t = law.start[:, rows] - times(np.take(law.kernel, rows, axis=1), u) - a * drift[:, rows]
                v *= schedule.momentum
                v[:, rows] += chosen.slope(np, y[rows] * t) * y[rows] / rows.size
                g *= schedule.momentum
                u += rate * v
                a += rate * g
        motion = Motion(u, v, a, g)
        if not max(np.abs(u).max(initial=0.0), np.abs(v).max(initial=0.0), a) <= BOUND:
            raise TrainingDivergedError(epoch, rate)
        if read is not None and epoch in reads:
            try:
                law, motion = read(law, motion), Motion.none(law)
            except OverflowError:
                raise TrainingDivergedError(epoch, rate) from None
        yield law, motion


def reader(network: Network, x: Any, x_test: Any = None, backend: str | Backend | None = None) -> Read:
    """Kernels read again at the weights that the law leads to."""

    def read(law: Linearised, motion: Motion) -> Linearised:
        if law.weights is None:
            raise ValueError("the limit of wide layers has no weights to move: use wide=False, or no reads")
        pairs = [
            moved(network, w, law.velocity[k] if law.velocity else None, x, motion, k, backend)
            for k, w in enumerate(law.weights)
        ]
        if not all(np.abs(part).max() <= BOUND for pair in pairs for parts in pair for part in parts):
            raise OverflowError(f"the weights or their velocities are beyond {BOUND:g}")
        weights, velocity = [w for w, _ in pairs], [v for _, v in pairs]
        with np.errstate(over="ignore", invalid="ignore"):
            again = linearised_networks(network, x, weights, x_test, backend, velocity)
        if not all(part is None or np.isfinite(part).all() for part in (again.start, again.kernel, again.drift)):
            raise OverflowError("the outputs or kernels of the moved weights are not finite")
        return again

    return read
