"""Where the large equations are solved: an array library, described by what they need of it.

The linearised equations are written over the array API, so that thousands of sites can be treated on a GPU. Theory
never chooses a library: whoever calls hands one over, in the form below, which every backend of `backends` has; `HOST`
is NumPy. Signals, spectral parameters and results are host arrays; what is iterated stays on the device.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = Any
"""An array of the library, on its device."""
LEAF = 16
"""Rows of a matrix that is inverted by pivoted elimination whatever its precision."""


class ArrayLibrary(Protocol):
    """An array-API namespace ``xp``, the ways into it and out of it, and what the array API lacks or does slowly."""

    @property
    def concurrent(self) -> bool:
        """Whether calls from several threads run side by side, as on the cores of a CPU."""

    @property
    def xp(self) -> Any:
        """The namespace, with its linear algebra extension."""

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """Host array -> device array of the named dtype."""

    def to_numpy(self, x: Array) -> NDArray[Any]:
        """Device array -> host array."""

    def block(self, matrix: Array, rows: Array) -> Array:
        """The rows and columns `rows` (k,) of matrices (..., n, n): (..., k, k)."""

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        """total (..., n, n) plus block (..., k, k) in rows and columns `rows` (k,), all different; maybe in place."""

    def real_times(self, real: Array, matrix: Array) -> Array:
        """real (..., m, n) @ complex (..., n, r) of the same precision, without promoting the real factor."""


class HostLibrary:
    """NumPy."""

    xp: Any = np
    concurrent = True

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        return np.asarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> NDArray[Any]:
        return np.asarray(x)

    def block(self, matrix: Array, rows: Array) -> Array:
        return matrix[..., rows[:, None], rows]

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        total[..., rows[:, None], rows] += block
        return total

    def real_times(self, real: Array, matrix: Array) -> Array:
        # Real and imaginary parts are columns of one real matrix.
        return np.matmul(real, np.ascontiguousarray(matrix).view(real.dtype)).view(matrix.dtype)


HOST: ArrayLibrary = HostLibrary()


def identity(xp: Any, n: int, like: Array) -> Array:
    """The unit matrix in the precision and on the device of a complex array."""
    return xp.eye(n, dtype=like.dtype, device=like.device)


def inverse(xp: Any, matrix: Array) -> Array:
    """Inverses of complex matrices (..., n, n): by pivoted elimination in double precision.

    In single precision by elimination of blocks, which is nearly all products and takes less than half the time. Rows
    change places only within blocks of `LEAF`, so that digits can be lost: for iterations that double precision ends.
    """
    n = matrix.shape[-1]
    if matrix.dtype != xp.complex64 or n <= LEAF:
        return xp.linalg.inv(matrix)
    half = n // 2
    first, rest = slice(None, half), slice(half, None)
    a, b, c, d = (matrix[..., i, j] for i in (first, rest) for j in (first, rest))
    own = inverse(xp, a)
    left, right = xp.matmul(c, own), xp.matmul(own, b)
    other = inverse(xp, d - xp.matmul(c, right))  # of the Schur complement
    corner = xp.matmul(right, other)
    found = xp.empty_like(matrix)
    found[..., first, first] = own + xp.matmul(corner, left)
    found[..., first, rest] = -corner
    found[..., rest, first] = -xp.matmul(other, left)
    found[..., rest, rest] = other
    return found


def solve(xp: Any, matrix: Array, right: Array) -> Array:
    """matrix^{-1} right, in single precision by `inverse`."""
    if matrix.dtype != xp.complex64:
        return xp.linalg.solve(matrix, right)
    return xp.matmul(inverse(xp, matrix), right)
