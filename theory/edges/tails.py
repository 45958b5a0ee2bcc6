"""Mass beyond an energy, and where the largest eigenvalue is to be expected, from a Stieltjes transform.

A smoothed density has Lorentzian tails, in which a few far eigenvalues drown. The mass beyond t needs no smoothing: it
is an integral of g along the vertical line through t,

    ρ(λ > t) = ½ + (1/π) ∫_0^∞ Re g(t + iy) dy = (1/π) ∫_0^∞ [ Re g(t + iy) + t/(t² + y²) ] dy,

whose integrand is smooth unless an atom sits at t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from theory.signals import Real
from theory.solvers.continuation import Continuation, Transform
from theory.solvers.vector_dyson import ConvergenceError

NODES = 12
"""Gauss-Legendre nodes in arctan(y/t): the mass of the semicircle beyond 1.95 rms comes out to 1e-5."""
RAY = 0.014
"""Angle from the real axis of the ray on which g is sampled: that of the lowest node of `mass_beyond`."""
TARGETS = 144
"""Points of that ray."""
CHECKS = tuple(complex(r * np.cos(a), r * np.sin(a)) for r, a in ((1.0, 0.25), (2.5, 0.6), (7.0, 0.25), (20.0, 0.6)))
"""Points off the ray, in rms, at which the continued law is tried."""


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


def expected_positions(transform: Transform, n: int, rms: float, count: int = 1, reach: float = 60.0) -> Real:
    """Where the `count` largest of n eigenvalues are to be expected, the largest first: (count,) in the units of z.

    The k-th lies where k - ½ are left beyond on average: its median place, were they independent. Outliers, too, are
    predicted so: they are eigenvalues far out, whether or not the law has a gap below them. Searched between rms and
    `reach` rms, to 1 %: hundreds of values of g, so that a law slow to solve wants `continued` first.

    Raises ValueError where the number beyond does not fall through count - ½ and through ½ there.
    """

    def excess(log_t: float, left: float) -> float:
        beyond = n * mass_beyond(transform, np.exp(log_t))[0]
        return float(np.log(max(beyond, 1e-3) / left))  # beyond the edge only rounding is left of the count

    ranks = np.arange(1, count + 1) - 0.5
    low, high = np.log(rms), np.log(reach * rms)
    if not excess(low, ranks[-1]) > 0.0 > excess(high, 0.5):
        raise ValueError(
            f"the expected count does not fall through {ranks[-1]:g} and 0.5 between 1 and {reach:g} rms: "
            f"raise reach, or ask for fewer than {count}"
        )
    found = []
    for left in ranks[::-1]:
        low = low if excess(low, left) > 0.0 else low - 0.01
        found.append(float(brentq(excess, low, high, args=(left,), xtol=0.005)))
        low = found[-1]
    return np.exp(found[::-1])


def continued(
    law: Transform | Continuation, rms: float | None = None, accuracy: float = 1e-3, reach: float = 60.0
) -> Continuation:
    """g of a symmetric law everywhere above the real axis out to `reach` rms, from few values: masses, positions.

    law       z -> g(z) with `rms` given, or a `Continuation` that knows values already, which is carried on
    accuracy  of g along the ray at `RAY` from the real axis, relative and in the integral over log|z|; five times as
              much at `CHECKS` far above it

    An error of g at one place is one of the density there: masses, being integrals, come out a hundred times better.
    Raises `ConvergenceError` where the accuracy is not reached with every point of the ray solved.
    """
    if not isinstance(law, Continuation):
        if rms is None:
            raise ValueError("rms is missing, expected the rms of the law; pass it, or a Continuation that knows it")
        law = Continuation(law, rms)
    targets = np.geomspace(0.3, reach, TARGETS) * np.exp(1j * RAY)
    error = law.refine(targets, np.abs(targets) * np.log(reach / 0.3) / TARGETS, accuracy)
    far = float((np.abs(CHECKS) * law.miss(np.array(CHECKS))).max())
    error = max(error, 0.2 * far)
    if error > accuracy:
        raise ConvergenceError(
            f"the rational function through {len(law.points)} values of g is off by {error:.3g} at points left out, "
            f"expected at most {accuracy:.3g}; solve for g at every point instead"
        )
    return law
