"""A device is a CuPy backend of one precision, on the host by `emulated_cuda` or on the CUDA device (marked `gpu`)."""

from __future__ import annotations

import pytest

from backends import Backend, get_backend
from support.emulated_cuda import COMPILER, NO_COMPILER, EmulatedBackend

Device = tuple[Backend, float]  # a backend and its tolerance against NumPy in float64
TOLERANCE = {("float64", False): 1e-11, ("float32", False): 2e-6, ("float32", True): 2e-3}
KINDS = [("float64", False), ("float32", False), ("float32", True)]


def device(request: pytest.FixtureRequest) -> Device:
    where, dtype, tf32 = request.param
    if where == "cuda":
        return get_backend("cupy", dtype, tf32), TOLERANCE[dtype, tf32]
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    return EmulatedBackend(dtype, tf32), TOLERANCE[dtype, tf32]


EMULATED = [pytest.param(("emulated", *kind), id=f"emulated-{kind[0]}{'-tf32' * kind[1]}") for kind in KINDS]
CUDA = [pytest.param(("cuda", *kind), id=f"cuda-{kind[0]}{'-tf32' * kind[1]}", marks=pytest.mark.gpu) for kind in KINDS]


def emulated() -> Backend:
    """The emulated device in float64; the test is skipped where there is no compiler."""
    if not COMPILER:
        pytest.skip(NO_COMPILER)
    return EmulatedBackend("float64", False)
