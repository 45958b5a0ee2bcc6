"""Compiled enumeration of sign patterns: the twins of `simulator.enumeration.signs` (the sums and the two counts).

Patterns are walked with the first layer as lanes: a block of consecutive patterns differs in signs of W_1 only, so
that every other weight is one number for the whole block and all arithmetic runs along contiguous rows. The signs of
the further hidden layers follow a Gray code, the layer next to the output fastest; one flip recomputes one column
of z from its inputs, and the layers above it. Nothing is updated incrementally, so nothing drifts: every sum runs in
index order, as in the reference, and an exact tie z = 0 stays one. The signs of W_L are innermost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import prange

from .jit import njit
from .sums import moment_sums

Array = np.ndarray[Any, Any]
LANE_BITS = 7  # 128 lanes: the rows of a small network stay in the first cache
TASKS = 32  # subtrees to spread over threads
CHUNK = 1 << 12  # patterns that a count visits at a time


@njit(cache=True)
def _first_layer(block, x, flat, bits, z, signal):  # type: ignore[no-untyped-def]
    """z_1 and x_1, (n_1, lanes), of the patterns of one block."""
    n, (k, lanes) = x.size, z.shape
    for b in range(k):
        for lane in range(lanes):
            pattern = block * lanes + lane
            total = 0.0
            for a in range(n):
                term = x[a] * flat[a * k + b]
                bit = bits[a * k + b]
                total += -term if bit >= 0 and (pattern >> bit) & 1 else term
            z[b, lane] = total
            signal[b, lane] = total if total > 0.0 else 0.0


@njit(cache=True)
def _column(inputs, w, stride, z, signal):  # type: ignore[no-untyped-def]
    """z = Σ_a x_a w_a along the lanes, in index order, and its positive part; w is a column of a flat matrix."""
    n, lanes = inputs.shape
    for lane in range(lanes):
        z[lane] = inputs[0, lane] * w[0]
    for a in range(1, n):
        for lane in range(lanes):
            z[lane] += inputs[a, lane] * w[a * stride]
    for lane in range(lanes):
        signal[lane] = z[lane] if z[lane] > 0.0 else 0.0


@njit(cache=True)
def _add_moments(z, signal, weight, sums):  # type: ignore[no-untyped-def]
    """Σ x, Σ x², Σ z, Σ z² along the lanes, times `weight`, onto sums (4,)."""
    found = np.empty(4)
    moment_sums(z, signal, found)
    for i in range(4):
        sums[i] += weight * found[i]


@njit(cache=True)
def _leaves(inputs, flat, bits, below, first, output):  # type: ignore[no-untyped-def]
    """T for all signs of the intact last weights, those of the patterns `first` + lane below."""
    n, lanes = inputs.shape
    count = 0
    for a in range(n):
        count += bits[a] >= 0
    for signs in range(1 << count):
        start = (signs << below) + first
        for a in range(n):
            w = flat[a]
            if bits[a] >= 0 and (signs >> (bits[a] - below)) & 1:
                w = -w
            if a == 0:
                for lane in range(lanes):
                    output[start + lane] = inputs[0, lane] * w
            else:
                for lane in range(lanes):
                    output[start + lane] += inputs[a, lane] * w


@njit(cache=True)
def _write_gates(signal, first, gates):  # type: ignore[no-untyped-def]
    """Pack h = 1[x > 0] of all rows into one word a lane, from place `first` on."""
    hidden, lanes = signal.shape
    for lane in range(lanes):
        gates[first + lane] = 0
    for k in range(hidden):
        on = np.uint64(1) << np.uint64(k)
        for lane in range(lanes):
            gates[first + lane] |= on if signal[k, lane] > 0.0 else np.uint64(0)


@njit(cache=True)
def _start(pattern, below, flat, where, layout, signed, z, signal):  # type: ignore[no-untyped-def]
    """The signs of `pattern`, and z and x of the hidden layers behind the first, whose signals are there."""
    signed[:] = flat
    for bit in range(below):
        if (pattern >> bit) & 1:
            signed[where[bit]] = -flat[where[bit]]
    for layer in range(1, layout.shape[0] - 1):
        _layer(layer, -1, layout, signed, z, signal)


@njit(cache=True)
def _layer(layer, column, layout, signed, z, signal):  # type: ignore[no-untyped-def]
    """Recompute one column of a hidden layer behind the first, or all of them (-1)."""
    n, k, offset, start = layout[layer, 0], layout[layer, 1], layout[layer, 2], layout[layer, 3]
    inputs = signal[start - n : start]
    for b in range(k):
        if column < 0 or b == column:
            _column(inputs, signed[offset + b :], k, z[start + b], signal[start + b])


@njit(cache=True)
def _flip(q, layout, signed, z, signal):  # type: ignore[no-untyped-def]
    """Negate weight q, of a hidden layer behind the first, and recompute what depends on it."""
    signed[q] = -signed[q]
    layer = 1
    while q >= layout[layer + 1, 2]:
        layer += 1
    _layer(layer, (q - layout[layer, 2]) % layout[layer, 1], layout, signed, z, signal)
    for above in range(layer + 1, layout.shape[0] - 1):
        _layer(above, -1, layout, signed, z, signal)


@njit(cache=True)
def _subtree(block, lanes, first, last, x, flat, bits, where, layout, gates, output, sums):  # type: ignore[no-untyped-def]
    """All patterns of one block of lanes and the Gray codes first..last of the hidden layers behind the first."""
    depth, hidden, below = layout.shape[0], sums.shape[0], layout[layout.shape[0] - 1, 4]
    pattern = block * lanes
    for i in range(below):
        if ((first ^ (first >> 1)) >> i) & 1:
            pattern |= 1 << (below - 1 - i)
    signed = np.empty(flat.size)
    z, signal = np.empty((hidden, lanes)), np.empty((hidden, lanes))
    if depth > 1:
        _first_layer(block, x, flat, bits, z[: layout[0, 1]], signal[: layout[0, 1]])
    _start(pattern, below, flat, where, layout, signed, z, signal)
    n, offset = layout[depth - 1, 0], layout[depth - 1, 2]
    inputs = signal[hidden - n :] if depth > 1 else x.reshape((n, 1))
    # No view of an array that threads share is made inside the loop: its reference count would pass between them.
    last_weights, last_bits, own = flat[offset:], bits[offset:], np.zeros((hidden, 4))
    for step in range(first, last):
        if step > first:
            position = 0
            while not (step >> position) & 1:
                position += 1
            pattern ^= 1 << (below - 1 - position)
            _flip(where[below - 1 - position], layout, signed, z, signal)
        for layer in range(depth - 1):
            run = 1 << layout[layer, 4]  # steps that a state of this layer lasts
            if step % run == 0:
                for j in range(layout[layer, 3], layout[layer, 3] + layout[layer, 1]):
                    _add_moments(z[j], signal[j], run, own[j])
        _write_gates(signal, pattern, gates)
        _leaves(inputs, last_weights, last_bits, below, pattern, output)
    sums[:] = own


@njit(parallel=True, cache=True)
def _walk(lanes, blocks, ranges, codes, x, flat, bits, where, layout, gates, output, sums):  # type: ignore[no-untyped-def]
    for task in prange(blocks * ranges):
        block, part = task // ranges, task % ranges
        first, last = part * codes, (part + 1) * codes
        _subtree(block, lanes, first, last, x, flat, bits, where, layout, gates, output, sums[task])


def _layout(matrices: Sequence[Array], counts: Sequence[int]) -> Array:
    """A row a weight layer: inputs, outputs, offset of its weights, first neuron, hidden sign bits above it.

    The last row has the sign bits of all hidden layers in place of its own, of which there are none.
    """
    offsets = np.cumsum([0, *(w.size for w in matrices)])
    neurons = np.cumsum([0, *(w.shape[1] for w in matrices)])
    above = [sum(counts[i + 1 : -1]) for i in range(len(counts) - 1)] + [sum(counts[:-1])]
    rows = [[*w.shape, offsets[i], neurons[i], above[i]] for i, w in enumerate(matrices)]
    return np.array(rows, dtype=np.int64)


def enumerate_signs(matrices: Sequence[Array], x: Array, bits: Array) -> tuple[Array, Array, Array]:
    """See `simulator.enumeration.signs.enumerate_patterns`."""
    ends = np.cumsum([w.size for w in matrices])
    counts = [int(np.sum(part >= 0)) for part in np.split(bits, ends[:-1])]
    lane_layer = counts[0] if len(matrices) > 1 else 0
    below = sum(counts[:-1])
    lanes, blocks = 1 << min(lane_layer, LANE_BITS), 1 << max(0, lane_layer - LANE_BITS)
    codes = 1 << (below - lane_layer)
    ranges = 1
    while below > 2 * LANE_BITS and blocks * ranges < TASKS and ranges < codes:
        ranges *= 2
    gates, output = np.empty(1 << below, dtype=np.uint64), np.empty(1 << sum(counts))
    sums = np.zeros((blocks * ranges, sum(w.shape[1] for w in matrices[:-1]), 4))
    flat = np.concatenate([np.asarray(w, dtype=np.float64).reshape(-1) for w in matrices])
    _walk(
        lanes, blocks, ranges, codes // ranges, np.ascontiguousarray(x, dtype=np.float64), flat, bits,
        np.flatnonzero(bits >= 0), _layout(matrices, counts), gates, output, sums,
    )  # fmt: skip
    return gates, output, sums.sum(axis=0) / 2.0**below


@njit(cache=True)
def _parity(word):  # type: ignore[no-untyped-def]
    for shift in (32, 16, 8, 4, 2, 1):
        word ^= word >> shift
    return word & 1


@njit(parallel=True, cache=True)
def _count_circuits(gates, masks, parities, counts):  # type: ignore[no-untyped-def]
    size = gates.size // counts.shape[0]
    for chunk in prange(counts.shape[0]):
        for path in range(masks.size):
            mask, signs = masks[path], parities[path]
            on, odd = np.int64(0), np.int64(0)
            for p in range(chunk * size, (chunk + 1) * size):
                hit = np.int64((gates[p] & mask) == mask)
                on += hit
                odd += hit & _parity(p & signs)
            counts[chunk, path, 0] = on - odd
            counts[chunk, path, 1] = odd


@njit(parallel=True, cache=True)
def _count_changes(gates, masks, above, flips, counts):  # type: ignore[no-untyped-def]
    size = gates.size // counts.shape[0]
    for chunk in prange(counts.shape[0]):
        first = chunk * size
        here, other = gates[first : first + size], np.empty(size, dtype=np.uint64)
        for pair in range(masks.size):
            if pair == 0 or flips[pair] != flips[pair - 1]:
                for p in range(size):
                    other[p] = gates[(first + p) ^ flips[pair]]
            mask, high = masks[pair], above[pair]
            one, changed = np.int64(0), np.int64(0)
            for p in range(size):
                a, b = here[p], other[p]
                one += ((a & mask) == mask) != ((b & mask) == mask)
                changed += ((a ^ b) & high) != 0
            counts[chunk, pair, 0] = one
            counts[chunk, pair, 1] = changed


def count_circuits(gates: Array, masks: Array, parities: Array) -> Array:
    """See `simulator.enumeration.signs.count_circuits`."""
    counts = np.zeros((max(1, gates.size // CHUNK), masks.size, 2), dtype=np.int64)
    _count_circuits(gates, masks, parities, counts)
    return np.asarray(counts.sum(axis=0))


def count_changes(gates: Array, masks: Array, above: Array, flips: Array) -> Array:
    """See `simulator.enumeration.signs.count_changes`. Pairs with one flip share its mirrored gates."""
    counts = np.zeros((max(1, gates.size // CHUNK), masks.size, 2), dtype=np.int64)
    order = np.argsort(flips, kind="stable")
    _count_changes(gates, masks[order], above[order], flips[order], counts)
    return np.asarray(counts.sum(axis=0)[np.argsort(order)])
