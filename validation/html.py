"""The report as one self-contained page: words, tables and figures from `report.json`, without matplotlib.

The words that go with the figures (`CAPTIONS`, `caption`, `RUNG_NAMES`) live here: they need no drawing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]

RUNG_NAMES = {
    "R0": "semicircle",
    "R1": "layer blocks",
    "R2": "separable profile",
    "R3": "arc-cosine kernels",
    "R4": "linearised equation",
    "R5": "measured signals",
}
CAPTIONS = {
    "risk_accuracy": "Risk and accuracy (fig. 8b). Markers: all {examples} training examples at the recorded epochs, "
    "squares the test set if there is one. Thin line: mean over the mini-batches of each epoch, taken"
    " while the weights move and drawn at the middle of the epoch. From epoch {first} to {last} the "
    "risk goes from {risk_first} to {risk_last} and the accuracy from {accuracy_first} to "
    "{accuracy_last}.",
    "order_parameter": "Order parameter and risk (fig. 4b). The squared norm of the gradient times the learning rate "
    "{rate} is, to first order, the risk that one step of plain gradient descent removes. The paper "
    "finds it in proportion to the risk and about one decade below it (dotted). Here the ratio is "
    "{ratio}.",
    "spectrum": "Hessian spectrum, measured and predicted (fig. 8a). Energies are in units of the rms eigenvalue;"
    " the axis is linear within 0.2 rms and logarithmic beyond. Black: measured by stochastic Lanczos"
    " quadrature on {spectrum_examples} examples with {probes} probes; grey band: one standard error "
    "over probes. Colours: predictions, each with its L1 distance over the shaded range of 4 rms. All"
    " densities are smoothed with the same width, {eta} rms. {resolution} A good prediction has both "
    "the peak at 0 and the tails. {best}",
    "spectrum_overlay": "Hessian spectrum through training (fig. 8a as in the paper). Measured densities in absolute "
    "energies, each smoothed with {eta} of its own rms, one colour per epoch. As the risk goes from "
    "{risk_first} to {risk_last} the rms goes from {rms_first} to {rms_last}: as the risk vanishes "
    "the spectrum should collapse to 0.{zero}",
    "prediction_error": "Error of each prediction. L1 distance (at most 2) between predicted and measured density. All "
    "rungs predict mirror-symmetric densities, so none can get below half the distance of the "
    "measured one from its mirror image (grey). Dotted: the distance that the probes' standard error "
    "alone would give the exact answer.{unresolved} {best}",
    "symmetry": "Broken symmetry of weights and gradient (figs. 3a, 4a). Each cell is half the integral of "
    "|p(w)−p(−w)| over the law of one layer, less the value for a symmetrised sample of the same "
    "size: near 0, or below, the symmetry is intact; 1 is the most that can break. Grey: gradient "
    "exactly 0. Largest: weights {weights_most}; gradient {gradient_most}.",
}


def content(report: object) -> Report:
    """The mapping that `report` is, or that it carries as `data`. Raises `TypeError` for anything else."""
    data = getattr(report, "data", report)
    if not isinstance(data, Mapping):
        raise TypeError(f"expected a report or an object with a `data` mapping, got {type(report).__name__}")
    return data


def caption(name: str, report: object) -> str:
    """What the figure `name` shows, as plain text with the report's numbers. `KeyError`: no such figure."""
    return CAPTIONS[name].format_map(_facts(content(report))).strip()


def rungs_of(report: Report) -> list[str]:
    """Every rung with a prediction at some recorded epoch, in order."""
    return sorted({rung for epoch in report.get("epochs", []) for rung in epoch["predictions"]})


