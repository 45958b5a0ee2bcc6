"""Mass beyond an energy, and where the largest eigenvalue is to be expected, from a Stieltjes transform.

A smoothed density has Lorentzian tails, in which a few far eigenvalues drown. The mass beyond t needs no smoothing: it
is an integral of g along the vertical line through t,

    ρ(λ > t) = ½ + (1/π) ∫_0^∞ Re g(t + iy) dy = (1/π) ∫_0^∞ [ Re g(t + iy) + t/(t² + y²) ] dy,

whose integrand is smooth unless an atom sits at t.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from .signals import Complex, Real

Transform = Callable[[Complex], Complex]
NODES = 12
"""Gauss-Legendre nodes in arctan(y/t): the mass of the semicircle beyond 1.95 rms comes out to 1e-5."""


def mass_beyond(transform: Transform, thresholds: ArrayLike) -> Real:
    """ρ(λ > t) for every t > 0 of `thresholds` (n,), of the law with Stieltjes transform g(z), z complex (any shape).

    For a symmetric law also ρ(λ < -t). Meant for tails: the quadrature resolves g on the scale of t, which has to be
    that of the spectrum, half its rms or more. Raises ValueError for t ≤ 0.
    """
    t = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if not (t > 0.0).all():
        raise ValueError(f"thresholds are {t.tolist()}, expected energies > 0; the mass below is 1 less that above")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    angle, weight = 0.25 * np.pi * (nodes + 1.0), 0.25 * np.pi * weights
    height = t[:, None] * np.tan(angle)
    slope = t[:, None] / np.cos(angle) ** 2
    excess = transform(t[:, None] + 1j * height).real + t[:, None] / (t[:, None] ** 2 + height**2)
    mass: NDArray[np.float64] = (excess * slope) @ weight / np.pi
    return mass


def expected_largest(transform: Transform, n: int, rms: float, reach: float = 60.0) -> float:
    """The energy beyond which n eigenvalues leave ½ on average: the median place of the largest, were they independent.

    Searched between rms/2 and `reach` rms, to 1 %. Raises ValueError where the count does not fall through ½ there.
    """

    def excess(log_t: float) -> float:
        count = n * mass_beyond(transform, np.exp(log_t))[0]
        return float(np.log(max(count, 1e-3) / 0.5))  # beyond the edge only rounding is left of the count

    low, high = np.log(0.5 * rms), np.log(reach * rms)
    if not excess(low) > 0.0 > excess(high):
        raise ValueError(f"the expected count does not fall through ½ between 0.5 and {reach:g} rms: raise reach")
    return float(np.exp(brentq(excess, low, high, xtol=0.01)))
