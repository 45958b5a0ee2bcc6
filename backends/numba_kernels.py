"""Compiled CPU twins of `backends.reference` for images: convolutions and gates.

A "same" convolution is computed without forming patches. A block of images is copied once into a zero-padded
buffer in which neighbouring rows and images share their padding, so that a shift by a kernel offset is a shift
of the flat index. With channels last, the k horizontal neighbours of a site are k·C adjacent numbers; reading
the buffer with row stride k·C from each of the k residues of the flat index makes every such window a row of an
ordinary matrix. A k×k convolution is then k² matrix products over views, accumulated in place (BLAS beta = 1),
one block per thread and small enough to stay in its cache. Each block calls SciPy's single-threaded GEMM.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import get_num_threads, njit, prange, types
from numba.extending import get_cython_function_address, intrinsic

Array = np.ndarray[Any, Any]

GEMM_ADDRESS = {
    "float64": get_cython_function_address("scipy.linalg.cython_blas", "dgemm"),
    "float32": get_cython_function_address("scipy.linalg.cython_blas", "sgemm"),
}
BLOCK_BYTES = 1 << 19  # a block's buffers: half of a common second-level cache


@intrinsic
def _call_gemm(context, address, arguments):  # type: ignore[no-untyped-def]
    """Call the Fortran GEMM at an address with 13 pointers; the address is a value so that code caches on disk."""
    signature = types.void(types.intp, types.UniTuple(types.intp, 13))  # type: ignore[no-untyped-call]

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 13)
        function = builder.inttoptr(values[0], kind.as_pointer())
        items = [builder.inttoptr(builder.extract_value(values[1], i), pointer) for i in range(13)]
        builder.call(function, items)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def _gemm(address, transposed, scratch, m, n, k, a, lda, b, ldb, beta, c, ldc):  # type: ignore[no-untyped-def]
    """Row-major C = op(A) B + beta C for flat arrays that start at the first entry; op(A) = A or A^T.

    Fortran sees every row-major matrix transposed: C^T = B^T op(A)^T.
    """
    letters, sizes, scalars = scratch
    sizes[0] = n
    sizes[1] = m
    sizes[2] = k
    sizes[3] = ldb
    sizes[4] = lda
    sizes[5] = ldc
    scalars[0] = 1
    scalars[1] = beta
    letter, size, scalar = letters.ctypes.data, sizes.ctypes.data, scalars.ctypes.data
    item = scalars.itemsize
    _call_gemm(  # type: ignore[call-arg]
        address,
        (
            letter, letter + (1 if transposed else 0), size, size + 4, size + 8,
            scalar, b.ctypes.data, size + 12, a.ctypes.data, size + 16,
            scalar + item, c.ctypes.data, size + 20,
        ),
    )  # fmt: skip


@njit(cache=True)
def _scratch(like):  # type: ignore[no-untyped-def]
    letters = np.array([78, 84], np.uint8)  # "N", "T"
    return letters, np.empty(6, np.int32), np.empty(2, like.dtype)


@njit(cache=True)
def _fill(x, first, count, r, buffer):  # type: ignore[no-untyped-def]
    """Copy images first..first+count of x into the flat padded buffer, whose padding is zero already."""
    height, width, channels = x.shape[1:]
    row = (width + r) * channels
    source = x.reshape(-1)
    for i in range(count):
        for y in range(height):
            to = ((i * (height + r) + y + r) * (width + r) + r) * channels
            start = ((first + i) * height + y) * width * channels
            for q in range(width * channels):
                buffer[to + q] = source[start + q]
    return row


@njit(cache=True)
def _convolve_block(address, scratch, buffer, w, sites, row, beta, out):  # type: ignore[no-untyped-def]
    kernel, a, b = w.shape[1], w.shape[2], w.shape[3]
    taps = w.reshape(-1)
    for residue in range(kernel):
        rows = (sites - residue + kernel - 1) // kernel
        for dy in range(kernel):
            _gemm(
                address, False, scratch, rows, b, kernel * a,
                buffer[residue * a + dy * row :], kernel * a, taps[dy * kernel * a * b :], b,
                beta if dy == 0 else 1, out[residue * b :], kernel * b,
            )  # fmt: skip


@njit(parallel=True, cache=True)
def convolve(address, threads, block, two, x1, w1, x2, w2, z):  # type: ignore[no-untyped-def]
    """z = conv(x1, w1), plus conv(x2, w2) if `two`; x (m, H, W, A), w (k, k, A, B), z (m, H, W, B)."""
    m, height, width, outs = z.shape
    kernel = w1.shape[0]
    r = kernel // 2
    blocks = (m + block - 1) // block
    widest = max(x1.shape[3], x2.shape[3])
    length = (block * (height + r) + r) * (width + r) + r + kernel
    flat = z.reshape(-1)
    for thread in prange(threads):
        scratch = _scratch(z)
        buffer1 = np.zeros(length * widest, z.dtype)
        buffer2 = np.zeros(length * widest if two else 0, z.dtype)
        out = np.empty(length * outs, z.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            sites = (count * (height + r) - r) * (width + r) - r
            row = _fill(x1, first, count, r, buffer1)
            _convolve_block(address, scratch, buffer1, w1, sites, row, 0, out)
            if two:
                row = _fill(x2, first, count, r, buffer2)
                _convolve_block(address, scratch, buffer2, w2, sites, row, 1, out)
            for i in range(count):
                for y in range(height):
                    start = (i * (height + r) + y) * (width + r) * outs
                    to = ((first + i) * height + y) * width * outs
                    for q in range(width * outs):
                        flat[to + q] = out[start + q]


@njit(cache=True)
def _gradient_block(address, scratch, kernel, x, d, first, count, buffer, spread, sums):  # type: ignore[no-untyped-def]
    height, width, outs = d.shape[1:]
    a, r = x.shape[3], kernel // 2
    row = _fill(x, first, count, r, buffer)
    source = d.reshape(-1)
    for i in range(count):
        for y in range(height):
            to = (i * (height + r) + y) * (width + r) * outs
            start = ((first + i) * height + y) * width * outs
            for q in range(width * outs):
                spread[to + q] = source[start + q]
    sites = (count * (height + r) - r) * (width + r) - r
    for dy in range(kernel):
        for residue in range(kernel):
            rows = (sites - residue + kernel - 1) // kernel
            _gemm(
                address, True, scratch, kernel * a, outs, rows,
                buffer[residue * a + dy * row :], kernel * a, spread[residue * outs :], kernel * outs,
                1, sums[dy * kernel * a * outs :], outs,
            )  # fmt: skip


@njit(parallel=True, cache=True)
def convolve_gradient(address, threads, block, two, x1, d1, x2, d2, sums):  # type: ignore[no-untyped-def]
    """Per-thread sums (threads, k, k, A, B) of Σ_i x_i d_i^T over the examples, for one or two pairs."""
    m, height, width, outs = d1.shape
    kernel, a = sums.shape[1], sums.shape[3]
    r = kernel // 2
    blocks = (m + block - 1) // block
    length = (block * (height + r) + r) * (width + r) + r + kernel
    for thread in prange(threads):
        scratch = _scratch(sums)
        buffer = np.zeros(length * a, sums.dtype)
        spread = np.zeros(length * outs, sums.dtype)
        flat = sums[thread].reshape(-1)
        flat[:] = 0
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            _gradient_block(address, scratch, kernel, x1, d1, first, count, buffer, spread, flat)
            if two:
                _gradient_block(address, scratch, kernel, x2, d2, first, count, buffer, spread, flat)


@njit(parallel=True, cache=True)
def gate(z, s, x, mask):  # type: ignore[no-untyped-def]
    """Gates and one s×s max-pool: z (m, H, W, C) -> x (m, H//s, W//s, C), mask (m, H, W, C), zero at entry."""
    m, height, width, channels = x.shape
    for row in prange(m * height):
        i, y = row // height, row % height
        for q in range(width):
            for c in range(channels):
                best = z[i, y * s, q * s, c]
                at = 0
                for o in range(1, s * s):
                    value = z[i, y * s + o // s, q * s + o % s, c]
                    if value > best:
                        best = value
                        at = o
                on = best > 0
                x[i, y, q, c] = best if on else 0
                mask[i, y * s + at // s, q * s + at % s, c] = on


@njit(parallel=True, cache=True)
def apply_gates(mask, z, s, x):  # type: ignore[no-untyped-def]
    """x[k] = D z[k], summed over s×s windows: mask (m, H, W, C), z (K, m, H, W, C), x (K, m, H//s, W//s, C)."""
    probes, m, height, width, channels = x.shape
    for row in prange(probes * m * height):
        k, i, y = row // (m * height), row // height % m, row % height
        for q in range(width):
            for c in range(channels):
                x[k, i, y, q, c] = 0
            for o in range(s * s):
                v, u = y * s + o // s, q * s + o % s
                for c in range(channels):
                    x[k, i, y, q, c] += z[k, i, v, u, c] if mask[i, v, u, c] else 0


@njit(parallel=True, cache=True)
def spread_gates(mask, d, s, z):  # type: ignore[no-untyped-def]
    """Adjoint of `apply_gates`: d (K, m, H//s, W//s, C) -> z (K, m, H, W, C)."""
    probes, m, height, width, channels = z.shape
    rows, columns = d.shape[2], d.shape[3]
    for row in prange(probes * m * height):
        k, i, v = row // (m * height), row // height % m, row % height
        for u in range(width):
            y, q = v // s, u // s
            inside = y < rows and q < columns
            for c in range(channels):
                z[k, i, v, u, c] = d[k, i, y, q, c] if inside and mask[i, v, u, c] else 0


def images_per_block(m: int, height: int, width: int, channels: int, itemsize: int) -> tuple[int, int]:
    """(images per block, threads): blocks fill the cache but leave every thread several."""
    threads = get_num_threads()
    fitting = BLOCK_BYTES // max(1, height * width * channels * itemsize)
    return max(1, min(fitting, -(-m // (2 * threads)))), threads
