"""Register tiles of a convolution, written in LLVM's vector types: what a compiler would not find by itself.

A tile keeps R×S vectors of sums in registers while it runs through all k² A products that they take; every
product is one fused multiply-add of a vector of weights (or of signals) with one number that all lanes share. Nothing
is packed but the weights: a "row" of a k×k window is k·A adjacent numbers of a zero-padded channels-last image.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import njit

WIDTH = 64 if llvm.get_host_cpu_features().get("avx512f") else 32 if llvm.get_host_cpu_features().get("avx2") else 16
"""Bytes of a vector register."""
REGISTERS = 16 if WIDTH == 32 else 32
SUMS = 12 if WIDTH == 32 else 24
"""Vectors of sums in a tile of a convolution."""
REST_SUMS = SUMS // 3
"""In the tiles of what a whole tile would not fill: enough to hide the latency of a sum with 32 registers."""
GRADIENT_SUMS = 8 if WIDTH == 32 else 16
"""In a tile of a gradient: a divisor of most counts of channels, and enough to hide the latency of a sum."""
COLOUR_SUMS = 27
"""In a tile of the gradient of 3×3 kernels on images of three colours, whose rows of 9 fill no other tile."""
LANES = {"float64": WIDTH // 8, "float32": WIDTH // 4}
INT = ir.IntType(64)


class Vectors:
    """Whole vectors of an array's entries at addresses."""

    def __init__(self, builder: Any, like: Any) -> None:
        self.builder = builder
        single = like.dtype == types.float32
        self.real: ir.Type = ir.FloatType() if single else ir.DoubleType()
        self.bytes = 4 if single else 8
        self.lanes = WIDTH // self.bytes
        self.vector = ir.VectorType(self.real, self.lanes)

    def pointer(self, address: Any, kind: ir.Type) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())

    def shifted(self, address: Any, count: Any) -> Any:
        """address + count entries."""
        return self.builder.add(address, self.builder.mul(count, INT(self.bytes)))

    def load(self, address: Any, index: int) -> Any:
        """Vector `index` at an address."""
        at = self.builder.add(address, INT(index * self.lanes * self.bytes))
        return self.builder.load(self.pointer(at, self.vector), align=self.bytes)

    def store(self, value: Any, address: Any, index: int) -> None:
        at = self.builder.add(address, INT(index * self.lanes * self.bytes))
        self.builder.store(value, self.pointer(at, self.vector), align=self.bytes)

    def spread(self, address: Any) -> Any:
        """The number at an address in every lane."""
        number = self.builder.load(self.pointer(address, self.real))
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), mask)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """a·b + c, rounded once."""
        name = f"llvm.fma.v{self.lanes}f{8 * self.bytes}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])


