"""Where the sizes of many numbers lie, whatever their unit: the law of ln|v| weighted by |v|.

A Hessian has most eigenvalues near 0, where Lanczos quadrature says little of them, and many gradients and circuits are
exactly 0. Weighted by |v| these have no part. The number v of a law p has the weighted law

    q(s) ds ∝ ∫ |v| p(v) dv over s ≤ ln|v| < s + ds,

and a factor of all v shifts it. A product of k independent numbers has the convolution of their weighted laws: for
Gaussian factors |v| is a product of k Rayleigh variables, and q has the variance k π²/24 (`product_law`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import fftconvolve

Array = np.ndarray[Any, Any]
LEVELS = (np.arange(256) + 0.5) / 256
ROUNDING = 1e-13
"""Σv over Σ|v| that is taken for 0: the sum of eigenvalues of a matrix of trace 0."""
FACTOR_VARIANCE = math.pi**2 / 24
"""Of ln|v| of a Gaussian v under its weighted law: a Rayleigh variable."""


@dataclass(frozen=True)
class SizeLaw:
    """The weighted law of ln|v|: its ``quantiles`` at `LEVELS` less the median, in nats.

    ``scale``: the exponential of the median. ``zeros``: the share of exact zeros, not weighted. ``signed``: Σv / Σ|v|,
    0 for a symmetric law and ±1 for one sign.
    """

    quantiles: Array
    scale: float
    zeros: float
    signed: float

    @property
    def spread(self) -> float:
        """The standard deviation of ln|v|, in nats."""
        return float(np.std(self.quantiles))

    @property
    def factors(self) -> float:
        """The number k of independent Gaussian factors with this spread: spread² / (π²/24)."""
        return self.spread**2 / FACTOR_VARIANCE

    def record(self) -> dict[str, Any]:
        """As a report keeps it."""
        return {
            "quantiles": self.quantiles.tolist(), "scale": self.scale, "zeros": self.zeros, "signed": self.signed,
            "spread": self.spread, "factors": self.factors,
        }  # fmt: skip


def size_law(values: Array, weights: Array | None = None) -> SizeLaw | None:
    """The weighted law of numbers, each counted by its weight (1); None where all are 0.

    Between neighbouring sizes the distribution is linear in ln|v|. Nodes and weights of Lanczos quadrature are such
    numbers; their law has the resolution of the nodes.

    >>> law = size_law(np.array([1.0, -2.0, 0.0, 4.0]))
    >>> law.zeros, round(law.signed, 3), round(law.scale, 3)
    (0.25, 0.429, 2.828)
    """
    v = np.asarray(values, dtype=np.float64).reshape(-1)
    mass = np.ones(v.size) if weights is None else np.asarray(weights, dtype=np.float64).reshape(-1)
    live = (v != 0) & (mass > 0)
    if not live.any():
        return None
    largest = np.abs(v[live]).max()
    v, kept = v[live] / largest, mass[live]
    order = np.argsort(np.abs(v))
    share = np.abs(v[order]) * kept[order]
    total = float(share.sum())
    middle = (np.cumsum(share) - share / 2) / total
    at = np.interp(LEVELS, middle, np.log(np.abs(v[order])))
    median = float(np.interp(0.5, LEVELS, at))
    zeros = 1.0 - float(kept.sum() / mass.sum())
    signed = float(v @ kept) / total
    signed = 0.0 if abs(signed) < ROUNDING else signed
    return SizeLaw(at - median, float(math.exp(median) * largest), max(zeros, 0.0), signed)


def size_distance(first: Array, second: Array) -> float:
    """W1 = ∫ |Q - Q̂| du of two weighted laws of ln|v| whose medians are matched, in nats, from their quantiles.

    0.1 says that sizes differ by a tenth of themselves in the mean, once the scales are the same.

    >>> size_distance(np.array([-1.0, 0.0, 1.0]), np.array([-1.3, 0.0, 1.6]))
    0.3
    """
    return round(float(np.mean(np.abs(np.asarray(first) - np.asarray(second)))), 12)


def product_chance(factors: int, values: Array, count: int, rng: np.random.Generator) -> float:
    """W1 of `count` draws of the product behind `product_law` from that law itself: what a sample alone gives.

    The more factors, the fewer draws carry the sum: 20,000 products of twelve Gaussians are 0.2 nats from their law.
    """
    sizes = np.asarray(values, dtype=np.float64).reshape(-1)
    drawn = rng.choice(sizes[sizes != 0], count)
    for _ in range(factors):
        drawn = drawn * rng.standard_normal(count)
    law = size_law(drawn)
    assert law is not None
    return size_distance(law.quantiles, product_law(factors, values))


def product_law(factors: int, values: Array | None = None) -> Array:
    """Quantiles of ln|v| less the median, for v a product of independent Gaussians under its weighted law.

    Weighted by size a product stays one of independent factors, each a Rayleigh variable: the density of ln|v| is the
    convolution of `factors` times e^{2s} exp(-e^{2s}/2). One more factor is drawn uniformly from `values`, where given.

    >>> round(float(np.std(product_law(1))), 2)  # π/√24 = 0.64, short of the tails beyond the outermost levels
    0.64
    """
    step = 2.0**-7
    s = np.arange(-24.0, 4.0, step)
    one = np.exp(2 * s - np.exp(2 * s) / 2) * step
    law, first = np.ones(1), 0.0
    if values is not None:
        sizes = np.abs(np.asarray(values, dtype=np.float64).reshape(-1))
        sizes = sizes[sizes > 0] / sizes.max()
        law, first = np.histogram(np.log(sizes), np.append(s, s[-1] + step) - step / 2, weights=sizes)[0], s[0]
    for _ in range(factors):
        law, first = fftconvolve(law, one), first + s[0]
    mass = np.maximum(law, 0.0)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    at = np.interp(LEVELS, middle, first + step * np.arange(mass.size))
    return np.asarray(at - np.interp(0.5, LEVELS, at))
