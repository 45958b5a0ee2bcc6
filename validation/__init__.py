"""Measured against predicted: the only package that knows both the simulator and the theory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .command import catch_interrupts

if TYPE_CHECKING:
    from .entries import entry_statistics
    from .job import Report, compare
    from .predict import predict_spectrum

catch_interrupts(__name__)

__all__ = ["Report", "compare", "entry_statistics", "predict_spectrum"]

_HOMES = {"Report": "job", "compare": "job", "entry_statistics": "entries", "predict_spectrum": "predict"}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for: a command line answers Ctrl-C from its first moment."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
