"""(20) and (21) put to the test: how measured/bracket changes with depth and width, for each set of removed layers.

A bound O(bracket) with one constant allows no growth of measured/bracket in any direction of (n, L, µ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import theory
from backends import Backend
from simulator.streams import Seed, spawn_streams
from validation.statistics.decide import Held, all_of, at_most
from validation.statistics.estimate import Estimate
from validation.statistics.power_law import least_squares

from .assemblies import KINDS, AssemblyMoments, broken_count, measure_assemblies

Array = np.ndarray[Any, Any]
MUS = (0.25, 0.5, 1.0)
INTACT = 1e3  # as µ: n^{-Lµ/2} is then 0
GROWTH = 0.05  # a slope up to this is no growth: far below the log 2 = 0.69 of a missing 2^{-L}
ERRORS = 3.0  # standard errors that a slope must be off by: dozens of slopes are judged in one report
BRACKETS = {"eq20": theory.mean_bracket, "eq21": theory.second_moment_bracket}


@dataclass(frozen=True)
class Grid:
    """Widths and depths at which assemblies are measured; ``budget``: random weights drawn for each (n, L)."""

    widths: tuple[int, ...] = (32, 64, 128, 256)
    depths: tuple[int, ...] = (4, 6, 8, 12)
    budget: float = 2e8


def measure_grid(grid: Grid, seed: Seed, backend: Backend) -> list[AssemblyMoments]:
    """Every kind of assembly at every (n, L), all weights intact and for µ = ¼, ½, 1."""
    cases = [(n, depth) for n in grid.widths for depth in grid.depths]
    moments = []
    for (n, depth), stream in zip(cases, spawn_streams(seed, len(cases)), strict=True):
        draws = max(32, int(grid.budget / ((depth - 1) * n * n)))
        moments += measure_assemblies(n, depth, (None, *MUS), draws, stream, backend)
    return moments


@dataclass(frozen=True)
class Slopes:
    """The trend of log(measured/bracket): + a for each µ + ``per_layer`` L + ``per_log_width`` log n.

    ``constant`` measured/bracket at the smallest (n, L), the largest over µ; ``worst`` the largest measured over
    constant × bracket, each µ with its own constant. ``points`` used, ``left_out``: not two standard errors above 0.
    """

    per_layer: Estimate
    per_log_width: Estimate
    constant: float
    worst: float
    points: int
    left_out: int

    @property
    def bounded(self) -> Held:
        """Whether both slopes are at most `GROWTH`, by `ERRORS` standard errors."""
        slopes = (self.per_layer, self.per_log_width)
        return all_of(at_most(s.value, GROWTH, s.standard_error, ERRORS) for s in slopes)


def bracket_ratio(equation: str, moments: AssemblyMoments) -> Estimate:
    """measured/bracket of "eq20" (mean) or "eq21" (mean square) at c = 1."""
    mu = INTACT if moments.mu is None else moments.mu
    bracket = float(BRACKETS[equation](moments.n, moments.depth, mu, 1.0))
    measured = moments.mean if equation == "eq20" else moments.square
    return Estimate(measured.value / bracket, measured.standard_error / bracket)


def select_moments(moments: Sequence[AssemblyMoments], kind: str, intact: bool) -> list[AssemblyMoments]:
    """One kind of assembly, all weights intact or some broken."""
    return [m for m in moments if m.kind == kind and (m.mu is None) == intact]


def assembly_slopes(moments: Sequence[AssemblyMoments], equation: str) -> Slopes | None:
    """Slopes of one kind of assembly; None where every mean is exactly 0 and there is nothing to fit."""
    ratios = [bracket_ratio(equation, m) for m in moments]
    if all(r.value == 0.0 for r in ratios):
        return None
    at = [(m.n, m.depth, INTACT if m.mu is None else m.mu) for m in moments]
    return fit_slopes(at, ratios)


def fit_slopes(at: Sequence[tuple[int, int, float]], ratios: Sequence[Estimate]) -> Slopes:
    """Least squares of log(ratio) on L and log n with an intercept for each µ; `at` holds (n, L, µ) of each ratio.

    Standard errors: the larger of what the residuals and what the Monte Carlo errors give, those at one (n, L)
    taken as fully correlated because the same networks serve every µ. Raises ValueError where too few ratios are
    above 0 to fit.
    """
    values, errors = (np.array([getattr(r, name) for r in ratios]) for name in ("value", "standard_error"))
    used = values > 2 * errors
    places = np.array(at, dtype=float)[used]
    groups = np.unique(places[:, 2])
    columns = [places[:, 1], np.log(places[:, 0]), *((places[:, 2] == mu).astype(float) for mu in groups)]
    design, relative = np.stack(columns, axis=1), errors[used] / values[used]
    if len(design) <= design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"{used.sum()} of {used.size} ratios are above 0: expected more than one n and L")
    same = np.all(places[:, None, :2] == places[None, :, :2], axis=2)
    slopes, standard = least_squares(design, np.log(values[used]), same * np.outer(relative, relative))
    constants, worst = _constants(places, values[used])
    return Slopes(
        Estimate(float(slopes[0]), float(standard[0])), Estimate(float(slopes[1]), float(standard[1])),
        max(constants), worst, int(used.sum()), int((~used).sum()),
    )  # fmt: skip


def _constants(places: Array, values: Array) -> tuple[list[float], float]:
    """The constant of each µ, from its smallest (n, L), and the largest ratio over its constant."""
    constants, worst = [], 0.0
    for mu in np.unique(places[:, 2]):
        rows = np.flatnonzero(places[:, 2] == mu)
        first = min(rows, key=lambda i: (places[i, 0], places[i, 1]))
        constants.append(float(values[first]))
        worst = max(worst, float(values[rows].max() / values[first]))
    return constants, worst


def worst_tightness(moments: Sequence[AssemblyMoments]) -> tuple[Estimate, float] | None:
    """The largest mean/bound of M4 with its standard error, and by how many of them any exceeds 1 (at least 0)."""
    seen = [m.tightness for m in moments if m.tightness is not None]
    if not seen:
        return None
    excess = max(0.0, *((t.value - 1.0) / t.standard_error for t in seen))
    return max(seen, key=lambda t: t.value), excess


def order_of(kind: str) -> int:
    """k, the number of removed weights."""
    return len(KINDS[kind])


def moments_record(moments: AssemblyMoments) -> dict[str, Any]:
    """One row of the report."""
    tight = moments.tightness
    row: dict[str, Any] = {
        "kind": moments.kind, "order": order_of(moments.kind), "n": moments.n, "depth": moments.depth, "mu": moments.mu,
        "broken": broken_count(moments.n, moments.mu), "draws": moments.draws, "m4_bound": moments.bound,
    }  # fmt: skip
    parts = {
        "mean": moments.mean,
        "square": moments.square,
        "mean_ratio": bracket_ratio("eq20", moments),
        "square_ratio": bracket_ratio("eq21", moments),
    }
    if tight is not None:
        parts["m4_ratio"] = tight
    return row | {name: [e.value, e.standard_error] for name, e in parts.items()}


def within(estimate: Estimate, expected: float, tolerance: float) -> Held:
    """Whether it is within the tolerance, by its standard error."""
    return at_most(abs(estimate.value - expected), tolerance, estimate.standard_error)
