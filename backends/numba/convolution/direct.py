"""Compiled CPU twins of the convolutions of `backends.reference`.

A "same" convolution is computed without forming patches. A block of images is copied once into a zero-padded
channels-last buffer, in which the k horizontal neighbours of a site are k·C adjacent numbers and neighbouring rows
and images share their padding. Sites are taken from it by a table of offsets, a register tile at a time
(`backends.numba.tiles`); one block per thread, small enough to stay in its cache.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import prange
from numba.extending import register_jitable

from backends.numba.gates.gates import finish
from backends.numba.jit import njit
from backends.numba.tiles import (
    COLOUR_SUMS,
    GRADIENT_SUMS,
    REGISTERS,
    SUMS,
    WIDTH,
    convolve_tile,
    copy,
    gradient_colour,
    gradient_narrow,
    gradient_wide,
    rows_of_tile,
)

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 1 << 19  # a block's buffers: half of a common second-level cache
CHUNK = 256  # sites of a gradient between two additions to the sums: their signals stay in the first-level cache


def pack(w: Array, turned: bool) -> Array:
    """Kernels (..., k, k, A, B) as (..., n, k·k·A·2L): panels of 2L columns, the last one of L where that is enough.

    Columns beyond B are 0. L is the number of lanes. `turned`: the kernels of the adjoint, see `reference.turn`.
    """
    *lead, k, _, a, b = w.shape
    ins, outs = (b, a) if turned else (a, b)
    width = 2 * (WIDTH // w.itemsize)
    packed = np.empty((math.prod(lead), -(-outs // width), k * k * ins * width), w.dtype)
    _pack(w.reshape(-1, k, k, a, b), turned, width, packed)
    return packed.reshape(*lead, *packed.shape[1:])


@njit(parallel=True, cache=True)
def _pack(w, turned, width, packed):  # type: ignore[no-untyped-def]
    probes, k, _, a, b = w.shape
    ins, outs = (b, a) if turned else (a, b)
    panels = packed.shape[1]
    for item in prange(probes * panels):
        p, first = item // panels, item % panels * width
        inside = min(outs - first, width)
        columns = width if inside > width // 2 else width // 2
        target = packed[p, item % panels]
        for i in range(k):
            for j in range(k):
                for row in range(ins):
                    at = ((i * k + j) * ins + row) * columns
                    for c in range(inside):
                        here = w[p, k - 1 - i, k - 1 - j, first + c, row] if turned else w[p, i, j, row, first + c]
                        target[at + c] = here
                    for c in range(inside, columns):
                        target[at + c] = 0


@register_jitable
def is_small(height: int, width: int, kernel: int) -> bool:
    """Whether about half of the windows or more lies beyond the border: such images go site by site, without it."""
    return max(height, width) < kernel


@njit(cache=True)
def _fill(x, first, count, r, buffer):  # type: ignore[no-untyped-def]
    """Copy images first..first+count of x into the flat padded buffer, whose padding is zero already."""
    height, width, channels = x.shape[1:]
    source, item = x.reshape(-1), x.itemsize
    row = width * channels * item
    for i in range(count):
        for y in range(height):
            to = ((i * (height + r) + y + r) * (width + r) + r) * channels
            start = ((first + i) * height + y) * width * channels
            copy(buffer.ctypes.data + to * item, source.ctypes.data + start * item, row)  # type: ignore[call-arg]


@njit(cache=True)
def _sites(count, height, width, channels, r, padded):  # type: ignore[no-untyped-def]
    """Where in the buffer each site's window begins; the last is repeated up to a multiple of `padded`."""
    total = count * height * width
    sites = np.empty((total + padded - 1) // padded * padded, np.int64)
    for s in range(sites.size):
        at = min(s, total - 1)
        i, y, q = at // (height * width), at // width % height, at % width
        sites[s] = ((i * (height + r) + y) * (width + r) + q) * channels
    return sites


@njit(cache=True)
def _window(place, small, height, width, channels, kernel):  # type: ignore[no-untyped-def]
    """(where a window begins, in the buffer and among the kernel's rows; its rows; numbers in each of them).

    All of the kernel for every site, or for site `place` of `small` images only what does not lie beyond the border.
    """
    if not small:
        return 0, 0, kernel, kernel * channels
    r, y, q = kernel // 2, place // width, place % width
    above, left = max(0, r - y), max(0, r - q)
    rows, columns = min(kernel, height + r - y) - above, min(kernel, width + r - q) - left
    start = (max(0, y - r) * width + max(0, q - r)) * channels
    return start, (above * kernel + left) * channels, rows, columns * channels


@njit(cache=True)
def _convolve_block(x, sites, total, window, w, again, add_w, line, rise, outs, z, z_first, across, scratch, lanes):  # type: ignore[no-untyped-def]
    """z (+)= the convolution of a filled buffer with packed panels w, for `total` sites, `across` entries apart in z.

    `again` and `add_w`: a second buffer and its panels (of no entry where there is none).
    """
    start, skipped, kernel, run = window
    item = z.itemsize
    for n in range(w.shape[0]):
        column = n * 2 * lanes
        left = outs - column
        vectors = 2 if left > lanes else 1
        width = vectors * lanes
        taps, from_x = w[n].ctypes.data + skipped * width * item, x.ctypes.data + start * item
        t = 0
        while t < total:
            rows = rows_of_tile(total - t, vectors)
            inside = min(rows, total - t)
            whole = inside == rows and left >= width
            target = z.ctypes.data + (z_first + t * across + column) * item if whole else scratch.ctypes.data
            stride, first = across if whole else width, sites.ctypes.data + 8 * t
            convolve_tile(z, vectors, rows, from_x, first, taps, kernel, run, line, rise, target, stride, 0)
            if again.size:
                more, beside = add_w[n].ctypes.data + skipped * width * item, again.ctypes.data + start * item
                convolve_tile(z, vectors, rows, beside, first, more, kernel, run, line, rise, target, stride, 1)
            if not whole:
                for i in range(inside):
                    for c in range(min(left, width)):
                        z[z_first + (t + i) * across + column + c] = scratch[i * width + c]
            t += rows


@njit(parallel=True, cache=True)
def convolve(threads, block, lanes, kernel, own, w, shared, v, z, after, s, mask, x):  # type: ignore[no-untyped-def]
    """z[p] = conv(own[p], w) + conv(shared, v[p]) for P probes; either part may be empty.

    own (P or 0, m, H, W, A) with packed w; shared (m or 0, H, W, A) with packed v, P of them; z (P, m, H, W, B). Where
    gates come `after`, z is (P, 0, 0, 0, B), and x (P, m, H', W', B) is what `finish` makes of every block.
    """
    probes, outs = z.shape[0], z.shape[4]
    m, height, width, ins = own.shape[1:]
    small, area = is_small(height, width, kernel), height * width
    r = 0 if small else kernel // 2
    blocks = (m + block - 1) // block
    length = ((block * (height + r) + r) * (width + r) + r + kernel) * ins
    line, rise = (width + r) * ins, kernel * ins
    places, across = (area, area * outs) if small else (1, outs)
    for thread in prange(threads):
        buffer = np.zeros(length if own.shape[0] else 0, z.dtype)
        common = np.zeros(length if shared.shape[0] else 0, z.dtype)
        scratch = np.empty(SUMS * lanes, z.dtype)
        sites = _sites(block, 1, 1, area * ins, 0, SUMS) if small else _sites(block, height, width, ins, r, SUMS)
        made = np.empty((block if after else 0, height, width, outs), z.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            total = count if small else count * area
            if shared.shape[0]:
                _fill(shared, first, count, r, common)
            for p in range(probes):
                flat = made.reshape(-1) if after else z[p].reshape(-1)
                start = 0 if after else first * area * outs
                if own.shape[0]:
                    _fill(own[p], first, count, r, buffer)
                for place in range(places):
                    window = _window(place, small, height, width, ins, kernel)
                    begin = start + place * outs
                    if own.shape[0]:
                        extra = v[p] if shared.shape[0] else w[:0]
                        _convolve_block(
                            buffer, sites, total, window, w, common, extra, line, rise, outs, flat, begin, across,
                            scratch, lanes,
                        )  # fmt: skip
                    else:
                        _convolve_block(
                            common, sites, total, window, v[p], buffer, w[:0], line, rise, outs, flat, begin, across,
                            scratch, lanes,
                        )  # fmt: skip
                if after:
                    finish(after, s, made, count, first, mask, x[p])


@njit(cache=True)
def _rows(d, first, count, columns, padded):  # type: ignore[no-untyped-def]
    """Signals of a block's sites as rows of `columns` numbers, zero beyond their channels."""
    sites, outs = d.shape[1] * d.shape[2], d.shape[3]
    source, item = d.reshape(-1), d.itemsize
    for s in range(count * sites):
        to, start = s * columns * item, (first * sites + s) * outs * item
        copy(padded.ctypes.data + to, source.ctypes.data + start, outs * item)  # type: ignore[call-arg]


@njit(cache=True)
def _gradient_block(x, sites, total, window, d, d_first, across, line, rise, outs, sums, scratch, lanes):  # type: ignore[no-untyped-def]
    """sums (k·k·A·B, flat) += Σ_sites x d^T for a filled buffer; rows of d lie `across` apart from `d_first` on."""
    begin, skipped, kernel, run = window
    item = sums.itemsize
    for chunk in range(0, total, CHUNK):
        count = min(CHUNK, total - chunk)
        places = sites.ctypes.data + 8 * chunk
        if kernel * run == COLOUR_SUMS <= REGISTERS and kernel == 3 and outs % lanes == 0:
            for column in range(0, outs, lanes):
                signals = d.ctypes.data + (d_first + chunk * across + column) * item
                target = sums.ctypes.data + column * item
                gradient_colour(sums, x.ctypes.data, places, count, line, signals, across, target, outs, 1)
            continue
        for column in range(0, outs, 2 * lanes):
            left = outs - column
            vectors = 2 if left > lanes else 1
            tile, width = GRADIENT_SUMS // vectors, vectors * lanes
            signals = d.ctypes.data + (d_first + chunk * across + column) * item
            for dy in range(kernel):
                for row in range(0, run, tile):
                    start = x.ctypes.data + (begin + dy * line + row) * item
                    at = (skipped + dy * rise + row) * outs + column
                    whole = left >= width and run - row >= tile
                    target = sums.ctypes.data + at * item if whole else scratch.ctypes.data
                    stride, add = (outs, 1) if whole else (width, 0)
                    if vectors == 2:
                        gradient_wide(sums, start, places, count, 0, signals, across, target, stride, add)
                    else:
                        gradient_narrow(sums, start, places, count, 0, signals, across, target, stride, add)
                    if not whole:
                        for i in range(min(tile, run - row)):
                            for c in range(min(left, width)):
                                sums[at + i * outs + c] += scratch[i * width + c]


@njit(parallel=True, cache=True)
def convolve_gradient(threads, block, lanes, kernel, x, shared_d, shared_x, d, sums):  # type: ignore[no-untyped-def]
    """sums[thread, p] = Σ_i x_i[p] δ_i^T + Σ_i x_i δ_i[p]^T for P probes; either part may be empty.

    x (P or 0, m, H, W, A) meets shared_d (m, H, W, B); shared_x (m or 0, H, W, A) meets d (P, m, H, W, B); sums
    (threads, P, k, k, A, B), set here.
    """
    probes, a, outs = sums.shape[1], sums.shape[4], sums.shape[5]
    m, height, width = d.shape[1:4]
    small, area = is_small(height, width, kernel), height * width
    r = 0 if small else kernel // 2
    blocks = (m + block - 1) // block
    length = ((block * (height + r) + r) * (width + r) + r + kernel) * a + GRADIENT_SUMS
    line, rise = (width + r) * a, kernel * a
    columns = (outs + lanes - 1) // lanes * lanes
    padding = 0 if columns == outs else block * area * columns
    places, across = (area, area * columns) if small else (1, columns)
    for thread in prange(threads):
        buffer = np.zeros(length, sums.dtype)
        padded = np.zeros(padding, sums.dtype)
        scratch = np.empty(GRADIENT_SUMS * lanes, sums.dtype)
        sums[thread] = 0
        sites = _sites(block, 1, 1, area * a, 0, 1) if small else _sites(block, height, width, a, r, 1)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            total = count if small else count * area
            start = 0 if padding else first * area * outs
            for part in range(2):
                if (shared_x if part == 0 else shared_d).shape[0] == 0:
                    continue
                if part == 0:
                    _fill(shared_x, first, count, r, buffer)
                elif padding:
                    _rows(shared_d, first, count, columns, padded)
                for p in range(probes):
                    if part == 1:
                        _fill(x[p], first, count, r, buffer)
                    elif padding:
                        _rows(d[p], first, count, columns, padded)
                    plain = d[p] if part == 0 else shared_d
                    signals, into = padded if padding else plain.reshape(-1), sums[thread, p].reshape(-1)
                    for place in range(places):
                        window = _window(place, small, height, width, a, kernel)
                        begin = start + place * columns
                        _gradient_block(
                            buffer, sites, total, window, signals, begin, across, line, rise, outs, into, scratch, lanes
                        )


def even_blocks(m: int, threads: int, fitting: int) -> int:
    """Images per block, at most `fitting`, such that every thread has as many blocks as the others."""
    share = -(-m // threads)
    return -(-share // -(-share // max(1, fitting)))


@cache
def images_per_block(m: int, height: int, width: int, size: int, kernel: int, threads: int) -> int:
    """Such that blocks fill the cache, of `size` bytes a site; small images may, others leave every thread two or more.

    A site's tiles go over the images of a block where these are small.
    """
    fitting = BLOCK_BYTES // max(1, height * width * size)
    most = -(-m // (threads if is_small(height, width, kernel) else 2 * threads))
    return even_blocks(m, threads, min(fitting, most))
