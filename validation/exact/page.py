"""The words of the exact report and its page, without matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.markup import Section, captioned, figures_section, note, page, settings
from validation.report.source import Report
from validation.report.text import answered, outcome
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed

from .answer import answer, medians
from .cases import select

CAPTIONS = {
    "marginal": (
        "The marginal of the label against the temperature of the gates. Lines: µ(y = +1|x) of {inputs} inputs, "
        "summed over all {states:,} gate configurations of the network {widths}. Bands: Monte Carlo from {samples} "
        "draws of the gates, ± 2 standard errors. Circles: the limits. As T → 0 the gates are 1[z > 0] and the "
        "marginal is that of the ReLU network (7), (8); as T → ∞ they are fair coins. Below: how far each estimate is "
        "off, in its own standard errors (triangles: by more than five); {share} of {counted} estimates lie within two "
        "(95.4 % expected). Faint or not drawn, and not counted: {not_counted} whose law, known by enumeration, is too "
        "skewed for a standard error. At low temperature a flip rarer than one in {samples} draws is mostly missed, by "
        "the estimate and by its error."
    ),
    "em": (
        "Exact EM: the bound drags the likelihood towards the entropy of the labels. At every iteration the exact "
        "posterior makes the bound equal to the log-likelihood; the M-step raises the bound (dashed), and the "
        "likelihood (solid) at least as far. Dotted: minus the entropy of the labels given the input, "
        "−{entropy:.3f} nats. No model is above it: the rest of the risk is the divergence of the model from the "
        "labels' law. Below: these two distances on a log axis. From {starts} starts the divergence goes from "
        "{first_low:.2g}–{first_high:.2g} to {last_low:.2g}–{last_high:.2g} nats in {iterations} iterations."
    ),
    "e_steps": (
        "The three E-steps on the same data, from the same weights. Left: exact log-likelihood by iteration, first "
        "start. Right: the divergence that is left after {iterations} iterations, one marker per start (filled: "
        "the start on the left). Medians: {medians}. The two exact ones differ in the step only. Monte Carlo draws "
        "the gates from their forward law, which does not know the label: its bound is not tight, a step may lower the "
        "likelihood, and it comes to rest elsewhere. Zero temperature is back-propagation through a ReLU network."
    ),
    "gate_entropy": (
        "Entropy of the gates through training, first start. Mean over the examples of the entropy of µ(h|x), "
        "{gates} gates. At temperature 0 the gates are a function of the input: entropy 0. {entropies}"
    ),
}


def caption(name: str, data: Report) -> str:
    """What the figure `name` shows, with the report's numbers."""
    return CAPTIONS[name].format_map(facts(data))


def facts(data: Report) -> dict[str, Any]:
    """The numbers that the captions mention."""
    marginal, learning = data["marginal"], data["learning"]
    share = marginal["within_two"]
    runs = select(data["runs"], e_step="exact", rule="line search", temperature=learning["temperature"])
    first, last = ([run["kl"][i] for run in runs] for i in (0, -1))
    return {
        "inputs": len(marginal["inputs"]),
        "widths": "-".join(map(str, marginal["widths"])),
        "states": 2 ** sum(marginal["widths"][1:-1]),
        "samples": marginal["samples"],
        "share": "none" if share is None else f"{100 * share:.1f} %",
        "counted": marginal["counted"],
        "not_counted": sum(map(len, marginal["trusted"])) - marginal["counted"],
        "entropy": learning["entropy"],
        "gates": learning["gates"],
        "starts": len(runs),
        "iterations": len(runs[0]["kl"]) - 1,
        "first_low": min(first),
        "first_high": max(first),
        "last_low": max(min(last), 0.0),
        "last_high": max(last),
        "medians": ", ".join(f"{name} {nats:.2g}" for name, nats in medians(data).items()),
        "entropies": _entropies(data),
    }


def _entropies(data: Report) -> str:
    runs = [run for run in select(data["runs"], start=0, rule="line search") if run["temperature"] > 0]
    parts = [
        f"from {run['gate_entropy'][0]:.2f} to {run['gate_entropy'][-1]:.2f} at T = {run['temperature']:g}"
        for run in sorted(runs, key=lambda run: run["temperature"])
    ]
    return f"Exact EM takes it {', '.join(parts)}."


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, counts of verdicts and what failed."""
    return f"{answered(answer(data))}\n\n{outcome(data['checks'])}"


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    shown = {name: captioned(name, caption(name, data), picture) for name, picture in figures.items()}
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), shown.pop("em", ""), note(_summary(data))]),
        judged(data["checks"], "Claims under test are on Monte Carlo estimates, and may fail by chance, rarely."),
        figures_section(list(shown.values()), data),
        settings(data),
    ]
    return page("Exact small cases", f"Umwelt {data['version']}", parts)


def _summary(data: Report) -> str:
    marginal, learning, took = data["marginal"], data["learning"], dict(data["seconds"])
    total, cpu = took.pop("total"), took.pop("cpu")
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in took.items())
    wrong = ", ".join(map(str, learning["wrong_labels"]))
    return (
        "Networks small enough that every sum over gate configurations is done: nothing here is approximate unless it "
        f"says so. Marginals are those of a random network {'-'.join(map(str, marginal['widths']))} "
        f"({sum(marginal['widths'][1:-1])} gates). Learning is XOR with mixed labels: each of the four inputs (±1, ±1) "
        f"occurs {learning['repeats']} times, of which {wrong} have the wrong label; network "
        f"{'-'.join(map(str, learning['widths']))} ({learning['gates']} gates), temperature "
        f"{learning['temperature']:g} where none is named. Approximate E-steps take fixed steps of "
        f"{learning['rate']:g}; Monte Carlo draws {learning['draws']} gate configurations per example. Backend "
        f"{data['backend']['name']} ({data['backend']['dtype']}), seed {data['seed']}. The run took "
        f"{total:.1f} s ({stages}), {cpu:.1f} s of processor time."
    )
