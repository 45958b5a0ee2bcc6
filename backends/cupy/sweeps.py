"""The kernels that pass over memory once, `cuda/gates.cu` and `cuda/arrays.cu`: how many blocks, which arguments.

Both are one text, compiled once for a dtype. What CuPy would compile a kernel of its own for, at run time, is here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from backends.interface import Array

from .modules import Modules

THREADS = 256
BLOCKS_PER_MULTIPROCESSOR = 8  # they walk over what is left
BLOCKS = 65_535  # along the second and third side of a grid
PARTS = 256  # blocks of an inner product: a number of its own, so that sums do not depend on the device
PLACES = 2**31 - 1  # within an image, or a row of an array
NONE = np.int64(0)  # a pointer to nothing
AXES = 4  # of arrays that `copy_strided` knows
LOSSES = ("hinge", "perceptron", "logistic", "squared", "squared_hinge")  # in the order of `loss_value` in arrays.cu


def collapse(shape: Sequence[int], *strides: Sequence[int]) -> tuple[tuple[int, ...], ...] | None:
    """Shape and strides with axes of 1 left out and others put together, `AXES` of them; None where more remain."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        here = [s[axis] for s in strides]
        if size == 1:
            continue
        if sizes and all(made[-1] == step * size for made, step in zip(steps, here, strict=True)):
            sizes[-1] *= size
            for made, step in zip(steps, here, strict=True):
                made[-1] = step
        else:
            sizes.append(size)
            for made, step in zip(steps, here, strict=True):
                made.append(step)
    missing = AXES - len(sizes)
    if missing < 0:
        return None
    return (1,) * missing + tuple(sizes), *((0,) * missing + tuple(made) for made in steps)


