"""Assemblies: the sums over circuits that make output, gradient, Hessian and order parameter.

The assembly of the circuits that share their removed weights is a derivative of the output, exactly: T itself (10) at
order 0, an entry of ∇T at order 1 (its circuits are (16) without the loss), an entry of ∇²T, a term of (18), at
order 2. Here the sums are taken literally, over enumerated circuits; `simulator.passes` and `simulator.hessian` compute
the same numbers without ever naming a circuit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse

from backends import Backend, HostArray, get_backend
from simulator.enumeration.gates import EnumerationError
from simulator.inputs import check_examples, check_labels
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.risk import output
from simulator.shown import shown

from .paths import path_weights
from .values import MAX_VALUES, Circuits, enumerate_circuits

MAX_PAIRS = 1 << 32  # pairs of circuits in the order parameter: about 40 seconds
PAIR_BLOCK = 1 << 20  # products of pairs in memory at a time


def _check_circuits(circuits: Circuits, order: int) -> None:
    if circuits.order != order:
        raise ValueError(f"circuits of order {circuits.order} were given: this assembly sums circuits of order {order}")


def _grouped_sums(values: HostArray, group: HostArray, n_groups: int) -> HostArray:
    """Sums of values (m, n) over the columns of each group, (m, n_groups), in float64."""
    members = sparse.csr_array((np.ones(group.size), group, np.arange(group.size + 1)), shape=(group.size, n_groups))
    return np.asarray(values.astype(np.float64, copy=False) @ members)


def output_assembly(circuits: Circuits) -> HostArray:
    """T(x) = Σ_i x_{i_0} Ψ_i (10) from all circuits of order 0, (m,) in float64."""
    _check_circuits(circuits, 0)
    return np.asarray(np.sum(circuits.values, axis=1, dtype=np.float64))


def gradient_assemblies(network: Network, circuits: Circuits) -> list[HostArray]:
    """∂T/∂w of every weight, (m, *weight_shape) per layer: the sum of the order-1 circuits (16) that lack w.

    A convolution weight is shared: circuits that cross it at any position belong to its assembly. A weight that no
    path crosses has the empty sum 0.
    """
    _check_circuits(circuits, 1)
    edges, m = path_weights(network, circuits.paths), len(circuits.values)
    return [
        _grouped_sums(circuits.values[:, :, index], edges[:, index], layer.n_weights).reshape(m, *layer.weight_shape)
        for index, layer in enumerate(network.layers)
    ]


def hessian_assemblies(network: Network, circuits: Circuits) -> HostArray:
    """∇²T of every example, (m, N, N), terms of (18): entry (w, w') sums the order-2 circuits that lack both.

    Blocks within one layer are 0 (E1): a path crosses each layer once. Raises `EnumerationError` where m N² exceeds
    `MAX_VALUES`.
    """
    _check_circuits(circuits, 2)
    m, n = len(circuits.values), network.n_weights
    if m * n * n > MAX_VALUES:
        raise EnumerationError(
            f"{m} Hessians of {n} weights have {m * n * n} entries, and the limit is {MAX_VALUES}: "
            "use fewer examples or a smaller network, or products with HessianOperator"
        )
    edges, sizes, places = path_weights(network, circuits.paths), network.layer_sizes, network.slices
    hessians = np.zeros((m, n, n))
    for pair, (a, b) in enumerate(itertools.combinations(range(network.depth), 2)):
        entry = edges[:, a] * sizes[b] + edges[:, b]
        block = _grouped_sums(circuits.values[:, :, pair], entry, sizes[a] * sizes[b]).reshape(m, sizes[a], sizes[b])
        hessians[:, places[a], places[b]] = block
        hessians[:, places[b], places[a]] = block.transpose(0, 2, 1)
    return hessians


@shown
@dataclass(frozen=True)
class OrderParameterPairs:
    """||∇R||² (15) as a sum over ordered pairs of order-1 circuits that share the removed weight; per layer, (L,).

    ``self_pairs``: a circuit with itself, what the order parameter would be if circuits were incoherent.
    ``constructive``, ``destructive``: pairs of two circuits of like and of unlike sign (>= 0 and <= 0).
    ``n_pairs``: the number of pairs of each layer, the self-pairs included.
    """

    self_pairs: HostArray
    constructive: HostArray
    destructive: HostArray
    n_pairs: tuple[int, ...]

    @property
    def layers(self) -> HostArray:
        """||∇_l R||², (L,)."""
        return self.self_pairs + self.constructive + self.destructive

    @property
    def total(self) -> float:
        """||∇R||²."""
        return float(np.sum(self.layers))

    @property
    def coherent_share(self) -> float:
        """The part of ||∇R||² that pairs of two different circuits bring; negative where they cancel, 0 if ∇R = 0."""
        return float(np.sum(self.constructive + self.destructive)) / self.total if self.total else 0.0


def order_parameter_pairs(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    backend: str | Backend | None = None,
) -> OrderParameterPairs:
    """The order parameter as circuits see it: ||∇R||² = Σ_w Σ_{Ψ,Ψ'∋w} ⟨δΨ⟩⟨δΨ'⟩ (15), pair by pair.

    ⟨δΨ⟩ = Σ_i c_i x_{i_0} δΨ(x_i), c_i = ∂ℓ/∂T_i / m, is the order-1 circuit without w as the risk sees it. Raises
    `EnumerationError` beyond `MAX_PAIRS` pairs.
    """
    ops = get_backend(backend)
    host = check_examples(network, x, ops.dtype)
    m = host.shape[0]
    labels, t = check_labels(y, m), output(network, weights, host, ops).astype(np.float64)
    c = get_loss(loss).slope(np, labels * t) * labels / m
    circuits = enumerate_circuits(network, weights, host, 1, ops)
    seen = np.tensordot(c, circuits.values.astype(np.float64, copy=False), axes=1)
    edges = path_weights(network, circuits.paths)
    members = [np.bincount(edges[:, i], minlength=size) for i, size in enumerate(network.layer_sizes)]
    n_pairs = tuple(int(np.sum(counts.astype(object) ** 2)) for counts in members)
    if sum(n_pairs) > MAX_PAIRS:
        raise EnumerationError(
            f"{len(edges)} paths make {sum(n_pairs)} pairs of circuits that share a weight, and the limit is "
            f"{MAX_PAIRS}: use a smaller network, or order_parameter for the sum alone"
        )
    sums = np.array([_pair_sums(seen[:, i], edges[:, i], counts) for i, counts in enumerate(members)])
    return OrderParameterPairs(sums[:, 0], sums[:, 1], sums[:, 2], n_pairs)


def _pair_sums(circuits: HostArray, weight: HostArray, members: HostArray) -> HostArray:
    """[self, constructive, destructive] sums of Ψ Ψ' over the pairs of one layer that share their weight."""
    total = np.zeros(3)
    for group in np.split(circuits[np.argsort(weight, kind="stable")], np.cumsum(members)[:-1]):
        total[0] += np.sum(group**2)
        rows = max(1, PAIR_BLOCK // max(1, group.size))
        for start in range(0, group.size, rows):
            pairs = group[start : start + rows, None] * group
            np.fill_diagonal(pairs[:, start:], 0.0)
            total[1:] += np.sum(np.maximum(pairs, 0.0)), np.sum(np.minimum(pairs, 0.0))
    return total
