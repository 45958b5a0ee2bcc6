"""NumPy's arrays with compiled, multi-threaded kernels for images.

Dense layers stay with NumPy's matrix product. Kernels are imported when they are first called.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import array_api_compat.numpy as xp
import numpy as np

from backends.indexed import IndexedBackend
from backends.interface import Array, Backend, BackendUnavailableError, HostArray
from backends.numba.convolution.dispatch import NumbaConvolutions, plain, with_probes

from . import threads as numba_threads
from .process import prepare_process

LARGE_BASIS = 1 << 22  # entries of a basis from which one thread waits for memory
LONG_VECTOR = 1 << 16  # numbers of a vector from which one pass of a kernel beats several of NumPy's
LARGE_PRODUCT = 2e8  # floating-point operations from which starting BLAS threads pays


class NumbaBackend(IndexedBackend, NumbaConvolutions):
    """Results equal the reference to rounding."""

    @cached_property
    def _dense(self) -> Any:
        from . import dense

        return dense

    def matmul(self, a: Array, b: Array) -> Array:
        """NumPy's product; a large one gets all of BLAS's threads back for as long as it takes."""
        operations = 2 * a.size * b.shape[-1] * (b.shape[0] if b.ndim > a.ndim else 1)
        if not self._block.inside:
            return _product(a, b)
        if operations < LARGE_PRODUCT:
            return np.matmul(a, b)
        with numba_threads.all_blas_threads():
            return _product(a, b)

    @cached_property
    def _vectors(self) -> Any:
        from . import basis

        return basis

    def inner(self, x: Array, y: Array) -> float:
        if x.size < LONG_VECTOR:
            return super().inner(x, y)
        return float(self._vectors.inner(plain(x).reshape(-1), plain(y).reshape(-1)))

    @cached_property
    def _mixing(self) -> tuple[HostArray, HostArray]:
        return cast(tuple[HostArray, HostArray], self._vectors.mixing())

    def _halved(self, k: int, n: int) -> bool:
        """Whether a basis is kept in half precision: single, and so large that its memory counts."""
        return self.dtype == "float32" and k * n >= LARGE_BASIS

    def basis_bytes(self, k: int, n: int) -> int:
        columns: int = self._vectors.COLUMNS
        return 2 * k * columns * -(-n // columns) if self._halved(k, n) else super().basis_bytes(k, n)

    def basis(self, k: int, n: int) -> Array:
        """A large one of single precision in half precision, mixed: see `backends.numba.basis`."""
        if not self._halved(k, n):
            return super().basis(k, n)
        columns = self._vectors.COLUMNS
        return self.zeros((k, columns * -(-n // columns)), "uint16")

    def basis_overlap(self, k: int, n: int) -> float:
        overlap: float = self._vectors.OVERLAP
        return overlap if self._halved(k, n) else 0.0

    def keep(self, basis: Array, row: int, w: Array, norm: float, unit: Array) -> None:
        if basis.dtype == np.uint16:
            scale = self._vectors.half_unit(w.size)
            with self._working():
                self._vectors.keep_half(plain(w), w.dtype.type(norm), scale, *self._mixing, basis[row], unit)
        else:
            np.divide(w, norm, out=unit)
            basis[row] = unit

    def orthogonalise(self, basis: Array, w: Array, overlaps: Array, part: Array) -> Array:
        if basis.dtype == np.uint16:
            with self._working():
                self._vectors.orthogonalise_half(basis, self._vectors.half_unit(w.size), self._mixing[0], w)
            return w
        if basis.size >= LARGE_BASIS or w.size >= LONG_VECTOR:
            with self._working():
                self._vectors.orthogonalise(basis, w)
            return w
        with np.errstate(invalid="ignore"):  # as in `_product`
            np.matmul(basis, w, out=overlaps[: len(basis)])
            np.matmul(overlaps[: len(basis)], basis, out=part)
        w -= part
        return w

    @cached_property
    def _perceptron(self) -> Any:
        from . import perceptron

        return perceptron

    def perceptron_gradient(
        self, weights: Sequence[Array], x: Array, y: Array, loss: str
    ) -> tuple[list[Array], Array, Array, Array] | None:
        kernel = self._perceptron
        small = all(w.ndim == 2 and 2 * w.size * len(x) < LARGE_PRODUCT for w in weights)
        if loss not in kernel.LOSSES or x.ndim != 2 or not small:
            return None
        flat = np.concatenate([w.reshape(-1) for w in weights])
        made, sizes = np.empty_like(flat), np.array([len(weights[0]), *(w.shape[1] for w in weights)])
        total, correct, active = kernel.gradient(
            plain(x), plain(y), flat, sizes, kernel.LOSSES[loss], self.worth_leaving_out, made
        )
        parts, first = [], 0
        for w in weights:
            parts.append(made[first : first + w.size].reshape(w.shape))
            first += w.size
        return parts, np.asarray(total), np.asarray(correct), np.asarray(active)

    def log_marginals(self, matrices: Sequence[Array], x: Array, temperature: float) -> Array | None:
        from . import gate_sums

        return gate_sums.log_marginals(list(matrices), x, temperature)

    @cached_property
    def _ensembles(self) -> Any:
        from . import sign_sums

        return sign_sums

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

    def gate(self, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if z.ndim == 2 and not pools:
            flat, mask = np.empty(z.shape, z.dtype), np.empty(z.shape, bool)
            self._dense.gate(plain(z), flat, mask)
            return flat, mask
        if z.ndim != 4 or len(pools) > 1:  # pools of pools: the reference is quick enough
            return super().gate(z, pools)
        s = pools[0] if pools else 1
        x = np.empty((z.shape[0], z.shape[1] // s, z.shape[2] // s, z.shape[3]), z.dtype)
        mask = np.zeros(z.shape, bool)
        self._gates.gate(plain(z), s, x, mask)
        return x, mask

    def apply_gates(self, mask: Array, z: Array, window: int) -> Array:
        if mask.ndim != 4:
            return self._masked(mask, z)
        sides = (mask.shape[1] // window, mask.shape[2] // window)
        x = np.empty((*z.shape[:-3], *sides, z.shape[-1]), z.dtype)
        self._gates.apply_gates(plain(mask), with_probes(z), window, with_probes(x))
        return x

    def spread_gates(self, mask: Array, d: Array, window: int) -> Array:
        if mask.ndim != 4:
            return self._masked(mask, d)
        z = np.empty((*d.shape[:-3], *mask.shape[-3:]), d.dtype)
        self._gates.spread_gates(plain(mask), with_probes(d), window, with_probes(z))
        return z

    def _masked(self, mask: Array, z: Array) -> Array:
        """D z of a dense layer, probes or none."""
        x = np.empty(z.shape, z.dtype)
        self._dense.apply_gates(plain(mask), plain(z), x)
        return x

    def descend(self, w: Array, v: Array, g: Array, momentum: float, scale: float, rate: float) -> tuple[Array, Array]:
        new_w, new_v = np.empty_like(w), np.empty_like(w)
        kernel = self._dense.descend if w.size < LONG_VECTOR else self._dense.descend_together
        kernel(plain(w), plain(v), plain(g), momentum, scale, rate, new_w, new_v)
        return new_w, new_v


def _product(a: Array, b: Array) -> Array:
    """a @ b. Vector kernels of BLAS may raise the invalid flag for lanes beyond a matrix whose product is finite."""
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)


def create(dtype: str) -> Backend:
    """The default backend; `BackendUnavailableError` where Numba is missing."""
    if importlib.util.find_spec("numba") is None:
        raise BackendUnavailableError(
            "backend 'numba' needs Numba, which is not installed: pip install numba, or use --backend numpy"
        )
    prepare_process()
    numba_threads.watch_forks()
    return NumbaBackend("numba", xp, dtype)
