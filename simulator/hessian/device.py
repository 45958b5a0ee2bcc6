"""The Hessian as eigensolvers on the device take it: no product passes through the host."""

from __future__ import annotations

from typing import Any, Protocol

from backends import Array, Backend


class _OnDevice(Protocol):
    """What is asked of an operator here."""

    shape: tuple[int, int]
    dtype: Any
    backend: Backend

    def product(self, v: Array) -> Array: ...


class DeviceOperator:
    """A symmetric H as `shape`, `dtype`, `matvec` and `matmat` on device arrays: no product passes through the host.

    It has what CuPy's eigensolvers ask of an operator, ``cupyx.scipy.sparse.linalg.eigsh(h.on_device(), k=6)``, and
    what ``cupyx.scipy.sparse.linalg.LinearOperator(d.shape, d.matvec, matmat=d.matmat, dtype=d.dtype)`` takes. Vectors
    are (N,) or (N, 1), blocks (N, k), arrays of the backend; the result has their shape. Raises `ValueError` for
    another shape.
    """

    ndim = 2

    def __init__(self, operator: _OnDevice) -> None:
        self._operator = operator
        self.shape: tuple[int, int] = operator.shape
        self.dtype = operator.dtype

    def matvec(self, v: Array) -> Array:
        """H v for v (N,) or (N, 1)."""
        if tuple(v.shape) not in ((self.shape[1],), (self.shape[1], 1)):
            raise ValueError(f"a vector of shape {tuple(v.shape)} was given: expected ({self.shape[1]},)")
        return self._product(v)

    def matmat(self, v: Array) -> Array:
        """H V for V (N, k)."""
        if v.ndim != 2 or v.shape[0] != self.shape[1]:
            raise ValueError(f"a block of shape {tuple(v.shape)} was given: expected ({self.shape[1]}, k)")
        return self._product(v)

    rmatvec, rmatmat = matvec, matmat

    def __matmul__(self, v: Array) -> Array:
        return self.matvec(v) if v.ndim == 1 else self.matmat(v)

    def _product(self, v: Array) -> Array:
        xp = self._operator.backend.xp
        if xp.isdtype(v.dtype, "complex floating"):
            raise ValueError(f"a vector of dtype {v.dtype} was given: expected real numbers")
        if v.ndim == 2 and v.shape[1] == 0:
            return v
        return self._operator.product(xp.astype(v, getattr(xp, self._operator.backend.dtype), copy=False))
