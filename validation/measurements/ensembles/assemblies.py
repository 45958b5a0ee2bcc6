"""Monte Carlo of assemblies of order k = 0, 1, 2 in random networks, the last layer integrated out (M4).

The networks of (20) and (21): constant width n, depth L, Gaussian weights of variance 2/n (1/n in the last layer), so
that c = 1; x = (1, ..., 1). In every layer max(1, round(n^{(1-µ)/2})) weights at uniformly random places are broken,
w → |w|. All neurons of a layer are then exchangeable, so that an entry of ∇T or ∇²T has the mean, and the mean square,
of the average over all entries of its kind, which is what is measured: far less noise than one entry has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends import Array, Backend, HostArray
from simulator.streams import Seed, spawn_streams
from validation.statistics.estimate import Estimate, mean_and_error

BATCH = 1 << 21  # weights of one batch of networks
Removed = tuple[int, ...]

# Sets of removed layers, the same kind at every depth L ≥ 4 (all of them at L = 4); m = L // 2.
KINDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "1": ("1",),
    "m": ("m",),
    "L-1": ("L-1",),
    "L": ("L",),
    "1,2": ("1", "2"),
    "1,L-1": ("1", "L-1"),
    "L-2,L-1": ("L-2", "L-1"),
    "1,L": ("1", "L"),
    "m,L": ("m", "L"),
    "L-1,L": ("L-1", "L"),
}


def removed_layers(kind: str, depth: int) -> Removed:
    """The layers, from 1 to L, that a kind of `KINDS` names at depth L ≥ 4."""
    if depth < 4:
        raise ValueError(f"depth {depth} has too few layers for all sets of removed layers: use L >= 4")
    places = {"1": 1, "2": 2, "m": depth // 2, "L-2": depth - 2, "L-1": depth - 1, "L": depth}
    return tuple(places[name] for name in KINDS[kind])


def broken_count(n: int, mu: float | None) -> int:
    """max(1, round(n^{(1-µ)/2})), the number of broken weights in a layer; 0 for µ = None, all intact."""
    return 0 if mu is None else max(1, round(n ** ((1.0 - mu) / 2.0)))


@dataclass(frozen=True)
class AssemblyMoments:
    """One kind of assembly at one (n, L, µ); ``mu`` None: all weights intact.

    ``mean`` E Σδ^kΨ, 0 without error where W_L is intact and not removed. ``square`` E(Σδ^kΨ)². ``bound`` the
    right-hand side of M4 for the mean, see `measure_assemblies`; ``tightness`` mean/bound, None where both are 0.
    """

    kind: str
    n: int
    depth: int
    mu: float | None
    draws: int
    mean: Estimate
    square: Estimate
    bound: float
    tightness: Estimate | None


def measure_assemblies(
    n: int, depth: int, mus: Sequence[float | None], draws: int, seed: Seed, backend: Backend
) -> list[AssemblyMoments]:
    """E Σδ^kΨ and E(Σδ^kΨ)² of every kind of assembly for every µ, from the same `draws` networks.

    An assembly of order k is T (k = 0), an entry of ∇T, or one of ∇²T: of two adjacent layers one whose weights
    meet in a neuron (the others are 0). It is Σ_j w_j^L A_j, or A_j itself where W_L is removed; A_j does not depend
    on W_L, of which only E w_j = (B/n) s_L √(2/π), E w_j² = s_L² and E w_j w_k = (2s_L²/π) B(B-1)/(n(n-1)) enter.

    M4 for assemblies: A_j = h_j Y_j with h_j the gate of neuron j of layer L-1. Negating the weights into it, if
    intact, turns h_j over and leaves |Y_j|: E h_j|Y_j| = ½E|Y_j|, so that

        |E Σδ^kΨ| ≤ Σ_j |E w_j| ½ √(E Y_j²),   or ½ √(E Y_j²) where W_L is removed.

    Y_j is z_j for k = 0 and for ∇_L T, else the perturbation of z_j. Where weights into j are broken the ½ becomes 1:
    with probability p that they are, ½ becomes √(¼ + ¾p) (Cauchy-Schwarz). E Y_j² is measured on the same networks.

    Sums over the entries of a Jacobian J are taken as 1^T J 1, of their squares as ||J^T ε||² with random signs ε.
    """
    drawn: dict[tuple[float | None, str], list[HostArray]] = {}
    weights_seed, places_seed, probe_seed = spawn_streams(seed, 3)
    order = sorted(mus, key=lambda mu: broken_count(n, mu))  # sets of broken weights are nested: break more and more
    most, size = broken_count(n, order[-1]), max(1, BATCH // ((depth - 1) * n * n))
    for first in range(0, draws, size):
        count = min(size, draws - first)
        host = weights_seed.standard_normal((depth - 1, count, n, n)) * math.sqrt(2.0 / n)
        places = _places(places_seed, (depth - 1, count), n * n, most)
        probes = probe_seed.integers(0, 2, (4, count, n)) * 2.0 - 1.0
        done = 0
        for mu in order:
            broken = broken_count(n, mu)
            _break(host, places[..., done:broken])
            done = broken
            passed = _Pass([backend.asarray(w) for w in host], [backend.asarray(p) for p in probes], backend)
            for kind in KINDS:
                values = backend.to_numpy(passed.assembly(removed_layers(kind, depth)))
                drawn.setdefault((mu, kind), []).append(values)
    return [_summary(kind, n, depth, mu, np.concatenate(drawn[mu, kind], axis=1)) for mu in mus for kind in KINDS]


def _places(rng: np.random.Generator, shape: tuple[int, int], size: int, count: int) -> HostArray:
    """Different places in each layer of each network, in random order: (layers, networks, count)."""
    rows = [rng.choice(size, count, replace=False) for _ in range(math.prod(shape))]
    return np.array(rows, dtype=np.int64).reshape(*shape, count)


def _break(weights: HostArray, places: HostArray) -> None:
    """w → |w| at the places, in every layer of every network."""
    flat = weights.reshape(*weights.shape[:2], -1)
    np.put_along_axis(flat, places, np.abs(np.take_along_axis(flat, places, axis=2)), axis=2)


class _Pass:
    """Signals, tangents and back-propagated sums of a batch of networks, hidden layers 1..L-1; rows are networks."""

    def __init__(self, weights: list[Array], probes: list[Array], backend: Backend) -> None:
        self.xp, self.depth = backend.xp, len(weights) + 1
        self.n = int(weights[0].shape[-1])
        self._starts = sorted({1, 2, self.depth // 2})
        self._forward(weights, probes)
        self._backward(weights, probes[3])

    def _forward(self, weights: list[Array], probes: list[Array]) -> None:
        """Means of x and x², gates, mean z_{L-1}²; entries of ∂x_k/∂z_l for the starts l: mean, mean square."""
        xp = self.xp
        rows = xp.ones_like(probes[0])[:, None, :]
        started: list[int] = []
        self.gates: list[Array] = []
        self.x_mean, self.x_square = [xp.mean(rows[:, 0, :], axis=1)], [xp.mean(rows[:, 0, :] ** 2, axis=1)]
        self.jacobian: dict[tuple[int, int], tuple[Array, Array]] = {}
        self.ungated: dict[int, Array] = {}
        for layer, w in enumerate(weights, start=1):
            fields = xp.matmul(rows, w)
            if layer == self.depth - 1:
                self.z_square = xp.mean(fields[:, 0, :] ** 2, axis=1)
                self.ungated = {
                    s: xp.mean(fields[:, 2 + 2 * i, :] ** 2, axis=1) / self.n for i, s in enumerate(started)
                }
            gate = xp.astype(fields[:, 0, :] > 0, fields.dtype)
            rows = fields * gate[:, None, :]
            self.gates.append(gate)
            self.x_mean.append(xp.mean(rows[:, 0, :], axis=1))
            self.x_square.append(xp.mean(rows[:, 0, :] ** 2, axis=1))
            for i, start in enumerate(started):
                ones, signs = rows[:, 1 + 2 * i, :], rows[:, 2 + 2 * i, :]
                self.jacobian[start, layer] = xp.mean(ones, axis=1) / self.n, xp.mean(signs**2, axis=1) / self.n
            if layer in self._starts and layer < self.depth - 1:
                rows = xp.concat([rows, xp.stack([gate, gate * probes[len(started)]], axis=1)], axis=1)
                started.append(layer)

    def _backward(self, weights: list[Array], probe: Array) -> None:
        """Mean over b of Σ_j J_bj and of its square, and of Σ_j J_bj², J = ∂x_{L-1}/∂z_l, for every hidden layer l."""
        xp = self.xp
        columns = xp.stack([xp.ones_like(probe), probe], axis=2)
        self.back: dict[int, tuple[Array, Array, Array]] = {}
        for layer in range(self.depth - 1, 0, -1):
            columns = columns * self.gates[layer - 1][:, :, None]
            ones, signs = columns[:, :, 0], columns[:, :, 1]
            self.back[layer] = xp.mean(ones, axis=1), xp.mean(ones**2, axis=1), xp.mean(signs**2, axis=1)
            columns = xp.matmul(weights[layer - 1], columns)

    def assembly(self, removed: Removed) -> Array:
        """(4, networks): Σ_j A_j, (Σ_j A_j)², Σ_j A_j² and Y², averages over entries; one j where W_L is removed."""
        xp, last = self.xp, self.depth
        below = [layer for layer in removed if layer < last]
        if not below:
            x, square = self.x_mean[-1], self.x_square[-1]
            count = 1 if removed else self.n
            return xp.stack([count * x, (count * x) ** 2, count * square, self.z_square])
        mean, square = self.x_mean[below[0] - 1], self.x_square[below[0] - 1]
        for low, high in itertools.pairwise(below):
            link = self._link(low, high)
            mean, square = mean * link[0], square * link[1]
        top = below[-1]
        perturbed = square if top == last - 1 else square * self.ungated[top]
        if last in removed:
            link = self._link(top, last)
            return xp.stack([mean * link[0], square * link[1], square * link[1], perturbed])
        ones, ones_square, squares = self.back[top]
        return xp.stack([mean * ones, square * ones_square, square * squares, perturbed])

    def _link(self, low: int, high: int) -> tuple[Array, Array]:
        """Mean and mean square of the entries of ∂x_{high-1}/∂z_low, the diagonal ones where high = low + 1."""
        if high > low + 1:
            return self.jacobian[low, high - 1]
        gate = self.xp.mean(self.gates[low - 1], axis=1)
        return gate, gate


def _summary(kind: str, n: int, depth: int, mu: float | None, values: HostArray) -> AssemblyMoments:
    """W_L put back in: E w_j and E w_j w_k over its Gaussian weights and the places of its broken ones."""
    sums, sums_square, squares, perturbed = values
    removed, broken = removed_layers(kind, depth), broken_count(n, mu)
    open_end = depth in removed
    mean_weight = 1.0 if open_end else broken / n * math.sqrt(2.0 / (math.pi * n))
    cross = 0.0 if n == 1 else 2.0 / (math.pi * n) * broken * (broken - 1) / (n * (n - 1))
    square = squares if open_end else (1.0 / n - cross) * squares + cross * sums_square
    neurons = 1 if open_end or depth - 1 in removed else n
    half = math.sqrt(0.25 + 0.75 * _share_of_broken_columns(n, broken))
    bound = mean_weight * neurons * half * math.sqrt(float(np.mean(perturbed)))
    mean = mean_and_error(mean_weight * sums)
    return AssemblyMoments(
        kind, n, depth, mu, sums.size, mean, mean_and_error(square), bound,
        _tightness(mean_weight * sums, perturbed, mean.value / bound) if bound > 0 else None,
    )  # fmt: skip


def _share_of_broken_columns(n: int, broken: int) -> float:
    """The probability that a broken weight enters a given neuron: `broken` of n² places, n of them its own."""
    untouched = 1.0
    for i in range(broken):
        untouched *= (n * n - n - i) / (n * n - i)
    return 1.0 - untouched


def _tightness(values: HostArray, perturbed: HostArray, ratio: float) -> Estimate:
    """mean/bound, its error by the delta method: the bound is ∝ √(mean Y²) over the same networks."""
    parts = values / np.mean(values) - 0.5 * perturbed / np.mean(perturbed)
    return Estimate(ratio, abs(ratio) * mean_and_error(parts).standard_error)
