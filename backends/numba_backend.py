"""NumPy's arrays with compiled, multi-threaded kernels for images.

Dense layers stay with NumPy's matrix product. The kernels are imported at the first convolution, so that
dense networks never wait for Numba.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from . import reference
from .base import Array, Backend, BackendUnavailableError


class NumbaBackend(Backend):
    """See `backends.numba_kernels` for the method; results equal the reference to rounding."""

    @cached_property
    def _kernels(self) -> Any:
        from . import numba_kernels

        return numba_kernels

    @cached_property
    def _blas(self) -> Any:
        import scipy.linalg.cython_blas  # noqa: F401  (the library must be loaded to be found)
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas").lib_controllers

    @contextmanager
    def _one_blas_thread(self) -> Iterator[int]:
        """The kernels call BLAS from every thread, so BLAS itself must not start more; yields GEMM's address."""
        before = [(library, library.num_threads) for library in self._blas]
        try:
            for library, _ in before:
                library.set_num_threads(1)
            yield self._kernels.GEMM_ADDRESS[self.dtype]
        finally:
            for library, count in before:
                library.set_num_threads(count)

    def convolve(self, *pairs: tuple[Array, Array]) -> Array:
        pairs = tuple((np.ascontiguousarray(x), np.ascontiguousarray(w)) for x, w in pairs)
        probes = [(x.ndim == 5, w.ndim == 5) for x, w in pairs]
        if len(pairs) == 1 and probes[0] == (True, False):  # many inputs, one kernel: one long batch
            x, w = pairs[0]
            z = self.convolve((x.reshape(-1, *x.shape[2:]), w))
            return z.reshape(*x.shape[:-1], w.shape[-1])
        x, w = pairs[0]
        images = (*x.shape[-4:-1], w.shape[-1])
        if not any(any(flags) for flags in probes):
            z = np.empty(images, self.dtype)
            self._convolve(pairs, z)
            return z
        z = np.empty((_probe_count(pairs), *images), self.dtype)
        for k in range(z.shape[0]):
            self._convolve(_probe(pairs, probes, k), z[k])
        return z

    def _convolve(self, pairs: tuple[tuple[Array, Array], ...], z: Array) -> None:
        (x1, w1), (x2, w2) = pairs[0], pairs[-1]
        widest = max(x1.shape[-1] + w1.shape[-1], x2.shape[-1] + w2.shape[-1])
        block, threads = self._kernels.images_per_block(z.shape[0], *z.shape[1:3], widest, z.itemsize)
        with self._one_blas_thread() as address:
            self._kernels.convolve(address, threads, block, len(pairs) == 2, x1, w1, x2, w2, z)

    def convolve_adjoint(self, *pairs: tuple[Array, Array]) -> Array:
        return self.convolve(*((d, reference.turn(xp, w)) for d, w in pairs))

    def convolve_gradient(self, kernel: int, *pairs: tuple[Array, Array]) -> Array:
        pairs = tuple((np.ascontiguousarray(x), np.ascontiguousarray(d)) for x, d in pairs)
        probes = [(x.ndim == 5, d.ndim == 5) for x, d in pairs]
        if not any(any(flags) for flags in probes):
            return self._gradient(kernel, pairs)
        count = _probe_count(pairs)
        return np.stack([self._gradient(kernel, _probe(pairs, probes, k)) for k in range(count)])

    def _gradient(self, kernel: int, pairs: tuple[tuple[Array, Array], ...]) -> Array:
        (x1, d1), (x2, d2) = pairs[0], pairs[-1]
        ins, outs = x1.shape[-1], d1.shape[-1]
        block, threads = self._kernels.images_per_block(
            d1.shape[0], *d1.shape[1:3], ins + outs, d1.itemsize
        )
        sums = np.empty((threads, kernel, kernel, ins, outs), self.dtype)
        with self._one_blas_thread() as address:
            self._kernels.convolve_gradient(address, threads, block, len(pairs) == 2, x1, d1, x2, d2, sums)
        return sums.sum(axis=0)

    def gate(self, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if z.ndim != 4 or len(pools) > 1:  # dense layers and pools of pools: the reference is quick enough
            return super().gate(z, pools)
        s = pools[0] if pools else 1
        x = np.empty((z.shape[0], z.shape[1] // s, z.shape[2] // s, z.shape[3]), z.dtype)
        mask = np.zeros(z.shape, bool)
        self._kernels.gate(z, s, x, mask)
        return x, mask

    def apply_gates(self, mask: Array, z: Array, window: int) -> Array:
        if mask.ndim != 4:
            return super().apply_gates(mask, z, window)
        sides = (mask.shape[1] // window, mask.shape[2] // window)
        x = np.empty((*z.shape[:-3], *sides, z.shape[-1]), z.dtype)
        self._kernels.apply_gates(mask, _with_probes(z), window, _with_probes(x))
        return x

    def spread_gates(self, mask: Array, d: Array, window: int) -> Array:
        if mask.ndim != 4:
            return super().spread_gates(mask, d, window)
        z = np.empty((*d.shape[:-3], *mask.shape[-3:]), d.dtype)
        self._kernels.spread_gates(mask, _with_probes(d), window, _with_probes(z))
        return z


def _with_probes(x: Array) -> Array:
    return np.ascontiguousarray(x).reshape(-1, *x.shape[-4:])


def _probe_count(pairs: tuple[tuple[Array, Array], ...]) -> int:
    return int(next(a.shape[0] for pair in pairs for a in pair if a.ndim == 5))


def _probe(
    pairs: tuple[tuple[Array, Array], ...], probes: list[tuple[bool, bool]], k: int
) -> tuple[tuple[Array, Array], ...]:
    """The k-th probe's pairs: shared arrays as they are."""
    return tuple(
        (a[k] if has[0] else a, b[k] if has[1] else b) for (a, b), has in zip(pairs, probes, strict=True)
    )


def create(dtype: str) -> Backend:
    """The default backend; `BackendUnavailableError` where Numba is missing."""
    if importlib.util.find_spec("numba") is None:
        raise BackendUnavailableError(
            "backend 'numba' needs Numba, which is not installed: pip install numba, or use --backend numpy"
        )
    return NumbaBackend("numba", xp, dtype)
