"""How far two spectra are apart (docs/theory/estimators.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid

Array = np.ndarray[Any, Any]
STANDARD_ETA = 0.05
"""From this η on, in rms, densities are compared on the standard grid."""
LEAST_ETA = 0.001
"""The least η, in rms: its grid has 16,000 energies."""


def energy_grid(n: int = 60) -> Array:
    """The 2n + 1 energies ±4 (e^{3j/n} - 1)/(e³ - 1), j = 0..n, in units of the rms: fine where the atom at 0 is."""
    half = 4.0 * np.expm1(3.0 * np.arange(n + 1) / n) / np.expm1(3.0)
    return np.concatenate([-half[:0:-1], half])


def spectral_grid(eta: float) -> Array:
    """The energies, in rms, on which densities smoothed by η (in rms) are compared: they follow η.

    `energy_grid` for η ≥ 0.05; for a smaller η each of its intervals is divided into steps of η/2 at most, so that the
    trapezoid rule stays right to 1e-3 for peaks of half width η. 16,000 energies at `LEAST_ETA`; `ValueError` below it.
    """
    if not eta >= LEAST_ETA:
        raise ValueError(f"eta is {eta:g} rms, expected at least {LEAST_ETA:g}: raise it")
    grid = energy_grid()
    if eta >= STANDARD_ETA:
        return grid
    pieces = np.ceil(np.diff(grid) / (0.5 * eta)).astype(int)
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(grid[:-1], grid[1:], pieces, strict=True)]
    half = np.concatenate([*parts, grid[-1:]])[pieces[: len(pieces) // 2].sum() :]
    return np.concatenate([-half[:0:-1], half])


def trapezoid_weights(points: Array) -> Array:
    """w with Σ_j w_j f(points_j) the trapezoid rule for ∫ f."""
    steps = np.diff(points)
    weights: Array = 0.5 * (np.append(steps, 0.0) + np.append(0.0, steps))
    return weights


def l1_distance(energies: Array, measured: Array, predicted: Array) -> float:
    """L1 = ∫ |ρ_η - ρ̂_η| dE by the trapezoid rule on the grid; at most 2. Both at the same η."""
    return float(trapezoid(np.abs(measured - predicted), energies))


def w1_distance(energies: Array, measured: Array, predicted: Array) -> float:
    """W1 = ∫ |F - F̂| dE on the grid, F the integral of the smoothed law from the grid's left end."""
    gap = cumulative_trapezoid(measured - predicted, energies, initial=0.0)
    return float(trapezoid(np.abs(gap), energies))
