"""The page of the search for the capacity: figures with captions, verdicts, tables, settings."""

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
from .summary import of_capacity

CAPTIONS = {
    "capacity": (
        "The edge of capacity; squared hinge, where the hinge is not named. Left: the share of {networks} that fit "
        "all of their examples, random labels, with the fitted edge; one colour for each width, from {narrow} (dark) "
        "to {wide}. Middle: the edge against the number of weights, with two standard errors; triangles: every "
        "network fitted all {most:,} examples; hollow: most networks lost examples to dead gates. Dashed: twice the "
        "rank of the gradients of fresh networks; dotted: their stability edge k*; both were computed before "
        "training. Right: the measured edge of random labels over twice the rank (filled) and over k* (hollow)."
    ),
    "constraints": (
        "What is active beyond the edge, squared hinge, random labels. Left: active examples over weights against the "
        "number of examples over each network's edge; 0 below it. Middle: negative eigenvalues of H (filled) and of "
        "H + G (hollow), over weights, against active examples over weights; a minimum lies below the line for H, and "
        "at 0 for H + G. Right: N_-(k) of rung RE on fresh networks against k active examples, over weights; the "
        "stability edge is where it meets the line."
    ),
}
HEAD = ("loss", "labels", "depth", "width", "weights", "P* measured", "P*/N", "beyond", "lost", "k*",
        "2 rank", "N_active/N", "N_-/N", "index/N", "kinks")  # fmt: skip


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every loss, labels, depth and width."""
    found = []
    for row in data["rows"]:
        edge, n = row["edge"], row["weights"]
        load = None if edge is None else _times(edge, 1.0 / n)
        found.append([
            row["loss"], row["labels"], str(row["depth"]), str(row["width"]), f"{n:,}", written(edge), written(load),
            f"{row['not_reached']} of {row['networks']}", str(row["lost"]), written(row["stability"]),
            written(_times(row["counting"], 2.0)),
            *(written(row[key]) for key in ("active", "negative", "index", "kinks")),
        ])  # fmt: skip
    return found


def _times(mean: Report | None, factor: float) -> Report | None:
    if mean is None:
        return None
    error = mean["standard_error"]
    return {"value": factor * mean["value"], "standard_error": None if error is None else factor * error}


def scaling_rows(data: Report) -> list[list[str]]:
    return [
        [s["loss"], s["labels"], str(s["depth"]), str(s["widths"]), written(s["load"]), written(s["exponent"]),
         written(s["narrowing"])]
        for s in data["scaling"]
    ]  # fmt: skip


SCALING_HEAD = ("loss", "labels", "depth", "widths", "P*/N", "exponent of P*", "exponent of the width")


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, the table, and the verdicts."""
    body = rows(data)
    wide = [max(len(r[i]) for r in (HEAD, *body)) for i in range(len(HEAD))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(r, wide, strict=True)) for r in (HEAD, *body)]
    return "\n".join(
        [answered(answer(data)), "", lines[0], "-" * len(lines[0]), *lines[1:], "", outcome(data["checks"])]
    )


def caption(name: str, data: Report) -> str:
    options = data["options"]
    seeds = len(options["seeds"])
    return CAPTIONS[name].format(
        networks=f"{seeds} networks" if seeds > 1 else "one network", narrow=min(options["widths"]),
        wide=max(options["widths"]), most=max(r["most"] for r in data["rows"]),
    )  # fmt: skip


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    shown = {name: captioned(name, caption(name, data), picture) for name, picture in figures.items()}
    every = table(map(prose, HEAD), rows(data), "numbers", "The table")
    scaling = table(SCALING_HEAD, scaling_rows(data), "numbers", "Scaling")
    parts = [
        Section(
            "",
            [
                *beginning(answer(data), failed(data["checks"])),
                shown.pop("capacity", ""),
                note(sentence(summary(data))),
            ],
        ),
        judged(data["checks"]),
        figures_section(list(shown.values()), data),
        Section("The table", [note(_NOTE), every], folded=True),
        Section("Scaling", [note(_SCALING), scaling], folded=True),
        _left_out(data),
        settings(data),
    ]
    return page("The edge of capacity", f"Umwelt {data['version']}", parts)


_NOTE = (
    "P*: where half of the networks fit all examples (risk 0), by a logistic law in ln P fitted to every trial, with "
    "its standard error. Beyond: networks that fitted every example there is. Lost: networks whose last number of "
    "examples was not fitted because dead gates lost some. k* and twice the rank are predictions from fresh "
    "networks. The last four columns: at the smallest number of examples that was not fitted, over networks that "
    "lost none; N_- counts negative eigenvalues of H, the index those of H + G. Kinks: of the gates of active "
    "examples, the share within 0.001 of the layer's rms of switching, where a Gaussian has 0.0008."
)
_SCALING = (
    "Over widths whose edge is known and is not one of lost examples. The width of the edge is that of the logistic "
    "law in ln P: an exponent below 0 says that the edge sharpens as networks grow."
)


def summary(data: Report) -> str:
    """What was run, and how long it took."""
    options, took = data["options"], data["seconds"]
    known = sum(of_capacity(r) for r in data["rows"])
    inputs = f"{options['inputs']} principal components" if options["inputs"] else "all inputs"
    return (
        f"Perceptrons on {inputs} of {data['dataset']}. For every seed the examples have one order, and the largest "
        f"number that is fitted is searched for by bisection to {100 * options['resolution']:g} %. The squared hinge "
        f"is minimised by L-BFGS ({options['iterations']:,} iterations), the hinge by stochastic gradient descent "
        f"({options['updates']:,} updates of {options['batch_size']} at rate {options['learning_rate']:g}, momentum "
        f"{options['momentum']:g}). An edge of capacity is known for {known} of {len(data['rows'])} rows. "
        f"{len(data['cells'])} searches with {sum(len(c['trials']) for c in data['cells'])} trainings took "
        f"{took['cells_cpu']:.0f} s of processor time. Backend {data['backend']['name']} ({data['backend']['dtype']})."
    )


def _left_out(data: Report) -> Section | None:
    reasons = sorted({(c["depth"], c["width"], c["forecast"]["left_out"]) for c in data["cells"]
                      if c["forecast"]["left_out"]})  # fmt: skip
    if not reasons:
        return None
    body = [[str(depth), str(width), why] for depth, width, why in reasons]
    return Section("Predictions left out", [table(("depth", "width", "reason"), body, "words", "Left out")])
