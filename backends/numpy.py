"""The reference backend: the generic mathematics on NumPy, nothing specialised."""

from __future__ import annotations

import array_api_compat.numpy as xp

from .interface import Backend


def create(dtype: str) -> Backend:
    """The oracle that every other backend is tested against."""
    return Backend("numpy", xp, dtype)
