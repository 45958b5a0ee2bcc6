"""Kinks of the risk near a point: gates at z = 0 and hinges at a margin of 1, where the gradient jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.propagation import backpropagate, example_gradients, linear, patches, propagate
from simulator.passes.risk import batches, gradient
from simulator.shown import shown
from simulator.streams import Seed, Streams

KINKED_LOSSES = {"hinge": 1.0, "perceptron": 0.0}  # the margin at which ℓ' jumps


@shown
@dataclass(frozen=True)
class KinkDistances:
    """How far the weights are from the nearest kink, as a share of their length ||θ||; infinite where there is none.

    ``gate``: the least |z|/||x|| over the neurons of hidden layers and the examples with ℓ' ≠ 0: what must be added to
    the weights of that neuron to bring it to z = 0. Neurons that read only zeros are left out: no change of their
    weights moves them. ``margin``: the least |u - 1|/||∇T|| over all examples, for a loss with a kink at u = 1 (to
    first order).
    """

    gate: float
    margin: float

    @property
    def nearest(self) -> float:
        """The smaller of the two."""
        return min(self.gate, self.margin)


def kink_distances(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
) -> KinkDistances:
    """The nearest gate and the nearest margin at a kink: see `KinkDistances`.

    Raises `ValueError` for a network with max-pools, whose choices are kinks too and are not measured.

    >>> import numpy as np
    >>> from simulator import kink_distances, mlp
    >>> kink_distances(mlp([1, 1, 1]), [np.array([[0.3]]), np.array([[0.4]])], [[1.0]], [1.0])
    KinkDistances(gate=0.6, margin=3.52)
    """
    if network.has_maxima:
        raise ValueError("the network has max-pools, whose choices are kinks that are not measured: use average pools")
    ops, chosen = get_backend(backend), get_loss(loss)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    labels = check_labels(y, x.shape[0])
    length = math.sqrt(sum(ops.inner(a, a) for a in w))
    if length == 0.0:
        return KinkDistances(0.0, math.inf)
    gate, margin = math.inf, math.inf
    with ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            signals = propagate(network, w, ops.asarray(x[part]), ops)
            u = labels[part] * ops.to_numpy(signals.output).astype(np.float64)
            active = chosen.slope(np, u) != 0
            for index in range(network.depth - 1):
                gate = min(gate, _gate(network, index, signals.inputs[index], w[index], active, ops))
            if loss in KINKED_LOSSES:
                slopes = backpropagate(network, w, signals, ops.xp.ones_like(signals.output), ops)
                steep = _gradient_lengths(network, signals.inputs, slopes, ops)
                margin = min(margin, _least(np.abs(u - KINKED_LOSSES[loss]), steep))
    return KinkDistances(gate / length, margin / length)


def _gate(network: Network, index: int, x: Array, w: Array, active: HostArray, ops: Backend) -> float:
    """The least |z|/||x|| of one layer over the active examples."""
    if not active.any():
        return math.inf
    layer = network.layers[index]
    z = np.abs(ops.to_numpy(linear(ops, layer, (x, w))).astype(np.float64))[active]
    read = ops.to_numpy(patches(ops, layer, x)).astype(np.float64)[active]
    sizes = np.linalg.norm(read, axis=-1)
    return _least(z.reshape(*sizes.shape, -1), sizes[..., None])


def _least(distance: HostArray, steep: HostArray) -> float:
    """The least quotient where the divisor is not 0; infinite where it always is."""
    steep = np.broadcast_to(steep, distance.shape)
    moved = steep > 0.0
    return float(np.min(distance[moved] / steep[moved], initial=math.inf))


def _gradient_lengths(network: Network, inputs: Sequence[Array], slopes: Sequence[Array], ops: Backend) -> HostArray:
    """||∇T_i|| of every example (m,)."""
    total = np.zeros(int(inputs[0].shape[0]))
    for layer, x, slope in zip(network.layers, inputs, slopes, strict=True):
        made = ops.to_numpy(example_gradients(ops, layer, x, slope)).astype(np.float64)
        total += np.sum(made.reshape(len(total), -1) ** 2, axis=1)
    return np.sqrt(total)


@shown
@dataclass(frozen=True)
class NearbyGradients:
    """Gradients at points drawn from a ball, and the shortest vector of their convex hull.

    ``shortest``: its length. 0 says that the point is stationary up to ``radius`` in the sense of Clarke [Burke2005].
    It is an upper bound: more points make the hull larger. ``own``: ||∇R|| at the point. ``distinct``: how many of the
    gradients differ.
    """

    shortest: float
    own: float
    radius: float
    distinct: int


def nearby_gradients(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    *,
    radius: float = 1e-4,
    draws: int = 64,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> NearbyGradients:
    """The shortest convex combination of ∇R at a point and at `draws` points at most `radius` ||θ|| from it.

    At a kink ∇R is no measure of how far a point is from being stationary: gradients on both sides may be long and
    point against each other. Directions are uniform and distances too, so that near kinks are met as well.

    >>> import numpy as np
    >>> from simulator import mlp, nearby_gradients
    >>> x, y = [[1.0], [1.0], [1.0]], [1.0, 1.0, -1.0]  # slope -1/3 below w = 1, 1/3 above
    >>> found = nearby_gradients(mlp([1, 1]), [np.array([[1.0]])], x, y)
    >>> round(found.own, 6), round(found.shortest, 6)
    (0.333333, 0.0)
    """
    ops, count = get_backend(backend), check_count(draws, "draws")
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius {radius!r} is not usable: use a number > 0")
    theta = network.flatten([ops.to_numpy(w).astype(np.float64) for w in check_weights(network, weights, ops)])
    rng, reach = Streams(seed)("nearby gradients"), radius * float(np.linalg.norm(theta))

    def at(place: HostArray) -> HostArray:
        return network.flatten(gradient(network, network.unflatten(place), x, y, loss, ops)).astype(np.float64)

    rows = [at(theta)]
    for _ in range(count):
        way = rng.standard_normal(theta.size)
        rows.append(at(theta + rng.random() * reach / np.linalg.norm(way) * way))
    found = np.array(rows)
    size = float(np.linalg.norm(found, axis=1).max())
    distinct = len(np.unique(np.round(found / (size or 1.0), 6), axis=0))
    return NearbyGradients(shortest_combination(found), float(np.linalg.norm(found[0])), radius, distinct)


def shortest_combination(rows: HostArray) -> float:
    """min ||Σ_k a_k g_k|| over a_k ≥ 0, Σ a_k = 1, of rows g_k.

    With a = s b, s > 0 and b such a combination, ||Σ a_k g_k||² + (1 - Σ a_k)² is least at a value that grows with
    ||Σ b_k g_k|| alone: a least-squares problem with a ≥ 0.

    >>> import numpy as np
    >>> from simulator.stationary.kinks import shortest_combination
    >>> round(shortest_combination(np.array([[2.0, 1.0], [-2.0, 1.0]])), 6)
    1.0
    """
    size = float(np.linalg.norm(rows, axis=1).max())
    if size == 0.0:
        return 0.0
    scaled = rows / size
    _, triangle = np.linalg.qr(scaled.T)  # the same inner products in fewer numbers
    system = np.vstack([triangle, np.ones(len(rows))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    combination = nnls(system, target)[0]
    return size * float(np.linalg.norm((combination / combination.sum()) @ scaled))
