"""Spectra that the rungs are held against: coarse images, dense eigenvalues, L1 and its standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import HessianOperator, Network
from simulator.streams import Seed
from validation.data import Dataset
from validation.errors import OptionError
from validation.measurements.moments import hessian_moments
from validation.predictions.predict import predict_from_moments, predict_spectrum
from validation.predictions.rung import MOMENT_RUNGS
from validation.statistics.distances import energy_grid, l1_distance
from validation.statistics.estimate import Estimate

Array = np.ndarray[Any, Any]
ETA = 0.05  # in rms
SIDE = 4  # pixels of the coarse images
ENERGIES: Array = energy_grid()


def coarse_images(dataset: Dataset) -> Array:
    """Inputs averaged over colours and blocks to 4×4 grey pixels, overall deviation 1: (m, 16)."""
    x = np.asarray(dataset.x, dtype=np.float64)
    if x.ndim == 2:
        side = round(x.shape[1] ** 0.5)
        x = x.reshape(-1, side, side, 1)
    height, width = x.shape[1:3]
    if height % SIDE or width % SIDE:
        raise OptionError(f"--data: images of {height}x{width} pixels, expected sides that {SIDE} divides")
    blocks = x.reshape(len(x), SIDE, height // SIDE, SIDE, width // SIDE, x.shape[3])
    grey: Array = blocks.mean(axis=(2, 4, 5)).reshape(len(x), SIDE * SIDE)
    grey /= grey.std()
    return grey


def eigenvalues(operator: HessianOperator) -> Array:
    """All N of them, in increasing order."""
    values: Array = np.linalg.eigvalsh(operator.dense())
    return values


def rms(values: Array) -> float:
    """√(tr H²/N)."""
    return float(np.sqrt(np.mean(values**2)))


def points(scale: float) -> Array:
    """The energies z = E + iη of L1 where the rms is `scale`."""
    z: Array = scale * (ENERGIES + 1j * ETA)
    return z


def density(g: Array, scale: float) -> Array:
    """ρ_η in units of 1/rms from g at `points`."""
    rho: Array = g.imag / np.pi * scale
    return rho


def measured_density(values: Array, scale: float) -> Array:
    """ρ_η of eigenvalues in units of 1/rms."""
    return density(np.mean(1.0 / (values[:, None] - points(scale)), axis=0), scale)


def l1(first: Array, second: Array) -> float:
    """∫ |ρ - ρ'| dE of two densities on the grid."""
    return l1_distance(ENERGIES, first, second)


def asymmetry(rho: Array) -> float:
    """½ ∫ |ρ(E) - ρ(-E)| dE: the least L1 that a mirror-symmetric prediction can have."""
    return 0.5 * l1(rho, rho[::-1])


def predicted_density(
    network: Network, x: Array, c: Array, scale: float, rung: str, weights: Sequence[Array] | None, seed: Seed,
    backend: Backend,
) -> Array:  # fmt: skip
    """A rung's density in units of 1/rms. Raises `theory.ConvergenceError`."""
    if rung in MOMENT_RUNGS:
        assert weights is not None
        moments = hessian_moments(HessianOperator(network, weights, x, None, c=c, backend=backend), seed=seed)
        return density(predict_from_moments(moments, points(scale), rung), scale)
    return density(predict_spectrum(network, x, c, points(scale), rung, weights, seed, backend), scale)


def others_means(densities: Array) -> Array:
    """Means over all rows but one, for each row: (K, n) -> (K, n)."""
    means: Array = (densities.sum(axis=0) - densities) / (len(densities) - 1)
    return means


def spread(densities: Array) -> float:
    """Mean L1 between one row and the mean of the others."""
    return float(np.mean([l1(a, b) for a, b in zip(densities, others_means(densities), strict=True)]))


def noise_of_mean(densities: Array) -> float:
    """The L1 that the exact law would show against the mean of K rows: a row off the mean of the others has the
    variance σ² K/(K-1), the mean σ²/K."""
    k = len(densities)
    return spread(densities) * float(np.sqrt(k - 1)) / k


def l1_of_means(measured: Array, predicted: Array) -> Estimate:
    """L1 between the means of measured (K, n) and predicted (K', n) densities.

    Standard error: jackknife over the rows of either (a single predicted row is without error).
    """
    center = l1(measured.mean(axis=0), predicted.mean(axis=0))
    variance = 0.0
    for rows, other in ((measured, predicted), (predicted, measured)):
        if len(rows) > 1:
            left_out = [l1(row, other.mean(axis=0)) for row in others_means(rows)]
            variance += (len(rows) - 1) * float(np.var(left_out))
    return Estimate(center, variance**0.5)
