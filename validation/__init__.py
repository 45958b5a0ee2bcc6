"""Measured against predicted: the only package that knows both the simulator and the theory."""

from .entries import entry_statistics
from .interchange import WeightsError, load_weights, save_weights
from .job import Report, compare
from .predict import predict_spectrum
from .results import to_npz, to_xarray

__all__ = [
    "Report",
    "WeightsError",
    "compare",
    "entry_statistics",
    "load_weights",
    "predict_spectrum",
    "save_weights",
    "to_npz",
    "to_xarray",
]
