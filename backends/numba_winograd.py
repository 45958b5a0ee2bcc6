"""3×3 convolutions in 16 instead of 36 products: Winograd's minimal filtering F(2×2, 3×3) on register tiles.

With the matrices of Winograd (1980; Lavin & Gray, CVPR 2016) every 2×2 tile of z is

    z = A^T [ Σ_a (G w_a G^T) ∘ (B^T x_a B) ] A,

x_a the 4×4 window around the tile: 16 products of (tiles × channels) with (channels × channels) matrices, between two
transformations that only add. The gradient is the adjoint of the same sums, Σ_tiles (B^T x_a B) ∘ (A δ_b A^T), turned
back by G. All entries of A and B are 0 or ±1 and those of G at most 1: rounding grows by a small factor (about two).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from .numba_kernels import BLOCK_BYTES, finish, pack
from .numba_tiles import (
    INT,
    LANES,
    SUMS,
    Vectors,
    convolution_narrow,
    convolution_wide,
    gradient_narrow,
    gradient_wide,
)

Array = np.ndarray[Any, Any]
G = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
KERNEL = np.kron(G, G)
"""(16, 9): the transformation of a kernel."""
LEAST_PRODUCT = 512  # channels in × channels out from which the products weigh more than the transformations
LEAST_TILES = 48  # in a block, for the matrices of kernels that come along with it


def applies(kernel: int, ins: int, outs: int, dtype: str) -> bool:
    """Where the transformations cost less than they save: 3×3, whole vectors of channels."""
    lanes = LANES[dtype]
    return kernel == 3 and ins % lanes == 0 and outs % lanes == 0 and ins * outs >= LEAST_PRODUCT


def panels(w: Array) -> Array:
    """Kernels (..., 3, 3, A, B) transformed and packed: (..., 16, n, A·2L), panels of 2L columns, the last maybe L."""
    *lead, _, _, ins, outs = w.shape
    made = np.matmul(KERNEL.astype(w.dtype), w.reshape(*lead, 9, ins * outs))
    return pack(made.reshape(*lead, 16, 1, 1, ins, outs))


def kernel_gradient(sums: Array) -> Array:
    """(P, 16, A, B) -> (P, 3, 3, A, B), the adjoint of the kernels' transformation."""
    probes, _, ins, outs = sums.shape
    turned: Array = np.matmul(KERNEL.T.astype(sums.dtype), sums.reshape(probes, 16, ins * outs))
    return turned.reshape(probes, 3, 3, ins, outs)


def _four(b: Any, x: list[Any]) -> list[Any]:
    """B^T x of four vectors."""
    return [b.fsub(x[0], x[2]), b.fadd(x[1], x[2]), b.fsub(x[2], x[1]), b.fsub(x[1], x[3])]


def _two(b: Any, m: list[Any]) -> list[Any]:
    """A^T m of four vectors."""
    return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def _spread(b: Any, y: list[Any]) -> list[Any]:
    """A y of two vectors."""
    return [y[0], b.fadd(y[0], y[1]), b.fsub(y[0], y[1]), b.fneg(y[1])]


def _both(b: Any, rows: list[list[Any]], transform: Any) -> list[list[Any]]:
    """A transformation of a square of vectors, along both axes."""
    half = [transform(b, row) for row in rows]
    turned = [transform(b, list(column)) for column in zip(*half, strict=True)]
    return [list(row) for row in zip(*turned, strict=True)]


