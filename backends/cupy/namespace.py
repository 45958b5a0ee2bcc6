"""CuPy's array-API namespace with a linear algebra that is quick for large matrices too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backends.interface import Array

LARGE = 64  # rows from which a factorisation by itself beats cuBLAS's batched one, which is made for small matrices


class Linear:
    """`xp.linalg`, where stacks of large matrices are treated one after the other."""

    def __init__(self, linalg: Any, stack: Callable[..., Array]) -> None:
        self._linalg, self._stack = linalg, stack

    def __getattr__(self, name: str) -> Any:
        return getattr(self._linalg, name)

    def inv(self, x: Array) -> Array:
        return self._one_by_one(self._linalg.inv, x)

    def solve(self, x1: Array, x2: Array) -> Array:
        if x1.shape[:-2] != x2.shape[:-2]:
            return self._linalg.solve(x1, x2)
        return self._one_by_one(self._linalg.solve, x1, x2)

    def _one_by_one(self, function: Callable[..., Array], *stacks: Array) -> Array:
        first = stacks[0]
        if first.ndim == 2 or first.shape[-1] < LARGE or first.size == 0:
            return function(*stacks)
        flat = [x.reshape(-1, *x.shape[-2:]) for x in stacks]
        found = self._stack([function(*(x[i] for x in flat)) for i in range(flat[0].shape[0])])
        return found.reshape(*first.shape[:-2], *found.shape[-2:])


class Namespace:
    """`array_api_compat.cupy` with `Linear` as its ``linalg``."""

    def __init__(self, xp: Any) -> None:
        self._xp, self.linalg = xp, Linear(xp.linalg, xp.stack)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)