class Sweeps:
    """Kernels of one CuPy and one dtype that pass over memory once."""

    def __init__(self, cupy: Any, dtype: str, modules: Modules) -> None:
        self._cupy, self._dtype, self._modules = cupy, dtype, modules
        self._item = np.dtype(dtype).itemsize

    @cached_property
    def module(self) -> Any:
        scalar = "float" if self._dtype == "float32" else "double"
        return self._modules.get(("gating.cuh", "gates.cu", "arrays.cu"), SCALAR=scalar, THREADS=THREADS)

    def over(self, name: str, count: int, *arguments: Any) -> None:
        """A kernel over `count` places."""
        blocks = max(1, min(-(-count // THREADS), BLOCKS_PER_MULTIPROCESSOR * self._modules.multiprocessors))
        self.module.get_function(name)((blocks,), (THREADS,), arguments)

    def over_rows(self, name: str, rows: int, each: int, *arguments: Any) -> None:
        """A kernel over `rows` rows (images, probes) of `each` places."""
        threads = min(THREADS, -(-each // 32) * 32)
        blocks = min(-(-each // threads), BLOCKS_PER_MULTIPROCESSOR * self._modules.multiprocessors)
        self.module.get_function(name)((blocks, min(rows, BLOCKS)), (threads,), arguments)

    def plain(self, x: Array) -> Array:
        """C-ordered, of this dtype, on a boundary of 16 bytes, as the kernels read it."""
        if x.dtype == self._dtype and not x.flags.c_contiguous:
            made = self._cupy.empty(x.shape, self._dtype)
            if self.put(made, x):
                return made
        x = self._cupy.ascontiguousarray(x, dtype=self._dtype)
        return x if x.data.ptr % 16 == 0 else self.copy(x)

    def copy(self, x: Array) -> Array:
        """x in memory of its own: by slices, since CuPy compiles a kernel for its `copy`."""
        made = self._cupy.empty(x.shape, x.dtype)
        made[...] = x
        return made

    def put(self, place: Array, value: Array) -> bool:
        """place = value for any two views of one shape; False where the kernel does not know them."""
        if not place.dtype == value.dtype == self._dtype or place.shape != value.shape:
            return False
        plan = collapse(place.shape, value.strides, place.strides)
        if plan is None or any(s % self._item for s in (*plan[1], *plan[2])):
            return False
        (rows, *others), given, made = plan
        each = math.prod(others)
        if each > PLACES:
            return False
        if rows * each:
            sizes = [np.uint32(n) for n in others]
            steps = [np.int64(s // self._item) for s in (*given, *made)]
            self.over_rows("copy_strided", rows, each, value, place, np.int64(rows * each), *sizes, *steps)
        return True

    def take_rows(self, x: Array, rows: Array) -> Array | None:
        """x[rows] along the first axis; None where the kernel does not know the arrays."""
        known = x.dtype == self._dtype and rows.dtype == np.int64 and rows.ndim == 1 and x.flags.c_contiguous
        width = math.prod(x.shape[1:])
        if not known or not rows.flags.c_contiguous or not 0 < width <= PLACES or x.size == 0 or rows.size == 0:
            return None
        out = self._cupy.empty((rows.size, *x.shape[1:]), self._dtype)
        sizes = np.int64(x.shape[0]), np.int64(rows.size), np.uint32(width)
        self.over_rows("take_rows", rows.size, width, x, rows, out, *sizes)
        return out

    def aligned(self, mask: Array) -> Array:
        """A mask as kernels read it: C-ordered, on a boundary of 4 bytes."""
        mask = self._cupy.ascontiguousarray(mask)
        return mask if mask.data.ptr % 4 == 0 else self.copy(mask)

    def add_parts(self, parts: Array, mask: Any = NONE, on: Any = NONE) -> Array:
        """The sum over the first axis, in order, (parts, K, rows, columns) -> (K, rows, columns), behind gates or not.

        mask, on  see `Kernels.contract`.
        """
        out = self._cupy.empty(parts.shape[1:], self._dtype)
        each = math.prod(out.shape[1:])
        sizes = np.int64(out.shape[0]), np.uint32(each), np.int32(parts.shape[0])
        self.over_rows("add_parts", out.shape[0], each, parts, out, mask, on, *sizes)
        return out

    def descend(self, w: Array, v: Array, g: Array, *numbers: float) -> tuple[Array, Array]:
        """One step of gradient descent: see `Backend.descend`."""
        new_w, new_v = (self._cupy.empty(w.shape, self._dtype) for _ in range(2))
        scalars = [np.dtype(self._dtype).type(x) for x in numbers]
        self.over("descend", w.size, *map(self.plain, (w, v, g)), new_w, new_v, np.int64(w.size), *scalars)
        return new_w, new_v

    def all_finite(self, x: Array) -> bool:
        """Whether no number is infinite or NaN."""
        x, found = self.plain(x), self._cupy.zeros(1, dtype="int32")
        self.over("find_infinite", x.size, x, found, np.int64(x.size))
        return not int(found[0])

    def same_bits(self, a: Array, b: Array) -> bool:
        """Whether two arrays of one dtype and shape agree to the last bit."""
        a, b = (self._cupy.ascontiguousarray(x) for x in (a, b))
        found = self._cupy.zeros(1, dtype="int32")
        self.over("find_difference", a.nbytes, a, b, found, np.int64(a.nbytes))
        return not int(found[0])

    def inner(self, x: Array, y: Array) -> float:
        """Σ x y, multiplied and added in float64."""
        parts, out = self._cupy.empty(PARTS, "float64"), self._cupy.empty(1, "float64")
        blocks = max(1, min(PARTS, -(-x.size // THREADS)))
        function = self.module.get_function("inner")
        function((blocks,), (THREADS,), (self.plain(x), self.plain(y), parts, np.int64(x.size)))
        self.module.get_function("total")((1,), (THREADS,), (parts, out, np.int32(blocks)))
        return float(out[0])

    def margins(self, t: Array, y: Array, loss: str) -> tuple[Array, Array, Array, Array]:
        """See `Backend.margins`."""
        slope, total = self._cupy.empty(t.shape, self._dtype), self._cupy.empty((), "float64")
        counts = self._cupy.empty(2, "int64")
        sizes = np.int32(t.size), np.int32(LOSSES.index(loss)), np.float64(math.inf)
        arguments = (self.plain(t), self.plain(y), slope, total, counts, *sizes)
        self.module.get_function("margins")((1,), (THREADS,), arguments)
        return slope, total, counts[0], counts[1]

    def gate(self, z: Array, shape: tuple[int, int, int, int], s: int) -> tuple[Array, Array]:
        """Gates of images (m, H, W, C), and one pool of s×s behind them: (x, mask)."""
        m, height, width, channels = shape
        x = self._cupy.empty((m, height // s, width // s, channels), self._dtype)
        mask = self._cupy.empty(z.shape, bool)
        self._windows("gate", (self.plain(z), x, mask), mask, shape, 1, s)
        return x, mask

    def gated(
        self, name: str, mask: Array, given: Array, made: Array, images: tuple[int, int, int, int], s: int
    ) -> None:
        """`apply_gates` or `spread_gates`: given -> made, one of which has the mask's shape behind its probe axis."""
        whole = given if name == "apply_gates" else made
        mask = self._cupy.ascontiguousarray(mask)
        probes = whole.size // max(1, mask.size)
        if made.size:
            self._windows(name, (mask, self.plain(given), made), mask, images, probes, s)

    def _windows(
        self, name: str, arrays: tuple[Array, ...], mask: Array, images: tuple[int, int, int, int], probes: int, s: int
    ) -> None:
        """A kernel of gates.cu over the windows of `probes` times `images`."""
        m, height, width, channels = images
        if s == 1 and mask.size <= PLACES:  # windows of one site: all is one image of one site
            m, height, width, channels = 1, 1, 1, mask.size
        per = 16 // self._item
        wide = channels % per == 0 and mask.data.ptr % per == 0
        each = -(-height // s) * -(-width // s) * (channels // per if wide else channels)
        sizes = [np.int32(n) for n in (m, height, width, channels, *((probes,) if name != "gate" else ()), s, wide)]
        self.over_rows(name, m * probes, each, *arrays, *sizes)
