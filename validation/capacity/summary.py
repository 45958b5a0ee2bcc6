"""From single searches to edges: shares over seeds with a fitted edge, and how the edge grows with the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from validation.statistics.edge import Edge, Trial, fit_edge
from validation.statistics.estimate import Estimate, estimate, standard_error
from validation.statistics.power_law import log_slope

Record = dict[str, Any]
GROUP = ("loss", "labels", "depth")


def rows_of(cells: Sequence[Record]) -> list[Record]:
    """One row for every (loss, labels, depth, width), in this order."""
    keys = (*GROUP, "width")
    places = sorted({tuple(c[k] for k in keys) for c in cells})
    return [_row([c for c in cells if tuple(c[k] for k in keys) == place]) for place in places]


def _row(cells: Sequence[Record]) -> Record:
    first, ended = cells[0], [c for c in cells if c["unfitted"] is not None]
    edge = None if 2 * len(ended) <= len(cells) else fit_edge(trials_of(cells))
    last = [(c, trial_at(c, c["unfitted"])) for c in ended]
    stuck = [(c, t) for c, t in last if t["outcome"] == "stuck"]

    def mean(value: Callable[[Record, Record], float | None]) -> Record | None:
        return estimate([v for c, t in stuck if (v := value(c, t)) is not None])

    def over(name: str) -> Record | None:
        return mean(lambda c, t: t[name] / c["weights"] if name in t else None)

    row: Record = {key: first[key] for key in (*GROUP, "width", "weights", "most")}
    return row | {
        "networks": len(cells),
        "not_reached": len(cells) - len(ended),
        "stuck": len(stuck),
        "lost": sum(t["outcome"] == "lost" for _, t in last),
        "edge": None if edge is None else edge_record(edge),
        "active": over("active"),
        "active_share": mean(lambda c, t: t["active"] / t["examples"]),
        "negative": over("negative"),
        "index": over("index"),
        "slack": mean(lambda c, t: (t["active"] - t["negative"]) / c["weights"] if "negative" in t else None),
        "kinks": mean(lambda c, t: t["kinks"]),
        "stability": _told(cells, "stability"),
        "counting": _told(cells, "counting"),
    }


def _told(cells: Sequence[Record], name: str) -> Record | None:
    return estimate([c["forecast"][name] for c in cells if c["forecast"][name] is not None])


def trials_of(cells: Sequence[Record]) -> list[Trial]:
    return [Trial(t["examples"], t["outcome"] == "zero", c["seed"]) for c in cells for t in c["trials"]]


def trial_at(cell: Record, examples: int) -> Record:
    """The trial of a search with so many examples."""
    found: Record = next(t for t in cell["trials"] if t["examples"] == examples)
    return found


def edge_record(edge: Edge) -> Record:
    return {
        "value": edge.edge, "standard_error": edge.standard_error, "log_error": edge.log_error,
        "width": edge.width, "width_error": edge.width_error,
    }  # fmt: skip


def of_capacity(row: Mapping[str, Any]) -> bool:
    """Whether the edge is known, and is one of capacity: less than half of its networks lost examples to dead gates."""
    return row["edge"] is not None and row["edge"]["log_error"] is not None and 2 * row["lost"] < row["networks"]


def scaling_of(rows: Sequence[Record]) -> list[Record]:
    """For every (loss, labels, depth): the exponent of the edge in the weights, and examples for each weight there."""
    groups = sorted({tuple(r[k] for k in GROUP) for r in rows})
    return [_scaling(g, [r for r in rows if tuple(r[k] for k in GROUP) == g]) for g in groups]


def _scaling(group: tuple[Any, ...], rows: Sequence[Record]) -> Record:
    known = [r for r in rows if of_capacity(r)]
    sizes = [r["weights"] for r in known]
    exponent = narrowing = load = None
    if known:
        ratios = [r["edge"]["value"] / r["weights"] for r in known]
        errors = [a * r["edge"]["log_error"] for a, r in zip(ratios, known, strict=True)]
        load = weighted(ratios, errors)
    if len(known) >= 3:
        edges = [Estimate(r["edge"]["value"], r["edge"]["standard_error"]) for r in known]
        exponent = _plain(log_slope(sizes, edges))
        widths = [Estimate(r["edge"]["width"], r["edge"]["width_error"]) for r in known]
        narrowing = _plain(log_slope(sizes, widths))
    named = dict(zip(GROUP, group, strict=True))
    return named | {"widths": len(known), "load": load, "exponent": exponent, "narrowing": narrowing}


def _plain(found: Estimate) -> Record:
    return {"value": found.value, "standard_error": found.standard_error}


def weighted(values: Sequence[float], errors: Sequence[float]) -> Record:
    """The mean of independent numbers; its error is the larger of that of their errors and that of their scatter."""
    n = len(values)
    own = float(np.sqrt(np.sum(np.square(errors)))) / n
    scatter = standard_error(values) or 0.0
    return {"value": float(np.mean(values)), "standard_error": max(own, scatter)}
