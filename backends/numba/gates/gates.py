"""Compiled CPU twins of the gates and max-pools of `backends.reference`, by themselves or behind a convolution."""

from __future__ import annotations

import numpy as np
from numba import prange

from backends.numba import dense
from backends.numba.jit import njit
from backends.numba.tiles import WIDTH

from .windows import apply_window, gate_window, spread_pair

NOTHING, GATE, APPLY, SPREAD = range(4)
"""What follows a convolution in the same pass: see `finish`."""


@njit(cache=True)
def _gate_windows(z, y, x, mask):  # type: ignore[no-untyped-def]
    """Row y of 2×2 windows of at least a vector of channels; the last vector overlaps the one before it."""
    width, channels = x.shape[1:]
    line, item = z.shape[1] * channels, z.itemsize
    lanes = WIDTH // item
    for q in range(width):
        site, window = 2 * (y * line + q * channels), (y * width + q) * channels
        for step in range(0, channels, lanes):
            c = min(step, channels - lanes)
            here, to = z.ctypes.data + (site + c) * item, x.ctypes.data + (window + c) * item
            gate_window(z, here, channels, line, to, mask.ctypes.data + site + c)  # type: ignore[call-arg]


@njit(cache=True)
def _gate_row(z, y, s, x, mask):  # type: ignore[no-untyped-def]
    """Row y of an image's gates and one s×s max-pool: z, mask (H, W, C) -> x (H//s, W//s, C)."""
    if s == 1:
        dense.gate(z[y], x[y], mask[y])
        return
    width, channels = x.shape[1:]
    if s == 2 and channels * z.itemsize >= WIDTH:
        _gate_windows(z, y, x, mask)
        return
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
def _apply_windows(mask, z, y, x):  # type: ignore[no-untyped-def]
    """The same of D z, summed over the windows."""
    width, channels = x.shape[1:]
    line, item = z.shape[1] * channels, z.itemsize
    lanes = WIDTH // item
    for q in range(width):
        site, window = 2 * (y * line + q * channels), (y * width + q) * channels
        for step in range(0, channels, lanes):
            c = min(step, channels - lanes)
            here, to = z.ctypes.data + (site + c) * item, x.ctypes.data + (window + c) * item
            apply_window(z, mask.ctypes.data + site + c, here, channels, line, to)  # type: ignore[call-arg]


@njit(cache=True)
def _apply_row(mask, z, y, s, x):  # type: ignore[no-untyped-def]
    """Row y of D z, summed over s×s windows: mask, z (H, W, C) -> x (H//s, W//s, C)."""
    if s == 1:
        dense.apply_gates(mask[y], z[y], x[y])
        return
    width, channels = x.shape[1:]
    if s == 2 and channels * z.itemsize >= WIDTH:
        _apply_windows(mask, z, y, x)
        return
    for q in range(width):
        for c in range(channels):
            x[y, q, c] = 0
        for o in range(s * s):
            v, u = y * s + o // s, q * s + o % s
            for c in range(channels):
                x[y, q, c] += z[v, u, c] if mask[v, u, c] else 0


@njit(cache=True)
def _spread_pairs(mask, d, v, z):  # type: ignore[no-untyped-def]
    """Row v of sites in 2×2 windows of d, two of each."""
    width, channels = d.shape[1:]
    row, item = v * z.shape[1] * channels, z.itemsize
    lanes = WIDTH // item
    for q in range(width):
        site, window = row + 2 * q * channels, (v // 2 * width + q) * channels
        for step in range(0, channels, lanes):
            c = min(step, channels - lanes)
            here, to = d.ctypes.data + (window + c) * item, z.ctypes.data + (site + c) * item
            spread_pair(z, mask.ctypes.data + site + c, here, channels, to)  # type: ignore[call-arg]


@njit(cache=True)
def _spread_row(mask, d, v, s, z):  # type: ignore[no-untyped-def]
    """Row v of the adjoint of `_apply_row`: d (H//s, W//s, C) -> z (H, W, C)."""
    if s == 1:
        dense.apply_gates(mask[v], d[v], z[v])
        return
    width, channels = z.shape[1:]
    y, first = v // s, 0
    if s == 2 and y < d.shape[0] and channels * z.itemsize >= WIDTH:
        _spread_pairs(mask, d, v, z)
        first = 2 * d.shape[1]
    for u in range(first, width):
        q = u // s
        inside = y < d.shape[0] and q < d.shape[1]
        for c in range(channels):
            z[v, u, c] = d[y, q, c] if inside and mask[v, u, c] else 0


@njit(cache=True)
def finish(after, s, z, count, first, mask, x):  # type: ignore[no-untyped-def]
    """What follows a convolution, on the images of a block z (≥ count, H, W, C): `after` says gates, D or its adjoint.

    Writes images first..first+count of x, and for gates of the mask: while the block is in the cache.
    """
    rows = x.shape[1]
    for i in range(count):
        if s == 1:
            if after == GATE:
                dense.gate(z[i], x[first + i], mask[first + i])
            else:
                dense.apply_gates(mask[first + i], z[i], x[first + i])
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
