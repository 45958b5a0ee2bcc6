"""A backend on array-api-strict: it refuses whatever an array library need not have."""

from __future__ import annotations

import array_api_strict
import numpy as np

from backends import Array, Backend, HostArray

DEVICE = array_api_strict.Device("device1")


class StrictBackend(Backend):
    """Refuses NumPy's extras, implicit transfers, and arrays of two devices in one expression."""

    def to_numpy(self, x: Array) -> HostArray:
        assert x.device == DEVICE
        return np.asarray(x.to_device(array_api_strict.Device("CPU_DEVICE")))


def strict(dtype: str = "float64") -> Backend:
    return StrictBackend("strict", array_api_strict, dtype, device=DEVICE)
