"""From cells to numbers with errors: a row for every temperature, means over networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from validation.run.storage import finite_or_none
from validation.statistics.distances import l1_distance
from validation.statistics.estimate import Mean, combined, estimate

Record = dict[str, Any]
Cell = Mapping[str, Any]
Pair = tuple[float, float | None]  # a number and the error of its measurement
KINDS = ("start", "heated", "trained")
AVERAGES = ("risk", "accuracy", "active_fraction", "log_likelihood", "order_parameter")


def summarise(cells: Sequence[Cell]) -> list[Record]:
    """A row for every temperature, in order, with the means of the networks that did not diverge."""
    live = [cell for cell in cells if cell["diverged"] is None]
    cold = {cell["seed"]: cell for cell in live if cell["temperature"] == 0.0}
    return [
        _row(t, [c for c in live if c["temperature"] == t], cold) for t in sorted({c["temperature"] for c in cells})
    ]


def _row(temperature: float, cells: Sequence[Cell], cold: Mapping[int, Cell]) -> Record:
    row: Record = {"temperature": temperature, "networks": len(cells)}
    for kind in KINDS:
        seen = [c for c in cells if c[kind] is not None]
        row[kind] = _means(kind, seen, cold) if seen else None
    return row


def _means(kind: str, cells: Sequence[Cell], cold: Mapping[int, Cell]) -> Record:
    """Means over networks; ``from_relu``: L1 to the spectrum of the same network, or of its twin, with ReLU gates."""
    seen, twin = [cell[kind] for cell in cells], "start" if kind == "start" else "heated"
    pairs = [(own, cold.get(cell["seed"], {}).get(twin)) for own, cell in zip(seen, cells, strict=True)]
    found: Record = {name: _mean([_known(one[name]) for one in seen]) for name in AVERAGES}
    for name in ("marginal_accuracy", "effective_samples", "gradient_noise"):
        found[name] = _mean([(one[name], None) for one in seen])
    for name in ("of_a_set", "of_the_mean"):
        found[f"rms_{name}"] = _mean([_known(one["scale"][name]) for one in seen])
    errors = [one["spectrum"]["l1_standard_error"] for one in seen]
    return found | {
        "rms_ratio": _mean([_over(*pair) for pair in pairs]),
        "from_relu": _mean([_between(*pair) for pair in pairs]),
        "l1_standard_error": _mean([None if e is None else (e, None) for e in errors]),
        "layer_temperatures": _layers([one["layer_temperatures"] for one in seen]),
        "predictions": {rung: _predicted([one["predictions"].get(rung) for one in seen]) for rung in ("RE", "RK")},
    }


def _known(average: Record) -> Pair:
    return average["value"], average["standard_error"]


def _mean(pairs: Sequence[Pair | None]) -> Mean | None:
    """The mean over networks with its scatter; of a single network its number with the error of the measurement."""
    known = [pair for pair in pairs if pair is not None]
    mean = estimate([value for value, _ in known])
    return mean | {"standard_error": known[0][1]} if mean is not None and len(known) == 1 else mean


def _predicted(made: Sequence[Record | None]) -> Record:
    """L1 of a rung to the measured spectrum, and what it would be for two equal laws."""
    known = [one for one in made if one is not None]
    return {
        "l1": _mean([(one["l1"], one["l1_standard_error"]) for one in known]),
        "l1_standard_error": _mean([(one["l1_standard_error"], None) for one in known]),
    }


def _layers(temperatures: Sequence[Sequence[float | None] | None]) -> list[float | None] | None:
    """The mean T_l of every layer; None at temperature 0, and for a layer that is 0 in some network."""
    if temperatures[0] is None:
        return None
    means = np.mean(np.array(temperatures, dtype=float), axis=0)
    return [finite_or_none(float(t)) for t in means]


def _over(one: Record, other: Record | None) -> Pair | None:
    """rms of the mean Hessian over that of the ReLU network."""
    if other is None or not other["scale"]["of_the_mean"]["value"]:
        return None
    (top, error), (below, error_below) = (_known(r["scale"]["of_the_mean"]) for r in (one, other))
    parts = (None if error is None else error / below, None if error_below is None else top * error_below / below**2)
    return top / below, combined(*parts)


def _between(one: Record, other: Record | None) -> Pair | None:
    """L1 between two measured densities, each in units of its own rms; None where a Hessian is 0.

    Both rest on the same probes, so that the error of one measurement is that of their distance at most.
    """
    if other is None or not one["spectrum"]["energies"] or not other["spectrum"]["energies"]:
        return None
    densities = (np.array(s["spectrum"]["density"]) for s in (one, other))
    distance = l1_distance(np.array(one["spectrum"]["energies"]), *densities)
    return distance, one["spectrum"]["l1_standard_error"]
