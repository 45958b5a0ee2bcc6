"""A law everywhere above the real axis, from values at few points, with an estimate of the error.

-z g(z) of a law is analytic in the upper half plane. A rational function through its values (adaptive
Antoulas-Anderson [Nakatsukasa2018]) continues it to all of it. Values are
asked for in rounds. A second function through half of the values differs from the first one where that is in doubt:
there the next values are asked for. What the function of the round before says at the new points is compared with
what is found there, before the points are used. This tells what it is off by there, and how much of the doubt elsewhere
is justified. Rounds end when the sum falls below the accuracy, at the latest when every point that matters has been
solved.

Im g is a positive harmonic function: between two points of hyperbolic distance d it changes by a factor e^d at most
(Harnack's inequality), cosh d = 1 + |z - w|²/(2 Im z Im w). Continued values are held within these bounds, so that no
density is ever negative.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import AAA

from theory.signals import Complex, Real
from theory.threads import one_thread

from .vector_dyson import ConvergenceError

Transform = Callable[[Complex], Complex]
Index = NDArray[np.intp]

ROUNDING = 1e-5
"""Relative error that the values of g may have: solved by iteration."""
TERMS = 0.6
"""Most terms of the rational function as a share of the values behind it: more terms fit the rounding."""
FIRST = 24
"""Points of the first round."""
AGAIN = 8
"""Points of the first round along another path, of a law that is known along one: what it is off by there."""
ANCHORS = tuple(complex(r * np.cos(a), r * np.sin(a)) for r in (0.5, 2.0, 8.0, 40.0, 300.0) for a in (0.8, 1.5))
"""Points far above the spectrum, in rms, that hold the function at infinity."""
CHECKS = 6
"""Least points of a later round."""
SHARE = 4
"""A later round has one point for so many that are known, where that is more."""
MARGIN = 0.25
"""Rounds end at so much of the accuracy: an estimate from few points may be too small."""
TINY = 1e-300
SHRINK = 0.25
"""What the halves of a gap are taken to be off by, in parts of what its middle was, until they are tried."""
BLOCK = 1 << 18
"""Pairs of points in one evaluation of Harnack's bounds."""


