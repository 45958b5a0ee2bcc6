"""What the tests of predictions share: small real images, and L1 against dense eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from validation.statistics.distances import energy_grid, l1_distance

Array = np.ndarray[Any, Any]
ETA = 0.05


def small_digits(m: int, side: int = 4) -> tuple[Array, Array]:
    """The first m digits averaged to side×side pixels and standardised, (m, side²), odd (+1) against even."""
    images, labels = load_digits(return_X_y=True)
    x = images.reshape(-1, side, 8 // side, side, 8 // side).mean(axis=(2, 4)).reshape(-1, side * side)
    x = (x - x.mean(axis=0)) / (x - x.mean(axis=0)).std()
    return x[:m], labels[:m] % 2 * 2.0 - 1.0


def transform(eigenvalues: Array, z: Array) -> Array:
    """g(z) = mean of 1/(λ - z)."""
    return np.stack([np.mean(1.0 / (eigenvalues.ravel() - point)) for point in z])


def l1_error(eigenvalues: Array, law: Callable[[Array], Array], n: int = 60) -> float:
    """L1 between eigenvalues (of one matrix or several) and z -> g(z), on energy_grid(n) at η = 0.05 rms."""
    grid, rms = energy_grid(n), float(np.sqrt(np.mean(eigenvalues**2)))
    z = rms * (grid + 1j * ETA)
    measured, predicted = (g.imag * rms / np.pi for g in (transform(eigenvalues, z), law(z)))
    return l1_distance(grid, measured, predicted)


def even_moments(law: Callable[[Array], Array], radius: float, points: int = 48) -> Array:
    """Moments 0, 2, 4 of z -> g(z): m_k = -(1/2πi) ∮ z^k g(z) dz on a circle around the support, g(z̄) = conj g(z)."""
    z = radius * np.exp(1j * np.pi * (np.arange(points) + 0.5) / points)
    g = law(z)
    return np.array([-np.mean((z ** (k + 1) * g).real) for k in (0, 2, 4)])
