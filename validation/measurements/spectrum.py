"""A measured Hessian spectrum as a record keeps it: nodes, weights, densities and shares, with standard errors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from simulator import SpectralDensity
from validation.run.storage import finite_or_none
from validation.statistics.bulk import describe_bulk
from validation.statistics.distances import TAILS, mirror_symmetry, spectral_grid

Array = np.ndarray[Any, Any]
SHARE_POINTS = 320  # of the integrals behind shares by sign


def describe_spectrum(
    spectrum: SpectralDensity, eta: float, rng: np.random.Generator, steps: int | None = None
) -> dict[str, Any]:
    """Raw nodes and weights, extreme Ritz values, shares by sign, symmetry, and the density at η rms on the grid.

    Nodes and weights are those of the first `steps` steps, α, β and all else rest on every step made. Energies and
    densities are in units of the rms; ``l1_standard_error`` is what two measurements like this one differ by.
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
        "symmetry": asdict(mirror_symmetry(spectrum, eta * rms, rng)),
        "energies": [],
        "density": [],
        "standard_error": [],
        "tails": {
            "thresholds": list(TAILS),
            "negative": _tail_shares(spectrum, -1),
            "positive": _tail_shares(spectrum, 1),
        },
        "l1_standard_error": 0.0,
    }
    described |= _shares(spectrum, eta * rms)
    described["bulk"] = describe_bulk(spectrum)
    if rms > 0:
        grid = spectral_grid(eta)
        density, error = spectrum.terminated_density(grid * rms, eta * rms)
        described |= {
            "energies": grid.tolist(),
            "density": (density * rms).tolist(),
            "standard_error": [finite_or_none(float(e)) for e in error * rms],
            "l1_standard_error": finite_or_none(spectrum.l1_standard_error(grid * rms, eta * rms)),
        }
    return described


def _tail_shares(spectrum: SpectralDensity, sign: int) -> list[dict[str, float | None]]:
    """Shares of the spectrum beyond 4, 8 and 12 rms on one side, from the nodes there, with standard errors."""
    shorter = spectrum.truncated(_fewer(spectrum))

    def share(threshold: float) -> dict[str, Any]:
        found = [np.sum(s.weights * (sign * s.nodes > threshold), axis=-1) for s in (spectrum, shorter)]
        return _share(spectrum, *found)

    return [share(t * spectrum.rms) for t in TAILS]


def _fewer(spectrum: SpectralDensity) -> int:
    """Three quarters of the steps."""
    return max(1, int(spectrum.alpha.shape[1]) * 3 // 4)


def _share(spectrum: SpectralDensity, values: Array, *others: Array) -> dict[str, Any]:
    """Mean over probes of a share, with its standard error from probes and from what the `others` change."""
    error = finite_or_none(float(spectrum.share_error(values, *others)))
    return {"value": float(values.mean()), "standard_error": error}


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
    return {name: _share(spectrum, *values) for name, values in found.items()}


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
    return [share, extrapolated(n_steps=_fewer(spectrum))[0], extrapolated(mirrored=True)[0], coarser]
