"""Winograd's minimal filtering F(t×t, 3×3): its matrices, and its transformations of tiles in LLVM's vector types.

With matrices of Toom and Cook ([Winograd1980], [Lavin2016]) every t×t tile of z is

    z = A^T [ Σ_a (G w_a G^T) ∘ (B^T x_a B) ] A,

x_a the n×n window around the tile, n = t + 2: n² products instead of 9 t². The matrices interpolate polynomials at
n - 1 points and infinity. Points that come in pairs ± share most sums, and those of t = 4 are chosen for small
rounding: a sum over 128 channels in float32 has a relative error of 0.9·10⁻⁶ (with the usual 0, ±1, ±2: 1.9·10⁻⁶;
t = 2: 0.3·10⁻⁶).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from backends.numba.tiles import INT, Vectors

Array = np.ndarray[Any, Any]
POINTS = {
    2: [Fraction(p) for p in (0, 1, -1)],
    4: [Fraction(p) for p in ("0", "3/4", "-3/4", "3/2", "-3/2")],
}
"""Points of interpolation for tiles of t×t sites."""


def _times(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x - root), lowest power first."""
    made = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *made], [*(-root * c for c in made), Fraction(0)]
        made = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return made


def matrices(tile: int) -> tuple[Array, Array, Array]:
    """A^T (t, n), G (n, 3) and B^T (n, n) of F(t×t, 3×3)."""
    points = POINTS[tile]
    n = len(points) + 1
    out, kernel, window = np.zeros((tile, n)), np.zeros((n, 3)), np.zeros((n, n))
    for j, point in enumerate(points):
        others = [p for p in points if p != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        out[:, j] = [float(point**i) for i in range(tile)]
        kernel[j] = [float(point**i / scale) for i in range(3)]
        window[j, : n - 1] = [float(c) for c in _times(others)]
    out[-1, -1] = kernel[-1, -1] = 1.0
    window[-1] = [float(c) for c in _times(points)]
    return out, kernel, window


class _Sums(Vectors):
    """Linear combinations of vectors with numbers that are known when the code is made."""

    def _sum(self, coefficients: Any, x: list[Any]) -> Any:
        """Σ_k coefficients[k] x[k]; None where all are 0."""
        b, total = self.builder, None
        terms = [(float(c), v) for c, v in zip(coefficients, x, strict=True) if c != 0]
        for c, v in sorted(terms, key=lambda term: term[0] != 1.0):  # one that needs no product first
            if total is None:
                total = v if c == 1 else b.fneg(v) if c == -1 else b.fmul(v, self.constant(c))
            elif abs(c) == 1:
                total = b.fadd(total, v) if c == 1 else b.fsub(total, v)
            else:
                total = self.fused(self.constant(c), v, total)
        return total

    def constant(self, number: float) -> Any:
        return ir.Constant(self.vector, [number] * self.lanes)

    def apply(self, matrix: Array, x: list[Any]) -> list[Any]:
        """matrix · x, with the sums that columns or rows equal up to signs have in common formed once."""
        matrix, x = self._pair_columns(matrix, x)
        made: list[Any] = [None] * len(matrix)
        for j, row in enumerate(matrix):
            if made[j] is not None:
                continue
            twin = next((k for k in range(j + 1, len(matrix)) if _twins(row, matrix[k])), None)
            if twin is None:
                made[j] = self._sum(row, x)
                continue
            even, odd = self._sum((row + matrix[twin]) / 2, x), self._sum((row - matrix[twin]) / 2, x)
            made[j], made[twin] = self.builder.fadd(even, odd), self.builder.fsub(even, odd)
        return made

    def _pair_columns(self, matrix: Array, x: list[Any]) -> tuple[Array, list[Any]]:
        """Sums and differences in place of two vectors whose columns are equal up to signs."""
        columns, vectors, done = [], [], set()
        for j in range(matrix.shape[1]):
            if j in done:
                continue
            twin = next((k for k in range(j + 1, matrix.shape[1]) if _twins(matrix[:, j], matrix[:, k])), None)
            if twin is None:
                columns.append(matrix[:, j])
                vectors.append(x[j])
                continue
            done.add(twin)
            columns += [(matrix[:, j] + matrix[:, twin]) / 2, (matrix[:, j] - matrix[:, twin]) / 2]
            vectors += [self.builder.fadd(x[j], x[twin]), self.builder.fsub(x[j], x[twin])]
        return np.stack(columns, axis=1), vectors

    def both(self, matrix: Array, square: list[list[Any]]) -> list[list[Any]]:
        """matrix · square · matrix^T."""
        half = [self.apply(matrix, row) for row in square]
        turned = [self.apply(matrix, list(column)) for column in zip(*half, strict=True)]
        return [list(row) for row in zip(*turned, strict=True)]


class _Decisions(_Sums):
    """How far apart the numbers are that gates and max-pools compare."""

    def larger(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def distance(self, z: list[Any]) -> Any:
        """Between the largest and the next of 0 and the four z of a window, or |z| of one."""
        zero = ir.Constant(self.vector, None)
        if len(z) == 1:
            name = f"llvm.fabs.v{self.lanes}f{8 * self.bytes}"
            kind = ir.FunctionType(self.vector, [self.vector])
            return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), z)
        (a, b), (c, d) = [(self.larger(*pair), self.smaller(*pair)) for pair in (z[:2], z[2:])]
        best, rest = self.larger(a, c), self.larger(self.smaller(a, c), self.larger(b, d))
        return self.builder.fsub(self.larger(best, zero), self.larger(rest, self.smaller(best, zero)))

    def least_distance(self, z: list[list[Any]], window: int) -> Any:
        """The smallest of the distances in all windows of a tile."""
        corners, sides, least = range(0, len(z), window), range(window), None
        for y in corners:
            for x in corners:
                found = self.distance([z[y + i][x + j] for i in sides for j in sides])
                least = found if least is None else self.smaller(found, least)
        return least

    def note_doubt(self, distance: Any, apart: Any, place: Any) -> None:
        """1 at an address if a lane's distance is not above `apart`, else 0."""
        b = self.builder
        close = b.fcmp_unordered("<=", distance, apart)
        whole = b.bitcast(close, ir.IntType(self.lanes))
        some = b.icmp_unsigned("!=", whole, ir.Constant(ir.IntType(self.lanes), 0))
        b.store(b.zext(some, ir.IntType(8)), b.inttoptr(place, ir.IntType(8).as_pointer()))


