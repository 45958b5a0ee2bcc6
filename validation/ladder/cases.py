"""One case of the ladder: networks of one shape at initialisation, every rung against the spectra that it speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import HessianOperator, Network, mlp
from simulator.streams import Seed, spawn_streams
from theory import ConvergenceError
from validation.errors import OptionError
from validation.predictions.rung import AVERAGE_RUNGS, OWN_RUNGS, SOLVED_RUNGS
from validation.statistics.estimate import Estimate, mean_and_error
from validation.statistics.power_law import log_slope

from .spectra import (
    Array,
    asymmetry,
    eigenvalues,
    l1,
    l1_of_means,
    measured_density,
    noise_of_mean,
    predicted_density,
    rms,
    spread,
)

FITTED = (*AVERAGE_RUNGS, *SOLVED_RUNGS)


@dataclass(frozen=True)
class Problem:
    """Inputs ``x`` (m, d), labels ``y`` (m,) ∈ {-1, +1}, the ``rungs`` to predict with, the ``backend``."""

    x: Array
    y: Array
    rungs: tuple[str, ...]
    backend: Backend

    @property
    def all_active(self) -> Array:
        """c = -y/m, independent of the weights: the hinge's where every |T_i| < 1."""
        return -self.y / self.y.size

    def network(self, hidden: Sequence[int]) -> Network:
        """The perceptron with these hidden widths."""
        return mlp([self.x.shape[1], *hidden, 1])


def estimate_record(estimate: Estimate) -> dict[str, float]:
    """For JSON."""
    return {"l1": estimate.value, "standard_error": estimate.standard_error}


def draw_networks(network: Network, count: int, seed: Seed) -> list[list[Array]]:
    """Weights of `count` networks at initialisation."""
    return [network.init(stream) for stream in spawn_streams(seed, count)]


def measure_case(problem: Problem, hidden: Sequence[int], weights: Sequence[list[Array]], seed: Seed) -> dict[str, Any]:
    """A shape's record: every network against its own spectrum, the rungs without weights against the average.

    Both on Σ_i c_i ∇²T_i with c = -y/m. The networks that R4 draws are not the measured ones. Raises `OptionError`
    where H = 0.
    """
    network = problem.network(hidden)
    own, average = spawn_streams(seed, 2)
    c = problem.all_active
    spectra = [eigenvalues(HessianOperator(network, w, problem.x, None, c=c, backend=problem.backend)) for w in weights]
    if min(map(rms, spectra)) == 0.0:
        raise OptionError(
            f"a network {name_of(hidden, problem.x.shape[1])} is dead (its Hessian is 0), so that it has no spectrum "
            "to predict: use larger widths or another --seed"
        )
    return {
        "hidden": list(hidden),
        "depth": network.depth,
        "weights": network.n_weights,
        "width": hidden[0] if len(set(hidden)) == 1 else None,
        "networks": len(weights),
        "own": against_own(problem, network, weights, [c] * len(weights), spectra, own, keep_first=True),
        "average": _against_average(problem, network, spectra, average),
    }


def against_own(
    problem: Problem,
    network: Network,
    weights: Sequence[list[Array]],
    c: Sequence[Array],
    spectra: Sequence[Array],
    seed: Seed,
    *,
    keep_first: bool = False,
) -> dict[str, Any]:
    """Mean L1 of the rungs that see a network against its own spectrum; `keep_first` keeps one network's densities."""
    scales = [rms(values) for values in spectra]
    measured = [measured_density(values, scale) for values, scale in zip(spectra, scales, strict=True)]
    record: dict[str, Any] = {
        "asymmetry": float(np.mean([asymmetry(rho) for rho in measured])),
        "rungs": {},
        "left_out": {},
    }
    kept = {"measured": measured[0].tolist()}
    for rung in (r for r in OWN_RUNGS if r in problem.rungs):
        streams = spawn_streams(seed, len(weights))
        try:
            predicted = [
                predicted_density(network, problem.x, ci, scale, rung, w, stream, problem.backend)
                for w, ci, scale, stream in zip(weights, c, scales, streams, strict=True)
            ]
        except ConvergenceError as error:
            record["left_out"][rung] = str(error)
            continue
        errors = [l1(a, b) for a, b in zip(measured, predicted, strict=True)]
        record["rungs"][rung] = estimate_record(mean_and_error(errors))
        kept[rung] = predicted[0].tolist()
    return record | ({"density": kept} if keep_first else {})


def _against_average(problem: Problem, network: Network, spectra: Sequence[Array], seed: Seed) -> dict[str, Any]:
    """L1 of the rungs without weights against the averaged spectrum, in units of the averaged tr H²."""
    scale = float(np.sqrt(np.mean([rms(values) ** 2 for values in spectra])))
    measured = np.stack([measured_density(values, scale) for values in spectra])
    record: dict[str, Any] = {
        "asymmetry": asymmetry(measured.mean(axis=0)),
        "spread": spread(measured),
        "noise": noise_of_mean(measured),
        "rungs": {},
        "left_out": {},
    }
    kept, c = {"measured": measured.mean(axis=0).tolist()}, problem.all_active
    streams = dict(zip(AVERAGE_RUNGS, spawn_streams(seed, len(AVERAGE_RUNGS)), strict=True))
    for rung in (r for r in AVERAGE_RUNGS if r in problem.rungs):
        try:
            predicted = predicted_density(network, problem.x, c, scale, rung, None, streams[rung], problem.backend)
        except ConvergenceError as error:
            record["left_out"][rung] = str(error)
            continue
        record["rungs"][rung] = estimate_record(l1_of_means(measured, predicted[None]))
        kept[rung] = predicted.tolist()
    return record | {"density": kept}


def rung_error(case: dict[str, Any], rung: str) -> dict[str, float] | None:
    """L1 of a rung in a case, with its standard error; None where it was not predicted."""
    found: dict[str, float] | None = {**case["own"]["rungs"], **case["average"]["rungs"]}.get(rung)
    return found


def convergence(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Exponents of L1 ~ width^a for each depth and rung, where at least three constant widths were tried."""
    rows = []
    for depth in sorted({case["depth"] for case in cases}):
        alike = [case for case in cases if case["depth"] == depth and case["width"] is not None]
        for rung in FITTED:
            pairs = [(case["width"], e) for case in alike if (e := rung_error(case, rung)) is not None]
            if len({width for width, _ in pairs}) < 3:
                continue
            slope = log_slope([w for w, _ in pairs], [Estimate(e["l1"], e["standard_error"]) for _, e in pairs])
            rows.append({"depth": depth, "rung": rung, "widths": sorted(w for w, _ in pairs), **_slope(asdict(slope))})
    return rows


def _slope(fit: dict[str, float]) -> dict[str, float]:
    return {"exponent": fit["value"], "standard_error": fit["standard_error"]}


def constant_widths(cases: Sequence[dict[str, Any]], depth: int) -> list[dict[str, Any]]:
    """The cases of constant width at one depth, in order of width."""
    return sorted((c for c in cases if c["depth"] == depth and c["width"] is not None), key=lambda c: int(c["width"]))


def name_of(hidden: Sequence[int], inputs: int) -> str:
    """16-24-24-1."""
    return "-".join(map(str, (inputs, *hidden, 1)))
