"""The page of the report on bounds: table of verdicts, figures with captions, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from validation.measurements.ensembles.claims import assembly_name, number
from validation.measurements.ensembles.slopes import MUS
from validation.report.markup import (
    Section,
    badge,
    captioned,
    figures_section,
    fold,
    note,
    page,
    prose,
    settings,
    table,
    titled,
)
from validation.report.source import Report
from validation.report.text import answered, outcome
from validation.report.verdicts import beginning, judged
from validation.statistics.claim import failed
from validation.statistics.estimate import Estimate

from .answer import answer

CAPTIONS = {
    "bounds_means": (
        "Means of assemblies of order k = 0, 1, 2 against depth. Width {widest}, µ = {mu:g} (full) and all weights "
        "intact (dashed; where W_L is not removed the mean is then exactly 0 and not drawn). Colours: the removed "
        "layers, m = L // 2. Above: over the bracket of (20), which has no constant; a bound would stay level. It "
        "grows like 2^L (dotted, any height), because the mean of a ReLU signal does not decay with depth. Below: over "
        "the bound of M4, whose ½ acts once: at most 1 (line), and level. {error}"
    ),
    "bounds_squares": (
        "Mean squares of assemblies against depth. Over the bracket of (21), relative to the smallest depth, where "
        "they grow fastest: width {narrowest}, µ = {most:g} (full); and all weights intact (dashed: by M1 T and ∇T "
        "stay level). Broken weights raise the growth factor of signals a little above c = 1 (the cross term of M3), "
        "the less so the wider the network. {error}"
    ),
    "bounds_flips": (
        "Probability that a gate changes when a weight into it is negated. Mean over weights and signals behind a "
        "layer of Gaussian weights, against the width below. Line: S3 averaged in closed form. Dotted: the asymptotic "
        "power -1/2 through its last point. {error}"
    ),
    "bounds_correlations": (
        "Correlation between gates of one layer. Root mean square over pairs, over Gaussian inputs at fixed Gaussian "
        "weights, network of constant width. Dotted: (2/π)/√n, the limit for layer 1. {error}"
    ),
}
ERROR = "Error bars: two standard errors."
SHOWN_MU = 0.5
BROKEN_MOST = min(MUS)
WEIGHTS = {"intact": "all intact", "broken": "some broken", "": "both"}


def widths(report: Report) -> tuple[int, int]:
    """The narrowest and the widest networks whose assemblies were measured."""
    every = [int(row["n"]) for row in report["assemblies"]]
    return min(every), max(every)


def caption(name: str, data: Report) -> str:
    """What the figure `name` shows, with the report's numbers."""
    narrowest, widest = widths(data)
    return CAPTIONS[name].format(narrowest=narrowest, widest=widest, mu=SHOWN_MU, most=BROKEN_MOST, error=ERROR)


def text_table(data: Report) -> str:
    """What the terminal shows: the answer, counts of verdicts and what failed."""
    return f"{answered(answer(data))}\n\n{outcome(data['checks'])}"


def render(data: Report, figures: Mapping[str, bytes]) -> str:
    """The whole report as one page that refers to nothing outside itself; `figures` are PNG bytes by name."""
    shown = {name: captioned(name, caption(name, data), picture) for name, picture in figures.items()}
    first = shown.pop("bounds_means", "")
    parts = [
        Section("", [*beginning(answer(data), failed(data["checks"])), first, note(_summary(data))]),
        judged(data["checks"], _VERDICTS, fold("Bounds (20) and (21), slope by slope", _brackets(data))),
        figures_section(list(shown.values()), data),
        settings(data),
    ]
    return page("Symmetry theorems and moment bounds", f"Umwelt {data['version']}", parts)


def _summary(data: Report) -> str:
    options, took = data["options"], dict(data["seconds"])
    total, cpu = took.pop("total"), took.pop("cpu")
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in took.items())
    return (
        f"S1-S3 and M1-M4 in {options['ensembles']:,} random small networks, each summed over all sign patterns of its "
        "intact weights. Assemblies of order 0, 1, 2 in networks of constant width with Gaussian weights at the edge "
        f"of chaos (c = 1), widths {_list(options['assembly_widths'])}, depths {_list(options['assembly_depths'])}; "
        "in every layer max(1, round(n^((1-µ)/2))) weights at random places are broken, w → |w|, µ = ¼, ½, 1, or none. "
        f"The last layer is integrated analytically. Backend {data['backend']['name']} ({data['backend']['dtype']}), "
        f"seed {data['seed']}. The run took {total:.1f} s ({stages}), {cpu:.1f} s of processor time."
    )


def _list(values: list[Any]) -> str:
    return ", ".join(map(str, values))


_VERDICTS = (
    "The bounds (20) and (21) come without constants. A slope is that of log(measured/bracket) over the grid, with an "
    "intercept for each µ, and a bound with one constant allows none above 0. The constant is measured/bracket at the "
    "smallest (n, L), the largest over µ. The column passed says how many times it measured/bracket reaches on the "
    "grid. Removed layers: m = L // 2."
)


def _brackets(data: Report) -> Markup:
    """One row per assembly and bracket: the numbers of its check in columns."""
    verdict = {c["id"]: c["verdict"] for c in data["checks"]}
    head = ("", "assembly", "weights", "slope per layer", "slope per log n", "constant", "passed", "verdict")
    rows = [_bracket_row(row["id"], row["fit"], verdict[row["id"]]) for row in data["slopes"]]
    counts = Counter(verdict[row["id"]] for row in data["slopes"])
    tally = ", ".join(f"{name}: {count}" for name, count in counts.items())
    title = "Bounds (20), on means, and (21), on mean squares"
    return titled(title, tally) + table(head, rows, "numbers", title)


def _bracket_row(name: str, fit: Report | None, verdict: str) -> list[str]:
    equation, _, *rest = name.split(".")
    weights = rest.pop() if rest and rest[-1] in WEIGHTS else ""
    cells = [f"({equation[2:]})", prose(assembly_name(rest[0] if rest else "none")), WEIGHTS[weights]]
    if fit is None:
        return [*cells, "mean exactly 0", "", "", "", badge(verdict)]
    slopes = [number(Estimate(**fit[key])) for key in ("per_layer", "per_log_width")]
    return [*cells, *slopes, f"{fit['constant']:.3g}", f"{fit['worst']:.3g}-fold", badge(verdict)]