def render_html(report: object, figures: Mapping[str, str | Path | bytes] | None = None) -> str:
    """The whole report as one page that refers to nothing outside itself and runs no script.

    `figures` maps names to PNG bytes or to paths of PNG files; they come in its order, captioned where
    `CAPTIONS` knows the name. A report with few epochs, or none, gives a shorter page. Raises `OSError` for a
    figure that cannot be read.
    """
    data = content(report)
    title = f"{data['network']['name']} on {data['dataset']['name']}"
    parts = [
        f"<header><p class='kicker'>Umwelt {escape(str(data.get('version', '')))}</p><h1>{escape(title)}</h1></header>",
        _summary(data),
        _verdicts(data),
        _figures(data, figures or {}),
        _epochs(data),
        _left_out(data),
        _settings(data),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _facts(data: Report) -> dict[str, str]:
    """The numbers that captions mention, as text."""
    epochs: Sequence[Report] = data["epochs"]
    first, last, training = epochs[0], epochs[-1], data["training"]
    zero = [str(e["epoch"]) for e in epochs if e["spectrum"]["rms"] == 0]
    gap = max(_node_gap(e["spectrum"]) for e in epochs)
    # On the digits the measured density was 0.003 (in L1) from its limit at a gap of eta, 0.05 at twice that,
    # 0.3 at six times; its standard error stayed ten times smaller.
    unresolved = (
        ""
        if gap <= data["eta"]
        else (
            " That is wider than the smoothing: with so few Lanczos steps the measured density, and with it "
            "every L1, is not converged, which no standard error shows."
        )
    )
    ratios = [training["learning_rate"] * e["order_parameter"] / e["risk"] for e in epochs if e["risk"] > 0]
    return {
        "examples": f"{data['dataset']['examples']:,}",
        "eta": f"{data['eta']:g}",
        "spectrum_examples": f"{data['dataset']['spectrum_examples']:,}",
        "probes": str(max(len(e["spectrum"]["nodes"]) for e in epochs)),
        "rate": f"{training['learning_rate']:g}",
        "first": str(first["epoch"]),
        "last": str(last["epoch"]),
        "ratio": f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios else "not defined, the risk being 0",
        "zero": f" No example is active at epoch {', '.join(zero)}: there H is exactly 0." if zero else "",
        "resolution": f"Near 0 the Lanczos nodes lie up to {gap:.2g} rms apart.{unresolved}",
        "unresolved": f" Lanczos nodes lie up to {gap:.2g} rms apart.{unresolved}" if unresolved else "",
        "best": _best(data),
        "weights_most": _most(epochs, "weight_symmetry"),
        "gradient_most": _most(epochs, "gradient_symmetry"),
        "rms_first": f"{first['spectrum']['rms']:.2g}",
        "rms_last": f"{last['spectrum']['rms']:.2g}",
        **{
            f"{key}_{when}": f"{epoch[key]:.3g}"
            for key in ("risk", "accuracy")
            for when, epoch in (("first", first), ("last", last))
        },
    }


def _node_gap(law: Report) -> float:
    """Largest over probes of the mean distance, in rms, of the Lanczos nodes within one rms of 0.

    Probes whose recurrence broke down (padded with node 0, weight 0) are exact and do not count.
    """
    gaps = [
        2 / max(1, sum(abs(node) < law["rms"] for node in nodes))
        for nodes, weights in zip(law["nodes"], law["weights"], strict=True)
        if (0.0, 0.0) not in zip(nodes, weights, strict=True)
    ]
    return max(gaps, default=0.0)


def _best(data: Report) -> str:
    """A sentence on the rung with the smallest mean L1."""
    distances: dict[str, list[float]] = {}
    for epoch in data["epochs"]:
        for rung, prediction in epoch["predictions"].items():
            distances.setdefault(rung, []).append(prediction["l1"])
    if not distances:
        return "No prediction was made at the recorded epochs."
    rung = min(distances, key=lambda r: sum(distances[r]) / len(distances[r]))
    low, high = min(distances[rung]), max(distances[rung])
    return f"The closest on average is {_named(rung)}, with L1 from {low:.3f} to {high:.3f}."


def _named(rung: str) -> str:
    return f"{rung} ({RUNG_NAMES[rung]})" if rung in RUNG_NAMES else rung


def _most(epochs: Sequence[Report], key: str) -> str:
    cells = [
        (m["value"] - (m["null"] or 0), layer, e["epoch"])
        for e in epochs
        for layer, m in enumerate(e[key], 1)
        if m["value"] is not None
    ]
    return "{:.2f} (layer {}, epoch {})".format(*max(cells)) if cells else "not defined"


def _summary(data: Report) -> str:
    names, network, training, backend = data["dataset"], data["network"], data["training"], data["backend"]
    shape = " by ".join(map(str, names["input_shape"]))
    held_out = f"{names['test_examples']:,} more for testing" if names.get("test_examples") else "no test set"
    text = (
        f"{network['name']} ({network['n_layers']} weight layers, N = {network['n_weights']:,} weights, "
        f"{network['init']} initialisation) is trained to tell {_list(names['negative'])} (label −1) from "
        f"{_list(names['positive'])} (label +1) on {names['examples']:,} examples of {names['name']} "
        f"(input {shape}), with {held_out}. Stochastic gradient descent on the "
        f"{data['loss']} loss: {training['epochs']} epochs, batches of {training['batch_size']}, learning "
        f"rate {training['learning_rate']:g}, momentum {training['momentum']:g}. The Hessian's spectrum is "
        f"measured and predicted on {names['spectrum_examples']:,} of the examples. Backend "
        f"{backend['name']} ({backend['dtype']}), seed {data['seed']}."
    )
    if data["epochs"]:
        text += (
            " From the first recorded epoch, {first}, to the last, {last}, the risk goes from "
            "{risk_first} to {risk_last}."
        ).format_map(_facts(data))
    banner = ""
    if not data.get("complete", True):
        done = ", ".join(str(e["epoch"]) for e in data["epochs"]) or "none"
        banner = f"<p class='banner'><strong>Not finished.</strong> Recorded epochs: {escape(done)}.</p>"
    source = f"<p class='note'>Data: {escape(str(names['source']))}</p>"
    return f"<section>{banner}<p class='lead'>{escape(text)}</p>{source}</section>"


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def _verdicts(data: Report) -> str:
    claims = data.get("claims", [])
    groups: dict[str, list[Report]] = {"Exact facts": [], "Claims of the paper": []}
    for claim in claims:
        # A suffix marks a claim that only leans on a fact (M1.growth).
        exact = re.fullmatch(r"[ESM]\d+", claim["id"])
        groups["Exact facts" if exact else "Claims of the paper"].append(claim)
    if not claims:
        return "<section><h2>Verdicts</h2><p>No claim has been judged yet.</p></section>"
    tables = [
        f"<h3>{name} <small>{_tally(members)}</small></h3>"
        + _table(
            ("id", "verdict", "claim", "measured", "expected", "source"), map(_claim_row, members), "words claims", name
        )
        for name, members in groups.items()
        if members
    ]
    note = (
        "<p class='note'>Exact facts hold to rounding or within their tolerance; one that fails is a "
        "bug. Claims of the paper are put to the test; one that is not supported is reported so.</p>"
    )
    return "<section><h2>Verdicts</h2>" + note + "".join(tables) + "</section>"


def _claim_row(claim: Report) -> list[str]:
    kind = {"holds": "good", "supported": "good", "not supported": "bad"}.get(claim["verdict"], "none")
    verdict = f'<span class="verdict {kind}">{escape(claim["verdict"])}</span>'
    rest = (number(claim.get(key), 4) for key in ("claim", "measured", "expected", "source"))
    return [f"<code>{escape(claim['id'])}</code>", verdict, *rest]


def _tally(claims: Sequence[Report]) -> str:
    counts: dict[str, int] = {}
    for claim in claims:
        counts[claim["verdict"]] = counts.get(claim["verdict"], 0) + 1
    return escape(", ".join(f"{verdict}: {count}" for verdict, count in counts.items()))


def _figures(data: Report, figures: Mapping[str, str | Path | bytes]) -> str:
    shown = []
    for name, source in figures.items():
        png = source if isinstance(source, bytes) else Path(source).read_bytes()
        words = caption(name, data) if name in CAPTIONS and data["epochs"] else name
        # The first sentence is the title; "fig." does not end it.
        head, _, rest = re.sub(r"(?<!fig)(?<!figs)\. ", ".\n", words, count=1).partition("\n")
        shown.append(
            f'<figure id="{escape(name)}"><div class="scroll" tabindex="0"><img alt="{escape(head)}" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></div>'
            f"<figcaption><strong>{escape(head)}</strong> {escape(rest)}</figcaption></figure>"
        )
    return f"<section><h2>Figures</h2>{''.join(shown)}</section>" if shown else ""


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
        *(f"L1 {escape(rung)}" for rung in rungs),
    )
    return (
        "<section><h2>Recorded epochs</h2><h3>Training</h3>"
        "<p class='note'>Active: share of examples with a non-zero loss gradient. Order parameter: squared "
        "norm of the gradient. Growth: smallest and largest factor by which a layer changes the size of the "
        "signals; 1 is the edge of chaos.</p>"
        + _table(training, map(_training_row, data["epochs"]), "numbers", "Training")
        + "<h3>Spectrum and predictions</h3>"
        "<p class='note'>Negative: share of negative eigenvalues ± standard error. Asymmetry: W1 between the "
        "spectrum and its mirror image, in rms, with the 95 % point of its null in brackets. L1: distance of "
        "each prediction from the measured density, at most 2.</p>"
        + _table(spectrum, (_spectrum_row(e, rungs) for e in data["epochs"]), "numbers", "Spectrum")
        + "</section>"
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
        *(f"{made[rung]['l1']:.3f}" if rung in made else number(None) for rung in rungs),
    ]


