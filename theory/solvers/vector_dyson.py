"""The vector Dyson equation, solved for many spectral parameters at once.

    -1/m_i = z + Σ_j S_ij m_j,   Im z > 0,   S ≥ 0,

has exactly one solution with Im m > 0 ([Earle1970], [Helton2007], [Ajanki2019a]). S need not be symmetric.
Rungs R1 and R2 are instances of it.

Only the r sums u = R^T m that S = L R^T lets through are iterated, and those by their logarithms: u -> log u
maps the upper half plane to the strip 0 < Im w < π, which is convex (a damped step never leaves it), and
makes residuals relative, so that m ~ 1/eta on an atom and m ~ eta beside it are found equally well. The map
is a holomorphic self-map of the strip with an attracting fixed point: its damped iteration converges from any
start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.inputs import real_array
from theory.semicircle import semicircle, upper_half_plane
from theory.shown import shown

from .fixed_point import FixedPoint, solve_fixed_point

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]

INNER = 0.1
"""Tolerance of the iteration in units of that of the answer: leaves room for the step from u back to m."""
SHARPER = 0.01
"""The same once more, for points whose rows then miss the tolerance of the answer by a little."""
DIRECT = 100
"""Evaluations at the target z before a stubborn one is approached from larger Im z instead."""
STRIDE = 1.0
"""Longest extrapolation in w = log u: a factor e in u, or a third of the strip."""
DESCENT = 3.0
"""Ratio of successive Im z on that approach."""
ROUGH = 0.1
"""Tolerance of its intermediate points, which only have to lead to the next."""


class ConvergenceError(RuntimeError):
    """A Dyson equation was not solved to its tolerance; raised, so that no such answer is ever used."""


@shown
@dataclass(frozen=True)
class LowRankProfile:
    """Variance profile S = left @ right.T with nonnegative factors left, right (n, r)."""

    left: ArrayLike
    right: ArrayLike


@shown
@dataclass(frozen=True)
class DysonSolution:
    """Solution of a vector Dyson equation.

    values      (n_z, n) m_i(z), Im m > 0, rows in the order of z
    residual    max over z and i of |1 + m_i (z + (S m)_i)|, computed from `values`; at most the tolerance
    iterations  most evaluations of the map that any z took
    """

    values: Complex
    residual: float
    iterations: int


@shown
@dataclass(frozen=True)
class RowBlock:
    """Rows of a factorised profile that read and write the same unknowns u.

    (S m)_p = Σ_k left[p, k] u[source[k]],   u[target[k]] = Σ_p right[p, k] m_p;   right None is the identity.
    left (rows, s), right (rows, t), source (s,), target (t,); every unknown is the target of one block.
    """

    left: Real
    right: Real | None
    source: NDArray[np.intp]
    target: NDArray[np.intp]

    def field(self, u: Complex) -> Complex:
        """(S m)_p, (n_z, rows)."""
        read = u[:, self.source]
        return (read.real @ self.left.T) + 1j * (read.imag @ self.left.T)

    def rows(self, z: Complex, u: Complex) -> Complex:
        """m_p = -1/(z + (S m)_p), (n_z, rows)."""
        m: Complex = -1.0 / (z[:, None] + self.field(u))
        return m

    def sums(self, m: Complex) -> Complex:
        """The unknowns that these rows write, (n_z, t)."""
        if self.right is None:
            return m
        return (m.real @ self.right) + 1j * (m.imag @ self.right)


@shown
@dataclass(frozen=True)
class Reduced:
    """u (n_z, r) solving a factorised equation at z (n_z,), with the certificate of the rows it implies."""

    blocks: Sequence[RowBlock]
    z: Complex
    u: Complex
    residual: float
    iterations: int

    def rows(self) -> Iterator[Complex]:
        """m of each block in turn, (n_z, rows)."""
        return (block.rows(self.z, self.u) for block in self.blocks)


def _write(blocks: Sequence[RowBlock], parts: Iterator[Complex], shape: tuple[int, int]) -> Complex:
    u = np.empty(shape, dtype=np.complex128)
    for block, m in zip(blocks, parts, strict=True):
        u[:, block.target] = block.sums(m)
    return u


class _LogMap:
    """w ↦ log u(e^w) for one factorised profile, its strip and its start."""

    def __init__(self, blocks: Sequence[RowBlock]) -> None:
        self.blocks = blocks
        self.rank = sum(len(block.target) for block in blocks)
        self.mass = np.empty(self.rank)
        for block in blocks:
            self.mass[block.target] = 1.0 if block.right is None else block.right.sum(axis=0)
        self.totals = [block.left @ self.mass[block.source] for block in blocks]

    def image(self, z: Complex, u: Complex) -> Complex:
        return _write(self.blocks, (b.rows(z, u) for b in self.blocks), (len(z), self.rank))

    def start(self, z: Complex) -> Complex:
        """Every row begins at the semicircle of its own total variance."""
        parts = (semicircle(z[:, None], np.sqrt(total)) for total in self.totals)
        return np.log(_write(self.blocks, parts, (len(z), self.rank)))

    def run(self, z: Complex, start: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
        # |m| <= 1/Im z bounds u; STRIDE leaves room for rounding where the bound is attained.
        ceiling = np.log(self.mass) - np.log(z.imag)[:, None] + STRIDE

        def step(w: Complex, index: NDArray[np.intp]) -> Complex:
            return np.log(self.image(z[index], np.exp(w)))

        def admissible(w: Complex, index: NDArray[np.intp]) -> NDArray[np.bool_]:
            inside = (w.imag >= 0.0) & (w.imag <= np.pi) & (w.real <= ceiling[index])
            return np.asarray(inside.all(axis=1))

        return solve_fixed_point(
            step,
            start,
            admissible=admissible,
            tolerance=tolerance,
            max_iterations=max_iterations,
            stride=STRIDE,
        )

    def descend(self, z: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
        """Follows the solution from Im z above every rms, where the map contracts fast, down to z."""
        rms = max(float(np.sqrt(total.max())) for total in self.totals)
        stages = int(np.ceil(np.log(max(rms / z.imag.min(), DESCENT)) / np.log(DESCENT)))
        w, spent = self.start(z.real + 1j * z.imag * DESCENT**stages), np.zeros(len(z), dtype=np.int64)
        for stage in range(stages, 0, -1):
            high = z.real + 1j * z.imag * DESCENT**stage
            found = self.run(high, w, ROUGH, max_iterations // (2 * stages))
            w, spent = found.value, spent + found.iterations
        last = self.run(z, w, tolerance, max_iterations - int(spent.max()))
        return FixedPoint(last.value, last.residual, spent + last.iterations, last.converged)


def _log_solve(blocks: Sequence[RowBlock], z: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
    mapping = _LogMap(blocks)
    if mapping.rank == 0:  # no variance at all: m = -1/z, nothing to solve
        none = np.zeros(len(z))
        return FixedPoint(np.zeros((len(z), 0), np.complex128), none, none.astype(np.int64), none == 0.0)
    found = mapping.run(z, mapping.start(z), INNER * tolerance, min(DIRECT, max_iterations))
    rest = np.flatnonzero(~found.converged)
    if rest.size == 0 or max_iterations <= DIRECT:
        return found
    again = mapping.descend(z[rest], INNER * tolerance, max_iterations - DIRECT)
    found.value[rest], found.residual[rest] = again.value, again.residual
    found.converged[rest] = again.converged
    found.iterations[rest] += again.iterations
    return found


def _certify(blocks: Sequence[RowBlock], z: Complex, u: Complex) -> Real:
    """max_p |1 + m_p (z + (S m)_p)| at each z for the rows m that u implies; infinite unless Im m > 0."""
    rows = [block.rows(z, u) for block in blocks]
    written = _write(blocks, iter(rows), u.shape)
    worst = np.zeros(len(z))
    for block, m in zip(blocks, rows, strict=True):
        defect = np.abs(1.0 + m * (z[:, None] + block.field(written))).max(axis=1)
        worst = np.maximum(worst, np.where((m.imag > 0.0).all(axis=1), defect, np.inf))
    return worst


def solve_reduced(blocks: Sequence[RowBlock], z: Complex, *, tolerance: float, max_iterations: int) -> Reduced:
    """Solves a factorised vector Dyson equation at z (n_z,), Im z > 0, and certifies every row.

    Mirror images z and -z̄ are solved once: m(-z̄) = -conj m(z), the entries having mean zero.
    Raises ValueError for empty z and ConvergenceError if any residual exceeds the tolerance.
    """
    if z.size == 0:
        raise ValueError("z is empty, expected at least one point; pass the grid of energies + i·eta")
    folded, place = np.unique(np.abs(z.real) + 1j * z.imag, return_inverse=True)
    found = _log_solve(blocks, folded, tolerance, max_iterations)
    u = np.exp(found.value)
    residual = _certify(blocks, folded, u)
    late = np.flatnonzero((residual > tolerance) & found.converged)
    if late.size:
        goal = SHARPER * INNER * tolerance
        again = _LogMap(blocks).run(folded[late], found.value[late], goal, min(DIRECT, max_iterations))
        u[late] = np.exp(again.value)
        residual[late] = _certify(blocks, folded[late], u[late])
        found.iterations[late] += again.iterations
    if not (residual <= tolerance).all():
        worst = int(np.argmax(residual))
        raise ConvergenceError(
            f"the Dyson equation has residual {residual[worst]:.3g} at z = {folded[worst]:.6g} after "
            f"{found.iterations[worst]} iterations, expected at most {tolerance:.3g}; "
            "raise Im z, max_iterations or tolerance"
        )
    mirrored = (z.real < 0.0)[:, None]
    unfolded = np.where(mirrored, -u[place].conj(), u[place])
    return Reduced(blocks, z, unfolded, float(residual.max()), int(found.iterations.max()))


def nonnegative(name: str, values: ArrayLike, shape: str) -> Real:
    """`values` as a finite nonnegative matrix; ValueError naming the culprit otherwise."""
    array = real_array(values, name)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}, not empty; pass it as an array")
    bad = ~(np.isfinite(array) & (array >= 0.0))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name}{list(where)} is {array[where]}, expected finite and >= 0; variances cannot be negative"
        )
    return array


def _as_block(profile: ArrayLike | LowRankProfile) -> RowBlock:
    if not isinstance(profile, LowRankProfile):
        square = nonnegative("profile", profile, "(n, n)")
        if square.shape[0] != square.shape[1]:
            raise ValueError(f"profile has shape {square.shape}, expected (n, n); pass a square array")
        all_rows = np.arange(len(square))
        return RowBlock(square, None, all_rows, all_rows)
    left, right = nonnegative("left", profile.left, "(n, r)"), nonnegative("right", profile.right, "(n, r)")
    if left.shape != right.shape:
        raise ValueError(f"left {left.shape} and right {right.shape} differ, expected equal shapes (n, r)")
    # A factor that is zero on either side contributes nothing, and its logarithm would be -∞.
    used = (left.sum(axis=0) > 0.0) & (right.sum(axis=0) > 0.0)
    kept = np.arange(int(used.sum()))
    return RowBlock(left[:, used], right[:, used], kept, kept)


def solve_vector_dyson(
    profile: ArrayLike | LowRankProfile, z: ArrayLike, *, tolerance: float = 1e-10, max_iterations: int = 2000
) -> DysonSolution:
    """Solves -1/m_i = z + Σ_j profile_ij m_j for the m with Im m > 0 (vector Dyson equation; R1, R2).

    For a large symmetric matrix H with independent centred entries of variance profile_ij, m_i(z)
    approximates the diagonal entry i of (H - z)^{-1}, and the mean of m its Stieltjes transform.

    profile         (n, n) real, nonnegative, symmetric or not, in squared units of z; or a LowRankProfile of
                    rank r, whose cost per evaluation is n r instead of n²
    z               any shape, flattened; Im z > 0
    tolerance       bound on max |1 + m_i (z + (S m)_i)|, recomputed from the answer
    max_iterations  evaluations of the map allowed for each z

    Raises ValueError for a bad profile or z and ConvergenceError when the tolerance is not met.
    Source: [Ajanki2019a]; Anderson mixing in logarithms is ours.
    """
    points = np.atleast_1d(upper_half_plane(z)).ravel()
    block = _as_block(profile)
    solved = solve_reduced([block], points, tolerance=tolerance, max_iterations=max_iterations)
    (values,) = solved.rows()
    return DysonSolution(values, solved.residual, solved.iterations)
