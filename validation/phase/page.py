"""The page of the phase diagram: the figure with its caption, the table, what was left out, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from validation.report.markup import (
    Section,
    captioned,
    figures_section,
    items,
    note,
    page,
    prose,
    sentence,
    settings,
    table,
)
from validation.report.source import Report
from validation.report.text import answered
from validation.report.verdicts import beginning
from validation.statistics.asymmetry import SIGNIFICANCE
from validation.statistics.estimate import written

from .answer import answer, failures
from .summary import approximated, failed_facts, left_out

CAPTION = (
    "The plasticity phase diagram. Means over {networks} at every number of examples and width of the hidden layers. "
    "Final risk: white where all reached exactly 0, with the number that did. Eigenvalues, share of negative ones and "
    "L1 of R5 (at most 2): of the Hessian on all examples when the risk first fell to a tenth of its start, or at the "
    "last state with H ≠ 0 where it never did. Asymmetry: m3 over its standard error, the worst of three stages "
    "(start, half of the first risk, a tenth of it); framed: beyond the {percent:g} % point. Grey: no number, as H = 0 "
    "in all networks or R5 was left out. Orange: from there up most networks reach risk 0. Dashed: the same, predicted "
    "before training by R7, from one freshly drawn network for every trained one."
)


HEAD = ("examples", "width", "weights", "risk 0", "predicted", "flat", "final risk", "λ_min/rms", "λ_max/rms",
        "negative", "asymmetry m3", "L1 of R5", "error of L1", "phase")  # fmt: skip


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every place of the diagram."""
    found = []
    for row in sorted(data["diagram"], key=lambda r: (r["examples"], r["width"])):
        seen = row["late"]
        found.append([
            f"{row['examples']:,}", str(row["width"]), f"{row['weights']:,}", f"{row['zero']} of {row['networks']}",
            str(row["forecast"]["zero"]), str(row["flat"]), written(row["risk"]),
            written(seen["smallest"], ".1f"), written(seen["largest"], ".1f"),
            written(seen["fraction_negative"], ".3f"), _asymmetry(row), written(seen["l1"], ".3f"),
            "–" if seen["l1_standard_error"] is None else f"{seen['l1_standard_error']['value']:.3f}", phase_of(row),
        ])  # fmt: skip
    return found


def _asymmetry(row: Report) -> str:
    """The worst stage, in standard errors."""
    stages = {stage: a for stage, a in row["asymmetry"].items() if a is not None}
    if not stages:
        return "–"
    stage = max(stages, key=lambda s: abs(stages[s]["value"]) / (stages[s]["standard_error"] or 1.0))
    return f"{written(stages[stage], '.2f')} ({stage})"


def phase_of(row: Report) -> str:
    """Plastic, or what is in the way."""
    if row["plastic"]:
        return "plastic"
    if not row["reaches_zero"]:
        return "risk > 0"
    return "asymmetric"


def text_table(data: Report) -> str:
    """What the terminal shows: the answer and the table."""
    body = rows(data)
    widths = [max(len(r[i]) for r in (HEAD, *body)) for i in range(len(HEAD))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(r, widths, strict=True)) for r in (HEAD, *body)]
    return "\n".join([answered(answer(data)), "", lines[0], "-" * len(lines[0]), *lines[1:]])


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    seeds = len(data["options"]["seeds"])
    words = {"networks": f"{seeds} networks" if seeds > 1 else "one network", "percent": 100 * (1 - SIGNIFICANCE)}
    shown = [captioned(name, CAPTION.format(**words), picture) for name, picture in figures.items()]
    everything = table(map(prose, HEAD), rows(data), "numbers", "The table")
    found = items(failures(data) or [NOTHING])
    parts = [
        Section("", [*beginning(answer(data), failed_facts(data["cells"])), *shown, note(sentence(summary(data)))]),
        Section("Where it fails", [found]),
        Section("The edge", [note(_edge(data), "")]),
        figures_section([], data),
        Section("The table", [note(_NOTE), everything], folded=True),
        _left_out(data),
        settings(data),
    ]
    return page("The plasticity phase diagram", f"Umwelt {data['version']}", parts)


NOTHING = "R7 is right in every cell, no spectrum is asymmetric beyond its standard error, and no network ended flat."
_NOTE = (
    "Means over networks with standard errors. Risk 0: networks whose risk on all examples became exactly 0. "
    "Predicted: how many fresh networks reach it by R7, which sees no trained network. Flat: "
    "networks that ended at H = 0 with a risk above 0, since some active examples are past no gate of a layer (dead). "
    "Asymmetry: tr H³/(N rms³) at the stage where it is furthest from 0; its standard error is the larger of those "
    "over probes and over networks. Error of L1: what two measurements of one Hessian differ by, from their probes and "
    "their Lanczos steps. Plastic: more than half of the networks reach risk 0, and the "
    "asymmetry is within its standard error at every stage."
)


def summary(data: Report) -> str:
    """What was run, and how long it took."""
    options, took = data["options"], data["seconds"]
    return (
        f"Perceptrons of {options['depth']} layers, hinge loss, at most {options['updates']:,} updates of "
        f"{options['batch_size']} examples at rate {options['learning_rate']:g}, momentum {options['momentum']:g}; "
        f"{data['dataset']}; {options['labels']} labels. {len(data['cells'])} networks took "
        f"{took['cells_cpu']:.0f} s of processor time. Backend {data['backend']['name']} ({data['backend']['dtype']})."
    )


def _edge(data: Report) -> str:
    told = data["agreement"]
    return (
        f"The smallest width from which on most networks reach risk 0: {_widths(data['edge'])}. The same as R7 "
        f"predicts it before training: {_widths(data['predicted_edge'])}. R7 is right in {told['right']} of "
        f"{told['cells']} cells; in {told['missed']} it does not foresee that most reach 0, in {told['false']} it "
        "foresees it wrongly."
    )


def _widths(edge: Sequence[Report]) -> str:
    return ", ".join(
        f"{e['examples']:,} examples: " + ("no width of the grid" if e["width"] is None else f"width {e['width']}")
        for e in edge
    )


def _left_out(data: Report) -> Section | None:
    """Networks without a prediction, with reasons, and how many predictions rest on some of the examples."""
    few = approximated(data["cells"])
    said = []
    if few:
        most = data["options"]["prediction_examples"]
        words = f"{few} predictions rest on {most} of the active examples, stretched to the second moment of all."
        said.append(note(words))
    body: Sequence[list[str]] = [
        [str(c["width"]), f"{c['examples']:,}", str(c["seed"]), why] for c, why in left_out(data["cells"])
    ]
    if body:
        said.append(table(("width", "examples", "seed", "reason"), body, "words", "Left out"))
    return Section("Predictions approximated or left out", said, folded=True) if said else None
