"""How fast what novel examples excite decays: a fitted time with its error, and times that no law is assumed for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
DECAYED = 0.1  # of its first value: what never falls so far has no decay time
FEWEST = 4  # points of a fit
RESOLVED = 0.5  # of a fitted time: with a larger error it is no number


def decay(updates: Sequence[int], values: Sequence[float]) -> Record | None:
    """Times in updates at which a positive quantity falls from its first value, or None where that is 0.

    ``tau`` and ``tau_standard_error``: least squares of v(t)/v(0) = exp(-t/τ) over all points up to the first that is
    exactly 0, that one included; the error is of the fit's residuals. Null where v never falls to a tenth, the points
    are too few, or the error is more than half of τ: no such law is seen. ``r2``: the share of the variance that the
    law explains. ``half`` and ``tenth``: the first passage of these shares of v(0), on straight lines between points.
    ``zero``: the first point at which v is exactly 0.

    >>> t = list(range(0, 200, 5))
    >>> found = decay(t, [3.0 * 0.5 ** (s / 20) for s in t])
    >>> round(found["half"], 6), round(found["tau"], 6), found["zero"]
    (20.0, 28.853901, None)
    """
    t, v = np.asarray(updates, dtype=float), np.asarray(values, dtype=float)
    if not v[0] > 0.0:
        return None
    zeros = np.flatnonzero(v == 0.0)
    end = int(zeros[0]) + 1 if zeros.size else len(v)
    t, v = t[:end], v[:end] / v[0]
    found: Record = {
        "initial": float(values[0]),
        "half": passage(t, v, 0.5),
        "tenth": passage(t, v, DECAYED),
        "zero": int(t[-1]) if zeros.size else None,
        **dict.fromkeys(("tau", "tau_standard_error", "r2")),
    }
    if v.min() > DECAYED or len(v) < FEWEST:
        return found
    return found | _fitted(t, v, found["half"])


def passage(t: Array, v: Array, share: float) -> float | None:
    """When v first is at or below `share`, linear between points; None where it never is."""
    below = np.flatnonzero(v <= share)
    if not below.size:
        return None
    k = int(below[0])
    if k == 0:
        return float(t[0])
    return float(t[k - 1] + (v[k - 1] - share) / (v[k - 1] - v[k]) * (t[k] - t[k - 1]))


def _fitted(t: Array, v: Array, start: float) -> Record:
    """τ on a logarithmic scale, so that it is above 0: d τ = τ d log τ."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", OptimizeWarning)
        try:
            (log_tau,), ((variance,),) = curve_fit(
                lambda s, u: np.exp(-s * np.exp(-u)), t, v, p0=[np.log(max(start, 0.5))], method="lm"
            )
        except (RuntimeError, OptimizeWarning):  # not converged, or no error to be had: no number
            return {}
    tau = float(np.exp(log_tau))
    if not np.sqrt(variance) <= RESOLVED:
        return {}
    residual = v - np.exp(-t / tau)
    return {
        "tau": tau,
        "tau_standard_error": tau * float(np.sqrt(variance)),
        "r2": 1.0 - float(np.sum(residual**2) / np.sum((v - v.mean()) ** 2)),
    }
