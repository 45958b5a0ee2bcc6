"""The same mathematics on a CUDA device through CuPy."""

from __future__ import annotations

from typing import Any

from .base import Array, Backend, BackendUnavailableError, HostArray

_INSTEAD = "use --backend numba (or get_backend('numba')) on this machine"


class CupyBackend(Backend):
    """Arrays on the current CUDA device; transfers only in `asarray` and `to_numpy`."""

    def __init__(self, cupy: Any, xp: Any, dtype: str) -> None:
        super().__init__("cupy", xp, dtype)
        self._cupy = cupy

    def to_numpy(self, x: Array) -> HostArray:
        host: HostArray = self._cupy.asnumpy(x)
        return host

    def add_block(self, total: Array, rows: Array, block: Array) -> Array:
        total[..., rows[:, None], rows] += block  # rows are all different: no two threads meet
        return total

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()


def create(dtype: str) -> Backend:
    """CuPy on the current device; `BackendUnavailableError` where CuPy or a device is missing."""
    try:
        import array_api_compat.cupy as xp
        import cupy
    except ImportError as error:
        raise BackendUnavailableError(
            f"backend 'cupy' needs CuPy, which cannot be imported ({error}): "
            f"install 'umwelt-dnn[cuda12]' or 'umwelt-dnn[cuda13]', or {_INSTEAD}"
        ) from None
    try:
        cupy.asarray([0.0]).sum().item()
    except Exception as error:  # CuPy raises different classes for a missing driver, device or library
        reason = str(error).strip().splitlines()[0]
        raise BackendUnavailableError(
            f"backend 'cupy' needs a usable CUDA device, and CuPy found none ({reason}): {_INSTEAD}"
        ) from None
    return CupyBackend(cupy, xp, dtype)
