"""The far ends of a spectrum: numbers of eigenvalues beyond thresholds, and the largest on either side."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simulator import EnsembleDensity, SpectralDensity
from validation.run.storage import finite_or_none

from .estimate import standard_error

Array = np.ndarray[Any, Any]
TAILS = (4.0, 8.0, 16.0, 64.0)
"""Thresholds, in rms, beyond which eigenvalues are counted."""
LARGEST = 5
"""Eigenvalues on either side whose positions are told."""
TAIL_POINTS = 64
"""Energies beyond the least of `TAILS` at which predicted laws are kept on either side, for figures."""
SIDES = {"negative": -1, "positive": 1}


def tail_energies(reach: float) -> Array:
    """Sizes of energies, in rms, from the least of `TAILS` to a little beyond `reach`."""
    energies: Array = np.geomspace(TAILS[0], 1.25 * max(reach, TAILS[0]), TAIL_POINTS)
    return energies


def fewer_steps(spectrum: SpectralDensity) -> int:
    """Three quarters of the steps: what they change estimates what the steps not made would."""
    return max(1, int(spectrum.alpha.shape[1]) * 3 // 4)


def share_record(spectrum: SpectralDensity, values: Array, *others: Array) -> dict[str, Any]:
    """Mean over probes of a share, with its standard error from probes and from what the `others` change."""
    error = finite_or_none(float(spectrum.share_error(values, *others)))
    return {"value": float(values.mean()), "standard_error": error}


def tail_shares(spectrum: SpectralDensity, rms: float) -> dict[str, list[dict[str, Any]]]:
    """Shares of the spectrum beyond `TAILS` times `rms` on either side, from the nodes there, with standard errors."""
    shorter = spectrum.truncated(fewer_steps(spectrum))

    def share(sign: int, threshold: float) -> dict[str, Any]:
        found = [np.sum(s.weights * (sign * s.nodes > threshold), axis=-1) for s in (spectrum, shorter)]
        return share_record(spectrum, *found)

    return {side: [share(sign, t * rms) for t in TAILS] for side, sign in SIDES.items()}


def largest_eigenvalues(spectrum: SpectralDensity, rms: float) -> dict[str, list[dict[str, Any]]]:
    """The `LARGEST` eigenvalues on either side, in units of `rms`, largest first; fewer where there are fewer.

    The k-th largest Ritz value is never beyond the k-th largest eigenvalue (Cauchy). So each is the largest over the
    probes of a spectrum; of an ensemble the mean over draws of that. The standard error is that over draws, and the
    change that a quarter of the steps makes.
    """
    return {side: _largest(spectrum, sign, rms) for side, sign in SIDES.items()}


def _largest(spectrum: SpectralDensity, sign: int, rms: float) -> list[dict[str, Any]]:
    draws = spectrum.draws if isinstance(spectrum, EnsembleDensity) else 1
    rules = (spectrum, spectrum.truncated(fewer_steps(spectrum)))
    values, shorter = (_ritz_values(rule, sign, draws) / rms for rule in rules)
    described = []
    for rank in range(min(LARGEST, values.shape[1])):
        mean = float(values[:, rank].mean())
        if not mean > 0.0:
            break
        scatter = standard_error(values[:, rank]) or 0.0
        change = abs(mean - float(shorter[:, rank].mean())) if rank < shorter.shape[1] else mean
        described.append({"value": mean, "standard_error": math.hypot(scatter, change)})
    return described


def _ritz_values(spectrum: SpectralDensity, sign: int, draws: int) -> Array:
    """(draws, n_steps) largest first, the largest over the probes of a draw at every rank; 0 where there is none."""
    values = np.where(spectrum.weights > 0.0, sign * spectrum.nodes, 0.0)
    ranked = -np.sort(-np.maximum(values, 0.0), axis=1)
    best: Array = ranked.reshape(draws, -1, ranked.shape[1]).max(axis=1)
    return best
