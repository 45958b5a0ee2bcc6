"""The figures of the report on the ladder, drawn from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from validation.predictions.rung import AVERAGE_RUNGS, OWN_RUNGS, RUNGS, SIGNAL_RUNGS, SOLVED_RUNGS
from validation.report.drawing import INK, RUNG_STYLES, Draw, figure, house_style, plain_log_ticks
from validation.report.source import Report

from .cases import constant_widths, rung_error
from .page import shown_case

NEAR = 0.4  # rms around E = 0 in the figure of densities
FLOOR: dict[str, Any] = {"color": "#8a8a8a", "lw": 1.2}


def style_of(rung: str) -> dict[str, Any]:
    """Colour and marker of a rung."""
    colour, _, marker = RUNG_STYLES[rung]
    return {"color": colour, "marker": marker, "ms": 5, "ls": "-"}


def figures_of(data: Report) -> dict[str, Draw]:
    """The figures that a report has the numbers for."""
    figures: dict[str, Draw] = {"ladder_density": densities}
    if depths_with_widths(data):
        figures = {"ladder_widths": widths} | figures
    if shown_training(data):
        figures["ladder_training"] = training
    return figures


def depths_with_widths(data: Report) -> list[int]:
    """Depths at which more than one constant width was tried."""
    return [d for d in sorted({c["depth"] for c in data["cases"]}) if len(constant_widths(data["cases"], d)) > 1]


def shown_training(data: Report) -> list[Report]:
    """Cases followed through training with something to draw, at most four."""
    return [t for t in data["training"] if any(r["rungs"] for r in t["records"])][:4]


@house_style
def widths(report: Report) -> Figure:
    """L1 of every rung against width, one panel per depth."""
    depths = depths_with_widths(report)
    fig, axes = figure(4.6, 1, len(depths), sharey=True)
    for ax, depth in zip(axes, depths, strict=True):
        cases = constant_widths(report["cases"], depth)
        at = np.array([c["width"] for c in cases], dtype=float)
        for rung in RUNGS:
            errors = [rung_error(c, rung) for c in cases]
            found = [i for i, e in enumerate(errors) if e is not None]
            if found:
                values, bars = np.array([[e["l1"], e["standard_error"]] for e in errors if e is not None]).T
                ax.errorbar(at[found], values, bars, capsize=2, label=rung, **style_of(rung))
        ax.plot(at, [c["average"]["noise"] for c in cases], ls="--", label="noise of the average", **FLOOR)
        ax.plot(at, [c["own"]["asymmetry"] for c in cases], ls=(0, (1, 1)), label="asymmetry", **FLOOR)
        ax.set(xscale="log", yscale="log", xlabel="width n", title=f"L = {depth}", xlim=(at[0] / 1.15, at[-1] * 1.15))
        _ticks(ax, at)
    plain_log_ticks(axes[0], fine=3)
    axes[0].set_ylabel("L1")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside right center")
    return fig


def _ticks(ax: Axes, at: Sequence[float] | np.ndarray[Any, Any]) -> None:
    ax.xaxis.set_major_locator(FixedLocator(list(at)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_locator(NullLocator())


@house_style
def densities(report: Report) -> Figure:
    """Around E = 0 above, predicted less measured below: the average at left, one network at right."""
    case, energies = shown_case(report), np.array(report["energies"])
    near = np.abs(energies) <= NEAR
    fig, axes = figure(4.8, 2, 2, sharex=True, sharey="row", gridspec_kw={"height_ratios": [1.6, 1]})
    sides = (("average", [r for r in AVERAGE_RUNGS if r in SIGNAL_RUNGS], f"average of {case['networks']} networks"),
             ("own", SOLVED_RUNGS, "one network"))  # fmt: skip
    for (part, rungs, title), top, bottom in zip(sides, axes[:2], axes[2:], strict=True):
        kept = {name: np.array(values)[near] for name, values in case[part]["density"].items()}
        top.plot(energies[near], kept["measured"], color=INK, lw=2.2, alpha=0.55, label="measured")
        for rung in (r for r in rungs if r in kept):
            style = style_of(rung) | {"marker": "", "lw": 1.2}
            top.plot(energies[near], kept[rung], label=rung, **style)
            bottom.plot(energies[near], kept[rung] - kept["measured"], **style)
        bottom.axhline(0.0, color=INK, lw=0.8)
        top.set_title(title)
        top.legend(loc="upper right")
        bottom.set_xlabel("E / rms")
    axes[0].set_ylabel("density × rms")
    axes[2].set_ylabel("predicted − measured")
    return fig


def _fluctuation(surrogate: Report) -> float:
    """Of a draw about the exact mean, from that about the mean of the other draws."""
    off, draws = surrogate["draw"]["l1"], surrogate["draws"]
    return float(off * np.sqrt((draws - 1) / draws))


@house_style
def training(report: Report) -> Figure:
    """L1 of the rungs that see a network, through training, one panel per shape."""
    shown = shown_training(report)
    fig, axes = figure(3.9, 1, len(shown), sharey=True)
    for ax, case in zip(axes, shown, strict=True):
        records = case["records"]
        for rung in OWN_RUNGS:
            found = [(i, r["rungs"][rung]) for i, r in enumerate(records) if rung in r["rungs"]]
            if found:
                at = [i for i, _ in found]
                values, bars = np.array([[e["l1"], e["standard_error"]] for _, e in found]).T
                ax.errorbar(at, values, bars, capsize=2, label=rung, **style_of(rung))
        seen = [(i, _fluctuation(r["surrogate"])) for i, r in enumerate(records) if r["surrogate"]]
        if seen:
            ax.plot(*zip(*seen, strict=True), ls="--", label="fluctuation of\nfresh weights", **FLOOR)
        ax.set_xticks(range(len(records)), [f"{r['step']}\n{r['active_fraction']:.0%}" for r in records])
        ax.set(yscale="log", title=case["name"], xlabel="step, active examples", xlim=(-0.4, len(records) - 0.6))
    plain_log_ticks(axes[0], fine=3)
    axes[0].set_ylabel("L1")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside right center")
    return fig
