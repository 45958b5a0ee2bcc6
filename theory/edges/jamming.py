"""The edge of capacity of a hinge: what the Hessian's inertia and the rank of the gradients say of it.

At a minimum of (1/m) Σ_i ℓ(u_i), ℓ the squared hinge, the Hessian is G + H, G = (1/m) Σ_{active} ∇T_i ∇T_i^T of rank at
most N_active. By Weyl's inequality, for any symmetric H and any G ≥ 0,

    N_-(H) ≤ N_-(H + G) + rank G,      so that  N_active ≥ N_-(H)  wherever H + G ≥ 0

[Spigler2019, Geiger2019]. The smallest number k of active examples that can be stable, k = N_-(k), is the stability
edge (`stability_edge`); fewer examples than that have no strict minimum with a risk above 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.shown import shown


@shown
@dataclass(frozen=True)
class Inertia:
    """How many eigenvalues of a symmetric matrix are ``negative``, ``zero`` (to rounding) and ``positive``."""

    negative: int
    zero: int
    positive: int


def inertia(eigenvalues: ArrayLike, scale: float | None = None) -> Inertia:
    """The inertia of a symmetric matrix (N, N) from all of its eigenvalues (N,).

    Zero is at most N times the rounding of double precision times ``scale``, by default the largest |λ|. Weyl's
    inequality between two matrices survives the rounding where the scale is that of the sum.

    Raises `ValueError` for eigenvalues that are not one row of finite numbers.

    >>> from theory import inertia
    >>> inertia([-1.0, 0.0, 1e-17, 2.0, 3.0])
    Inertia(negative=1, zero=2, positive=2)
    """
    values = np.asarray(eigenvalues, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"eigenvalues have shape {values.shape}: expected (N,) finite numbers, give all of a matrix")
    largest = float(np.abs(values).max(initial=0.0)) if scale is None else scale
    least = values.size * np.finfo(np.float64).eps * largest
    negative, positive = int(np.sum(values < -least)), int(np.sum(values > least))
    return Inertia(negative, values.size - negative - positive, positive)


def stability_edge(negatives: Callable[[int], int], most: int) -> int | None:
    """The smallest k ≤ `most` with N_-(k) ≤ k, N_-(k) = ``negatives(k)`` for k active examples; None where none is.

    Found by bisection: N_-(k) - k is taken to change its sign once. With k active examples below it, H + G has a
    negative eigenvalue, so that a minimum with a risk above 0 has at least so many active examples. Raises `ValueError`
    for `most` below 1.

    >>> from theory import stability_edge
    >>> stability_edge(lambda k: min(3 * k, 12), 100)
    12
    """
    if most < 1:
        raise ValueError(f"most is {most}, expected an integer >= 1")
    if negatives(most) > most:
        return None
    below, edge = 0, most
    while edge - below > 1:
        middle = (below + edge) // 2
        below, edge = (below, middle) if negatives(middle) <= middle else (middle, edge)
    return edge
