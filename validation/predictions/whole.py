"""Predictions of the spectrum of H + G: sampled rungs with G beside, the free sum, and either part alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from simulator import GramSpectrum, SpectralDensity
from theory import ConvergenceError, free_sum
from validation.statistics.bulk import SIZES, log_density
from validation.statistics.distances import l1_distance, trapezoid_weights, w1_distance
from validation.statistics.extremes import SIDES

Array = np.ndarray[Any, Any]
Transform = Callable[[Array], Array]
WHOLE_RUNGS = ("RE", "REp8", "RK")
"""The sampled rungs that draw H. G stays as measured where the signals do (RE, REp8), and is the draw's own in RK."""
SUMS = {
    "H": "the residual part alone",
    "G": "the Gauss-Newton part alone, exact",
    "free": "free sum of the measured H and of G",
}
"""What is known of either part without a draw: the first two leave one out, the third knows both spectra only."""


def describe_sums(
    whole: dict[str, Any], residual: dict[str, Any], gauss_newton: GramSpectrum, eta: float, n: int
) -> dict[str, dict[str, Any]]:
    """Densities of H alone, of G alone and of their free sum beside the measured one of H + G, with distances.

    ``whole`` and ``residual`` are records of measured spectra of n eigenvalues. Energies, densities and η in units of
    the rms of H + G. ``l1_standard_error``: what the distance would be for two equal laws. Where the free sum does not
    converge it is left out and ``left_out`` has the reason.
    """
    law = SpectralDensity.from_recurrence(residual["alpha"], residual["beta"], n)

    def of_residual(points: Array) -> Array:
        mean: Array = law.terminated_stieltjes(points).mean(axis=-1)
        return mean

    exact, both = whole["l1_standard_error"], _error(whole["l1_standard_error"], residual["l1_standard_error"])
    laws: dict[str, tuple[Transform, float | None]] = {
        "H": (of_residual, both),
        "G": (gauss_newton.stieltjes, exact),
        "free": (lambda points: free_sum(of_residual, gauss_newton.stieltjes, points), both),
    }
    made: dict[str, dict[str, Any]] = {}
    for name, (transform, error) in laws.items():
        try:
            made[name] = _distances(whole, transform, eta) | {"l1_standard_error": error}
        except ConvergenceError as problem:
            made[name] = {"left_out": str(problem)}
    return made


def _distances(whole: dict[str, Any], transform: Transform, eta: float) -> dict[str, Any]:
    """L1 and W1 of densities, the distance of the laws of log|λ|, and the density, in units of the rms of H + G."""
    rms, grid, measured = whole["rms"], np.array(whole["energies"]), np.array(whole["density"])

    def scaled(z: Array) -> Array:
        g: Array = rms * transform(np.asarray(rms * z, dtype=np.complex128))
        return g

    density = scaled(grid + 1j * eta).imag / np.pi
    weights = trapezoid_weights(np.log(SIZES))
    gaps = [float(weights @ np.abs(whole["bulk"][name] - log_density(scaled, sign))) for name, sign in SIDES.items()]
    return {
        "l1": l1_distance(grid, measured, density),
        "w1": w1_distance(grid, measured, density),
        "log_distance": sum(gaps),
        "density": density.tolist(),
    }


def _error(one: float | None, other: float | None) -> float | None:
    """Of a distance between two measured laws, from what either differs by from one like it."""
    return None if one is None or other is None else math.hypot(one, other) / math.sqrt(2.0)
