"""The CUDA kernels of products and of enumeration: which variant, on how many blocks, with which arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.interface import Array

from .modules import Modules
from .sweeps import BLOCKS, BLOCKS_PER_MULTIPROCESSOR, NONE, THREADS, Sweeps

LEAST_SLABS = 4  # of a split sum; about what beginning and ending a block costs, and what adding up a part does
RESERVED = 1024  # bytes of shared memory that CUDA takes for itself in every block
ENUMERATION_GATES = 64  # units of a layer that the enumeration holds
LARGEST = 2**31 - 1  # sites and rows are counted in 32 bits
ENUMERATION_INPUTS = BLOCKS


@dataclass(frozen=True)
class Variant:
    """What a contraction is compiled for: see `cuda/contraction.cu`."""

    scalar: str
    rows: int
    columns: int
    vector_a: int
    vector_b: int
    tensor: bool

    @property
    def threads(self) -> int:
        """Of a block: 8 rows and 8 or 4 columns each."""
        return self.rows // 8 * self.columns // (8 if self.rows * self.columns == 128 * 128 else 4)

    @property
    def slab(self) -> int:
        """Summed indices that are in shared memory at a time."""
        return 16 if self.scalar == "float" else 8

    @property
    def resident(self) -> int:
        """Blocks that share a multiprocessor by their registers; many loads of one number each take more of them."""
        many = self.rows * self.slab // self.vector_a // self.threads > 16
        return (512 if self.scalar == "float" else 256) // self.threads // (2 if many else 1)

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block: two slabs of both factors."""
        lines = self.slab * (self.rows + self.columns + (0 if self.tensor else 16))
        return 2 * lines * (4 if self.scalar == "float" else 8)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files it is made of."""
        return (*(("tensor.cuh",) * self.tensor), "gating.cuh", "product.cuh", "factors.cuh", "contraction.cu")

    @property
    def values(self) -> dict[str, Any]:
        """What it is compiled with."""
        return {
            "SCALAR": self.scalar, "ROWS": self.rows, "COLUMNS": self.columns, "VECTOR_A": self.vector_a,
            "VECTOR_B": self.vector_b, "TENSOR": int(self.tensor), "RESIDENT": self.resident,
        }  # fmt: skip


def choose_variant(dtype: str, ins: int, outs: int, tensor: bool) -> Variant:
    """The variant for images of `ins` channels and `outs` columns."""
    rows, columns = next(
        (tile for tile in ((256, 16), (128, 32), (128, 64)) if outs <= tile[1]), (128, 128)
    )  # the narrowest tile that takes all columns
    wide = 4 if dtype == "float32" else 2
    return Variant(
        "float" if dtype == "float32" else "double", rows, columns, wide if ins % wide == 0 else 1,
        wide if outs % wide == 0 else 1, tensor and dtype == "float32",
    )  # fmt: skip


def choose_splits(blocks: int, slabs: int, places: int) -> int:
    """Blocks that share one sum, where a device holds `places` blocks at a time: those of the shortest time.

    Blocks run in ⌈blocks s / places⌉ rounds, each as long as its ⌈slabs / s⌉ slabs and what a block costs besides.
    """

    def time(splits: int) -> int:
        besides = LEAST_SLABS if splits == 1 else 2 * LEAST_SLABS  # parts are written, and added up
        return -(-blocks * splits // places) * (-(-slabs // splits) + besides)

    most = min(slabs // LEAST_SLABS, places // blocks)
    return min(range(1, max(1, most) + 1), key=time)


def count_probes(pairs: tuple[tuple[Array, Array], ...], sizes: tuple[int, int]) -> tuple[int, bool]:
    """(K, whether any array has a probe axis) of arrays that a kernel reads by `sizes` numbers a probe.

    An axis of 1 is shared by all probes, as in `matmul`. `ValueError` where axes or sizes do not fit: it would read
    beyond an array.
    """
    arrays = [a for pair in pairs for a in pair]
    axes = [a.shape[0] for a in arrays if a.ndim in (3, 5)]
    probes = max([1, *axes])
    held = [
        (a.size, size * (a.shape[0] if a.ndim in (3, 5) else 1))
        for pair in pairs
        for a, size in zip(pair, sizes, strict=True)
    ]
    if any(axis not in (1, probes) for axis in axes) or any(size != due for size, due in held):
        raise ValueError(
            f"arrays of shapes {', '.join(str(tuple(a.shape)) for a in arrays)} do not fit: "
            "expected images, kernels or signals of one layer, and probe axes of one length or of 1"
        )
    return probes, bool(axes)


def _sizes(name: str, shape: tuple[int, ...], columns: int) -> tuple[int, int]:
    """Numbers of the images, and of the second factor."""
    m, height, width, ins, kernel = shape
    sites = m * height * width
    return sites * ins, columns * (kernel * kernel * ins if name == "convolve" else sites)


def check_counted(shape: tuple[int, ...], columns: int, probes: int, wide: int) -> None:
    """`ValueError` for what a kernel does not count: sites and rows, those of a last tile and behind a border too."""
    m, height, width, ins, kernel = shape
    beyond = 256 + (kernel // 2) * (width + 1)
    largest = max(m * height * width, kernel * kernel * ins, columns) + beyond
    largest = max(largest, (kernel // 2 + 1) * (width + 1) * ins)  # between a site and its taps, in numbers
    if largest > LARGEST or max(height, width) >= 1 << 15 or max(probes, -(-columns // wide)) > BLOCKS:
        said = f"{m} images of {height}×{width}, {columns} channels and {probes} probes"
        raise ValueError(f"{said} are beyond what a kernel counts: use a smaller batch size")


class Kernels:
    """The kernels of one CuPy and one dtype."""

    def __init__(self, cupy: Any, dtype: str) -> None:
        self._cupy, self._dtype = cupy, dtype
        self._modules = Modules(cupy)
        self.sweeps = Sweeps(cupy, dtype, self._modules)

    def contract(
        self,
        name: str,
        shape: tuple[int, ...],
        columns: int,
        *pairs: tuple[Array, Array],
        tensor: bool,
        mask: Array | None = None,
        on: Array | None = None,
    ) -> Array:
        """`convolve` or `convolve_gradient` of one or two pairs -> ([K,] rows, columns); `tensor`: in TF32.

        shape  (m, H, W, A, kernel) of the images, the first of every pair; arrays of 5 axes have a probe axis.
        mask   frozen gates of `convolve`, as many as there are rows and columns: where they are off the result is 0.
        on     written over by z > 0, which are the gates then. One of both at most; without probes.
        """
        m, height, width, ins, kernel = shape
        more = -ins % (4 if self._dtype == "float32" else 2)
        if kernel > 1 and ins > 1 and more:  # loads of 16 bytes are worth a channel or two of zeros
            padded = tuple(self._with_zeros(name, pair, shape, more) for pair in pairs)
            wide = (*shape[:3], ins + more, kernel)
            made = self.contract(name, wide, columns, *padded, tensor=tensor, mask=mask, on=on)
            return made if name == "convolve" else self._without(made, kernel, ins, more)
        sites, taps = m * height * width, kernel * kernel * ins
        rows, depth = (sites, taps) if name == "convolve" else (taps, sites)
        variant = choose_variant(self._dtype, ins, columns, tensor and kernel > 1)
        probes, has_probes = count_probes(pairs, _sizes(name, shape, columns))
        check_counted(shape, columns, probes, variant.columns)
        across = (-(-rows // variant.rows), -(-columns // variant.columns))
        slabs = len(pairs) * -(-depth // variant.slab)
        splits = min(choose_splits(math.prod(across) * probes, slabs, self._places(variant)), BLOCKS // probes)
        gates = [NONE if g is None else self.sweeps.aligned(g) for g in (mask, on)]
        out = self._cupy.empty((splits, probes, rows, columns), self._dtype)
        arrays, steps = [], []
        for a, b in (pairs * 2)[:2]:  # a second pair that is not there is never read
            a, b = self.sweeps.plain(a), self.sweeps.plain(b)
            arrays += [a, b]
            steps += [np.int64(x.size // probes if x.ndim in (3, 5) and x.shape[0] == probes else 0) for x in (a, b)]
        sizes = [np.int32(n) for n in (len(pairs), m, height, width, ins, columns, kernel, splits)]
        function = self._modules.get(variant.names, **variant.values).get_function(name)
        given = (gates if splits == 1 else [NONE, NONE]) if name == "convolve" else []
        function((*across, probes * splits), (variant.threads,), (*arrays, out, *steps, *sizes, *given))
        whole = self.sweeps.add_parts(out, *gates) if splits > 1 else out[0]
        return whole if has_probes else whole[0]

    def _places(self, variant: Variant) -> int:
        """Blocks of a contraction that the device holds at a time."""
        room = self._modules.shared_bytes // (variant.shared_bytes + RESERVED)
        return self._modules.multiprocessors * max(1, min(variant.resident, room))

    def _with_zeros(
        self, name: str, pair: tuple[Array, Array], shape: tuple[int, ...], more: int
    ) -> tuple[Array, Array]:
        """The pair with `more` channels of zeros behind those of the images."""
        count_probes((pair,), _sizes(name, shape, pair[1].shape[-1]))
        x, second = pair
        return self._widened(x, -1, more), self._widened(second, -2, more) if name == "convolve" else second

    def _widened(self, x: Array, axis: int, more: int) -> Array:
        shape, inside = list(x.shape), [slice(None)] * x.ndim
        inside[axis] = slice(0, shape[axis])
        shape[axis] += more
        wide = self._cupy.zeros(tuple(shape), dtype=self._dtype)
        place = wide[tuple(inside)]
        if not self.sweeps.put(place, x):
            wide[tuple(inside)] = x
        return wide

    def _without(self, made: Array, kernel: int, ins: int, more: int) -> Array:
        """Gradients ([K,] rows, columns) without the rows of such channels."""
        split = made.reshape(*made.shape[:-2], kernel * kernel, ins + more, made.shape[-1])
        return self.sweeps.plain(split[..., :ins, :]).reshape(*made.shape[:-2], kernel * kernel * ins, made.shape[-1])

    def marginal_sums(self, matrices: list[Array], x: Array, temperature: float) -> Array:
        """Sums (m, blocks, 3) of µ(-1), µ(+1) and the largest |T| met, as in `gate_sums.marginal_sums`."""
        cupy = self._cupy
        widths = [w.shape[0] for w in matrices]
        prefixes, m = 1 << sum(widths[1:-1]), x.shape[0]
        flat, end = cupy.empty(sum(w.size for w in matrices), "float64"), 0
        for w in matrices:
            flat[end : end + w.size] = cupy.reshape(w, -1)
            end += w.size
        blocks = min(prefixes, max(1, BLOCKS_PER_MULTIPROCESSOR * self._modules.multiprocessors // m))
        sums = cupy.empty((m, blocks, 3), "float64")
        module = self._modules.get(("enumeration.cu",), THREADS=THREADS)
        rows = cupy.ascontiguousarray(x, dtype="float64")
        sizes = cupy.asarray(np.array(widths, dtype=np.int32))
        module.get_function("marginal_sums")(
            (blocks, m), (THREADS,),
            (rows, flat, sizes, np.int32(len(matrices) - 1), np.float64(temperature), np.int64(prefixes), sums),
        )  # fmt: skip
        return sums
