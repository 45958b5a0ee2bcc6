"""Enclosed maximum entropy (1): the most random conditional law of new gates with given couplings to what is observed.

Observed O = {x, h_1, ..., h_{s-1}}, features φ_i(O) = x_{i_0} Π_{s'<s} h_{i_s'}, one for each multi-index
i = (i_0, ..., i_{s-1}). The law that maximises the conditional entropy subject to E[φ_i h_j] = τ_ij is (2)-(3),

    µ(h | O) = exp(Σ_ij λ_ij φ_i h_j) / Z(O),   Z(O) = Π_j (1 + e^{a_j}),   a_j(O) = Σ_i λ_ij φ_i(O),

so the components are independent given O, P(h_j = 1 | O) = σ(a_j), and each has a concave dual of its own,

    max_λ  τ_j·λ - E[log(1 + e^{φ·λ})],   gradient τ_j - E[φ σ(φ·λ)],   Hessian -E[φ φ^T σ (1-σ)].

Whether a maximiser exists is decided before it is looked for (`feasibility`). The dual is solved by Newton steps
damped as its generalised self-concordance prescribes [Sun2019]: with
d = max_e |Δa_e| the step is cut by ln(1+d)/d, which converges from anywhere without comparing values of the
dual, so rounding in these does not limit the accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_solve
from scipy.special import entr, expit

from backends import HostArray
from simulator.inputs import real_array
from simulator.shown import shown

from .feasibility import Features, InfeasibleError, face, gauge, whiten

MAX_ENTRIES = 1 << 27  # of a dense array of features: 1 GiB
MAX_STEPS = 500
CONVERGED = 1e-11  # whitened gradient of a solved dual; the iteration itself goes on to rounding
FAR, FARTHEST = 0.1, 1e9  # changes of a logit: below, Newton's method is quadratic; above, σ has long saturated
TIE = 1e-11  # φ·direction below this share of ||φ|| ||direction||, in units of E|φ_i|, is zero


@shown
@dataclass(frozen=True)
class MaxEntropyLaw:
    """The conditional law (2)-(3) that has the couplings, and how it was found.

    ``multipliers`` λ and ``direction`` have the shape of the couplings (n_0, ..., n_s). Components on the relative
    boundary of what is possible have no finite multipliers: their law is the limit s → ∞ of the multipliers
    λ + s·direction, ||direction|| = 1; ``direction`` is 0 for all others. ``converged``: every component has finite
    multipliers and its dual was solved; otherwise ``status`` says which has not, and why. ``probabilities``
    (m, n_s) are P(h = 1 | O) on the given examples, ``residual`` is max |E[φ h] - τ| of these, ``entropy`` the
    weighted mean over examples of H(µ(·|O)) in nats. ``gauge`` (n_s,) is how many times farther from ½E[φ] the
    couplings could lie (1: boundary), ``rank`` the dimension of the row space of the features, ``steps`` (n_s,)
    Newton steps, ``scale`` (n_0 ... n_{s-1},) the units E|φ_i| of the features.
    """

    multipliers: HostArray
    direction: HostArray
    converged: bool
    status: str
    residual: float
    entropy: float
    probabilities: HostArray
    gauge: HostArray
    rank: int
    steps: HostArray
    scale: HostArray

    def probability(self, observed: Sequence[Any]) -> HostArray:
        """P(h_j = 1 | O), (m, n_s), for any observations of the same widths."""
        widths = self.multipliers.shape[:-1]
        phi = observed_features(check_observed(observed, widths))
        return _probability(phi, self.multipliers, self.direction, self.scale)


def solve_maxent(observed: Sequence[Any], couplings: Any, sample_weight: Any = None) -> MaxEntropyLaw:
    """The maximum-entropy law (2)-(3) of new gates h_s ∈ {0,1}^{n_s} with the couplings (1), E[x Π h] = τ.

    `observed`: [x (m, n_0), h_1 (m, n_1), ..., h_{s-1}], gates 0 or 1; `couplings` τ (n_0, ..., n_s); the expectation
    is over the examples, of weight `sample_weight` (m,) >= 0 (normalised; None: equal; 0: as if absent). Collinear
    features leave λ open: the λ of smallest norm is returned, and said. Everything is float64; couplings of a
    narrower type are trusted to their own precision. Raises `InfeasibleError` for couplings that no law has,
    `ValueError` for arrays that do not fit or hold NaN, `MemoryError` when the features do not fit.
    """
    arrays = check_observed(observed)
    tau, precision = _check_couplings(couplings, [a.shape[1] for a in arrays])
    weight = _check_sample_weight(sample_weight, len(arrays[0]))
    targets = tau.reshape(-1, tau.shape[-1])
    phi = observed_features(arrays)
    distinct, mass = _merge(phi, weight)
    # A few roundings in the couplings' own type, and those of their sums and of the SVD in float64.
    slack = 64 * precision + max(distinct.shape) * float(np.finfo(np.float64).eps)
    features = whiten(distinct, mass, slack)
    solved = [_solve_component(features, distinct, targets[:, j], j) for j in range(targets.shape[1])]
    multipliers = np.stack([s.multipliers for s in solved], axis=-1).reshape(tau.shape)
    direction = np.stack([s.direction for s in solved], axis=-1).reshape(tau.shape)
    p = _probability(phi, multipliers, direction, features.scale)
    return MaxEntropyLaw(
        multipliers=multipliers,
        direction=direction,
        converged=all(s.finite and s.gradient <= CONVERGED for s in solved),
        status=_status(solved, features),
        residual=float(np.abs((weight[:, None] * phi).T @ p - targets).max()),
        entropy=float(weight @ (entr(p) + entr(1 - p)).sum(axis=1)),
        probabilities=p,
        gauge=np.array([s.gauge for s in solved]),
        rank=features.rank,
        steps=np.array([s.steps for s in solved]),
        scale=features.scale,
    )


def observed_features(observed: Sequence[HostArray]) -> HostArray:
    """φ_i = x_{i_0} Π h_{i_s'}, (m, n_0 ... n_{s-1}), multi-indices in C order.

    Raises `MemoryError` beyond 2^27 entries.
    """
    m, size = len(observed[0]), math.prod(a.shape[1] for a in observed)
    if m * size > MAX_ENTRIES:
        raise MemoryError(
            f"{m} examples have {size} features each, {m * size:.2g} numbers: at most {MAX_ENTRIES:.2g} are formed; "
            "use fewer examples, gates or layers"
        )
    phi = observed[0]
    for h in observed[1:]:
        phi = (phi[:, :, None] * h[:, None, :]).reshape(m, -1)
    return phi


@dataclass(frozen=True)
class _Component:
    """One component solved: multipliers and recession direction (n,), the norm of the whitened gradient left."""

    multipliers: HostArray
    direction: HostArray
    finite: bool
    gauge: float
    gradient: float
    steps: int


def _solve_component(features: Features, phi: HostArray, tau: HostArray, j: int) -> _Component:
    miss = features.outside(tau)
    if miss > features.slack * math.sqrt(len(tau)):
        raise InfeasibleError(
            f"component {j} has impossible couplings: the features are collinear, these miss their linear relations by "
            f"{miss:.3g} in units of E|φ|; compute them from the same observations",
            j,
            0.0,
        )
    target = features.whitened(tau)
    found = gauge(features, target)
    if found.infeasible:
        raise InfeasibleError(
            f"component {j} has impossible couplings: seen from ½E[φ] they lie beyond what any law reaches, by "
            f"{1 / found.upper - 1:.3g} of that reach; multiply τ - ½E[φ] by at most {found.upper:.12g}",
            j,
            found.upper,
        )
    if found.interior:
        theta, gradient, steps = _maximise(features, target)
        multipliers: HostArray = features.lift @ theta
        return _Component(multipliers, np.zeros_like(tau), True, found.lower, gradient, steps)
    sign, theta = face(features, found.law)
    direction = features.lift @ theta
    free = sign == 0
    rest = whiten(phi[free], features.mass[free], features.slack)
    theta, gradient, steps = _maximise(rest, (rest.mass * found.law[free]) @ rest.rows)
    norm = float(np.linalg.norm(direction)) or 1.0
    return _Component(rest.lift @ theta, direction / norm, False, found.lower, gradient, steps)


def _maximise(features: Features, target: HostArray) -> tuple[HostArray, float, int]:
    """(θ, norm of the gradient, Newton steps) of max_θ target·θ - E[log(1 + e^{ψ·θ})], an attained maximum."""
    psi, mass = features.rows, features.mass
    theta = best = np.zeros(features.rank)
    smallest, stalled, steps = np.inf, 0, 0
    while True:
        a = psi @ theta
        gradient = target - (mass * expit(a)) @ psi
        norm = float(np.linalg.norm(gradient))
        stalled = 0 if norm < 0.9 * smallest else stalled + 1
        if norm < smallest:
            best, smallest = theta, norm
        if norm == 0 or (smallest <= CONVERGED and stalled > 2) or steps == MAX_STEPS:
            break
        # R^T R is the Hessian, with R from a QR: half the digits of a Cholesky of saturated rows would be lost.
        r = np.linalg.qr(np.sqrt(mass * expit(a) * expit(-a))[:, None] * psi, mode="r")
        if not np.all(np.diagonal(r)):
            break
        step = cho_solve((r, False), gradient)
        steps += 1
        theta = theta + step * _step_length(a, psi @ step, float(target @ step), mass)
    return best, smallest, steps


def _step_length(a: HostArray, change: HostArray, along: float, mass: HostArray) -> float:
    """ln(1+d)/d, d = max |Δa|, doubled while the dual still rises: saturated rows need not slow the others down."""
    longest = float(np.abs(change).max())
    length = math.log1p(longest) / longest
    while FAR < longest * length < FARTHEST and along > float((mass * change) @ expit(a + 2 * length * change)):
        length *= 2
    return length


def _probability(phi: HostArray, multipliers: HostArray, direction: HostArray, scale: HostArray) -> HostArray:
    """σ(φ·λ), or the limit 0 or 1 where φ·direction is not zero."""
    p: HostArray = expit(phi @ multipliers.reshape(phi.shape[1], -1))
    if not direction.any():
        return p
    towards = direction.reshape(phi.shape[1], -1)
    drift = phi @ towards
    size = np.linalg.norm(phi / scale, axis=1)[:, None] * np.linalg.norm(towards * scale[:, None], axis=0)
    return np.where(np.abs(drift) > TIE * size, drift > 0, p)


def _merge(phi: HostArray, weight: HostArray) -> tuple[HostArray, HostArray]:
    """Distinct rows of φ with their summed weight, those of weight 0 left out: no multiplier tells them apart."""
    seen = weight > 0
    rows, place = np.unique(phi[seen] + 0.0, axis=0, return_inverse=True)  # + 0.0: -0.0 and 0.0 are one row
    return rows, np.bincount(place.reshape(-1), weight[seen], len(rows))


def _status(solved: Sequence[_Component], features: Features) -> str:
    """What was found, in words; the exceptional first."""
    boundary = [j for j, s in enumerate(solved) if not s.finite]
    failed = [j for j, s in enumerate(solved) if s.gradient > CONVERGED]
    words = []
    if failed:
        words.append(f"not converged: Newton's method stopped early in components {failed}; rescale x to order 1")
    if boundary:
        words.append(
            f"boundary: components {boundary} have no finite multipliers, "
            "their unique law is the limit along `direction`"
        )
    if not words:
        words.append("converged")
    if features.rank < len(features.scale):
        words.append(
            f"{len(features.scale)} features span {features.rank} dimensions: "
            "the multipliers are those of smallest norm, others give the same law"
        )
    return "; ".join(words)


def check_observed(observed: Sequence[Any], widths: Sequence[int] | None = None) -> list[HostArray]:
    """[x, h_1, ...] as float64 (m, n_s'), finite, gates 0 or 1; `widths`: the n_s' they must have."""
    arrays = [np.asarray(real_array(a, f"observed[{s}]")) for s, a in enumerate(observed)]
    if not arrays:
        raise ValueError("observed is empty: expected [x, h_1, ..., h_{s-1}], at least x")
    m = arrays[0].shape[0] if arrays[0].ndim else 0
    for s, a in enumerate(arrays):
        if a.ndim != 2 or a.shape[0] != m or 0 in a.shape:
            raise ValueError(
                f"observed[{s}] has shape {a.shape}: expected (m, n), examples in rows, m the same for all"
            )
        if a.dtype.kind not in "fiub" or (a.dtype.kind == "f" and not np.isfinite(a).all()):
            raise ValueError(
                f"observed[{s}] ({a.dtype}) holds NaN, infinite or non-real values: expected finite numbers"
            )
        if s and not np.all((a == 0) | (a == 1)):
            raise ValueError(f"observed[{s}] holds {a[(a != 0) & (a != 1)][0]:g}: gates are 0 or 1")
    if widths is not None and [a.shape[1] for a in arrays] != list(widths):
        raise ValueError(f"observed has widths {[a.shape[1] for a in arrays]}: expected {list(widths)}")
    return [np.ascontiguousarray(a, dtype=np.float64) for a in arrays]


def _check_couplings(couplings: Any, widths: Sequence[int]) -> tuple[HostArray, float]:
    """τ in float64 and the precision of the type it came in."""
    tau = np.asarray(real_array(couplings, "couplings"))
    if tau.ndim != len(widths) + 1 or list(tau.shape[:-1]) != list(widths) or tau.shape[-1] == 0:
        raise ValueError(
            f"couplings have shape {tau.shape}: expected ({', '.join(map(str, widths))}, n_s) as observed has"
        )
    if tau.dtype.kind not in "fiub" or (tau.dtype.kind == "f" and not np.isfinite(tau).all()):
        raise ValueError(f"couplings ({tau.dtype}) hold NaN, infinite or non-real values: expected finite numbers")
    narrow = np.finfo(tau.dtype).eps if tau.dtype.kind == "f" else 0.0
    return np.ascontiguousarray(tau, dtype=np.float64), max(float(narrow), float(np.finfo(np.float64).eps))


def _check_sample_weight(sample_weight: Any, m: int) -> HostArray:
    """Weights (m,) that sum to 1."""
    if sample_weight is None:
        return np.full(m, 1.0 / m)
    weight = np.asarray(real_array(sample_weight, "sample_weight"), dtype=np.float64)
    if weight.shape != (m,):
        raise ValueError(f"sample_weight has shape {weight.shape}: expected ({m},), one weight per example")
    if not np.isfinite(weight).all() or weight.min() < 0:
        raise ValueError(
            f"sample_weight holds {weight[~(weight >= 0) | np.isinf(weight)][0]}: expected finite weights >= 0"
        )
    if not weight.any():
        raise ValueError("sample_weight sums to 0: give at least one example a positive weight")
    normalised: HostArray = weight / weight.sum()
    return normalised
