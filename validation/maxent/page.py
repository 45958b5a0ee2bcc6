"""The page of the network that is learned scale by scale: figure, verdicts, tables, settings."""

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

CAPTION = (
    "From couplings to a network. Left: planted laws of three scales; what the chain (4) loses as a random tensor is "
    "mixed into its multipliers, by the likelihood with the scales below kept. Dashed: the chain nearest to the "
    "multipliers of the last scale by least squares, which may choose the scales below. Thin: single worlds. Middle: "
    "entropy of the events of the digits if they were independent, by the chain, and with every coupling. Right: "
    "accuracy of the stack on new digits beside networks trained by back-propagation."
)
SCALES = ("scale", "events", "couplings", "weights", "independent", "chain", "unfactored", "lost, nats", "share lost",
          "lost on new digits", "impossible")  # fmt: skip
NETWORKS = ("network", "gates", "log µ(y|x) on new digits, nats", "accuracy")


def scale_rows(data: Report) -> list[list[str]]:
    """Scales of the digits: entropies in nats an example and what the chain loses."""
    return [
        [
            str(k), s["events"], str(s["multipliers"]), str(s["weights"]),
            *(f"{s[key]:.3f}" for key in ("independent", "chain", "unfactored")),
            *(("0", "0", "0") if s["weights"] == s["multipliers"]
              else (written(s["loss"]), written(s["share"]), written(s["held_out_loss"]))), str(s["impossible"]),
        ]
        for k, s in enumerate(data["digits"]["scales"], start=1)
    ]  # fmt: skip


def network_rows(data: Report) -> list[list[str]]:
    """The stack, the same modified for the label, and networks by back-propagation."""
    digits = data["digits"]
    summed = (("marginal", "drawn, summed over"), ("cold", "1[z > 0]"))
    rows = [(name, gates, digits[key][name]) for key, gates in summed for name in ("stack", "modified")]
    rows += [("back-propagation", "1[z > 0]", run) for run in digits["back_propagation"]]
    return [[name, gates, written(run["log_likelihood"]), written(run["accuracy"])] for name, gates, run in rows]


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, the scales, and the verdicts."""
    lines = [
        f"scale {k}, {events}: {couplings} couplings, {weights} weights; entropy {alone} independent, {chain} chain, "
        f"{full} unfactored"
        for k, events, couplings, weights, alone, chain, full, *_ in scale_rows(data)
    ]
    return "\n".join([answered(answer(data)), "", *lines, "", outcome(data["checks"])])


def summary(data: Report) -> str:
    """What was run, in two sentences."""
    digits = data["digits"]
    return (
        f"{len(data['planted']['curves'])} planted worlds, whose laws are known, and {digits['examples']:,} digits "
        f"with events at three scales; {digits['held_out']} digits are new. Backend {data['backend']['name']} "
        f"({data['backend']['dtype']})."
    )


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are pictures by name."""
    shown = [captioned(name, CAPTION, picture) for name, picture in figures.items()]
    scales = table(map(prose, SCALES), scale_rows(data), "numbers", "The scales of the digits")
    networks = table(map(prose, NETWORKS), network_rows(data), "numbers", "The label of new digits")
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), *shown, note(sentence(summary(data)))]),
        judged(data["checks"]),
        figures_section([], data),
        Section("The scales of the digits", [note(_NOTE), scales], folded=True),
        Section("The label", [networks], folded=True),
        settings(data),
    ]
    return page("From couplings to a network", f"Umwelt {data['version']}", parts)


_NOTE = (
    "Entropies in nats an example. Share lost: of the gain of the unfactored law over independent events. Lost on new "
    "digits: mean over those whose events the unfactored law holds for possible; the others are counted as impossible."
)
