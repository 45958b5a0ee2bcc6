"""Every rung of the ladder at one recorded epoch: predicted density, distances, tails, or the reason it is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from backends import Backend
from simulator import Network
from simulator.streams import Seed, spawn_streams
from theory import ConvergenceError, continued, expected_positions, mass_beyond
from theory.tails import CONTINUATION_POINTS

from .distances import TAILS, energy_grid, l1_distance, w1_distance
from .moments import HessianMoments
from .predict import (
    MOMENT_RUNGS,
    SIGNAL_RUNGS,
    SignalLaw,
    predict_from_moments,
    predict_spectrum,
    rung_law,
)

Array = np.ndarray[Any, Any]
LARGEST = 5  # eigenvalues whose positions are predicted
NODES = energy_grid(30)  # where R4w to R6 are solved; the law, smooth on the scale of η, is interpolated between them
SMOOTH = 0.04  # rms: the least η at which NODES are close enough
BEND = 0.1  # rms: nodes are even in E below it and in log E beyond
CUT = 1e-3  # directions of inner layers left out where the whole equations take too long: changes densities by 0.3 %


def predict_moments(
    record: dict[str, Any], moments: HessianMoments, rms: float, eta: float, keep: Callable[[], object] = lambda: None
) -> None:
    """Add R0, R1 and R2 to a record's predictions; `keep` is called before each; those that are there stay."""
    z = _points(record, rms, eta)
    for rung in MOMENT_RUNGS:
        if _is_there(record, rung):
            continue
        keep()
        begun = time.perf_counter()
        try:
            g = predict_from_moments(moments, z, rung)
        except ConvergenceError as error:
            record["left_out"][rung] = f"its equations did not converge: {error}"
            continue
        _add(record, rung, g, rms, begun)


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
    keep: Callable[[], object] = lambda: None,
    refuse: Callable[[str, SignalLaw, int], str | None] = lambda *_: None,
) -> None:
    """Add R3 to R6 to a record's predictions, R4w to R6 on `examples` of the active ones where they are more.

    A rung that takes longer than `budget` seconds, by the estimate made in advance, is tried without the directions
    of the inner layers below `CUT`; if it still does, it is named in ``left_out`` with that estimate. `keep` is called
    before each rung; those that are in the record already stay, and every rung has a random stream of its own. `refuse`
    may give another reason to leave out a rung at so many energies.
    """
    # Nodes lie 0.02 rms apart near 0: a smaller η would show structure between them.
    nodes = NODES if eta >= SMOOTH else np.array(record["spectrum"]["energies"])
    z = rms * (nodes + 1j * eta)
    if not record["fresh"]:
        record["left_out"] |= dict.fromkeys(("R3", "R4", "R4w"), "it describes the initialisation, before any training")
    elif not _is_there(record, "R3"):
        _arc_cosine(record, network, x, c, rms, eta)
    for rung, stream in zip(SIGNAL_RUNGS, spawn_streams(seed, len(SIGNAL_RUNGS)), strict=True):
        if _is_there(record, rung):
            continue
        keep()
        try:
            law = rung_law(network, x, c, rung, weights, stream, backend, examples=examples)
        except ValueError as error:
            record["left_out"][rung] = str(error)
            continue
        if law.too_large is None and law.seconds(len(z)) > budget:
            law = law.coarser(CUT)
        reason = too_much(law, len(z), budget) or refuse(rung, law, len(z))
        if reason is not None:
            record["left_out"][rung] = reason
            continue
        _solve(record, rung, law, z, rms, budget)
        if rung in record["predictions"]:
            record["predictions"][rung]["approximations"] = approximations(law, c, examples)


def _is_there(record: dict[str, Any], rung: str) -> bool:
    return rung in record["predictions"] or rung in record["left_out"]


def too_much(law: SignalLaw, n_points: int, budget: float) -> str | None:
    """Why a rung is not to be solved: its time or its memory, said in advance; None where it may be."""
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


def _points(record: dict[str, Any], rms: float, eta: float) -> Array:
    z: Array = rms * (np.array(record["spectrum"]["energies"]) + 1j * eta)
    return z


def _arc_cosine(record: dict[str, Any], network: Network, x: Array, c: Array, rms: float, eta: float) -> None:
    def law(z: Array) -> Array:
        return predict_spectrum(network, x, c, z, "R3")

    begun = time.perf_counter()
    try:
        _add(record, "R3", law(_points(record, rms, eta)), rms, begun)
        _add_tails(record, "R3", law, network.n_weights, rms)
    except (ValueError, ConvergenceError) as error:
        record["left_out"]["R3"] = str(error)


def _solve(record: dict[str, Any], rung: str, law: SignalLaw, z: Array, rms: float, budget: float) -> None:
    begun = time.perf_counter()
    try:
        _add(record, rung, on_grid(law, z, np.array(record["spectrum"]["energies"]), rms), rms, begun)
        seconds = law.seconds(2 * CONTINUATION_POINTS)  # none is another's mirror image
        if seconds <= budget:
            _add_tails(record, rung, law, law.signals[0].n_weights, rms)
        else:
            record["predictions"][rung]["tails_left_out"] = (
                f"estimated at {seconds:.0f} s, more than --prediction-seconds {budget:g}"
            )
    except ConvergenceError as error:
        record["left_out"][rung] = f"its equations did not converge: {error}"


def on_grid(law: SignalLaw, z: Array, grid: Array, rms: float) -> Array:
    """g of a law solved at the points z, interpolated to the energies `grid` (in rms) at the same η."""
    between = CubicSpline(np.arcsinh(z.real / (BEND * rms)), law(z))
    g: Array = between(np.arcsinh(grid / BEND))
    return g


def _add_tails(record: dict[str, Any], rung: str, law: Callable[[Array], Array], n: int, rms: float) -> None:
    try:
        record["predictions"][rung]["tails"] = tails(law, n, rms)
    except (ConvergenceError, ValueError) as error:
        record["predictions"][rung]["tails_left_out"] = str(error)


def tails(law: Callable[[Array], Array], n: int, rms: float) -> dict[str, Any]:
    """Expected numbers of n eigenvalues beyond 4, 8 and 12 rms on either side, and of the largest, in rms."""
    g = continued(law, rms)
    return {
        "thresholds": list(TAILS),
        "beyond": np.maximum(n * mass_beyond(g, rms * np.array(TAILS)), 0.0).tolist(),
        "largest": (expected_positions(g, n, rms, min(LARGEST, n // 4)) / rms).tolist(),
    }


def _add(record: dict[str, Any], rung: str, g: Array, rms: float, begun: float) -> None:
    grid, measured = np.array(record["spectrum"]["energies"]), np.array(record["spectrum"]["density"])
    density = g.imag / np.pi * rms
    record["predictions"][rung] = {
        "l1": l1_distance(grid, measured, density),
        "w1": w1_distance(grid, measured, density),
        "l1_standard_error": record["spectrum"]["l1_standard_error"],
        "density": density.tolist(),
        "seconds": round(time.perf_counter() - begun, 2),
    }
