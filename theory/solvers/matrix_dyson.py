"""The matrix Dyson equation, solved for many spectral parameters at once.

    -G^{-1} = z J - A + S[G],   Im z > 0,   Im G = (G - G*)/2i > 0,

is the equation of the averaged resolvent G of A + X - z J: X centred and Hermitian with covariance operator S,
A its mean, J = 1 but for linear pencils. For J > 0 it has exactly one solution [Helton2007]. The iteration for one
batch of z is in `siegel`; here is the order in which the points are solved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from theory.semicircle import upper_half_plane
from theory.shown import shown

from .covariance import (
    Complex,
    Covariance,
    Function,
    ProfileCovariance,
    Real,
    adjoint,
    as_covariance,
    hermitian,
    positive,
)
from .siegel import SECANTS, TOLERANCE, Equation, Found, imaginary, is_positive
from .vector_dyson import ConvergenceError, solve_vector_dyson

COARSE = 4
"""Number of points solved from cold; the others start between solved ones."""
BATCH_BYTES = 2**28
"""Memory for the iterates of the points that are solved together."""
SERIAL = 256
"""Matrices smaller than this take one BLAS thread: two gain little, and lose much where cores are shared."""


@shown
@dataclass(frozen=True)
class MatrixDysonSolution:
    """Solution of a matrix Dyson equation.

    values      (n_z, n, n) G(z), Im G > 0, in the order of z
    residual    max over z and entries of |1 + G F| and |1 + F G|, F = z J - A + S[G], computed from `values`
    iterations  most evaluations of the map that any z took
    """

    values: Complex
    residual: float
    iterations: int

    @property
    def g(self) -> Complex:
        """tr G/n, (n_z,)."""
        return np.asarray(np.trace(self.values, axis1=1, axis2=2) / self.values.shape[-1])


def _levels(z: Complex) -> Iterator[NDArray[np.intp]]:
    """Positions of z from coarse to fine along the energy axis: each level halves the gaps of those before."""
    order = np.lexsort((z.real, z.imag))
    stride = 1 << max((len(z) // COARSE).bit_length() - 1, 0)
    yield order[::stride]
    while stride > 1:
        yield order[stride // 2 :: stride]
        stride //= 2


def _between(z: Complex, known: Complex, g: Complex) -> Complex:
    """Start at z: mean of G at the two known points nearest in the hyperbolic metric, the nearer weighing more."""
    distance = np.abs(z[:, None] - known) ** 2 / (z.imag[:, None] * known.imag)
    nearest = np.argsort(distance, axis=1)[:, :2]
    near = np.sqrt(np.take_along_axis(distance, nearest, axis=1))
    weight = near[:, ::-1] / near.sum(axis=1, keepdims=True)
    return np.asarray((weight[:, :, None, None] * g[nearest]).sum(axis=1))


def _certified(equation: Equation, z: Complex, g: Complex, spent: NDArray[np.int64]) -> float:
    """The largest residual; ConvergenceError if one exceeds its bound."""
    residual, bound = equation.certify(z, g)
    if not (residual <= bound).all():
        worst = int(np.argmax(residual / bound))
        rounding = np.finfo(np.float64).eps * np.linalg.cond(g[worst])
        raise ConvergenceError(
            f"the matrix Dyson equation has residual {residual[worst]:.3g} at z = {z[worst]:.6g} after {spent[worst]} "
            f"iterations, expected at most {bound[worst]:.3g} (rounding alone leaves about {rounding:.1g}); "
            "raise Im z, max_iterations or tolerance"
        )
    return float(residual.max())


def _sweep(equation: Equation, z: Complex, start: Complex | None, limit: int) -> Found:
    """Solves distinct z level by level, in batches that fit the memory; ConvergenceError where it cannot."""
    n = equation.covariance.size
    batch = max(1, BATCH_BYTES // (16 * n * n * (4 * SECANTS + 12)))
    whole = Found(np.empty((len(z), n, n), dtype=np.complex128), np.zeros(len(z), dtype=np.int64))
    done = np.empty(0, dtype=np.intp)
    for level in _levels(z) if start is None else [np.arange(len(z))]:
        for rows in np.split(level, range(batch, len(level), batch)):
            if start is not None:
                first = start[rows]
            elif len(done) < 2:
                first = equation.cold(z[rows], np.zeros(len(rows)))
            else:
                first = _between(z[rows], z[done], whole.g[done])
            part = equation.solve(z[rows], first, limit)
            _certified(equation, z[rows], part.g, part.spent)
            whole.put(rows, part)
            done = np.concatenate([done, rows])
    return whole


def _check_start(start: ArrayLike, n_z: int, n: int) -> Complex:
    g = np.asarray(start, dtype=np.complex128)
    if g.shape not in ((n, n), (n_z, n, n)) or not np.isfinite(g).all():
        raise ValueError(f"start has shape {g.shape}, expected finite ({n}, {n}) or ({n_z}, {n}, {n})")
    g = np.array(np.broadcast_to(g, (n_z, n, n)))
    if not is_positive(imaginary(g)).all():
        raise ValueError("start has an imaginary part that is not positive, expected Im G > 0; pass a solution")
    return g


def _check_law(
    covariance: Covariance | Function, mean: ArrayLike | None, size: int | None
) -> tuple[Covariance, Complex]:
    """S and A on matrices of one size; A = 0 if there is no mean."""
    a = None if mean is None else hermitian("mean", mean)
    if a is not None and a.ndim != 2:
        raise ValueError(f"mean has shape {a.shape}, expected (n, n); pass one matrix")
    if a is not None and size not in (None, len(a)):
        raise ValueError(f"size is {size}, but mean has shape {a.shape}; make them agree")
    operator = as_covariance(covariance, size if a is None else len(a))
    n = operator.size
    positive("S[1]", operator(np.eye(n, dtype=np.complex128)))
    return operator, np.zeros((n, n), dtype=np.complex128) if a is None else a


def _check_pencil(pencil: ArrayLike, n: int) -> Complex:
    values = np.asarray(pencil)
    return positive("pencil", np.diag(values) if values.ndim == 1 else values, n)


def _diagonal(profile: ProfileCovariance, z: Complex, tolerance: float | None, limit: int) -> MatrixDysonSolution:
    goal = TOLERANCE if tolerance is None else tolerance
    solved = solve_vector_dyson(profile.profile, z, tolerance=goal, max_iterations=limit)
    values = solved.values[:, :, None] * np.eye(profile.size)
    return MatrixDysonSolution(values, solved.residual, solved.iterations)


def solve_matrix_dyson(
    covariance: Covariance | Function,
    z: ArrayLike,
    mean: ArrayLike | None = None,
    *,
    pencil: ArrayLike | None = None,
    size: int | None = None,
    start: ArrayLike | None = None,
    tolerance: float | None = None,
    max_iterations: int = 2000,
) -> MatrixDysonSolution:
    """Solves -G^{-1} = z J - A + S[G] for the G with Im G > 0 (matrix Dyson equation).

    For a large Hermitian H = A + X, X centred with covariance operator S, G(z) approximates (H - z)^{-1}, or
    its average over blocks that S and A do not tell apart; `g` of the result is the Stieltjes transform.

    covariance      S, a function on (n, n) complex matrices or a Covariance, which acts on whole batches
    z               any shape, flattened; Im z > 0
    mean            (n, n) Hermitian A, in units of z; default 0. Then G(-z̄) = -G(z)*, and mirror images are
                    solved once
    pencil          J ≥ 0 of a linear pencil H - z J, as (n, n) or its diagonal (n,); default 1. Where a
                    polynomial of random matrices is linearised, J is 1 on its block and 0 on the others
    size            n, for a function and no mean; found by trying sizes if not given
    start           G to begin from, (n, n) or (n_z, n, n), Im G > 0; by default the points are solved from coarse to
                    fine, each beginning between its solved neighbours. Not needed for a profile without a
                    mean, which `solve_vector_dyson` treats
    tolerance       bound on `residual`, recomputed from the answer; by default 1e-10, or 7e-15 times the condition
                    number of G where rounding leaves that much
    max_iterations  evaluations of the map allowed for each z

    Raises ValueError for bad arrays or z, a size that cannot be found, or an S[1] that is not positive;
    ConvergenceError when the tolerance is not met.
    Source: [Helton2007]. Ours: Anderson mixing in the coordinates of
    the Siegel half plane, falling back on their damped step.
    """
    points = np.atleast_1d(upper_half_plane(z)).ravel()
    if points.size == 0:
        raise ValueError("z is empty, expected at least one point; pass the grid of energies + i·eta")
    operator, a = _check_law(covariance, mean, size)
    n, centred = operator.size, not a.any()
    first = None if start is None else _check_start(start, len(points), n)
    if isinstance(operator, ProfileCovariance) and centred and pencil is None:
        return _diagonal(operator, points, tolerance, max_iterations)
    j = np.eye(n, dtype=np.complex128) if pencil is None else _check_pencil(pencil, n)
    equation = Equation(operator, a, j, tolerance)
    mirrored = (points.real < 0.0) & centred
    unique, chosen, place = np.unique(
        np.where(mirrored, -points.conj(), points), return_index=True, return_inverse=True
    )
    if first is not None:
        first = np.where(mirrored[:, None, None], -adjoint(first), first)[chosen]
    with threadpool_limits(1 if n < SERIAL else None, user_api="blas"):
        found = _sweep(equation, unique, first, max_iterations)
        values = found.g[place]
        values = np.where(mirrored[:, None, None], -adjoint(values), values)
        residual = _certified(equation, points, values, found.spent[place])
    return MatrixDysonSolution(values, residual, int(found.spent.max()))


def dyson_moments(
    covariance: Covariance | Function, mean: ArrayLike | None = None, *, size: int | None = None, order: int = 4
) -> Real:
    """Moments tr M_p/n, p = 1..order, of the law that the matrix Dyson equation (J = 1) describes, exactly.

        G(z) = -Σ_p M_p z^{-p-1}:   M_0 = 1,   M_{p+1} = M_p A + Σ_{i+j=p-1} M_i S[M_j],

    so M_1 = A, M_2 = A² + S[1], and without a mean M_4 = S[S[1]] + S[1]².

    covariance, mean, size  as in `solve_matrix_dyson`
    Returns (order,), in powers of the units of z.
    """
    operator, a = _check_law(covariance, mean, size)
    n = operator.size
    moments, images = [np.eye(n, dtype=np.complex128)], list[Complex]()
    for p in range(order):
        following = moments[p] @ a
        for i in range(p):
            following = following + moments[i] @ images[p - 1 - i]
        images.append(operator(moments[p]))
        moments.append(following)
    return np.array([np.trace(moment).real / n for moment in moments[1:]])
