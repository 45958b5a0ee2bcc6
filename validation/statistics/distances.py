"""How far two spectra, or a spectrum and its mirror image, are apart (docs/theory/estimators.md)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid

from simulator import SpectralDensity

Array = np.ndarray[Any, Any]
MIRROR_PATTERNS = 999
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


@dataclass(frozen=True)
class MirrorSymmetry:
    """W1 between a spectrum and its mirror image over the rms, and what chance alone gives.

    ``value``; ``null_95``, the 95 % point of the same statistic when each probe's measure is mirrored at random;
    ``patterns``, the number of mirrorings behind it; ``m3`` = tr H³/(N rms³) and its standard error from probes.
    """

    value: float
    null_95: float
    patterns: int
    m3: float
    m3_standard_error: float


def mirror_symmetry(spectrum: SpectralDensity, eta: float, rng: np.random.Generator) -> MirrorSymmetry:
    """The symmetry statistic of a measured spectrum, of its law smoothed by `eta`; all zeros for the zero spectrum.

    W1 = ∫ |F(E) - F(-E)| dE over all energies (Gauss nodes alone would jump by their spacing). With few probes every
    mirroring is enumerated (the first probe's is fixed: mirroring all changes nothing).
    """
    rms, probes = spectrum.rms, spectrum.nodes.shape[0]
    if rms == 0.0:
        return MirrorSymmetry(0.0, 0.0, 0, 0.0, 0.0)
    half = np.concatenate([[0.0], np.geomspace(eta / 10, 2.0 * np.abs(spectrum.nodes).max(), 600)])
    odd = spectrum.terminated_densities(half, eta) - spectrum.terminated_densities(-half, eta)
    # The mirror images differ by Δ(E) = ∫_E^∞ (ρ(e) - ρ(-e)) de, the same at E and -E.
    tail = -cumulative_trapezoid(odd[::-1], half[::-1], axis=0, initial=0.0)[::-1]
    if 2 ** (probes - 1) <= MIRROR_PATTERNS:
        signs = np.array([(1, *rest) for rest in product((1, -1), repeat=probes - 1)])
    else:
        signs = rng.integers(0, 2, (MIRROR_PATTERNS, probes)) * 2 - 1
    null = 2.0 * trapezoid(np.abs(tail @ signs.T / probes), half, axis=0) / rms
    value = 2.0 * trapezoid(np.abs(tail.mean(axis=1)), half) / rms
    m3, error = spectrum.statistic(lambda nodes: (nodes / rms) ** 3)  # rms³ may underflow
    return MirrorSymmetry(
        float(value),
        float(np.quantile(null, 0.95)),
        len(signs),
        float(m3),
        float(error),
    )
