"""From single searches to counts: what they came to, how low the gradient got, and the index beside the risk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from validation.measurements.stationary import FOUND_KINDS, KINK, KINKED, OPEN, SADDLE

from .cell import Record

ENDS = (*FOUND_KINDS, KINK, OPEN)
SADDLES = (SADDLE, KINKED)


def found_in(cell: Record, kinds: Sequence[str] = FOUND_KINDS) -> list[Record]:
    """Searches of a cell that came to points of some kinds, not to one that was found before."""
    return [s for s in cell["searches"] if s["kind"] in kinds and not s["again"]]


def found(cells: Sequence[Record], kinds: Sequence[str] = FOUND_KINDS) -> Iterator[tuple[Record, Record]]:
    """(cell, search) of all points of some kinds."""
    return ((cell, s) for cell in cells for s in found_in(cell, kinds))


def table_of(cells: Sequence[Record]) -> list[Record]:
    """One row for every network: numbers of searches by their end, and medians."""
    return [_row(cell) for cell in cells]


def _row(cell: Record) -> Record:
    stopped, ends = found_in(cell, (KINK,)), cell["searches"]
    row: Record = {key: cell[key] for key in ("loss", "seed", "weights", "examples")}
    row |= {"searches": len(ends), "found": len(found_in(cell)), "again": sum(s["again"] for s in ends)}
    row |= {"kinds": {kind: len(found_in(cell, (kind,))) for kind in ENDS}}
    row |= {
        "fall_found": middle([fall(s) for s in found_in(cell)]),
        "fall_stopped": middle([fall(s) for s in stopped]),
        "relative_stopped": middle([s["relative"] for s in stopped]),
        "kink_stopped": middle([nearest(s) for s in stopped]),
        "shortest_stopped": middle([s["shortest"] for s in stopped]),
    }
    row["stages"] = [_stage(cell, epoch) for epoch in sorted({s["epoch"] for s in ends})]
    return row


def _stage(cell: Record, epoch: int) -> Record:
    """How many of the searches from one epoch found a point, and the risks of those points."""
    of_epoch = [s for s in cell["searches"] if s["epoch"] == epoch]
    reached = [s for s in found_in(cell) if s["epoch"] == epoch]
    (own,) = (r for r in cell["run"] if r["epoch"] == epoch)
    return {
        "epoch": epoch, "risk": own["risk"], "index": own["value"], "searches": len(of_epoch), "found": len(reached),
    }  # fmt: skip


def fall(search: Record) -> float:
    """||∇R||² at the end over that at the start; 0 where the start was stationary already."""
    first = search["first_order_parameter"]
    return float(search["order_parameter"] / first) if first > 0 else 0.0


def nearest(search: Record) -> float:
    """The distance to the nearest kink over ||θ||; infinite where there is none."""
    return min((search[key] for key in ("gate", "margin") if search[key] is not None), default=math.inf)


def middle(values: Sequence[float]) -> float | None:
    """The median; None without values, and where it is infinite."""
    median = float(np.median(values)) if values else math.inf
    return median if math.isfinite(median) else None
