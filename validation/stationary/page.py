"""The page of the search for stationary points: the claims, the figure with its caption, tables, settings."""

from __future__ import annotations

from collections.abc import Mapping

from validation.report.markup import (
    Section,
    captioned,
    figures_section,
    note,
    page,
    prose,
    sentence,
    settings,
    table,
)
from validation.report.source import Report
from validation.report.text import answered, outcome
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed

from .answer import answer
from .summary import ENDS

CAPTION = (
    "What searches for stationary points came to. Above: index, the share of negative ones among the eigenvalues that "
    "are not 0, against the risk. Line: the training itself. Filled: points that were found. Crosses: where a kink or "
    "the last step ended the search. Points with H = 0 have no index, and are drawn below 0. Below: ||∇R|| at the end "
    "over its length if the terms of the examples were orthogonal, against the risk; at or under the dashed line a "
    "point was found."
)
HEAD = ("loss", "seed", "searches", "found", "again", *ENDS, "||∇R||² found", "||∇R||² at kinks", "nearest kink")


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every network."""
    return [
        [row["loss"], str(row["seed"]), str(row["searches"]), str(row["found"]), str(row["again"]),
         *(str(row["kinds"][kind]) for kind in ENDS),
         *(_number(row[key]) for key in ("fall_found", "fall_stopped", "kink_stopped"))]
        for row in data["table"]
    ]  # fmt: skip


def stages(data: Report) -> list[list[str]]:
    """One row for every network and epoch that searches began from."""
    return [
        [row["loss"], str(row["seed"]), str(s["epoch"]), f"{s['risk']:.3f}",
         "–" if s["index"] is None else f"{s['index']:.3f}", f"{s['found']} of {s['searches']}"]
        for row in data["table"] for s in row["stages"]
    ]  # fmt: skip


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, the table, and the verdicts."""
    body = rows(data)
    widths = [max(len(r[i]) for r in (HEAD, *body)) for i in range(len(HEAD))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(r, widths, strict=True)) for r in (HEAD, *body)]
    return "\n".join(
        [answered(answer(data)), "", lines[0], "-" * len(lines[0]), *lines[1:], "", outcome(data["checks"])]
    )


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    shown = [captioned(name, CAPTION, picture) for name, picture in figures.items()]
    head = ("loss", "seed", "epoch", "risk", "index", "found")
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), *shown, note(sentence(_summary(data)))]),
        judged(data["checks"]),
        figures_section([], data),
        Section("The tables", [
            note(_NOTE), table(map(prose, HEAD), rows(data), "numbers", "Networks"),
            table(head, stages(data), "numbers", "Where searches began"),
        ], folded=True),
        settings(data),
    ]  # fmt: skip
    return page("Stationary points", f"Umwelt {data['version']}", parts)


_NOTE = (
    "Again: a point that was found before, and is not counted. Flat: H = 0. Saddle: H has both signs, and gates are "
    "the same at the point where the linearised gradient is 0. Saddle at a kink: a kink is nearer than that. Kink: "
    "no step lowers ||∇R||, since gates or active examples change; not a stationary point. Not converged: the last "
    "step allowed. ||∇R||²: medians, over that of the start. Nearest kink: median distance of the weights to it, "
    "over ||θ||, where searches stopped."
)


def _summary(data: Report) -> str:
    options, took = data["options"], data["seconds"]
    searches, found = (sum(row[key] for row in data["table"]) for key in ("searches", "found"))
    return (
        f"{options['network']}, {data['dataset']}. From {len(data['table'])} trainings {searches:,} searches for low "
        f"||∇R||² were begun, and {found:,} ended at a stationary point: ||∇R|| is at most {options['tolerance']:g} of "
        f"its length if the terms of the examples were orthogonal. It took {took['cells_cpu']:.0f} s of processor "
        f"time. Backend {data['backend']['name']} ({data['backend']['dtype']})."
    )
