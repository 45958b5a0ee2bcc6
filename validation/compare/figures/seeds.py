"""The figure of the joint report of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.report.drawing import (
    RUNG_STYLES,
    TRAIN,
    UNKNOWN_RUNG,
    Array,
    Draw,
    column,
    epoch_axis,
    figure,
    plain_log_ticks,
    plot_with_zeros,
    styled,
)
from validation.report.source import Report


def _means(epochs: Sequence[Report], key: str) -> Array:
    return column([{key: e[key]["value"] if e[key] else None} for e in epochs], key)


@styled
def seeds(report: Report) -> Figure:
    """Risk of every seed and their mean above; L1 of every rung with standard errors below."""
    epochs = report["epochs"]
    at = column(epochs, "epoch")
    fig, (top, bottom) = figure(5.4, 2, 1, sharex=True)
    thin: dict[str, Any] = {"color": TRAIN, "lw": 0.7, "alpha": 0.6}
    series = [(at, np.asarray(risks, dtype=float), thin) for risks in report["risks"]]
    dots: dict[str, Any] = {"color": TRAIN, "marker": "o", "ls": "none"}
    plot_with_zeros(top, [*series, (at, _means(epochs, "risk"), dots)])
    top.set_ylabel(f"risk ({report['loss']})")
    _errors(bottom, epochs, at)
    bottom.set_ylabel("L1")
    epoch_axis(bottom, at)
    if bottom.get_legend_handles_labels()[1]:
        fig.legend(*bottom.get_legend_handles_labels(), loc="outside right center")
    return fig


def _errors(ax: Axes, epochs: Sequence[Report], at: Array) -> None:
    for rung in sorted({rung for e in epochs for rung in e["predictions"]}):
        made = [(x, e["predictions"][rung]["l1"]) for x, e in zip(at, epochs, strict=True) if rung in e["predictions"]]
        colour, style, marker = RUNG_STYLES.get(rung, UNKNOWN_RUNG)
        values = [mean["value"] for _, mean in made]
        bars = [mean["standard_error"] or 0.0 for _, mean in made]
        ax.errorbar([x for x, _ in made], values, bars, capsize=2, color=colour, ls=style, marker=marker, label=rung)
    if ax.lines:
        ax.set_yscale("log")
        plain_log_ticks(ax, fine=3)


FIGURES: dict[str, Draw] = {"seeds": seeds}
