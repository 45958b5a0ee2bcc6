"""Moment theorems M1-M4: what symmetric weights say about the signals and the output, with explicit constants.

"Intact" and "broken" weights as in `symmetry`. Draws are equally likely: the last axis of an array is averaged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.inputs import real_array

Real = NDArray[np.float64]


def second_moment(widths: ArrayLike, variances: ArrayLike, x: ArrayLike) -> Real:
    """E||x_1||², ..., E||x_{L-1}||², E T² (M1).

    Theorem M1: if all weights of W_l are intact, of one variance s_l², then E||x_l||² = (n_l s_l²/2) E||x_{l-1}||²
    exactly, for any symmetric law, discrete ones included; so E T² = s_L² ||x||² Π_{l<L} n_l s_l²/2. The
    choice n_{l-1} s_l² = 2 is the edge of chaos: the growth factor is n_l/n_{l-1}, and 1 at constant width.
    Proof idea: given x_{l-1}, each z_l^j is a sum of independent terms of mean 0, E z² = s_l² ||x_{l-1}||², and its
    law is symmetric, so that half of E z² is at z > 0. The output has no gate, hence no ½.

    widths     [n_0, n_1, ..., n_L] or without n_0, which x has; n_L = 1
    variances  (L,) s_l² ≥ 0
    x          (..., n_0); only ||x|| enters

    Returns (..., L). Raises ValueError for widths and variances that do not match.
    """
    signal, variance, sizes = real_array(x, "x"), real_array(variances, "variances"), real_array(widths, "widths")
    if signal.ndim < 1 or not np.isfinite(signal).all():
        raise ValueError(f"x has shape {signal.shape} or holds NaN or infinity: expected finite (..., n_0)")
    if variance.ndim != 1 or variance.size == 0 or not (np.isfinite(variance) & (variance >= 0.0)).all():
        raise ValueError(f"variances have shape {variance.shape}: expected (L,) finite numbers >= 0, one per layer")
    if sizes.ndim == 1 and sizes.size == variance.size + 1:
        if sizes[0] != signal.shape[-1]:
            raise ValueError(f"x has {signal.shape[-1]} components: expected n_0 = {sizes[0]:g}")
        sizes = sizes[1:]
    if sizes.shape != variance.shape or not (sizes >= 1).all() or sizes[-1] != 1:
        raise ValueError(
            f"widths {np.asarray(widths).tolist()} do not fit {variance.size} variances: expected [n_0, n_1, ..., 1] "
            "or [n_1, ..., 1], all >= 1"
        )
    factors = sizes * variance / 2.0
    factors[-1] = variance[-1]
    return np.asarray(np.sum(signal**2, axis=-1)[..., None] * np.cumprod(factors))


def positive_part_bound(z: ArrayLike) -> tuple[Real, Real, Real]:
    """(E z_+, ½E|z|, ½√(E z²)) of draws z (..., n), each (...,): M2.

    Theorem M2: if z is symmetric (all weights into the neuron intact will do), 0 ≤ E z_+ = ½E|z| ≤ ½√(E z²).
    Proof idea: |z| = z_+ + (-z)_+, two terms of equal mean; then Cauchy-Schwarz. The ½ acts once, on the mean of one
    layer's signal. It does not compound: by M1 the second moment that feeds the next layer does not shrink at c = 1, so
    the mean of a ReLU signal does not decay with depth.
    """
    draws = _draws(z, "z")
    mean = np.mean(np.maximum(draws, 0.0), axis=-1)
    half = 0.5 * np.mean(np.abs(draws), axis=-1)
    return np.asarray(mean), np.asarray(half), np.asarray(0.5 * np.sqrt(np.mean(draws**2, axis=-1)))


def shifted_second_moment_bound(z_s: ArrayLike, beta: ArrayLike) -> tuple[Real, Real]:
    """(E (z_+)², ½E z² + E|β||z_s| + ½E β²) of draws z = z_s + β, (..., n) each: M3.

    Theorem M3: if z_s is symmetric given β (z_s the part of the intact weights, β that of the broken ones), the
    first is never above the second. At β = 0 both are ½E z², the equality of M1.
    Proof idea: average over ±z_s. Where |β| < |z_s| one of β ± z_s is positive and its square is at most
    (|z_s| + |β|)²; elsewhere both squares count, 2z_s² + 2β² with z_s² ≤ |β||z_s|, or none. Both are below
    z_s² + 2β² + 2|β||z_s|, twice the right side, since E z² = E z_s² + E β².
    """
    symmetric, shift = _draws(z_s, "z_s"), _draws(beta, "beta")
    if symmetric.shape != shift.shape:
        raise ValueError(f"z_s {symmetric.shape} and beta {shift.shape} differ: expected both (..., n), the same draws")
    z = symmetric + shift
    measured = np.mean(np.maximum(z, 0.0) ** 2, axis=-1)
    bound = np.mean(0.5 * z**2 + np.abs(shift * symmetric) + 0.5 * shift**2, axis=-1)
    return np.asarray(measured), np.asarray(bound)


def mean_output(mean_weights: ArrayLike, mean_signals: ArrayLike) -> Real:
    """E T = Σ_j E[w_j^L] E[x_{L-1}^j], both (..., n_{L-1}) -> (...,): M4.

    Theorem M4: exact whenever W_L is independent of the rest. Intact W_L: E T = 0 exactly.
    Proof idea: x_{L-1} is a function of the layers below, so every product of the sum factorises.
    """
    weights, signals = np.asarray(mean_weights, dtype=np.float64), np.asarray(mean_signals, dtype=np.float64)
    _same_length(weights, signals, "mean_signals")
    return np.asarray(np.sum(weights * signals, axis=-1))


def mean_output_bound(mean_weights: ArrayLike, second_moments: ArrayLike) -> Real:
    """Σ_j |E w_j^L| ½√(E (z_{L-1}^j)²) ≥ |E T|, both (..., n_{L-1}) -> (...,): M4 with M2.

    Theorem: let W_L be independent of the rest and z_{L-1}^j symmetric wherever E w_j ≠ 0 (only the broken set B ⊂ W_L
    contributes). With |B| = n^{(1-µ)/2}, E w = O(n^{-1/2}) and E z² = O(c^{2L}) this is C c^L n^{-µ/2}: *one* factor of
    n^{-µ/2} and one ½, not n^{-Lµ/2} and not 2^{-L}.
    Proof idea: `mean_output`, and M2 for every E x_{L-1}^j.

    second_moments  E (z_{L-1}^j)² ≥ 0
    """
    weights, second = np.asarray(mean_weights, dtype=np.float64), np.asarray(second_moments, dtype=np.float64)
    _same_length(weights, second, "second_moments")
    if not (second >= 0.0).all():
        raise ValueError(f"second_moments hold {second.min():g}: expected E z² >= 0")
    return np.asarray(np.sum(np.abs(weights) * 0.5 * np.sqrt(second), axis=-1))


def _draws(values: ArrayLike, name: str) -> Real:
    draws = np.asarray(values, dtype=np.float64)
    if draws.ndim < 1 or draws.shape[-1] == 0:
        raise ValueError(f"{name} has shape {draws.shape}: expected (..., n) with at least one draw")
    return draws


def _same_length(weights: Real, other: Real, name: str) -> None:
    if weights.ndim < 1 or other.ndim < 1 or weights.shape[-1] != other.shape[-1]:
        raise ValueError(f"mean_weights {weights.shape} and {name} {other.shape} differ: expected one entry per neuron")
