"""The matrix Dyson map and its iteration, for a batch of spectral parameters.

    -G^{-1} = z J - A + S[G]:   G -> -(z J - A + S[G])^{-1}

maps the set Im G = (G - G*)/2i > 0, which is convex, strictly into itself. The set is a Siegel half plane:
congruences G -> L* G L map it onto itself, and each of its points is a congruence away from a diagonal of
phases. Iterating in the coordinates of that congruence makes residuals relative in every direction, so that
G ~ 1/eta on an atom and G ~ eta beside it are found equally well, whatever the basis. By the Schwarz-Pick
lemma dividing Im z by 3 moves G by a factor 3 at most in these coordinates: the descent from large Im z, where
the map contracts fast, stays close to the solution at every stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.semicircle import semicircle
from theory.shown import shown

from .covariance import Complex, Covariance, Real, adjoint
from .fixed_point import solve_fixed_point
from .vector_dyson import DESCENT, INNER, ROUGH

TOLERANCE = 1e-10
"""Bound on the residual if none is asked for, while rounding allows it."""
ROUNDING = 32 * np.finfo(np.float64).eps
"""Residual that rounding may leave, in units of the condition number |G| |G^{-1}|."""
DIRECT = 40
"""Evaluations in one set of coordinates; where two sets do not do the descent takes over."""
STRIDE = 3.0
"""Longest extrapolation in units in which G is a phase."""
ROUNDS = 4
"""Changes of coordinates to the latest G before an answer is given up."""
SECANTS = 6
"""Iterates that the extrapolation remembers."""
FLOOR = 1e-14
"""Relative eigenvalue of Im G below which it is rounding noise when coordinates are chosen."""


def imaginary(g: Complex) -> Complex:
    """Im G = (G - G*)/2i of each matrix of a batch, Hermitian."""
    return np.asarray((g - adjoint(g)) / 2j)


def is_positive(v: Complex) -> NDArray[np.bool_]:
    """Whether each Hermitian matrix of a batch (k, n, n) is positive definite."""
    try:
        np.linalg.cholesky(v)
        return np.ones(len(v), dtype=np.bool_)
    except np.linalg.LinAlgError:  # some is not: ask which
        return np.asarray(np.linalg.eigvalsh(v)[:, 0] > 0.0)


def phases(g: Complex) -> Complex:
    """L (k, n, n) with G = L e^{iθ} L*, θ diagonal: the coordinates in which G is a diagonal of phases."""
    values, vectors = np.linalg.eigh(imaginary(g))
    root: Complex = vectors * np.sqrt(np.maximum(values, FLOOR * values[:, -1:]))[:, None, :]
    inverse = np.asarray(np.linalg.inv(root), dtype=np.complex128)
    real = inverse @ (0.5 * (g + adjoint(g))) @ adjoint(inverse)
    slopes, rotation = np.linalg.eigh(0.5 * (real + adjoint(real)))
    return np.asarray((root @ rotation) * (1.0 + slopes**2)[:, None, :] ** 0.25)


def common_scale(g: Complex) -> Complex:
    """L = a multiple of 1 with G = L Y L*, the entries of Y of order 1."""
    size = np.sqrt(np.abs(g).max(axis=(1, 2)))
    return np.asarray(size[:, None, None] * np.eye(g.shape[-1], dtype=np.complex128))


@shown
@dataclass(frozen=True)
class Found:
    """G (n_z, n, n) and the evaluations spent on it (n_z,), both updated in place."""

    g: Complex
    spent: NDArray[np.int64]

    def put(self, rows: NDArray[np.intp], part: Found) -> None:
        self.g[rows] = part.g
        self.spent[rows] += part.spent


@shown
@dataclass(frozen=True)
class Equation:
    """-G^{-1} = z J - A + S[G] + i h, h ≥ 0 (n_z,) being the height of a descent above the target."""

    covariance: Covariance
    mean: Complex
    pencil: Complex
    tolerance: float | None

    def field(self, z: Complex, h: Real, g: Complex) -> Complex:
        eye = np.eye(g.shape[-1])
        return np.asarray(
            z[:, None, None] * self.pencil - self.mean + (1j * h)[:, None, None] * eye + self.covariance(g)
        )

    def cold(self, z: Complex, h: Real) -> Complex:
        """The resolvent of the mean in a semicircular field of the mean total variance."""
        n = self.covariance.size
        shift = semicircle(z + 1j * h, np.sqrt(max(self.covariance.second_moment(), 0.0)))
        field = self.field(z, h, shift[:, None, None] * np.eye(n))
        # Directions that neither the pencil nor the covariance reaches have Im = 0 here; a start needs Im G > 0.
        lift = 1j * np.abs(field).max(axis=(1, 2)) * np.sqrt(FLOOR)
        return np.asarray(-np.linalg.inv(field + lift[:, None, None] * np.eye(n)))

    def certify(self, z: Complex, g: Complex) -> tuple[Real, Real]:
        """max |1 + G F| and |1 + F G| with F = z J - A + S[G], infinite unless Im G > 0; and the bound it must meet."""
        field = self.field(z, np.zeros(len(z)), g)
        eye = np.eye(g.shape[-1])
        residual = np.maximum(np.abs(eye + g @ field), np.abs(eye + field @ g)).max(axis=(1, 2))
        residual = np.where(np.linalg.eigvalsh(imaginary(g))[:, 0] > 0.0, residual, np.inf)
        if self.tolerance is not None:
            return residual, np.full(len(z), self.tolerance)
        condition = np.linalg.norm(g, axis=(1, 2)) * np.linalg.norm(field, axis=(1, 2))
        return residual, np.maximum(TOLERANCE, ROUNDING * condition)

    def run(self, z: Complex, h: Real, start: Complex, basis: Complex, tolerance: float, limit: int) -> Found:
        """Iterates from `start` in the coordinates Y of G = L Y L*, L = `basis` (n_z, n, n)."""
        n = self.covariance.size
        inverse, dual = np.asarray(np.linalg.inv(basis), dtype=np.complex128), adjoint(basis)

        def step(flat: Complex, index: NDArray[np.intp]) -> Complex:
            left, right = basis[index], dual[index]
            g = left @ flat.reshape(-1, n, n) @ right
            field = self.field(z[index], h[index], g)
            return np.asarray(-np.linalg.inv(right @ field @ left)).reshape(flat.shape)

        def admissible(flat: Complex, index: NDArray[np.intp]) -> NDArray[np.bool_]:
            return is_positive(imaginary(flat.reshape(-1, n, n)))

        found = solve_fixed_point(
            step,
            (inverse @ start @ adjoint(inverse)).reshape(len(z), n * n),
            admissible=admissible,
            tolerance=tolerance,
            max_iterations=limit,
            memory=SECANTS,
            stride=STRIDE,
        )
        return Found(basis @ found.value.reshape(-1, n, n) @ dual, found.iterations)

    def refine(self, z: Complex, found: Found, rounds: range, limit: int, patience: int) -> NDArray[np.bool_]:
        """Solves at z from and into `found`, in new coordinates each round; which rows are solved (n_z,).

        Round 0 only has a common scale: enough where no atom is near, and much cheaper. Later rounds ask for
        more, as the entries of G may be worse conditioned than the coordinates.
        """
        solved = np.zeros(len(z), dtype=np.bool_)
        for number in rounds:
            rows = np.flatnonzero(~solved)
            left = limit - int(found.spent[rows].max(initial=0))
            if rows.size == 0 or left <= 0:
                break
            g = found.g[rows]
            basis = phases(g) if number else common_scale(g)
            goal = (self.tolerance or TOLERANCE) * INNER ** (number + 1)
            part = self.run(z[rows], np.zeros(rows.size), g, basis, goal, min(left, patience))
            found.put(rows, part)
            residual, bound = self.certify(z[rows], part.g)
            solved[rows] = residual <= bound
        return solved

    def descend(self, z: Complex, limit: int) -> Found:
        """Follows the solution from a height above every rms down to where dividing it by 3 reaches z."""
        n = self.covariance.size
        rms = np.sqrt(np.linalg.norm(self.covariance(np.eye(n, dtype=np.complex128)), 2))
        stages = int(np.ceil(np.log(max(rms / z.imag.min(), DESCENT)) / np.log(DESCENT)))
        found = Found(self.cold(z, z.imag * DESCENT**stages), np.zeros(len(z), dtype=np.int64))
        for stage in range(stages, 0, -1):
            height = z.imag * (DESCENT**stage - 1.0)
            part = self.run(z, height, found.g, phases(found.g), ROUGH, limit // (2 * stages))
            found.put(np.arange(len(z)), part)
        return found

    def solve(self, z: Complex, start: Complex, limit: int) -> Found:
        """From `start`; where that is stubborn, by the descent. The caller must certify the answer."""
        found = Found(start.copy(), np.zeros(len(z), dtype=np.int64))
        rest = np.flatnonzero(~self.refine(z, found, range(2), limit, DIRECT))
        if rest.size and limit > 2 * DIRECT:
            again = self.descend(z[rest], limit - 2 * DIRECT)
            again.spent[:] += found.spent[rest]
            self.refine(z[rest], again, range(1, ROUNDS), limit, limit // 2)
            found.g[rest], found.spent[rest] = again.g, again.spent
        return found
