"""Where few strong directions put the largest eigenvalues of a sum, and what is left of the directions.

A + Σ_j θ_j u_j u_j^T with orthonormal u_j that know nothing of A (isotropic beside its eigenvectors), far fewer than A
has eigenvalues: every θ_j binds one eigenvalue λ_j beyond the support of A where

    ∫ ρ_A(a) da / (λ_j - a) = 1/θ_j,        <u_j, v_j>² = 1 / ( θ_j² ∫ ρ_A(a) da / (λ_j - a)² )

[Benaych2011], v_j its eigenvector. For a Wigner matrix of rms σ: λ = θ + σ²/θ with overlap 1 - σ²/θ² for θ > σ
[Feral2007], and none below, the transition of [Baik2005]. `outliers` does the same for directions that are not
isotropic, whose resolvent is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory.shown import shown
from theory.signals import Real


@shown
@dataclass(frozen=True)
class Spikes:
    """``positions`` λ_j (r,) in the order of the strengths and ``overlaps`` <u_j, v_j>² (r,), both in the limit."""

    positions: Real
    overlaps: Real


def isotropic_spikes(strengths: ArrayLike, nodes: ArrayLike, weights: ArrayLike) -> Spikes:
    """Positions and overlaps of the eigenvalues that strengths θ_j > 0 (r,) bind above a law of atoms.

    ``nodes`` (k,) and ``weights`` (k,) ≥ 0 with sum 1: the law of A, such as a Gauss rule of its spectrum. The largest
    node ends the support: an atom binds a solution at any strength, so that below the transition λ_j lies just beyond
    the largest node and the overlap is small. Never below θ_j plus the mean of the law (Jensen).

    Raises `ValueError` for strengths that are not > 0 and for weights that are no law.

    >>> from theory import isotropic_spikes
    >>> found = isotropic_spikes([2.0], [-1.0, 1.0], [0.5, 0.5])
    >>> round(float(found.positions[0]), 6), round(float(found.overlaps[0]), 6)
    (2.414214, 0.853553)
    """
    theta, x, w = (np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (strengths, nodes, weights))
    if not (theta > 0.0).all() or not np.isfinite(theta).all():
        raise ValueError(
            f"strengths are {theta.tolist()}, expected finite numbers > 0; mirror the law for negative ones"
        )
    if x.ndim != 1 or x.shape != w.shape or (w < 0.0).any() or not abs(float(w.sum()) - 1.0) < 1e-6:
        raise ValueError(
            f"nodes have shape {x.shape}, weights {w.shape} with sum {float(w.sum()):.6g}: expected (k,) both and sum 1"
        )
    x, w = x[w > 0.0], w[w > 0.0]
    top, mean = float(x.max()), float(w @ x)
    own = float(w[x == top].sum())
    positions = np.array([_position(t, x, w, top, own, mean) for t in theta])
    squares = np.sum(w / np.square(positions[:, None] - x), axis=1)
    return Spikes(positions, 1.0 / (np.square(theta) * squares))


def _position(theta: float, x: Real, w: Real, top: float, own: float, mean: float) -> float:
    """The zero beyond `top` of Σ w/(λ - x) - 1/θ, which falls there from ∞ to -1/θ.

    The last atom alone gives at least own/(λ - top), all together at most 1/(λ - top), so that λ lies between
    top + own θ and top + θ; Jensen's λ ≥ mean + θ may be the better end.
    """
    low, high = max(top + own * theta, mean + theta), top + theta
    if not high > low:
        return high

    def excess(energy: float) -> float:
        return float(np.sum(w / (energy - x))) - 1.0 / theta

    if excess(low) <= 0.0:  # by rounding: a law of one atom, or a strength far beyond the law
        return low
    return high if excess(high) >= 0.0 else float(brentq(excess, low, high, xtol=1e-14 * (abs(low) + theta)))
