"""A measured Hessian spectrum as a record keeps it: nodes, weights, densities and shares, with standard errors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from simulator import SpectralDensity
from validation.run.storage import finite_or_none
from validation.statistics.bulk import describe_bulk
from validation.statistics.distances import spectral_grid
from validation.statistics.extremes import (
    SIDES,
    TAILS,
    fewer_steps,
    largest_eigenvalues,
    share_record,
    tail_energies,
    tail_shares,
)
from validation.statistics.mirror import mirror_symmetry

Array = np.ndarray[Any, Any]
SHARE_POINTS = 320  # of the integrals behind shares by sign


def describe_spectrum(
    spectrum: SpectralDensity, eta: float, rng: np.random.Generator, steps: int | None = None
) -> dict[str, Any]:
    """Raw nodes and weights, extreme Ritz values, shares by sign, symmetry, and the density at η rms on the grid.

    Nodes and weights are those of the first `steps` steps, α, β and all else rest on every step made. Energies and
    densities are in units of the rms; ``l1_standard_error`` and ``w1_standard_error`` are what two measurements like
    this one differ by. ``rms_standard_error`` has the unit of ``rms``, and is that of the probes.
    """
    nodes, rms = spectrum.nodes, spectrum.rms
    rule = spectrum if steps is None else spectrum.truncated(steps)
    kept = nodes[spectrum.weights > 0]
    described: dict[str, Any] = {
        "nodes": rule.nodes.tolist(),
        "weights": rule.weights.tolist(),
        "alpha": spectrum.alpha.tolist(),
        "beta": spectrum.beta.tolist(),
        "rms": rms,
        "minimum": float(kept.min()),
        "maximum": float(kept.max()),
        "rms_standard_error": rms_error(spectrum, rms),
        "symmetry": _symmetry(spectrum, eta * rms, rng),
        "tail_energies": [],
        "energies": [],
        "density": [],
        "standard_error": [],
        "tails": {
            "thresholds": list(TAILS),
            **tail_shares(spectrum, rms),
        },
        "largest": largest_eigenvalues(spectrum, rms) if rms > 0 else {side: [] for side in SIDES},
        "l1_standard_error": 0.0,
        "w1_standard_error": 0.0,
    }
    described |= _shares(spectrum, eta * rms)
    described["bulk"] = describe_bulk(spectrum)
    if rms > 0:
        grid = spectral_grid(eta)
        density, error = spectrum.terminated_density(grid * rms, eta * rms)
        described |= {
            "tail_energies": tail_energies(float(np.abs(nodes).max()) / rms).tolist(),
            "energies": grid.tolist(),
            "density": (density * rms).tolist(),
            "standard_error": [finite_or_none(float(e)) for e in error * rms],
            "l1_standard_error": finite_or_none(spectrum.l1_standard_error(grid * rms, eta * rms)),
            "w1_standard_error": finite_or_none(spectrum.w1_standard_error(grid * rms, eta * rms) / rms),
        }
    return described


def _symmetry(spectrum: SpectralDensity, eta: float, rng: np.random.Generator) -> dict[str, float | None]:
    found = asdict(mirror_symmetry(spectrum, eta, rng))
    return {name: finite_or_none(float(value)) for name, value in found.items()} | {"patterns": found["patterns"]}


def rms_error(spectrum: SpectralDensity, rms: float) -> float | None:
    """d rms = d(rms²)/(2 rms), from squares in units of rms²: those of tiny eigenvalues would vanish."""
    if rms == 0.0:
        return 0.0
    return finite_or_none(0.5 * rms * float(spectrum.statistic(lambda nodes: (nodes / rms) ** 2)[1]))


def _shares(spectrum: SpectralDensity, threshold: float) -> dict[str, Any]:
    """Shares of the spectrum below -threshold, above it and between, with standard errors.

    ρ(λ > t) = ½ + (1/π) ∫_ε^∞ Re g(t + iy) dy counts an eigenvalue at distance a from t by ½ + arctan(a/ε)/π: nodes
    near t do not jump from one side to the other, but the atom at 0 would leak out in proportion to ε. Extrapolated
    to ε = 0 from t/5 and t/10, 0.06 % of it does. The standard error is that of the probes, of the steps (with a
    quarter of them left out, and with the fraction mirrored) and of the extrapolation (from 2t/5 and t/5).
    """
    if threshold == 0.0:
        low = high = [np.zeros(spectrum.nodes.shape[0])]
    else:
        reach = 1e4 * float(np.abs(spectrum.nodes).max())
        low, high = (_beyond(spectrum, side * threshold, reach) for side in (-1.0, 1.0))
    between = [1.0 - a - b for a, b in zip(low, high, strict=True)]
    found = {"fraction_negative": low, "fraction_zero": between, "fraction_positive": high}
    return {name: share_record(spectrum, *values) for name, values in found.items()}


def _beyond(spectrum: SpectralDensity, t: float, reach: float) -> list[Array]:
    """Share of every probe's law beyond t on the side of its sign; then with fewer steps, mirrored, and coarser."""
    width = abs(t) / 10
    rungs = [np.geomspace(width * 2**k, width * 2 ** (k + 1), SHARE_POINTS // 8) for k in range(2)]
    heights = np.concatenate([rungs[0], rungs[1][1:], np.geomspace(4 * width, reach, SHARE_POINTS)[1:]])
    starts = (0, SHARE_POINTS // 8 - 1, 2 * (SHARE_POINTS // 8 - 1))

    def extrapolated(**how: Any) -> tuple[Array, Array]:
        slope = np.sign(t) * spectrum.terminated_stieltjes(t + 1j * heights, **how).real * heights[:, None]
        fine, middle, coarse = (0.5 + trapezoid(slope[k:], np.log(heights[k:]), axis=0) / np.pi for k in starts)
        return 2.0 * fine - middle, 2.0 * middle - coarse

    share, coarser = extrapolated()
    return [share, extrapolated(n_steps=fewer_steps(spectrum))[0], extrapolated(mirrored=True)[0], coarser]
