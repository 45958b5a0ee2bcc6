"""Means over independent networks, with their standard errors, as numbers and as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Estimate = dict[str, Any]


def estimate(values: Sequence[float]) -> Estimate | None:
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
