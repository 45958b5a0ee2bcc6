"""Whether a measured spectrum is that of its mirror image (docs/theory/estimators.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid

from simulator import SpectralDensity

from .extremes import fewer_steps

Array = np.ndarray[Any, Any]
MIRROR_PATTERNS = 999
POINTS = 600  # energies on either side at which the two laws are compared
TIE = 1e-9  # relative: equal statistics count as equal


@dataclass(frozen=True)
class MirrorSymmetry:
    """W1 between a spectrum and its mirror image over the rms, a test of its symmetry, and two odd ratios.

    ``value`` is W1; ``standard_error``: how far it may be from that of the spectrum itself, by probes and by steps.
    ``p_value``: of the exact randomisation test, the share of mirrorings whose statistic is no smaller. Each probe's
    measure is mirrored or not, and a symmetric law makes all of these equally probable; so the least p-value of n
    probes is 1/2^(n-1), and 6 probes are the fewest that can reject at 5 %. ``null_95``: the least number that at most
    5 % of the mirrorings exceed. ``patterns``: the number of mirrorings.

    W1 hardly sees outliers. ``m3`` = tr H³/(N rms³), with its standard error from probes, does. ``skew`` =
    tr H³ / tr |H|³ is the same on a scale from -1 to 1; 0 for a symmetric spectrum.
    """

    value: float
    standard_error: float
    null_95: float
    p_value: float
    patterns: int
    m3: float
    m3_standard_error: float
    skew: float
    skew_standard_error: float


def mirror_symmetry(spectrum: SpectralDensity, eta: float, rng: np.random.Generator) -> MirrorSymmetry:
    """The symmetry of a measured spectrum, of its law smoothed by `eta`; all zeros, and p = 1, for the zero spectrum.

    W1 = ∫ |F(E) - F(-E)| dE over all energies (Gauss nodes alone would jump by their spacing). Up to 10 probes every
    mirroring is enumerated (the first probe's is fixed: mirroring all changes nothing); beyond, `MIRROR_PATTERNS` are
    drawn, and the measured one is counted among them, so that the test stays exact.

    Source: Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39, for p-values of drawn patterns.
    """
    rms = spectrum.rms
    if rms == 0.0:
        return MirrorSymmetry(0.0, 0.0, 0.0, 1.0, 0, 0.0, 0.0, 0.0, 0.0)
    half = np.concatenate([[0.0], np.geomspace(eta / 10, 2.0 * np.abs(spectrum.nodes).max(), POINTS)])
    odd, even = _beyond(spectrum, half, eta, None)
    signs = _patterns(spectrum.nodes.shape[0], rng)
    null = 2.0 * trapezoid(np.abs(odd @ signs.T / signs.shape[1]), half, axis=0) / rms
    value = float(null[0])
    m3, m3_error = spectrum.statistic(lambda nodes: (nodes / rms) ** 3)  # rms³ may underflow
    skew, skew_error = _skew(spectrum, rms)
    return MirrorSymmetry(
        value=value,
        standard_error=_error(spectrum, half, eta, odd, even) / rms,
        null_95=float(np.quantile(null, 0.95, method="inverted_cdf")),
        p_value=float(np.mean(null >= value * (1.0 - TIE))),
        patterns=len(signs),
        m3=float(m3),
        m3_standard_error=float(m3_error),
        skew=skew,
        skew_standard_error=skew_error,
    )


def _beyond(spectrum: SpectralDensity, half: Array, eta: float, steps: int | None) -> tuple[Array, Array]:
    """∫_E^∞ (ρ(e) ∓ ρ(-e)) de of every probe at E of `half`, (energies, probes): the odd and the even part.

    The mirror images differ by the odd one, the same at E and at -E.
    """
    sides = [spectrum.terminated_densities(sign * half, eta, steps) for sign in (1.0, -1.0)]
    up, down = (-cumulative_trapezoid(side[::-1], half[::-1], axis=0, initial=0.0)[::-1] for side in sides)
    return up - down, up + down


def _patterns(probes: int, rng: np.random.Generator) -> Array:
    """Signs (patterns, probes), the measured pattern (all +1) first."""
    if 2 ** (probes - 1) <= MIRROR_PATTERNS:
        return np.array([(1, *rest) for rest in product((1, -1), repeat=probes - 1)])
    return np.concatenate([np.ones((1, probes)), rng.integers(0, 2, (MIRROR_PATTERNS, probes)) * 2.0 - 1.0])


def _error(spectrum: SpectralDensity, half: Array, eta: float, odd: Array, even: Array) -> float:
    """What W1 is expected to be for noise alone: √(2/π) 2∫σ(E) dE of the probes, and the change by fewer steps.

    The function of λ behind the odd part has absolute value at most that behind the even part, which is at most 1: so
    the even part bounds its mean square.
    """
    mean = odd.mean(axis=1)
    spread = np.clip(even.mean(axis=1), 0.0, 1.0) - mean**2
    deviation = np.sqrt(spectrum.probe_variance(odd, spread))
    shorter = _beyond(spectrum, half, eta, fewer_steps(spectrum))[0].mean(axis=1)
    probes = math.sqrt(2.0 / math.pi) * 2.0 * float(trapezoid(deviation, half))
    return math.hypot(probes, 2.0 * float(trapezoid(np.abs(shorter - mean), half)))


def _skew(spectrum: SpectralDensity, rms: float) -> tuple[float, float]:
    """tr H³ / tr |H|³ and its standard error, of the ratio of two means over the same probes."""
    size = float(spectrum.statistic(lambda nodes: np.abs(nodes / rms) ** 3)[0])
    skew = float(spectrum.statistic(lambda nodes: (nodes / rms) ** 3)[0]) / size
    _, error = spectrum.statistic(lambda nodes: (nodes / rms) ** 3 - skew * np.abs(nodes / rms) ** 3)
    return skew, float(error) / size
