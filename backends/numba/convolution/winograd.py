"""3×3 convolutions in fewer products: Winograd's minimal filtering on register tiles, in tiles of 2×2 or 4×4 sites.

n² = 16 (or 36) products of (tiles × channels) with (channels × channels) matrices stand for the 36 (144) of a tile,
between two transformations (`backends.numba.convolution.transforms`). The gradient is the adjoint of the same sums,
Σ_tiles (B^T x_a B) ∘ (A δ_b A^T), turned back by G. Every function takes the side of a tile, 2 or 4, which
`tile_side` chooses.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numba import prange

from backends.numba.gates.gates import finish
from backends.numba.jit import njit
from backends.numba.tiles import (
    GRADIENT_SUMS,
    LANES,
    REST_SUMS,
    SUMS,
    WIDTH,
    convolve_tile,
    copy,
    gradient_narrow,
    gradient_wide,
    rows_of_tile,
)

from .direct import BLOCK_BYTES, even_blocks, is_small
from .ties import decide, equal_patches, squares_of_row, sum_marked, windows_of_tiles
from .transforms import matrices, tile_in_2, tile_in_4, tile_out_2, tile_out_4, tile_spread_2, tile_spread_4

Array = np.ndarray[Any, Any]
KERNEL = {(tile, np.dtype(name)): matrices(tile)[1].astype(name) for tile in (2, 4) for name in LANES}
"""G (n, 3): the transformation of a kernel."""
LEAST_PRODUCT = 256  # channels in × channels out from which the products weigh more than the transformations
BATCH = 1 << 10
"""Images for which the tiles of `convolve` are chosen, however many there are: it gives one the same in any batch."""
LEAST_TILES = 48  # in a block, for the matrices of kernels that come along with it
SUM_TILES = 24
"""Tiles whose products take as long as adding up a kernel's gradient, which passes over memory."""


