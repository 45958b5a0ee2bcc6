"""The law of the linearised equations: g(z) at any number of points, and what it will cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.arrays import HOST, ArrayLibrary
from theory.semicircle import upper_half_plane
from theory.signals import Complex, NetworkSignals, Real
from theory.solvers.fixed_point import FixedPoint
from theory.solvers.vector_dyson import ConvergenceError
from theory.threads import threads_for

from .sweep import LinearisedEquation, bytes_per_point

SWEEPS = 12
"""Sweeps that a point of a spectrum typically takes, for estimates made in advance."""
RATE = 1.5e10
"""Floating-point operations a second assumed in such estimates: two cores on matrices of a hundred rows."""
CALL = 2e-5
"""Seconds that a call of the array library takes on small arrays."""
POINT = 2e-5
"""Seconds that a point takes besides arithmetic and calls."""
WORKING_SET = 1 << 30
"""Bytes that the points solved together may take."""


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
    rows = max(max(layer.n_sites, layer.n_pooled) for layer in equation.signals.layers)
    with threads_for(rows):
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

    Solved in groups that fit into memory, each started from its neighbour's outermost solution.
    """
    rms, to_numpy = equation.own_rms, equation.library.to_numpy
    group = _group(equation)
    order = np.argsort(-np.abs(z))
    g, residual = np.empty(len(z), dtype=np.complex128), np.empty(len(z))
    iterations, converged = np.empty(len(z), dtype=np.int64), np.empty(len(z), dtype=np.bool_)
    state = None
    for first in range(0, len(z), group):
        rows = order[first : first + group]
        lifted = z[rows] + 1j * rms
        if state is None:
            begin = equation.sweep(lifted, equation.sweep(lifted, equation.start(lifted))[0])[0]
        else:
            begin = equation.xp.tile(state, (len(rows), 1))
        found = equation.solve(z[rows], begin, tolerance, max_iterations)
        if not found.converged.all():
            found = _again(equation, z[rows], found, tolerance, max_iterations)
        residual[rows], iterations[rows], converged[rows] = found.residual, found.iterations, found.converged
        g[rows] = to_numpy(equation.sweep(z[rows], found.value)[1]) / equation.signals.n_weights
        state = found.value[-1:, :]
    return g, residual, iterations, converged


def _again(
    equation: LinearisedEquation, z: Complex, found: FixedPoint, tolerance: float, max_iterations: int
) -> FixedPoint:
    """The points that have not converged, approached from above."""
    xp, put = equation.xp, equation.library.asarray
    rest, kept = np.flatnonzero(~found.converged), np.flatnonzero(found.converged)
    again = equation.follow(z[rest], equation.own_rms, tolerance, max_iterations)
    parts = xp.concat([xp.take(found.value, put(kept, "int64"), axis=0), again.value], axis=0)
    value = xp.take(parts, put(np.argsort(np.concatenate([kept, rest])), "int64"), axis=0)
    residual, iterations, converged = found.residual.copy(), found.iterations.copy(), found.converged.copy()
    residual[rest], converged[rest] = again.residual, again.converged
    iterations[rest] += again.iterations
    return FixedPoint(value, residual, iterations, converged)


def estimate_seconds(equation: LinearisedEquation, n_points: int) -> float:
    """About how long `law_of` will take on a CPU at n_points that are no mirror images of one another, said in advance.

    Arithmetic, and what the calls of a sweep cost however small their arrays are: once for each group of points that
    are solved together.
    """
    if n_points < 1:
        return 0.0
    arithmetic = SWEEPS * n_points * equation.operations() / RATE
    groups = math.ceil(n_points / _group(equation))
    return arithmetic + groups * SWEEPS * equation.calls() * CALL + POINT * n_points


def _group(equation: LinearisedEquation) -> int:
    """Points that are solved together."""
    return max(1, int(WORKING_SET // bytes_per_point(equation.signals, equation.closure)))
