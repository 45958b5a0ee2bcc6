"""Pairs of parameters in two layers: which entries of the Hessian exist, and a stratified sample of them.

The weights of a layer are numbered (o, a, b) in C order: kernel offset o ∈ O_l (dense: one; k×k: k²; dense on a
flattened map: one for every position), input channel a, output channel b. With p in layer l and q in layer l' > l the
entry ∂²T/∂w_p ∂w_q sums circuits that run through both weights; where none does it is 0, whatever weights and examples:

- p and q in one layer (E1);
- l' = l + 1 unless the channel that p enters is the one that q leaves;
- no site that p writes to is joined to one that q reads and the output sees (padding, ragged pools).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from backends import HostArray
from simulator.inputs import check_count
from simulator.network.layers import Layer, Pool
from simulator.network.network import Network
from simulator.shown import shown
from simulator.streams import Seed, Streams

Overlap = tuple[slice, slice]


@shown
@dataclass(frozen=True)
class EntryPairs:
    """E pairs of parameters, the first below the second, and the numbers they were drawn from.

    ``first``, ``second`` (E,): flat parameter indices. ``layers`` (E, 2): their layers, 0 for the lowest. ``strata``
    (S, 2): every pair of layers l < l' with an entry that can differ from 0, and ``existing`` (S,), the number of such
    entries. ``excluded``: numbers of pairs {p, q} that are 0 by construction, as ``same layer`` (p = q included),
    ``other neuron`` (adjacent layers) and ``no joint site``. Existing and excluded pairs add up to N(N+1)/2.
    """

    first: HostArray
    second: HostArray
    layers: HostArray
    strata: HostArray
    existing: HostArray
    excluded: dict[str, int]

    @property
    def n_first(self) -> int:
        """The number of first parameters: entries that share one are more correlated."""
        return int(np.unique(self.first).size)


def weight_axes(layer: Layer) -> tuple[int, int, int]:
    """(|O_l|, n_{l-1}, n_l): numbers of kernel offsets, of input and of output channels."""
    *taps, outs = layer.weight_shape
    channels = layer.input_shape[-1]
    return math.prod(taps) // channels, channels, outs


def overlap(size: int, shift: int) -> Overlap:
    """The sites t of range(size) whose neighbour t + shift lies inside, and these neighbours."""
    low, high = min(max(0, -shift), size), max(size - max(0, shift), 0)
    return slice(low, max(low, high)), slice(low + shift, max(low, high) + shift) if low < high else slice(0, 0)


def kernel_overlap(layer: Layer, offset: int) -> tuple[Overlap, Overlap]:
    """`overlap` of rows and of columns for one offset of a convolution."""
    kernel, (height, width) = layer.weight_shape[0], layer.gate_shape[:2]
    dy, dx = divmod(offset, kernel)
    return overlap(height, dy - kernel // 2), overlap(width, dx - kernel // 2)


def _sites(layer: Layer) -> tuple[int, int]:
    """Height and width of the layer's input; one site where it is a vector."""
    return (layer.input_shape[0], layer.input_shape[1]) if len(layer.input_shape) == 3 else (1, 1)


def _pool(reach: HostArray, pools: Sequence[Pool]) -> HostArray:
    """Windows (..., H, W) that hold a marked site."""
    for s in (pool.size for pool in pools):
        height, width = reach.shape[-2] // s, reach.shape[-1] // s
        cut = reach[..., : height * s, : width * s]
        reach = np.any(cut.reshape(*cut.shape[:-2], height, s, width, s), axis=(-3, -1))
    return reach


def _unpool(live: HostArray, layer: Layer) -> HostArray:
    """Sites before the pools whose window is marked; what a ragged pool drops is not."""
    whole = np.zeros(layer.gate_shape[:2], dtype=bool)
    spread = live.repeat(layer.window, axis=0).repeat(layer.window, axis=1)
    whole[: spread.shape[0], : spread.shape[1]] = spread
    return whole


def _written(layer: Layer) -> HostArray:
    """Output sites that a weight of each offset writes to, (|O_l|, H, W)."""
    offsets = weight_axes(layer)[0]
    if not layer.convolutional:
        return np.ones((offsets, 1, 1), dtype=bool)
    reach = np.zeros((offsets, *layer.gate_shape[:2]), dtype=bool)
    for o in range(offsets):
        (rows, _), (columns, _) = kernel_overlap(layer, o)
        reach[o, rows, columns] = True
    return _pool(reach, layer.pools)


