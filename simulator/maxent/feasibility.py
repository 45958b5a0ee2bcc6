"""Which couplings (1) some conditional law achieves: a zonotope, its gauge and its faces, by linear programming.

With features φ_e (outer products of x and the gates below) of weight w_e, E[·] = Σ_e w_e ·, the couplings of one
component are τ = E[φ p], p_e = P(h = 1 | e) ∈ [0,1]. They fill the zonotope Σ_e [0,1] w_e φ_e, symmetric about
½E[φ]. One linear program gives its gauge, the κ by which τ - ½E[φ] can grow before it leaves:

    κ = max{ κ : E[φ v] = κ(τ - ½E[φ]), |v_e| ≤ ½ } = min_u ½E|φ·u| / u·(τ - ½E[φ])

κ > 1: relative interior, some p has all its entries strictly between 0 and 1. κ < 1: no law has τ, and u separates.
κ = 1: relative boundary, some p_e is 0 or 1 for every law that has τ. Both sides are evaluated from the answers
of the program, so what is decided does not rest on its tolerances. Source: [Ziegler1995],
section 7.3, for zonotopes; [Goldman1956] for the strictly complementary solution behind `face`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import HostArray

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

LP_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
LARGEST_DIRECTION = 1e6  # in whitened coordinates: faces thinner than its inverse are not resolved
UNDECIDED = 1e-6  # width of the bracket of κ that is no answer


class InfeasibleError(ValueError):
    """Couplings that no conditional law has; ``component`` is the first one concerned, ``gauge`` its κ < 1."""

    def __init__(self, message: str, component: int, gauge: float) -> None:
        super().__init__(message)
        self.component, self.gauge = component, gauge


@dataclass(frozen=True)
class Features:
    """Distinct observations in whitened coordinates ψ = (φ/scale)·inner, E[ψψ^T] = 1, over the row space of φ.

    ``rows`` ψ (e, r) and ``mass`` w (e,), summing to at most 1. ``scale`` (n,) is E|φ_i|, ``axes`` (n, r) an
    orthonormal basis of the row space of φ/scale, ``inner`` (n, r) the same over the singular values. ``lift``
    (n, r) gives the multipliers λ = lift θ of smallest norm with φ·λ = ψ·θ. ``slack`` is the relative error granted
    to the couplings.
    """

    rows: HostArray
    mass: HostArray
    scale: HostArray
    axes: HostArray
    inner: HostArray
    lift: HostArray
    slack: float

    @property
    def rank(self) -> int:
        return int(self.rows.shape[1])

    def whitened(self, tau: HostArray) -> HostArray:
        """E[ψ p] (r,) from couplings τ = E[φ p] (n,)."""
        target: HostArray = self.inner.T @ (tau / self.scale)
        return target

    def outside(self, tau: HostArray) -> float:
        """How far τ/scale lies from the row space: couplings of collinear features obey the features' relations."""
        scaled = tau / self.scale
        return float(np.linalg.norm(scaled - self.axes @ (self.axes.T @ scaled)))


def whiten(phi: HostArray, mass: HostArray, slack: float) -> Features:
    """`Features` of φ (e, n) with weights `mass` (e,).

    Columns are scaled to E|φ_i| = 1 first: units of x must not decide which features count as collinear.
    Singular values below `slack` of the largest are zero.
    """
    scale = mass @ np.abs(phi)
    scale = np.where(scale > 0, scale, scale.max() if scale.any() else 1.0)  # a feature that is never seen
    root = np.sqrt(mass)[:, None]
    u, s, vt = np.linalg.svd(root * (phi / scale), full_matrices=False)
    rank = int(np.count_nonzero(s > slack * s[0])) if s.any() else 0
    u, s, axes = u[:, :rank], s[:rank], vt[:rank].T
    inner = axes / s
    lift = inner / scale[:, None]
    if rank < phi.shape[1]:  # smallest norm: nothing along directions that no observation sees
        unseen = np.linalg.qr(axes, mode="complete")[0][:, rank:] / scale[:, None]
        lift = lift - unseen @ np.linalg.lstsq(unseen, lift)[0]
    rows = np.where(np.any(phi != 0, axis=1)[:, None], u / root, 0.0)  # φ = 0 exactly stays so: its p is free
    return Features(rows, mass, scale, axes, inner, lift, slack)


@dataclass(frozen=True)
class Gauge:
    """κ between ``lower`` (a law p at that distance exists) and ``upper`` (a u separates what lies beyond).

    ``law`` p (e,) has the couplings, or the nearest multiple of τ - ½E[φ] that is possible; ``tolerance`` is what
    the rounding of the couplings makes of κ near 1.
    """

    lower: float
    upper: float
    law: HostArray
    tolerance: float

    @property
    def interior(self) -> bool:
        return self.lower > 1 + self.tolerance

    @property
    def infeasible(self) -> bool:
        return self.upper < 1 - self.tolerance


