"""The figures of a run with novel examples, drawn from the report's numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from validation.report.drawing import Array, Draw, decades, figure, house_style, plain_log_ticks, plot_with_zeros
from validation.report.source import Report

from .cell import CONTROL, Record
from .page import shown_cell
from .summary import (
    Number,
    absorbed_after,
    by_seed,
    excited,
    fitted,
    in_stage,
    jump,
    moment,
    rested,
    rounds_of,
    widths_of,
)

COLOURS = {"same": "#0072B2", "new": "#D55E00", CONTROL: "#8a8a8a"}
NAMES = {"same": "known classes", "new": "a new class", CONTROL: "the same again"}
LINES = {
    "risk": "risk R",
    "order_parameter": "order parameter ‖∇R‖²",
    "active": "active examples",
    "old": "risk of the old examples",
}


@house_style
def novel(report: Report) -> Figure:
    """Risk, order parameter, spectrum and circuits of one network through all rounds."""
    cell = shown_cell(report)
    if cell is None:
        raise ValueError("expected a report with at least one cell, got none: nothing to draw")
    fig, axes = figure(5.0, 2, 3)
    for ax, (key, label) in zip(axes, LINES.items(), strict=False):
        plot_with_zeros(ax, [(*_way(rounds, key), _style(kind)) for kind, rounds in cell["kinds"].items()])
        ax.set_ylabel(label)
    for kind, rounds in cell["kinds"].items():
        _spectrum(axes[4], rounds, COLOURS[kind])
        _shares(axes[5], rounds, COLOURS[kind])
    axes[4].set_ylabel("$λ_{min}$, $λ_{max}$, rms (dashed)")
    _symmetric_log(axes[4], cell)
    axes[5].set_ylabel("aligned share of circuits")
    for ax in axes:
        _starts(ax, cell)
    for ax in axes[3:]:
        ax.set_xlabel("updates since the first showing")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _style(kind: str) -> dict[str, Any]:
    """The control lies beneath the words of the strip."""
    still = {"lw": 5.0, "alpha": 0.4} if kind == CONTROL else {"lw": 1.0}
    return {"color": COLOURS[kind], "label": NAMES[kind], **still}


def offsets(rounds: Sequence[Record]) -> list[int]:
    """Updates before every round, of all rounds before."""
    lengths = [r["points"][-1]["updates"] if r["points"] else 0 for r in rounds]
    return [int(n) for n in np.cumsum([0, *lengths])[:-1]]


def _way(rounds: Sequence[Record], key: str) -> tuple[Array, Array]:
    """A number at every look of all rounds, one after the other."""
    t = [at + p["updates"] for at, r in zip(offsets(rounds), rounds, strict=True) for p in r["points"]]
    return np.array(t, dtype=float), np.array([p[key] for r in rounds for p in r["points"]], dtype=float)


def _spectrum(ax: Axes, rounds: Sequence[Record], colour: str) -> None:
    for key, style in (("minimum", "-"), ("maximum", "-"), ("rms", "--")):
        t = [at + m["updates"] for at, r in zip(offsets(rounds), rounds, strict=True) for m in r["moments"]]
        found = [m[key] for r in rounds for m in r["moments"]]
        values = np.array([f["value"] for f in found], dtype=float)
        errors = np.array([f["standard_error"] or 0.0 for f in found], dtype=float)
        ax.errorbar(np.array(t, dtype=float), values, errors, color=colour, ls=style, lw=1.0, capsize=1.5,
                    marker="o", ms=2)  # fmt: skip


def _symmetric_log(ax: Axes, cell: Report) -> None:
    """Logarithmic on either side beyond the smallest rms, linear between."""
    found = [m for rounds in cell["kinds"].values() for r in rounds for m in r["moments"] if m["rms"]["value"] > 0]
    if found:
        least = min(m["rms"]["value"] for m in found)
        reach = 2.0 * max(abs(m[key]["value"]) for m in found for key in ("minimum", "maximum"))
        ax.set_yscale("symlog", linthresh=least)
        ax.set_ylim(-reach, reach)
        ticks = decades(least, reach)
        ax.set_yticks([*(-t for t in reversed(ticks)), 0.0, *ticks])
        ax.yaxis.set_minor_locator(NullLocator())


def _shares(ax: Axes, rounds: Sequence[Record], colour: str) -> None:
    for at, shown in zip(offsets(rounds), rounds, strict=True):
        ends = [moment(shown, stage) for stage in ("before", "end")]
        for part, filled in (("novel", True), ("old", False)):
            seen = [(at + m["updates"], m["aligned"][part]) for m in ends if m is not None]
            t = [s[0] for s in seen]
            v = [np.nan if s[1]["value"] is None else s[1]["value"] for s in seen]
            e = [s[1]["standard_error"] or 0.0 for s in seen]
            face = colour if filled else "white"
            ax.errorbar(t, v, e, color=colour, lw=1.0 if filled else 0.5, capsize=1.5, marker="o", ms=3.5, mfc=face)


def _starts(ax: Axes, cell: Report) -> None:
    for kind, rounds in cell["kinds"].items():
        if kind != CONTROL:
            for at in offsets(rounds):
                ax.axvline(at, color=COLOURS[kind], lw=0.5, ls=(0, (1, 2)), zorder=0)


@house_style
def rounds(report: Report) -> Figure:
    """Jump, updates to risk 0 and what was not absorbed, against the number of earlier perturbations."""
    kinds = [k for k in dict.fromkeys(r["kind"] for r in report["table"]) if k != CONTROL]
    if not kinds:
        raise ValueError("no network came to risk 0 before it was shown novel examples: there are no means to draw")
    fig, axes = figure(1.0 + 2.2 * len(kinds), len(kinds), 3, sharex=True)
    for row, kind in enumerate(kinds):
        jumps, times, lost = axes[3 * row : 3 * row + 3]
        for width, colour in _shades(report).items():
            found = [r for r in report["table"] if (r["kind"], r["width"]) == (kind, width)]
            _series(jumps, found, lambda r: _pair(r["order_parameter"]), colour, f"width {width:g}")
            _series(times, found, lambda r: _pair(r["zero_after"]), colour)
            _series(lost, found, _not_absorbed, colour)
        jumps.set_ylabel(f"{NAMES[kind]}\njump of ‖∇R‖²")
        times.set_ylabel("updates to risk 0")
        lost.set_ylabel("share not absorbed")
        for ax in (jumps, times):
            ax.set_yscale("log")
            plain_log_ticks(ax, fine=2)
        lost.set_ylim(-0.05, 1.05)
    for ax in axes[-3:]:
        ax.set_xlabel("round")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(handles) or 1)
    return fig


def _shades(report: Report) -> dict[float, Any]:
    """The wider the darker."""
    widths = sorted({r["width"] for r in report["table"]})
    shades = mpl.colormaps["viridis_r"](np.linspace(0.15, 0.95, len(widths)))
    return dict(zip(widths, shades, strict=True))


def _pair(mean: Report | None) -> tuple[float, float]:
    return (np.nan, 0.0) if mean is None else (mean["value"], mean["standard_error"] or 0.0)


def _not_absorbed(row: Report) -> tuple[float, float]:
    """Of the rounds with errors; those without errors ended at risk 0 at once."""
    n = row["excited"]
    share = (row["networks"] - row["zero"]) / n if n else np.nan
    return share, math.sqrt(share * (1 - share) / n) if n else 0.0


def _series(
    ax: Axes, found: Sequence[Record], value: Callable[[Report], tuple[float, float]], colour: Any, label: str = ""
) -> None:
    numbered = [r for r in found if r["round"] != "twin"]
    last = max((r["round"] for r in numbered), default=0)
    for part, style in (
        (numbered, {"ls": "-", "mfc": colour}),
        ([r for r in found if r["round"] == "twin"], {"ls": "", "mfc": "white"}),
    ):
        at = [last + 0.3 if r["round"] == "twin" else r["round"] for r in part]
        values, errors = np.array([value(r) for r in part]).T if part else ([], [])
        name = label if style["ls"] else ""
        ax.errorbar(at, values, errors, color=colour, marker="o", ms=4, lw=1.0, capsize=1.5, label=name, **style)


@house_style
def size(report: Report) -> Figure:
    """Decay and jump against the number of weights."""
    cells = rested(report["cells"])
    if len(widths_of(cells)) < 2:
        raise ValueError(
            "expected networks of at least two widths that came to risk 0: there is no size to draw against"
        )
    fig, axes = figure(3.0, 1, 4)
    panels: Sequence[tuple[str, Number]] = (
        ("τ of the risk, updates", fitted("risk")),
        ("updates to risk 0", absorbed_after(report["options"]["updates"])),
        ("jump of ‖∇R‖²", jump("order_parameter")),
        ("rms of H at the jump", in_stage("jump", "rms")),
    )
    for ax, (title, number) in zip(axes, panels, strict=True):
        for kind in (k for k in NAMES if k != CONTROL and rounds_of(cells, k)):
            at, values, errors = [], [], []
            for width in widths_of(cells):
                of_width = [c for c in cells if c["width"] == width]
                mean = by_seed(of_width, partial(_mean, kind=kind, number=number))
                if mean is not None:
                    at.append(of_width[0]["weights"])
                    values.append(mean["value"])
                    errors.append(mean["standard_error"] or 0.0)
            ax.errorbar(at, values, errors, color=COLOURS[kind], marker="o", ms=4, capsize=2, label=NAMES[kind])
        ax.set(xscale="log", yscale="log", title=title, xlabel="weights")
        plain_log_ticks(ax, fine=2)
        weights = sorted({c["weights"] for c in cells})
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(weights, [f"{n:,}" for n in weights], rotation=45, ha="right")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return fig


def _mean(cells: Sequence[Record], kind: str, number: Number) -> float | None:
    """Over the rounds of a kind with errors."""
    found = [v for s in rounds_of(cells, kind) if excited(s) and (v := number(s)) is not None]
    return float(np.mean(found)) if found else None


FIGURES: dict[str, Draw] = {"novel": novel, "novel_rounds": rounds, "novel_size": size}


def figures_of(data: Report) -> dict[str, Draw]:
    """The figures that have something to draw: sizes are compared where at least two came to risk 0."""
    several = len(widths_of(rested(data["cells"]))) > 1
    return {name: draw for name, draw in FIGURES.items() if several or name != "novel_size"}
