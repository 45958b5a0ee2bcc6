"""How symmetric laws are whose values share their examples: broken parts of many entries at once, and their errors.

The broken part of a law, ½ ∫ |p(h) - p(-h)| dh on bins of equal mass in |h| (`broken_symmetry`), is taken less what
fair signs would give on the same bins. Bins depend on |h| alone, so that one sort serves every choice of signs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import gammaln
from scipy.stats import false_discovery_control

from validation.run.storage import finite_or_none
from validation.statistics.symmetry import MOST_BINS, symmetry_test

from .bootstrap import cluster_error, ratios_on
from .coupling import LEVEL

Array = np.ndarray[Any, Any]
Law = dict[str, Any]
HALVES = 20  # random ones: the error is known to 16 %


def mean_walk(steps: Array) -> Array:
    """E|S_n| of n fair signs, for every n: 2k binom(2k, k)/4^k with k = ⌈n/2⌉.

    >>> mean_walk(np.array([0, 1, 2, 3])).round(12).tolist()
    [0.0, 1.0, 1.0, 1.5]
    """
    k = (np.asarray(steps) + 1) // 2
    logarithm = np.log(np.maximum(2.0 * k, 1.0)) + gammaln(2 * k + 1) - 2.0 * gammaln(k + 1) - 2.0 * k * math.log(2.0)
    mean: Array = np.where(k > 0, np.exp(logarithm), 0.0)
    return mean


def _order(column: Array) -> tuple[Array, Array]:
    """Rows of the values other than 0 by increasing size, and the numbers of them in each bin."""
    rows = np.flatnonzero(column)
    order = rows[np.argsort(-np.abs(column[rows]), kind="stable")[::-1]]
    bins = min(MOST_BINS, math.ceil(rows.size ** (1 / 3)))
    sizes = np.full(bins, rows.size // bins) + (np.arange(bins) < rows.size % bins)
    return order, sizes


def broken_excess(values: Array, signs: Array) -> Array:
    """Broken part less chance of s_i h_{i,e} over the examples at which h_{i,e} ≠ 0, for h (m, E) and s (k, m): (k, E).

    Every column needs a value other than 0.
    """
    found = np.empty((len(signs), values.shape[1]))
    for e, column in enumerate(values.T):
        order, sizes = _order(column)
        steps = np.add.reduceat(signs[:, order] * np.sign(column[order]), np.cumsum(sizes) - sizes, axis=1)
        found[:, e] = (np.abs(steps).sum(axis=1) - mean_walk(sizes).sum()) / order.size
    return found


def random_halves(groups: Array, rng: np.random.Generator) -> Array:
    """`HALVES` random halves of n things, as masks (R, n): half of each of the `groups` (n,) that there are."""
    masks = np.zeros((HALVES, groups.size))
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        for row in masks:
            row[rng.permutation(members)[: members.size // 2]] = 1.0
    return masks


def excess_of_halves(values: Array, halves: Array) -> Array:
    """The mean of `broken_excess` over the entries (m, E) on some examples (R, m) only, (R,); bins stay.

    The spread over random halves of n is the standard error over n, whether or not a broken part is chance: Shao and
    Wu, Ann. Statist. 17 (1989) 1176. (Leaving out few examples at a time is wrong there: |.| has a kink at 0.)
    """
    chance, total = mean_walk(np.arange(len(values) + 1)), np.zeros(len(halves))
    for column in values.T:
        order, sizes = _order(column)
        kept, starts = halves[:, order], np.cumsum(sizes) - sizes
        steps = np.abs(np.add.reduceat(kept * np.sign(column[order]), starts, axis=1))
        left = np.add.reduceat(kept, starts, axis=1)
        total += (steps - chance[left.astype(np.int64)]).sum(axis=1) / np.maximum(left.sum(axis=1), 1.0)
    mean: Array = total / values.shape[1]
    return mean


def spread_of_halves(found: Array, size: int) -> float | None:
    """The standard error that estimates on random halves (R,) of `size` things give; None for fewer than two."""
    half = size // 2
    return float(np.std(found, ddof=1)) * math.sqrt(half / (size - half)) if half else None


def law_symmetry(values: Array, first: Array, rng: np.random.Generator) -> Law:
    """How symmetric the laws of single entries are over the examples at which they are not 0.

    (With the zeros, most of which stand for closed gates and inactive examples, every law would seem symmetric.)
    ``value``: the mean over entries of the broken part less chance (few examples make that of one entry uncertain),
    its error over first parameters, ``example_standard_error``, that over examples, and quantiles.
    """
    excess = broken_excess(values, np.ones((1, len(values))))[0]
    active = values[np.any(values, axis=1)]
    halves = random_halves(np.zeros(len(active)), rng)
    return {
        "value": float(excess.mean()),
        "standard_error": finite_or_none(cluster_error(excess, first)),
        "example_standard_error": spread_of_halves(excess_of_halves(active, halves), len(active)),
        "median": float(np.median(excess)),
        "quantile_95": float(np.quantile(excess, 0.95)),
    }


def rejections(values: Array) -> Law:
    """How many entries' laws reject symmetry, over the examples at which they are not 0, by D (`symmetry_test`).

    At false discovery rate ``level`` by Benjamini and Yekutieli, as entries share their examples.
    """
    tests = [symmetry_test(column[column != 0]) for column in values.T]
    p = [test.p_value for test in tests if test is not None]
    rejected = int(np.sum(false_discovery_control(p, method="by") <= LEVEL))
    return {"tests": len(p), "rejected": rejected, "level": LEVEL}


def law_excess(sample: Array) -> float:
    """`broken_excess` of one sample (n,); 0 where every value is."""
    return float(broken_excess(sample[:, None], np.ones((1, sample.size)))[0, 0]) if sample.any() else 0.0


def ratio_symmetry(ratio: Array, values: Array, first: Array, rng: np.random.Generator) -> Law | None:
    """The broken part less chance of the law over entries of µ/σ (E,) of (m, E), with errors as in `law_symmetry`.

    None where every mean is 0.
    """
    if not ratio.any():
        return None
    clusters = np.unique(first, return_inverse=True)[1]
    of_first = random_halves(np.zeros(int(clusters.max()) + 1), rng)
    on = np.any(values, axis=1)
    of_examples = [law_excess(row) for row in ratios_on(values, random_halves(on, rng))]
    return {
        "value": law_excess(ratio),
        "standard_error": spread_of_halves(excess_of_halves(ratio[:, None], of_first[:, clusters]), of_first.shape[1]),
        "example_standard_error": spread_of_halves(np.array(of_examples), int(on.sum())),
    }
