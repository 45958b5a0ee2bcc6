"""Measured against predicted: the only package that knows both the simulator and the theory."""

from .job import Report, compare
from .predict import predict_spectrum

__all__ = ["Report", "compare", "predict_spectrum"]