def _twins(a: Array, b: Array) -> bool:
    """Equal up to signs, with some signs equal and some not: two sums give both."""
    both = (a != 0) & (b != 0)
    return bool(np.all(abs(a) == abs(b)) and np.any(a[both] == b[both]) and np.any(a[both] != b[both]))


def _site(builder: Any, line: Any, pixel: Any, i: int, j: int) -> Any:
    """Where site (i, j) of a tile lies: rows `line`, sites `pixel` entries apart."""
    return builder.add(builder.mul(line, INT(i)), builder.mul(pixel, INT(j)))


def _inside(builder: Any, rows: Any, columns: Any, i: int, j: int) -> Any:
    """Whether site (i, j) is one of the first `rows` × `columns`."""
    return builder.and_(builder.icmp_signed(">", rows, INT(i)), builder.icmp_signed(">", columns, INT(j)))


def _planes(t: _Sums, address: Any, plane: Any, at: Any, n: int) -> list[list[Any]]:
    """Where entry `at` of each of n×n planes lies, planes `plane` entries apart."""
    b = t.builder
    return [[t.shifted(address, b.add(at, b.mul(plane, INT(n * i + j)))) for j in range(n)] for i in range(n)]


def _store(t: _Sums, square: list[list[Any]], places: list[list[Any]]) -> None:
    for row, to in zip(square, places, strict=True):
        for value, place in zip(row, to, strict=True):
            t.store(value, place, 0)


def _each_vector(builder: Any, t: Vectors, channels: Any) -> Any:
    return cgutils.for_range(builder, builder.sdiv(channels, INT(t.lanes)))


