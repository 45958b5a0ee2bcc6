"""From single networks to the diagram: means over seeds with standard errors, and where the plasticity phase ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from validation.statistics.asymmetry import asymmetry
from validation.statistics.estimate import estimate

from .cell import LAST, STAGES, Record

OUTCOMES = ("zero", "above", "flat", "diverged")


def late(cell: Record) -> Record | None:
    """The record at a tenth of the first risk; where the risk never fell so far, the last one with H ≠ 0."""
    seen = [r for r in cell["records"] if r["rms"] > 0.0]
    tenth = [r for r in seen if r["stage"] == "tenth"]
    return tenth[0] if tenth else seen[-1] if seen else None


def at_stage(cell: Record, stage: str) -> Record | None:
    """The record of a stage with H ≠ 0; "tenth" stands for the latest one (`late`)."""
    if stage == "tenth":
        return late(cell)
    return next((r for r in cell["records"] if r["stage"] == stage and r["rms"] > 0.0), None)


def diagram(cells: Sequence[Record]) -> list[Record]:
    """One row for every (width, examples), in increasing order."""
    places = sorted({(c["width"], c["examples"]) for c in cells})
    return [_row([c for c in cells if (c["width"], c["examples"]) == place]) for place in places]


def _row(cells: Sequence[Record]) -> Record:
    first = cells[0]
    row: Record = {key: first[key] for key in ("width", "examples", "weights")}
    row |= {"networks": len(cells)} | {o: sum(c["outcome"] == o for c in cells) for o in OUTCOMES}
    records = [r for r in map(late, cells) if r is not None]
    row |= {
        "risk": estimate([c["risk"] for c in cells if c["risk"] is not None]),
        "accuracy": estimate([c["accuracy"] for c in cells if c["accuracy"] is not None]),
        "late": _late(records),
        "asymmetry": {stage: asymmetry([at_stage(c, stage) for c in cells], len(STAGES)) for stage in STAGES},
    }
    tested = [a["within"] for a in row["asymmetry"].values() if a is not None]
    row["symmetric"] = all(tested) if tested else None
    foretold = [c["forecast"] for c in cells]
    row["forecast"] = {
        "zero": sum(f["outcome"] == "zero" for f in foretold),
        "risk": estimate([f["risk"] for f in foretold if f["risk"] is not None]),
        "order_parameter": estimate([f["order_parameter"] for f in foretold if f["order_parameter"] is not None]),
    }
    row["predicted_zero"] = bool(2 * row["forecast"]["zero"] > row["networks"])
    row["reaches_zero"] = bool(2 * row["zero"] > row["networks"])
    row["plastic"] = bool(row["reaches_zero"] and row["symmetric"])
    return row


def _late(records: Sequence[Record]) -> Record:
    """Means of the latest records, eigenvalues in units of each network's rms."""

    def mean(value: Callable[[Record], float | None]) -> Record | None:
        return estimate([v for v in map(value, records) if v is not None])

    return {
        "risk": mean(lambda r: r["risk"]),
        "active": mean(lambda r: r["active"]),
        "rms": mean(lambda r: r["rms"]),
        "smallest": mean(lambda r: r["minimum"] / r["rms"]),
        "largest": mean(lambda r: r["maximum"] / r["rms"]),
        "fraction_negative": mean(lambda r: r["fraction_negative"]["value"]),
        "fraction_positive": mean(lambda r: r["fraction_positive"]["value"]),
        "mirror": mean(lambda r: r["symmetry"]["value"]),
        "skew": mean(lambda r: r["symmetry"]["skew"]),
        "l1_standard_error": mean(lambda r: r["l1_standard_error"]),
        "l1": mean(lambda r: r["l1"]),
        "at_the_end": sum(r["stage"] == LAST for r in records),
    }


def edge(rows: Sequence[Record], reached: str = "reaches_zero") -> list[Record]:
    """For every number of examples the smallest width from which on most networks reach zero risk; None: none does.

    `reached`: "reaches_zero" as found, "predicted_zero" as R7 predicts it before training.
    """
    found = []
    for examples in sorted({r["examples"] for r in rows}):
        column = [r for r in rows if r["examples"] == examples]
        width = None
        for row in reversed(column):
            if not row[reached]:
                break
            width = row["width"]
        found.append({"examples": examples, "width": width})
    return found


def agreement(rows: Sequence[Record]) -> Record:
    """How often R7 says before training whether most networks of a cell reach zero risk: numbers of cells.

    ``missed``: they do, and it was not predicted. ``false``: they do not, and it was.
    """
    pairs = [(row["reaches_zero"], row["predicted_zero"]) for row in rows]
    return {
        "cells": len(rows),
        "right": sum(found == told for found, told in pairs),
        "missed": sum(found and not told for found, told in pairs),
        "false": sum(told and not found for found, told in pairs),
    }


def failed_facts(cells: Sequence[Record]) -> list[str]:
    """Exact facts that did not hold somewhere: bugs."""
    return sorted(
        {
            name
            for cell in cells
            for record in cell["records"]
            for name, check in record["exact"].items()
            if check["value"] > check["tolerance"]
        }
    )


def approximated(cells: Sequence[Record]) -> int:
    """Predictions from some of the active examples only."""
    return sum(bool(r["approximations"]) for c in cells for r in c["records"])


def left_out(cells: Sequence[Record]) -> list[tuple[Record, str]]:
    """Networks without a prediction where one was due, each with the reason."""
    return [(c, r["left_out"]) for c in cells for r in c["records"] if r["left_out"]]
