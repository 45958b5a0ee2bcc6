"""The words of the report on gates and its page, without matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.markup import (
    Section,
    captioned,
    figures_section,
    note,
    page,
    sentence,
    settings,
    table,
)
from validation.report.notes import theory_section
from validation.report.source import Report
from validation.report.text import answered, outcome
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed
from validation.statistics.estimate import plus_minus

from .answer import answer

CAPTIONS = {
    "most_probable": (
        "How often are the ReLU gates the most probable ones given (x, y)? Left: the share of {measured} examples, "
        "from all gate configurations of the small network. Right: for {searched} examples of the other network, the "
        "share for which a search found no gates that are more probable, which is an upper bound of that share. Bars: "
        "two standard errors over the examples."
    ),
    "bounds": (
        "How far the bounds are below log µ(y|x), means over the examples. Lines: a law that is certain of the ReLU "
        "gates. Dashed: the forward law. Of the larger network log µ(y|x) is the logarithm of a mean over {draws} "
        "draws, which is too low on average, and so are the gaps."
    ),
    "free_energy": (
        "Energy, entropy and free energy (9) of the gates through training, for each gate. Energies are in units of z. "
        "Dotted: the entropy of fair coins, and of fair dice where pools choose, which add to all three. Bars: two "
        "standard errors over the examples."
    ),
}
HEAD = (
    "epoch",
    "T",
    "most probable",
    "refuted",
    "stable",
    "ReLU below",
    "forward below",
    "energy",
    "entropy",
    "free energy",
)


def caption(name: str, data: Report) -> str:
    """What the figure `name` shows, with the report's numbers."""
    options = data["options"]
    return CAPTIONS[name].format(**{key: options[key] for key in ("measured", "searched", "draws")})


def rows(told: Report) -> list[list[str]]:
    """One row for every epoch and temperature of a network."""
    return [
        [str(epoch["epoch"]), f"{entry['temperature']:g}", *(_written(entry[key]) for key in COLUMNS)]
        for epoch in told["epochs"]
        for entry in epoch["temperatures"]
    ]


COLUMNS = ("most_probable", "refuted", "stable", "relu_gap", "forward_gap", "energy", "entropy", "free_energy")


def _written(estimate: Mapping[str, Any] | None) -> str:
    return "–" if estimate is None else plus_minus(estimate).replace("-", "−")


def text_table(data: Report) -> str:
    """What the terminal shows: the answer and the verdicts."""
    return f"{answered(answer(data))}\n\n{outcome(data['checks'])}"


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    shown = {name: captioned(name, caption(name, data), picture) for name, picture in figures.items()}
    parts = [
        Section(
            "",
            [
                *beginning(answer(data), failed(data["checks"])),
                shown.pop("most_probable", ""),
                note(sentence(_summary(data))),
            ],
        ),
        judged(data["checks"], _VERDICTS),
        figures_section(list(shown.values()), data),
        _tables(data),
        theory_section(data["checks"]),
        settings(data),
    ]
    return page("The gates at a temperature", f"Umwelt {data['version']}", parts)


def _summary(data: Report) -> str:
    networks, took, options = data["networks"], data["seconds"], data["options"]
    named = " and ".join(f"{told['name']} ({told['gates']:,} gates)" for told in networks.values())
    return (
        f"{data['dataset']}. Two networks, {named}, trained at temperature 0 with the loss {options['loss']}. "
        f"Temperatures of the gates: {', '.join(f'{t:g}' for t in options['temperatures'])}. The first network is "
        f"summed over all configurations, the second sampled and searched. Backend {data['backend']['name']} "
        f"({data['backend']['dtype']}), seed {data['seed']}. The cells took {took['cells_cpu']:.0f} s of processor "
        "time."
    )


_VERDICTS = (
    "Ids that end in .exact are of the network that is summed over all gates. T = 1 is the law (6) with the "
    "weights as they are. A claim is judged at every temperature by itself, with errors over the examples of one "
    "network. A search can show that the ReLU gates are not the most probable ones, and never that they are."
)
_TABLE = (
    "Most probable: share of the examples whose ReLU gates are the most probable ones given (x, y), by sums. Refuted: "
    "share of the searched examples for which more probable gates were found. Stable: share whose ReLU gates no other "
    "gates of one layer exceed. Below: nats below log µ(y|x) of the bound at the ReLU gates and at the forward law. "
    "Energy, entropy and free energy are sums over all gates of an example."
)


def _tables(data: Report) -> Section:
    body = [table(HEAD, rows(told), "numbers", told["name"]) for told in data["networks"].values()]
    return Section("Every epoch and temperature", [note(_TABLE), *body], folded=True)
