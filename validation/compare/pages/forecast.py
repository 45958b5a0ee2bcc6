"""What was predicted of the training before it began, beside what was measured."""

from __future__ import annotations

from html import escape
from operator import itemgetter

import numpy as np

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
    names = [name for name in MEASURED if name in records[0]["forecast"]]
    head = ["epoch"]
    for name in names:
        head += [escape(MEASURED[name]), "predicted"]
    rows = [[number(r["epoch"]), *(cell for name in names for cell in _pair(r, name))] for r in records]
    note = (
        f"<p class='note'>Rung R7. The outputs of {said['networks']} freshly drawn networks of the same shape follow "
        "their tangent kernels through the same batches, momentum and learning rates. Nothing of the trained network "
        "enters. Predicted: mean and standard deviation over these networks; the trained network differs from the mean "
        "as each of them does. The motion of the kernel, which is what a network learns of features, is left out.</p>"
    )
    return f"<section><h2>Before training</h2>{note}{table(head, rows, 'numbers', 'Before training')}</section>"


def _pair(record: Report, name: str) -> tuple[str, str]:
    values = np.asarray(record["forecast"][name], dtype=float)
    spread = float(values.std(ddof=1)) if values.size > 1 else None
    return number(record[name]), f"{number(float(values.mean()), 3)} ± {number(spread, 2)}"
