"""How a wide ReLU layer maps the correlation of two inputs: the arc-cosine kernel of order 1, normalised [Cho2009].

The correlation of two signals is their cosine, x(a)·x(b)/(||x(a)|| ||x(b)||). With intact weights and wide layers

    ρ_l = κ(ρ_{l-1}),   κ(ρ) = (√(1-ρ²) + ρ (π - arccos ρ))/π,   κ'(ρ) = 1 - arccos(ρ)/π,

whatever the variance of the weights. κ'(1) = 1, and distances between close inputs grow by χ = n_{l-1} s_l²/2 a layer
(mean squares of a neuron), the slope of the map of covariances [Poole2016]. χ = 1 at variance 2/fan-in, which is the
edge of chaos.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.float64]


def _cosine(rho: ArrayLike) -> Real:
    cosine = np.asarray(rho, dtype=np.float64)
    if not (np.abs(cosine) <= 1.0).all():
        raise ValueError(
            f"correlations hold {np.ravel(cosine)[np.argmax(np.abs(cosine))]:g}: expected numbers in [-1, 1]"
        )
    return cosine


def correlation_map(rho: ArrayLike, layers: int = 1) -> Real:
    """κ applied `layers` times to correlations of any shape, all in [-1, 1] (`ValueError` otherwise).

    >>> correlation_map([-1.0, 0.0, 1.0]).round(4).tolist()
    [0.0, 0.3183, 1.0]
    """
    cosine = _cosine(rho)
    if layers < 0:
        raise ValueError(f"layers {layers} is not usable: use an integer >= 0")
    for _ in range(layers):
        made = (np.sqrt(1.0 - cosine**2) + cosine * (np.pi - np.arccos(cosine))) / np.pi
        cosine = np.clip(made, -1.0, 1.0)
    return cosine


def correlation_slope(rho: ArrayLike) -> Real:
    """κ'(ρ) = 1 - arccos(ρ)/π, twice the chance that both gates of a neuron are on.

    >>> correlation_slope([-1.0, 0.0, 1.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.asarray(1.0 - np.arccos(_cosine(rho)) / np.pi)


def stretch(widths: Sequence[int], variances: Sequence[float]) -> Real:
    """χ_l = n_{l-1} s_l²/2 of hidden layers l = 1..L-1: the growth of a small difference, in mean squares per neuron.

    widths [n_0, ..., n_L], variances s_1²..s_L². Raises ValueError where their numbers do not go together.

    >>> stretch([8, 4, 4, 1], [0.25, 0.5, 1.0]).tolist()
    [1.0, 1.0]
    """
    if len(variances) != len(widths) - 1:
        raise ValueError(f"{len(widths)} widths and {len(variances)} variances: expected one variance per layer")
    return np.asarray(widths[:-2], dtype=np.float64) * np.asarray(variances[:-1], dtype=np.float64) / 2.0
