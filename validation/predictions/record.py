"""Every rung of the ladder at one recorded epoch: predicted density, distances, tails, or the reason it is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network
from simulator.passes.drawn import DrawnGates
from simulator.streams import Seed, spawn_streams
from theory import Continuation, ConvergenceError, continued, expected_positions, mass_beyond
from validation.measurements.moments import HessianMoments
from validation.run.console import Stage
from validation.statistics.bulk import bulk_distances
from validation.statistics.distances import l1_distance, trapezoid_weights, w1_distance
from validation.statistics.estimate import combined
from validation.statistics.extremes import LARGEST, SIDES, TAILS

from .predict import SignalLaw, predict_from_moments, predict_spectrum, rung_law
from .rung import AVERAGE_RUNGS, MOMENT_RUNGS, RUNGS, SIGNAL_RUNGS

Array = np.ndarray[Any, Any]
POINTS = 50  # at which a law has to be solved for a density, typically; mirror images count once
WHOLE = 75  # with its bulk and its tails
ACCURACY = 5e-4  # of a density between these points, in L1
FEW = 100  # energies on one side up to which a law that is quick to solve is solved at all of them
SHORT = 1.0  # seconds that this may take: narrow networks have single eigenvalues, which few points may step over
CUT = 1e-3  # directions of inner layers left out where the whole equations take too long: changes densities by 0.3 %


def predict_moments(
    record: dict[str, Any], moments: HessianMoments, rms: float, eta: float, keep: Callable[[], object] = lambda: None
) -> None:
    """Add R0, R1 and R2 to a record's predictions; `keep` is called before each; those that are there stay."""
    for rung in MOMENT_RUNGS:
        if not _is_there(record, rung):
            keep()
            _quick(record, rung, partial(predict_from_moments, moments, rung=rung), rms, eta)


def predict_signals(
    record: dict[str, Any],
    network: Network,
    weights: Sequence[Array],
    x: Array,
    c: Array,
    *,
    rms: float,
    eta: float,
    budget: float,
    examples: int | None,
    seed: Seed,
    backend: Backend,
    gates: DrawnGates | None = None,
    keep: Callable[[], object] = lambda: None,
    refuse: Callable[[str, SignalLaw, int], str | None] = lambda *_: None,
) -> None:
    """Add R3 to R6 to a record's predictions, R4w to R6 on `examples` of the active ones where they are more.

    A rung that takes longer than `budget` seconds, by the estimate made in advance, is tried without the directions
    of the inner layers below `CUT`. If it still does, its density is made alone, without bulk and tails; where that
    takes too long as well, the rung is named in ``left_out`` with the estimate. `keep` is called
    before each rung; those that are in the record already stay, and every rung has a random stream of its own. `refuse`
    may give another reason to leave out a rung at so many energies. `gates`: those that the rows x draw.
    """
    if gates is not None:
        record["left_out"] |= dict.fromkeys(AVERAGE_RUNGS, "it describes ReLU gates, at temperature 0")
    elif not record["fresh"]:
        record["left_out"] |= dict.fromkeys(AVERAGE_RUNGS, "it describes the initialisation, before any training")
    elif not _is_there(record, "R3"):
        _quick(record, "R3", lambda z: predict_spectrum(network, x, c, z, "R3"), rms, eta, network.n_weights)
    for rung, stream in zip(SIGNAL_RUNGS, spawn_streams(seed, len(SIGNAL_RUNGS)), strict=True):
        if _is_there(record, rung) or not RUNGS[rung].recorded:
            continue
        keep()
        with Stage(f"{rung} at epoch {record['epoch']}", unit="energies") as stage:
            try:
                law = rung_law(network, x, c, rung, weights, stream, backend, examples=examples, gates=gates)
            except ValueError as error:
                record["left_out"][rung] = str(error)
                continue
            if law.too_large is None and law.seconds(WHOLE) > budget:
                law = law.coarser(CUT)
            points = WHOLE if law.too_large is not None or law.seconds(WHOLE) <= budget else POINTS
            reason = too_much(law, points, budget) or refuse(rung, law, points)
            if reason is not None:
                record["left_out"][rung] = reason
                continue
            _solve(record, rung, law, rms, eta, budget, stage.update)
        if rung in record["predictions"]:
            record["predictions"][rung]["approximations"] = approximations(law, c, examples)


def _is_there(record: dict[str, Any], rung: str) -> bool:
    return rung in record["predictions"] or rung in record["left_out"]


def too_much(law: SignalLaw, n_points: int, budget: float) -> str | None:
    """Why a rung is not to be solved at so many points: its time or its memory, said in advance; None where it may."""
    if law.too_large is not None:
        return law.too_large
    seconds = law.seconds(n_points)
    if seconds > budget:
        return (
            f"estimated at {seconds:.0f} s for {law.sites:,} sites in a layer, more than --prediction-seconds "
            f"{budget:g}: raise it, or use fewer --spectrum-examples or --prediction-examples"
        )
    return None


def approximations(law: SignalLaw, c: Array, examples: int | None) -> list[str]:
    """What was left out to make a prediction affordable."""
    said = []
    if law.stretch:
        said.append(f"{examples:,} of {np.count_nonzero(c):,} active examples, stretched to the second moment of all")
    if law.cut:
        said.append(f"directions of inner layers below {law.cut:g} of the largest left out")
    return said