def _tile_in(tile: int) -> Callable[..., Any]:
    matrix, n = matrices(tile)[2], tile + 2

    @intrinsic
    def tile_in(context, like, x, line, pixel, v, plane, channels):  # type: ignore[no-untyped-def]
        """B^T x B of a window at address x (rows `line`, sites `pixel` entries apart) into n² planes of v."""
        signature = types.void(like, *[types.intp] * 6)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, x, line, pixel, v, plane, channels = values
            t = _Sums(builder, signature.args[0])
            with _each_vector(builder, t, channels) as step:
                at = builder.mul(step.index, INT(t.lanes))
                start = t.shifted(x, at)
                square = [
                    [t.load(t.shifted(start, _site(builder, line, pixel, i, j)), 0) for j in range(n)] for i in range(n)
                ]
                _store(t, t.both(matrix, square), _planes(t, v, plane, at, n))
            return context.get_dummy_value()

        return signature, generate

    return tile_in


def _tile_out(tile: int) -> Callable[..., Any]:
    matrix, n = matrices(tile)[0], tile + 2

    @intrinsic
    def tile_out(context, like, m, plane, z, line, pixel, rows, columns, channels, window, reach, norms, doubts):  # type: ignore[no-untyped-def]
        """A^T m A of n² planes into the first `rows` × `columns` sites of a tile at address z.

        With a window of side 1 or 2, a byte for every vector at address `doubts` says whether gates or pools behind it
        are in doubt, where errors may be as large as the number at `reach` times those at `norms`.
        """
        signature = types.void(like, *[types.intp] * 12)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, m, plane, z, line, pixel, rows, columns, channels, window, reach, norms, doubts = values
            t = _Decisions(builder, signature.args[0])
            with _each_vector(builder, t, channels) as step:
                at = builder.mul(step.index, INT(t.lanes))
                start = t.shifted(z, at)
                planes = [[t.load(place, 0) for place in row] for row in _planes(t, m, plane, at, n)]
                made = t.both(matrix, planes)
                for i, row in enumerate(made):
                    for j, value in enumerate(row):
                        with builder.if_then(_inside(builder, rows, columns, i, j)):
                            t.store(value, t.shifted(start, _site(builder, line, pixel, i, j)), 0)
                for side in (1, 2):
                    with builder.if_then(builder.icmp_signed("==", window, INT(side)), likely=False):
                        error = builder.fmul(t.spread(reach), t.load(t.shifted(norms, at), 0))
                        apart = builder.fmul(error, t.constant(side))
                        t.note_doubt(t.least_distance(made, side), apart, builder.add(doubts, step.index))
            return context.get_dummy_value()

        return signature, generate

    return tile_out


def _tile_spread(tile: int) -> Callable[..., Any]:
    matrix, n = matrices(tile)[0].T, tile + 2

    @intrinsic
    def tile_spread(context, like, d, line, pixel, rows, columns, e, plane, channels):  # type: ignore[no-untyped-def]
        """A d A^T of the first `rows` × `columns` sites of a tile at address d, 0 beyond, into n² planes of e."""
        signature = types.void(like, *[types.intp] * 8)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, d, line, pixel, rows, columns, e, plane, channels = values
            t = _Sums(builder, signature.args[0])
            zero = ir.Constant(t.vector, None)
            with _each_vector(builder, t, channels) as step:
                at = builder.mul(step.index, INT(t.lanes))
                start = t.shifted(d, at)
                square: list[list[Any]] = [[] for _ in range(tile)]
                for i, row in enumerate(square):
                    for j in range(tile):
                        here = _inside(builder, rows, columns, i, j)
                        # Beyond the image the first site is read, and not used.
                        place = builder.select(here, _site(builder, line, pixel, i, j), INT(0))
                        row.append(builder.select(here, t.load(t.shifted(start, place), 0), zero))
                _store(t, t.both(matrix, square), _planes(t, e, plane, at, n))
            return context.get_dummy_value()

        return signature, generate

    return tile_spread


tile_in_2, tile_in_4 = _tile_in(2), _tile_in(4)
tile_out_2, tile_out_4 = _tile_out(2), _tile_out(4)
tile_spread_2, tile_spread_4 = _tile_spread(2), _tile_spread(4)
