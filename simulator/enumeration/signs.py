"""Finite exact ensembles: all 2^k sign patterns of the intact weights of a small network, at fixed magnitudes.

Intact weights have the law ±|w| with equal odds, independently; broken ones keep the value they are given. Every
expectation of the symmetry theorems (S1, S2, M1-M4) is then a finite sum, and every probability a count over 2^k: what
vanishes by symmetry is exactly 0. `Backend.enumerate_signs`, `count_circuits` and `count_changes` may offer
specialised twins of the three functions that visit every pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_examples, check_weights
from simulator.network.network import Network
from simulator.shown import shown

from .gates import EnumerationError, n_gates
from .sign_passes import PatternSignals, pattern_gradients, propagate_patterns, signed_weights

MAX_SIGNS = 24  # intact weights: 2^24 outputs take 0.13 GB
MAX_SIGNS_DENSE = 16  # intact weights where whole rows (gradients, signals) are kept for every pattern
MAX_GATES = 64  # the bits of a word
BLOCK = 1 << 14  # patterns in one batch of the reference


@shown
@dataclass(frozen=True)
class CircuitLaw:
    """The law of basis circuits (11) in a sign ensemble; |Ψ| is fixed, so that three numbers are the whole law.

    ``probabilities`` (n_paths, 3): P(Ψ < 0), P(Ψ = 0), P(Ψ > 0), counts over 2^k. ``distance`` (n_paths,):
    d_TV(law Ψ, law -Ψ) = |P(Ψ > 0) - P(Ψ < 0)|, exactly 0 for a symmetric circuit.
    """

    probabilities: HostArray

    @property
    def distance(self) -> HostArray:
        distance: HostArray = np.abs(self.probabilities[:, 2] - self.probabilities[:, 0])
        return distance


@shown
@dataclass(frozen=True)
class CouplingLaw:
    """What negating one weight of a path does to its circuit (S2); primes denote the network with it negated.

    ``mismatch`` (n_paths,): P(Ψ' ≠ -Ψ). ``gate_change`` (n_paths,): P(some gate of the path at or above the layer
    of the weight changes). S2: d_TV ≤ mismatch/2 ≤ gate_change/2.
    """

    mismatch: HostArray
    gate_change: HostArray


@shown
@dataclass(frozen=True)
class SignEnsemble:
    """A network under all sign patterns of its intact weights, for one input.

    Bit j of a pattern is set when the j-th intact weight, in flat order, is negative. The gates do not see W_L, whose
    k_L signs are the highest bits: they are stored once for the k' = k - k_L signs below.

    Attributes: ``network``; ``magnitudes`` (N,): |w| of intact weights, w of broken ones; ``x`` (n_0,);
    ``intact`` (N,) bool; ``hidden_gates`` (2^k',) uint64, gate g in bit g, gates in layer order; ``output`` (2^k,)
    T(x); ``neuron_moments`` (G, 4): E x, E x², E z, E z² of every hidden neuron; ``backend``.
    """

    network: Network
    magnitudes: HostArray
    x: HostArray
    intact: HostArray
    hidden_gates: HostArray = field(repr=False)
    output: HostArray = field(repr=False)
    neuron_moments: HostArray = field(repr=False)
    backend: Backend = field(repr=False)

    @property
    def widths(self) -> list[int]:
        """[n_0, ..., n_{L-1}, 1]."""
        return [self.network.input_shape[0], *(layer.gate_shape[0] for layer in self.network.layers)]

    @property
    def gates(self) -> HostArray:
        """The gates of every pattern, (2^k,) uint64: state index Σ 2^g h_g, gates g in layer order."""
        return np.tile(self.hidden_gates, self.output.size // self.hidden_gates.size)

    @cached_property
    def sign_bits(self) -> HostArray:
        """The pattern bit of every weight, (N,); -1 for broken ones."""
        bits: HostArray = np.where(self.intact, np.cumsum(self.intact) - 1, -1)
        return bits

    @property
    def mean_output(self) -> float:
        """E T."""
        return float(np.mean(self.output))

    @property
    def second_moments(self) -> HostArray:
        """E||x_1||², ..., E||x_{L-1}||², E T², (L,): what `theory.second_moment` (M1) predicts."""
        parts = np.split(self.neuron_moments[:, 1], self._first_gates[1:])
        return np.array([*(np.sum(p) for p in parts if self.network.depth > 1), np.mean(self.output**2)])

    @property
    def last_layer(self) -> HostArray:
        """E x, E x², E z, E z² of the neurons that W_L reads, (n_{L-1}, 4); needs L ≥ 2."""
        return self.neuron_moments[self._first_gates[-1] :]

    @cached_property
    def _first_gates(self) -> list[int]:
        """The index of the first gate of every hidden layer."""
        return [int(s) for s in np.cumsum([0, *self.widths[1:-2]])]

    def circuit_law(self, paths: Any) -> CircuitLaw:
        """Exact laws of the basis circuits along `paths` (n_paths, L+1), neuron indices i_0..i_L."""
        route = self._check_paths(paths)
        weights = self._path_weights(route)
        bits = self.sign_bits[weights]
        below = int(self.hidden_gates.size).bit_length() - 1
        hidden = np.where((bits >= 0) & (bits < below), 1 << np.maximum(bits, 0), 0)
        counts = self._count_circuits(self._path_masks(route), hidden.sum(axis=1))
        sign = np.sign(self.magnitudes[weights]).prod(axis=1)
        # The sign of an intact last weight is independent of everything below: half of the patterns each.
        halves = np.where((bits[:, -1] >= 0)[:, None], counts.sum(axis=1, keepdims=True), 2 * counts)
        plus, minus = (np.where(sign > 0, halves[:, i], halves[:, 1 - i]) * (sign != 0) for i in (0, 1))
        total = 2 * self.hidden_gates.size
        return CircuitLaw(np.stack([minus, total - plus - minus, plus], axis=1) / total)

    def coupling_law(self, paths: Any, layer: int) -> CouplingLaw:
        """Exact probabilities of S2 when the weight of each path at `layer` (0 for the first) is negated.

        These weights must be intact. Negating one of W_L changes no gate: both probabilities are then 0.
        """
        route = self._check_paths(paths)
        if not 0 <= layer < self.network.depth:
            raise ValueError(f"layer {layer!r} does not exist: use 0 to {self.network.depth - 1}")
        weights = self._path_weights(route)
        above = self._path_masks(route, layer)
        counts = self._count_changes(self._path_masks(route), above, self._flips(weights[:, layer]))
        alive = np.all(self.magnitudes[weights] != 0, axis=1)
        probability = counts / self.hidden_gates.size
        return CouplingLaw(probability[:, 0] * alive, probability[:, 1])

    def flip_probability(self, weight: Any) -> HostArray:
        """P(gate g changes) when one intact weight is negated, as in S3: flat weight indices (...) -> (..., G)."""
        index = np.asarray(weight, dtype=np.int64)
        gates = np.uint64(1) << np.arange(n_gates(self.network), dtype=np.uint64)
        flips = np.repeat(self._flips(index.reshape(-1)), gates.size)
        above = np.tile(gates, index.size)
        counts = self._count_changes(np.zeros_like(above), above, flips)[:, 1]
        probability: HostArray = counts.reshape(*index.shape, gates.size) / self.hidden_gates.size
        return probability

    def signals(self, patterns: Any = None) -> PatternSignals:
        """The forward pass of the given patterns (P,), by default all 2^k of them (k ≤ 16), on the device."""
        if patterns is None:
            self._check_dense()
            patterns = np.arange(self.output.size)
        weights = signed_weights(self.network, self.magnitudes, self.sign_bits, np.asarray(patterns), self.backend)
        return propagate_patterns(weights, self.x, self.backend)

    def gradients(self) -> HostArray:
        """∇T of every pattern with frozen gates, (2^k, N); k ≤ 16."""
        parts = pattern_gradients(self.signals(), self.backend)
        rows = [self.backend.to_numpy(p).reshape(self.output.size, -1) for p in parts]
        return np.concatenate(rows, axis=1)

    def path_weights(self, paths: Any) -> HostArray:
        """The flat index of every weight of the paths, (n_paths, L)."""
        return self._path_weights(self._check_paths(paths))

    def _check_dense(self) -> None:
        k = int(self.intact.sum())
        if k > MAX_SIGNS_DENSE:
            raise EnumerationError(
                f"{k} intact weights make {2**k} patterns, each with a row of its own: the limit is "
                f"{MAX_SIGNS_DENSE} intact weights; name the patterns, or use circuit laws and moments"
            )

    def _check_paths(self, paths: Any) -> HostArray:
        route = np.atleast_2d(np.asarray(paths, dtype=np.int64))
        if route.ndim != 2 or route.shape[1] != self.network.depth + 1:
            raise ValueError(f"paths have shape {route.shape}: expected (n_paths, {self.network.depth + 1})")
        if np.any(route < 0) or np.any(route >= np.array(self.widths)):
            raise ValueError(f"paths hold neuron indices outside the widths {self.widths}: expected 0 <= i_l < n_l")
        return route

    def _path_weights(self, route: HostArray) -> HostArray:
        starts = np.array([part.start for part in self.network.slices])
        weights: HostArray = starts + route[:, :-1] * np.array(self.widths[1:]) + route[:, 1:]
        return weights

    def _path_masks(self, route: HostArray, layer: int = 0) -> HostArray:
        """Gate bits of the paths at hidden layers from `layer` (0 for the first) on, (n_paths,) uint64."""
        places = (route[:, 1:-1] + np.array(self._first_gates[: self.network.depth - 1]))[:, layer:]
        bits = np.uint64(1) << places.astype(np.uint64)
        masks: HostArray = np.bitwise_or.reduce(bits, axis=1, initial=np.uint64(0))
        return masks

    def _flips(self, weights: HostArray) -> HostArray:
        """The pattern bit to exchange for each weight, 0 for those of W_L, which no gate sees."""
        if np.any(weights < 0) or np.any(weights >= self.network.n_weights):
            raise ValueError(f"weight indices {weights} leave the range 0 to {self.network.n_weights - 1}")
        bits = self.sign_bits[weights]
        if np.any(bits < 0):
            broken = weights[bits < 0][0]
            raise ValueError(f"weight {broken} is broken, its sign fixed: use intact weights")
        flips = np.where(1 << bits < self.hidden_gates.size, 1 << bits, 0)
        return flips.astype(np.int64)

    def _count_circuits(self, masks: HostArray, parities: HostArray) -> HostArray:
        quick = self.backend.count_circuits(self.hidden_gates, masks, parities)
        return count_circuits(self.hidden_gates, masks, parities) if quick is None else quick

    def _count_changes(self, masks: HostArray, above: HostArray, flips: HostArray) -> HostArray:
        quick = self.backend.count_changes(self.hidden_gates, masks, above, flips)
        return count_changes(self.hidden_gates, masks, above, flips) if quick is None else quick


def enumerate_signs(
    network: Network, weights: Sequence[Any], x: Any, intact: Any = None, backend: str | Backend | None = None
) -> SignEnsemble:
    """All sign patterns of a dense network without pools at temperature 0, for one input x (n_0,).

    `intact` says which weights have a random sign: flat (N,) bool, or one array per layer; by default all. Their
    magnitudes are |w|; the others keep the value they have. z = 0 gives h = 0. Raises `EnumerationError` beyond 24
    intact weights or 64 gates, `ValueError` for convolutions and pools.
    """
    ops, example = get_backend(backend), np.asarray(x)
    if any(layer.convolutional or layer.pools for layer in network.layers) or network.input_pools:
        raise ValueError("sign patterns are enumerated for dense networks without pools: use mlp")
    row = check_examples(network, example[None], ops.dtype)[0].reshape(-1)
    given = network.flatten([ops.to_numpy(w) for w in check_weights(network, weights, ops)])
    chosen = _check_intact(network, intact)
    k, gates = int(chosen.sum()), n_gates(network)
    if k > MAX_SIGNS:
        raise EnumerationError(
            f"{k} intact weights make {2.0**k:.3g} sign patterns, {2.0**k * 8e-9:.3g} GB of outputs alone: the limit "
            f"is {MAX_SIGNS} intact weights; break the symmetry of some, or use a smaller network"
        )
    if gates > MAX_GATES:
        raise EnumerationError(f"{gates} gates do not fit a word of {MAX_GATES} bits: use a smaller network")
    magnitudes = np.where(chosen, np.abs(given), given)
    bits = np.where(chosen, np.cumsum(chosen) - 1, -1)
    matrices = [ops.asarray(w) for w in network.unflatten(magnitudes)]
    quick = ops.enumerate_signs(matrices, ops.asarray(row), bits)
    found = enumerate_patterns(network, magnitudes, row, bits, ops) if quick is None else quick
    return SignEnsemble(network, magnitudes, row, chosen, *found, ops)


def _check_intact(network: Network, intact: Any) -> HostArray:
    if intact is None:
        return np.ones(network.n_weights, dtype=bool)
    if isinstance(intact, (list, tuple)) and len(intact) == network.depth and np.ndim(intact[0]) == 2:
        intact = network.flatten(intact)
    chosen = np.asarray(intact)
    if chosen.shape != (network.n_weights,) or chosen.dtype != np.bool_:
        raise ValueError(
            f"intact has shape {chosen.shape} and dtype {chosen.dtype}: expected ({network.n_weights},) bool, one "
            "entry per weight, or one such array per layer"
        )
    return chosen


def enumerate_patterns(
    network: Network, magnitudes: HostArray, x: HostArray, bits: HostArray, ops: Backend
) -> tuple[HostArray, HostArray, HostArray]:
    """(hidden gates (2^k',), T (2^k,), neuron moments (G, 4)) by a forward pass of every pattern: the reference."""
    total, count = 1 << int((bits >= 0).sum()), n_gates(network)
    last = network.slices[-1]
    below = total >> int((bits[last] >= 0).sum())
    gates, output, sums = np.empty(below, dtype=np.uint64), np.empty(total), np.zeros((count, 4))
    for first in range(0, total, BLOCK):
        patterns = np.arange(first, min(first + BLOCK, total))
        weights = signed_weights(network, magnitudes, bits, patterns, ops)
        signals = propagate_patterns(weights, x, ops)
        output[patterns] = ops.to_numpy(signals.output)
        if network.depth > 1 and first < below:
            z, signal = (_on_host(rows, ops)[: below - first] for rows in (signals.fields, signals.inputs[1:]))
            sums += np.stack([np.sum(v, axis=0) for v in (signal, signal**2, z, z**2)], axis=1)
            gates[first : first + len(z)] = pack_gates(z > 0)
        elif network.depth == 1:
            gates[:] = 0
    return gates, output, sums / below


def _on_host(rows: Sequence[Array], ops: Backend) -> HostArray:
    """Layers side by side, (P, G), in float64."""
    return np.concatenate([ops.to_numpy(r) for r in rows], axis=1).astype(np.float64)


def pack_gates(gates: HostArray) -> HostArray:
    """Gates (S, G) bool as words (S,) uint64, gate g in bit g."""
    words: HostArray = np.sum(gates.astype(np.uint64) << np.arange(gates.shape[1], dtype=np.uint64), axis=1)
    return words


def count_circuits(gates: HostArray, masks: HostArray, parities: HostArray) -> HostArray:
    """How many patterns have all gates of a circuit on, by the parity of its negative signs: (n_paths, 2), even, odd.

    `gates` (S,) uint64 of every pattern; `masks` (n_paths,) uint64 and `parities` (n_paths,) int64: the gates of each
    path, and the pattern bits of its weights.
    """
    patterns, counts = np.arange(gates.size), np.empty((masks.size, 2), dtype=np.int64)
    for i, (mask, signs) in enumerate(zip(masks, parities, strict=True)):
        on = gates & mask == mask
        odd = np.count_nonzero(on & (np.bitwise_count(patterns & signs) & 1 == 1))
        counts[i] = np.count_nonzero(on) - odd, odd
    return counts


def count_changes(gates: HostArray, masks: HostArray, above: HostArray, flips: HostArray) -> HostArray:
    """How many patterns p differ from p ^ flip: (n_pairs, 2), in whether all gates of `masks` are on, and in `above`.

    `gates` (S,) uint64 of every pattern; `masks`, `above` (n_pairs,) uint64 gate bits; `flips` (n_pairs,) int64.
    """
    patterns, counts = np.arange(gates.size), np.empty((masks.size, 2), dtype=np.int64)
    for i, (mask, high, flip) in enumerate(zip(masks, above, flips, strict=True)):
        mirrored = gates[patterns ^ flip]
        counts[i, 0] = np.count_nonzero((gates & mask == mask) != (mirrored & mask == mask))
        counts[i, 1] = np.count_nonzero((gates ^ mirrored) & high)
    return counts
