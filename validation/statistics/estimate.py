"""Means with their standard errors: of networks or of Monte Carlo draws, as numbers and as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Mean = dict[str, Any]


def estimate(values: Sequence[float]) -> Mean | None:
    """Mean, standard error over networks (None for a single one) and their number; None without any."""
    if not values:
        return None
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"value": float(np.mean(values)), "standard_error": error, "networks": len(values)}


def written(mean: Mapping[str, Any] | None, digits: str = ".3g") -> str:
    """A mean ± its standard error; a dash where there is none."""
    if mean is None:
        return "–"
    text = format(mean["value"], digits)
    if mean["standard_error"] is not None:
        text += f" ± {format(mean['standard_error'], '.1g' if digits.endswith('g') else digits)}"
    return text.replace("-", "−")


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo mean and its standard error."""

    value: float
    standard_error: float


def mean_and_error(values: Sequence[float]) -> Estimate:
    """Mean and standard error of at least two values."""
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))
