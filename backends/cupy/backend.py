"""The same mathematics on a CUDA device through CuPy, with kernels for images, gates and enumeration.

Convolutions are products whose first factor is read from the images (`cuda/contraction.cu`), in the backend's precision
or, by choice, in TF32 on tensor cores where gates are frozen already. Dense layers are cuBLAS's. Arrays stay on the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backends import reference
from backends.indexed import IndexedBackend
from backends.interface import Array, Backend, BackendUnavailableError, HostArray, Step

from .graphs import Launch, ReplayedStep
from .kernels import ENUMERATION_GATES, ENUMERATION_INPUTS, Kernels
from .namespace import Namespace
from .sweeps import LOSSES, PLACES

_INSTEAD = "use --backend numba (or get_backend('numba')) on this machine"
RANGE, SMALLEST = 300.0, 1e-250  # see `gate_sums`
TENSOR_CORES = 80  # compute capability from which they multiply in TF32


@dataclass
class Transfers:
    """Arrays that went to the device and came from it; single numbers (`Backend.inner`) are not counted."""

    to_device: int = 0
    to_host: int = 0


class CupyBackend(IndexedBackend):
    """Arrays on the current CUDA device; transfers only in `asarray` and `to_numpy`, counted in ``transfers``."""

    asynchronous = True
    concurrent = False
    convolution_outputs = 1
    batch_size = 512  # enough sites to fill the device with one layer of one batch

    def __init__(self, cupy: Any, xp: Any, dtype: str, tf32: bool = False) -> None:
        self._cupy, self.tf32 = cupy, tf32
        self._kernels = Kernels(cupy, dtype)
        self._sweeps = self._kernels.sweeps
        super().__init__("cupy", Namespace(xp, cupy, self._sweeps), dtype)
        self.transfers = Transfers()
        self._recording = False

    def compile(self) -> None:
        """Compile what every run needs: a kernel of CuPy's, which reads CUDA's headers, and those of `Sweeps`."""
        one = self._cupy.zeros(1, dtype="float64")
        self._cupy.add(one, one)
        self._sweeps.module.get_function("descend")

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        if not isinstance(x, self._cupy.ndarray):
            self.transfers.to_device += 1
        return super().asarray(x, dtype)

    def to_numpy(self, x: Array) -> HostArray:
        self.transfers.to_host += 1
        host: HostArray = self._cupy.asnumpy(x)
        return host

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()

    @cached_property
    def kept_bytes(self) -> int:
        """A quarter of the device's memory each for frozen signals and for Lanczos bases."""
        return int(self._cupy.cuda.runtime.memGetInfo()[1]) // 4

    @property
    def group_bytes(self) -> int:
        return self.kept_bytes

    def free_bytes(self) -> int:
        pool = self._cupy.get_default_memory_pool()
        return int(self._cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())

    def matmul(self, a: Array, b: Array) -> Array:
        """cuBLAS's product; our own inside a recorded step, where CuPy does not let cuBLAS in."""
        if not self._recording or not {a.ndim, b.ndim} <= {2, 3} or not a.dtype == b.dtype == self.dtype:
            return super().matmul(a, b)
        m, depth = a.shape[-2:]
        return self._kernels.contract("convolve", (m, 1, 1, depth, 1), b.shape[-1], (a, b), tensor=False)

    def replay(self, step: Step) -> Step:
        return ReplayedStep(step, self._recordable, self._record, self._sweeps.same_bits, self._sweeps.copy)

    def _recordable(self, call: Callable[[], Any]) -> Any:
        before, self._recording = self._recording, True
        try:
            return call()
        finally:
            self._recording = before

    def _record(self, work: Launch) -> Launch:
        """A CUDA graph of what `work` does. Its memory is a pool of its own: nothing else may be put there."""
        cuda = self._cupy.cuda
        pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        cuda.get_current_stream().synchronize()
        with stream:
            stream.begin_capture()
            try:
                with cuda.using_allocator(pool.malloc):
                    work()
            finally:
                graph = stream.end_capture()

        def launch(graph: Any = graph, pool: Any = pool) -> None:
            graph.launch()

        return launch

    def descend(self, w: Array, v: Array, g: Array, momentum: float, scale: float, rate: float) -> tuple[Array, Array]:
        if not w.shape == v.shape == g.shape:
            raise ValueError(f"weights {w.shape}, velocity {v.shape} and gradient {g.shape} differ: expected one shape")
        return self._sweeps.descend(w, v, g, momentum, scale, rate)

    def all_finite(self, x: Array) -> bool:
        return self._sweeps.all_finite(x) if x.dtype == self.dtype else super().all_finite(x)

    def inner(self, x: Array, y: Array) -> float:
        known = x.dtype == y.dtype == self.dtype and x.shape == y.shape
        return self._sweeps.inner(x, y) if known else super().inner(x, y)

    def margins(self, t: Array, y: Array, loss: str) -> tuple[Array, Array, Array, Array] | None:
        known = loss in LOSSES and t.dtype == y.dtype == self.dtype and t.shape == y.shape
        return self._sweeps.margins(t, y, loss) if known else None

    def convolve(self, *pairs: tuple[Array, Array]) -> Array:
        """Never in TF32: gates and max-pools behind it are those of the signals as they are, ties included."""
        return self._convolve(False, *pairs)

    def convolve_and_gate(self, x: Array, w: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        """In one pass where no pool follows, with the kernels of `convolve`."""
        if pools or x.ndim != 4 or w.ndim != 4 or x.size == 0:
            return super().convolve_and_gate(x, w, pools)
        on = self._cupy.empty((*x.shape[:3], w.shape[-1]), bool)
        return self._convolve(False, (x, w), on=on), on

    def convolve_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        if window == 1 and self._one_pass(mask, pairs):
            return self._convolve(self.tf32, *pairs, mask=mask)
        return self.apply_gates(mask, self._convolve(self.tf32, *pairs), window)

    def convolve_adjoint(self, *pairs: tuple[Array, Array]) -> Array:
        return self._convolve(self.tf32, *self._turned(pairs))

    def convolve_adjoint_gated(self, mask: Array, window: int, *pairs: tuple[Array, Array]) -> Array:
        turned = self._turned(pairs)
        if window == 1 and self._one_pass(mask, turned):
            return self._convolve(self.tf32, *turned, mask=mask)
        return self.spread_gates(mask, self._convolve(self.tf32, *turned), window)

    def _turned(self, pairs: tuple[tuple[Array, Array], ...]) -> tuple[tuple[Array, Array], ...]:
        return tuple((d, reference.turn(self.xp, w)) for d, w in pairs)

    def _one_pass(self, mask: Array, pairs: tuple[tuple[Array, Array], ...]) -> bool:
        """Whether a kernel knows the convolution, and the mask has its shape."""
        x, w = pairs[0]
        return mask.dtype == bool and mask.shape == (*x.shape[-4:-1], w.shape[-1]) and self._known(pairs)

    def _known(self, pairs: tuple[tuple[Array, Array], ...]) -> bool:
        return len(pairs) <= 2 and pairs[0][0].shape[-4] > 0

    def _convolve(self, tensor: bool, *pairs: tuple[Array, Array], **gates: Array) -> Array:
        """Σ W^T x; `gates`: `mask` or `on` of `Kernels.contract`, for pairs that are `_known`."""
        if not self._known(pairs):
            return super().convolve(*pairs)
        x, w = pairs[0]
        m, height, width, ins = x.shape[-4:]
        shape = (m, height, width, ins, w.shape[-3])
        z = self._kernels.contract("convolve", shape, w.shape[-1], *pairs, tensor=tensor, **gates)
        return z.reshape(*z.shape[:-2], m, height, width, w.shape[-1])

    def convolve_gradient(self, kernel: int, *pairs: tuple[Array, Array]) -> Array:
        if not self._known(pairs):
            return super().convolve_gradient(kernel, *pairs)
        x, d = pairs[0]
        shape = (*x.shape[-4:], kernel)
        g = self._kernels.contract("convolve_gradient", shape, d.shape[-1], *pairs, tensor=self.tf32)
        return g.reshape(*g.shape[:-2], kernel, kernel, x.shape[-1], d.shape[-1])

    def gate(self, z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
        if len(pools) > 1 or z.ndim not in (2, 4) or z.size == 0 or z.dtype != self.dtype:
            return super().gate(z, pools)
        images = _images(z.shape)
        if math.prod(images[1:]) > PLACES:
            return super().gate(z, pools)
        x, mask = self._sweeps.gate(z, images, pools[0] if pools else 1)
        return (x if z.ndim == 4 else x.reshape(z.shape)), mask

    def apply_gates(self, mask: Array, z: Array, window: int) -> Array:
        if not self._fits(mask, z.shape, z, window):
            return super().apply_gates(mask, z, window)
        height, width, channels = _images(mask.shape)[1:]
        shape = z.shape if window == 1 else (*z.shape[:-3], height // window, width // window, channels)
        return self._gated("apply_gates", mask, z, shape, window)

    def spread_gates(self, mask: Array, d: Array, window: int) -> Array:
        shape = (*d.shape[: d.ndim - mask.ndim + 1], *mask.shape[1:])
        height, width, channels = _images(mask.shape)[1:]
        pooled = mask.shape[1:] if window == 1 else (height // window, width // window, channels)
        if d.shape[d.ndim - mask.ndim + 1 :] != pooled or not self._fits(mask, shape, d, window):
            return super().spread_gates(mask, d, window)
        return self._gated("spread_gates", mask, d, shape, window)

    def _fits(self, mask: Array, shape: tuple[int, ...], given: Array, window: int) -> bool:
        """Whether the kernels know the case: signals of the mask's shape, with at most one probe axis more."""
        same = shape == mask.shape or shape[1:] == mask.shape
        counted = max(math.prod(mask.shape[1:]), shape[0] * mask.shape[0]) <= PLACES
        return same and counted and given.dtype == self.dtype and (window == 1 or mask.ndim == 4)

    def _gated(self, name: str, mask: Array, given: Array, shape: tuple[int, ...], window: int) -> Array:
        """`apply_gates` or `spread_gates` by its kernel: given -> an array of `shape`."""
        out = self._cupy.empty(shape, self.dtype)
        self._sweeps.gated(name, mask, given, out, _images(mask.shape), window)
        return out

    def log_marginals(self, matrices: Sequence[Array], x: Array, temperature: float) -> Array | None:
        widths = [w.shape[0] for w in matrices]
        too_large = widths[-1] > 26 or max(widths[1:], default=0) > ENUMERATION_GATES or x.shape[0] > ENUMERATION_INPUTS
        if len(matrices) < 2 or too_large:
            return None
        sums = self._kernels.marginal_sums(list(matrices), x, temperature)
        marginals = self.xp.sum(sums[:, :, :2], axis=1)
        if float(self.xp.max(sums[:, :, 2])) > RANGE or float(self.xp.min(marginals)) < SMALLEST:
            return None
        return self.xp.log(marginals)


def _images(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(m, H, W, C) of images, or of anything else as images of one site."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    return shape[0], 1, 1, math.prod(shape[1:])


def _reason(error: Exception) -> str:
    """The line of an error that says what is wrong, without the frame that CuPy draws around it."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line.strip("=*-")]
    original = [said[i + 1] for i, line in enumerate(said[:-1]) if line.startswith("Original error")]
    return (original or said or [type(error).__name__])[0].rstrip(".")


def create(dtype: str, tf32: bool = False) -> Backend:
    """CuPy on the current device; `BackendUnavailableError` where CuPy, a device or a compiler for it is missing."""
    try:
        import array_api_compat.cupy as xp
        import cupy
    except ImportError as error:
        raise BackendUnavailableError(
            f"backend 'cupy' needs CuPy, which cannot be imported ({_reason(error)}): "
            f"install 'umwelt-dnn[cuda12]' or 'umwelt-dnn[cuda13]', or {_INSTEAD}"
        ) from None
    try:
        cupy.asarray([0.0]).sum().item()
        capability = int(cupy.cuda.Device().compute_capability)
    except Exception as error:  # CuPy raises different classes for a missing driver, device or library
        raise BackendUnavailableError(
            f"backend 'cupy' needs a usable CUDA device, and CuPy found none ({_reason(error)}): {_INSTEAD}"
        ) from None
    if tf32 and capability < TENSOR_CORES:
        raise BackendUnavailableError(
            f"TF32 needs compute capability {TENSOR_CORES / 10:.1f}, and this device has {capability / 10:.1f}: "
            "leave out --tf32"
        )
    backend = CupyBackend(cupy, xp, dtype, tf32)
    try:
        backend.compile()
    except Exception as error:  # likewise for a missing NVRTC, missing headers, an architecture it does not know
        raise BackendUnavailableError(
            f"backend 'cupy' needs the compiler NVRTC and CUDA's headers, and compiling failed ({_reason(error)}): "
            f"install 'umwelt-dnn[cuda13]' (or [cuda12], as the driver is), which brings both, or {_INSTEAD}"
        ) from None
    return backend
