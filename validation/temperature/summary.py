"""From cells to numbers with errors: a row for every temperature, means over networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from validation.run.storage import finite_or_none
from validation.statistics.distances import l1_distance
from validation.statistics.estimate import Mean, estimate

Record = dict[str, Any]
Cell = Mapping[str, Any]
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

    def mean(value: Callable[[Cell], float | None]) -> Mean | None:
        found = [value(c) for c in cells]
        return estimate([v for v in found if v is not None])

    found: Record = {name: mean(lambda c, n=name: c[kind][n]["value"]) for name in AVERAGES}  # type: ignore[misc]
    found |= {
        name: mean(lambda c, n=name: c[kind][n])  # type: ignore[misc]
        for name in ("marginal_accuracy", "effective_samples", "gradient_noise")
    }
    twin = "start" if kind == "start" else "heated"
    found |= {
        "rms_of_a_set": mean(lambda c: c[kind]["scale"]["of_a_set"]["value"]),
        "rms_of_the_mean": mean(lambda c: c[kind]["scale"]["of_the_mean"]["value"]),
        "rms_ratio": mean(lambda c: _over(c[kind], cold.get(c["seed"], {}).get(twin))),
        "from_relu": mean(lambda c: _between(c[kind], cold.get(c["seed"], {}).get(twin))),
        "l1_standard_error": mean(lambda c: c[kind]["spectrum"]["l1_standard_error"]),
        "layer_temperatures": [
            finite_or_none(t)
            for t in np.mean(np.array([c[kind]["layer_temperatures"] for c in cells], dtype=float), axis=0)
        ]
        if cells[0]["temperature"] > 0.0
        else None,
        "predictions": {
            rung: {
                name: mean(lambda c, r=rung, n=name: c[kind]["predictions"].get(r, {}).get(n))  # type: ignore[misc]
                for name in ("l1", "l1_standard_error")
            }
            for rung in ("RE", "RK")
        },
    }
    return found


def _over(one: Record, other: Record | None) -> float | None:
    """rms of the mean Hessian over that of the ReLU network."""
    if other is None or not other["scale"]["of_the_mean"]["value"]:
        return None
    value: float = one["scale"]["of_the_mean"]["value"] / other["scale"]["of_the_mean"]["value"]
    return value


def _between(one: Record, other: Record | None) -> float | None:
    """L1 between two measured densities, each in units of its own rms; None where a Hessian is 0."""
    if other is None or not one["spectrum"]["energies"] or not other["spectrum"]["energies"]:
        return None
    densities = (np.array(s["spectrum"]["density"]) for s in (one, other))
    return l1_distance(np.array(one["spectrum"]["energies"]), *densities)
