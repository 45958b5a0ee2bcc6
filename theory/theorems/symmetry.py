"""Symmetry theorems S1-S3: from symmetric weights to symmetric circuits.

A weight is *intact* when its law is symmetric about 0 and independent of all other weights, *broken* otherwise. A law
may be given by equally likely values (an exact ensemble, or a sample) or by values with probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from theory.inputs import real_array

Real = NDArray[np.float64]


def mirror_distance(values: ArrayLike, probabilities: ArrayLike | None = None, tolerance: float = 0.0) -> float:
    """d_TV(µ, mirrored µ) = ½ Σ_v |µ(v) - µ(-v)|, the total variation distance of a finite law from its negative (S1).

    Theorem S1: if the last weight on a circuit's path is intact, µ(Ψ) = µ(-Ψ), distance 0. If all of W_L is intact, T,
    the entries of ∇T below layer L and those of ∇²T with both layers below L are jointly symmetric.
    Proof idea: gates and signals x_{L-1} do not see W_L, and all these quantities are linear in it; W_L → -W_L is a
    change of variables that keeps the law. (Not so ∇R: its factor c = ∂ℓ/∂T depends on W_L.)

    values         (n,), or (n, d) for the joint law of d variables, rows the points
    probabilities  (n,) ≥ 0 with sum 1; by default all points are equally likely, and the distance is an integer count
                   over n, so that 0 is exactly 0
    tolerance      0 compares floating-point values exactly, which is right where v and -v come from the same
                   operations. Above 0, values are first rounded to multiples of it: rounding is odd and a function of
                   v alone, so it can only lower the distance, but a point on a boundary between multiples may
                   still be split by rounding errors

    Raises ValueError for values that are not finite, probabilities that are no law, and a negative tolerance.
    """
    points = np.asarray(values, dtype=np.float64)
    if points.ndim not in (1, 2) or points.shape[0] == 0 or not np.isfinite(points).all():
        raise ValueError(f"values have shape {points.shape}: expected finite numbers, (n,) or (n, d) with n >= 1")
    if not tolerance >= 0.0:
        raise ValueError(f"tolerance {tolerance!r} is negative: use 0, or the spacing of values to be told apart")
    if tolerance > 0.0:
        points = np.rint(points / tolerance)
    rows = np.ascontiguousarray(points.reshape(len(points), -1)) + 0.0  # -0.0 becomes 0.0: rows are compared as bytes
    rows = np.concatenate([rows, 0.0 - rows])
    if rows.shape[1] == 0:
        return 0.0
    _, place = np.unique(rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))), return_inverse=True)
    place = place.reshape(-1)
    if probabilities is None:
        counts = np.bincount(place[: len(points)], minlength=place.max() + 1)
        mirrored = np.bincount(place[len(points) :], minlength=counts.size)
        return float(np.abs(counts - mirrored).sum()) / (2 * len(points))
    mass = _law(probabilities, len(points))
    return float(0.5 * np.abs(np.bincount(place, np.concatenate([mass, -mass]))).sum())


def _law(probabilities: ArrayLike, count: int) -> Real:
    mass = np.asarray(probabilities, dtype=np.float64)
    if mass.shape != (count,) or not (mass >= 0.0).all() or abs(mass.sum() - 1.0) > 1e-9:
        raise ValueError(
            f"probabilities have shape {mass.shape} and sum {mass.sum():g}: expected ({count},) numbers >= 0 with sum 1"
        )
    return mass


def coupling_bound(values: ArrayLike, negated: ArrayLike) -> Real:
    """½ P(Ψ' ≠ -Ψ), the first bound of S2 on d_TV(law Ψ, law -Ψ).

    Theorem S2: let a weight w at a layer l < L of the circuit's path be intact, and let primes denote the network with
    w negated. Then d_TV(law Ψ, law -Ψ) ≤ ½ P(Ψ' ≠ -Ψ). The bound holds for every such w; take the best layer,
    fixed in advance of the draw.
    Proof idea: Ψ' has the law of Ψ. |Ψ| is the product of the magnitudes or 0, given the magnitudes, so
    d_TV = |E sgn Ψ| = ½|E (sgn Ψ + sgn Ψ')|. Where all gates of the path are on in both networks, or off in both,
    Ψ' = -Ψ and the sum is 0; otherwise exactly one of the two is 0 and the sum is ±1: hence the ½.

    values   (..., n) Ψ of n equally likely draws; a multiple of Ψ, such as its sign, will do
    negated  (..., n) Ψ' of the same draws

    Returns (...,).
    """
    psi, other = np.asarray(values), np.asarray(negated)
    if psi.shape != other.shape or psi.ndim < 1 or psi.shape[-1] == 0:
        raise ValueError(f"values {psi.shape} and negated {other.shape} differ or are empty: expected both (..., n)")
    return np.asarray(0.5 * np.mean(other != -psi, axis=-1))


def path_flip_bound(gates: ArrayLike, gates_negated: ArrayLike) -> Real:
    """½ P(some gate of the path at a layer ≥ l changes), the second bound of S2 (see `coupling_bound`).

    Proof idea: gates below layer l do not see w, so Ψ' ≠ -Ψ needs a change of a gate of the path at a layer ≥ l. The
    converse fails where another gate of the path is off in both networks: the first bound is the sharper.

    gates          (..., n, g) the path's gates at layers ≥ l for n equally likely draws, 0/1 or bool
    gates_negated  (..., n, g) the same gates with w negated

    Returns (...,).
    """
    on, other = np.asarray(gates), np.asarray(gates_negated)
    if on.shape != other.shape or on.ndim < 2 or on.shape[-2] == 0:
        raise ValueError(f"gates {on.shape} and {other.shape} differ or are empty: expected both (..., n, g)")
    return np.asarray(0.5 * np.mean(np.any(on != other, axis=-1), axis=-1))


def gate_flip_probability(x: ArrayLike, a: ArrayLike) -> Real:
    """(2/π) arctan(|x_a| / ||x_{\\a}||): the probability that a gate changes when the weight w_{ab} is negated (S3).

    Theorem S3: let the weights w_{1b}..w_{nb} into a neuron be independent Gaussians of mean 0 and one variance, and
    let x = x_{l-1} be given. The gate 1[Σ_c w_{cb} x_c > 0] changes under w_{ab} → -w_{ab} with exactly this
    probability. For generic x it is O(n^{-1/2}), so that the circuit symmetry (14) becomes sharp with the width below.
    Proof idea: u = w_{ab} x_a and r = the rest are independent centred Gaussians of deviations ∝ |x_a| and ||x_{\\a}||.
    The gate changes where |u| > |r|, for (u, r) isotropic after scaling a double wedge of half-angle
    arctan(|x_a|/||x_{\\a}||) on either side of the u axis: a fraction (2/π) arctan of the circle.

    x  (..., n) signals of the layer below, any units
    a  index of the component, an integer or an array; an integer gives (...,), an array appends its own shape

    Where x_a = 0 nothing changes and the probability is 0, also for x = 0.
    Raises ValueError for x that is not finite, IndexError for a out of range.
    """
    signals, index = real_array(x, "x"), np.asarray(a)
    if signals.ndim < 1 or signals.shape[-1] == 0 or not np.isfinite(signals).all():
        raise ValueError(f"x has shape {signals.shape} or holds NaN or infinity: expected finite (..., n), n >= 1")
    if index.dtype.kind not in "iu":
        raise ValueError(f"a has dtype {index.dtype}: expected integer indices of components of x")
    n = signals.shape[-1]
    if index.size and (index.min() < -n or index.max() >= n):
        raise IndexError(f"a holds {index.max() if index.max() >= n else index.min()}: x has {n} components")
    largest = np.max(np.abs(signals), axis=-1, keepdims=True)
    signals = signals / np.where(largest > 0.0, largest, 1.0)  # the square of a huge signal would overflow
    one = np.abs(np.take(signals, index, axis=-1))
    rest = np.where(np.arange(n) == (index % n)[..., None], 0.0, _expand(signals, index.ndim))
    return np.asarray((2.0 / np.pi) * np.arctan2(one, np.linalg.norm(rest, axis=-1)))


def _expand(signals: Real, axes: int) -> Real:
    """(..., n) -> (..., 1 × axes, n)."""
    return signals.reshape(*signals.shape[:-1], *([1] * axes), signals.shape[-1])


def mean_flip_probability(n: int, rectified: bool = False) -> float:
    """The mean of S3 over isotropic x ∈ R^n, the law that is -1/2 in the exponent: ~ (2/π) √(2/(πn)).

    For x of isotropic direction, such as independent Gaussian components of one variance, arctan(|x_a|/||x_{\\a}||) is
    the latitude φ of x over the plane x_a = 0, of density ∝ cos^{n-2} φ on [0, π/2]. Its mean e_{n-2} obeys

        e_m = e_{m-2} - 1/(m² I_m),   I_m = ∫ cos^m φ dφ = ((m-1)/m) I_{m-2},   e_0 = π/4,   e_1 = π/2 - 1

    (integrate φ cos^m by parts), and the mean probability is (2/π) e_{n-2}; n = 1 gives 1. With `rectified`, x is
    ReLU(z) of such a z, as behind a layer of Gaussian weights, and a is uniform over all n components: the number of
    positive ones is binomial, and given it they are isotropic in an orthant: the mean is Σ_k P(k) (k/n) (2/π) e_{k-2}.
    Equal components instead, |x_a| = 1 for all a, give (2/π) arctan(1/√(n-1)) ~ 2/(π√n).

    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"n is {n!r}, expected a width >= 1")
    means = np.ones(n)  # index k - 1: k components
    mean, integral = [np.pi / 4, np.pi / 2 - 1], [np.pi / 2, 1.0]
    for k in range(2, n + 1):
        m, parity = k - 2, k % 2
        if m >= 2:
            integral[parity] *= (m - 1) / m
            mean[parity] -= 1.0 / (m * m * integral[parity])
        means[k - 1] = (2.0 / np.pi) * mean[parity]
    if not rectified:
        return float(means[-1])
    active = np.arange(1, n + 1)
    log_law = gammaln(n + 1) - gammaln(active + 1) - gammaln(n - active + 1) - n * np.log(2.0)
    return float(np.sum(np.exp(log_law) * active / n * means))