def _left_out(data: Report) -> str:
    """Predictions that were not made, with the reason, epochs with the same reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for epoch in data["epochs"]:
        for rung, reason in epoch.get("left_out", {}).items():
            reasons.setdefault((rung, str(reason)), []).append(str(epoch["epoch"]))
    rows = [
        [escape(_named(rung)), escape(", ".join(at)), escape(reason)] for (rung, reason), at in sorted(reasons.items())
    ]
    if not rows:
        return ""
    return (
        "<section><h2>Predictions left out</h2>"
        + _table(("rung", "epochs", "reason"), rows, "words", "Predictions left out")
        + "</section>"
    )


def _settings(data: Report) -> str:
    tables = [
        f"<div><h3>{name}</h3>{_named_values(data[name.lower()], name)}</div>"
        for name in ("Options", "Environment")
        if data.get(name.lower())
    ]
    return f"<section><h2>Settings</h2><div class='pair'>{''.join(tables)}</div></section>" if tables else ""


def _named_values(values: Report, label: str) -> str:
    rows = ([f"<code>{escape(str(name))}</code>", number(value)] for name, value in values.items())
    return _table(("name", "value"), rows, "words", label)


def number(value: Any, digits: int = 3) -> str:
    """A value as HTML: a few significant digits, powers of ten written out, text escaped, null as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        mantissa, _, exponent = f"{value:.{digits}g}".replace("-", "−").partition("e")
        power = exponent.replace("+", "").replace("−0", "−").lstrip("0")
        return f"{mantissa}×10<sup>{power}</sup>" if exponent else mantissa
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], kind: str, label: str) -> str:
    """A table of cells that are HTML already, in a box of its own that scrolls where the screen is narrow."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
    return f'{box}<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


_CSS = """
*{box-sizing:border-box}
html{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:#1b1b1b;
background:#fff;-webkit-text-size-adjust:100%}
body{margin:0}
main{max-width:60rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 1rem;overflow-wrap:anywhere}
h2{font-size:1.35rem;line-height:1.3;margin:3rem 0 .75rem;padding-bottom:.3rem;
border-bottom:1px solid #d5d5d5}
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
h3 small{font-weight:400;color:#555;margin-left:.5rem}
p{margin:0 0 1rem;max-width:46rem}
.kicker{margin:0;color:#555;font-size:.85rem;letter-spacing:.04em}
.lead{overflow-wrap:anywhere}
.note,figcaption{font-size:.9rem;color:#444}
.banner{border-left:4px solid #b35c00;background:#fff4e5;padding:.6rem .9rem}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem .4rem 0;border-bottom:1px solid #e4e4e4}
th{font-weight:600;border-bottom:1.5px solid #888;vertical-align:bottom}
.numbers th,.numbers td{text-align:right;white-space:nowrap;padding-left:.35rem}
.words td{min-width:5rem}
.claims{table-layout:fixed;min-width:54rem}
.claims th:nth-child(1){width:10rem}.claims th:nth-child(2){width:8.8rem}.claims th:nth-child(4){width:19%}
.claims th:nth-child(5){width:15%}.claims th:nth-child(6){width:8%}.claims td{overflow-wrap:break-word}
.claims code{font-size:.86em;white-space:normal}
sup,sub{line-height:0}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;white-space:nowrap}
.verdict{display:inline-block;white-space:nowrap;padding:0 .5rem;border-radius:.2rem;border:1px solid}
.good{color:#0b5a34;background:#e7f5ec;border-color:#9ccfb0}
.bad{color:#8c1d18;background:#fdecea;border-color:#8c1d18;font-weight:700}
.none{color:#555;background:#f5f5f5;border-color:#ccc;font-style:italic}
figure{margin:2rem 0 3rem}
figure img{display:block;width:100%;height:auto}
figcaption{margin-top:.6rem;max-width:46rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:0 2.5rem}
.pair td{overflow-wrap:anywhere}
@media (max-width:40rem){main{padding:1.25rem 1rem 3rem}h1{font-size:1.5rem}
figure img{width:38rem;max-width:none}}
@media print{@page{margin:16mm 14mm}html{font-size:10.5pt}main{max-width:none;padding:0}
figure,tr,.banner{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}
.scroll{overflow:visible}table{font-size:8pt}th,td{padding-right:.4rem}
figure{margin:.8rem 0 1.2rem}figure img{width:auto;max-width:80%;max-height:19cm;margin:0 auto}
figcaption,p{max-width:none}*{print-color-adjust:exact}.claims{min-width:0}.words td{min-width:0}}
"""
