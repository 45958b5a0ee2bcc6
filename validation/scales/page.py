"""The page of the scales: the figure, the verdicts, the table of every epoch, settings."""

from __future__ import annotations

from collections.abc import Mapping

from validation.measurements.scales import SCALES
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

CAPTION = (
    "The laws of sizes at every scale. Left: where Σ|v| comes from, the law of ln|v| weighted by |v|, its median "
    "moved to 0, at the first and at the last epoch with a Hessian other than 0. Dashed: a Gaussian. Middle: W1 "
    "between these laws; on the diagonal that of one scale in two networks, which is what chance gives. Right: the "
    "number of independent Gaussian factors whose product has the same spread, and how far the sum is from that of a "
    "symmetric law. Means over {networks} with standard errors."
)
HEAD = ("epoch", "scale", "factors", "spread, nats", "Σv / Σ|v|", "zeros", "two networks, nats")


def rows(data: Report) -> list[list[str]]:
    """The table: one row for every epoch and scale."""
    found = []
    for epoch in data["epochs"]:
        for name, words in SCALES.items():
            seen, null = epoch["scales"][name], epoch["null"][name]
            found.append([
                str(epoch["epoch"]), words, *(written(seen[key]) for key in ("factors", "spread", "signed", "zeros")),
                "–" if null is None else f"{null:.3f}",
            ])  # fmt: skip
    return found


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, the effective factors of every scale, and the verdicts."""
    width = max(map(len, SCALES.values()))
    lines = [f"{'Gaussian factors at epoch':<{width}}  " + "  ".join(f"{e['epoch']:>12}" for e in data["epochs"])]
    for name, words in SCALES.items():
        numbers = "  ".join(f"{written(e['scales'][name]['factors']):>12}" for e in data["epochs"])
        lines.append(f"{words:<{width}}  {numbers}")
    return "\n".join([answered(answer(data)), "", *lines, "", outcome(data["checks"])])


def summary(data: Report) -> str:
    """What was run."""
    first, options = data["cells"][0], data["options"]
    last = data["epochs"][-1]
    return (
        f"Networks {first['network']} ({first['weights']:,} weights), {options['loss']} loss, {first['examples']:,} "
        f"examples, gradient and Hessian on {first['measured']:,} of them; {data['dataset']}. Risk "
        f"{written(last['risk'])} at epoch {last['epoch']}. {len(data['cells'])} networks took "
        f"{data['seconds']['cells_cpu']:.0f} s of processor time. Backend {data['backend']['name']} "
        f"({data['backend']['dtype']})."
    )


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are pictures by name."""
    seeds = len(data["cells"])
    words = {"networks": f"{seeds} networks" if seeds > 1 else "one network"}
    shown = [captioned(name, CAPTION.format(**words), picture) for name, picture in figures.items()]
    every = table(map(prose, HEAD), rows(data), "numbers", "Every scale")
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), *shown, note(sentence(summary(data)))]),
        judged(data["checks"]),
        figures_section([], data),
        Section("Every scale", [note(_NOTE), every], folded=True),
        Section("Left out", [note(sentence(data["diverged"]))]) if data["diverged"] else None,
        settings(data),
    ]
    return page("From circuits to eigenvalues", f"Umwelt {data['version']}", parts)


_NOTE = (
    "Means over networks with standard errors. Factors: spread² / (π²/24), the number of independent Gaussian factors "
    "of a product with the same spread. Zeros: the share of exact zeros; circuits are drawn from the live ones. Two "
    "networks: the mean W1 of one scale in two networks."
)