@cache
def tile_side(
    kernel: int, images: tuple[int, int, int], ins: int, outs: int, lanes: int, threads: int, more: int
) -> int:
    """The side of a tile, 4 or 2; 0 for direct sums: kernels not 3×3, ragged or few channels, small images.

    images (m, H, W): products are counted with the register tiles that a thread's share of them fills, and with the
    `more` tiles that stand for passes over kernels.
    """
    if kernel != 3 or ins % lanes or outs % lanes or ins * outs < LEAST_PRODUCT:
        return 0
    m, height, width = images
    if is_small(height, width, kernel):
        return 0
    share, rows = -(-m // threads), REST_SUMS // 2
    tiles = {t: -(-share * -(-height // t) * -(-width // t) // rows) * rows for t in (2, 4)}
    return min(tiles, key=lambda t: ((t + 2) ** 2 * (tiles[t] + more), t))


def panels(w: Array, turned: bool, tile: int) -> Array:
    """Kernels (..., 3, 3, A, B) transformed and packed: (..., n², panels, A·2L): see `direct.pack`."""
    *lead, _, _, a, b = w.shape
    ins, outs = (b, a) if turned else (a, b)
    width = 2 * (WIDTH // w.itemsize)
    made = np.empty((math.prod(lead), (tile + 2) ** 2, -(-outs // width), ins * width), w.dtype)
    _panels(w.reshape(-1, 3, 3, a, b), turned, KERNEL[tile, w.dtype], width, made)
    return made.reshape(*lead, *made.shape[1:])


@njit(parallel=True, cache=True)
def _panels(w, turned, g, width, made):  # type: ignore[no-untyped-def]
    """made (P, n², panels, ins·width) = G w G^T of kernels w (P, 3, 3, A, B)."""
    probes, _, _, a, b = w.shape
    ins, outs = (b, a) if turned else (a, b)
    n, count = g.shape[0], made.shape[2]
    for item in prange(probes * count):
        p, panel = item // count, item % count
        first = panel * width
        columns = min(outs - first, width)
        taps, half = np.empty((3, 3, width), w.dtype), np.empty((n, 3, width), w.dtype)
        for row in range(ins):
            for i in range(3):
                for j in range(3):
                    for c in range(columns):
                        taps[i, j, c] = w[p, 2 - i, 2 - j, first + c, row] if turned else w[p, i, j, row, first + c]
            for y in range(n):
                for j in range(3):
                    for c in range(columns):
                        half[y, j, c] = g[y, 0] * taps[0, j, c] + g[y, 1] * taps[1, j, c] + g[y, 2] * taps[2, j, c]
            for y in range(n):
                for x in range(n):
                    target = made[p, y * n + x, panel]
                    for c in range(columns):
                        value = g[x, 0] * half[y, 0, c] + g[x, 1] * half[y, 1, c] + g[x, 2] * half[y, 2, c]
                        target[row * columns + c] = value


def kernel_gradient(sums: Array, tile: int) -> Array:
    """Threads' sums (T, P, n², A, B) -> (P, 3, 3, A, B): added up, and the adjoint of the kernels' transformation."""
    made = np.empty((sums.shape[1], 3, 3, *sums.shape[3:]), sums.dtype)
    _kernel_gradient(sums, KERNEL[tile, sums.dtype], made)
    return made


@njit(parallel=True, cache=True)
def _kernel_gradient(sums, g, made):  # type: ignore[no-untyped-def]
    threads, probes, _, ins, outs = sums.shape
    n = g.shape[0]
    for item in prange(probes * ins):
        p, a = item // ins, item % ins
        half = np.zeros((3, n, outs), sums.dtype)
        for y in range(n):
            for x in range(n):
                for t in range(threads):
                    for c in range(outs):
                        value = sums[t, p, y * n + x, a, c]
                        for i in range(3):
                            half[i, x, c] += g[y, i] * value
        for i in range(3):
            for j in range(3):
                for c in range(outs):
                    made[p, i, j, a, c] = 0
                for x in range(n):
                    for c in range(outs):
                        made[p, i, j, a, c] += g[x, j] * half[i, x, c]


@njit(cache=True)
def _windows_in(x, first, count, buffer, v, plane, tile, sums):  # type: ignore[no-untyped-def]
    """Transformed windows of images first..first+count: a padded copy of each, then n² planes of v.

    sums (≥ count, tile·down + 2, tile·across + 2), or of no entry: squares of the sites, with a border that is 0.
    """
    height, width, channels = x.shape[1:]
    down, across = -(-height // tile), -(-width // tile)
    row = (tile * across + 2) * channels
    source, item = x.reshape(-1), x.itemsize
    run = width * channels * item
    for i in range(count):
        for y in range(height):
            to, start = (y + 1) * row + channels, ((first + i) * height + y) * width * channels
            copy(buffer.ctypes.data + to * item, source.ctypes.data + start * item, run)  # type: ignore[call-arg]
            if sums.size:
                at = (i * sums.shape[1] + y + 1) * sums.shape[2] + 1
                squares_of_row(x, buffer.ctypes.data + to * item, width, channels, sums, at)
        for ty in range(down):
            for tx in range(across):
                at = ((i * down + ty) * across + tx) * channels
                window = buffer.ctypes.data + tile * (ty * row + tx * channels) * item
                if tile == 2:
                    tile_in_2(x, window, row, channels, v.ctypes.data + at * item, plane, channels)
                else:
                    tile_in_4(x, window, row, channels, v.ctypes.data + at * item, plane, channels)


@njit(cache=True)
def _multiply(v, plane, u, tiles, sites, run, outs, m, out_plane, add, lanes):  # type: ignore[no-untyped-def]
    """m[ξ] (+)= v[ξ] u[ξ] for all planes; tiles beyond the last are filled with what lies there."""
    item = v.itemsize
    for plane_index in range(u.shape[0]):
        source = v.ctypes.data + plane_index * plane * item
        target = m.ctypes.data + plane_index * out_plane * item
        for n in range(u.shape[1]):
            column = n * 2 * lanes
            weights, vectors, t = u[plane_index, n].ctypes.data, 2 if outs - column > lanes else 1, 0
            while t < tiles:
                rows = rows_of_tile(tiles - t, vectors)
                place, first = target + (t * outs + column) * item, sites.ctypes.data + 8 * t
                convolve_tile(v, vectors, rows, source, first, weights, 1, run, 0, 0, place, outs, add)
                t += rows


@njit(cache=True)
def _places(block_tiles, channels):  # type: ignore[no-untyped-def]
    """Offsets of tiles in a plane, up to a whole number of register tiles."""
    return np.arange((block_tiles + SUMS - 1) // SUMS * SUMS) * channels


@njit(parallel=True, cache=True)
def convolve(  # type: ignore[no-untyped-def]
    threads, block, lanes, tile, own, w, shared, v, z, after, s, mask, x, own_w, shared_w, turned, window, norms
):
    """As `direct.convolve` for 3×3 kernels, with w (n², ...) or empty and v (P, n², ...) or empty.

    own_w (3, 3, ., .) and shared_w (P, 3, 3, ., .) are the kernels as they are, for direct sums (`ties`),
    `turned` for those of the adjoint. `window`: the side of the windows in which z decides something, 0 if nowhere;
    norms (B,) then holds K u ||w_b||.
    """
    probes, outs = z.shape[0], z.shape[4]
    m, height, width, ins = own.shape[1:]
    down, across = -(-height // tile), -(-width // tile)
    blocks, planes = (m + block - 1) // block, (tile + 2) ** 2
    for thread in prange(threads):
        sites = _places(block * down * across, ins)
        # Not a power of two apart: the planes would share few lines of the first-level cache.
        plane, out_plane = sites.size * ins + lanes, sites.size * outs + lanes
        buffer = np.zeros((tile * down + 2) * (tile * across + 2) * ins, z.dtype)
        windows = np.zeros(planes * plane if own.shape[0] else 0, z.dtype)
        common = np.zeros(planes * plane if shared.shape[0] else 0, z.dtype)
        made = np.empty(planes * out_plane, z.dtype)
        images = np.empty((block if after else 0, height, width, outs), z.dtype)
        own_sums = np.zeros((block if own.shape[0] else 0, tile * down + 2, tile * across + 2), z.dtype)
        shared_sums = np.zeros((block if shared.shape[0] else 0, tile * down + 2, tile * across + 2), z.dtype)
        patches, rows = np.empty((tile * down, tile * across), z.dtype), np.empty(own_sums.shape[1:], z.dtype)
        reaches, marks = np.empty((down, across), z.dtype), np.zeros((height, width), np.uint8)
        doubts, picked = np.empty((down, across, outs // lanes), np.uint8), np.empty(max(1, window * window), np.bool_)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            tiles = count * down * across
            if shared.shape[0]:
                _windows_in(shared, first, count, buffer, common, plane, tile, shared_sums)
            for p in range(probes):
                if own.shape[0]:
                    _windows_in(own[p], first, count, buffer, windows, plane, tile, own_sums)
                    _multiply(windows, plane, w, tiles, sites, ins, outs, made, out_plane, 0, lanes)
                if shared.shape[0]:
                    add = 1 if own.shape[0] else 0
                    _multiply(common, plane, v[p], tiles, sites, ins, outs, made, out_plane, add, lanes)
                for i in range(count):
                    here = images[i] if after else z[p, first + i]
                    one = own[p, first + i] if own.shape[0] else shared[first + i, :0]
                    other = shared[first + i] if shared.shape[0] else own[p, first + i, :0]
                    other_w = shared_w[p] if shared.shape[0] else own_w
                    found = 0
                    if shared.shape[0]:
                        found += windows_of_tiles(other, shared_sums[i], tile, patches, reaches, rows, marks)
                    if own.shape[0]:
                        found += windows_of_tiles(one, own_sums[i], tile, patches, reaches, rows, marks)
                    if window:
                        found += equal_patches(patches, marks)
                    at = made.ctypes.data + i * down * across * outs * made.itemsize
                    _tiles_out(made, at, out_plane, here, tile, window, reaches, norms, doubts)
                    if found:
                        sum_marked(one, own_w, other, other_w, turned, marks, lanes, here)
                    if window:
                        decide(here, tile, window, lanes, reaches, norms, doubts, one, own_w, other, other_w, picked)
                if after:
                    finish(after, s, images, count, first, mask, x[p])


@njit(cache=True)
def _tiles_out(made, start, plane, z, tile, window, reaches, norms, doubts):  # type: ignore[no-untyped-def]
    """Tiles of an image from address `start` on into z (H, W, B); see `transforms` for what is in doubt."""
    height, width, outs = z.shape
    item, line = z.itemsize, width * outs
    for ty in range(doubts.shape[0]):
        for tx in range(doubts.shape[1]):
            place = z.ctypes.data + (tile * ty * width + tile * tx) * outs * item
            rows, columns, number = (
                min(tile, height - tile * ty),
                min(tile, width - tile * tx),
                ty * doubts.shape[1] + tx,
            )
            at, reach = start + number * outs * item, reaches.ctypes.data + number * item
            doubt, scale = doubts.ctypes.data + number * doubts.shape[2], norms.ctypes.data
            if tile == 2:
                tile_out_2(z, at, plane, place, line, outs, rows, columns, outs, window, reach, scale, doubt)
            else:
                tile_out_4(z, at, plane, place, line, outs, rows, columns, outs, window, reach, scale, doubt)


@njit(cache=True)
def _tiles_in(d, first, count, spread, plane, tile):  # type: ignore[no-untyped-def]
    _, height, width, outs = d.shape
    down, across = -(-height // tile), -(-width // tile)
    item = d.itemsize
    for i in range(count):
        for ty in range(down):
            for tx in range(across):
                at = spread.ctypes.data + ((i * down + ty) * across + tx) * outs * item
                place = d.ctypes.data + (((first + i) * height + tile * ty) * width + tile * tx) * outs * item
                rows, columns = min(tile, height - tile * ty), min(tile, width - tile * tx)
                if tile == 2:
                    tile_spread_2(d, place, width * outs, outs, rows, columns, at, plane, outs)
                else:
                    tile_spread_4(d, place, width * outs, outs, rows, columns, at, plane, outs)


@njit(cache=True)
def _accumulate(v, plane, e, out_plane, tiles, sites, ins, outs, sums, scratch, lanes):  # type: ignore[no-untyped-def]
    """sums[ξ] (A, B) += v[ξ]^T e[ξ] for all planes."""
    item = v.itemsize
    for index in range(sums.shape[0] // (ins * outs)):
        for column in range(0, outs, 2 * lanes):
            vectors = 2 if outs - column > lanes else 1
            tile, width = GRADIENT_SUMS // vectors, vectors * lanes
            signals = e.ctypes.data + (index * out_plane + column) * item
            for row in range(0, ins, tile):
                source = v.ctypes.data + (index * plane + row) * item
                at = (index * ins + row) * outs + column
                whole = ins - row >= tile
                target = sums.ctypes.data + at * item if whole else scratch.ctypes.data
                stride, add = (outs, 1) if whole else (width, 0)
                if vectors == 2:
                    gradient_wide(v, source, sites.ctypes.data, tiles, 0, signals, outs, target, stride, add)
                else:
                    gradient_narrow(v, source, sites.ctypes.data, tiles, 0, signals, outs, target, stride, add)
                if not whole:
                    for i in range(ins - row):
                        for c in range(width):
                            sums[at + i * outs + c] += scratch[i * width + c]


@njit(parallel=True, cache=True)
def convolve_gradient(threads, block, lanes, tile, x, shared_d, shared_x, d, sums):  # type: ignore[no-untyped-def]
    """As `direct.convolve_gradient` for 3×3 kernels, into sums (threads, P, n², A, B)."""
    probes, ins, outs = sums.shape[1], sums.shape[3], sums.shape[4]
    m, height, width = d.shape[1:4]
    down, across = -(-height // tile), -(-width // tile)
    blocks, planes = (m + block - 1) // block, (tile + 2) ** 2
    for thread in prange(threads):
        sites = _places(block * down * across, ins)
        # Not a power of two apart: the planes would share few lines of the first-level cache.
        plane, out_plane = sites.size * ins + lanes, sites.size * outs + lanes
        buffer = np.zeros((tile * down + 2) * (tile * across + 2) * ins, sums.dtype)
        windows = np.zeros(planes * plane + GRADIENT_SUMS, sums.dtype)
        spread = np.zeros(planes * out_plane, sums.dtype)
        scratch = np.empty(GRADIENT_SUMS * lanes, sums.dtype)
        no_sums = np.empty((0, 0, 0), sums.dtype)
        sums[thread] = 0
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            tiles = count * down * across
            if shared_x.shape[0]:
                _windows_in(shared_x, first, count, buffer, windows, plane, tile, no_sums)
                for p in range(probes):
                    _tiles_in(d[p], first, count, spread, out_plane, tile)
                    into = sums[thread, p].reshape(-1)
                    _accumulate(windows, plane, spread, out_plane, tiles, sites, ins, outs, into, scratch, lanes)
            if x.shape[0]:
                _tiles_in(shared_d, first, count, spread, out_plane, tile)
                for p in range(probes):
                    _windows_in(x[p], first, count, buffer, windows, plane, tile, no_sums)
                    into = sums[thread, p].reshape(-1)
                    _accumulate(windows, plane, spread, out_plane, tiles, sites, ins, outs, into, scratch, lanes)


@cache
def images_per_block(m: int, height: int, width: int, size: int, tile: int, threads: int) -> int:
    """Such that transformed tiles fill the cache, but are never too few for a product; `size`: bytes of a site."""
    tiles = -(-height // tile) * -(-width // tile)
    fitting = max(LEAST_TILES, BLOCK_BYTES // ((tile + 2) ** 2 * size)) // tiles
    return even_blocks(m, threads, fitting)
