"""Sums in an order of their own, in LLVM's vector types.

A compiler that may choose the order of a sum ("reassoc") chooses anew whenever a function is compiled into another one,
and a process that compiles a kernel runs other machine code than one that finds it on disk. So nothing here leaves it
the choice: the same numbers come to the same sum, bit for bit, in every process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import njit
from .tiles import INT, WIDTH, Lanes

HALF_BITS = types.uint16


class _Accumulators(Lanes):
    """Vectors that are added to in a loop."""

    def __init__(self, builder: Any, like: Any, count: int) -> None:
        super().__init__(builder, like)
        self.slots = self.clear(count)

    def add(self, index: int, a: Any, b: Any) -> None:
        """Accumulator `index` += a·b, rounded once."""
        slot = self.slots[index]
        self.builder.store(self.fused(a, b, self.builder.load(slot)), slot)

    def one(self) -> Any:
        return ir.Constant(self.vector, [1.0] * self.lanes)

    def wider(self, address: Any, kind: ir.Type, size: int) -> Any:
        """A vector of numbers of `size` bytes each in this precision; integers are bits of half-precision numbers."""
        stored = ir.VectorType(kind, self.lanes)
        value = self.builder.load(self.pointer(address, stored), align=size)
        if isinstance(kind, ir.IntType):
            value = self.builder.bitcast(value, ir.VectorType(ir.HalfType(), self.lanes))
        return self.builder.fpext(value, self.vector)

    def write(self, address: Any) -> None:
        """The totals of all accumulators to consecutive numbers."""
        for i, slot in enumerate(self.slots):
            at = self.pointer(self.shifted(address, INT(i)), self.real)
            self.builder.store(self.folded(self.builder.load(slot)), at)


@intrinsic
def _dot_rows(context, basis, part, a, b, c, d, numbers, steps, sums):  # type: ignore[no-untyped-def]
    """Inner products of `steps` vectors of numbers with four rows, all at addresses, to four numbers at `sums`."""
    signature = types.void(basis, part, *[types.intp] * 7)
    halves = basis.dtype == HALF_BITS

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, _, *rows, numbers, steps, sums = values
        t = _Accumulators(builder, signature.args[1], 4)
        with cgutils.for_range(builder, steps) as step:
            first = builder.mul(step.index, INT(t.lanes))
            vector = t.load(t.shifted(numbers, first), 0)
            for i, row in enumerate(rows):
                if halves:
                    found = t.wider(builder.add(row, builder.mul(first, INT(2))), ir.IntType(16), 2)
                else:
                    found = t.load(t.shifted(row, first), 0)
                t.add(i, found, vector)
        t.write(sums)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _dot(context, like, x, y, steps, double, total):  # type: ignore[no-untyped-def]
    """Σ x y of `steps` vectors of `like`'s numbers, in double precision (`double`: an array of it), to `total`."""
    signature = types.void(like, types.intp, types.intp, types.intp, double, types.intp)
    single = like.dtype == types.float32

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, x, y, steps, _, total = values
        t = _Accumulators(builder, signature.args[4], 1)
        with cgutils.for_range(builder, steps) as step:
            first = builder.mul(builder.mul(step.index, INT(t.lanes)), INT(4 if single else 8))
            places = [builder.add(address, first) for address in (x, y)]
            t.add(0, *(t.wider(at, ir.FloatType(), 4) if single else t.load(at, 0) for at in places))
        t.write(total)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _leaves(context, like, p, u, factor, steps, sums):  # type: ignore[no-untyped-def]
    """(Σ p/(1 + v), Σ p v/(1 + v)) with v = factor · u over `steps` vectors; `factor` is the address of a number."""
    signature = types.void(like, *[types.intp] * 5)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, p, u, factor, steps, sums = values
        t = _Accumulators(builder, signature.args[0], 2)
        scale = t.spread(factor)
        with cgutils.for_range(builder, steps) as step:
            first = builder.mul(step.index, INT(t.lanes))
            v = builder.fmul(scale, t.load(t.shifted(u, first), 0))
            q = builder.fdiv(t.load(t.shifted(p, first), 0), builder.fadd(t.one(), v))
            t.add(0, q, t.one())
            t.add(1, q, v)
        t.write(sums)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _moments(context, like, z, x, steps, sums):  # type: ignore[no-untyped-def]
    """Σ x, Σ x², Σ z, Σ z² over `steps` vectors."""
    signature = types.void(like, *[types.intp] * 4)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        _, z, x, steps, sums = values
        t = _Accumulators(builder, signature.args[0], 4)
        with cgutils.for_range(builder, steps) as step:
            first = builder.mul(step.index, INT(t.lanes))
            for index, address in ((0, x), (2, z)):
                value = t.load(t.shifted(address, first), 0)
                t.add(index, value, t.one())
                t.add(index + 1, value, value)
        t.write(sums)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def dot_rows(basis, j, first, part, sums):  # type: ignore[no-untyped-def]
    """sums[j..j+3] = inner products of `part` with those columns of rows j..j+3; the last row for those beyond it.

    basis (k, n) of part's precision, or uint16: bits of half-precision numbers, of which `part` fills whole vectors.
    """
    end, lanes, item = basis.shape[0] - 1, WIDTH // part.itemsize, basis.itemsize
    start = basis.ctypes.data + first * item
    a, b, c, d = (
        start + j * basis.shape[1] * item,
        start + min(j + 1, end) * basis.shape[1] * item,
        start + min(j + 2, end) * basis.shape[1] * item,
        start + min(j + 3, end) * basis.shape[1] * item,
    )
    steps = part.size // lanes
    _dot_rows(basis, part, a, b, c, d, part.ctypes.data, steps, sums.ctypes.data + j * sums.itemsize)
    for row in range(4):
        for i in range(steps * lanes, part.size):
            sums[j + row] += basis[min(j + row, end), first + i] * part[i]


@njit(cache=True)
def dot(x, y, total):  # type: ignore[no-untyped-def]
    """total[0] = Σ x y in double precision, for contiguous vectors of one length; total (1,) float64."""
    lanes = WIDTH // 8
    steps = x.size // lanes
    _dot(x, x.ctypes.data, y.ctypes.data, steps, total, total.ctypes.data)
    for i in range(steps * lanes, x.size):
        total[0] += np.float64(x[i]) * np.float64(y[i])


@njit(cache=True)
def leaf_sums(p, u, factor, n, sums):  # type: ignore[no-untyped-def]
    """sums (2,) = (Σ p/(1 + v), Σ p v/(1 + v)) with v = factor[0] · u, over the first n entries."""
    lanes = WIDTH // p.itemsize
    steps = n // lanes
    _leaves(p, p.ctypes.data, u.ctypes.data, factor.ctypes.data, steps, sums.ctypes.data)
    for i in range(steps * lanes, n):
        v = factor[0] * u[i]
        q = p[i] / (1.0 + v)
        sums[0] += q
        sums[1] += q * v


@njit(cache=True)
def moment_sums(z, x, sums):  # type: ignore[no-untyped-def]
    """sums (4,) = Σ x, Σ x², Σ z, Σ z²."""
    lanes = WIDTH // z.itemsize
    steps = z.size // lanes
    _moments(z, z.ctypes.data, x.ctypes.data, steps, sums.ctypes.data)
    for i in range(steps * lanes, z.size):
        sums[0] += x[i]
        sums[1] += x[i] * x[i]
        sums[2] += z[i]
        sums[3] += z[i] * z[i]
