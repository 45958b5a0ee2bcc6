"""The law of a sum of two matrices whose eigenvectors know nothing of one another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.solvers.vector_dyson import ConvergenceError

Complex = NDArray[np.complex128]
Transform = Callable[[Complex], Complex]
TOLERANCE = 1e-9
ITERATIONS = 4000


def free_sum(first: Transform, second: Transform, z: ArrayLike) -> Complex:
    """g(z) of the free additive convolution of two laws, g(z) = ∫ ρ(x) dx/(x - z), Im z > 0; of z's shape.

    Two large matrices A and B, one of them turned at random, are free: the spectrum of A + B follows from theirs. With
    F(z) = -1/g(z), subordination reads [Belinschi2007]

        F_A(ω_A) = F_B(ω_B) = F(z),        ω_A + ω_B = z + F(z),

    solved by iterating ω_A ← z + h_B(z + h_A(ω_A)), h(ω) = F(ω) - ω, which contracts the upper half plane.

    first, second : z (k,) -> g(z) (k,), Stieltjes transforms of the two laws

    Raises `ValueError` where Im z ≤ 0 and `theory.ConvergenceError` where the iteration does not settle: too near the
    real axis.

    >>> import numpy as np
    >>> from theory import free_sum, semicircle
    >>> g = free_sum(lambda z: semicircle(z, 3.0), lambda z: semicircle(z, 4.0), np.array([1.0 + 0.5j]))
    >>> bool(np.abs(g - semicircle(np.array([1.0 + 0.5j]), 5.0)).max() < 1e-8)
    True
    """
    points = np.asarray(z, dtype=np.complex128)
    if not (points.imag > 0.0).all():
        raise ValueError("z must lie in the upper half plane: give every z an imaginary part > 0")
    flat = np.atleast_1d(points).ravel()

    def gap(transform: Transform, w: Complex) -> Complex:
        found: Complex = -1.0 / np.asarray(transform(w), dtype=np.complex128) - w
        found.imag = np.maximum(found.imag, 0.0)  # F - ω never leaves the half plane but by rounding
        return found

    w = flat.copy()
    left = np.arange(flat.size)
    for _ in range(ITERATIONS):
        new = flat[left] + gap(second, flat[left] + gap(first, w[left]))
        moved = np.abs(new - w[left]) > TOLERANCE * (1.0 + np.abs(new))
        w[left] = new
        left = left[moved]
        if left.size == 0:
            return np.asarray(first(w), dtype=np.complex128).reshape(points.shape)
    raise ConvergenceError(
        f"the free sum did not settle at {left.size} of {flat.size} energies, the first {flat[left[0]]:.4g}: "
        "raise the imaginary part"
    )