class Lanes(Vectors):
    """Sums in as many vectors as there are lanes: enough of them to hide the latency of one."""

    def clear(self, count: int | None = None) -> list[Any]:
        """Places for so many vectors, as many as there are lanes by default, all 0."""
        slots = [cgutils.alloca_once(self.builder, self.vector) for _ in range(count or self.lanes)]
        for slot in slots:
            self.builder.store(ir.Constant(self.vector, None), slot)
        return slots

    def tree(self, terms: list[Any]) -> Any:
        """The sum of values whose count is a power of two."""
        while len(terms) > 1:
            terms = [self.builder.fadd(a, b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        return terms[0]

    def folded(self, vector: Any) -> Any:
        """The sum over the lanes, by halves."""
        index, count = ir.IntType(32), self.lanes
        while count > 1:
            count //= 2
            mask = ir.Constant(ir.VectorType(index, self.lanes), [(i + count) % self.lanes for i in range(self.lanes)])
            moved = self.builder.shuffle_vector(vector, ir.Constant(self.vector, ir.Undefined), mask)
            vector = self.builder.fadd(vector, moved)
        return self.builder.extract_element(vector, index(0))


class _Tile(Vectors):
    """`rows` × `vectors` sums and the memory operations around them."""

    def __init__(self, builder: Any, like: Any, sums: int, vectors: int) -> None:
        super().__init__(builder, like)
        self.vectors, self.rows = vectors, sums // vectors
        self.sums = [[cgutils.alloca_once(builder, self.vector) for _ in range(vectors)] for _ in range(self.rows)]

    def clear(self) -> None:
        for row in self.sums:
            for slot in row:
                self.builder.store(ir.Constant(self.vector, None), slot)

    def accumulate(self, numbers: list[Any], address: Any) -> None:
        """sums[i][j] += number i × vector j at `address`."""
        factors = [self.load(address, j) for j in range(self.vectors)]
        for place, row in zip(numbers, self.sums, strict=True):
            number = self.spread(place)
            for factor, slot in zip(factors, row, strict=True):
                self.builder.store(self.fused(number, factor, self.builder.load(slot)), slot)

    def finish(self, address: Any, stride: Any, add: Any) -> None:
        """Write the sums to rows `stride` entries apart, or add them where `add` is not 0."""
        b = self.builder
        with b.if_else(b.icmp_signed("!=", add, INT(0))) as (then, otherwise):
            for adding, branch in ((True, then), (False, otherwise)):
                with branch:
                    for i, row in enumerate(self.sums):
                        at = self.shifted(address, b.mul(stride, INT(i)))
                        for j, slot in enumerate(row):
                            value = b.load(slot)
                            self.store(b.fadd(value, self.load(at, j)) if adding else value, at, j)


def _convolution_tile(vectors: int, sums: int) -> Any:
    @intrinsic
    def tile(context, like, x, sites, w, kernel, run, line, rise, z, stride, add):  # type: ignore[no-untyped-def]
        """z[i] (+)= Σ_{dy < kernel, t < run} x[sites[i] + dy·line + t] w[dy·rise + t] for a tile of sites.

        x, sites, w, z: addresses; sites holds int64 offsets of entries; a row of w has the tile's vectors, rows of z
        are `stride` entries apart.
        """
        signature = types.void(like, *[types.intp] * 10)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, x, sites, w, kernel, run, line, rise, z, stride, add = values
            t = _Tile(builder, signature.args[0], sums, vectors)
            t.clear()
            places = []
            for i in range(t.rows):
                entry = builder.load(t.pointer(builder.add(sites, INT(8 * i)), INT))
                places.append(t.shifted(x, entry))
            width = INT(vectors * t.lanes)
            with cgutils.for_range(builder, kernel) as down:
                above = builder.mul(down.index, line)
                taps = t.shifted(w, builder.mul(builder.mul(down.index, rise), width))
                starts = [t.shifted(place, above) for place in places]
                with cgutils.for_range(builder, run) as along:
                    numbers = [t.shifted(start, along.index) for start in starts]
                    t.accumulate(numbers, t.shifted(taps, builder.mul(along.index, width)))
            t.finish(z, stride, add)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _gradient_tile(vectors: int, sums: int, run: int) -> Any:
    @intrinsic
    def tile(context, like, x, sites, count, line, d, across, g, stride, add):  # type: ignore[no-untyped-def]
        """g[i] (+)= Σ_{p < count} x[sites[p] + ⌊i/run⌋·line + i mod run] d[p].

        Rows of d lie `across` and of g `stride` entries apart.
        """
        signature = types.void(like, *[types.intp] * 9)

        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, x, sites, count, line, d, across, g, stride, add = values
            t = _Tile(builder, signature.args[0], sums, vectors)
            t.clear()
            offsets = [builder.add(builder.mul(line, INT(i // run)), INT(i % run)) for i in range(t.rows)]
            with cgutils.for_range(builder, count) as each:
                entry = builder.load(t.pointer(builder.add(sites, builder.mul(each.index, INT(8))), INT))
                start = t.shifted(x, entry)
                numbers = [t.shifted(start, offset) for offset in offsets]
                t.accumulate(numbers, t.shifted(d, builder.mul(each.index, across)))
            t.finish(g, stride, add)
            return context.get_dummy_value()

        return signature, generate

    return tile


convolution_narrow, convolution_wide = _convolution_tile(1, SUMS), _convolution_tile(2, SUMS)
rest_narrow, rest_wide = _convolution_tile(1, REST_SUMS), _convolution_tile(2, REST_SUMS)
gradient_narrow = _gradient_tile(1, GRADIENT_SUMS, GRADIENT_SUMS)
gradient_wide = _gradient_tile(2, GRADIENT_SUMS, GRADIENT_SUMS)
gradient_colour = _gradient_tile(1, COLOUR_SUMS, COLOUR_SUMS // 3)


@njit(inline="always")
def convolve_tile(like, vectors, rows, x, sites, w, kernel, run, line, rise, z, stride, add):  # type: ignore[no-untyped-def]
    """The tile of 1 or 2 vectors that has so many `rows`: a whole one, or one for a rest."""
    whole = rows * vectors == SUMS
    if vectors == 2:
        if whole:
            convolution_wide(like, x, sites, w, kernel, run, line, rise, z, stride, add)
        else:
            rest_wide(like, x, sites, w, kernel, run, line, rise, z, stride, add)
    elif whole:
        convolution_narrow(like, x, sites, w, kernel, run, line, rise, z, stride, add)
    else:
        rest_narrow(like, x, sites, w, kernel, run, line, rise, z, stride, add)


@njit(inline="always")
def rows_of_tile(left, vectors):  # type: ignore[no-untyped-def]
    """Rows of the tile for what is `left`: a whole one, unless two thirds of it or fewer would be filled."""
    return (SUMS if left * vectors > SUMS - REST_SUMS else REST_SUMS) // vectors


@intrinsic
def copy(context, to, start, count):  # type: ignore[no-untyped-def]
    """`count` bytes from one address to another; a loop over entries would take ten times as long."""
    signature = types.void(types.intp, types.intp, types.intp)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(value, byte) for value in values[:2])
        cgutils.raw_memcpy(builder, target, source, values[2], 1)
        return context.get_dummy_value()

    return signature, generate
