"""Array libraries behind one interface: the only place where one is chosen.

``numpy`` is the reference and oracle, ``numba`` (the default) the same mathematics with specialised CPU kernels,
``cupy`` the same mathematics on a CUDA device. Importing this package imports neither Numba nor CuPy.
"""

from __future__ import annotations

import copyreg
import importlib
from collections.abc import Callable

from .interface import Array, Backend, BackendUnavailableError, HostArray, Step

__all__ = ["Array", "Backend", "BackendUnavailableError", "HostArray", "Step", "available_backends", "get_backend"]

DEFAULT = "numba"
_MODULES = {"numpy": "numpy", "numba": "numba.backend", "cupy": "cupy.backend"}


def get_backend(name: str | Backend | None = None, dtype: str = "float64", tf32: bool = False) -> Backend:
    """The backend called `name` ("numpy", "numba", "cupy"; None: the default) with a floating `dtype`.

    `tf32`: convolutions with frozen gates multiply in TF32 on the tensor cores of a GPU: float32 with 10 bits of
    mantissa in the factors. The pass that decides gates is in float32.
    A `Backend` object is returned as it is. Raises `ValueError` for an unknown name or TF32 where there is none,
    `BackendUnavailableError` for a known backend that cannot run here.
    """
    if isinstance(name, Backend):
        return name
    name = DEFAULT if name is None else name
    if name not in _MODULES:
        raise ValueError(f"backend {name!r} is unknown: use one of {', '.join(_MODULES)}")
    if tf32 and (name != "cupy" or dtype != "float32"):
        raise ValueError(
            f"TF32 is not for backend {name!r} in {dtype}: use backend 'cupy' in 'float32', or leave it out"
        )
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    backend: Backend = module.create(dtype, tf32) if tf32 else module.create(dtype)
    copyreg.pickle(type(backend), _asked_for)
    return backend


def _asked_for(backend: Backend) -> tuple[Callable[..., Backend], tuple[str, str, bool]]:
    """A backend is pickled by what it was asked for: another process makes its own."""
    return get_backend, (backend.name, backend.dtype, backend.tf32)


def available_backends() -> list[str]:
    """Names of the backends that can run on this machine."""
    usable = []
    for name in _MODULES:
        try:
            get_backend(name)
        except BackendUnavailableError:
            continue
        usable.append(name)
    return usable
