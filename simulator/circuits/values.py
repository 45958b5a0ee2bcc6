"""Basis circuits (11) of order 0, 1 and 2: their values along given paths, and all of them for small networks.

For a path i the circuit of an example x, its input included, is x_{i_0} Ψ_i = x_{i_0} Π_{l<L} (w^l h^l) w^L. Order k
leaves k of the weights out; all gates stay. A max-pool is one more 0/1 gate on the neurons before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import EnumerationError
from simulator.inputs import check_examples, check_weights
from simulator.network.layers import scaled, select
from simulator.network.network import Network
from simulator.passes.propagation import propagate
from simulator.passes.risk import BATCH_SIZE, batches
from simulator.shown import shown

from .paths import check_paths, count_paths, enumerate_paths, path_weights

MAX_VALUES = 1 << 27  # values of circuits held at once: 1 GB in float64
CHUNK = 1 << 16  # circuits of examples in flight on the device, times the slices of their order
ORDERS = (0, 1, 2)


@shown
@dataclass(frozen=True)
class Circuits:
    """All circuits of a network at m examples, host arrays.

    ``values`` holds x_{i_0} δ^kΨ_i: (m, n_paths) at order 0, where they sum to T(x) (10); (m, n_paths, L) at order 1,
    slice l without the weight of layer l; (m, n_paths, L(L-1)/2) at order 2, one slice per pair l < l' in
    lexicographic order. ``paths`` (n_paths, L+1): flat neuron indices, in lexicographic order. ``order``: k.
    """

    values: HostArray
    paths: HostArray
    order: int


def check_order(order: int) -> int:
    """0, 1 or 2."""
    if isinstance(order, bool) or order not in ORDERS:
        raise ValueError(f"order {order!r} is not usable: circuits lack 0, 1 or 2 of their weights")
    return int(order)


def n_slices(network: Network, order: int) -> int:
    """The ways to leave `order` weights out of a path."""
    return math.comb(network.depth, order)


def neuron_fields(network: Network, weights: Sequence[Array], x: Array, ops: Backend) -> list[Array]:
    """[x_0, h_1, ..., h_{L-1}] of device examples, each flattened to (m, n_l): inputs, then 0/1 gates.

    x_0 is 0 at the sites that the pools before layer 1 do not select; h is on *and* selected by every pool. The scale
    of average pools, one number for all paths, is in x_0.
    """
    signals = propagate(network, weights, x, ops)
    fields = [scaled(_selected(network, x, ops), network.scale), *signals.gates]
    return [ops.xp.reshape(field, (field.shape[0], -1)) for field in fields]


def _selected(network: Network, x: Array, ops: Backend) -> Array:
    """The inputs where all input pools select them, 0 elsewhere."""
    if not network.input_pools:
        return x
    _, mask = select(ops, network.input_pools, x, ops.xp.ones_like(x, dtype=ops.xp.bool))
    return ops.apply_gates(mask, x, 1)


def live_inputs(ops: Backend, fields: Sequence[Array], pick: Callable[[Array, int], Array]) -> Array:
    """x_{i_0} Π_l h_{i_l}; `pick(field, l)` reads a field at the neurons i_l of the circuits."""
    inputs = pick(fields[0], 0)
    if len(fields) == 1:
        return inputs
    on = pick(fields[1], 1)
    for index, field in enumerate(fields[2:], start=2):
        on = ops.xp.logical_and(on, pick(field, index))
    return ops.apply_gates(on, inputs, 1)


def weight_products(ops: Backend, weights: Sequence[Array], edges: HostArray, order: int) -> Array:
    """Products of the weights on given paths without `order` of them, (n,) at order 0, else (n, slices).

    `weights`: raveled layers. `edges` (n, L): the index of each edge's weight in its layer.
    """
    columns = zip(weights, edges.T, strict=True)
    factors = [ops.xp.take(w, ops.asarray(column, dtype="int64"), axis=0) for w, column in columns]
    products = list(_leave_out(factors, order, ops.xp.ones_like(factors[0])))
    if order == 0:
        return products[0]
    return ops.xp.stack(products, axis=1) if products else ops.zeros((len(edges), 0))


def _leave_out(factors: list[Array], order: int, head: Array) -> Iterator[Array]:
    """`head` times the product of all factors but `order`, for all choices in lexicographic order."""
    if order == 0:
        for factor in factors:
            head = head * factor
        yield head
        return
    for index in range(len(factors) - order + 1):
        yield from _leave_out(factors[index + 1 :], order - 1, head)
        head = head * factors[index]


def enumerate_circuits(
    network: Network, weights: Sequence[Any], x: Any, order: int = 0, backend: str | Backend | None = None
) -> Circuits:
    """All circuits (11) of a small network at every example, their input factor included: see `Circuits`.

    A dense network has Π n_l of them; convolutions and pools contribute the edges that exist. Raises
    `EnumerationError` beyond `MAX_VALUES` values.
    """
    ops, order = get_backend(backend), check_order(order)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    shape = (x.shape[0], count_paths(network), *([n_slices(network, order)] if order else []))
    if math.prod(shape) > MAX_VALUES:
        raise EnumerationError(
            f"{shape[1]} paths at {x.shape[0]} examples make {math.prod(shape)} values of order {order}, and the limit "
            f"is {MAX_VALUES}: use sample_circuits, fewer examples or a smaller network"
        )
    paths = enumerate_paths(network)
    values = np.empty(shape, dtype=ops.dtype)
    with ops.computing():
        for part in batches(x.shape[0], BATCH_SIZE):
            fields = neuron_fields(network, w, ops.asarray(x[part]), ops)
            _fill(network, w, fields, paths, order, ops, values[part])
    return Circuits(values, paths, order)


def _fill(
    network: Network,
    weights: Sequence[Array],
    fields: Sequence[Array],
    paths: HostArray,
    order: int,
    ops: Backend,
    values: HostArray,
) -> None:
    """Write the circuits of one batch of examples, a chunk of paths at a time."""
    raveled = [ops.xp.reshape(w, (-1,)) for w in weights]
    size = max(1, CHUNK // (values.shape[0] * max(1, n_slices(network, order))))
    for chunk in batches(len(paths), size):
        inputs = _live_inputs_of_all(ops, fields, paths[chunk])
        products = weight_products(ops, raveled, path_weights(network, paths[chunk]), order)
        values[:, chunk] = ops.to_numpy((inputs[:, :, None] if order else inputs) * products)


def _live_inputs_of_all(ops: Backend, fields: Sequence[Array], paths: HostArray) -> Array:
    """x_{i_0} Π_l h_{i_l}, every path at every row of the fields, (m, n_paths)."""

    def pick(field: Array, index: int) -> Array:
        return ops.xp.take(field, ops.asarray(paths[:, index], dtype="int64"), axis=1)

    return live_inputs(ops, fields, pick)


def circuit_values(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    paths: Any,
    examples: Any,
    order: int = 0,
    backend: str | Backend | None = None,
) -> HostArray:
    """x_{i_0} δ^kΨ_i of given paths (n, L+1), path j at the example x[examples[j]]: (n,) or (n, slices).

    A batch of examples and a chunk of circuits are on the device at a time. Raises `ValueError` for a path with an
    edge that does not exist.
    """
    ops, order = get_backend(backend), check_order(order)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    paths = check_paths(network, paths)
    used, place = np.unique(_check_rows(examples, len(paths), len(x)), return_inverse=True)
    by_example = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[by_example], np.arange(len(used) + 1))
    values = np.empty((len(paths), *([n_slices(network, order)] if order else [])), dtype=ops.dtype)
    raveled = [ops.xp.reshape(layer, (-1,)) for layer in w]
    with ops.computing():
        for part in batches(len(used), BATCH_SIZE):
            fields = neuron_fields(network, w, ops.asarray(x[used[part]]), ops)
            members = by_example[ends[part.start] : ends[part.stop]]
            for chunk in batches(len(members), max(1, CHUNK // max(1, n_slices(network, order)))):
                drawn = members[chunk]
                inputs = _live_inputs_of_rows(ops, fields, place[drawn] - part.start, paths[drawn])
                products = weight_products(ops, raveled, path_weights(network, paths[drawn]), order)
                values[drawn] = ops.to_numpy((inputs[:, None] if order else inputs) * products)
    return values


def _check_rows(examples: Any, n: int, m: int) -> HostArray:
    rows: HostArray = np.asarray(examples)
    if rows.shape != (n,) or rows.dtype.kind not in "iu" or (n and not 0 <= rows.min() <= rows.max() < m):
        raise ValueError(
            f"examples ({rows.dtype}, {rows.shape}) are not usable: expected ({n},) integers from 0..{m - 1}, "
            "one row of x per path"
        )
    return rows


def _live_inputs_of_rows(ops: Backend, fields: Sequence[Array], rows: HostArray, paths: HostArray) -> Array:
    """x_{i_0} Π_l h_{i_l}, each path at its own row of the fields."""

    def pick(field: Array, index: int) -> Array:
        place = ops.asarray(rows * field.shape[1] + paths[:, index], dtype="int64")
        return ops.xp.take(ops.xp.reshape(field, (-1,)), place, axis=0)

    return live_inputs(ops, fields, pick)
