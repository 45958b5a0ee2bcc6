"""The page of the report on the ladder: tables with standard errors, figures with captions, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from validation.predictions.rung import MOMENT_RUNGS, OWN_RUNGS, RUNGS, SOLVED_RUNGS, named, title_of
from validation.report.markup import (
    Section,
    captioned,
    code,
    figures_section,
    items,
    note,
    number,
    page,
    prose,
    sentence,
    settings,
    table,
)
from validation.report.source import Report
from validation.report.text import answered
from validation.report.verdicts import beginning

from .answer import answer, failures, standings
from .cases import rung_error

CAPTIONS = {
    "ladder_widths": (
        "Error of every rung against width. L1 (at most 2) with standard errors. R0, R1, R2, R5 and R6: each network "
        "against its own spectrum. R3 and R4w, which know the limit of wide layers, and R4, which knows other networks "
        "of these widths: against the average over {networks} networks, itself known to the dashed line only. Dotted "
        "grey: half the distance of a network's spectrum from its mirror image, below which no rung gets."
    ),
    "ladder_density": (
        "The density around E = 0, {name}. Measured and predicted, smoothed with 0.05 rms: the part where the rungs "
        "differ. Below: predicted less measured."
    ),
    "ladder_training": (
        "Through training. L1 of the rungs that see a network, each against its own spectrum, after full-batch steps "
        "(below them: the share of active examples). Dashed: how far the spectrum of one draw of fresh Gaussian "
        "weights at the same signals is from their mean, the fluctuation that no theory without the weights can tell."
    ),
}


def l1_text(estimate: Mapping[str, float] | None) -> str:
    """0.0256 ± 0.0012 as 0.026 ± 0.001; a dash where there is none."""
    if estimate is None:
        return "–"
    return f"{estimate['l1']:.3f} ± {estimate['standard_error']:.3f}"


def ladder_rows(data: Report) -> tuple[list[str], list[list[str]]]:
    """L1 of every rung in every case."""
    rungs = [r for r in RUNGS if any(
        rung_error(c, r) is not None for c in data["cases"])]  # fmt: skip
    head = ["network", "weights", *rungs, "noise", "asymmetry"]
    rows = [
        [c["name"], f"{c['weights']:,}", *(l1_text(rung_error(c, r)) for r in rungs), f"{c['average']['noise']:.3f}",
         f"{c['own']['asymmetry']:.3f}"]
        for c in data["cases"]
    ]  # fmt: skip
    return head, rows


def convergence_rows(data: Report) -> tuple[list[str], list[list[str]]]:
    """Fitted exponents."""
    rows = [
        [str(fit["depth"]), fit["rung"], ", ".join(map(str, fit["widths"])),
         f"{fit['exponent']:z.2f} ± {fit['standard_error']:.2f}".replace("-", "−")]
        for fit in data["convergence"]
    ]  # fmt: skip
    return ["L", "rung", "widths", "exponent of n"], rows


def training_rows(data: Report) -> tuple[list[str], list[list[str]]]:
    """L1 through training and the distances within the ensemble of fresh weights."""
    rungs = [r for r in OWN_RUNGS if any(r in rec["rungs"] for t in data["training"] for rec in t["records"])]
    surrogate = ("own", "draw", *SOLVED_RUNGS, "noise")
    head = ["network", "step", "active", "networks", *rungs, "own off fresh", "draw off fresh",
            *(f"{rung} off fresh" for rung in SOLVED_RUNGS), "noise of fresh"]  # fmt: skip
    rows = []
    for case in data["training"]:
        for rec in case["records"]:
            few = f" ({rec['too_few']} dead or with fewer than 2 active)" if rec["too_few"] else ""
            fresh = rec["surrogate"] or {}
            rows.append(
                [case["name"], str(rec["step"]), f"{rec['active_fraction']:.2f}", f"{rec['networks']}{few}"]
                + [l1_text(rec["rungs"].get(r)) for r in rungs]
                + [l1_text(fresh.get(key)) for key in surrogate]
            )
    return head, rows


def text_table(data: Report) -> str:
    """What the terminal shows: the answer and the table of cases."""
    head, rows = ladder_rows(data)
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([answered(answer(data)), "", lines[0], "-" * len(lines[0]), *lines[1:]])


def shown_case(data: Report) -> Report:
    """The case whose densities are drawn: of the deepest, the middle one."""
    deepest = max(c["depth"] for c in data["cases"])
    cases = [c for c in data["cases"] if c["depth"] == deepest]
    case: Report = cases[len(cases) // 2]
    return case


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    words = {"networks": data["options"]["networks"], "name": shown_case(data)["name"]}
    shown = {name: captioned(name, CAPTIONS[name].format(**words), picture) for name, picture in figures.items()}
    first = shown.pop("ladder_density", "")
    parts = [
        Section("", [*beginning(answer(data), []), first, _rungs(data), note(sentence(_summary(data)))]),
        Section("Where it fails", [items(failures(data) or [NOTHING])]),
        figures_section(list(shown.values()), data),
        _section("Every rung, at initialisation", _CASES, ladder_rows(data)),
        _section("Convergence with width", _CONVERGENCE, convergence_rows(data)),
        _section("Through training", _TRAINING, training_rows(data)),
        _left_out(data),
        settings(data),
    ]
    return page("The ladder of predicted spectra", f"Umwelt {data['version']}", parts)


NOTHING = "No rung is further from the measured spectra than the best baseline, by two standard errors."


def _rungs(data: Report) -> Markup:
    """How near every rung comes, and in how many shapes nearer than the best baseline."""
    found = standings(data)
    rows = [
        [Markup("{} <small>{}</small>").format(code(one.rung), title_of(one.rung)), prose(one.reach),
         *([number(None)] * 3 if one.rung in MOMENT_RUNGS else map(str, (one.nearer, one.further, one.undecided)))]
        for one in found
    ]  # fmt: skip
    against = next((one.rung for one in found if one.rung in MOMENT_RUNGS), "a baseline")
    title = "Shapes in which a rung is nearer than the best baseline, or further, by two standard errors"
    return table(
        ("rung", "L1 at initialisation", f"nearer than {against}", "further", "not resolved"),
        rows,
        "words standings",
        title,
    )


_CASES = (
    "L1 with its standard error on Σ c_i ∇²T(x_i), c = −y/m: all examples active. Noise: what the exact law would show "
    "against the average over the networks. Asymmetry: the floor of any mirror-symmetric prediction of one network."
)
_CONVERGENCE = "L1 ∝ n^a over constant widths; the standard error holds the scatter about the power law."
_TRAINING = (
    "The hinge's own c. Fresh: Gaussian weights of each layer's mean square in the tangent passes, signals frozen. Own "
    "and draw are distances from means of the same number of draws: alike where a network's weights are no different "
    "from fresh ones. R5 and R6 off fresh are to be held against the noise of the mean of the draws."
)


def _section(
    title: str, words: str, rows: tuple[Sequence[str], Sequence[Sequence[str]]], kind: str = "numbers"
) -> Section | None:
    return Section(title, [note(words) if words else "", table(*rows, kind, title)], folded=True) if rows[1] else None


def _left_out(data: Report) -> Section | None:
    """Rungs without a number, each with its reason."""
    places: list[tuple[str, Mapping[str, Any]]] = []
    for case in data["cases"]:
        places += [(case["name"], case[part]["left_out"]) for part in ("own", "average")]
    for case in data["training"]:
        for record in case["records"]:
            name = f"{case['name']}, step {record['step']}"
            places += [(name, record["left_out"]), (name, (record["surrogate"] or {}).get("left_out", {}))]
    rows = [[name, named(rung), why] for name, reasons in places for rung, why in reasons.items()]
    return (
        Section("Left out", [table(("network", "rung", "reason"), rows, "words", "Left out")], folded=True)
        if rows
        else None
    )


def _summary(data: Report) -> str:
    options, took = data["options"], data["seconds"]
    return (
        f"{data['dataset']}. Perceptrons at He initialisation, {options['networks']} of each shape, dense "
        f"eigenvalues, densities smoothed with {data['eta']:g} rms, L1 within 4 rms of E = 0. "
        f"Backend {data['backend']['name']} ({data['backend']['dtype']}), seed {data['seed']}. "
        f"The run took {took['total']:.0f} s, {took['cpu']:.0f} s of processor time."
    )
