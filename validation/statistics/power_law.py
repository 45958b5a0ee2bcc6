"""Power laws: least squares on logarithms, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .estimate import Estimate

Array = np.ndarray[Any, Any]


def least_squares(design: Array, y: Array, covariance: Array) -> tuple[Array, Array]:
    """Ordinary least squares: coefficients and standard errors.

    The latter are the larger of two: from the covariance (n, n) of the errors of y, and from the residuals' scatter.
    """
    solve = np.linalg.pinv(design)
    coefficients = solve @ y
    residual = y - design @ coefficients
    free = max(len(y) - design.shape[1], 1)
    scatter = np.sum(solve**2, axis=1) * float(residual @ residual) / free
    known = np.einsum("ij,jk,ik->i", solve, covariance, solve)
    return coefficients, np.sqrt(np.maximum(scatter, known))


def log_slope(sizes: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """The exponent of a power law: least squares of log(estimate) on log(size)."""
    values, errors = (np.array([getattr(e, name) for e in estimates]) for name in ("value", "standard_error"))
    if len(values) < 3 or not (values > 0.0).all():
        raise ValueError(f"{len(values)} estimates from {values.min():g} on: expected at least three, all above 0")
    design = np.stack([np.log(np.asarray(sizes, dtype=float)), np.ones(len(values))], axis=1)
    slopes, standard = least_squares(design, np.log(values), np.diag((errors / values) ** 2))
    return Estimate(float(slopes[0]), float(standard[0]))
