"""NumPy's arrays with compiled, multi-threaded kernels for images.

Dense layers stay with NumPy's matrix product. The kernels are imported at the first convolution, so that
dense networks never wait for Numba.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import platform
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, cached_property, partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from .base import Array, Backend, BackendUnavailableError, HostArray

KEPT_BYTES = 1 << 30
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of malloc.h
LARGE_BASIS = 1 << 22  # entries of a basis from which one thread waits for memory
HUGE = 1 << 26  # bytes of an array that huge pages are asked for
LARGE_PRODUCT = 2e8  # floating-point operations from which starting BLAS threads pays


_Pairs = tuple[tuple[Array, Array] | None, tuple[Array, Array] | None]


class NumbaBackend(Backend):
    """See `backends.numba_kernels` for the method; results equal the reference to rounding."""

    convolution_outputs = 2
    _threads: list[int] | None = None  # BLAS threads outside `computing`, None when not inside
    _packed: dict[Any, tuple[Array | None, Array]] | None = None  # kernels seen inside `computing`, and their panels

    @cached_property
    def _constants(self) -> dict[int, dict[Any, tuple[Array | None, Array]]]:
        """The same of every `constant` alive, by its identity."""
        return {}

    @cached_property
    def _kernels(self) -> Any:
        from . import numba_kernels

        return numba_kernels

    @cached_property
    def _gates(self) -> Any:
        from . import numba_gates

        return numba_gates

    @cached_property
    def _winograd(self) -> Any:
        from . import numba_winograd

        return numba_winograd

    @cached_property
    def _blas(self) -> Any:
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas").lib_controllers

    @contextmanager
    def computing(self) -> Iterator[None]:
        """One BLAS thread inside: those that wait for work do not sleep at once, and two pools would fight.

        Panels of kernels are kept until the innermost such block ends: a kernel must not change in place inside it.
        """
        threads, packed = self._threads, self._packed
        if threads is None:
            self._threads = [library.num_threads for library in self._blas]
            self._set_threads([1] * len(self._threads))
        self._packed = {}
        try:
            yield
        finally:
            before, self._threads, self._packed = self._threads, threads, packed
            if threads is None:
                self._set_threads(before or [])

    def _set_threads(self, counts: list[int]) -> None:
        for library, count in zip(self._blas, counts, strict=True):
            library.set_num_threads(count)

    def constant(self, x: Array) -> Array:
        """A copy that cannot be written to: panels of kernels are kept with it."""
        made = np.array(x)
        made.flags.writeable = False
        self._constants[id(made)] = {}
        weakref.finalize(made, self._constants.pop, id(made))
        return made

    def _panels(self, w: Array, turned: bool, tile: int) -> Array:
        """The panels of a kernel, made once inside `computing`: one product meets the same kernels in every batch.

        The kernel is kept along with them, so that no other array can take its place in memory. Those of a `constant`
        outlive the block.
        """
        constant = self._constants.get(id(w))
        kept = constant if constant is not None else self._packed if self._packed is not None else {}
        key = (turned, tile, w.__array_interface__["data"][0], w.shape, w.strides)
        if key not in kept:
            make = partial(self._winograd.panels, tile=tile) if tile else self._kernels.pack
            kept[key] = (None if kept is constant else w, make(_plain(w), turned))
        return kept[key][1]

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """A large array lies on huge pages where the system has them: the first touch of small ones costs more."""
        count = int(np.prod(shape)) * np.dtype(self.dtype).itemsize
        if count < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
            return super().zeros(shape)
        pages = mmap.mmap(-1, count)
        with suppress(OSError):  # a system without them
            pages.madvise(mmap.MADV_HUGEPAGE)
        return np.frombuffer(pages, self.dtype).reshape(shape)

    def matmul(self, a: Array, b: Array) -> Array:
        """NumPy's product; a large one gets all of BLAS's threads back for as long as it takes."""
        operations = 2 * a.size * b.shape[-1] * (b.shape[0] if b.ndim > a.ndim else 1)
        if self._threads is None or operations < LARGE_PRODUCT:
            return _product(a, b)
        self._set_threads(self._threads)
        try:
            return _product(a, b)
        finally:
            self._set_threads([1] * len(self._threads))

    def orthogonalise(self, basis: Array, w: Array, overlaps: Array, part: Array) -> Array:
        if basis.size >= LARGE_BASIS:
            from . import numba_vectors

            with self.computing():
                numba_vectors.orthogonalise(basis, w)
            return w
        with np.errstate(invalid="ignore"):  # as in `_product`
            np.matmul(basis, w, out=overlaps[: len(basis)])
            np.matmul(overlaps[: len(basis)], basis, out=part)
        w -= part
        return w

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        total[..., rows[:, None], rows] += block
        return total

    def log_marginals(self, matrices: Sequence[Array], x: Array, temperature: float) -> Array | None:
        from . import numba_enumeration

        return numba_enumeration.log_marginals(list(matrices), x, temperature)

    @cached_property
    def _ensembles(self) -> Any:
        from . import numba_ensembles

        return numba_ensembles

    def enumerate_signs(
        self, matrices: Sequence[Array], x: Array, bits: HostArray
    ) -> tuple[HostArray, HostArray, HostArray] | None:
        if self.dtype != "float64":  # gates at exact ties depend on the precision
            return None
        found: tuple[HostArray, HostArray, HostArray] = self._ensembles.enumerate_signs(list(matrices), x, bits)
        return found

    def count_circuits(self, gates: HostArray, masks: HostArray, parities: HostArray) -> HostArray:
        counts: HostArray = self._ensembles.count_circuits(gates, masks, parities)
        return counts

    def count_changes(self, gates: HostArray, masks: HostArray, above: HostArray, flips: HostArray) -> HostArray:
        counts: HostArray = self._ensembles.count_changes(gates, masks, above, flips)
        return counts

    def convolve(self, *pairs: tuple[Array, Array]) -> Array:
        prepared = _one_pass(pairs)
        return super().convolve(*pairs) if prepared is None else self._convolve(*prepared, turned=False)

    def convolve_and_gate(self, x: Array, w: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if x.ndim != 4 or len(pools) > 1:
            return super().convolve_and_gate(x, w, pools)
        s, (m, height, width, _) = pools[0] if pools else 1, x.shape
        mask = (np.zeros if height % s or width % s else np.empty)((m, height, width, w.shape[-1]), bool)
        made = np.empty((1, m, height // s, width // s, w.shape[-1]), self.dtype)
        self._convolve(((x[None], w), None), (), False, (self._gates.GATE, s, mask, made))
        return made[0], mask

    def convolve_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        prepared = _one_pass(pairs)
        if prepared is None or mask.ndim != 4:
            return super().convolve_gated(mask, window, *pairs)
        sides = (mask.shape[1] // window, mask.shape[2] // window)
        return self._finished(self._gates.APPLY, mask, window, sides, *prepared)

    def convolve_adjoint_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        prepared = _one_pass(pairs)
        if prepared is None or mask.ndim != 4:
            return super().convolve_adjoint_gated(mask, window, *pairs)
        return self._finished(self._gates.SPREAD, mask, window, mask.shape[1:3], *prepared)

    def _finished(
        self, after: int, mask: Array, window: int, sides: tuple[int, ...], pairs: _Pairs, lead: tuple[int, ...]
    ) -> Array:
        probes = lead[0] if lead else 1
        made = np.empty((probes, mask.shape[0], *sides, mask.shape[-1]), self.dtype)
        self._convolve(pairs, lead, after == self._gates.SPREAD, (after, window, mask, made))
        return made.reshape(*lead, *made.shape[1:])

    def _convolve(
        self,
        pairs: _Pairs,
        lead: tuple[int, ...],
        turned: bool,
        after: tuple[int, int, Array, Array] | None = None,
    ) -> Array:
        """z (*lead, m, H, W, B) of the pairs; with (what, window, mask, x) `after` it, x is filled instead.

        pairs  (x (P, m, H, W, A), w) or None, then (shared (m, H, W, A), v (P, k, k, A, B)) or None; z is the adjoint's
               where kernels are to be `turned`
        """
        own, shared = pairs
        given = own if own is not None else shared
        assert given is not None
        x, kernel = given
        probes = x.shape[0] if own is not None else kernel.shape[0]
        m, *sides, ins = x.shape[-4:]
        side, outs = kernel.shape[-3], kernel.shape[-2 if turned else -1]
        none = np.empty((0, m, *sides, ins), self.dtype)
        nothing = (self._gates.NOTHING, 1, np.empty((0, 0, 0, 0), bool), np.empty((probes, 0, 0, 0, 0), self.dtype))
        z = np.empty((probes, *((m, *sides) if after is None else (0, 0, 0)), outs), self.dtype)
        tile, chosen, settings = self._method(side, (m, *sides), ins, outs, self._winograd.PANEL_TILES)
        no_panels = np.empty((0,) * (3 if tile else 2), self.dtype)
        packed_w = no_panels if own is None else self._panels(own[1], turned, tile)
        packed_v = no_panels[None] if shared is None else self._panels(shared[1], turned, tile)
        with self.computing():
            chosen.convolve(
                *settings, none if own is None else _plain(own[0]), packed_w,
                none[:, 0] if shared is None else _plain(shared[0]), packed_v, z,
                *(nothing if after is None else after),
            )  # fmt: skip
        return z.reshape(*lead, *z.shape[1:])

    def _method(
        self, kernel: int, images: tuple[int, int, int], ins: int, outs: int, more: int
    ) -> tuple[int, Any, tuple[int, ...]]:
        """(side of a tile, 0 for direct sums; the module that has the kernels; their first four arguments)."""
        tile = self._winograd.tile_side(kernel, images, ins, outs, self.dtype, more)
        channels, item = 2 * ins + outs, np.dtype(self.dtype).itemsize
        lanes = self._kernels.LANES[self.dtype]
        if tile:
            block, threads = self._winograd.images_per_block(*images, channels, item, tile)
            return tile, self._winograd, (threads, block, lanes, tile)
        block, threads = self._kernels.images_per_block(*images, channels, item)
        return tile, self._kernels, (threads, block, lanes, kernel)

    def convolve_adjoint(self, *pairs: tuple[Array, Array]) -> Array:
        prepared = _one_pass(pairs)
        return super().convolve_adjoint(*pairs) if prepared is None else self._convolve(*prepared, turned=True)

    def convolve_gradient(self, kernel: int, *pairs: tuple[Array, Array]) -> Array:
        many_x = [(x, d) for x, d in pairs if x.ndim == 5 and d.ndim == 4]
        many_d = [(x, d) for x, d in pairs if x.ndim == 4]
        if len(many_x) > 1 or len(many_d) > 1 or len(many_x) + len(many_d) < len(pairs):
            return super().convolve_gradient(kernel, *pairs)
        if many_x and many_d and many_d[0][1].ndim == 4:
            return super().convolve_gradient(kernel, *pairs)
        return self._gradient(kernel, many_x, many_d)

    def _gradient(self, kernel: int, many_x: list[tuple[Array, Array]], many_d: list[tuple[Array, Array]]) -> Array:
        """Σ_i x_i δ_i^T where x (P, ...) meets a shared δ, and where a shared x meets δ ([P,] ...)."""
        x, shared_d = many_x[0] if many_x else (None, None)
        shared_x, d = many_d[0] if many_d else (None, None)
        some_x, some_d = (shared_x if x is None else x), (shared_d if d is None else d)
        assert some_x is not None
        assert some_d is not None
        ins, (m, *sides, outs) = some_x.shape[-1], some_d.shape[-4:]
        probes = some_x.shape[0] if x is not None else some_d.shape[0] if some_d.ndim == 5 else 1
        tile, chosen, settings = self._method(kernel, (m, *sides), ins, outs, self._winograd.SUM_TILES)
        planes = ((tile + 2) ** 2,) if tile else (kernel, kernel)
        sums = np.empty((settings[0], probes, *planes, ins, outs), self.dtype)
        none_x, none_d = np.empty((0, m, *sides, ins), self.dtype), np.empty((0, m, *sides, outs), self.dtype)
        with self.computing():
            chosen.convolve_gradient(
                *settings,
                none_x if x is None else _plain(x),
                none_d[:, 0] if shared_d is None else _plain(shared_d),
                none_x[:, 0] if shared_x is None else _plain(shared_x),
                none_d if d is None else _with_probes(d), sums,
            )  # fmt: skip
        total = self._winograd.kernel_gradient(sums, tile) if tile else sums.sum(axis=0)
        return total if some_x.ndim == 5 or some_d.ndim == 5 else _plain(total[0])

    def gate(self, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if z.ndim == 2 and not pools:
            mask = z > 0
            return _masked(mask, z), mask
        if z.ndim != 4 or len(pools) > 1:  # pools of pools: the reference is quick enough
            return super().gate(z, pools)
        s = pools[0] if pools else 1
        x = np.empty((z.shape[0], z.shape[1] // s, z.shape[2] // s, z.shape[3]), z.dtype)
        mask = np.zeros(z.shape, bool)
        self._gates.gate(z, s, x, mask)
        return x, mask

    def apply_gates(self, mask: Array, z: Array, window: int) -> Array:
        if mask.ndim != 4:
            return _masked(mask, z)
        sides = (mask.shape[1] // window, mask.shape[2] // window)
        x = np.empty((*z.shape[:-3], *sides, z.shape[-1]), z.dtype)
        self._gates.apply_gates(mask, _with_probes(z), window, _with_probes(x))
        return x

    def spread_gates(self, mask: Array, d: Array, window: int) -> Array:
        if mask.ndim != 4:
            return _masked(mask, d)
        z = np.empty((*d.shape[:-3], *mask.shape[-3:]), d.dtype)
        self._gates.spread_gates(mask, _with_probes(d), window, _with_probes(z))
        return z


def _masked(mask: Array, z: Array) -> Array:
    """z where the mask is on, and +0 elsewhere whatever stands there: bits, five times as quick as a choice."""
    bits = {4: np.int32, 8: np.int64}[z.itemsize]
    kept = np.negative(np.require(mask, requirements="C").view(np.int8)).astype(bits)
    return np.bitwise_and(z.view(bits), kept).view(z.dtype)


def _one_pass(pairs: Sequence[tuple[Array, Array]]) -> tuple[_Pairs, tuple[int, ...]] | None:
    """The pairs as one pass of the kernel takes them, and the leading axes of the result; None where it takes several.

    One pass has at most one kernel that all probes share, which meets inputs with a probe axis or none, and one input
    that they share, which meets a kernel for each.
    """
    own = [(x, w) for x, w in pairs if w.ndim == 4]
    shared = [(x, w) for x, w in pairs if x.ndim == 4 and w.ndim == 5]
    if len(own) > 1 or len(shared) > 1 or len(own) + len(shared) < len(pairs):
        return None
    several = (shared[0][1].shape[0],) if shared else own[0][0].shape[:-4]
    if not own:
        return (None, shared[0]), several
    x, w = own[0]
    if x.ndim == 4:
        x = np.broadcast_to(x, ((several or (1,))[0], *x.shape)) if several else x[None]
    return ((x, w), shared[0] if shared else None), several


def _product(a: Array, b: Array) -> Array:
    """a @ b. Vector kernels of BLAS may raise the invalid flag for lanes beyond a matrix whose product is finite."""
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


def _plain(x: Array) -> Array:
    """C-ordered and writable, so that one compiled version serves every layout."""
    return np.require(x, requirements=["C", "W"])


def _with_probes(x: Array) -> Array:
    return _plain(x).reshape(-1, *x.shape[-4:])


@cache
def _keep_freed_memory() -> None:
    """Let glibc reuse freed arrays instead of returning them: fresh pages cost a fifth of a training step.

    Up to `KEPT_BYTES` stay with the process. Other C libraries are left as they are.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None) if platform.libc_ver()[0] == "glibc" else None
    if setting is not None:
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            setting(parameter, KEPT_BYTES)


def create(dtype: str) -> Backend:
    """The default backend; `BackendUnavailableError` where Numba is missing."""
    if importlib.util.find_spec("numba") is None:
        raise BackendUnavailableError(
            "backend 'numba' needs Numba, which is not installed: pip install numba, or use --backend numpy"
        )
    # Idle OpenMP threads spin by default: on cores shared with anything else that costs a factor of ten and more.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _keep_freed_memory()
    return NumbaBackend("numba", xp, dtype)
