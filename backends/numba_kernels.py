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


@njit(cache=True)
def _collect(out, width_out, offset, add, r, first, count, z):  # type: ignore[no-untyped-def]
    """Copy (or add) channels offset..offset+B of a block's flat sites into z (m, H, W, B)."""
    _, height, width, outs = z.shape
    flat = z.reshape(-1)
    for i in range(count):
        for y in range(height):
            start = (i * (height + r) + y) * (width + r)
            to = ((first + i) * height + y) * width * outs
            for q in range(width):
                source, target = (start + q) * width_out + offset, to + q * outs
                if add:
                    for c in range(outs):
                        flat[target + c] += out[source + c]
                else:
                    for c in range(outs):
                        flat[target + c] = out[source + c]


@njit(parallel=True, cache=True)
def convolve(address, threads, block, own, w, shared, v, z):  # type: ignore[no-untyped-def]
    """z[p] = conv(own[p], w) + conv(shared, v[..., p]) for P probes; either part may be empty.

    z (P, m, H, W, B); own (P or 0, m, H, W, A) with w (k, k, A, B); shared (m or 0, H, W, A) with
    v (k, k, A, P·B): one product serves all probes.
    """
    probes, m, height, width, outs = z.shape
    kernel = w.shape[0]
    r = kernel // 2
    blocks = (m + block - 1) // block
    length = (block * (height + r) + r) * (width + r) + r + kernel
    for thread in prange(threads):
        scratch = _scratch(z)
        buffer = np.zeros(length * own.shape[4] if own.shape[0] else 0, z.dtype)
        out = np.empty(length * outs if own.shape[0] else 0, z.dtype)
        common = np.zeros(length * shared.shape[3] if shared.shape[0] else 0, z.dtype)
        wide = np.empty(length * outs * probes if shared.shape[0] else 0, z.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            sites = (count * (height + r) - r) * (width + r) - r
            if shared.shape[0]:
                row = _fill(shared, first, count, r, common)
                _convolve_block(address, scratch, common, v, sites, row, 0, wide)
            for p in range(probes):
                if own.shape[0]:
                    row = _fill(own[p], first, count, r, buffer)
                    _convolve_block(address, scratch, buffer, w, sites, row, 0, out)
                    _collect(out, outs, 0, False, r, first, count, z[p])
                if shared.shape[0]:
                    _collect(wide, outs * probes, p * outs, own.shape[0] > 0, r, first, count, z[p])


@njit(cache=True)
def _spread(d, first, count, r, width_out, offset, spread):  # type: ignore[no-untyped-def]
    """The inverse of `_collect`: signals of a block's images onto its flat sites, whose padding stays zero."""
    _, height, width, outs = d.shape
    source = d.reshape(-1)
    for i in range(count):
        for y in range(height):
            to = (i * (height + r) + y) * (width + r)
            start = ((first + i) * height + y) * width * outs
            for q in range(width):
                for c in range(outs):
                    spread[(to + q) * width_out + offset + c] = source[start + q * outs + c]


@njit(cache=True)
def _gradient_block(address, scratch, kernel, a, outs, sites, row, buffer, spread, sums):  # type: ignore[no-untyped-def]
    for dy in range(kernel):
        for residue in range(kernel):
            rows = (sites - residue + kernel - 1) // kernel
            _gemm(
                address, True, scratch, kernel * a, outs, rows,
                buffer[residue * a + dy * row :], kernel * a, spread[residue * outs :], kernel * outs,
                1, sums[dy * kernel * a * outs :], outs,
            )  # fmt: skip


@njit(parallel=True, cache=True)
def convolve_gradient(address, threads, block, kernel, x, shared_d, shared_x, d, sums, wide_sums):  # type: ignore[no-untyped-def]
    """Σ_i x_i[p] δ_i^T + Σ_i x_i δ_i[p]^T for P probes, per thread; either part may be empty.

    x (P or 0, m, H, W, A) meets shared_d (m, H, W, B) in sums (threads, P, k, k, A, B); shared_x (m or 0, H, W, A)
    meets d (P, m, H, W, B) in wide_sums (threads, k, k, A, P·B), one product for all probes.
    """
    probes = max(x.shape[0], d.shape[0])
    m, height, width, outs = d.shape[1:]
    a, r = sums.shape[4], kernel // 2
    blocks = (m + block - 1) // block
    length = (block * (height + r) + r) * (width + r) + r + kernel
    for thread in prange(threads):
        scratch = _scratch(sums)
        buffer = np.zeros(length * a, sums.dtype)
        narrow = np.zeros(length * outs if x.shape[0] else 0, sums.dtype)
        wide = np.zeros(length * outs * probes if shared_x.shape[0] else 0, sums.dtype)
        for index in range(thread, blocks, threads):
            first = index * block
            count = min(block, m - first)
            sites = (count * (height + r) - r) * (width + r) - r
            if shared_x.shape[0]:
                for p in range(probes):
                    _spread(d[p], first, count, r, outs * probes, p * outs, wide)
                row = _fill(shared_x, first, count, r, buffer)
                total = wide_sums[thread].reshape(-1)
                _gradient_block(address, scratch, kernel, a, outs * probes, sites, row, buffer, wide, total)
            if x.shape[0]:
                _spread(shared_d, first, count, r, outs, 0, narrow)
                for p in range(probes):
                    row = _fill(x[p], first, count, r, buffer)
                    total = sums[thread, p].reshape(-1)
                    _gradient_block(address, scratch, kernel, a, outs, sites, row, buffer, narrow, total)


@njit(parallel=True, cache=True)
def gate(z, s, x, mask):  # type: ignore[no-untyped-def]
    """Gates and one s×s max-pool: z (m, H, W, C) -> x (m, H//s, W//s, C), mask (m, H, W, C), zero at entry."""
    m, height, width, channels = x.shape
    for row in prange(m * height):
        i, y = row // height, row % height
        found = np.empty(channels, np.bool_)
        for q in range(width):
            best = x[i, y, q]
            for c in range(channels):
                best[c] = 0
                found[c] = False
            for o in range(s * s):  # loops over channels innermost and without branches: they vectorise
                site = z[i, y * s + o // s, q * s + o % s]
                for c in range(channels):
                    best[c] = max(best[c], site[c])
            for o in range(s * s):  # the first maximum in row-major order is the one selected
                site = z[i, y * s + o // s, q * s + o % s]
                on = mask[i, y * s + o // s, q * s + o % s]
                for c in range(channels):
                    hit = (site[c] == best[c]) & (site[c] > 0) & (not found[c])
                    on[c] = hit
                    found[c] = found[c] | hit


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
