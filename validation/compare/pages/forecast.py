"""What was predicted of the training before it began, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from operator import itemgetter

import numpy as np

from validation.predictions.rung import in_order
from validation.report.markup import number, table, with_options
from validation.report.source import Report

MEASURED = {"risk": "risk", "accuracy": "accuracy", "test_accuracy": "test", "active_fraction": "active",
            "order_parameter": "order parameter"}  # fmt: skip


def forecast_section(data: Report) -> str:
    """A row per recorded epoch: every quantity as measured, and as fresh networks predict it; or why nothing was."""
    said = data.get("forecast")
    if said is None or not data["epochs"]:
        return ""
    if said["left_out"] is not None:
        reason = with_options(said["left_out"])
        return f"<section><h2>Before training</h2><p>Training was not predicted: {reason}.</p></section>"
    records = sorted([*data["epochs"], *data.get("silent", [])], key=itemgetter("epoch"))
    records = [record for record in records if record.get("forecast")]
    if not records:
        return ""
    rungs = in_order(records[0]["forecast"])
    names = [name for name in MEASURED if name in records[0]["forecast"][rungs[0]]]
    head = ["epoch", *(title for name in names for title in (escape(MEASURED[name]), *map(escape, rungs)))]
    rows = [[number(r["epoch"]), *(cell for name in names for cell in _cells(r, name, rungs))] for r in records]
    note = (
        f"<p class='note'>Rung R7. The outputs of {said['networks']} freshly drawn networks of the same shape follow "
        "their tangent kernels through the same batches, momentum and learning rates. Nothing of the trained network "
        "enters. Predicted: mean and standard deviation over these networks; the trained network differs from the mean "
        "as each of them does. R7 leaves out the motion of the kernel, which is what a network learns of features; R7m "
        "reads the kernels again at every recorded epoch, at the weights to which the prediction has led.</p>"
    )
    return f"<section><h2>Before training</h2>{note}{table(head, rows, 'numbers', 'Before training')}</section>"


def _cells(record: Report, name: str, rungs: Sequence[str]) -> list[str]:
    """Measured, then mean ± standard deviation over the fresh networks of every rung."""
    cells = [number(record[name])]
    for rung in rungs:
        values = np.asarray(record["forecast"][rung][name], dtype=float)
        spread = float(values.std(ddof=1)) if values.size > 1 else None
        cells.append(f"{number(float(values.mean()), 3)} ± {number(spread, 2)}")
    return cells
