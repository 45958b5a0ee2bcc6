"""A compiled CPU twin of `backends.reference.orthogonalise`."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

COLUMNS = 4096  # of a vector that stay in the first-level cache while rows of a basis pass


@njit(inline="always")
def _four_rows(basis, j, first, last):  # type: ignore[no-untyped-def]
    """Columns of rows j..j+3; the last row in place of those beyond it."""
    end = basis.shape[0] - 1
    return (
        basis[j, first:last],
        basis[min(j + 1, end), first:last],
        basis[min(j + 2, end), first:last],
        basis[min(j + 3, end), first:last],
    )


@njit(parallel=True, fastmath={"reassoc", "contract", "nsz"}, cache=True)
def orthogonalise(basis, w):  # type: ignore[no-untyped-def]
    """w (n,) less its part along the orthonormal rows of basis (k, n), in place: every column of them is read twice.

    Four rows at a time, for a vector that is read once for all of them.
    """
    k, n = basis.shape
    parts = (n + COLUMNS - 1) // COLUMNS
    overlaps, zero = np.zeros((parts, k + 3), w.dtype), w.dtype.type(0)
    for index in prange(parts):
        first, last = index * COLUMNS, min((index + 1) * COLUMNS, n)
        part = w[first:last]
        for j in range(0, k, 4):
            a, b, c, d = _four_rows(basis, j, first, last)
            s, t, u, v = zero, zero, zero, zero
            for i in range(part.size):
                s += a[i] * part[i]
                t += b[i] * part[i]
                u += c[i] * part[i]
                v += d[i] * part[i]
            for i, overlap in enumerate((s, t, u, v)):
                overlaps[index, j + i] = overlap
    summed = overlaps.sum(axis=0)
    summed[k:] = 0
    for index in prange(parts):
        first, last = index * COLUMNS, min((index + 1) * COLUMNS, n)
        part = w[first:last]
        for j in range(0, k, 4):
            a, b, c, d = _four_rows(basis, j, first, last)
            s, t, u, v = summed[j], summed[j + 1], summed[j + 2], summed[j + 3]
            for i in range(part.size):
                part[i] -= (s * a[i] + t * b[i]) + (u * c[i] + v * d[i])
