"""CuPy's array-API namespace where another way is quicker: large inverses, joined arrays, rows, reductions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from backends.interface import Array

from .sweeps import Sweeps

ALONE = 256  # rows from which a factorisation by itself beats cuBLAS's batched one, which is made for small matrices
FEW, LARGE = 4, 64  # as many matrices of at least so many rows are treated one by one too
REDUCTIONS = ("all", "any", "count_nonzero", "max", "mean", "min", "prod", "std", "sum", "var")


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
        rows, count = first.shape[-1], math.prod(first.shape[:-2])
        alone = rows > ALONE or (rows >= LARGE and count <= FEW)
        if first.ndim == 2 or not alone or first.size == 0:
            return function(*stacks)
        flat = [x.reshape(-1, *x.shape[-2:]) for x in stacks]
        found = self._stack([function(*(x[i] for x in flat)) for i in range(count)])
        return found.reshape(*first.shape[:-2], *found.shape[-2:])


class Namespace:
    """`array_api_compat.cupy` with `Linear` as its ``linalg``, and without what compiles or uploads behind one's back.

    CuPy's `concatenate` uploads a table of pointers for more than a few arrays, which no recorded step may: arrays are
    joined by slices here. Its block reductions by CUB take ten seconds to compile for every function and dtype: they
    are switched off inside `REDUCTIONS`. Sums and extrema of whole arrays go by what CuPy has compiled already.
    """

    def __init__(self, xp: Any, cupy: Any, sweeps: Sweeps) -> None:
        self._xp, self._cupy, self._sweeps = xp, cupy, sweeps
        self.linalg = Linear(xp.linalg, self.stack)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._xp, name)
        if name in REDUCTIONS:
            found = self._without_cub(found)
            setattr(self, name, found)
        return found

    def _without_cub(self, function: Callable[..., Array]) -> Callable[..., Array]:
        core = getattr(self._cupy, "_core", None)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Array:
            if core is None:
                return function(*args, **kwargs)
            before = core.get_reduction_accelerators()
            core.set_reduction_accelerators([])
            try:
                return function(*args, **kwargs)
            finally:
                core.set_reduction_accelerators(before)

        return call

    def concat(self, arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
        """Arrays one behind the other along an axis."""
        if axis is None:
            return self.concat([x.reshape(-1) for x in arrays])
        first = arrays[0]
        axis = axis % first.ndim
        ends = [0]
        for x in arrays:
            ends.append(ends[-1] + x.shape[axis])
        out = self._cupy.empty((*first.shape[:axis], ends[-1], *first.shape[axis + 1 :]), self._common(arrays))
        for x, begin, end in zip(arrays, ends, ends[1:], strict=False):
            self._put(out, (*(slice(None),) * axis, slice(begin, end)), x)
        return out

    def stack(self, arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
        """Arrays of one shape along a new axis."""
        first = arrays[0]
        axis = axis % (first.ndim + 1)
        shape = (*first.shape[:axis], len(arrays), *first.shape[axis:])
        out = self._cupy.empty(shape, self._common(arrays))
        for index, x in enumerate(arrays):
            if x.shape != first.shape:
                raise ValueError(f"arrays of shapes {first.shape} and {x.shape} cannot be stacked: expected one shape")
            self._put(out, (*(slice(None),) * axis, index), x)
        return out

    def _common(self, arrays: Sequence[Array]) -> Any:
        kinds = {x.dtype for x in arrays}
        return kinds.pop() if len(kinds) == 1 else self._xp.result_type(*arrays)

    def _put(self, out: Array, where: tuple[Any, ...], x: Array) -> None:
        place = out[where]
        if place.shape != x.shape:
            raise ValueError(f"an array of shape {x.shape} does not fit between others: expected {place.shape}")
        if (place.flags.c_contiguous and x.flags.c_contiguous) or not self._sweeps.put(place, x):
            out[where] = x

    def take(self, x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
        """`xp.take`; rows of numbers by a kernel that is there already."""
        rows = self._sweeps.take_rows(x, indices) if axis == 0 else None
        return self._xp.take(x, indices, axis=axis) if rows is None else rows
