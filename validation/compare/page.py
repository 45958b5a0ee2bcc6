"""The report as one self-contained page: words, tables and figures from `report.json`, without matplotlib."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

from validation.compare.captions.entries import ENTRY_CAPTIONS
from validation.compare.captions.run import CAPTIONS, caption, facts
from validation.compare.structure_page import structure_section
from validation.predictions.rung import named, rungs_of
from validation.report.markup import (
    captioned,
    figures_section,
    number,
    page,
    sentence,
    settings,
    table,
    verdicts,
    with_options,
)
from validation.report.source import Report, Source, content
from validation.statistics.extremes import LARGEST, SIDES, TAILS

NEGLIGIBLE = 1e4  # a value over its standard error, from which on the error is not shown


def render_html(report: Source, figures: Mapping[str, str | Path | bytes] | None = None) -> str:
    """The whole report as one page that refers to nothing outside itself and runs no script.

    `figures` maps names to PNG bytes or to paths of PNG files; they come in its order, captioned where
    `CAPTIONS` knows the name. A report with few epochs, or none, gives a shorter page. Raises `OSError` for a
    figure that cannot be read.
    """
    data = content(report)
    title = f"{data['network']['name']} on {data['dataset']['name']}"
    parts = [
        _summary(data),
        _verdicts(data),
        _figures(data, figures or {}),
        _epochs(data),
        _bulk(data),
        _tails(data),
        structure_section(data),
        _symmetry_tests(data),
        _approximated(data),
        _left_out(data),
        settings(data),
    ]
    return page(title, f"Umwelt {data.get('version', '')}", parts)


def _summary(data: Report) -> str:
    """What was run, in words; counts and classes of the data stand in the sentence of their source."""
    network, training, backend = data["network"], data["training"], data["backend"]
    text = (
        f"{network['name']} ({network['n_layers']} weight layers, N = {network['n_weights']:,} weights, "
        f"{_start(network)}) is trained by stochastic gradient descent on the {data['loss']} "
        f"loss: {training['epochs']} epochs, batches of {training['batch_size']}, learning rate "
        f"{training['learning_rate']:g}, momentum {training['momentum']:g}. The Hessian's spectrum is measured "
        f"and predicted on {data['dataset']['spectrum_examples']:,} of the training examples. Backend "
        f"{backend['name']} ({backend['dtype']}{', convolutions in TF32' * backend['tf32']}), seed {data['seed']}."
    )
    if data["epochs"]:
        text += (
            " From the first recorded epoch, {first}, to the last, {last}, the risk goes from {risk_first} to "
            "{risk_last} and the accuracy from {accuracy_first} to {accuracy_last}."
        ).format_map(facts(data))
    banner = ""
    if not data.get("complete", True):
        done = ", ".join(str(e["epoch"]) for e in data["epochs"]) or "none"
        banner = f"<p class='banner'><strong>Not finished.</strong> Recorded epochs: {escape(done)}.</p>"
    source = f"Data: {str(data['dataset']['source']).rstrip('.')}."
    return f"<section>{banner}<p class='lead'>{escape(text)}</p><p class='note'>{sentence(source)}</p></section>"


def _start(network: Report) -> str:
    """Where the weights of epoch 0 come from."""
    if network["weights"] is None:
        return f"{network['init']} initialisation"
    file = network["weights"]
    return f"at epoch 0 those of the file {file['file']} (SHA-256 {file['sha256']}), {file['order']}"


def _verdicts(data: Report) -> str:
    claims = data.get("claims", [])
    groups: dict[str, list[Report]] = {"Exact facts": [], "Claims of the paper": []}
    for claim in claims:
        # A suffix marks a claim that only leans on a fact (M1.growth).
        exact = re.fullmatch(r"[ESM]\d+", claim["id"])
        groups["Exact facts" if exact else "Claims of the paper"].append(claim)
    if not claims:
        return "<section><h2>Verdicts</h2><p>No claim has been judged yet.</p></section>"
    tables = [verdicts(members, name) for name, members in groups.items()]
    note = (
        "<p class='note'>Exact facts hold to rounding or within their tolerance; one that fails is a "
        "bug. Claims of the paper are put to the test; one that is not supported is reported so.</p>"
    )
    return "<section><h2>Verdicts</h2>" + note + "".join(tables) + "</section>"


def _figures(data: Report, figures: Mapping[str, str | Path | bytes]) -> str:
    shown = []
    for name, source in figures.items():
        png = source if isinstance(source, bytes) else Path(source).read_bytes()
        words = caption(name, data) if name in CAPTIONS | ENTRY_CAPTIONS and data["epochs"] else name
        shown.append(captioned(name, words, png))
    return figures_section("".join(shown), data)


def _epochs(data: Report) -> str:
    """Two tables with a row per recorded epoch: of the training, and of the spectrum with its predictions."""
    if not data["epochs"]:
        return ""
    rungs = rungs_of(data)
    training = ("epoch", "risk", "accuracy", "test", "active", "order parameter", "growth", "dead layers")
    spectrum = (
        "epoch",
        "λ<sub>min</sub>",
        "λ<sub>max</sub>",
        "rms",
        "negative",
        "asymmetry",
        "error of L1",
        *(f"L1 {escape(rung)}" for rung in rungs),
    )
    return (
        "<section><h2>Recorded epochs</h2><h3>Training</h3>"
        "<p class='note'>Active: share of examples with a non-zero loss gradient. Order parameter: squared "
        "norm of the gradient. Growth: smallest and largest factor by which a layer changes the size of the "
        "signals; 1 is the edge of chaos.</p>"
        + table(training, map(_training_row, data["epochs"]), "numbers", "Training")
        + "<h3>Spectrum and predictions</h3>"
        f"<p class='note'>{_spectrum_note(data['epochs'])}</p>"
        + table(spectrum, (_spectrum_row(e, rungs) for e in data["epochs"]), "numbers", "Spectrum")
        + "</section>"
    )


def _spectrum_note(epochs: Sequence[Report]) -> str:
    patterns = max(epoch["spectrum"]["symmetry"]["patterns"] for epoch in epochs)
    null = f", from {patterns} mirrorings of the probes" if patterns else ""
    return (
        "Negative: share of negative eigenvalues ± standard error. Asymmetry: W1 between the spectrum and its "
        f"mirror image, in rms (in brackets: the 95 % point of its null{null}). Error of L1: the standard error "
        "of the distances beside it, which is what two measurements like this one differ by, with other probes and "
        "another treatment of the Lanczos steps not made. L1: distance of each prediction from the measured density, "
        "at most 2."
    )


def _training_row(epoch: Report) -> list[str]:
    growth = [c for c in epoch.get("growth", []) if c is not None]
    keys = ("epoch", "risk", "accuracy", "test_accuracy", "active_fraction", "order_parameter")
    spread = f"{min(growth):.2f}–{max(growth):.2f}" if growth else number(None)
    return [*(number(epoch[key]) for key in keys), spread, number(epoch.get("dead_layers"))]


def _spectrum_row(epoch: Report, rungs: Sequence[str]) -> list[str]:
    law, made = epoch["spectrum"], epoch["predictions"]
    negative, mirror = law["fraction_negative"], law["symmetry"]
    return [
        *(number(value) for value in (epoch["epoch"], law["minimum"], law["maximum"], law["rms"])),
        f"{number(negative['value'])} ± {number(negative['standard_error'])}",
        f"{number(mirror['value'])} ({number(mirror['null_95'])})",
        _l1_error(law),
        *(f"{made[rung]['l1']:.3f}" if rung in made else number(None) for rung in rungs),
    ]


def _l1_error(law: Report) -> str:
    known = law["rms"] > 0 and law["l1_standard_error"] is not None
    return f"{law['l1_standard_error']:.3f}" if known else number(None)


def _bulk(data: Report) -> str:
    """A row per recorded epoch: distances that see the bulk around 0, prediction by prediction."""
    rungs = [r for r in rungs_of(data) if any("l1_fine" in e["predictions"].get(r, {}) for e in data["epochs"])]
    if not rungs:
        return ""
    note = (
        "<p class='note'>Most eigenvalues lie so close to 0 that the smoothing of the figures lays them on the atom "
        "there. Fine L1: the same distance, smoothed with {fine_eta:g} rms. Log distance: between the laws of log|λ| "
        "on either side of 0, from {least:g} rms on, smoothed with {width:g} in the logarithm; eigenvalues that are 0 "
        "have no part in it. Both are at most about 2. Error: the standard error of the distances beside it, from "
        "probes and from steps. Solved: what is left, at most, between the points where a law was solved, in L1 and in "
        "fine L1.</p>"
    )
    seen = next(e["spectrum"]["bulk"] for e in data["epochs"] if e["spectrum"]["bulk"]["sizes"])
    head = ("epoch", "", "error", *(escape(rung) for rung in rungs))
    rows = [row for e in data["epochs"] if e["spectrum"]["rms"] > 0 for row in _bulk_rows(e, rungs)]
    said = note.format(least=seen["sizes"][0], **seen)
    return f"<section><h2>The bulk around 0</h2>{said}{table(head, rows, 'numbers', 'The bulk around 0')}</section>"


def _bulk_rows(epoch: Report, rungs: Sequence[str]) -> list[list[str]]:
    made, law = [epoch["predictions"].get(rung, {}) for rung in rungs], epoch["spectrum"]["bulk"]
    rows = [
        [name, number(law[error], 2), *(number(p.get(key), 3) for p in made)]
        for name, error, key in (
            ("fine L1", "l1_fine_standard_error", "l1_fine"),
            ("log distance", "log_standard_error", "log_distance"),
        )
    ]
    errors = [
        f"{number(p['interpolation_error'], 1)}, {number(p['fine_interpolation_error'], 1)}"
        if p.get("l1_fine") is not None and "alpha" not in p
        else number(None)
        for p in made
    ]
    return [[number(epoch["epoch"]), *row] for row in (*rows, ["solved", number(None), *errors])]


def _tails(data: Report) -> str:
    """A row per recorded epoch and threshold: eigenvalues beyond, measured and predicted; then the largest."""
    epochs = [e for e in data["epochs"] if e["spectrum"]["rms"] > 0]
    rungs = [rung for rung in rungs_of(data) if any("tails" in e["predictions"].get(rung, {}) for e in epochs)]
    if not rungs:
        return ""
    n = data["network"]["n_weights"]
    rows = [row for epoch in epochs for row in _tail_rows(epoch, rungs, n)]
    note = (
        f"<p class='note'>Numbers of eigenvalues beyond {', '.join(f'{t:g}' for t in TAILS)} rms on either side, and "
        f"the {LARGEST} largest in rms: the extreme Lanczos nodes. Of a predicted law that is solved: the expected "
        "number beyond, and where it falls to ½; such a law is symmetric. ± is the standard error from probes and "
        "steps; of a sampled rung, from its draws and steps. An error that does not show in the digits is left "
        "out.</p>"
    )
    head = ("epoch", "", "side", "measured", *(escape(rung) for rung in rungs))
    return f"<section><h2>Tails and outliers</h2>{note}{table(head, rows, 'numbers', 'Tails and outliers')}</section>"


def _tail_rows(epoch: Report, rungs: Sequence[str], n: int) -> list[list[str]]:
    law = epoch["spectrum"]
    made = [epoch["predictions"].get(rung, {}).get("tails") for rung in rungs]
    rows = []
    for index, threshold in enumerate(law["tails"]["thresholds"]):
        for side in SIDES:
            counted = _estimated(law["tails"][side][index], n)
            expected = (_estimated(None if tails is None else tails[side][index]) for tails in made)
            rows.append([number(epoch["epoch"]), f"beyond {threshold:g} rms", side, counted, *expected])
    for rank, side in product(range(LARGEST), SIDES):
        laws = [law["largest"], *({} if tails is None else tails["largest"] for tails in made)]
        cells = [_estimated(dict(enumerate(one.get(side, []))).get(rank)) for one in laws]
        rows.append([number(epoch["epoch"]), f"largest, no. {rank + 1}", side, *cells])
    return rows


def _estimated(found: Mapping[str, Any] | None, scale: float = 1.0) -> str:
    """scale · (a value ± its standard error, where there is one)."""
    if found is None:
        return number(None)
    error, value = found["standard_error"], found["value"]
    if error is None or error < abs(value) / NEGLIGIBLE:
        return number(scale * value, 3)
    return f"{number(scale * value, 3)} ± {number(scale * error, 2)}"


def _symmetry_tests(data: Report) -> str:
    """A row per kind of law: how often symmetry is rejected, beside the size of what is broken."""
    found = data["symmetry_tests"]
    if not found["tests"]:
        return ""
    note = (
        "<p class='note'>D = sup<sub>t</sub> |F(t) − (1 − F(−t))| against its null law (given |x| the signs are fair "
        f"coins). Rejected: at false discovery rate {100 * found['level']:g} % over all {len(found['tests'])} tests "
        f"({escape(found['method'])}). The p-values take the entries of a sample for independent, as circuits drawn "
        "from one network are, and trained weights and gradient entries are not. Large samples reject whatever the "
        "size: claims are judged on the broken symmetry, ½∫|p(w)−p(−w)|dw, less its value for a symmetrised sample.</p>"
    )
    head = ("law", "tests", "rejected", "D", "smallest adjusted p", "broken symmetry less null")
    rows = [_kind_row(kind, summary) for kind, summary in found["kinds"].items()]
    return f"<section><h2>Tests of symmetry</h2>{note}{table(head, rows, 'numbers', 'Tests of symmetry')}</section>"


def _kind_row(kind: str, summary: Report) -> list[str]:
    statistic, excess = (" to ".join(number(end, 2) for end in summary[key]) for key in ("statistic", "excess"))
    counts = (number(summary[key]) for key in ("tests", "rejected"))
    return [escape(kind), *counts, statistic, number(summary["smallest_adjusted"]), excess]


def _approximated(data: Report) -> str:
    """Predictions made affordable, with what was left out."""
    said = [
        (rung, word, epoch["epoch"])
        for epoch in data["epochs"]
        for rung, made in epoch["predictions"].items()
        for word in made.get("approximations", ())
    ]
    return _by_rung("Predictions approximated", "approximation", said)


def _left_out(data: Report) -> str:
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


def _by_rung(title: str, what: str, said: Sequence[tuple[str, str, object]]) -> str:
    """A table of what is said of (rung, words, epoch), epochs with the same words together."""
    together: dict[tuple[str, str], list[str]] = {}
    for rung, words, epoch in said:
        together.setdefault((rung, words), []).append(str(epoch))
    rows = [
        [escape(named(rung)), escape(", ".join(at)), with_options(words)]
        for (rung, words), at in sorted(together.items())
    ]
    if not rows:
        return ""
    return f"<section><h2>{title}</h2>{table(('rung', 'epochs', what), rows, 'words', title)}</section>"
