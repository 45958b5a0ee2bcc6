"""Averages over independent draws, with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends import HostArray
from simulator.shown import shown

LEAST_JACKKNIFE = 3  # draws: with one left out there are still pairs


@shown
@dataclass(frozen=True)
class Average:
    """An average over draws: ``value`` with its ``standard_error``, None where too few draws tell it."""

    value: float
    standard_error: float | None


def pooled(values: HostArray) -> Average:
    """The mean over draws and examples of values (draws, m); its error is that of the draws, the examples being given.

    The variance over the draws is that of each example, so that a few draws of many examples are enough.
    """
    draws, m = values.shape
    mean = float(values.mean(dtype=np.float64))
    if draws < 2:
        return Average(mean, None)
    apart = values.astype(np.float64) - values[0]  # exactly 0 where all draws agree
    variance = float(np.sum(apart.var(axis=0, ddof=1))) / draws
    return Average(mean, math.sqrt(variance) / m)


def squared_mean(gram: HostArray) -> Average:
    """||E g||² without bias from the inner products (K, K) of K independent draws of g, K > 1.

    It is the mean of g_k · g_l over pairs k ≠ l; the squared length of the draws' mean would be too large by their
    variance over K. The standard error is the jackknife's, None for fewer than three draws. The value may be negative.
    """
    count = len(gram)
    total, own = float(gram.sum()), np.diagonal(gram)
    value = (total - float(own.sum())) / (count * (count - 1))
    if count < LEAST_JACKKNIFE:
        return Average(value, None)
    without = total - 2.0 * gram.sum(axis=1) + own - (own.sum() - own)
    without = without / ((count - 1) * (count - 2))
    return Average(value, float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))))


def gram_of(vectors: Sequence[HostArray]) -> HostArray:
    """Inner products of vectors in float64, (K, K)."""
    rows = np.stack(vectors).astype(np.float64, copy=False)
    found: HostArray = rows @ rows.T
    return found
