"""A compiled CPU twin of `backends.reference.orthogonalise`, on bases in the precision of vectors or in half of it.

Rounding unit vectors to half precision moves an overlap by up to 2⁻¹⁰: too much where errors and vector meet in the
same few places, as they do once an eigenvector that sits on few weights has converged. So a vector is mixed first,
every `COLUMNS` numbers of it, by random signs and a Walsh-Hadamard transform, which is orthogonal, and numbers are
rounded up or down by chance. Errors then know nothing of what they meet, and overlaps are moved by about `OVERLAP` or
less, a fiftieth of the sqrt(eps) of single precision up to which Lanczos lets orthogonality go. Memory and time of a
basis are halved.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from backends.interface import HostArray

from .jit import njit
from .sums import dot, dot_rows
from .tiles import INT, WIDTH, Vectors

SPARE = 1 << 13  # values of the bits that a single-precision mantissa has and a half-precision one has not
COLUMNS = 4096  # of a vector that stay in the first-level cache while rows of a basis pass; a power of 2
OVERLAP = 0.6 * 2.0**-11 / COLUMNS**0.5  # rms, of two unit vectors that lie in one stretch of COLUMNS numbers


@intrinsic
def _number(context, x):  # type: ignore[no-untyped-def]
    """A number as it is, or the half-precision one whose bits an uint16 has."""
    kept = isinstance(x, types.Float)

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        (given,) = arguments
        return given if kept else builder.fpext(builder.bitcast(given, ir.HalfType()), ir.FloatType())

    return (x if kept else types.float32)(x), generate


@intrinsic
def _half_bits(context, x, dither):  # type: ignore[no-untyped-def]
    """The bits of a number rounded to half precision, away from 0 where spare bits and `dither` come to `SPARE`."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        number, spare = ir.IntType(32), ir.Constant(ir.IntType(32), SPARE - 1)
        bits = builder.add(builder.bitcast(arguments[0], number), arguments[1])
        kept = builder.bitcast(builder.and_(bits, builder.not_(spare)), ir.FloatType())
        return builder.bitcast(builder.fptrunc(kept, ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32, types.int32), generate


def half_unit(n: int) -> np.float32:
    """What a unit vector is multiplied by to lie well within half precision: a power of 2 near sqrt(n)."""
    return np.float32(2.0 ** round(math.log2(n) / 2))


def mixing() -> tuple[HostArray, HostArray]:
    """(±1/sqrt(COLUMNS), numbers in [0, 2¹³)): factors before a transform, orthogonal with it, and its dither."""
    rng = np.random.default_rng(0)
    factors = rng.choice([-1.0, 1.0], COLUMNS) / np.sqrt(COLUMNS)
    return factors.astype(np.float32), rng.integers(0, SPARE, COLUMNS, dtype=np.int32)


@intrinsic
def _butterfly(context, like, address, step):  # type: ignore[no-untyped-def]
    """Sums and differences of four vectors `step` bytes apart, twice: two steps of a transform, in place."""
    signature = types.void(like, types.intp, types.intp)

    def generate(context, b, signature, values):  # type: ignore[no-untyped-def]
        _, address, step = values
        t = Vectors(b, signature.args[0])
        places = [b.add(address, b.mul(step, INT(i))) for i in range(4)]
        x = [t.load(place, 0) for place in places]
        for i, j in ((0, 2), (1, 3), (0, 1), (2, 3)):
            x[i], x[j] = b.fadd(x[i], x[j]), b.fsub(x[i], x[j])
        for value, place in zip(x, places, strict=True):
            t.store(value, place, 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _transform_lanes(context, like, address):  # type: ignore[no-untyped-def]
    """The transform of the numbers of one vector, in place."""
    signature = types.void(like, types.intp)

    def generate(context, b, signature, values):  # type: ignore[no-untyped-def]
        _, address = values
        t = Vectors(b, signature.args[0])
        x, lanes, half = t.load(address, 0), range(t.lanes), t.lanes // 2
        while half:
            other = ir.Constant(ir.VectorType(ir.IntType(32), t.lanes), [i ^ half for i in lanes])
            signs = ir.Constant(t.vector, [-1.0 if i & half else 1.0 for i in lanes])
            x = t.fused(x, signs, b.shuffle_vector(x, x, other))
            half //= 2
        t.store(x, address, 0)
        return context.get_dummy_value()

    return signature, generate


@njit(cache=True)
def _transform(x):  # type: ignore[no-untyped-def]
    """The Walsh-Hadamard transform of x (COLUMNS,), in place; its inverse but for 1/COLUMNS."""
    lanes, start = WIDTH // x.itemsize, x.ctypes.data
    step = x.size // 4
    while step >= lanes:
        for first in range(0, x.size, 4 * step):
            for i in range(first, first + step, lanes):
                _butterfly(x, start + i * x.itemsize, step * x.itemsize)
        step //= 4
    if 4 * step > lanes:  # an odd number of steps: the last one by itself
        for first in range(0, x.size, 2 * lanes):
            for i in range(first, first + lanes):
                x[i], x[i + lanes] = x[i] + x[i + lanes], x[i] - x[i + lanes]
    for i in range(0, x.size, lanes):
        _transform_lanes(x, start + i * x.itemsize)


@njit(cache=True)
def _mix(part, factors, mixed):  # type: ignore[no-untyped-def]
    """`part` and zeros behind it, times `factors`, transformed: into `mixed`."""
    for i in range(part.size):
        mixed[i] = part[i] * factors[i]
    mixed[part.size :] = 0
    _transform(mixed)


@njit(parallel=True, cache=True)
def keep_half(w, norm, scale, factors, dither, row, unit):  # type: ignore[no-untyped-def]
    """w / norm into `unit`; scale times it, mixed and rounded to half precision: its bits into row, uint16.

    Rows are as long as w in multiples of COLUMNS.
    """
    for index in prange(row.size // COLUMNS):
        first = index * COLUMNS
        mixed, part = np.empty(COLUMNS, w.dtype), unit[first : first + COLUMNS]
        for i in range(part.size):
            part[i] = w[first + i] / norm
        _mix(part, factors, mixed)
        for i in range(COLUMNS):
            row[first + i] = _half_bits(mixed[i] * scale, dither[i])


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


@njit(cache=True)
def _overlaps(basis, first, part, overlaps):  # type: ignore[no-untyped-def]
    """Inner products of `part` with those columns of every row: four rows at a time, for a vector that is read once."""
    for j in range(0, basis.shape[0], 4):
        dot_rows(basis, j, first, part, overlaps)


@njit(cache=True)
def _subtract(basis, first, overlaps, part):  # type: ignore[no-untyped-def]
    """`part` less those columns of every row times its overlap."""
    for j in range(0, basis.shape[0], 4):
        a, b, c, d = _four_rows(basis, j, first, first + part.size)
        s, t, u, v = overlaps[j], overlaps[j + 1], overlaps[j + 2], overlaps[j + 3]
        for i in range(part.size):
            low = s * _number(a[i]) + t * _number(b[i])
            part[i] -= low + (u * _number(c[i]) + v * _number(d[i]))


@njit(parallel=True, cache=True)
def orthogonalise(basis, w):  # type: ignore[no-untyped-def]
    """w (n,) less its part along the orthonormal rows of basis (k, n), in place: every column is read twice."""
    k, n = basis.shape
    parts = (n + COLUMNS - 1) // COLUMNS
    overlaps = np.zeros((parts, k + 3), w.dtype)
    for index in prange(parts):
        first = index * COLUMNS
        _overlaps(basis, first, w[first : first + COLUMNS], overlaps[index])
    summed = overlaps.sum(axis=0)
    summed[k:] = 0
    for index in prange(parts):
        first = index * COLUMNS
        _subtract(basis, first, summed, w[first : first + COLUMNS])


@njit(parallel=True, cache=True)
def orthogonalise_half(basis, unit, factors, w):  # type: ignore[no-untyped-def]
    """w (n,) less its part along unit vectors, in place; basis (k, n or more) as `keep_half` filled its rows."""
    k, parts = basis.shape[0], basis.shape[1] // COLUMNS
    overlaps = np.zeros((parts, k + 3), w.dtype)
    for index in prange(parts):
        first = index * COLUMNS
        mixed = np.empty(COLUMNS, w.dtype)
        _mix(w[first : first + COLUMNS], factors, mixed)
        _overlaps(basis, first, mixed, overlaps[index])
    summed = overlaps.sum(axis=0) / (unit * unit)
    summed[k:] = 0
    for index in prange(parts):
        first = index * COLUMNS
        part, mixed = w[first : first + COLUMNS], np.zeros(COLUMNS, w.dtype)
        _subtract(basis, first, summed, mixed)
        _transform(mixed)
        for i in range(part.size):
            part[i] += mixed[i] * factors[i]


@njit(parallel=True, cache=True)
def inner(x, y):  # type: ignore[no-untyped-def]
    """Σ x y in float64 for vectors of one length, without a copy; the same whatever the number of threads."""
    parts = np.empty((x.size + COLUMNS - 1) // COLUMNS)
    for index in prange(parts.size):
        here = slice(index * COLUMNS, (index + 1) * COLUMNS)
        dot(x[here], y[here], parts[index : index + 1])
    return parts.sum()
