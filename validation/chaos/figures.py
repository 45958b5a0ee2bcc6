"""The figure of the correlation map and of the plane of gain and χ, drawn from the report's numbers alone."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure

from theory import correlation_map
from validation.report.drawing import INK, Draw, figure, house_style, plain_log_ticks
from validation.report.source import Report

from .summary import chi_of

START, END = "#0072B2", "#D55E00"
THIN: dict[str, Any] = {"color": INK, "lw": 0.8, "ls": (0, (1, 2))}


@house_style
def chaos(report: Report) -> Figure:
    """Maps of the layers before and after training, χ through training, and the plane of gain and χ."""
    fig, _ = figure(6.4, 1, 1)
    fig.clear()
    above, below = fig.subfigures(2, 1, squeeze=False, height_ratios=(1.0, 1.3))[:, 0]
    _maps(list(above.subplots(1, report["options"]["depth"] - 1, squeeze=False).flat), report)
    through, plane = below.subplots(1, 2)
    _through(below, through, report)
    _plane(plane, report)
    return fig


def _maps(axes: list[Axes], report: Report) -> None:
    gains = sorted({c["gain"] for c in report["cells"]}, key=lambda g: abs(math.log(g)))
    cell = next((c for c in report["cells"] if c["gain"] == gains[0] and c["records"]), None)
    line = np.linspace(-1.0, 1.0, 201)
    for number, ax in enumerate(axes, start=1):
        if cell is not None:
            for which, colour, label in ((0, START, "start"), (-1, END, "end")):
                pairs = np.array(cell["records"][which]["layers"][number - 1]["pairs"]).reshape(-1, 2)
                ax.plot(pairs[:, 0], pairs[:, 1], ".", ms=2.5, color=colour, label=label)
        ax.plot(line, correlation_map(line), color=INK, lw=1.0, label="κ")
        ax.set(title=f"layer {number}", xlim=(-0.6, 1.03), ylim=(0, 1.02), xlabel="ρ before")
    axes[0].set_ylabel("ρ behind")
    axes[0].legend(loc="lower right", markerscale=3)


def _through(fig: SubFigure, ax: Axes, report: Report) -> None:
    gains = [row["gain"] for row in report["rows"]]
    norm, colours = LogNorm(min(gains) / 1.01, max(gains) * 1.01), mpl.colormaps["viridis"]
    for cell in report["cells"]:
        seen = [r for r in cell["records"] if r["chi_mean"]]
        ax.plot(
            [r["epoch"] + 1 for r in seen], [r["chi_mean"] for r in seen], color=colours(norm(cell["gain"])), lw=0.8
        )
    ax.axhline(1.0, **THIN)
    ax.set(xscale="log", yscale="log", xlabel="1 + epoch", ylabel="χ")
    plain_log_ticks(ax, fine=2)
    bar = fig.colorbar(mpl.cm.ScalarMappable(norm, colours), ax=ax, label="gain", pad=0.02)
    bar.set_ticks([g for g in gains], labels=[f"{g:g}" for g in gains])
    bar.minorticks_off()


def _plane(ax: Axes, report: Report) -> None:
    rows = report["rows"]
    gains = np.array([row["gain"] for row in rows])
    for name, colour, marker, label in (("chi_start", START, "o", "start"), ("chi_end", END, "s", "end")):
        for row in rows:
            chi = chi_of(row, name)
            if chi is not None:
                ax.errorbar(
                    row["gain"], chi["value"], chi["standard_error"] or 0.0, fmt=marker, color=colour, ms=6, lw=0.9,
                    mfc=colour if row["plastic"] else "white",
                )  # fmt: skip
        ax.plot([], [], marker, color=colour, label=f"{label} (filled: plastic)")
    line = np.geomspace(gains.min(), gains.max(), 50)
    ax.plot(line, line**2, **THIN)
    ax.axhline(1.0, **THIN)
    ax.set(xscale="log", yscale="log", xlabel="gain", ylabel="χ")
    plain_log_ticks(ax, fine=2)
    plain_log_ticks(ax, fine=2, horizontal=True)
    ax.legend(loc="upper left")


FIGURES: dict[str, Draw] = {"chaos": chaos}
