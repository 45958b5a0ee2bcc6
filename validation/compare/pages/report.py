"""The report as one self-contained page: words, tables and figures from `report.json`, without matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from validation.compare.captions.entries import ENTRY_CAPTIONS
from validation.compare.captions.run import CAPTIONS, caption, facts
from validation.compare.pages.answer import answer_section, failures_section, verdicts_section
from validation.compare.pages.forecast import forecast_section
from validation.compare.pages.spectrum import bulk_section, spectrum_table, tails_section
from validation.compare.pages.stochastic import stochastic_section
from validation.compare.pages.structure import structure_section
from validation.compare.pages.whole import whole_section
from validation.predictions.rung import named
from validation.report.markup import (
    Section,
    captioned,
    figures_section,
    link,
    note,
    number,
    numbers,
    page,
    sentence,
    settings,
    table,
    titled,
    with_options,
)
from validation.report.notes import theory_section
from validation.report.source import Report, Source, content
from validation.report.theory import PAPER


def render_html(report: Source, figures: Mapping[str, str | Path | bytes] | None = None) -> str:
    """The whole report as one page that loads nothing from outside itself and runs no script.

    It begins with the answer, its picture and where the prediction fails; full tables are folded. `figures` maps names
    to SVG or PNG bytes or to paths of such files; they come in its order, captioned where `CAPTIONS` knows the name. A
    report with few epochs, or none, gives a shorter page. Raises `OSError` for a figure that cannot be read.
    """
    data = content(report)
    pictures = {
        name: source if isinstance(source, bytes) else Path(source).read_bytes()
        for name, source in (figures or {}).items()
    }
    parts = [
        answer_section(data, pictures.pop("headline", None)),
        failures_section(data),
        _run(data),
        figures_section([captioned(name, _words(name, data), picture) for name, picture in pictures.items()], data),
        verdicts_section(data),
        theory_section(data["claims"]),
        _epochs(data),
        stochastic_section(data),
        forecast_section(data),
        bulk_section(data),
        tails_section(data),
        structure_section(data),
        whole_section(data),
        _symmetry_tests(data),
        _approximated(data),
        _left_out(data),
        settings(data),
    ]
    title = f"{data['network']['name']} on {data['dataset']['name']}"
    return page(title, f"Umwelt {data.get('version', '')}", parts)


def _words(name: str, data: Report) -> str:
    return caption(name, data) if name in CAPTIONS | ENTRY_CAPTIONS and data["epochs"] else name


def _run(data: Report) -> Section:
    """What was run, in words; counts and classes of the data stand in the sentence of their source."""
    network, training, backend = data["network"], data["training"], data["backend"]
    hot = training.get("temperature")
    gates = f", gates drawn at temperature {hot:g}" if hot else ""
    text = (
        f"{network['name']} ({network['n_layers']} weight layers, N = {network['n_weights']:,} weights, "
        f"{_start(network)}) is trained by stochastic gradient descent on the {data['loss']} "
        f"loss: {training['epochs']} epochs, batches of {training['batch_size']}, learning rate "
        f"{training['learning_rate']:g}{_drops(training)}, momentum {training['momentum']:g}{gates}. The Hessian's "
        f"spectrum is measured and predicted on {data['dataset']['spectrum_examples']:,} of the training examples. "
        f"Backend {backend['name']} ({backend['dtype']}{', convolutions in TF32' * backend['tf32']}), "
        f"seed {data['seed']}."
    )
    if data["epochs"]:
        text += (
            " From the first recorded epoch, {first}, to the last, {last}, the risk goes from {risk_first} to "
            "{risk_last} and the accuracy from {accuracy_first} to {accuracy_last}."
        ).format_map(facts(data))
    source = f"Data: {str(data['dataset']['source']).rstrip('.')}."
    paper = sentence("The claims are those of ") + link("arXiv:2201.07934", PAPER) + "."
    return Section("The run", [note(sentence(text), "lead"), note(sentence(source)), note(paper)])


def _drops(training: Report) -> str:
    drops = ", ".join(map(str, training.get("rate_drops", ())))
    return f" (a tenth after epoch {drops})" if drops else ""


def _start(network: Report) -> str:
    """Where the weights of epoch 0 come from."""
    if network["weights"] is None:
        return f"{network['init']} initialisation"
    file = network["weights"]
    return f"at epoch 0 those of the file {file['file']} (SHA-256 {file['sha256']}), {file['order']}"


def _epochs(data: Report) -> Section | None:
    """Two tables with a row per recorded epoch: of the training, and of the spectrum with its predictions."""
    if not data["epochs"]:
        return None
    silent = data.get("silent", [])
    seen = sorted([*data["epochs"], *silent], key=itemgetter("epoch"))
    training = ("epoch", "risk", "accuracy", "test", "active", "order parameter", "growth", "dead layers")
    words = (
        "Active: share of examples with a non-zero loss gradient. Order parameter: squared norm of the gradient. "
        "Growth: smallest and largest factor by which a layer changes the size of the signals; 1 is the edge of chaos."
        f"{_not_again(silent)}"
    )
    rows = table(training, map(_training_row, seen), "numbers", "Training")
    return Section("Recorded epochs", [titled("Training"), note(words), rows, spectrum_table(data)], folded=True)


def _not_again(silent: Sequence[Report]) -> str:
    if not silent:
        return ""
    at = ", ".join(str(record["epoch"]) for record in silent)
    return (
        f" From epoch {silent[0]['since']} on no example was active, in training neither: the gradient is 0, H = 0, "
        f"and nothing more was measured at epoch {at}."
    )


def _training_row(epoch: Report) -> list[str]:
    growth = [c for c in epoch.get("growth", []) if c is not None]
    keys = ("epoch", "risk", "accuracy", "test_accuracy", "active_fraction", "order_parameter")
    spread = f"{min(growth):.2f}–{max(growth):.2f}" if growth else number(None)
    return [*(number(epoch[key]) for key in keys), spread, number(epoch.get("dead_layers"))]


def _symmetry_tests(data: Report) -> Section | None:
    """A row per kind of law: how often symmetry is rejected, beside the size of what is broken."""
    found = data["symmetry_tests"]
    if not found["tests"]:
        return None
    words = (
        "D = sup_t |F(t) - (1 - F(-t))| against its null law (given |x| the signs are fair coins). Rejected: at false "
        f"discovery rate {100 * found['level']:g} % over all {len(found['tests'])} tests ({found['method']}). The "
        "p-values take the entries of a sample for independent, as circuits drawn from one network are, and trained "
        "weights and gradient entries are not. Large samples reject whatever the size: claims are judged on the broken "
        "symmetry, ½∫|p(w)-p(-w)|dw, less its value for a symmetrised sample."
    )
    head = ("law", "tests", "rejected", "D", "smallest adjusted p", "broken symmetry less null")
    rows = [_kind_row(kind, summary) for kind, summary in found["kinds"].items()]
    shown = table(head, rows, "numbers", "Tests of symmetry")
    return Section("Tests of symmetry", [note(words), shown], folded=True)


def _kind_row(kind: str, summary: Report) -> list[str]:
    statistic, excess = (numbers(*summary[key], digits=2, between=" to ") for key in ("statistic", "excess"))
    counts = (number(summary[key]) for key in ("tests", "rejected"))
    return [kind, *counts, statistic, number(summary["smallest_adjusted"]), excess]


def _approximated(data: Report) -> Section | None:
    """Predictions made affordable, with what was left out."""
    said = [
        (rung, word, epoch["epoch"])
        for epoch in data["epochs"]
        for rung, made in epoch["predictions"].items()
        for word in made.get("approximations", ())
    ]
    return _by_rung("Predictions approximated", "approximation", said)


def _left_out(data: Report) -> Section | None:
    """Predictions that were not made, with the reason."""
    said = (
        [
            (rung, str(reason), epoch["epoch"])
            for epoch in data["epochs"]
            for rung, reason in epoch.get("left_out", {}).items()
        ]
        + [
            (rung, f"fine L1 and log distance only: {made['bulk_left_out']}", epoch["epoch"])
            for epoch in data["epochs"]
            for rung, made in epoch["predictions"].items()
            if "bulk_left_out" in made
        ]
        + [
            (rung, f"tails only: {made['tails_left_out']}", epoch["epoch"])
            for epoch in data["epochs"]
            for rung, made in epoch["predictions"].items()
            if "tails_left_out" in made
        ]
    )
    return _by_rung("Predictions left out", "reason", said)


def _by_rung(title: str, what: str, said: Iterable[tuple[str, str, object]]) -> Section | None:
    """A table of what is said of (rung, words, epoch), epochs with the same words together."""
    together: dict[tuple[str, str], list[str]] = {}
    for rung, words, epoch in said:
        together.setdefault((rung, words), []).append(str(epoch))
    rows = [[named(rung), ", ".join(at), with_options(words)] for (rung, words), at in sorted(together.items())]
    return Section(title, [table(("rung", "epochs", what), rows, "words", title)], folded=True) if rows else None
