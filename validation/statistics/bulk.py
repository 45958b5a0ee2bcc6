"""The bulk of a spectrum, which η = 0.05 rms hides: L1 at a finer η, and the law of log|λ| (docs/theory/estimators.md).

Most eigenvalues of a ReLU Hessian lie so close to 0 that a kernel of fixed width lays them on the atom there. A kernel
of fixed width in log|λ| does not: on the ray z = t e^{iφ}

    Im(z g(z)) = (1/N) Σ_k λ_k t sin φ / |λ_k - z|²

is a sum of kernels of half width φ in log(λ/t), to which the atom at 0 gives nothing, whatever t.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simulator import SpectralDensity
from theory import Continuation
from validation.run.storage import finite_or_none

from .distances import l1_distance, spectral_grid, trapezoid_weights
from .extremes import SIDES, fewer_steps

Array = np.ndarray[Any, Any]
FINE_ETA = 0.01
"""η, in rms, of the finer comparison of densities."""
WIDTH = 0.2
"""φ, the half width of the kernel in log|λ|."""
SIZES = np.geomspace(1e-3, 60.0, 81)
"""Sizes |λ| in rms at which the law of log|λ| is compared: steps of 0.14 in the logarithm."""
FINE_ACCURACY = 5e-3
"""Of a predicted law between the points where it is solved, in L1 at `FINE_ETA`."""


def log_density(transform: Any, sign: int) -> Array:
    """Density of log|λ| of the eigenvalues of one sign, at `SIZES`: ±Im(z g(z)) / (π - 2φ) on z = ±t e^{±iφ}.

    transform  z (k,) in rms -> g (k, ...) in 1/rms. Divided so, a symmetric law has the mass of its eigenvalues ≠ 0 on
    both sides together. Of an eigenvalue of the other sign the share φ/π is taken off, spread over log|λ|.
    """
    z = sign * SIZES * np.exp(1j * sign * WIDTH)
    found = np.asarray(transform(z))
    flux: Array = sign * (z.reshape(-1, *(1,) * (found.ndim - 1)) * found).imag / (np.pi - 2.0 * WIDTH)
    return flux


def describe_bulk(spectrum: SpectralDensity) -> dict[str, Any]:
    """The measured law of log|λ| on either side, and the standard errors of both distances.

    ``sizes`` |λ| in rms, ``negative`` and ``positive`` densities of log|λ|; ``l1_fine_standard_error`` and
    ``log_standard_error``: what two measurements like this one differ by, from probes and from steps, None where
    nothing tells. Empty laws for the zero spectrum.
    """
    described: dict[str, Any] = {
        "fine_eta": FINE_ETA, "width": WIDTH, "sizes": [], "negative": [], "positive": [],
        "l1_fine_standard_error": None, "log_standard_error": None,
    }  # fmt: skip
    rms = spectrum.rms
    if rms == 0.0:
        return described
    sides = _measured_sides(spectrum, rms)
    fine = spectrum.l1_standard_error(spectral_grid(FINE_ETA) * rms, FINE_ETA * rms)
    return described | {
        "sizes": SIZES.tolist(),
        **dict(zip(SIDES, sides.mean(axis=-1).tolist(), strict=True)),
        "l1_fine_standard_error": finite_or_none(fine),
        "log_standard_error": finite_or_none(_log_standard_error(spectrum, sides)),
    }


def _log_standard_error(spectrum: SpectralDensity, sides: Array) -> float:
    """`SpectralDensity.l1_standard_error` for the laws of log|λ|, ``sides`` (2, sizes, probes); NaN for one probe."""
    probes, rms = sides.shape[-1], spectrum.rms
    if probes < 2:
        return math.nan
    weights = trapezoid_weights(np.log(SIZES))
    scatter = np.sqrt(2.0 / np.pi) * np.sum(sides.std(axis=-1, ddof=1) @ weights) / np.sqrt(probes)
    others = _measured_sides(spectrum, rms, fewer_steps(spectrum)), _measured_sides(spectrum, rms, mirrored=True)
    changes = [np.sum(np.abs((other - sides).mean(axis=-1)) @ weights) for other in others]
    return float(np.sqrt(2.0 * scatter**2 + np.sum(np.square(changes))))


def _measured_sides(spectrum: SpectralDensity, rms: float, n_steps: int | None = None, mirrored: bool = False) -> Array:
    """Densities of log|λ| of every probe on either side, (2, sizes, probes), |λ| in units of `rms`."""

    def transform(z: Array) -> Array:
        return rms * spectrum.terminated_stieltjes(rms * z, n_steps, mirrored)

    return np.stack([log_density(transform, sign) for sign in SIDES.values()])


def fine_density(spectrum: dict[str, Any]) -> Array:
    """The measured density at `FINE_ETA` on its grid, in units of the rms, from the record of a spectrum."""
    law, rms = SpectralDensity.from_recurrence(spectrum["alpha"], spectrum["beta"]), spectrum["rms"]
    density: Array = law.terminated_density(spectral_grid(FINE_ETA) * rms, FINE_ETA * rms)[0] * rms
    return density


def sampled_bulk_distances(measured: dict[str, Any], drawn: SpectralDensity) -> dict[str, Any]:
    """The distances of `bulk_distances` for a predicted law that is known by Lanczos recurrences.

    ``log_density``: its law of log|λ|, the mean of both sides.
    """
    grid, bulk, rms = spectral_grid(FINE_ETA), measured["bulk"], measured["rms"]
    density = drawn.terminated_density(grid * rms, FINE_ETA * rms)[0] * rms
    sides = dict(zip(SIDES, _measured_sides(drawn, rms).mean(axis=-1), strict=True))
    weights = trapezoid_weights(np.log(SIZES))
    return {
        "l1_fine": l1_distance(grid, fine_density(measured), density),
        "log_distance": sum(float(weights @ np.abs(bulk[name] - side)) for name, side in sides.items()),
        "log_density": (sum(sides.values()) / len(sides)).tolist(),
        "fine_interpolation_error": 0.0,
    }


def bulk_path() -> tuple[Array, Array]:
    """(points, weights) on which a law has to be known: the lower of z = E + iη and of the ray, out to 4 rms.

    Everything above them, which both distances look at, is known with them: errors of an analytic function are
    largest at the edge.
    """
    near = np.geomspace(SIZES[0], FINE_ETA / np.tan(WIDTH), 24, endpoint=False)
    grid = spectral_grid(FINE_ETA)
    energies = np.concatenate([near, grid[grid > near[-1]]])
    path: Array = energies + 1j * np.minimum(FINE_ETA, np.tan(WIDTH) * energies)
    return path, 2.0 * trapezoid_weights(energies) / np.pi


def bulk_distances(spectrum: dict[str, Any], law: Continuation, limit: int | None) -> dict[str, Any]:
    """``l1_fine`` and ``log_distance`` of a predicted law from the record of a measured spectrum of the same rms.

    ``l1_fine`` = ∫ |ρ_η - ρ̂_η| dE at `FINE_ETA`, on its grid; ``log_distance`` = Σ_± ∫ |q_± - q̂_±| d log|λ|;
    ``log_density`` the q̂ of either side. ``fine_interpolation_error``: what is left in ``l1_fine`` between the points
    where the law was solved, `limit` at most.
    """
    error = law.refine(*bulk_path(), FINE_ACCURACY, limit)
    grid, bulk = spectral_grid(FINE_ETA), spectrum["bulk"]

    def transform(z: Array) -> Array:
        g: Array = law.rms * law(np.asarray(law.rms * z, dtype=complex))
        return g

    side, weights = log_density(transform, 1), trapezoid_weights(np.log(SIZES))
    return {
        "l1_fine": l1_distance(grid, fine_density(spectrum), transform(grid + 1j * FINE_ETA).imag / np.pi),
        "log_distance": sum(float(weights @ np.abs(bulk[name] - side)) for name in SIDES),
        "log_density": side.tolist(),
        "fine_interpolation_error": error,
    }
