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


class ArrayLibrary(Protocol):
    """An array-API namespace ``xp``, the ways into it and out of it, and one product that the array API lacks."""

    @property
    def xp(self) -> Any:
        """The namespace, with its linear algebra extension."""

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """Host array -> device array of the named dtype."""

    def to_numpy(self, x: Array) -> NDArray[Any]:
        """Device array -> host array."""

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        """total (..., n, n) plus block (..., k, k) in rows and columns `rows` (k,), all different; maybe in place."""


class HostLibrary:
    """NumPy."""

    xp: Any = np

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        return np.asarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> NDArray[Any]:
        return np.asarray(x)

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        total[..., rows[:, None], rows] += block
        return total


HOST: ArrayLibrary = HostLibrary()


def join(xp: Any, real: Array, imaginary: Array) -> Array:
    """real + i imaginary."""
    unit = xp.asarray(1j, dtype=xp.complex128, device=real.device)
    return imaginary * unit + real


def times(xp: Any, matrix: Array, real: Array) -> Array:
    """Complex @ real without promoting the real factor."""
    return join(xp, xp.matmul(xp.real(matrix), real), xp.matmul(xp.imag(matrix), real))


def real_times(xp: Any, real: Array, matrix: Array) -> Array:
    """Real @ complex without promoting the real factor."""
    return join(xp, xp.matmul(real, xp.real(matrix)), xp.matmul(real, xp.imag(matrix)))


def block_of(xp: Any, matrix: Array, rows: Array) -> Array:
    """The rows and columns `rows` (k,) of matrices (..., n, n): (..., k, k)."""
    return xp.take(xp.take(matrix, rows, axis=-2), rows, axis=-1)


def identity(xp: Any, n: int, like: Array) -> Array:
    """The complex unit matrix on the device of an array."""
    return xp.eye(n, dtype=xp.complex128, device=like.device)
