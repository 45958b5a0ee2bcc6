"""Accelerated fixed points, many independent problems at once.

A Dyson equation at n_z spectral parameters is n_z unrelated problems x = G(x) of equal size. They are
iterated side by side as the rows of one array; a row that has converged leaves the batch.

Each row is accelerated by Anderson mixing of type II ([Anderson1965], [Walker2011]), which is a secant method on
the last few iterates, and falls back on the damped step
x + damping (G(x) - x) when the extrapolation leaves the admissible set or stops helping. Differences from
the textbook: coefficients are complex (the maps are holomorphic), and after every restart of a row the number
of plain damped steps before the next extrapolation doubles, so that a map whose damped iteration converges is
solved whatever the extrapolation does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.arrays import HOST, Array, ArrayLibrary
from theory.shown import shown

Complex = NDArray[np.complex128]
Step = Callable[[Array, NDArray[np.intp]], Array]
Admissible = Callable[[Array, NDArray[np.intp]], NDArray[np.bool_]]

GROWTH = 1e3
"""A residual this many times the best so far drops the secants; at 10 useful detours are cut short."""
PATIENCE = 40
"""Steps without a new best residual after which the secants are dropped."""
RANK_CUT = 1e-13
"""Relative eigenvalue below which a direction of the normalised secant Gram matrix is rounding noise."""


@shown
@dataclass(frozen=True)
class FixedPoint:
    """Outcome of `solve_fixed_point`, one entry per row; the caller must look at `converged`.

    value       (n_z, n) the iterate with the smallest residual, on the device
    residual    (n_z,) max |G(value) - value|, in the coordinates of the unknown
    iterations  (n_z,) evaluations of G
    converged   (n_z,) residual <= tolerance
    """

    value: Array
    residual: NDArray[np.float64]
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]


@dataclass
class _Batch:
    """The rows still being iterated; every array has one row per problem.

    On the device: the iterate ``x`` and the one before, the best one, and ring buffers dx, dr (n_z, memory, n) of the
    secants of x and of r = G(x) - x, zero where there is none yet. On the host: `wait` is the number of damped steps
    still due, `penalty` that of the latest restart, and `fresh` marks rows whose previous iterate must not be used for
    a secant.
    """

    x: Array
    previous_x: Array
    previous_r: Array
    dx: Array
    dr: Array
    best_x: Array
    index: NDArray[np.intp]
    best: NDArray[np.float64]
    since_best: NDArray[np.int64]
    wait: NDArray[np.int64]
    penalty: NDArray[np.int64]
    fresh: NDArray[np.bool_]

    def keep(self, rows: NDArray[np.intp], library: ArrayLibrary) -> None:
        there = library.asarray(rows, "int64")
        for name, value in vars(self).items():
            on_host = name in ("index", "best", "since_best", "wait", "penalty", "fresh")
            setattr(self, name, value[rows] if on_host else library.xp.take(value, there, axis=0))


def _open(start: Array, memory: int, library: ArrayLibrary) -> _Batch:
    n_z, n = start.shape
    counts = np.zeros(n_z, dtype=np.int64)
    zeros = library.xp.zeros_like(start)
    secants = [library.xp.zeros((n_z, memory, n), dtype=start.dtype, device=start.device) for _ in range(2)]
    return _Batch(
        x=start,
        previous_x=start,
        previous_r=zeros,
        dx=secants[0],
        dr=secants[1],
        best_x=start,
        index=np.arange(n_z),
        best=np.full(n_z, np.inf),
        since_best=counts,
        wait=counts,
        penalty=np.ones_like(counts),
        fresh=np.ones(n_z, dtype=np.bool_),
    )


def _select(rows: NDArray[np.bool_], these: Array, those: Array, library: ArrayLibrary) -> Array:
    """`these` in the rows named, `those` in the others."""
    if rows.all() or not rows.any():
        return these if rows.all() else those
    return library.xp.where(library.asarray(rows[:, None], "bool"), these, those)


def _book(batch: _Batch, error: NDArray[np.float64], library: ArrayLibrary) -> None:
    """Keeps the best iterate, and clears the secants of rows whose residual grew or stopped falling."""
    better = error < batch.best
    batch.best = np.where(better, error, batch.best)
    batch.best_x = _select(better, batch.x, batch.best_x, library)
    batch.wait = np.maximum(batch.wait - 1, 0)
    batch.since_best = np.where(better | (batch.wait > 0), 0, batch.since_best + 1)
    stuck = ((error > GROWTH * batch.best) | (batch.since_best > PATIENCE)) & (batch.wait == 0)
    batch.penalty = np.where(stuck, 2 * batch.penalty, batch.penalty)
    batch.wait = np.where(stuck, batch.penalty, batch.wait)
    batch.since_best = np.where(stuck, 0, batch.since_best)
    for row in np.flatnonzero(stuck):
        batch.dx[int(row), :, :] = 0.0
        batch.dr[int(row), :, :] = 0.0
    batch.fresh = batch.fresh | stuck


def _remember(batch: _Batch, r: Array, slot: int, library: ArrayLibrary) -> None:
    """Puts the newest secant pair in the ring buffers."""
    nothing = library.xp.zeros_like(r)
    batch.dx[:, slot, :] = _select(batch.fresh, nothing, batch.x - batch.previous_x, library)
    batch.dr[:, slot, :] = _select(batch.fresh, nothing, r - batch.previous_r, library)
    batch.fresh = np.zeros_like(batch.fresh)
    batch.previous_x, batch.previous_r = batch.x, r


def _mixing(dr: Array, r: Array, library: ArrayLibrary) -> Complex:
    """Coefficients c (n_z, k) that minimise |r - Σ_k c_k dr_k| in each row; empty secants get 0.

    The normal equations of k unknowns are solved on the host.
    """
    xp = library.xp
    turned = xp.conj(dr)
    gram = library.to_numpy(xp.matmul(turned, xp.matrix_transpose(dr))).astype(np.complex128)
    seen = library.to_numpy(xp.matmul(turned, r[:, :, None])).astype(np.complex128)
    norms = np.sqrt(np.diagonal(gram, axis1=1, axis2=2).real)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
    values, vectors = np.linalg.eigh(gram * scale[:, :, None] * scale[:, None, :])
    kept = values > RANK_CUT * values[:, -1:]
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=kept)
    projected = vectors.conj().transpose(0, 2, 1) @ (seen * scale[:, :, None])
    coefficients: Complex = (vectors @ (inverse[:, :, None] * projected))[:, :, 0] * scale
    return coefficients


def _advance(
    batch: _Batch, r: Array, admissible: Admissible, damping: float, stride: float, library: ArrayLibrary
) -> None:
    """Moves every row towards its extrapolation, or by a damped step where that is not to be trusted."""
    xp = library.xp
    gamma = xp.astype(library.asarray(_mixing(batch.dr, r, library)[:, None, :], "complex128"), r.dtype)
    move = r - xp.matmul(gamma, batch.dx)[:, 0, :] - xp.matmul(gamma, batch.dr)[:, 0, :]
    if np.isfinite(stride):
        length = library.to_numpy(xp.max(xp.abs(move), axis=1, keepdims=True))
        short = np.divide(stride, length, out=np.ones_like(length), where=length > stride)
        move = move * library.asarray(short, "float64")
    trial = batch.x + move
    good = library.to_numpy(xp.all(xp.isfinite(trial), axis=1)) & (batch.wait == 0)
    good &= admissible(_select(good, trial, batch.x, library), batch.index)
    batch.x = _select(good, trial, batch.x + damping * r, library)


def solve_fixed_point(
    step: Step,
    start: Array,
    *,
    admissible: Admissible,
    tolerance: float,
    max_iterations: int,
    memory: int = 8,
    damping: float = 0.5,
    stride: float = np.inf,
    library: ArrayLibrary = HOST,
) -> FixedPoint:
    """Solves x = G(x) in each row of a batch, until max |G(x) - x| <= tolerance there.

    step            (x (k, n), index (k,)) -> G(x) (k, n): the map for the rows of `start` that `index` names;
                    it should map the admissible set into itself
    start           (n_z, n) complex, admissible, in the precision of the iteration
    admissible      (x, index) -> (k,) bool: membership of the set, convex so that damped steps stay in it
    tolerance       bound on the residual, absolute: choose coordinates in which that makes sense
    max_iterations  evaluations of G allowed for each row
    memory          secants kept per row; the batch holds 2 memory + 5 arrays of the size of `start`
    damping         fraction of G(x) - x taken by a fallback step, in (0, 1]
    stride          longest move, max |dx|, of an extrapolation: far from the solution the secants know the
                    direction but not the distance
    library         where `start` lives and G is evaluated; decisions are taken on the host, by a few numbers a step

    Never raises for lack of convergence: the result says which rows converged. A row where G is not finite is
    given up with its best iterate so far.
    """
    n_z, xp = start.shape[0], library.xp
    residual, iterations = np.full(n_z, np.inf), np.zeros(n_z, dtype=np.int64)
    if n_z == 0 or max_iterations < 1:
        return FixedPoint(start, residual, iterations, residual <= tolerance)
    left = list[tuple[NDArray[np.intp], Array]]()
    batch = _open(start, memory, library)
    for count in range(1, max_iterations + 1):
        r = step(batch.x, batch.index) - batch.x
        error = library.to_numpy(xp.max(xp.abs(r), axis=1))
        _book(batch, error, library)
        going = (batch.best > tolerance) & np.isfinite(error)
        leaving = np.flatnonzero(~going if count < max_iterations else np.ones_like(going))
        if leaving.size:
            rows = batch.index[leaving]
            left.append((rows, xp.take(batch.best_x, library.asarray(leaving, "int64"), axis=0)))
            residual[rows], iterations[rows] = batch.best[leaving], count
            if leaving.size == going.size:
                break
            staying = np.flatnonzero(going)
            batch.keep(staying, library)
            r = xp.take(r, library.asarray(staying, "int64"), axis=0)
        _remember(batch, r, count % memory, library)
        _advance(batch, r, admissible, damping, stride, library)
    place = np.argsort(np.concatenate([rows for rows, _ in left]))
    value = xp.take(xp.concat([part for _, part in left], axis=0), library.asarray(place, "int64"), axis=0)
    return FixedPoint(value, residual, iterations, residual <= tolerance)
