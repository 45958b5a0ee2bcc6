"""Compiled CPU twins of the gates and max-pools of `backends.reference`, by themselves or behind a convolution."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from . import numba_dense

NOTHING, GATE, APPLY, SPREAD = range(4)
"""What follows a convolution in the same pass: see `finish`."""


@njit(cache=True)
def _gate_pairs(upper, lower, x, on_upper, on_lower):  # type: ignore[no-untyped-def]
    """Gates and a 2×2 max-pool of two rows of sites, (W, C) each: all four sites of a window in one loop."""
    width, channels = x.shape
    zero = x.dtype.type(0)
    for q in range(width):
        for k in range(channels):
            a, b, c, d = upper[2 * q, k], upper[2 * q + 1, k], lower[2 * q, k], lower[2 * q + 1, k]
            best = a if a > zero else zero
            best = b if b > best else best
            best = c if c > best else best
            best = d if d > best else best
            live = best > zero
            first = (a == best) & live
            second = (b == best) & live & (not first)
            third = (c == best) & live & (not (first | second))
            x[q, k] = best
            on_upper[2 * q, k], on_upper[2 * q + 1, k], on_lower[2 * q, k] = first, second, third
            on_lower[2 * q + 1, k] = live & (not (first | second | third))


@njit(cache=True)
def _gate_row(z, y, s, x, mask):  # type: ignore[no-untyped-def]
    """Row y of an image's gates and one s×s max-pool: z, mask (H, W, C) -> x (H//s, W//s, C)."""
    if s == 1:
        numba_dense.gate(z[y], x[y], mask[y])
        return
    if s == 2:
        _gate_pairs(z[2 * y], z[2 * y + 1], x[y], mask[2 * y], mask[2 * y + 1])
        return
    width, channels = x.shape[1:]
    found = np.empty(channels, np.bool_)
    for q in range(width):
        best = x[y, q]
        for c in range(channels):
            best[c] = 0
            found[c] = False
        for o in range(s * s):  # loops over channels innermost and without branches: they vectorise
            site = z[y * s + o // s, q * s + o % s]
            for c in range(channels):
                best[c] = max(best[c], site[c])
        for o in range(s * s):  # the first maximum in row-major order is the one selected
            site = z[y * s + o // s, q * s + o % s]
            on = mask[y * s + o // s, q * s + o % s]
            for c in range(channels):
                hit = (site[c] == best[c]) & (site[c] > 0) & (not found[c])
                on[c] = hit
                found[c] = found[c] | hit


@njit(cache=True)
def _apply_pairs(on_upper, on_lower, upper, lower, x):  # type: ignore[no-untyped-def]
    """D z of two rows of sites, (W, C) each, summed over 2×2 windows."""
    width, channels = x.shape
    zero = x.dtype.type(0)
    for q in range(width):
        for k in range(channels):
            a = upper[2 * q, k] if on_upper[2 * q, k] else zero
            b = upper[2 * q + 1, k] if on_upper[2 * q + 1, k] else zero
            c = lower[2 * q, k] if on_lower[2 * q, k] else zero
            d = lower[2 * q + 1, k] if on_lower[2 * q + 1, k] else zero
            x[q, k] = ((a + b) + c) + d


@njit(cache=True)
def _apply_row(mask, z, y, s, x):  # type: ignore[no-untyped-def]
    """Row y of D z, summed over s×s windows: mask, z (H, W, C) -> x (H//s, W//s, C)."""
    if s == 1:
        numba_dense.apply_gates(mask[y], z[y], x[y])
        return
    if s == 2:
        _apply_pairs(mask[2 * y], mask[2 * y + 1], z[2 * y], z[2 * y + 1], x[y])
        return
    width, channels = x.shape[1:]
    for q in range(width):
        for c in range(channels):
            x[y, q, c] = 0
        for o in range(s * s):
            v, u = y * s + o // s, q * s + o % s
            for c in range(channels):
                x[y, q, c] += z[v, u, c] if mask[v, u, c] else 0


@njit(cache=True)
def _spread_row(mask, d, v, s, z):  # type: ignore[no-untyped-def]
    """Row v of the adjoint of `_apply_row`: d (H//s, W//s, C) -> z (H, W, C)."""
    if s == 1:
        numba_dense.apply_gates(mask[v], d[v], z[v])
        return
    width, channels = z.shape[1:]
    y = v // s
    for u in range(width):
        q = u // s
        inside = y < d.shape[0] and q < d.shape[1]
        for c in range(channels):
            z[v, u, c] = d[y, q, c] if inside and mask[v, u, c] else 0


@njit(cache=True)
def finish(after, s, z, count, first, mask, x):  # type: ignore[no-untyped-def]
    """What follows a convolution, on the images of a block z (≥ count, H, W, C): gates (1), D (2) or its adjoint (3).

    Writes images first..first+count of x, and for gates of the mask: while the block is in the cache.
    """
    rows = x.shape[1]
    for i in range(count):
        if s == 1:
            if after == GATE:
                numba_dense.gate(z[i], x[first + i], mask[first + i])
            else:
                numba_dense.apply_gates(mask[first + i], z[i], x[first + i])
            continue
        for y in range(rows):
            if after == GATE:
                _gate_row(z[i], y, s, x[first + i], mask[first + i])
            elif after == APPLY:
                _apply_row(mask[first + i], z[i], y, s, x[first + i])
            else:
                _spread_row(mask[first + i], z[i], y, s, x[first + i])


@njit(parallel=True, cache=True)
def gate(z, s, x, mask):  # type: ignore[no-untyped-def]
    """Gates and one s×s max-pool: z (m, H, W, C) -> x (m, H//s, W//s, C), mask (m, H, W, C), zero at entry."""
    m, height = x.shape[:2]
    for row in prange(m * height):
        i, y = row // height, row % height
        _gate_row(z[i], y, s, x[i], mask[i])


@njit(parallel=True, cache=True)
def apply_gates(mask, z, s, x):  # type: ignore[no-untyped-def]
    """x[k] = D z[k], summed over s×s windows: mask (m, H, W, C), z (K, m, H, W, C), x (K, m, H//s, W//s, C)."""
    probes, m, height = x.shape[:3]
    for row in prange(probes * m * height):
        k, i, y = row // (m * height), row // height % m, row % height
        _apply_row(mask[i], z[k, i], y, s, x[k, i])


@njit(parallel=True, cache=True)
def spread_gates(mask, d, s, z):  # type: ignore[no-untyped-def]
    """Adjoint of `apply_gates`: d (K, m, H//s, W//s, C) -> z (K, m, H, W, C)."""
    probes, m, height = z.shape[:3]
    for row in prange(probes * m * height):
        k, i, v = row // (m * height), row // height % m, row % height
        _spread_row(mask[i], d[k, i], v, s, z[k, i])