def _carried(layer: Layer, reach: HostArray) -> HostArray:
    """Output sites joined by the whole layer to the input sites `reach` (..., H, W)."""
    if not layer.convolutional:
        joined: HostArray = np.any(reach, axis=(-2, -1), keepdims=True)
        return joined
    carried = np.zeros_like(reach)
    for o in range(weight_axes(layer)[0]):
        (rows, from_rows), (columns, from_columns) = kernel_overlap(layer, o)
        carried[..., rows, columns] |= reach[..., from_rows, from_columns]
    return _pool(carried, layer.pools)


def _joined(layer: Layer, reach: HostArray, live: HostArray) -> HostArray:
    """Whether a weight of offset o' reads a site of `reach` (|O|, H, W) for a gate that is live: (|O|, |O_l'|)."""
    if not layer.convolutional:
        return reach.reshape(reach.shape[0], -1)
    joined = np.zeros((reach.shape[0], weight_axes(layer)[0]), dtype=bool)
    for o in range(joined.shape[1]):
        (rows, from_rows), (columns, from_columns) = kernel_overlap(layer, o)
        joined[:, o] = (reach[:, from_rows, from_columns] & live[rows, columns]).any(axis=(1, 2))
    return joined


def _live_gates(network: Network) -> list[HostArray]:
    """Gate sites of every layer from which some path leads to the output."""
    live = [np.ones((1, 1), dtype=bool)]
    for layer, above in zip(network.layers[-2::-1], network.layers[:0:-1], strict=True):
        if not above.convolutional:
            seen = np.ones(_sites(above), dtype=bool)
        else:
            seen = np.zeros(_sites(above), dtype=bool)
            for o in range(weight_axes(above)[0]):
                (rows, from_rows), (columns, from_columns) = kernel_overlap(above, o)
                seen[from_rows, from_columns] |= live[0][rows, columns]
        live.insert(0, _unpool(seen, layer) if layer.convolutional else np.ones((1, 1), dtype=bool))
    return live


def joined_offsets(network: Network) -> dict[tuple[int, int], HostArray]:
    """For layers l < l': whether some path runs through weights of offsets o and o', (|O_l|, |O_l'|)."""
    live, tables = _live_gates(network), {}
    for low, layer in enumerate(network.layers[:-1]):
        reach = _written(layer)
        for high in range(low + 1, network.depth):
            tables[low, high] = _joined(network.layers[high], reach, live[high])
            reach = _carried(network.layers[high], reach)
    return tables


