"""Measured against predicted: the only package that knows both the simulator and the theory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from validation.run.command import prepare_command

if TYPE_CHECKING:
    from validation.compare.job import compare
    from validation.compare.single import Report
    from validation.measurements.entries.record import entry_statistics
    from validation.predictions.predict import predict_spectrum
    from validation.predictions.sampled import ensemble_density
    from validation.report.results import to_npz, to_xarray

    from .interchange import WeightsError, from_torch, load_weights, save_weights

prepare_command(__name__)

__all__ = [
    "Report",
    "WeightsError",
    "compare",
    "ensemble_density",
    "entry_statistics",
    "from_torch",
    "load_weights",
    "predict_spectrum",
    "save_weights",
    "to_npz",
    "to_xarray",
]

_HOMES = {
    "measurements.entries.record": ("entry_statistics",),
    "interchange": ("WeightsError", "from_torch", "load_weights", "save_weights"),
    "compare.job": ("compare",),
    "compare.single": ("Report",),
    "predictions.predict": ("predict_spectrum",),
    "predictions.sampled": ("ensemble_density",),
    "report.results": ("to_npz", "to_xarray"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for: a command line answers Ctrl-C from its first moment."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
