"""Averages of B examples of a Hessian entry: their law, and how close to 0 their mean is.

A bootstrap resample draws examples with replacement, H_e = Σ_i ω_i h_{i,e} with multinomial ω: for all resamples and
entries one matrix product. The mean of an average of B examples is that of the entry, µ_e, its standard deviation
σ_e/√B, so that the normalised mean is √B µ_e/σ_e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from backends import Backend

Array = np.ndarray[Any, Any]
BOUND = 0.15  # standard deviations: the paper's measure of a mean that is close to 0
SHARE = 0.95


def resampling_weights(m: int, size: int, resamples: int, rng: np.random.Generator) -> Array:
    """ω of resamples of `size` out of m examples, (resamples, m): multinomial counts over size."""
    weights: Array = rng.multinomial(size, np.full(m, 1.0 / m), resamples) / size
    return weights


def averages(values: Array, weights: Array, ops: Backend) -> Array:
    """H_e = Σ_i ω_i h_{i,e} for values (m, E) and weights (n, m): (n, E), float64 on the host."""
    with ops.computing():
        product = ops.matmul(ops.asarray(weights), ops.asarray(values))
    return ops.to_numpy(product).astype(np.float64)


@dataclass(frozen=True)
class Concentration:
    """Means of entries against the standard deviation of an average of B examples.

    ``ratio`` (E,): µ_e/σ_e. For every B of ``averages``: ``fraction`` of entries with √B |µ_e|/σ_e < `BOUND`; its
    ``standard_error`` over resamples of the examples and ``entry_standard_error`` over first parameters; ``chance``,
    the fraction that means of exactly 0 would give, each known from m examples only. ``reach``: the B (any, not only
    those listed) up to which the fraction is at least `SHARE`.
    """

    ratio: Array
    averages: tuple[int, ...]
    fraction: Array
    standard_error: Array
    entry_standard_error: Array
    chance: Array
    reach: float


def concentration(
    values: Array, first: Array, sizes: tuple[int, ...], resamples: int, ops: Backend, rng: np.random.Generator
) -> Concentration:
    """`Concentration` of entries (m, E) that vary over the examples; ``first`` (E,) names their first parameters."""
    m = values.shape[0]
    scaled = values / np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=0))
    ratio = mean_ratio(scaled.mean(axis=0, dtype=np.float64), np.mean(np.square(scaled, dtype=np.float64), axis=0))
    weights = resampling_weights(m, m, resamples, rng)
    drawn = mean_ratio(averages(scaled, weights, ops), averages(scaled**2, weights, ops))
    root = np.sqrt(np.array(sizes, dtype=np.float64))
    close = np.abs(ratio) * root[:, None] < BOUND
    by_resample = np.stack([np.mean(np.abs(drawn) * r < BOUND, axis=1) for r in root])
    reach = (BOUND / float(np.quantile(np.abs(ratio), SHARE, method="higher"))) ** 2 if ratio.any() else math.inf
    return Concentration(
        ratio,
        sizes,
        close.mean(axis=1),
        by_resample.std(axis=1, ddof=1),
        np.array([cluster_error(row, first) for row in close]),
        2.0 * norm.cdf(BOUND * np.sqrt(m) / root) - 1.0,
        reach,
    )


def ratios_on(values: Array, masks: Array) -> Array:
    """µ/σ of entries (m, E) over some of the examples, one row for every mask (R, m): (R, E)."""
    kept = np.maximum(masks.sum(axis=1, keepdims=True), 1.0)
    return mean_ratio(masks @ values / kept, masks @ np.square(values, dtype=np.float64) / kept)


def mean_ratio(mean: Array, square: Array) -> Array:
    """µ/σ; infinite where a resample meets one value only."""
    variance = np.maximum(square - mean**2, 0.0)
    ratio = np.divide(mean, np.sqrt(variance), out=np.full_like(mean, np.inf), where=variance > 0)
    normalised: Array = np.where(mean == 0.0, 0.0, ratio)  # no example drawn at which the entry is not 0
    return normalised


def cluster_error(values: Array, first: Array) -> float:
    """Standard error of a mean over entries that come in clusters with one first parameter."""
    clusters, member = np.unique(first, return_inverse=True)
    count = np.bincount(member).astype(np.float64)
    excess = np.bincount(member, weights=values) - values.mean() * count
    n = clusters.size
    return math.sqrt(n / (n - 1) * float(np.sum(excess**2))) / values.size if n > 1 else math.nan
