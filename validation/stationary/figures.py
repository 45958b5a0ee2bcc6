"""The figure of the search for stationary points, drawn from the report's numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.measurements.stationary import FLAT, KINK, KINKED, MAXIMUM, MINIMUM, OPEN, SADDLE, ZERO_RISK
from validation.report.drawing import INK, Draw, figure, house_style
from validation.report.source import Report

STYLES: dict[str, dict[str, Any]] = {
    SADDLE: {"color": "#0072B2", "marker": "o", "ms": 5},
    KINKED: {"color": "#56B4E9", "marker": "D", "ms": 4.5},
    FLAT: {"color": "#009E73", "marker": "s", "ms": 5},
    ZERO_RISK: {"color": "#F0E442", "marker": "*", "ms": 8, "mec": INK, "mew": 0.5},
    MINIMUM: {"color": "#CC79A7", "marker": "v", "ms": 5},
    MAXIMUM: {"color": "#CC79A7", "marker": "^", "ms": 5},
    KINK: {"color": "#D55E00", "marker": "x", "ms": 4, "mew": 0.9},
    OPEN: {"color": "#999999", "marker": "+", "ms": 5, "mew": 0.9},
}
NO_INDEX, LEAST = -0.06, 1e-16  # where points without an index are drawn, and gradients that are 0


@house_style
def stationary(report: Report) -> Figure:
    """Index and what is left of the gradient against the risk, a column for every loss."""
    losses = list(dict.fromkeys(cell["loss"] for cell in report["cells"]))
    fig, axes = figure(5.8, 2, len(losses), sharex="col", sharey="row")
    for column, loss in enumerate(losses):
        cells = [cell for cell in report["cells"] if cell["loss"] == loss]
        above, below = axes[column], axes[len(losses) + column]
        _index(above, cells)
        _gradient(below, cells, report["options"]["tolerance"])
        above.set_title(loss)
        below.set_xlabel("risk")
    axes[0].set_ylabel("index")
    axes[len(losses)].set_ylabel("$||\\nabla R||$ / orthogonal terms")
    known = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(list(known.values()), list(known), loc="outside upper center", ncols=5)
    return fig


def _index(ax: Axes, cells: list[Report]) -> None:
    for cell in cells:
        run = [r for r in cell["run"] if r["value"] is not None]
        ax.plot([r["risk"] for r in run], [r["value"] for r in run], color=INK, lw=0.8, label="the training")
    _points(ax, cells, lambda s: NO_INDEX if s["index"] is None else s["index"])
    ax.axhline(0.5, color="#bbbbbb", lw=0.7, zorder=0)
    ax.set_ylim(-0.1, 0.65)


def _gradient(ax: Axes, cells: list[Report], tolerance: float) -> None:
    _points(ax, cells, lambda s: max(s["relative"], LEAST))
    ax.axhline(tolerance, color=INK, lw=0.8, ls=(0, (3, 2)))
    ax.set_yscale("log")


def _points(ax: Axes, cells: list[Report], value: Any) -> None:
    for kind, style in reversed(STYLES.items()):
        ends = [s for cell in cells for s in cell["searches"] if s["kind"] == kind]
        if ends:
            ax.plot([s["risk"] for s in ends], np.array([value(s) for s in ends]), ls="none", label=kind, **style)


FIGURES: dict[str, Draw] = {"stationary": stationary}
