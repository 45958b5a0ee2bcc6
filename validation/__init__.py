"""Measured against predicted: the only package that knows both the simulator and the theory."""

from .entries import entry_statistics
from .job import Report, compare
from .predict import predict_spectrum

__all__ = ["Report", "compare", "entry_statistics", "predict_spectrum"]