def _quick(
    record: dict[str, Any], rung: str, law: Callable[[Array], Array], rms: float, eta: float, n: int | None = None
) -> None:
    """A rung that takes seconds; with its tails where `n`, the number of weights, is given."""
    begun, known = time.perf_counter(), Continuation(law, rms)
    energies = np.array(record["spectrum"]["energies"])
    try:
        error = solve_density(known, energies, eta, 0.0 if np.sum(energies >= 0) <= FEW else ACCURACY)
        _add(record, rung, known, eta, error, begun)
        _add_bulk(record, rung, known, None)
        if n is not None:
            _add_tails(record, rung, known, n)
        _keep_tail(record, rung, lambda z: rms * law(np.asarray(rms * z)), eta)
    except ConvergenceError as problem:
        record["left_out"].setdefault(rung, f"its equations did not converge: {problem}")
    except ValueError as problem:
        record["left_out"].setdefault(rung, str(problem))


def _solve(
    record: dict[str, Any],
    rung: str,
    law: SignalLaw,
    rms: float,
    eta: float,
    budget: float,
    solved: Callable[[int], object],
) -> None:
    """Density, bulk and tails of a rung; `solved` is told how many energies more are solved."""

    def counted(z: Array) -> Array:
        g = law(z)
        solved(z.size)
        return g

    begun, known = time.perf_counter(), Continuation(counted, rms)
    most = max(POINTS, law.affordable(budget))
    try:
        energies = np.array(record["spectrum"]["energies"])
        half = int(np.sum(energies >= 0.0))
        every = half <= FEW and law.seconds(half) <= SHORT
        error = solve_density(known, energies, eta, 0.0 if every else ACCURACY, most)
        _add(record, rung, known, eta, error, begun)
    except ConvergenceError as problem:
        record["left_out"][rung] = f"its equations did not converge: {problem}"
        return
    made, seconds = record["predictions"][rung], law.seconds(WHOLE)
    late = f"estimated at {seconds:.0f} s, more than --prediction-seconds {budget:g}" if seconds > budget else None
    if late is None:
        _add_bulk(record, rung, known, most)
        _add_tails(record, rung, known, law.signals[0].n_weights)
        if "tails" in made:
            far = continued(known)
            _keep_tail(record, rung, lambda z: rms * far(np.asarray(rms * z, dtype=complex)), eta)
    else:
        made |= {"bulk_left_out": late, "tails_left_out": late}


def solve_density(
    law: Continuation, energies: Array, eta: float, accuracy: float = ACCURACY, limit: int | None = None
) -> float:
    """Solves a law at as many of the energies (symmetric about 0, in rms) as its density smoothed by η takes.

    The error left between them, in L1; `accuracy` 0 solves at every energy.
    """
    half = energies[energies >= 0.0]
    return law.refine(half + 1j * eta, 2.0 * trapezoid_weights(half) / np.pi, accuracy, limit)


def density_of(law: Continuation, energies: Array, eta: float) -> Array:
    """The density in units of 1/rms at energies and η in units of the rms, never negative and finite."""
    density: Array = law(law.rms * (energies + 1j * eta)).imag / np.pi * law.rms
    assert np.isfinite(density).all()
    assert (density >= 0.0).all()
    return density


def _add_bulk(record: dict[str, Any], rung: str, law: Continuation, limit: int | None) -> None:
    try:
        record["predictions"][rung] |= bulk_distances(record["spectrum"], law, limit)
    except ConvergenceError as problem:
        record["predictions"][rung]["bulk_left_out"] = str(problem)


def _add_tails(record: dict[str, Any], rung: str, law: Continuation, n: int) -> None:
    try:
        made = record["predictions"][rung]
        made["tails"] = tails(law, n)
        sizes = law.rms * np.array(record["spectrum"]["tail_energies"])
        made["tail_counts"] = np.maximum(n * mass_beyond(continued(law), sizes), 0.0).tolist()
    except (ConvergenceError, ValueError) as error:
        record["predictions"][rung]["tails_left_out"] = str(error)


def _keep_tail(record: dict[str, Any], rung: str, transform: Callable[[Array], Array], eta: float) -> None:
    """The density at ``tail_energies``, the same on either side, for figures. `transform`: z -> g, in rms."""
    energies = np.array(record["spectrum"]["tail_energies"])
    try:
        drawn = np.asarray(transform(energies + 1j * eta)).imag / np.pi
    except (ConvergenceError, ValueError) as error:  # the density within 4 rms is there all the same
        record["predictions"][rung].setdefault("tails_left_out", str(error))
        return
    record["predictions"][rung]["tail_density"] = np.maximum(drawn, 0.0).tolist()


def tails(law: Continuation, n: int) -> dict[str, Any]:
    """Expected numbers of n eigenvalues beyond `TAILS` on either side, and positions of the largest, in rms.

    The law is that of an infinite network, symmetric and without a standard error.
    """
    g, rms = continued(law), law.rms
    counts = np.maximum(n * mass_beyond(g, rms * np.array(TAILS)), 0.0)
    positions = expected_positions(g, n, rms, min(LARGEST, n // 4)) / rms
    beyond, largest = ([{"value": float(v), "standard_error": None} for v in a] for a in (counts, positions))
    return {"thresholds": list(TAILS), **dict.fromkeys(SIDES, beyond), "largest": dict.fromkeys(SIDES, largest)}


def _add(record: dict[str, Any], rung: str, law: Continuation, eta: float, error: float, begun: float) -> None:
    grid, measured = np.array(record["spectrum"]["energies"]), np.array(record["spectrum"]["density"])
    density, law_error = density_of(law, grid, eta), error * (grid[-1] - grid[0])
    record["predictions"][rung] = {
        "l1": l1_distance(grid, measured, density),
        "w1": w1_distance(grid, measured, density),
        "l1_standard_error": combined(record["spectrum"]["l1_standard_error"], error),
        "w1_standard_error": combined(record["spectrum"]["w1_standard_error"], law_error),
        "interpolation_error": error,
        "density": density.tolist(),
        "seconds": round(time.perf_counter() - begun, 2),
    }
