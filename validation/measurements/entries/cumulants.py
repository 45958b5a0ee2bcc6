"""Cross-cumulants of pairs of entries over the examples, each with a statistic that says how sure it is.

For standardised entries a, b (mean 0, mean square 1 over m examples) and M_jk = mean a^j b^k::

    κ_ab = M_11,    κ_aab = M_21,    κ_aabb = M_22 - 1 - 2 M_11².

To first order each is the mean over the examples of a product d_i (its influence function, the estimated means and
variances included)::

    κ_ab: ab,    κ_aab: (a²-1)b - 2 M_11 a,    κ_aabb: (a²-1)(b²-1) - 4 M_11 ab - 2 M_12 a - 2 M_21 b + 2 M_11²,

and the statistic is the self-normalised V = Σ d / sqrt(Σ d²). Entries are products that vanish on many examples and
have heavy tails, so that a standard error from Gaussian entries would be wrong; V carries its own, and |V| is at most
the square root of the number of examples with d ≠ 0: a few examples cannot make it large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend

Array = np.ndarray[Any, Any]
KINDS = ("covariance", "third", "fourth")


@dataclass(frozen=True)
class CrossCumulants:
    """``value`` and ``statistic`` V of every ordered pair, (E, E); row a, column b. Symmetric but for κ_aab."""

    value: Array
    statistic: Array


def standardise(values: Array) -> Array:
    """Columns of (m, E) less their mean over their standard deviation, float64; every column must vary."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    standard: Array = centred / np.sqrt(np.mean(centred**2, axis=0))
    return standard


def cross_cumulants(standard: Array, ops: Backend) -> dict[str, CrossCumulants]:
    """κ_ab, κ_aab and κ_aabb of all pairs of standardised columns (m, E), by name (`KINDS`).

    Eight matrix products on the backend; what they add up to is put together in float64 on the host.
    """
    mean = _mixed_moments(standard, ops)
    correlation, m = mean[1, 1], standard.shape[0]
    fourth = mean[2, 2] - 1.0 - 2.0 * correlation**2
    squares = {"covariance": mean[2, 2], "third": _third_square(mean), "fourth": _fourth_square(mean, standard)}
    values = {"covariance": correlation, "third": mean[2, 1], "fourth": fourth}
    return {kind: CrossCumulants(values[kind], _normalised(values[kind], squares[kind], m)) for kind in KINDS}


def resolutions(standard: Array) -> dict[str, Array]:
    """The correlation per unit of V that is seen at best, with a partner that is large on the same examples, (E,).

    By kind: sqrt(mean f^4)/(√m mean f²) of f = a (covariance) or f = a²-1, one over V of an entry with itself.
    """
    plain, squared = _resolution(standard), _resolution(standard**2 - 1.0)
    return {"covariance": plain, "third": squared, "fourth": squared}


def _resolution(f: Array) -> Array:
    square = f**2
    mean = np.mean(square, axis=0)
    resolution = np.full(mean.shape, np.inf)  # of f = 0, a two-valued entry
    np.divide(np.sqrt(np.mean(square**2, axis=0) / len(f)), mean, out=resolution, where=mean > 0)
    return resolution


def _normalised(value: Array, square: Array, m: int) -> Array:
    """V = √m mean d / sqrt(mean d²), at most √m by Cauchy and Schwarz; rounding of the squares must not break that."""
    root = np.sqrt(np.maximum(square, value**2))
    statistic: Array = np.sqrt(m) * np.divide(value, root, out=np.zeros_like(value), where=root > 0)
    return statistic


def _mixed_moments(standard: Array, ops: Backend) -> dict[tuple[int, int], Array]:
    """M_jk of all pairs for the j, k that the cumulants and their errors need."""
    xp, m = ops.xp, standard.shape[0]
    power = {1: ops.asarray(standard)}
    for k in (2, 3, 4):
        power[k] = power[k - 1] * power[1]
    mean: dict[tuple[int, int], Array] = {}
    with ops.computing():
        for j, k in ((1, 1), (2, 2), (3, 3), (4, 4), (2, 1), (3, 1), (3, 2), (4, 2)):
            product = ops.matmul(xp.matrix_transpose(power[j]), power[k])
            mean[j, k] = ops.to_numpy(product).astype(np.float64) / m
            if j != k:
                mean[k, j] = mean[j, k].T
    return mean


def _third_square(mean: dict[tuple[int, int], Array]) -> Array:
    """Mean d² of κ_aab."""
    r = mean[1, 1]
    square: Array = mean[4, 2] - 2.0 * mean[2, 2] + 1.0 + 4.0 * r**2 - 4.0 * r * (mean[3, 1] - r)
    return square


def _fourth_square(mean: dict[tuple[int, int], Array], standard: Array) -> Array:
    """Mean d² of κ_aabb, d = U + L with U = (a²-1)(b²-1) and L the rest."""
    r, a2b, ab2 = mean[1, 1], mean[2, 1], mean[1, 2]
    square = standard**2
    third, fourth = np.mean(square * standard, axis=0), np.mean(square**2, axis=0)
    whole = mean[4, 4] - 2.0 * (mean[4, 2] + mean[2, 4]) + fourth[:, None] + fourth + 4.0 * mean[2, 2] - 3.0
    rest = 16.0 * r**2 * mean[2, 2] + 4.0 * ab2**2 + 4.0 * a2b**2 - 12.0 * (r * r) ** 2 + 40.0 * r * ab2 * a2b
    with_ab = mean[3, 3] - mean[3, 1] - mean[1, 3] + r
    with_a = mean[3, 2] - third[:, None] - ab2
    with_b = mean[2, 3] - third - a2b
    mixed = -4.0 * r * with_ab - 2.0 * ab2 * with_a - 2.0 * a2b * with_b + 2.0 * r**2 * (mean[2, 2] - 1.0)
    total: Array = whole + rest + 2.0 * mixed
    return total
