"""Outside the support of a law: its edges, and the eigenvalues that a low-rank term sends there.

For H = bulk + F M F*, F (n, r), M (r, r) Hermitian, det(H - E) = det(bulk - E) det(M) det(M^{-1} + F* G(E) F) with
the resolvent G of the bulk. Outside the bulk's support F* G(E) F is deterministic in the limit, Hermitian, and
increases with E: the eigenvalues of M^{-1} + F* G(E) F increase too, each crosses 0 at most once, and every
crossing is an isolated eigenvalue of H [Benaych2011]. For a Wigner matrix of
rms σ and M = θ that is θ + σ²/θ if θ > σ, and none otherwise [Feral2007]: the transition of [Baik2005].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from theory.solvers.covariance import Complex, Covariance, Function, Real, adjoint, hermitian
from theory.solvers.matrix_dyson import solve_matrix_dyson

Resolvent = Callable[[Real], Complex]
Transform = Callable[[Complex], Complex]

OUTSIDE = 0.95
"""Im G ~ η^p has p = 1 outside the support, ½ at a square-root edge, 0 inside: from here on it is outside."""
RELATIVE = 1e-10
"""Accuracy of a crossing, relative to the interval that is searched."""


def _exponent(low: Complex, high: Complex) -> Real:
    """p of Im ~ η^p from the values at η and 2 η."""
    return np.asarray(np.log2(high.imag / low.imag))


def spectral_edge(transform: Transform, inside: float, outside: float, height: float) -> float:
    """The edge of the support between two energies, to an error of order `height`.

    At a square-root edge Im g(E + iη) ~ η^{1/2}, between η^0 inside and η^1 outside: the edge is where
    Im g(E + 2iη)/Im g(E + iη) = √2.

    transform  z (k,) -> g(z) (k,), the Stieltjes transform of a law with a density
    inside     an energy in the support, `outside` one that is not; the one edge between them is found
    height     η, well below the distance to other edges, in units of the energies

    Raises ValueError if the two energies are not on different sides of an edge.
    """

    def excess(energy: float) -> float:
        low, high = transform(energy + 1j * height * np.array([1.0, 2.0]))
        return float(_exponent(low, high)) - 0.5

    if not excess(inside) < 0.0 < excess(outside):
        raise ValueError(
            f"the support has no edge between {inside:g} (inside) and {outside:g} (outside) at height {height:g}, "
            "expected one; move the energies or lower the height"
        )
    return float(brentq(excess, inside, outside, xtol=0.01 * height))


def axis_resolvent(
    covariance: Covariance | Function, vectors: ArrayLike, mean: ArrayLike | None = None, *, height: float
) -> Resolvent:
    """E -> F* G(E) F on the real axis outside the support, for `outliers`.

    The matrix Dyson equation is solved at E + iη and E + 2iη; the Hermitian parts, extrapolated to η = 0, leave
    an error of order η⁴ and the imaginary parts tell whether E is outside the support.

    covariance, mean  of the bulk, as in `solve_matrix_dyson`; with Covariance operators much faster
    vectors           (n, r) F
    height            η, small compared with the distance of E from the support

    The function returned takes energies (k,), returns (k, r, r) and raises ValueError where E is not outside.
    """
    f = np.asarray(vectors, dtype=np.complex128)
    if f.ndim != 2 or not np.isfinite(f).all():
        raise ValueError(f"vectors have shape {f.shape}, expected finite (n, r); pass one column for each direction")

    def resolvent(energies: Real) -> Complex:
        z = np.asarray(energies, dtype=np.float64)
        values = solve_matrix_dyson(covariance, z + 1j * np.array([[height], [2.0 * height]]), mean, size=len(f)).values
        low, high = (adjoint(f) @ values @ f).reshape(2, len(z), f.shape[1], f.shape[1])
        exponent = _exponent(np.trace(low, axis1=1, axis2=2), np.trace(high, axis1=1, axis2=2))
        if not (exponent > OUTSIDE).all():
            raise ValueError(
                f"the energy {z[np.argmin(exponent)]:g} is not outside the support at height {height:g}; "
                "choose an interval beyond the edge or lower the height"
            )
        axis = (4.0 * low - high) / 3.0
        return np.asarray(0.5 * (axis + adjoint(axis)))

    return resolvent


def outliers(resolvent: Resolvent, strength: ArrayLike, interval: tuple[float, float]) -> Real:
    """Isolated eigenvalues of bulk + F M F* in an interval outside the bulk's support, ascending.

    They solve det(M^{-1} + F* G(E) F) = 0. The count of negative eigenvalues of that matrix falls by one at each, so
    that none is missed; directions in which M is 0 play no part.

    resolvent  energies (k,) -> F* G(E) F (k, r, r) Hermitian, G = (bulk - E)^{-1}: from `axis_resolvent`, or
               known otherwise
    strength   M, (r, r) Hermitian or its diagonal (r,), in units of E
    interval   (lower, upper), finite, without a point of the support between

    Returns the positions, repeated where they coincide; empty if there are none. Raises ValueError if F* G F does not
    increase over the interval, as it does outside the support.
    """
    lower, upper = (float(end) for end in interval)
    if not lower < upper < np.inf or not np.isfinite(lower):
        raise ValueError(f"interval is ({lower:g}, {upper:g}), expected finite and ascending; pass (lower, upper)")
    given = np.asarray(strength)
    values, directions = np.linalg.eigh(hermitian("strength", np.diag(given) if given.ndim == 1 else given))
    kept: NDArray[np.bool_] = np.abs(values) > len(values) * np.finfo(np.float64).eps * np.abs(values).max()
    basis, inverse = directions[:, kept], np.diag(1.0 / values[kept])

    def levels(energies: list[float]) -> Real:
        inner = adjoint(basis) @ resolvent(np.array(energies)) @ basis
        return np.asarray(np.linalg.eigvalsh(inverse + inner))

    first, last = levels([lower, upper])
    if not (first <= last).all():
        raise ValueError(
            f"F* G F does not increase from {lower:g} to {upper:g}, expected it to, as outside the support; "
            "choose an interval without a point of the support"
        )
    crossing = np.flatnonzero((first < 0.0) & (last >= 0.0))
    width = RELATIVE * (upper - lower)
    found = [brentq(lambda e, j=j: float(levels([e])[0, j]), lower, upper, xtol=width) for j in crossing]
    return np.sort(np.array(found, dtype=np.float64))
