"""Mass beyond an energy, and where the largest eigenvalue is to be expected, from a Stieltjes transform.

A smoothed density has Lorentzian tails, in which a few far eigenvalues drown. The mass beyond t needs no smoothing: it
is an integral of g along the vertical line through t,

    ρ(λ > t) = ½ + (1/π) ∫_0^∞ Re g(t + iy) dy = (1/π) ∫_0^∞ [ Re g(t + iy) + t/(t² + y²) ] dy,

whose integrand is smooth unless an atom sits at t.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import AAA
from scipy.optimize import brentq

from .dyson import ConvergenceError
from .signals import Complex, Real

Transform = Callable[[Complex], Complex]
NODES = 12
"""Gauss-Legendre nodes in arctan(y/t): the mass of the semicircle beyond 1.95 rms comes out to 1e-5."""
RAYS = (0.015, 0.08, 0.25, 0.7, 1.3)
"""Angles from the real axis at which g is sampled to be continued."""
PER_RAY, N_CHECKS, CHECK_RAY = 14, 4, 0.035
ROUNDING = 1e-5
"""Relative error that the values of g may have: solved by iteration."""
CONTINUATION_POINTS = len(RAYS) * PER_RAY + N_CHECKS
"""Values of g that `continued` asks for at first."""
REFINEMENTS = 3
"""Times that the energies on the rays may lie twice as close, the first time included."""


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


def continued(transform: Transform, rms: float, accuracy: float = 5e-3, reach: float = 60.0) -> Transform:
    """g of a symmetric law everywhere above the real axis with |z| between rms and `reach` rms, from few values.

    -z g(z) is analytic in the upper half-plane: a rational function through its values on a few rays (adaptive
    Antoulas-Anderson; Nakatsukasa, Sète & Trefethen, SIAM J. Sci. Comput. 40, 2018) continues it to all of it.
    g(-z̄) = -conj g(z) doubles the values. `transform` is asked for `CONTINUATION_POINTS` values, and for twice and
    four times as many where the function is off by more than `accuracy`, relative to g, at points left out.

    An error of g at one place is one of the density there: masses, being integrals, come out a hundred times better.
    Raises `ConvergenceError` where the accuracy is not reached.
    """

    def sampled(energies: Real, rays: Sequence[float]) -> tuple[Complex, Complex]:
        places = np.outer(rms * energies, np.exp(1j * np.array(rays))).ravel()
        return places, places * transform(places)

    checks, expected = sampled(np.geomspace(1.0, 0.5 * reach, N_CHECKS), (CHECK_RAY,))
    energies = np.geomspace(0.8, reach, PER_RAY)
    points, values = sampled(energies, RAYS)
    for refinement in range(REFINEMENTS):
        if refinement:
            between = np.sqrt(energies[1:] * energies[:-1])
            more, there = sampled(between, RAYS)
            energies = np.sort(np.concatenate([energies, between]))
            points, values = np.concatenate([points, more]), np.concatenate([values, there])
        rational = _rational(points, values, 2 * len(energies))
        error = float(np.abs(rational(checks) / expected - 1.0).max())
        if error <= accuracy:
            return lambda z: rational(np.ravel(z)).reshape(np.shape(z)) / z
    raise ConvergenceError(
        f"the rational function through {len(points)} values of g is off by {error:.3g} at points left out, expected "
        f"at most {accuracy:.3g}; solve for g at every point instead"
    )


def _rational(points: Complex, values: Complex, terms: int) -> Transform:
    """The rational function through values and their mirror images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # not reached to rtol: points left out tell how far it is off
        both = np.concatenate([points, -points.conj()]), np.concatenate([values, values.conj()])
        found: Transform = AAA(*both, rtol=ROUNDING, max_terms=terms)
    return found
