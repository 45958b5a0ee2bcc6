"""Entries of the Hessian, example by example: ∂²T_i/∂w_p ∂w_q for chosen pairs of parameters in two layers.

With p in layer l and q = (o, a, b) in a layer l' above, T_i is linear in w_q, so that the tangent ẋ of the unit vector
at p gives the entry without a backward tangent pass::

    ∂²T_i/∂w_p ∂w_q = Σ_s ẋ_{l'-1,i}[s + o, a] (∂T_i/∂z_{l',i})[s, b],

a sum over the sites s of a convolution. Behind layer l the tangent lives in the one channel that p enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.inputs import check_coefficients, check_count, check_examples, check_labels, check_weights, in_range
from simulator.network.layers import Layer
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.propagation import Signals, apply_frozen, backpropagate, linear, propagate
from simulator.passes.risk import BATCH_SIZE, batches, output
from simulator.shown import shown
from simulator.streams import Seed

from .entry_pairs import EntryPairs, kernel_overlap, sample_pairs, weight_axes

TANGENT_BYTES = 1 << 27  # signals of one layer, of all first parameters that share a pass


@shown
@dataclass(frozen=True)
class HessianEntries:
    """Per-example entries h_{i,e} = c_i ∂²T_i/∂w_p ∂w_q: H_e = Σ_i ω_i h_{i,e}, ω_i = 1/m, is the entry itself.

    ``values`` (m, E), a host array of the backend's dtype, the ``pairs`` of parameters it stands for, and ``c`` (m,),
    ∂ℓ/∂T_i = ℓ'(u_i) y_i without the 1/m, whose sign is all that the labels put into a value: for the hinge it is
    -y_i at active examples, 0 at others.
    """

    values: HostArray
    pairs: EntryPairs
    c: HostArray

    @property
    def first(self) -> HostArray:
        """Flat indices of the parameters in the lower layers, (E,)."""
        return self.pairs.first

    @property
    def second(self) -> HostArray:
        """Flat indices of the parameters in the higher layers, (E,)."""
        return self.pairs.second

    @property
    def layers(self) -> HostArray:
        """The two layers of each entry, 0 for the lowest, (E, 2)."""
        return self.pairs.layers


def hessian_entries(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    n: int = 2000,
    n_first: int = 110,
    seed: Seed = 0,
    loss: str = "hinge",
    c: Any = None,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> HessianEntries:
    """A stratified sample of n entries of Σ_i c_i ∇²T_i, example by example: see `sample_pairs` and `entry_values`.

    One seed gives the same pairs for any weights of the network, so that entries can be followed through training.
    """
    pairs, ops = sample_pairs(network, n, n_first, seed), get_backend(backend)
    w, inputs = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    top = _coefficients(network, w, inputs, y, loss, c, ops, batch_size)
    values = entry_values(network, weights, x, None, pairs.first, pairs.second, loss, top, ops, batch_size)
    return HessianEntries(values, pairs, top)


def entry_values(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    first: Any,
    second: Any,
    loss: str = "hinge",
    c: Any = None,
    backend: str | Backend | None = None,
    batch_size: int | None = None,
) -> HostArray:
    """h_{i,e} = ℓ'(u_i) y_i ∂²T_i/∂w_p ∂w_q, (m, E), for flat parameter indices p = first[e], q = second[e].

    No 1/m is in it. The order of p and q is free, entries within one layer are 0 (E1). `c` (m,) overrides ℓ'(u_i) y_i;
    `y` and `loss` are then ignored. One tangent pass serves all entries with one lower parameter. Examples whose
    coefficient is 0 (the hinge's inactive ones) are not computed.
    """
    ops = get_backend(backend)
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    size = _size(batch_size)
    top = _coefficients(network, w, x, y, loss, c, ops, batch_size)
    active = np.flatnonzero(top.astype(ops.dtype))
    groups = list(_plan(network, _indices(network, first), _indices(network, second), size, ops))
    values = np.zeros((x.shape[0], np.size(first)), dtype=ops.dtype)
    with ops.computing():
        for part in batches(active.size, size):
            rows = active[part]
            signals = propagate(network, w, ops.asarray(x[rows]), ops)
            errors = backpropagate(network, w, signals, ops.asarray(top[rows]), ops)
            for group in groups:
                values[rows[:, None], group.columns] = ops.to_numpy(_values(network, w, signals, errors, group, ops))
    return values


def _size(batch_size: int | None) -> int:
    return check_count(BATCH_SIZE if batch_size is None else batch_size, "batch_size")


def _coefficients(
    network: Network,
    weights: Sequence[Array],
    x: HostArray,
    y: Any,
    loss: str,
    c: Any,
    ops: Backend,
    batch_size: int | None,
) -> HostArray:
    """`c` where it is given, else ∂ℓ/∂T = ℓ'(u) y of every example."""
    if c is not None:
        return check_coefficients(c, x.shape[0], ops.dtype)
    labels = check_labels(y, x.shape[0])
    u = labels * output(network, weights, x, ops, batch_size=_size(batch_size)).astype(np.float64)
    slopes: HostArray = in_range(get_loss(loss).slope(np, u) * labels, "∂ℓ/∂T", ops.dtype)
    return slopes


def _indices(network: Network, parameters: Any) -> HostArray:
    flat = np.asarray(parameters)
    inside = flat.dtype.kind in "iu" and flat.ndim == 1 and bool(np.all((flat >= 0) & (flat < network.n_weights)))
    if not inside:
        raise ValueError(
            f"parameter indices of shape {flat.shape}, dtype {flat.dtype}: expected integers (E,) "
            f"from 0 to {network.n_weights - 1}"
        )
    return flat.astype(np.int64)


@dataclass(frozen=True)
class _Group:
    """First parameters of one layer that share a pass, and their entries, sorted by layer of the second.

    ``first`` (K, 3) and ``seconds`` (E', 3): (o, a, b) of each weight; ``layers`` (E',) and ``owners`` (E',), which of
    the K first parameters; ``columns`` (E',) in the result.
    """

    layer: int
    first: HostArray
    seconds: HostArray
    layers: HostArray
    owners: HostArray
    columns: HostArray


def _plan(network: Network, first: HostArray, second: HostArray, batch: int, ops: Backend) -> Iterator[_Group]:
    """Groups of entries by layer of the lower parameter, a bounded number of passes in each."""
    if first.shape != second.shape:
        raise ValueError(f"{first.size} first and {second.size} second parameters: expected one of each per entry")
    below, low = _locate(network, np.minimum(first, second))
    above, high = _locate(network, np.maximum(first, second))
    for layer in range(network.depth - 1):
        largest = max(int(np.prod(k.gate_shape)) for k in network.layers[layer:])
        together = max(1, TANGENT_BYTES // (batch * largest * np.dtype(ops.dtype).itemsize))
        own = np.flatnonzero((below == layer) & (above > layer))
        own = own[np.argsort(above[own], kind="stable")]
        known, owner = np.unique(low[own], axis=0, return_inverse=True)
        for start in range(0, len(known), together):
            part = (owner >= start) & (owner < start + together)
            columns = own[part]
            yield _Group(
                layer, known[start : start + together], high[columns], above[columns], owner[part] - start, columns
            )


def _locate(network: Network, parameters: HostArray) -> tuple[HostArray, HostArray]:
    """The layer of flat parameter indices (E,), and their (o, a, b) in it (E, 3)."""
    layers = np.searchsorted(np.cumsum(network.layer_sizes), parameters, side="right")
    axes = np.empty((parameters.size, 3), dtype=np.int64)
    for index, (layer, place) in enumerate(zip(network.layers, network.slices, strict=True)):
        here = layers == index
        axes[here] = np.stack(np.unravel_index(parameters[here] - place.start, weight_axes(layer)), axis=1)
    return layers, axes


def _values(
    network: Network, weights: Sequence[Array], signals: Signals, errors: Sequence[Array], group: _Group, ops: Backend
) -> Array:
    """Entries of one group at one batch of examples, (m, E')."""
    columns: list[Array] = []
    single = _enter(network, signals, group, ops)
    tangent: Array | None = None
    for index in range(group.layer + 1, int(group.layers[-1]) + 1):
        layer = network.layers[index]
        for owner, (o, a, b) in zip(
            group.owners[group.layers == index], group.seconds[group.layers == index], strict=True
        ):
            delta = errors[index][..., int(b)]
            if tangent is not None:
                columns.append(_read(ops, layer, tangent[int(owner), ..., int(a)], delta, int(o)))
            elif a == group.first[owner, 2]:
                columns.append(_read(ops, layer, single[..., int(owner)], delta, int(o)))
            else:
                columns.append(ops.zeros((delta.shape[0],)))
        if index < group.layers[-1]:
            if tangent is None:
                z = _leave(ops, layer, weights[index], single, group.first[:, 2])
            else:
                z = linear(ops, layer, (tangent, weights[index]))
            tangent = apply_frozen(ops, layer, signals.gates[index], z)
    return ops.xp.stack(columns, axis=1)


def _enter(network: Network, signals: Signals, group: _Group, ops: Backend) -> Array:
    """ẋ_l of each first parameter in the one channel that it enters: (m, [H, W,] K)."""
    layer = network.layers[group.layer]
    count = group.first.shape[0]
    units = np.zeros((*weight_axes(layer)[:2], count))
    units[group.first[:, 0], group.first[:, 1], np.arange(count)] = 1.0
    directions = ops.asarray(units.reshape(*layer.weight_shape[:-1], count))
    z = linear(ops, layer, (signals.inputs[group.layer], directions))
    channels = ops.asarray(group.first[:, 2], dtype="int64")
    mask = ops.xp.take(signals.gates[group.layer], channels, axis=-1)
    return apply_frozen(ops, layer, mask, z)


def _leave(ops: Backend, layer: Layer, w: Array, single: Array, channels: HostArray) -> Array:
    """W^T ẋ of tangents (m, [H, W,] K) that live in one channel each: (K, m, *gate_shape)."""
    xp, found = ops.xp, []
    offsets, ins, outs = weight_axes(layer)
    taps = xp.reshape(w, (offsets, ins, outs))
    for k, channel in enumerate(channels):
        x = xp.take(single, ops.asarray([k], dtype="int64"), axis=-1)
        own = taps[:, int(channel), :]
        if layer.convolutional:
            found.append(ops.convolve((x, xp.reshape(own, (*layer.weight_shape[:2], 1, outs)))))
        else:
            found.append(ops.matmul(xp.reshape(x, (x.shape[0], offsets)), own))
    return xp.stack(found, axis=0)


def _read(ops: Backend, layer: Layer, x: Array, delta: Array, offset: int) -> Array:
    """Σ_s x[s + o] δ[s] for one channel x (m, [H, W]) and δ (m, [H, W]) of a layer: (m,)."""
    if not layer.convolutional:
        return (x if x.ndim == 1 else ops.xp.reshape(x, (x.shape[0], -1))[:, offset]) * delta
    (rows, from_rows), (columns, from_columns) = kernel_overlap(layer, offset)
    product = x[:, from_rows, from_columns] * delta[:, rows, columns]
    return ops.xp.sum(product, axis=(1, 2))
