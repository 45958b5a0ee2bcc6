"""Measured against predicted: the only package that knows both the simulator and the theory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from validation.run.command import prepare_command

if TYPE_CHECKING:
    from validation.compare.job import compare
    from validation.compare.report import Report, load_report
    from validation.measurements.entries.record import entry_statistics
    from validation.predictions.fresh import fresh_density
    from validation.predictions.predict import predict_spectrum
    from validation.predictions.sampled import ensemble_density
    from validation.predictions.training import predict_training
    from validation.report.results import to_npz, to_xarray
    from validation.statistics.distances import l1_distance, w1_distance

    from . import figures
    from .interchange import WeightsError, from_torch, load_weights, save_weights

prepare_command(__name__)

__all__ = [
    "Report",
    "WeightsError",
    "compare",
    "ensemble_density",
    "entry_statistics",
    "figures",
    "fresh_density",
    "from_torch",
    "l1_distance",
    "load_report",
    "load_weights",
    "predict_spectrum",
    "predict_training",
    "save_weights",
    "to_npz",
    "to_xarray",
    "w1_distance",
]

_HOMES = {
    "measurements.entries.record": ("entry_statistics",),
    "interchange": ("WeightsError", "from_torch", "load_weights", "save_weights"),
    "compare.job": ("compare",),
    "compare.report": ("Report", "load_report"),
    "predictions.predict": ("predict_spectrum",),
    "predictions.fresh": ("fresh_density",),
    "predictions.sampled": ("ensemble_density",),
    "predictions.training": ("predict_training",),
    "report.results": ("to_npz", "to_xarray"),
    "statistics.distances": ("l1_distance", "w1_distance"),
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first asked for: a command line answers Ctrl-C from its first moment."""
    if name == "figures":  # a module of its own, which brings matplotlib
        return importlib.import_module(f".{name}", __name__)
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is for users; modules are found by their paths."""
    return sorted(__all__)
