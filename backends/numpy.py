"""The reference backend: the generic mathematics on NumPy, nothing specialised but what indexes arrays."""

from __future__ import annotations

import array_api_compat.numpy as xp

from .indexed import IndexedBackend
from .interface import Backend


def create(dtype: str) -> Backend:
    """The oracle that every other backend is tested against."""
    return IndexedBackend("numpy", xp, dtype)
