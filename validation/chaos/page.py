"""The page of the correlation map: the claims, the figure with its caption, the table, settings."""

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
from validation.statistics.estimate import written

from .answer import answer
from .summary import chi_of

CAPTION = (
    "The edge of chaos by correlations of two inputs. Above: correlations of pairs of examples behind a hidden layer, "
    "against those before it, before training and at its end, for the gain nearest 1 (first seed); the line is the "
    "arc-cosine map κ. Below left: χ, the growth of small differences in a layer (geometric mean over layers), "
    "through training, one line for every network. Below right: χ at the start and at the end against the gain. "
    "Filled: the networks of that gain are plastic (most reach risk 0, and the Hessian is symmetric within its error). "
    "Dotted: χ = 1 and χ = gain²."
)
HEAD = (
    "gain",
    "risk 0",
    "flat",
    "above",
    "diverged",
    "symmetric",
    "plastic",
    "χ at the start",
    "χ at the end",
    "epochs",
)


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every gain."""
    return [
        [f"{row['gain']:g}", f"{row['zero']} of {row['networks']}", str(row["flat"]), str(row["above"]),
         str(row["diverged"]), _told(row["symmetric"]), _told(row["plastic"]),
         *(written(chi_of(row, name)) for name in ("chi_start", "chi_end")), written(row["epochs"], ".0f")]
        for row in data["rows"]
    ]  # fmt: skip


def _told(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


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
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), *shown, note(sentence(_summary(data)))]),
        judged(data["checks"]),
        figures_section([], data),
        Section("The table", [note(_NOTE), table(map(prose, HEAD), rows(data), "numbers", "Gains")], folded=True),
        settings(data),
    ]
    return page("The edge of chaos", f"Umwelt {data['version']}", parts)


_NOTE = (
    "Gain: factor of the initial weights of hidden layers, variance 2/fan-in at 1. χ: geometric mean over layers and "
    "networks, with its standard error over networks. Flat: H = 0 at a risk above 0. Symmetric: m3 = tr H³/(N rms³) "
    "is within its standard error of 0 at the start, at half and at a tenth of the first risk."
)


def _summary(data: Report) -> str:
    options, took, plastic = data["options"], data["seconds"], [r for r in data["rows"] if r["plastic"]]
    where = ", ".join(f"{r['gain']:g}" for r in plastic) or "no gain"
    return (
        f"Perceptrons of {options['depth']} layers and width {options['width']}, hinge loss, at most "
        f"{options['updates']:,} updates; {data['dataset']}. Plastic at {where}. {len(data['cells'])} networks took "
        f"{took['cells_cpu']:.0f} s of processor time. Backend {data['backend']['name']} ({data['backend']['dtype']})."
    )
