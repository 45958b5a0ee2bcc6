"""Where a share falls from 1 to 0: a logistic law in the logarithm of a size, fitted to single trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

Array = np.ndarray[Any, Any]
WIDEST, NARROWEST = 3.0, 1e-3  # of the logistic law, in ln(size)
LEAST_TRIALS = 3


@dataclass(frozen=True)
class Trial:
    """One trial: its size, whether it succeeded, and the group (a seed) whose trials are not independent."""

    size: float
    success: bool
    group: int


@dataclass(frozen=True)
class Edge:
    """P(success) = 1/(1 + (size/edge)^(1/width)); ``log_error`` is the standard error of ln edge, None of one group."""

    edge: float
    width: float
    log_error: float | None
    width_error: float | None

    @property
    def standard_error(self) -> float | None:
        """Of the edge itself."""
        return None if self.log_error is None else self.edge * self.log_error

    def share(self, sizes: Any) -> Array:
        """The fitted share of successes."""
        found: Array = expit(-(np.log(np.asarray(sizes, dtype=float)) - np.log(self.edge)) / self.width)
        return found


def fit_edge(trials: Sequence[Trial]) -> Edge | None:
    """The edge by maximum likelihood under Jeffreys' prior, as [Firth1993] has it: finite for separated trials too.

    Standard errors are the larger of two: from the information of the fit, and from the jackknife over groups. None
    where the trials are fewer than three, or all succeeded, or all failed: there is no edge among them.
    """
    if len(trials) < LEAST_TRIALS or len({t.success for t in trials}) < 2:
        return None
    found = _fitted(trials)
    own = np.sqrt(np.diag(np.linalg.inv(_information(found, _sizes(trials)))))
    groups = sorted({t.group for t in trials})
    if len(groups) < 2:
        return Edge(float(np.exp(found[0])), float(np.exp(found[1])), None, None)
    left = np.array([_fitted([t for t in trials if t.group != g], found) for g in groups])
    n = len(groups)
    spread = np.sqrt((n - 1) / n * np.sum((left - left.mean(axis=0)) ** 2, axis=0))
    errors = np.maximum(own, spread)
    width = float(np.exp(found[1]))
    return Edge(float(np.exp(found[0])), width, float(errors[0]), width * float(errors[1]))


def _sizes(trials: Sequence[Trial]) -> Array:
    found: Array = np.log(np.array([t.size for t in trials], dtype=float))
    return found


def _information(place: Array, sizes: Array) -> Array:
    """Fisher's information of (ln edge, ln width)."""
    width = np.exp(place[1])
    t = (sizes - place[0]) / width
    weight = expit(t) * expit(-t) + 1e-12
    slopes = np.stack([np.full_like(t, 1.0 / width), t], axis=1)
    made: Array = np.asarray((slopes * weight[:, None]).T @ slopes + 1e-9 * np.eye(2))
    return made


def _fitted(trials: Sequence[Trial], near: Array | None = None) -> Array:
    """(ln edge, ln width); searched for from `near` alone where it is given."""
    sizes, success = _sizes(trials), np.array([t.success for t in trials])

    def cost(place: Array) -> float:
        t = (sizes - place[0]) / np.exp(place[1])
        likelihood = np.sum(log_expit(np.where(success, -t, t)))
        return -float(likelihood) - 0.5 * float(np.linalg.slogdet(_information(place, sizes))[1])

    inside = [float(sizes.min()) - 1.0, float(sizes.max()) + 1.0]
    bounds = [inside, [float(np.log(NARROWEST)), float(np.log(WIDEST))]]
    middle = float(sizes.mean())
    starts = [(middle, np.log(w)) for w in (0.03, 0.1, 0.4)] if near is None else [near]
    runs = [minimize(cost, start, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-6}) for start in starts]
    best: Array = min(runs, key=lambda run: float(run.fun)).x
    return best
