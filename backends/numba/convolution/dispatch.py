"""Convolutions of NumPy's arrays by compiled kernels on all threads, and what these keep between calls."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np

from backends.interface import Array, Backend
from backends.numba import threads as numba_threads

_Pairs = tuple[tuple[Array, Array] | None, tuple[Array, Array] | None]
_After = tuple[int, int, Array, Array]


class _Block(threading.local):
    """The block of `computing` that a thread is in."""

    inside = False
    packed: dict[Any, tuple[Array | None, Array]] | None = None  # kernels seen in it, and their panels


class NumbaConvolutions(Backend):
    """The part of `NumbaBackend` that is about images: direct sums (`direct`), or Winograd's tiles (`winograd`)."""

    convolution_outputs = 2

    def __init__(self, name: str, xp: Any, dtype: str, device: Any = None) -> None:
        super().__init__(name, xp, dtype, device)
        self._block = _Block()

    @cached_property
    def _constants(self) -> dict[int, dict[Any, tuple[Array | None, Array]]]:
        """The same of every `constant` alive, by its identity."""
        return {}

    @cached_property
    def _kernels(self) -> Any:
        from . import direct

        return direct

    @cached_property
    def _gates(self) -> Any:
        from backends.numba.gates import gates

        return gates

    @cached_property
    def _winograd(self) -> Any:
        from . import winograd

        return winograd

    @cached_property
    def _direct(self) -> Any:
        from . import ties

        return ties

    @contextmanager
    def computing(self, reuse: bool = True) -> Iterator[None]:
        """One BLAS thread inside: those that wait for work do not sleep at once, and two pools would fight.

        Panels of kernels are kept until the innermost such block ends if they are of use again: a kernel must not
        change in place inside it.
        """
        block = self._block
        first, packed = not block.inside, block.packed
        block.inside, block.packed = True, {} if reuse else None
        try:
            if first:
                # The flag as in `_product`, once for all of them.
                with numba_threads.one_blas_thread(), np.errstate(invalid="ignore"):
                    yield
            else:
                yield
        finally:
            block.inside, block.packed = not first, packed

    def _working(self) -> AbstractContextManager[None]:
        """`computing`, but for a call inside it, where there is nothing left to do."""
        return nullcontext() if self._block.inside else self.computing()

    def constant(self, x: Array) -> Array:
        """A copy that cannot be written to: panels of kernels are kept with it."""
        made = np.array(x)
        made.flags.writeable = False
        self._constants[id(made)] = {}
        weakref.finalize(made, self._constants.pop, id(made))
        return made

    def _panels(self, w: Array, turned: bool, tile: int) -> Array:
        """The panels of a kernel, for direct sums (tile 0) or for tiles."""
        make = partial(self._winograd.panels, tile=tile) if tile else self._kernels.pack
        return self._kept(w, (turned, tile), lambda: make(plain(w), turned))

    def _plain_kernel(self, w: Array) -> Array:
        return w if w.flags.carray else self._kept(w, ("plain",), lambda: plain(w))

    def _errors(self, w: Array) -> Array:
        """The largest error of a tile over ||x||, for every output of the kernel w: see `ties`."""
        direct = self._direct
        largest = np.dtype(self.dtype).type(direct.largest_error(self.dtype, w.shape[-2]))
        return self._kept(w, ("errors",), lambda: largest * direct.column_norms(self._plain_kernel(w)))

    def _kept(self, w: Array, use: tuple[Any, ...], make: Callable[[], Array]) -> Array:
        """What is made of a kernel, once inside a block of `computing` where it is of use again.

        The kernel is kept along with it, so that no other array can take its place in memory. What is made of a
        `constant` outlives the block.
        """
        constant = self._constants.get(id(w))
        kept = self._block.packed if constant is None else constant
        if kept is None:
            return make()
        key = (*use, w.__array_interface__["data"][0], w.shape, w.strides)
        if key not in kept:
            kept[key] = (None if kept is constant else w, make())
        return kept[key][1]

    def convolve(self, *pairs: tuple[Array, Array]) -> Array:
        prepared = _one_pass(pairs)
        if prepared is None:
            return super().convolve(*pairs)
        (_, shared), lead = prepared
        return self._convolve(*prepared, turned=False, window=0 if lead or shared is not None else 1)

    def convolve_and_gate(self, x: Array, w: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if x.ndim != 4:
            return super().convolve_and_gate(x, w, pools)
        if len(pools) > 1:
            return self.gate(self._convolve(((x[None], w), None), (), False, window=math.prod(pools)), pools)
        s, (m, height, width, _) = pools[0] if pools else 1, x.shape
        mask = (np.zeros if height % s or width % s else np.empty)((m, height, width, w.shape[-1]), bool)
        made = np.empty((1, m, height // s, width // s, w.shape[-1]), self.dtype)
        self._convolve(((x[None], w), None), (), False, (self._gates.GATE, s, mask, made), s)
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
        after: _After | None = None,
        window: int = 0,
    ) -> Array:
        """z (*lead, m, H, W, B) of the pairs; with (what, window, mask, x) `after` it, x is filled instead.

        pairs   (x (P, m, H, W, A), w) or None, then (shared (m, H, W, A), v (P, k, k, A, B)) or None; z is the
                adjoint's where kernels are to be `turned`
        window  the side of the windows in which z decides something, 1 for a gate, more for a max-pool; 0 if nowhere
        """
        own, shared = pairs
        given = own if own is not None else shared
        assert given is not None
        x, kernel = given
        outs = kernel.shape[-2 if turned else -1]
        tile = self._tile(kernel.shape[-3], (self._winograd.BATCH, *x.shape[-3:-1]), x.shape[-1], outs, 1, 0)
        if not tile or own is None or shared is not None or lead:
            return self._by(tile, pairs, lead, turned, after, window)
        x, pairs = plain(x), ((plain(x), kernel), None)
        exact = self._direct.exact_images(x[0], self._plain_kernel(kernel), self._direct.DIGITS[self.dtype])
        if exact.all() or not exact.any():
            return self._by(0 if exact.all() else tile, pairs, lead, turned, after, window)
        z = np.empty((*(x.shape[1:-1] if after is None else (0, 0, 0)), outs), self.dtype)
        for rows, side in ((np.flatnonzero(exact), 0), (np.flatnonzero(~exact), tile)):
            part = None if after is None else (*after[:2], after[2][rows], after[3][:, rows])
            made = self._by(side, ((x[:, rows], kernel), None), lead, turned, part, window)
            if after is None or part is None:
                z[rows] = made
            else:
                after[2][rows], after[3][:, rows] = part[2:]
        return z

    def _by(
        self, tile: int, pairs: _Pairs, lead: tuple[int, ...], turned: bool, after: _After | None, window: int
    ) -> Array:
        """`_convolve` by tiles of a given side, or by direct sums where it is 0."""
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
        chosen, settings = self._method(tile, side, (m, *sides), ins, outs)
        no_panels = np.empty((0,) * (3 if tile else 2), self.dtype)
        packed_w = no_panels if own is None else self._panels(own[1], turned, tile)
        packed_v = no_panels[None] if shared is None else self._panels(shared[1], turned, tile)
        more: tuple[Any, ...] = ()
        if tile:
            no_kernel = np.empty((0, 0, 0, 0), self.dtype)
            kernels = (
                no_kernel if own is None else self._plain_kernel(own[1]),
                no_kernel[None] if shared is None else plain(shared[1]),
            )
            errors = self._errors(own[1]) if window and own is not None else np.empty(0, self.dtype)
            more = (*kernels, turned, window, errors)
        with self._working():
            chosen.convolve(
                *settings, none if own is None else plain(own[0]), packed_w,
                none[:, 0] if shared is None else plain(shared[0]), packed_v, z,
                *(nothing if after is None else after), *more,
            )  # fmt: skip
        return z.reshape(*lead, *z.shape[1:])

    def _tile(self, kernel: int, images: tuple[int, ...], ins: int, outs: int, threads: int, more: int) -> int:
        """The side of the tiles of a convolution, 0 for direct sums: see `winograd.tile_side`."""
        from backends.numba.tiles import LANES

        side: int = self._winograd.tile_side(kernel, images, ins, outs, LANES[self.dtype], threads, more)
        return side

    def _method(
        self, tile: int, kernel: int, images: tuple[int, int, int], ins: int, outs: int
    ) -> tuple[Any, tuple[int, ...]]:
        """(the module that has the kernels, their first four arguments) for tiles of a side, 0 for direct sums."""
        from backends.numba.tiles import LANES

        threads = numba_threads.thread_count()
        chosen, side = (self._winograd, tile) if tile else (self._kernels, kernel)
        block = chosen.images_per_block(*images, (2 * ins + outs) * self._item, side, threads)
        return chosen, (threads, block, LANES[self.dtype], side)

    @cached_property
    def _item(self) -> int:
        return np.dtype(self.dtype).itemsize

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
        threads = numba_threads.thread_count()
        tile = self._tile(kernel, (m, *sides), ins, outs, threads, self._winograd.SUM_TILES)
        chosen, settings = self._method(tile, kernel, (m, *sides), ins, outs)
        planes = ((tile + 2) ** 2,) if tile else (kernel, kernel)
        sums = np.empty((settings[0], probes, *planes, ins, outs), self.dtype)
        none_x, none_d = np.empty((0, m, *sides, ins), self.dtype), np.empty((0, m, *sides, outs), self.dtype)
        with self._working():
            chosen.convolve_gradient(
                *settings,
                none_x if x is None else plain(x),
                none_d[:, 0] if shared_d is None else plain(shared_d),
                none_x[:, 0] if shared_x is None else plain(shared_x),
                none_d if d is None else with_probes(d), sums,
            )  # fmt: skip
        total = self._winograd.kernel_gradient(sums, tile) if tile else sums.sum(axis=0)
        return total if some_x.ndim == 5 or some_d.ndim == 5 else plain(total[0])


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


def plain(x: Array) -> Array:
    """C-ordered and writable, so that one compiled version serves every layout."""
    return x if x.flags.carray else np.require(x, requirements=["C", "W"])


def with_probes(x: Array) -> Array:
    return plain(x).reshape(-1, *x.shape[-4:])