def sample_pairs(network: Network, n: int, n_first: int = 110, seed: Seed = 0) -> EntryPairs:
    """About n pairs of parameters in different layers, none of them 0 by construction.

    Every pair of layers (stratum) gets the same share. In every layer but the last about n_first/(L-1) first parameters
    are drawn uniformly, more where a first parameter has too few seconds (one each below `Dense(1)`), and all strata
    above share them; the second is uniform over those whose entry exists. No pair comes twice, and a stratum with
    fewer pairs than its share gives all that its first parameters have.

    Raises `ValueError` for a network of one layer, where the Hessian of T is 0 (E1).
    """
    n, n_first = check_count(n, "n"), check_count(n_first, "n_first")
    if network.depth < 2:
        raise ValueError("a network of one layer has no pairs of layers: its entries are all 0; use two or more")
    rng, tables = Streams(seed)("entry pairs"), joined_offsets(network)
    strata = [pair for pair in combinations(range(network.depth), 2) if tables[pair].any()]
    shares = np.full(len(strata), n // len(strata))
    shares[rng.permutation(len(strata))[: n % len(strata)]] += 1
    drawn: list[tuple[HostArray, HostArray, tuple[int, int]]] = []
    for low in sorted({pair[0] for pair in strata}):
        above = {pair[1]: int(k) for pair, k in zip(strata, shares, strict=True) if pair[0] == low}
        least = -(-n_first // (network.depth - 1))
        drawn += _draw_layer(network, low, above, tables, least, rng)
    counts = [np.full((len(first), 2), pair, dtype=np.int64) for first, _, pair in drawn]
    existing, excluded = _count(network, strata, tables)
    return EntryPairs(
        np.concatenate([first for first, _, _ in drawn]),
        np.concatenate([second for _, second, _ in drawn]),
        np.concatenate(counts),
        np.array(strata, dtype=np.int64),
        existing,
        excluded,
    )


def _seconds(network: Network, pair: tuple[int, int], table: HostArray) -> HostArray:
    """How many second parameters a first one of each offset has, (|O_l|,)."""
    _, ins, outs = weight_axes(network.layers[pair[1]])
    channels = 1 if pair[1] == pair[0] + 1 else ins
    number: HostArray = table.sum(axis=1) * channels * outs
    return number


def _draw_layer(
    network: Network,
    low: int,
    above: dict[int, int],
    tables: dict[tuple[int, int], HostArray],
    least: int,
    rng: np.random.Generator,
) -> list[tuple[HostArray, HostArray, tuple[int, int]]]:
    """(first, second, (l, l')) of all strata with their first parameters in layer l."""
    _, ins, outs = weight_axes(network.layers[low])
    room = {high: _seconds(network, (low, high), tables[low, high]) for high in above}
    live = np.flatnonzero(sum(room.values()))
    wanted = max(least, *(-(-count // int(room[high].max())) for high, count in above.items()))
    number = min(wanted, live.size * ins * outs)
    chosen = rng.choice(live.size * ins * outs, number, replace=False)
    offset, rest = live[chosen // (ins * outs)], chosen % (ins * outs)
    first = offset * ins * outs + rest
    drawn = []
    for high, count in above.items():
        order = rng.permutation(number)
        shares = _spread(count, room[high][offset[order]])
        seconds = [
            _draw_seconds(network, (low, high), tables[low, high][offset[k]], int(first[k] % outs), int(share), rng)
            for k, share in zip(order, shares, strict=True)
        ]
        begin = network.slices[low].start, network.slices[high].start
        drawn.append((first[order].repeat(shares) + begin[0], np.concatenate(seconds) + begin[1], (low, high)))
    return drawn


def _spread(count: int, room: HostArray) -> HostArray:
    """`count` shared out as evenly as the room of each allows."""
    shares = np.zeros_like(room)
    while count > 0 and (free := np.flatnonzero(shares < room)).size:
        taken = free[:count] if count < free.size else free
        step = max(1, min(count // free.size, int((room - shares)[free].min())))
        shares[taken] += step
        count -= step * taken.size
    return shares


def _draw_seconds(
    network: Network, pair: tuple[int, int], joined: HostArray, channel: int, count: int, rng: np.random.Generator
) -> HostArray:
    """Distinct second parameters of one first, as indices within their layer."""
    _, ins, outs = weight_axes(network.layers[pair[1]])
    offsets, channels = np.flatnonzero(joined), 1 if pair[1] == pair[0] + 1 else ins
    chosen = rng.choice(offsets.size * channels * outs, count, replace=False)
    o, a, b = np.unravel_index(chosen, (offsets.size, channels, outs))
    if channels != ins:
        a = np.full_like(a, channel)
    index: HostArray = (offsets[o] * ins + a) * outs + b
    return index


def _count(
    network: Network, strata: Sequence[tuple[int, int]], tables: dict[tuple[int, int], HostArray]
) -> tuple[HostArray, dict[str, int]]:
    """The number of existing entries of every stratum, and of those that are 0 by construction."""
    sizes = network.layer_sizes
    existing = []
    for low, high in strata:
        _, ins, outs = weight_axes(network.layers[low])
        existing.append(int(_seconds(network, (low, high), tables[low, high]).sum()) * ins * outs)
    linked = 0
    for low in range(network.depth - 1):
        linked += sizes[low] * sizes[low + 1] // weight_axes(network.layers[low])[2]
    adjacent = sum(sizes[low] * sizes[low + 1] for low in range(network.depth - 1))
    across = sum(a * b for a, b in combinations(sizes, 2))
    excluded = {
        "same layer": sum(size * (size + 1) // 2 for size in sizes),
        "other neuron": adjacent - linked,
        "no joint site": across - (adjacent - linked) - sum(existing),
    }
    return np.array(existing, dtype=np.int64), excluded
