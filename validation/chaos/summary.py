"""From single networks to the plane of gain and χ: means over seeds, and where the plasticity phase is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from validation.statistics.asymmetry import asymmetry
from validation.statistics.estimate import estimate

from .cell import LAST, STAGES, Record

OUTCOMES = ("zero", "above", "flat", "diverged")


def rows_of(cells: Sequence[Record]) -> list[Record]:
    """One row for every gain, in increasing order."""
    return [_row([c for c in cells if c["gain"] == gain]) for gain in sorted({c["gain"] for c in cells})]


def _row(cells: Sequence[Record]) -> Record:
    row: Record = {"gain": cells[0]["gain"], "networks": len(cells)}
    row |= {outcome: sum(c["outcome"] == outcome for c in cells) for outcome in OUTCOMES}
    row["asymmetry"] = {stage: asymmetry([at_stage(c, stage) for c in cells], len(STAGES)) for stage in STAGES}
    tested = [a["within"] for a in row["asymmetry"].values() if a is not None]
    row["symmetric"] = all(tested) if tested else None
    row["reaches_zero"] = bool(2 * row["zero"] > row["networks"])
    row["plastic"] = bool(row["reaches_zero"] and row["symmetric"])
    row["epochs"] = estimate([c["records"][-1]["epoch"] for c in cells if c["outcome"] == "zero"])
    for name, which in (("chi_start", 0), ("chi_end", -1)):
        known = [c["records"][which]["chi_mean"] for c in cells if c["records"]]
        row[name] = estimate([math.log(chi) for chi in known if chi])
    return row


def at_stage(cell: Record, stage: str) -> Record | None:
    """The record of a stage with H ≠ 0; the last state for a tenth of the risk that was never reached."""
    names = (stage, LAST) if stage == "tenth" else (stage,)
    return next((r for r in cell["records"] if r["stage"] in names and r["rms"]), None)


def phase(rows: Sequence[Record]) -> list[float]:
    """Gains at which the networks are plastic."""
    return [row["gain"] for row in rows if row["plastic"]]


def chi_of(row: Record, name: str) -> Record | None:
    """χ itself with its standard error, from the mean of its logarithm."""
    log = row[name]
    if log is None:
        return None
    value = math.exp(log["value"])
    error = None if log["standard_error"] is None else value * log["standard_error"]
    return {"value": value, "standard_error": error}