def gauge(features: Features, target: HostArray) -> Gauge:
    """The gauge κ of whitened couplings `target` E[ψ p] (r,) in the zonotope of the features.

    Raises `ArithmeticError` when the linear program fails to bracket κ near 1.
    """
    psi, mass = features.rows, features.mass
    offset = target - 0.5 * (mass @ psi)
    rounding = features.slack * np.abs(features.inner).sum(axis=0)
    if np.all(np.abs(offset) <= rounding):  # τ = ½E[φ]: the law p = ½
        return Gauge(np.inf, np.inf, np.full(len(mass), 0.5), features.slack)
    v, kappa, u = _gauge_program(psi, mass, offset)
    v, kappa = _polish(psi, mass, offset, v, kappa)
    lower = 0.5 * kappa / float(np.abs(v).max())
    along = float(u @ offset)
    upper = 0.5 * float(mass @ np.abs(psi @ u)) / along
    tolerance = features.slack * (1 + float(np.abs(features.inner @ u).sum()) / along)
    found = Gauge(lower, upper, 0.5 + np.clip(v / kappa, -0.5, 0.5), tolerance)
    if not (found.interior or found.infeasible) and upper - lower > UNDECIDED:
        raise ArithmeticError(
            f"the linear program leaves the gauge of the couplings between {lower:g} and {upper:g}: "
            "rescale x to order 1 or drop nearly collinear features"
        )
    return found


def _gauge_program(psi: HostArray, mass: HostArray, offset: HostArray) -> tuple[HostArray, float, HostArray]:
    """(v, κ, u): the vertex that solves E[ψ v] = κ offset, |v| ≤ ½, κ largest, and the dual u with u·offset > 0."""
    m, r = psi.shape
    size = float(np.linalg.norm(offset))
    # Entries of order 1 whatever m is: the program's tolerances are absolute.
    columns = np.column_stack([(m * mass[:, None] * psi).T, -offset / size])
    cost, bounds = np.append(np.zeros(m), -1.0), [(-0.5, 0.5)] * m + [(0.0, None)]
    found = _solve(cost, A_eq=columns, b_eq=np.zeros(r), bounds=bounds)
    return found.x[:m], float(found.x[m]) / (m * size), np.asarray(found.eqlin.marginals)


def _polish(psi: HostArray, mass: HostArray, offset: HostArray, v: HostArray, kappa: float) -> tuple[HostArray, float]:
    """E[ψ v] = κ offset to rounding instead of the program's tolerance."""
    basic = np.flatnonzero(np.abs(v) < 0.5)
    columns = np.column_stack([(mass[basic, None] * psi[basic]).T, -offset])
    change = np.linalg.lstsq(columns, kappa * offset - (mass * v) @ psi)[0]
    v = v.copy()
    v[basic] += change[:-1]
    kappa += float(change[-1])
    return v + psi @ (kappa * offset - (mass * v) @ psi), kappa  # what a degenerate basis left; E[ψψ^T] = 1


def face(features: Features, law: HostArray) -> tuple[HostArray, HostArray]:
    """(sign, θ): the rows on which every law with the couplings of `law` is 0 (sign -1) or 1 (+1), else 0; (e,), (r,).

    θ is the recession direction: ψ_e·θ has that sign and vanishes on the other rows, so multipliers λ + s·lift θ
    keep the law of the other rows and force these as s → ∞. It maximises the number of rows that it forces:
    Σ δ_e subject to sign_e ψ_e·θ ≥ δ_e, 0 ≤ δ_e ≤ 1 where p_e is 0 or 1, and ψ_e·θ = 0 elsewhere.
    """
    size = np.linalg.norm(features.rows, axis=1)
    psi = features.rows / np.where(size > 0, size, 1.0)[:, None]
    blur = np.minimum(features.slack / features.mass, 0.01)  # to which the couplings determine p_e at all
    side = np.where(law > 1 - blur, 1, np.where(law < blur, -1, 0)) * (size > 0)
    at, between = np.flatnonzero(side), np.flatnonzero((side == 0) & (size > 0))
    k, r = len(at), features.rank
    found = _solve(
        np.append(np.zeros(r), -np.ones(k)),
        A_ub=np.hstack([-side[at, None] * psi[at], np.eye(k)]),
        b_ub=np.zeros(k),
        A_eq=np.hstack([psi[between], np.zeros((len(between), k))]),
        b_eq=np.zeros(len(between)),
        bounds=[(-LARGEST_DIRECTION, LARGEST_DIRECTION)] * r + [(0.0, 1.0)] * k,
    )
    sign = np.zeros_like(side)
    sign[at] = side[at] * (found.x[r:] > 0.5)
    theta = found.x[:r]
    free = psi[sign == 0]
    return sign, theta - np.linalg.lstsq(free, free @ theta, rcond=features.slack)[0] if len(free) else theta


def _solve(cost: HostArray, **problem: Any) -> OptimizeResult:
    from scipy.optimize import linprog  # here: nothing else needs it, and it takes a third of the time to start

    found = linprog(cost, method="highs-ds", options=LP_OPTIONS, **problem)
    if found.status != 0:
        raise ArithmeticError(f"the linear program stopped ({found.message.strip()}): rescale x to order 1")
    return found