class Continuation:
    """A symmetric law known through values of g at chosen points: g(-z̄) = -conj g(z).

    transform  z (k,) -> g(z) (k,), slow; asked for every point once
    rms        of the law, > 0: points are chosen and values kept in units of it
    """

    def __init__(self, transform: Transform, rms: float) -> None:
        if not (np.isfinite(rms) and rms > 0.0):
            raise ValueError(f"rms is {rms:g}, expected finite and > 0; a law of rms 0 is -1/z everywhere")
        self.rms, self._transform = rms, transform
        self.points: Complex = np.empty(0, dtype=np.complex128)
        self.values: Complex = np.empty(0, dtype=np.complex128)
        self._rational: Transform | None = None

    def solve(self, points: Complex) -> None:
        """Asks for g at points (k,) in units of the rms, Re ≥ 0, those not known yet."""
        new = np.setdiff1d(points, self.points)
        if new.size:
            found = self.rms * self._transform(self.rms * new)
            if not (np.isfinite(found).all() and (found.imag > 0.0).all()):
                worst = new[int(np.argmin(np.where(np.isfinite(found), found.imag, -np.inf)))]
                raise ConvergenceError(
                    f"the law has no density > 0 at z = {worst:.6g} rms, expected Im g > 0 everywhere"
                )
            self.points, self.values = np.append(self.points, new), np.append(self.values, found)
            self._rational = None

    def __call__(self, z: Complex) -> Complex:
        """g(z), z of any shape with Im z > 0: as found where it was solved, continued elsewhere."""
        flat = np.ravel(z) / self.rms
        g = self._right(np.abs(flat.real) + 1j * flat.imag)
        mirrored: Complex = np.asarray(np.where(flat.real < 0.0, -g.conj(), g) / self.rms)
        return mirrored.reshape(np.shape(z))

    def _right(self, points: Complex) -> Complex:
        """g in units of 1/rms at points (k,) in units of the rms with Re ≥ 0."""
        if self._rational is None:
            self._rational = _fitted(self.points, self.values)
        held = self._held(self._rational, points)
        known = self._nearest(points)
        return np.where(self.points[known] == points, self.values[known], held)

    def _held(self, rational: Transform, points: Complex) -> Complex:
        """g of a rational function, its imaginary part within Harnack's bounds."""
        g = -rational(points**2) / points
        low, high = self._bounds(points)
        held: Complex = np.nan_to_num(g.real) + 1j * np.clip(np.nan_to_num(g.imag, nan=0.0), low, high)
        return held

    def doubt(self, points: Complex) -> Real:
        """|Δg| at points (k,) between the function and one through every other value, in units of 1/rms."""
        half = np.argsort(self.points)[::2]
        other = self._held(_fitted(self.points[half], self.values[half]), points)
        return np.asarray(np.abs(self._right(points) - other))

    def _nearest(self, points: Complex) -> Index:
        """The place of each point among those that were solved, of some other one where it is not there."""
        order = np.argsort(self.points)
        place: Index = order[np.minimum(np.searchsorted(self.points[order], points), len(order) - 1)]
        return place

    def _bounds(self, points: Complex) -> tuple[Real, Real]:
        """Harnack's bounds of Im g from every value found."""
        low, high = np.zeros(len(points)), np.full(len(points), np.inf)
        rows = max(1, BLOCK // len(self.points))
        for first in range(0, len(points), rows):
            part = slice(first, first + rows)
            z = points[part, None]
            excess = np.abs(z - self.points) ** 2 / (2.0 * z.imag * self.points.imag)
            factor = 1.0 + excess + np.sqrt(excess * (excess + 2.0))  # e^d
            low[part] = (self.values.imag / factor).max(axis=1)
            high[part] = (self.values.imag * factor).min(axis=1)
        return low, high

    def miss(self, points: Complex) -> Real:
        """|Δg| of the function at points (k,) in units of the rms, Re ≥ 0, which are solved and used from then on."""
        before = self._right(points)
        self.solve(points)
        return np.asarray(np.abs(self.values[self._nearest(points)] - before))

    def refine(self, targets: Complex, weights: Real, accuracy: float, limit: int | None = None) -> float:
        """Solves at as many of the targets as Σ weights |Δg| ≤ accuracy takes, and estimates that sum.

        targets   (k,) in units of the rms, Re ≥ 0, in the order of a path along which the law is wanted
        weights   (k,) ≥ 0, what an error of g there, in units of 1/rms, counts
        accuracy  of the estimate; where it is 0 every target is solved
        limit     most targets solved here, by default all

        The estimate is that of the function before the last points were used: what it was off by there, each point
        standing for the targets near it. It is 0 where every target has been solved.
        """
        fresh = not len(self.points)
        if fresh:
            self.solve(np.array(ANCHORS))
        path = _Path(targets, weights, np.isin(targets, self.points))
        left = len(targets) if limit is None else min(limit, len(targets))
        chosen = path.even(min(FIRST if fresh else AGAIN, left)) if accuracy > 0.0 else np.flatnonzero(~path.solved)
        error = 0.0 if not chosen.size else np.inf
        while chosen.size:
            error, left = path.book(chosen, self.miss(targets[chosen]), fresh), left - len(chosen)
            fresh = False
            if error <= MARGIN * accuracy or path.solved.all():
                break
            path.doubt = self.doubt(targets)
            chosen = path.doubtful(min(left, max(CHECKS, path.solved.sum() // SHARE)), accuracy)
        return error


def _fitted(points: Complex, values: Complex) -> Transform:
    """-z g(z) as a rational function of w = z²: (1/N) Σ w/(w - λ²), so that mirror images are one."""
    terms = max(4, int(TERMS * len(points)))
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore", RuntimeWarning)  # not reached to rtol: points tried later tell the error
        found: Transform = AAA(points**2, -points * values, rtol=ROUNDING, max_terms=terms, clean_up=False)
    return found


class _Path:
    """Targets along a path.

    ``solved``: which are. ``off``: what the function was off by near the others when it was last tried there, NaN where
    it never was. ``doubt``: how far it is in doubt, infinite before anything is known.

    A gap is a stretch of targets not solved, between two that are or at an end.
    """

    def __init__(self, targets: Complex, weights: Real, solved: NDArray[np.bool_]) -> None:
        step = np.abs(np.diff(targets)) / np.sqrt(targets.imag[1:] * targets.imag[:-1])
        self.length: Real = np.concatenate([[0.0], np.cumsum(step)])  # hyperbolic, from the first target
        self.weights, self.solved = weights, solved
        self.off: Real = np.full(len(targets), np.nan)
        self.doubt: Real = np.full(len(targets), np.inf)

    def even(self, count: int) -> Index:
        """So many targets spread evenly over the path, its ends among them, less those that are solved."""
        distance: Real = np.abs(self.length[:, None] - np.linspace(0.0, self.length[-1], count))
        chosen: Index = np.unique(distance.argmin(axis=0))
        left: Index = chosen[~self.solved[chosen]]
        return left

    def _gap_of(self) -> Index:
        """The number of the gap that each target lies in; targets between the same solved ones share it."""
        number: Index = np.cumsum(self.solved, dtype=np.intp)
        return number

    def book(self, chosen: Index, miss: Real, first: bool) -> float:
        """Notes that targets are solved where the function was off by `miss`; what it was off by on the whole.

        Where it was not tried it is taken to be off by the doubt, times what that was worth where it was. At the
        `first` points of all nothing is known before: the estimate is infinite.
        """
        open_before, gap = ~self.solved, self._gap_of()
        nearest = np.abs(self.length[:, None] - self.length[chosen]).argmin(axis=1)
        tried = open_before & (np.isin(gap, gap[chosen]) | (not self.solved.any()))
        weighed = bool(np.isfinite(self.doubt).all())
        doubted = float(self.doubt[chosen] @ self.weights[chosen]) if weighed else 1.0
        worth = float(miss @ self.weights[chosen]) / (doubted + TINY)
        self.solved[chosen] = True
        if first or self.solved.all():
            return 0.0 if self.solved.all() else np.inf
        self.off[tried] = miss[nearest[tried]]
        known = open_before & np.isfinite(self.off)
        mean = float(np.average(self.off[known], weights=self.weights[known] + TINY))
        guess = worth * self.doubt if weighed else mean
        total = float(np.where(np.isfinite(self.off), self.off, guess)[open_before] @ self.weights[open_before])
        self.off[tried] *= SHRINK
        return total

    def doubtful(self, count: int, accuracy: float) -> Index:
        """The most doubtful target of each of at most so many gaps, those most in doubt of those that count at all.

        Where nothing was tried yet every gap counts.
        """
        gap, left = self._gap_of(), ~self.solved
        share: Real = np.where(left, np.fmax(self.doubt, self.off) * self.weights, 0.0)
        n_gaps = int(gap[-1]) + 1
        counts = np.zeros(n_gaps)
        np.add.at(counts, gap, share)
        gaps: Index = np.unique(gap[left])
        tried = np.isfinite(self.off[left]).any()
        worth = gaps[counts[gaps] > accuracy / (2.0 * max(1, gaps.size))] if tried else gaps
        order = worth[np.argsort(counts[worth])[::-1]][:count]
        return np.array([int(np.where(gap == g, share, -1.0).argmax()) for g in order], dtype=np.intp)