@intrinsic
def tile_in(context, like, x, line, pixel, v, plane, channels):  # type: ignore[no-untyped-def]
    """B^T x B of a 4×4 window at address x (rows `line`, sites `pixel` entries apart) into 16 planes of v."""
    signature = types.void(like, *[types.intp] * 6)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, x, line, pixel, v, plane, channels = values
        t = Vectors(builder, signature.args[0])
        with cgutils.for_range(builder, builder.sdiv(channels, INT(t.lanes))) as step:
            at = builder.mul(step.index, INT(t.lanes))
            rows = []
            for i in range(4):
                start = t.shifted(x, builder.add(at, builder.mul(line, INT(i))))
                rows.append([t.load(t.shifted(start, builder.mul(pixel, INT(j))), 0) for j in range(4)])
            for i, row in enumerate(_both(builder, rows, _four)):
                for j, value in enumerate(row):
                    t.store(value, t.shifted(v, builder.add(at, builder.mul(plane, INT(4 * i + j)))), 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def tile_out(context, like, m, plane, z, line, pixel, rows, columns, channels):  # type: ignore[no-untyped-def]
    """A^T m A of 16 planes into the first `rows` × `columns` (1 or 2) sites of a 2×2 tile at address z."""
    signature = types.void(like, *[types.intp] * 8)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, m, plane, z, line, pixel, rows, columns, channels = values
        t = Vectors(builder, signature.args[0])
        limits = (rows, columns)
        with cgutils.for_range(builder, builder.sdiv(channels, INT(t.lanes))) as step:
            at = builder.mul(step.index, INT(t.lanes))
            planes = [
                [t.load(t.shifted(m, builder.add(at, builder.mul(plane, INT(4 * i + j)))), 0) for j in range(4)]
                for i in range(4)
            ]
            for i, row in enumerate(_both(builder, planes, _two)):
                for j, value in enumerate(row):
                    inside = [builder.icmp_signed(">", limit, INT(k)) for limit, k in zip(limits, (i, j), strict=True)]
                    with builder.if_then(builder.and_(*inside)):
                        place = builder.add(builder.mul(line, INT(i)), builder.mul(pixel, INT(j)))
                        t.store(value, t.shifted(z, builder.add(at, place)), 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def tile_spread(context, like, d, line, pixel, rows, columns, e, plane, channels):  # type: ignore[no-untyped-def]
    """A d A^T of the first `rows` × `columns` sites of a 2×2 tile at address d, 0 beyond, into 16 planes of e."""
    signature = types.void(like, *[types.intp] * 8)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, d, line, pixel, rows, columns, e, plane, channels = values
        t = Vectors(builder, signature.args[0])
        zero = ir.Constant(t.vector, None)
        below, beside = (builder.icmp_signed(">", limit, INT(1)) for limit in (rows, columns))
        with cgutils.for_range(builder, builder.sdiv(channels, INT(t.lanes))) as step:
            at = builder.mul(step.index, INT(t.lanes))
            start = t.shifted(d, at)
            square = []
            for i in range(2):
                row = []
                for j in range(2):
                    inside = builder.and_(below if i else ir.IntType(1)(1), beside if j else ir.IntType(1)(1))
                    place = builder.add(builder.mul(line, INT(i)), builder.mul(pixel, INT(j)))
                    place = builder.select(inside, place, INT(0))
                    row.append(builder.select(inside, t.load(t.shifted(start, place), 0), zero))
                square.append(row)
            for i, row in enumerate(_both(builder, square, _spread)):
                for j, value in enumerate(row):
                    t.store(value, t.shifted(e, builder.add(at, builder.mul(plane, INT(4 * i + j)))), 0)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def _windows_in(x, first, count, buffer, v, plane):  # type: ignore[no-untyped-def]
    """Transformed windows of images first..first+count: a padded copy of each, then 16 planes of v."""
    height, width, channels = x.shape[1:]
    down, across = (height + 1) // 2, (width + 1) // 2
    row = (2 * across + 2) * channels
    source, item = x.reshape(-1), x.itemsize
    for i in range(count):
        for y in range(height):
            to, start = (y + 1) * row + channels, ((first + i) * height + y) * width * channels
            for q in range(width * channels):
                buffer[to + q] = source[start + q]
        for ty in range(down):
            for tx in range(across):
                at = ((i * down + ty) * across + tx) * channels
                window = buffer.ctypes.data + (2 * ty * row + 2 * tx * channels) * item
                tile_in(x, window, row, channels, v.ctypes.data + at * item, plane, channels)  # type: ignore[call-arg]


@njit(cache=True)
def _multiply(v, plane, u, tiles, sites, run, outs, m, out_plane, add, lanes):  # type: ignore[no-untyped-def]
    """m[ξ] (+)= v[ξ] u[ξ] for the 16 planes; tiles beyond the last are filled with what lies there."""
    item = v.itemsize
    for plane_index in range(16):
        source = v.ctypes.data + plane_index * plane * item
        target = m.ctypes.data + plane_index * out_plane * item
        for n in range(u.shape[1]):
            column = n * 2 * lanes
            weights = u[plane_index, n].ctypes.data
            if outs - column > lanes:
                for t in range(0, tiles, SUMS // 2):
                    place = target + (t * outs + column) * item
                    convolution_wide(v, source, sites.ctypes.data + 8 * t, weights, 1, run, 0, place, outs, add)
            else:
                for t in range(0, tiles, SUMS):
                    place = target + (t * outs + column) * item
                    convolution_narrow(v, source, sites.ctypes.data + 8 * t, weights, 1, run, 0, place, outs, add)


@njit(cache=True)
def _places(block_tiles, channels):  # type: ignore[no-untyped-def]
    """Offsets of tiles in a plane, up to a whole number of register tiles."""
    return np.arange((block_tiles + SUMS - 1) // SUMS * SUMS) * channels


@njit(parallel=True, cache=True)
def convolve(threads, block, lanes, own, w, shared, v, z, after, s, mask, x):  # type: ignore[no-untyped-def]
    """As `numba_kernels.convolve` for 3×3 kernels, with w (16, n, ...) or empty and v (P, 16, n, ...) or empty."""
    probes, outs = z.shape[0], z.shape[4]
    m, height, width, ins = own.shape[1:]
    down, across = (height + 1) // 2, (width + 1) // 2
    blocks = (m + block - 1) // block
    for thread in prange(threads):
        sites = _places(block * down * across, ins)
        # Not a power of two apart: the 16 planes would share few lines of the first-level cache.
        plane, out_plane = sites.size * ins + lanes, sites.size * outs + lanes
        buffer = np.zeros((2 * down + 2) * (2 * across + 2) * ins, z.dtype)
        windows = np.zeros(16 * plane if own.shape[0] else 0, z.dtype)
        common = np.zeros(16 * plane if shared.shape[0] else 0, z.dtype)
        made = np.empty(16 * out_plane, z.dtype)
        images = np.empty((block if after else 0, height, width, outs), z.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            tiles = count * down * across
            if shared.shape[0]:
                _windows_in(shared, first, count, buffer, common, plane)
            for p in range(probes):
                if own.shape[0]:
                    _windows_in(own[p], first, count, buffer, windows, plane)
                    _multiply(windows, plane, w, tiles, sites, ins, outs, made, out_plane, 0, lanes)
                if shared.shape[0]:
                    add = 1 if own.shape[0] else 0
                    _multiply(common, plane, v[p], tiles, sites, ins, outs, made, out_plane, add, lanes)
                if after:
                    _tiles_out(made, out_plane, images, 0, count)
                    finish(after, s, images, count, first, mask, x[p])
                else:
                    _tiles_out(made, out_plane, z[p], first, count)


@njit(cache=True)
def _tiles_out(made, plane, z, first, count):  # type: ignore[no-untyped-def]
    _, height, width, outs = z.shape
    down, across = (height + 1) // 2, (width + 1) // 2
    item = z.itemsize
    for i in range(count):
        for ty in range(down):
            for tx in range(across):
                at = made.ctypes.data + ((i * down + ty) * across + tx) * outs * item
                place = z.ctypes.data + (((first + i) * height + 2 * ty) * width + 2 * tx) * outs * item
                rows, columns = min(2, height - 2 * ty), min(2, width - 2 * tx)
                tile_out(z, at, plane, place, width * outs, outs, rows, columns, outs)  # type: ignore[call-arg]


@njit(cache=True)
def _tiles_in(d, first, count, spread, plane):  # type: ignore[no-untyped-def]
    _, height, width, outs = d.shape
    down, across = (height + 1) // 2, (width + 1) // 2
    item = d.itemsize
    for i in range(count):
        for ty in range(down):
            for tx in range(across):
                at = spread.ctypes.data + ((i * down + ty) * across + tx) * outs * item
                place = d.ctypes.data + (((first + i) * height + 2 * ty) * width + 2 * tx) * outs * item
                rows, columns = min(2, height - 2 * ty), min(2, width - 2 * tx)
                tile_spread(d, place, width * outs, outs, rows, columns, at, plane, outs)  # type: ignore[call-arg]


@njit(cache=True)
def _accumulate(v, plane, e, out_plane, tiles, sites, ins, outs, sums, scratch, lanes):  # type: ignore[no-untyped-def]
    """sums[ξ] (A, B) += v[ξ]^T e[ξ] for the 16 planes."""
    item = v.itemsize
    for index in range(16):
        for column in range(0, outs, 2 * lanes):
            vectors = 2 if outs - column > lanes else 1
            tile, width = SUMS // vectors, vectors * lanes
            signals = e.ctypes.data + (index * out_plane + column) * item
            for row in range(0, ins, tile):
                source = v.ctypes.data + (index * plane + row) * item
                at = (index * ins + row) * outs + column
                whole = ins - row >= tile
                target = sums.ctypes.data + at * item if whole else scratch.ctypes.data
                stride, add = (outs, 1) if whole else (width, 0)
                if vectors == 2:
                    gradient_wide(v, source, sites.ctypes.data, tiles, signals, outs, target, stride, add)
                else:
                    gradient_narrow(v, source, sites.ctypes.data, tiles, signals, outs, target, stride, add)
                if not whole:
                    for i in range(ins - row):
                        for c in range(width):
                            sums[at + i * outs + c] += scratch[i * width + c]


@njit(parallel=True, cache=True)
def convolve_gradient(threads, block, lanes, x, shared_d, shared_x, d, sums):  # type: ignore[no-untyped-def]
    """As `numba_kernels.convolve_gradient` for 3×3 kernels, into sums (threads, P, 16, A, B) of transformed kernels."""
    probes, ins, outs = sums.shape[1], sums.shape[3], sums.shape[4]
    m, height, width = d.shape[1:4]
    down, across = (height + 1) // 2, (width + 1) // 2
    blocks = (m + block - 1) // block
    for thread in prange(threads):
        sites = _places(block * down * across, ins)
        # Not a power of two apart: the 16 planes would share few lines of the first-level cache.
        plane, out_plane = sites.size * ins + lanes, sites.size * outs + lanes
        buffer = np.zeros((2 * down + 2) * (2 * across + 2) * ins, sums.dtype)
        windows = np.zeros(16 * plane + SUMS, sums.dtype)
        spread = np.zeros(16 * out_plane, sums.dtype)
        scratch = np.empty(SUMS * lanes, sums.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            tiles = count * down * across
            if shared_x.shape[0]:
                _windows_in(shared_x, first, count, buffer, windows, plane)
                for p in range(probes):
                    _tiles_in(d[p], first, count, spread, out_plane)
                    into = sums[thread, p].reshape(-1)
                    _accumulate(windows, plane, spread, out_plane, tiles, sites, ins, outs, into, scratch, lanes)
            if x.shape[0]:
                _tiles_in(shared_d, first, count, spread, out_plane)
                for p in range(probes):
                    _windows_in(x[p], first, count, buffer, windows, plane)
                    into = sums[thread, p].reshape(-1)
                    _accumulate(windows, plane, spread, out_plane, tiles, sites, ins, outs, into, scratch, lanes)


def images_per_block(m: int, height: int, width: int, channels: int, itemsize: int) -> tuple[int, int]:
    """(images per block, threads): transformed tiles fill the cache, but are never too few for a product."""
    threads = get_num_threads()
    tiles = ((height + 1) // 2) * ((width + 1) // 2)
    fitting = max(LEAST_TILES, BLOCK_BYTES // (16 * channels * itemsize)) // tiles
    return max(1, min(fitting, -(-m // threads))), threads
