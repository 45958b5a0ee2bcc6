"""Means with their standard errors: of networks or of Monte Carlo draws, as numbers and as words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Mean = dict[str, Any]
MOST_DECIMALS = 8
NEGLIGIBLE = 1e4  # a value over its standard error, from which on the error is not shown


def standard_error(values: Sequence[float] | Array) -> float | None:
    """That of the mean of n independent numbers, s/√n with s² = Σ (v - mean)²/(n - 1); None for a single one.

    >>> standard_error([1.0, 3.0]), standard_error([1.0])
    (1.0, None)
    """
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def mean_of(values: Sequence[float] | Array) -> Mean:
    """The mean of independent numbers, at least one, and its standard error, as a report has them.

    >>> mean_of([1.0, 3.0])
    {'value': 2.0, 'standard_error': 1.0}
    """
    return {"value": float(np.mean(values)), "standard_error": standard_error(values)}


def estimate(values: Sequence[float]) -> Mean | None:
    """Mean, standard error over networks (None for a single one) and their number; None without any."""
    return mean_of(values) | {"networks": len(values)} if values else None


def written(mean: Mapping[str, Any] | None, digits: str = ".3g") -> str:
    """A mean ± its standard error as `plus_minus` has them; in `digits` where the error is 0 or there is none.

    A dash where there is no mean.
    """
    if mean is None:
        return "–"
    if mean["standard_error"]:
        text = plus_minus(mean)
    else:
        text = format(mean["value"], f"z{digits}") + ("" if mean["standard_error"] is None else " ± 0")
    return text.replace("-", "−")


def ratio(parts: Array, wholes: Array) -> Mean:
    """Σ parts / Σ wholes over independent examples, and its standard error; wholes ≥ 0, None where they are all 0.

    The error is that of the linearised ratio, sqrt(n/(n-1) Σ (p_e - value · w_e)²) / Σ w_e (Cochran, Sampling
    Techniques, 1977, 6.4): to first order that of the jackknife. None for a single example.

    >>> ratio(np.array([1.0, 1.0, 4.0]), np.array([2.0, 4.0, 6.0]))
    {'value': 0.5, 'standard_error': 0.14433756729740643}
    """
    n, whole = len(parts), float(np.sum(wholes))
    if whole == 0.0:
        return {"value": None, "standard_error": None}
    value = float(np.sum(parts)) / whole
    rest = float(np.sum((parts - value * wholes) ** 2))
    return {"value": value, "standard_error": math.sqrt(n / (n - 1) * rest) / whole if n > 1 else None}


def plus_minus(mean: Mapping[str, Any]) -> str:
    """A value and its standard error to the error's second digit; three digits of a value that has none, or one of 0.

    >>> plus_minus({"value": 0.0068173, "standard_error": 0.0000778})
    '0.006817 ± 0.000078'
    """
    value, error = mean["value"], mean["standard_error"]
    if not error:
        return f"{value:z.3g}" + ("" if error is None else " ± 0")
    decimals = max(1 - math.floor(math.log10(error)), 0)
    if decimals > MOST_DECIMALS:
        return f"{value:z.2g} ± {error:.1g}"
    return f"{value:z.{decimals}f} ± {error:.{decimals}f}"


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo mean and its standard error."""

    value: float
    standard_error: float


def combined(*errors: float | None) -> float | None:
    """The standard error of a sum of independent numbers; None where one is not known.

    >>> combined(3.0, 4.0), combined(3.0, None)
    (5.0, None)
    """
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if len(known) == len(errors) else None


def told(error: float | None, digits: str = ".2g") -> str:
    """A standard error in words: "unknown" where there is none."""
    return "unknown" if error is None else format(error, digits)


def mean_and_error(values: Sequence[float] | Array) -> Estimate:
    """Mean and standard error of at least two values.

    >>> mean_and_error([1.0, 3.0])
    Estimate(value=2.0, standard_error=1.0)
    """
    error = standard_error(values)
    if error is None:
        raise ValueError(f"expected at least two values, got {len(values)}")
    return Estimate(float(np.mean(values)), error)
