"""The law of the linearised equations: g(z) at any number of points, and what it will cost."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.arrays import HOST, Array, ArrayLibrary
from theory.semicircle import upper_half_plane
from theory.shown import shown
from theory.signals import Complex, NetworkSignals, Real
from theory.solvers.vector_dyson import ConvergenceError
from theory.threads import blas_threads, one_thread

from .sweep import LinearisedEquation, bytes_per_point

SWEEPS = 14
"""Sweeps that a point of a spectrum typically takes, for estimates made in advance: those of double precision twice."""
RATE = 1.6e10
"""Floating-point operations a second of a thread assumed in such estimates: single precision, a hundred rows."""
CALL = 2e-5
"""Seconds that a call of the array library takes on small arrays."""
POINT = 2e-5
"""Seconds that a point takes besides arithmetic and calls."""
WORKING_SET = 1 << 30
"""Bytes that the points solved together may take."""


SINGLE = 1e-4
"""Residual to which a point is solved in single precision: near 0 its rounding leaves half of that."""
SINGLE_SWEEPS = 8
"""Sweeps in single precision after which a point is left to double precision."""


@shown
@dataclass(frozen=True)
class LinearisedLaw:
    """Spectral law of the linearised equations at the requested z.

    g           shape of z: g(z) = (1/N) Σ 1/(λ - z), Im g > 0; density smoothed at Im z: Im g/π
    residual    largest change, over all z, that one more sweep makes to an unknown, relative to the largest of its kind
    iterations  most sweeps that any z took
    """

    g: Complex
    residual: float
    iterations: int


def linearised_law(
    signals: NetworkSignals,
    z: ArrayLike,
    closure: str = "mean_field",
    *,
    cut: float = 0.0,
    tolerance: float = 1e-5,
    max_iterations: int = 300,
    library: ArrayLibrary = HOST,
) -> LinearisedLaw:
    """Solves the linearised equations at every z (any shape, Im z > 0): R4w, R5 ("mean_field"), R4, R6 ("cavity").

    cut             inner layers keep the directions of their forward kernels above this share of the largest (see
                    `theory.linearised.inner_layer`); 0: all of them, the equations as they stand
    tolerance       on the relative change of every unknown by one more sweep
    max_iterations  sweeps allowed for each z, and again for each stage of the approach from above to a stubborn one
    library         where to solve: NumPy, or any backend

    Raises ValueError for z or signals that cannot be used and ConvergenceError when the tolerance is not met.
    """
    points = upper_half_plane(z)
    if signals.silent:
        return LinearisedLaw(-1.0 / points, 0.0, 0)
    return law_of(LinearisedEquation(signals, closure, cut, library), points, tolerance, max_iterations)


def law_of(
    equation: LinearisedEquation, z: ArrayLike, tolerance: float = 1e-5, max_iterations: int = 300
) -> LinearisedLaw:
    """`linearised_law` of an equation that is there already: what it holds does not depend on z.

    Mirror images z and -z̄ are solved once: g(-z̄) = -conj g(z). Where H = 0 the law is -1/z.
    """
    points = upper_half_plane(z)
    if equation.own_rms == 0.0:
        return LinearisedLaw(-1.0 / points, 0.0, 0)
    flat: Complex = points.ravel() * equation.unit
    folded, place = np.unique(_right(flat), return_inverse=True)
    g, residual, iterations, converged = _points(equation, folded, tolerance, max_iterations)
    if not converged.all():
        worst = int(np.argmax(residual))
        raise ConvergenceError(
            f"the linearised equations have residual {residual[worst]:.3g} at z = "
            f"{folded[worst] / equation.unit:.6g} after "
            f"{iterations[worst]} sweeps, expected at most {tolerance:.3g}; raise Im z or max_iterations"
        )
    unfolded: Complex = np.where(flat.real < 0.0, -g[place].conj(), g[place]).astype(np.complex128) * equation.unit
    return LinearisedLaw(unfolded.reshape(points.shape), float(residual.max()), int(iterations.max()))


def _right(z: Complex) -> Complex:
    """Every z or its mirror image -z̄, whichever has Re z ≥ 0."""
    return np.asarray(np.abs(z.real) + 1j * z.imag)


def _points(
    equation: LinearisedEquation, z: Complex, tolerance: float, max_iterations: int
) -> tuple[Complex, Real, NDArray[np.int64], NDArray[np.bool_]]:
    """g, residual, sweeps and whether it converged at every z, in the units of the equation.

    Energies are solved side by side, one thread of BLAS each, in groups that fit into memory. No group knows of
    another: what is found at a point does not depend on how many threads there are.
    """
    threads = blas_threads() if equation.library.concurrent else 1
    groups = max(min(threads, len(z)), math.ceil(len(z) / max(1, _group(equation) // threads)))
    order = np.argsort(-np.abs(z))
    dealt = [order[first::groups] for first in range(groups)]  # each gets far points and near ones
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda rows: _solve(equation, z[rows], tolerance, max_iterations), dealt))
    rows = np.argsort(np.concatenate(dealt))
    g, residual, iterations, converged = (np.concatenate(part)[rows] for part in zip(*parts, strict=True))
    return g, residual, iterations, converged


def _solve(
    equation: LinearisedEquation, z: Complex, tolerance: float, max_iterations: int
) -> tuple[Complex, Real, NDArray[np.int64], NDArray[np.bool_]]:
    """The same for one group: in single precision as far as that goes, then in double precision, which decides.

    Points that have not converged then are approached from above.
    """
    start, spent = _rough(equation, z, max(tolerance, SINGLE), min(max_iterations, SINGLE_SWEEPS))
    found, trace = equation.solve(z, start, tolerance, max_iterations)
    residual, iterations, converged = found.residual.copy(), spent + found.iterations, found.converged.copy()
    rest = np.flatnonzero(~converged)
    if rest.size:
        again, trace[rest] = equation.follow(z[rest], equation.own_rms, tolerance, max_iterations)
        residual[rest], converged[rest] = again.residual, again.converged
        iterations[rest] += again.iterations
    return trace / equation.signals.n_weights, residual, iterations, converged


def _rough(
    equation: LinearisedEquation, z: Complex, tolerance: float, max_iterations: int
) -> tuple[Array, NDArray[np.int64]]:
    """States solved in single precision, as far as it goes, and the sweeps that this took.

    Numbers beyond its range end a point there without a word: double precision starts it again.
    """
    single, lifted = equation.single, z + 1j * equation.own_rms
    try:
        with np.errstate(all="ignore"):
            begin = single.sweep(lifted, single.sweep(lifted, single.start(lifted))[0])[0]
            rough, _ = single.solve(z, begin, tolerance, max_iterations)
    except np.linalg.LinAlgError:  # a block without an inverse: double precision starts from nothing
        return equation.start(lifted), np.zeros(len(z), dtype=np.int64)
    return equation.doubled(rough.value, lifted), rough.iterations


def estimate_seconds(equation: LinearisedEquation, n_points: int, rounds: int = 1) -> float:
    """About how long `law_of` will take on a CPU at n_points that are no mirror images of one another, said in advance.

    Arithmetic, shared by the threads that BLAS may use now, and what the calls of a sweep cost however small their
    arrays are: once for each of the `rounds` in which the points are asked for, and for each group solved together.
    """
    if n_points < 1:
        return 0.0
    threads = blas_threads() if equation.library.concurrent else 1
    arithmetic = SWEEPS * n_points * equation.operations() / (RATE * threads)
    groups = max(rounds, math.ceil(n_points / _group(equation)) / threads)
    return arithmetic + groups * SWEEPS * equation.calls() * CALL + POINT * n_points


def _group(equation: LinearisedEquation) -> int:
    """Points that are solved together."""
    return max(1, int(WORKING_SET // bytes_per_point(equation.signals, equation.closure)))
