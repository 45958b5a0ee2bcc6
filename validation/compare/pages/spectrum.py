"""What a page says of spectra: signs, symmetry and distances at every epoch, the bulk around 0, and the tails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from markupsafe import Markup

from validation.predictions.rung import MOMENT_RUNGS, rungs_of
from validation.report.markup import Section, note, number, numbers, prose, table, titled, with_error
from validation.report.source import Report
from validation.statistics.estimate import NEGLIGIBLE
from validation.statistics.extremes import LARGEST, SIDES, TAILS


def spectrum_table(data: Report) -> Markup:
    """A row per recorded epoch: extremes, signs, symmetry, and the distance of every prediction."""
    rungs = rungs_of(data)
    head = (
        "epoch",
        prose("λ_min"),
        prose("λ_max"),
        "rms",
        "negative",
        "asymmetry",
        "p",
        "skew",
        "error of L1",
        *(rung_head(rung, "L1 ") for rung in rungs),
    )
    rows = table(head, (_spectrum_row(e, rungs) for e in data["epochs"]), "numbers", "Spectrum")
    return titled("Spectrum and predictions") + note(_spectrum_note(data["epochs"])) + rows


def rung_head(rung: str, before: str = "") -> Markup:
    """A rung at the head of a column; a baseline is called one."""
    return Markup("{}{}{}").format(before, rung, Markup("<br><small>baseline</small>" * (rung in MOMENT_RUNGS)))


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
        with_error(negative["value"], negative["standard_error"]),
        with_error(mirror["value"], mirror["standard_error"]),
        number(mirror["p_value"], 2),
        with_error(mirror["skew"], mirror["skew_standard_error"]),
        _l1_error(law),
        *(f"{made[rung]['l1']:.3f}" if rung in made else number(None) for rung in rungs),
    ]


def _l1_error(law: Report) -> str:
    known = law["rms"] > 0 and law["l1_standard_error"] is not None
    return f"{law['l1_standard_error']:.3f}" if known else number(None)


def bulk_section(data: Report) -> Section | None:
    """A row per recorded epoch: distances that see the bulk around 0, prediction by prediction."""
    rungs = [r for r in rungs_of(data) if any("l1_fine" in e["predictions"].get(r, {}) for e in data["epochs"])]
    if not rungs:
        return None
    words = (
        "Most eigenvalues lie so close to 0 that the smoothing of the figures lays them on the atom "
        "there. Fine L1: the same distance, smoothed with {fine_eta:g} rms. Log distance: between the laws of log|λ| "
        "on either side of 0, from {least:g} rms on, smoothed with {width:g} in the logarithm; eigenvalues that are 0 "
        "have no part in it. Both are at most about 2. Error: the standard error of the distances beside it, from "
        "probes and from steps. Solved: what is left, at most, between the points where a law was solved, in L1 and in "
        "fine L1."
    )
    seen = next(e["spectrum"]["bulk"] for e in data["epochs"] if e["spectrum"]["bulk"]["sizes"])
    head = ("epoch", "", "error", *map(rung_head, rungs))
    rows = [row for e in data["epochs"] if e["spectrum"]["rms"] > 0 for row in _bulk_rows(e, rungs)]
    said, title = note(words.format(least=seen["sizes"][0], **seen)), "The bulk around 0"
    return Section(title, [said, table(head, rows, "numbers", title)], folded=True)


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
        numbers(p["interpolation_error"], p["fine_interpolation_error"], digits=1)
        if p.get("l1_fine") is not None and "alpha" not in p
        else number(None)
        for p in made
    ]
    return [[number(epoch["epoch"]), *row] for row in (*rows, ["solved", number(None), *errors])]


def tails_section(data: Report) -> Section | None:
    """A row per recorded epoch and threshold: eigenvalues beyond, measured and predicted; then the largest."""
    epochs = [e for e in data["epochs"] if e["spectrum"]["rms"] > 0]
    rungs = [rung for rung in rungs_of(data) if any("tails" in e["predictions"].get(rung, {}) for e in epochs)]
    if not rungs:
        return None
    n = data["network"]["n_weights"]
    rows = [row for epoch in epochs for row in _tail_rows(epoch, rungs, n)]
    words = (
        f"Numbers of eigenvalues beyond {', '.join(f'{t:g}' for t in TAILS)} rms on either side, and "
        f"the {LARGEST} largest in rms: the extreme Lanczos nodes. Of a predicted law that is solved: the expected "
        "number beyond, and where it falls to ½; such a law is symmetric. ± is the standard error from probes and "
        "steps; of a sampled rung, from its draws and steps. An error that does not show in the digits is left "
        "out."
    )
    head = ("epoch", "", "side", "measured", *map(rung_head, rungs))
    title = "Tails and outliers"
    return Section(title, [note(words), table(head, rows, "numbers", title)], folded=True)


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
    return with_error(scale * value, scale * error)
