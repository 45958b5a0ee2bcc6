r"""Rung R3: the Hessian of a multilayer perceptron at initialisation as a Gaussian matrix with correlated entries.

The block of layers l < l' is B_(ab)(a'b') = Σ_i c_i x_{l-1,i,a} J_{i,ba'} δ_{l',i,b'}, J the Jacobian from z_l to
x_{l'-1} and δ_{l'} = ∂T/∂z_{l'}. With the kernels q, k, d of `theory.rungs.population`, and n_l for the widths,

    E[J_{i,ba'} J_{k,ba'}] = p^{l→l'}_ik,   p^{l→l+1} = q^l/n_l,   p^{l→l'} = n_{l'-2} s_{l'-1}² q^{l'-1} p^{l→l'-1},
    K^{ll'} = p^{l→l'} d^{l'},   M_ll' = Σ_ik c_i c_k K^{ll'}_ik E[x_{l-1,i} x_{l-1,k}^T]     (n_{l-1}, n_{l-1}),

and J, δ uncorrelated between neurons, the matrix Dyson equation -G^{-1} = z + S[G] of the entries' covariance has
blocks G_l ⊗ I, G_l (n_{l-1}, n_{l-1}) for each of the n_l neurons above:

    -G_l^{-1} = z + Σ_{l'>l} M_ll' n_l' tr G_l' + Σ_{l'<l} n_l' tr(M_l'l G_l').

M_1l' = X^T (c c^T ∘ K) X. For l ≥ 2, E[x_ia x_kb] is k_ik for a = b and m_i m_k otherwise, m_i = √(Σ_ii/2π) the mean of
a rectified Gaussian: G_l is one number across the direction of the mean and another along it. The n_l weights along
it are no separate outliers but part of the law: they are few in N_l, yet as many as layer L has, and M_ll' is of order
n_{l-1} times larger there: the layers above feel them as much as all the others. The unknowns are tr G_l, l ≥ 2.

Treating products of several W as Gaussian is what this rung does wrong, from L = 4 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.semicircle import upper_half_plane
from theory.shown import shown
from theory.signals import Complex, Real
from theory.solvers.fixed_point import FixedPoint, solve_fixed_point
from theory.solvers.vector_dyson import ConvergenceError

from .population import PopulationKernels, population_kernels
from .profiles import LadderLaw

RANK_CUT = 1e-12
"""Singular values of X below this share of the largest are rounding."""


@shown
@dataclass(frozen=True)
class EntryCovariance:
    """M_ll' of every pair of layers, for l' = 2..L in the order of the last axis of each array.

    first   (L-1, r, r) M_1l' on the r ≤ min(m, n_0) directions that the inputs have
    across  (L-2, L-1) eigenvalue of M_ll', l = 2..L-1, across the direction of the mean, 0 for l' ≤ l
    along   (L-2, L-1) the eigenvalue along it
    widths  n_0..n_L
    """

    first: Real
    across: Real
    along: Real
    widths: tuple[int, ...]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """N_l, (L,)."""
        return np.array([a * b for a, b in zip(self.widths[:-1], self.widths[1:], strict=True)])

    @property
    def mean_square(self) -> float:
        """E tr H²/N."""
        sizes, widths = self.sizes, np.array(self.widths)
        trace = widths[1] * np.trace(self.first, axis1=1, axis2=2)
        inner = widths[2:-1, None] * ((widths[1:-2, None] - 1) * self.across + self.along)
        return float(2.0 * (trace + inner.sum(axis=0)) @ sizes[1:] / sizes.sum())

    def scaled(self, factor: float) -> EntryCovariance:
        """The covariance of √factor H."""
        return EntryCovariance(factor * self.first, factor * self.across, factor * self.along, self.widths)


def _pair_kernels(
    kernels: PopulationKernels, widths: Sequence[int], variances: Sequence[float]
) -> dict[int, list[Real]]:
    """K^{ll'} (m, m) for l = 1..L-1, the list over l' = l+1..L."""
    depth, q = len(widths) - 1, kernels.overlap
    backward = [*kernels.backward, np.ones_like(q[0])]
    pairs = {}
    for low in range(1, depth):
        jacobian = q[low - 1] / widths[low]
        pairs[low] = [jacobian * backward[low]]
        for high in range(low + 2, depth + 1):
            jacobian = widths[high - 2] * variances[high - 2] * q[high - 2] * jacobian
            pairs[low].append(jacobian * backward[high - 1])
    return pairs


def entry_covariance(x: ArrayLike, c: ArrayLike, widths: Sequence[int], variances: Sequence[float]) -> EntryCovariance:
    """M_ll' of inputs x (m, n_0) and coefficients c (m,), for widths [n_0, ..., n_L = 1] and variances s_1²..s_L².

    Raises ValueError for arrays that do not go together, and for L = 1, where H = 0 has no covariance.
    """
    rows, weight = np.asarray(x, dtype=np.float64), np.asarray(c, dtype=np.float64)
    kernels = population_kernels(rows, widths, variances)
    if weight.shape != (len(rows),) or len(widths) < 3:
        raise ValueError(
            f"c has shape {weight.shape} and the network {len(widths) - 1} layers, "
            f"expected ({len(rows)},) and at least 2"
        )
    depth = len(widths) - 1
    pairs = _pair_kernels(kernels, widths, variances)
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    kept = values > RANK_CUT * values.max(initial=0.0)
    seen = weight[:, None] * left[:, kept] * values[kept]
    first = np.stack([seen.T @ kernel @ seen for kernel in pairs[1]])
    across, along = np.zeros((depth - 2, depth - 1)), np.zeros((depth - 2, depth - 1))
    for low in range(2, depth):
        mean = weight * np.sqrt(np.diag(kernels.covariance[low - 2]) / (2.0 * np.pi))
        power = np.outer(weight, weight) * kernels.activation[low - 2]
        for high, kernel in enumerate(pairs[low], start=low + 1):
            own, shared = float(np.sum(power * kernel)), float(mean @ kernel @ mean)
            across[low - 2, high - 2] = own - shared
            along[low - 2, high - 2] = own + (widths[low - 1] - 1) * shared
    return EntryCovariance(first, across, along, tuple(widths))


def _sweep(s: EntryCovariance, z: Complex, g: Complex) -> tuple[Complex, Complex]:
    """(tr G_l/n_{l-1} for l = 2..L after one sweep, tr G_1/n_0): g (n_z, L-1), one layer after the other from below."""
    widths, sizes, new = s.widths, s.sizes, g.copy()
    identity = np.eye(s.first.shape[1])
    traces = sizes[1:] * g
    matrix = np.tensordot(traces, s.first, axes=1) + z[:, None, None] * identity
    resolvent = -np.linalg.inv(matrix)
    idle = widths[0] - s.first.shape[1]
    bottom = (np.trace(resolvent, axis1=1, axis2=2) - idle / z) / widths[0]
    seen = widths[1] * np.einsum("zij,lji->zl", resolvent, s.first)
    for index in range(len(s.across)):
        count = widths[index + 1]
        point = z + seen[:, index]
        across, along = (-1.0 / (point + traces @ row[index]) for row in (s.across, s.along))
        new[:, index] = ((count - 1) * across + along) / count
        traces[:, index] = sizes[index + 1] * new[:, index]
        part = (count - 1) * across[:, None] * s.across[index] + along[:, None] * s.along[index]
        seen = seen + widths[index + 2] * part
    new[:, -1] = -1.0 / (z + seen[:, -1])
    return new, bottom


def _solve(s: EntryCovariance, z: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
    """tr G_l/n_{l-1}, l = 2..L, at every z, for a covariance of E tr H²/N = 1."""
    start = np.repeat((-1.0 / (z + 1j))[:, None], len(s.widths) - 2, axis=1)

    def admissible(g: Complex, _: NDArray[np.intp]) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = np.all(g.imag >= 0.0, axis=1)
        return inside

    found = solve_fixed_point(
        lambda g, index: _sweep(s, z[index], g)[0],
        start,
        admissible=admissible,
        tolerance=tolerance,
        max_iterations=max_iterations,
    )
    if not found.converged.all():
        worst = int(np.argmax(found.residual))
        raise ConvergenceError(
            f"the Dyson equation has residual {found.residual[worst]:.3g} at z = {z[worst]:.6g} rms after "
            f"{found.iterations[worst]} sweeps, expected at most {tolerance:.3g}; raise Im z or max_iterations"
        )
    return found


def arc_cosine_law(
    x: ArrayLike,
    c: ArrayLike,
    widths: Sequence[int],
    variances: Sequence[float],
    z: ArrayLike,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 2000,
) -> LadderLaw:
    """Matrix Dyson equation of a perceptron at initialisation (R3); c independent of the weights, which are not seen.

    x (m, n_0), c (m,), widths [n_0, ..., n_L = 1], variances s_1²..s_L²; z any shape, Im z > 0, in units of
    H = Σ_i c_i ∇²T(x_i). `tolerance` bounds the change of every g_l by one more sweep, in units of 1/rms.

    Raises ValueError for bad arrays, ConvergenceError when unsolved.
    """
    points = upper_half_plane(z)
    if len(widths) == 2:  # one linear layer: H = 0
        return LadderLaw(-1.0 / points, 0.0, 0)
    covariance = entry_covariance(x, c, widths, variances)
    rms = float(np.sqrt(covariance.mean_square))
    if rms == 0.0:
        return LadderLaw(-1.0 / points, 0.0, 0)
    unit, flat = covariance.scaled(1.0 / rms**2), points.ravel() / rms
    found = _solve(unit, flat, tolerance, max_iterations)
    inner, bottom = _sweep(unit, flat, found.value)
    sizes = covariance.sizes
    g = (sizes[0] * bottom + inner @ sizes[1:]) / (sizes.sum() * rms)
    return LadderLaw(g.reshape(points.shape), float(found.residual.max()), int(found.iterations.max()))
