"""The figures of the search for the capacity, drawn from the report's numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from validation.report.drawing import INK, Draw, figure, house_style, plain_log_ticks
from validation.report.source import Report
from validation.statistics.edge import Edge

from .summary import of_capacity
from .training import SMOOTH

COLOURS = {"random": "#D55E00", "true": "#0072B2"}
HINGE = "#8c8c8c"  # random labels, stochastic gradient descent
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
COUNTING: dict[str, Any] = {"color": INK, "lw": 1.2, "ls": (0, (4, 2))}
STABILITY: dict[str, Any] = {"color": INK, "lw": 1.2, "ls": (0, (1, 1.5))}
GUIDE: dict[str, Any] = {"color": INK, "lw": 0.8}


def depths_of(report: Report) -> list[int]:
    return sorted({r["depth"] for r in report["rows"]})


def _smooth(report: Report, labels: str, depth: int | None = None) -> list[Report]:
    rows = [r for r in report["rows"] if (r["loss"], r["labels"]) == (SMOOTH, labels)]
    return [r for r in rows if depth is None or r["depth"] == depth]


def _cells(report: Report, labels: str = "random") -> list[Report]:
    return [c for c in report["cells"] if (c["loss"], c["labels"]) == (SMOOTH, labels)]


def _shade(value: int, values: Sequence[int]) -> Any:
    place = sorted(values).index(value) / max(len(values) - 1, 1)
    return mpl.colormaps["viridis"](0.85 * place)


@house_style
def capacity(report: Report) -> Figure:
    """Shares of networks that fit, the edge against the number of weights, and over what was predicted."""
    fig, (shares, edges, ratios) = figure(3.6, 1, 3)
    _shares(shares, report)
    _edges(edges, report)
    _ratios(ratios, report)
    depths = depths_of(report)
    keys = [Line2D([], [], color=c, marker="o", ms=4, ls="none", label=f"{k} labels") for k, c in COLOURS.items()]
    keys += [Line2D([], [], color=HINGE, marker="o", ms=4, ls="none", label="random labels, hinge")]
    keys += [_depth_key(depths, depth) for depth in depths]
    keys += [Line2D([], [], label="2 × rank, before training", **COUNTING)]
    keys += [Line2D([], [], label="k*, before training", **STABILITY)]
    fig.legend(handles=keys, loc="outside upper center", ncols=len(keys) // 2 + 1)
    return fig


def _depth_key(depths: Sequence[int], depth: int) -> Line2D:
    return Line2D([], [], color=INK, marker=_marker(depths, depth), ms=4, ls="none", label=f"depth {depth}")


def _marker(depths: Sequence[int], depth: int) -> str:
    return MARKERS[depths.index(depth) % len(MARKERS)]


def _shares(ax: Axes, report: Report) -> None:
    """By width: the share of networks whose search fitted so many, as steps, and the fitted logistic law."""
    depths = depths_of(report)
    widths = sorted({r["width"] for r in report["rows"]})
    for row in _smooth(report, "random"):
        if row["edge"] is None:
            continue
        n, found = row["weights"], row["edge"]
        law = Edge(found["value"], found["width"], None, None)
        loads = np.geomspace(0.8, 4.0, 200)
        colour, dash = _shade(row["width"], widths), DASHES[depths.index(row["depth"]) % len(DASHES)]
        ax.plot(loads, law.share(loads * n), color=colour, ls=dash, lw=1.1)
        here = [c for c in _cells(report) if (c["depth"], c["width"]) == (row["depth"], row["width"])]
        ends = np.sort([c["fitted"] for c in here]) / n
        ax.plot(ends, 1.0 - (np.arange(len(ends)) + 0.5) / len(ends), ls="none", color=colour, ms=3,
                marker=_marker(depths, row["depth"]))  # fmt: skip
    ax.axhline(0.5, **GUIDE)
    ax.set(xscale="log", xlim=(0.8, 4.0), ylim=(-0.03, 1.03), xlabel="examples / weights", ylabel="share that fits all")
    plain_log_ticks(ax, fine=3, horizontal=True)


def _edges(ax: Axes, report: Report) -> None:
    depths = depths_of(report)
    for labels, colour in COLOURS.items():
        for row in _smooth(report, labels):
            marker = _marker(depths, row["depth"])
            if row["edge"] is not None:
                error = 2 * (row["edge"]["standard_error"] or 0.0)
                ax.errorbar(row["weights"], row["edge"]["value"], error, color=colour, marker=marker, ms=4,
                            mfc=colour if of_capacity(row) else "none")  # fmt: skip
            elif row["not_reached"]:
                ax.plot(row["weights"], row["most"], marker="^", mfc="none", color=colour, ms=6, ls="none")
    for row in report["rows"]:
        if (row["loss"], row["labels"]) == ("hinge", "random") and of_capacity(row):
            error = 2 * row["edge"]["standard_error"]
            marker = _marker(depths, row["depth"])
            ax.errorbar(row["weights"], row["edge"]["value"], error, color=HINGE, marker=marker, ms=4)
    for depth in depths:
        known = _smooth(report, "random", depth) or _smooth(report, "true", depth)
        for key, factor, style in (("counting", 2.0, COUNTING), ("stability", 1.0, STABILITY)):
            told = [(r["weights"], factor * r[key]["value"]) for r in known if r[key] is not None]
            ax.plot([n for n, _ in told], [p for _, p in told], **style)
    ax.set(xscale="log", yscale="log", xlabel="weights N", ylabel="edge P*")
    plain_log_ticks(ax, fine=3)
    plain_log_ticks(ax, fine=3, horizontal=True)


def _ratios(ax: Axes, report: Report) -> None:
    depths = depths_of(report)
    for key, factor, fill in (("counting", 2.0, True), ("stability", 1.0, False)):
        for row in _smooth(report, "random"):
            if row["edge"] is not None and row[key] is not None:
                told = factor * row[key]["value"]
                error = 2 * (row["edge"]["standard_error"] or 0.0) / told
                ax.errorbar(row["weights"], row["edge"]["value"] / told, error, color=COLOURS["random"], ms=4,
                            marker=_marker(depths, row["depth"]), mfc=None if fill else "none")  # fmt: skip
    ax.axhline(1.0, **GUIDE)
    ax.set(xscale="log", yscale="log", xlabel="weights N", ylabel="P* / predicted")
    plain_log_ticks(ax, fine=3)
    plain_log_ticks(ax, fine=3, horizontal=True)


@house_style
def constraints(report: Report) -> Figure:
    """Active examples across the edge, indices against them, and N_-(k) of the rung before training."""
    fig, (jump, index, told) = figure(3.6, 1, 3)
    depths = depths_of(report)
    widths = sorted({r["width"] for r in report["rows"]})
    for cell in _cells(report):
        marker, colour, n = _marker(depths, cell["depth"]), _shade(cell["width"], widths), cell["weights"]
        ended = [t for t in cell["trials"] if t["outcome"] in ("zero", "stuck")]
        if cell["unfitted"] is not None and cell["fitted"]:
            middle = np.sqrt(cell["fitted"] * cell["unfitted"])
            at = [t["examples"] / middle for t in ended]
            jump.plot(at, [t["active"] / n for t in ended], ls="none", marker=marker, ms=3, color=colour)
        seen = [t for t in ended if "negative" in t]
        for key, fill in (("negative", colour), ("index", "none")):
            index.plot([t["active"] / n for t in seen], [t[key] / n for t in seen], ls="none", marker=marker, ms=3,
                       color=colour, mfc=fill)  # fmt: skip
        k, negative = np.array(cell["forecast"]["negative"] or np.zeros((0, 2))).T
        told.plot(k / n, negative / n, ls="none", marker=marker, ms=2.5, color=colour)
    jump.axvline(1.0, **GUIDE)
    jump.set(xlabel="examples / edge of the network", ylabel="active examples / weights", xlim=(0.4, 2.1),
             ylim=(-0.1, 2.6))  # fmt: skip
    for ax, limit in ((index, 1.2), (told, 1.0)):
        ax.plot([0, limit], [0, limit], **GUIDE)
        ax.set(xlim=(-0.03, limit), ylim=(-0.02, 0.65))
    index.set(xlabel="active examples / weights", ylabel="negative eigenvalues / weights")
    told.set(xlabel="active examples k / weights", ylabel=r"$N_-(k)$ / weights, before training")
    keys = [_depth_key(depths, depth) for depth in depths]
    keys += [Line2D([], [], color="grey", marker="o", ms=4, ls="none", label="H")]
    keys += [Line2D([], [], color="grey", marker="o", ms=4, mfc="none", ls="none", label="H + G")]
    fig.legend(handles=keys, loc="outside upper center", ncols=len(keys))
    return fig


FIGURES: dict[str, Draw] = {"capacity": capacity, "constraints": constraints}
