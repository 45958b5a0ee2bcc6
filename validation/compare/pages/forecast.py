"""What was predicted of the training before it began, beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from validation.predictions.rung import in_order
from validation.report.markup import Section, note, number, table, with_error, with_options
from validation.report.source import Report

MEASURED = {"risk": "risk", "accuracy": "accuracy", "test_accuracy": "test", "active_fraction": "active",
            "order_parameter": "order parameter"}  # fmt: skip


def forecast_section(data: Report) -> Section | None:
    """A row per recorded epoch: every quantity as measured, and as fresh networks predict it; or why nothing was."""
    said = data.get("forecast")
    if said is None or not data["epochs"]:
        return None
    if said["left_out"] is not None:
        reason = with_options(said["left_out"])
        return Section("Before training", [note("Training was not predicted: " + reason + ".")], folded=True)
    records = sorted([*data["epochs"], *data.get("silent", [])], key=itemgetter("epoch"))
    records = [record for record in records if record.get("forecast")]
    if not records:
        return None
    rungs = in_order(records[0]["forecast"])
    names = [name for name in MEASURED if name in records[0]["forecast"][rungs[0]]]
    head = ("epoch", "by", *(MEASURED[name] for name in names))
    rows = [row for record in records for row in _rows(record, names, rungs)]
    words = (
        f"Rung R7. The outputs of {said['networks']} freshly drawn networks of the same shape follow "
        "their tangent kernels through the same batches, momentum and learning rates. Nothing of the trained network "
        "enters. Predicted: mean and standard deviation over these networks; the trained network differs from the mean "
        "as each of them does. R7 leaves out the motion of the kernel, which is what a network learns of features; R7m "
        "reads the kernels again after each of the first epochs and at every recorded one, at the weights to which the "
        "prediction has led."
    )
    shown = table(head, rows, "numbers", "Before training")
    return Section("Before training", [note(words), shown], folded=True)


def _rows(record: Report, names: Sequence[str], rungs: Sequence[str]) -> list[list[str]]:
    """What was measured at an epoch; below it every rung's mean ± standard deviation over the fresh networks."""
    rows = [[number(record["epoch"]), "measured", *(number(record[name]) for name in names)]]
    return rows + [["", rung, *(_mean(record["forecast"][rung][name]) for name in names)] for rung in rungs]


def _mean(values: Sequence[float]) -> str:
    told = np.asarray(values, dtype=float)
    spread = float(told.std(ddof=1)) if told.size > 1 else None
    return with_error(float(told.mean()), spread)
