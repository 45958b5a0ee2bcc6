"""The joint report of several seeds: tables of means with standard errors, claims with their counts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from validation.predictions.rung import title_of
from validation.report.markup import captioned, figures_section, number, page, sentence, settings, table, verdicts
from validation.report.source import Report
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
    shown = "".join(captioned(name, CAPTION.format(count=count), png) for name, png in figures.items())
    head = [escape(name).replace("_min", "<sub>min</sub>").replace("_max", "<sub>max</sub>") for name in HEAD]
    parts = [
        f"<section>{_diverged(data)}<p class='lead'>{sentence(_summary(data))}</p></section>",
        f"<section><h2>Verdicts</h2>{verdicts(data['claims'], 'Claims')}{_against(data)}</section>",
        figures_section(shown, data),
        "<section><h2>Recorded epochs</h2><p class='note'>Means over seeds ± standard errors. Eigenvalues, shares and "
        "symmetry: over the networks with H ≠ 0.</p>"
        + table(head, [_row(e) for e in data["epochs"]], "numbers", "Recorded epochs") + "</section>",
        _predictions(data),
        settings(data),
    ]  # fmt: skip
    title = f"{data['network']['name']} on {data['dataset']['name']}, {count} seeds"
    return page(title, f"Umwelt {data['version']}", parts)


def _row(epoch: Report) -> list[str]:
    return [str(epoch["epoch"]), *(escape(written(epoch[key], digits)) for key, digits in COLUMNS)]


def _predictions(data: Report) -> str:
    rungs = sorted({rung for e in data["epochs"] for rung in e["predictions"]})
    if not rungs:
        return ""
    body = [
        [str(e["epoch"]), *(written(e["predictions"].get(rung, {}).get("l1"), ".3f") for rung in rungs)]
        for e in data["epochs"]
    ]
    head = ["epoch", *(f"{rung}<br><small>{escape(title_of(rung))}</small>" for rung in rungs)]
    return "<section><h2>L1 of the predictions</h2>" + table(head, body, "numbers", "L1") + "</section>"


def _against(data: Report) -> str:
    rows = [[f"<code>{escape(c['id'])}</code>", number(example)] for c in data["claims"] for example in c["against"]]
    if not rows:
        return ""
    return "<h3>Seeds that speak against a claim</h3>" + table(("id", "measured"), rows, "words", "Against")


def _diverged(data: Report) -> str:
    if not data["diverged"]:
        return ""
    return f"<p class='banner'><strong>Left out, training diverged:</strong> {escape(data['diverged'])}.</p>"


def _summary(data: Report) -> str:
    network, backend = data["network"], data["backend"]
    return (
        f"{network['name']} ({network['n_layers']} weight layers, N = {network['n_weights']:,} weights), "
        f"{data['loss']} loss, the same comparison with seeds {', '.join(map(str, data['seeds']))}: data, "
        f"weights and batches drawn anew. Reports of single seeds are in the folders seed-K. "
        f"{data['dataset']['source']}. Backend {backend['name']} ({backend['dtype']})."
    )
