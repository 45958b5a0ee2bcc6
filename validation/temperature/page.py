"""The page of the temperatures: the figure, the verdicts, a row for every temperature, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    "A network with its gates drawn at a temperature T, P(h = 1) = σ(z/T). Heated: trained with ReLU gates, and its "
    "gates drawn at T afterwards. Trained: trained at T. Above, left: the measured spectrum of the Hessian, a mean "
    "over {samples} draws of the gates, of the networks trained at T, in units of its rms and smoothed by η = {eta:g} "
    "rms. Middle: the rms of the eigenvalues, of the mean over all draws and of one set. Right: the distance L1 of the "
    "spectrum to that of the ReLU network, and of the predictions RE and RK to the measured one. Below, left: the risk "
    "of drawn gates; dotted, that of ReLU gates at the same weights. Middle: the order parameter of the mean gradient. "
    "Right: the temperatures T_l of the layers in the paper's convention W = Ŵ/T, trained at T. Means over {networks} "
    "with standard errors. T = 0 stands at the left edge."
)
OUTPUTS = ("T", "network", "risk", "accuracy", "log µ(y|x)", "draws that count", "||E ∇R||²")
SPECTRA = ("T", "network", "rms of a set", "rms of the mean", "L1 to ReLU", "L1 of RE", "L1 of RK")
NAMES = {"start": "random weights", "heated": "heated", "trained": "trained at T"}


def outputs(data: Report) -> list[list[str]]:
    """The first table: a row for every temperature and kind of network."""
    keys = ("risk", "accuracy", "log_likelihood", "effective_samples", "order_parameter")
    return [[*place, *(written(seen[key]) for key in keys)] for place, seen in _seen(data)]


def spectra(data: Report) -> list[list[str]]:
    """The second table: their Hessians, in the same rows."""
    keys = ("rms_of_a_set", "rms_of_the_mean", "from_relu")
    return [
        [*place, *(written(seen[key]) for key in keys), *(written(seen["predictions"][r]["l1"]) for r in ("RE", "RK"))]
        for place, seen in _seen(data)
    ]


def _seen(data: Report) -> Iterator[tuple[tuple[str, str], Report]]:
    """((T, kind in words), means) of every temperature and kind of network."""
    for row in data["rows"]:
        for kind, words in NAMES.items():
            if row[kind] is not None:
                yield (f"{row['temperature']:g}", words), row[kind]


def text_table(data: Report) -> str:
    """What the terminal shows: a line for every temperature, and the verdicts."""
    lines = [f"{'T':>5}  {'risk':>15}  {'rms of the mean':>19}  {'L1 to ReLU':>15}  {'L1 of RE':>15}"]
    for row in data["rows"]:
        seen = row["trained"] or row["heated"]
        if seen is None:
            continue
        cells = (seen["risk"], seen["rms_of_the_mean"], seen["from_relu"], seen["predictions"]["RE"]["l1"])
        texts = (f"{written(cell):>{width}}" for cell, width in zip(cells, (15, 19, 15, 15), strict=True))
        lines.append(f"{row['temperature']:>5g}  " + "  ".join(texts))
    return "\n".join([answered(answer(data)), "", *lines, "", outcome(data["checks"])])


def summary(data: Report) -> str:
    """What was run."""
    options, first = data["options"], data["cells"][0]
    law = "the importance sample of their posterior" if options["e_step"] == "posterior" else "their forward law"
    return (
        f"Networks {options['network']} ({first['weights']:,} weights), {options['loss']} loss, {options['epochs']} "
        f"epochs on {first['examples']:,} examples, spectra on {first['measured']:,} of them; {data['dataset']}. Gates "
        f"are averaged over {law}, {options['gate_draws']} draws in a set; max-pools draw a site of each window (F4). "
        f"{len(data['cells'])} cells took {data['seconds']['cells_cpu']:.0f} s of processor time. Backend "
        f"{data['backend']['name']} ({data['backend']['dtype']})."
    )


def caption(data: Report) -> str:
    """The words below the figure."""
    options = data["options"]
    count = max(row["networks"] for row in data["rows"])
    networks = f"{count} networks" if count > 1 else "one network"
    return CAPTION.format(eta=options["eta"], samples=options["gate_draws"], networks=networks)


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are pictures by name."""
    shown = [captioned(name, caption(data), picture) for name, picture in figures.items()]
    tables = (
        table(map(prose, OUTPUTS), outputs(data), "numbers", "Outputs and gradient"),
        table(map(prose, SPECTRA), spectra(data), "numbers", "Hessian"),
    )
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), *shown, note(sentence(summary(data)))]),
        figures_section([], data),
        judged(data["checks"]),
        Section("Every temperature", [note(_NOTE), *tables], folded=True),
        Section("Left out", [note(sentence("; ".join(data["diverged"])))]) if data["diverged"] else None,
        settings(data),
    ]
    return page("The temperature of the gates", f"Umwelt {data['version']}", parts)


_NOTE = (
    "Means over networks with standard errors. The risk is that of the drawn network, the mean of the loss over its "
    "gates. log µ(y|x): likelihood of the labels in nats an example, by Monte Carlo. Draws that count: the effective "
    "size of a set of draws as a sample of the posterior of the gates. ||E ∇R||²: the order parameter of the mean "
    "gradient, without the noise of the draws. RE and RK: distance of the prediction to the measured spectrum."
)
