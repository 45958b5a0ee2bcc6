"""The one interface between the mathematics and an array library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import reference

Array = Any
HostArray = np.ndarray[Any, Any]
Step = Callable[[list[Array], list[Array]], list[Array]]  # (state, inputs) -> the next state


KEPT_BYTES = 1 << 30
GROUP_BYTES = 1 << 27


class BackendUnavailableError(RuntimeError):
    """A known backend that cannot run on this machine; the message says what is missing and what to use."""


class Backend:
    """An array namespace with a floating dtype, a device, and the kernels of a layer.

    The methods below are the reference (`backends.reference`); a specialised backend overrides the ones that
    a profile shows to matter, with the same signature and the same meaning.

    Attributes: ``name``; ``xp``, the array-API namespace; ``dtype``, "float64" or "float32"; ``tf32``, whether
    convolutions with frozen gates multiply in TF32 (10 bits of mantissa); ``asynchronous``, whether work is queued, so
    that reading a number on the host waits for all of it; ``concurrent``, whether calls from several threads run side
    by side; ``batch_size``, the examples in flight that suit the device;
    ``convolution_outputs``, how many arrays of a convolution's output it holds while making one (for estimates);
    ``worth_leaving_out``, the active share of a batch beyond which leaving the others out costs more than it saves.
    """

    tf32 = False
    asynchronous = False
    concurrent = True
    batch_size = 128
    convolution_outputs = 10  # 3×3 terms of the reference, and their sum
    worth_leaving_out = 7 / 8  # signals would be copied

    def __init__(self, name: str, xp: Any, dtype: str, device: Any = None) -> None:
        if dtype not in ("float64", "float32"):
            raise ValueError(f"dtype {dtype!r} is not supported: use 'float64' or 'float32'")
        self.name = name
        self.xp = xp
        self.dtype = dtype
        self._device = device

    def __repr__(self) -> str:
        return f"<Backend {self.name} {self.dtype}>"

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """Host array -> device array of this backend's dtype (or the named one)."""
        return self.xp.asarray(x, dtype=getattr(self.xp, dtype or self.dtype), device=self._device)

    def to_numpy(self, x: Array) -> HostArray:
        """Device array -> host array."""
        return np.asarray(x)

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it (before reading a clock)."""

    @property
    def kept_bytes(self) -> int:
        """Bytes that frozen signals, and likewise Lanczos bases, may hold between products."""
        return KEPT_BYTES

    @property
    def group_bytes(self) -> int:
        """Bytes of Lanczos bases and tangents within which probes share products, up to a tenth quicker."""
        return GROUP_BYTES

    def free_bytes(self) -> int | None:
        """Bytes of memory that arrays could still take; None where no device counts them."""
        return None

    def replay(self, step: Step) -> Step:
        """A pure step on arrays, to be called often: the same one, or one that is quicker and as right.

        The state returned may be written over by the next call.
        """
        return step

    def zeros(self, shape: tuple[int, ...], dtype: str | None = None) -> Array:
        """A device array of zeros of this backend's dtype (or the named one)."""
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype or self.dtype), device=self._device)

    def inner(self, x: Array, y: Array) -> float:
        """Inner product of two arrays of one shape, multiplied and accumulated in float64."""
        return float(self.xp.sum(self.xp.astype(x, self.xp.float64, copy=False) * y))

    def all_finite(self, x: Array) -> bool:
        """Whether no number of an array is infinite or NaN."""
        return bool(self.xp.all(self.xp.isfinite(x)))

    def constant(self, x: Array) -> Array:
        """x, or a copy, that will not change: what kernels make of it may be kept for as long as it lives."""
        return x

    @contextmanager
    def computing(self, reuse: bool = True) -> Iterator[None]:
        """Around a run of kernels: a place to set up threads or streams once; may be nested.

        `reuse`: whether weights meet several batches inside, so that what is made of them is worth its memory.
        """
        yield

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product, broadcasting over leading axes."""
        return self.xp.matmul(a, b)

    def basis_bytes(self, k: int, n: int) -> int:
        """Bytes that `basis` takes."""
        return int(k * n * np.dtype(self.dtype).itemsize)

    def basis(self, k: int, n: int) -> Array:
        """Room for k unit vectors of length n to be orthogonal to, the rows of an array; `keep` fills it."""
        return self.zeros((k, n))

    def basis_overlap(self, k: int, n: int) -> float:
        """About what overlaps a vector orthogonalised against a `basis` keeps, beyond rounding of its own precision."""
        return 0.0

    def keep(self, basis: Array, row: int, w: Array, norm: float, unit: Array) -> None:
        """w (n,) / norm into `unit` (n,), and as a row of a `basis`, there perhaps in a form that takes less memory."""
        unit[:] = w / norm
        basis[row, :] = unit

    def orthogonalise(self, basis: Array, w: Array, overlaps: Array, part: Array) -> Array:
        """w (n,) less its part along the rows of a `basis`, or of unit vectors as they are: `reference.orthogonalise`.

        May be in place, with the work arrays `overlaps`, of k numbers or more, and `part` (n,).
        """
        return reference.orthogonalise(self.xp, basis, w)

    def block(self, matrix: Array, rows: Array) -> Array:
        """The rows and columns `rows` of matrices: see `reference.block`."""
        return reference.block(self.xp, matrix, rows)

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        """total plus block in the rows and columns `rows`; may be in place: see `reference.add_block`."""
        return reference.add_block(self.xp, total, rows, block)

    def real_times(self, real: Array, matrix: Array) -> Array:
        """Real @ complex without promoting the real factor: see `reference.real_times`."""
        return reference.real_times(self.xp, real, matrix)

    def descend(self, w: Array, v: Array, g: Array, momentum: float, scale: float, rate: float) -> tuple[Array, Array]:
        """One step of gradient descent, (w - rate v', v') with v' = momentum v + scale g."""
        v = momentum * v + scale * g
        return w - rate * v, v

    def perceptron_gradient(
        self, weights: Sequence[Array], x: Array, y: Array, loss: str
    ) -> tuple[list[Array], Array, Array, Array] | None:
        """(∇ Σ ℓ per layer, Σ ℓ, correct, active) of a batch: see `simulator.passes.risk.batch_gradient`, or None."""
        return None

    def margins(self, t: Array, y: Array, loss: str) -> tuple[Array, Array, Array, Array] | None:
        """(y ℓ'(u) (m,), Σ ℓ, correct, active) at the margins u = y T, or None: use the losses themselves."""
        return None

    def log_marginals(self, matrices: Sequence[Array], x: Array, temperature: float) -> Array | None:
        """log µ(y|x) (m, 2) by a specialised enumeration, or None: use the generic one of the simulator."""
        return None

    def enumerate_signs(
        self, matrices: Sequence[Array], x: Array, bits: HostArray
    ) -> tuple[HostArray, HostArray, HostArray] | None:
        """All sign patterns by a specialised kernel: see `simulator.enumeration.signs.enumerate_patterns`, or None."""
        return None

    def count_circuits(self, gates: HostArray, masks: HostArray, parities: HostArray) -> HostArray | None:
        """Signs of circuits over all patterns: see `simulator.enumeration.signs.count_circuits`, or None."""
        return None

    def count_changes(self, gates: HostArray, masks: HostArray, above: HostArray, flips: HostArray) -> HostArray | None:
        """Gates that change with one sign: see `simulator.enumeration.signs.count_changes`, or None."""
        return None

    def convolve(self, *pairs: tuple[Array, Array]) -> Array:
        """z = Σ W^T x over the pairs (x, w): see `reference.convolve`."""
        return reference.convolve(self.xp, *pairs)

    def convolve_adjoint(self, *pairs: tuple[Array, Array]) -> Array:
        """Σ W d over the pairs (d, w): see `reference.convolve_adjoint`."""
        return reference.convolve_adjoint(self.xp, *pairs)

    def convolve_and_gate(self, x: Array, w: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        """Gates and pools behind a convolution, (x, mask): `gate` of `convolve`, perhaps in one pass."""
        return self.gate(self.convolve((x, w)), pools)

    def convolve_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        """D Σ W^T x over the pairs (x, w), pooled: `apply_gates` of `convolve`, perhaps in one pass."""
        return self.apply_gates(mask, self.convolve(*pairs), window)

    def convolve_adjoint_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        """D Σ W d over the pairs (d, w), D of the layer below: `spread_gates` of `convolve_adjoint`."""
        return self.spread_gates(mask, self.convolve_adjoint(*pairs), window)

    def convolve_gradient(self, kernel: int, *pairs: tuple[Array, Array]) -> Array:
        """Σ_i x_i d_i^T over the pairs (x, d): see `reference.convolve_gradient`."""
        return reference.convolve_gradient(self.xp, kernel, *pairs)

    def patches(self, x: Array, kernel: int) -> Array:
        """What every site of a convolution reads: see `reference.patches`."""
        return reference.patches(self.xp, x, kernel)

    def select_maximum(self, x: Array, s: int) -> tuple[Array, Array]:
        """Max-pooling as a gate, (pooled, mask): see `reference.select_maximum`."""
        return reference.select_maximum(self.xp, x, s)

    def gate(self, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        """Zero-temperature gates and pools, (x, mask): see `reference.gate`."""
        return reference.gate(self.xp, z, pools)

    def apply_gates(self, mask: Array, z: Array, window: int) -> Array:
        """D z, pooled: see `reference.apply_gates`."""
        return reference.apply_gates(self.xp, mask, z, window)

    def spread_gates(self, mask: Array, d: Array, window: int) -> Array:
        """The adjoint of `apply_gates`: see `reference.spread_gates`."""
        return reference.spread_gates(self.xp, mask, d, window)
