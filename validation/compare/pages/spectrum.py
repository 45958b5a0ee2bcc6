"""What a page says of spectra: signs, symmetry and distances at every epoch, the bulk around 0, and the tails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import product
from typing import Any

from validation.predictions.rung import rungs_of
from validation.report.markup import number, table
from validation.report.source import Report
from validation.statistics.extremes import LARGEST, SIDES, TAILS

NEGLIGIBLE = 1e4  # a value over its standard error, from which on the error is not shown


def spectrum_table(data: Report) -> str:
    """A row per recorded epoch: extremes, signs, symmetry, and the distance of every prediction."""
    rungs = rungs_of(data)
    head = (
        "epoch",
        "λ<sub>min</sub>",
        "λ<sub>max</sub>",
        "rms",
        "negative",
        "asymmetry",
        "p",
        "skew",
        "error of L1",
        *(f"L1 {escape(rung)}" for rung in rungs),
    )
    return f"<h3>Spectrum and predictions</h3><p class='note'>{_spectrum_note(data['epochs'])}</p>" + table(
        head, (_spectrum_row(e, rungs) for e in data["epochs"]), "numbers", "Spectrum"
    )


def _spectrum_note(epochs: Sequence[Report]) -> str:
    patterns = max(epoch["spectrum"]["symmetry"]["patterns"] for epoch in epochs)
    least = f" ({patterns} mirrorings of the probes: no less than {1.0 / patterns:.3g})" if patterns else ""
    return (
        "Negative: share of negative eigenvalues ± standard error. Asymmetry: W1 between the spectrum and its mirror "
        "image, in rms, ± how far it may be from that of the spectrum itself. p: of the exact randomisation test of "
        f"symmetry{least}. Skew: tr H³/tr |H|³, which outliers of one sign move. Error of L1: standard error of the "
        "distances beside it, which is what two measurements like this one differ by, with other probes and another "
        "treatment of the Lanczos steps not made. L1: distance of each prediction from the measured density, at most 2."
    )


def _spectrum_row(epoch: Report, rungs: Sequence[str]) -> list[str]:
    law, made = epoch["spectrum"], epoch["predictions"]
    negative, mirror = law["fraction_negative"], law["symmetry"]
    return [
        *(number(value) for value in (epoch["epoch"], law["minimum"], law["maximum"], law["rms"])),
        _with_error(negative["value"], negative["standard_error"]),
        _with_error(mirror["value"], mirror["standard_error"]),
        number(mirror["p_value"], 2),
        _with_error(mirror["skew"], mirror["skew_standard_error"]),
        _l1_error(law),
        *(f"{made[rung]['l1']:.3f}" if rung in made else number(None) for rung in rungs),
    ]


def _with_error(value: float, error: float | None) -> str:
    return f"{number(value, 3)} ± {number(error, 2)}"


def _l1_error(law: Report) -> str:
    known = law["rms"] > 0 and law["l1_standard_error"] is not None
    return f"{law['l1_standard_error']:.3f}" if known else number(None)


def bulk_section(data: Report) -> str:
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


def tails_section(data: Report) -> str:
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
