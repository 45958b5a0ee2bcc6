"""Accelerated fixed points, many independent problems at once.

A Dyson equation at n_z spectral parameters is n_z unrelated problems x = G(x) of equal size. They are
iterated side by side as the rows of one array; a row that has converged leaves the batch.

Each row is accelerated by Anderson mixing of type II (Anderson, J. ACM 12, 1965; Walker & Ni, SIAM J. Numer.
Anal. 49, 2011), which is a secant method on the last few iterates, and falls back on the damped step
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

Complex = NDArray[np.complex128]
Step = Callable[[Complex, NDArray[np.intp]], Complex]
Admissible = Callable[[Complex, NDArray[np.intp]], NDArray[np.bool_]]

GROWTH = 1e3
"""A residual this many times the best so far drops the secants; at 10 useful detours are cut short."""
PATIENCE = 40
"""Steps without a new best residual after which the secants are dropped."""
RANK_CUT = 1e-13
"""Relative eigenvalue below which a direction of the normalised secant Gram matrix is rounding noise."""


@dataclass(frozen=True)
class FixedPoint:
    """Outcome of `solve_fixed_point`, one entry per row; the caller must look at `converged`.

    value       (n_z, n) the iterate with the smallest residual
    residual    (n_z,) max |G(value) - value|, in the coordinates of the unknown
    iterations  (n_z,) evaluations of G
    converged   (n_z,) residual <= tolerance
    """

    value: Complex
    residual: NDArray[np.float64]
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]


@dataclass
class _Batch:
    """The rows still being iterated; every array has one row per problem.

    dx, dr (n_z, memory, n) are ring buffers of the secants of x and of r = G(x) - x, zero where there is none
    yet; `wait` is the number of damped steps still due, `penalty` that of the latest restart, and `fresh`
    marks rows whose previous iterate must not be used for a secant.
    """

    index: NDArray[np.intp]
    x: Complex
    previous_x: Complex
    previous_r: Complex
    dx: Complex
    dr: Complex
    best: NDArray[np.float64]
    best_x: Complex
    since_best: NDArray[np.int64]
    wait: NDArray[np.int64]
    penalty: NDArray[np.int64]
    fresh: NDArray[np.bool_]

    def keep(self, rows: NDArray[np.bool_]) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[rows])


def _open(start: Complex, memory: int) -> _Batch:
    n_z, n = start.shape
    zeros = np.zeros(n_z, dtype=np.int64)
    return _Batch(
        index=np.arange(n_z),
        x=start,
        previous_x=start,
        previous_r=np.zeros_like(start),
        dx=np.zeros((n_z, memory, n), dtype=np.complex128),
        dr=np.zeros((n_z, memory, n), dtype=np.complex128),
        best=np.full(n_z, np.inf),
        best_x=start,
        since_best=zeros,
        wait=zeros,
        penalty=np.ones_like(zeros),
        fresh=np.ones(n_z, dtype=np.bool_),
    )


def _book(batch: _Batch, error: NDArray[np.float64]) -> None:
    """Keeps the best iterate, and clears the secants of rows whose residual grew or stopped falling."""
    better = error < batch.best
    batch.best = np.where(better, error, batch.best)
    batch.best_x = np.where(better[:, None], batch.x, batch.best_x)
    batch.wait = np.maximum(batch.wait - 1, 0)
    batch.since_best = np.where(better | (batch.wait > 0), 0, batch.since_best + 1)
    stuck = ((error > GROWTH * batch.best) | (batch.since_best > PATIENCE)) & (batch.wait == 0)
    batch.penalty = np.where(stuck, 2 * batch.penalty, batch.penalty)
    batch.wait = np.where(stuck, batch.penalty, batch.wait)
    batch.since_best = np.where(stuck, 0, batch.since_best)
    batch.dx[stuck], batch.dr[stuck] = 0.0, 0.0
    batch.fresh = batch.fresh | stuck


def _remember(batch: _Batch, r: Complex, slot: int) -> None:
    """Puts the newest secant pair in the ring buffers."""
    known = ~batch.fresh[:, None]
    batch.dx[:, slot] = np.where(known, batch.x - batch.previous_x, 0.0)
    batch.dr[:, slot] = np.where(known, r - batch.previous_r, 0.0)
    batch.fresh = np.zeros_like(batch.fresh)
    batch.previous_x, batch.previous_r = batch.x, r


def _mixing(dr: Complex, r: Complex) -> Complex:
    """Coefficients c (n_z, k) that minimise |r - Σ_k c_k dr_k| in each row; empty secants get 0."""
    norms = np.linalg.norm(dr, axis=2)
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
    unit = dr * scale[:, :, None]
    values, vectors = np.linalg.eigh(unit.conj() @ unit.transpose(0, 2, 1))
    kept = values > RANK_CUT * values[:, -1:]
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=kept)
    projected = vectors.conj().transpose(0, 2, 1) @ (unit.conj() @ r[:, :, None])
    coefficients: Complex = (vectors @ (inverse[:, :, None] * projected))[:, :, 0] * scale
    return coefficients


def _advance(batch: _Batch, r: Complex, admissible: Admissible, damping: float, stride: float) -> None:
    """Moves every row towards its extrapolation, or by a damped step where that is not to be trusted."""
    gamma = _mixing(batch.dr, r)[:, None, :]
    move = r - (gamma @ batch.dx)[:, 0] - (gamma @ batch.dr)[:, 0]
    length = np.max(np.abs(move), axis=1, keepdims=True)
    trial = batch.x + move * np.divide(stride, length, out=np.ones_like(length), where=length > stride)
    good = np.isfinite(trial).all(axis=1) & (batch.wait == 0)
    good &= admissible(np.where(good[:, None], trial, batch.x), batch.index)
    batch.x = np.where(good[:, None], trial, batch.x + damping * r)


def solve_fixed_point(
    step: Step,
    start: Complex,
    *,
    admissible: Admissible,
    tolerance: float,
    max_iterations: int,
    memory: int = 8,
    damping: float = 0.5,
    stride: float = np.inf,
) -> FixedPoint:
    """Solves x = G(x) in each row of a batch, until max |G(x) - x| <= tolerance there.

    step            (x (k, n), index (k,)) -> G(x) (k, n): the map for the rows of `start` that `index` names;
                    it should map the admissible set into itself
    start           (n_z, n) complex, admissible
    admissible      (x, index) -> (k,) bool: membership of the set, convex so that damped steps stay in it
    tolerance       bound on the residual, absolute: choose coordinates in which that makes sense
    max_iterations  evaluations of G allowed for each row
    memory          secants kept per row; the batch holds 2 memory + 5 arrays of the size of `start`
    damping         fraction of G(x) - x taken by a fallback step, in (0, 1]
    stride          longest move, max |dx|, of an extrapolation: far from the solution the secants know the
                    direction but not the distance

    Never raises for lack of convergence: the result says which rows converged. A row where G is not finite is
    given up with its best iterate so far.
    """
    n_z = start.shape[0]
    value, residual = start.copy(), np.full(n_z, np.inf)
    iterations = np.zeros(n_z, dtype=np.int64)
    batch = _open(start, memory)
    for count in range(1, max_iterations + 1):
        r = step(batch.x, batch.index) - batch.x
        error = np.max(np.abs(r), axis=1)
        _book(batch, error)
        going = (batch.best > tolerance) & np.isfinite(error)
        leaving = ~going if count < max_iterations else np.ones_like(going)
        if leaving.any():
            rows = batch.index[leaving]
            value[rows], residual[rows] = batch.best_x[leaving], batch.best[leaving]
            iterations[rows] = count
            if leaving.all():
                break
            batch.keep(going)
            r = r[going]
        _remember(batch, r, count % memory)
        _advance(batch, r, admissible, damping, stride)
    return FixedPoint(value, residual, iterations, residual <= tolerance)
