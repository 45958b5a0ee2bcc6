"""The joint report of several seeds: tables of means with standard errors, claims with their counts."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from validation.compare.answer import answer
from validation.compare.pages.spectrum import rung_head
from validation.predictions.rung import in_order, title_of
from validation.report.markup import (
    Section,
    banner,
    captioned,
    code,
    figures_section,
    note,
    number,
    page,
    prose,
    sentence,
    settings,
    table,
    titled,
)
from validation.report.notes import theory_section
from validation.report.source import Report
from validation.report.verdicts import judged
from validation.statistics.estimate import written

CAPTION = (
    "Risk and errors of the predictions over {count} seeds. Above: the risk at the recorded epochs, a thin line for "
    "every seed, markers their mean. Below: L1 (at most 2) between measured and predicted density, means over seeds "
    "with standard errors; each network against its own spectrum."
)
HEAD = ("epoch", "risk", "accuracy", "test accuracy", "||∇R||²", "active", "rms", "λ_min/rms", "λ_max/rms", "negative",
        "W1 to mirror", "m3")  # fmt: skip
COLUMNS = (
    ("risk", ".3g"), ("accuracy", ".4f"), ("test_accuracy", ".4f"), ("order_parameter", ".3g"),
    ("active_fraction", ".3f"), ("rms", ".3g"), ("smallest", ".1f"), ("largest", ".1f"), ("fraction_negative", ".3f"),
    ("mirror", ".4f"), ("m3", ".2f"),
)  # fmt: skip


def render_seeds(data: Report, figures: Mapping[str, bytes]) -> str:
    """The joint report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    count = len(data["seeds"])
    shown = [captioned(name, CAPTION.format(count=count), picture) for name, picture in figures.items()]
    means = "Means over seeds ± standard errors. Eigenvalues, shares and symmetry: over the networks with H ≠ 0."
    epochs = table(map(prose, HEAD), [_row(e) for e in data["epochs"]], "numbers", "Recorded epochs")
    parts = [
        Section("", [_diverged(data), note(f"{answer(data)}.", "answer"), note(sentence(_summary(data)))]),
        figures_section(shown, data),
        judged(data["claims"], "A claim over seeds is supported only where it is for every seed.", _against(data)),
        theory_section(data["claims"]),
        Section("Recorded epochs", [note(means), epochs], folded=True),
        _predictions(data),
        settings(data),
    ]
    title = f"{data['network']['name']} on {data['dataset']['name']}, {count} seeds"
    return page(title, f"Umwelt {data['version']}", parts)


def _row(epoch: Report) -> list[str]:
    return [str(epoch["epoch"]), *(written(epoch[key], digits) for key, digits in COLUMNS)]


def _predictions(data: Report) -> Section | None:
    rungs = in_order({rung for e in data["epochs"] for rung in e["predictions"]})
    if not rungs:
        return None
    body = [
        [str(e["epoch"]), *(written(e["predictions"].get(rung, {}).get("l1"), ".3f") for rung in rungs)]
        for e in data["epochs"]
    ]
    head = ["epoch", *(rung_head(rung) for rung in rungs)]
    named = note(", ".join(f"{rung}: {title_of(rung)}" for rung in rungs) + ".")
    return Section("L1 of the predictions", [named, table(head, body, "numbers", "L1")], folded=True)


def _against(data: Report) -> Markup:
    rows = [[code(c["id"]), number(example)] for c in data["claims"] for example in c["against"]]
    if not rows:
        return Markup()
    return titled("Seeds that speak against a claim") + table(("id", "measured"), rows, "words", "Against")


def _diverged(data: Report) -> str:
    if not data["diverged"]:
        return ""
    return banner("Left out, training diverged:", f"{data['diverged']}.")


def _summary(data: Report) -> str:
    network, backend = data["network"], data["backend"]
    return (
        f"{network['name']} ({network['n_layers']} weight layers, N = {network['n_weights']:,} weights), "
        f"{data['loss']} loss, the same comparison with seeds {', '.join(map(str, data['seeds']))}: data, "
        f"weights and batches drawn anew. Reports of single seeds are in the folders seed-K. "
        f"{data['dataset']['source']}. Backend {backend['name']} ({backend['dtype']})."
    )
