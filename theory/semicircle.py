"""Closed-form spectral laws (rung R0 of the ladder of predictions)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .inputs import real_array

Complex = NDArray[np.complex128]


def upper_half_plane(z: ArrayLike) -> Complex:
    """z as a complex array of its own shape, checked to be finite with Im z > 0 (else ValueError)."""
    points = np.asarray(z, dtype=np.complex128)
    bad = ~(np.isfinite(points) & (points.imag > 0.0))
    if bad.any():
        worst = complex(points[bad].ravel()[0])
        raise ValueError(f"z contains {worst}, expected finite values with Im z > 0; add i·eta, usually eta = 0.05 rms")
    return points


def semicircle(z: ArrayLike, rms: ArrayLike) -> Complex:
    """Stieltjes transform of Wigner's semicircle law (R0): the solution with Im g > 0 of

        -1/g = z + rms² g,   g(z) = -2 / (z + √(z - 2 rms) √(z + 2 rms)).

    Here g = (1/N) Σ 1/(λ - z), so the density smoothed by a Lorentzian of half-width Im z is Im g/π. On the
    principal branch the two terms of the denominator lie in the same quadrant: nothing cancels, near the
    real axis or far from the support.

    z    any shape, Im z > 0, in the units of the eigenvalues
    rms  root mean square eigenvalue ≥ 0, a number or an array that broadcasts with z; 0 gives -1/z

    Returns g in the broadcast shape. Raises ValueError for Im z ≤ 0 and for rms negative or not finite.
    Source: [Wigner1958].
    """
    points, width = upper_half_plane(z), real_array(rms, "rms")
    if not (np.isfinite(width) & (width >= 0.0)).all():
        raise ValueError(f"rms is {width.tolist()}, expected finite and >= 0; pass √(tr H²/N)")
    root = np.sqrt(points - 2.0 * width) * np.sqrt(points + 2.0 * width)
    return np.asarray(-2.0 / (points + root))
