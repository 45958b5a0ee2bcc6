"""The figure of the plasticity phase diagram, drawn from the report's numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from validation.predictions.rung import RUNGS
from validation.report.drawing import INK, Array, Draw, figure, house_style
from validation.report.source import Report

EMPTY = "#dcdcdc"  # no number: H = 0, or R5 left out
EDGE: dict[str, Any] = {"color": "#D55E00", "lw": 2.2, "solid_capstyle": "butt"}
PREDICTED_EDGE: dict[str, Any] = {"color": RUNGS["R7"].style[0], "lw": 1.6, "ls": (0, (3, 1.5))}
EQUAL: dict[str, Any] = {"color": INK, "lw": 1.1, "ls": (0, (2, 2))}
LEAST_RISK = 1e-4  # the darkest colour of risks above 0


def axes_of(report: Report) -> tuple[list[int], list[int]]:
    """Widths and numbers of examples of the grid."""
    rows = report["diagram"]
    return sorted({r["width"] for r in rows}), sorted({r["examples"] for r in rows})


def tiles(report: Report, value: Callable[[Report], float | None]) -> Array:
    """One number of every row of the diagram, widths down, examples across; NaN where there is none."""
    widths, examples = axes_of(report)
    grid = np.full((len(widths), len(examples)), np.nan)
    for row in report["diagram"]:
        found = value(row)
        if found is not None:
            grid[widths.index(row["width"]), examples.index(row["examples"])] = found
    return grid


def late(key: str) -> Callable[[Report], float | None]:
    """The mean of a quantity late in training."""
    return lambda row: row["late"][key]["value"] if row["late"][key] else None


def worst_asymmetry(row: Report) -> float | None:
    """Of the stages, the asymmetry over its standard error that is furthest from 0."""
    stages = [a for a in row["asymmetry"].values() if a is not None and a["standard_error"] > 0]
    return max((a["value"] / a["standard_error"] for a in stages), key=abs, default=None)


@house_style
def phase(report: Report) -> Figure:
    """Six maps over the plane of examples and width, with the edge of the phase in each."""
    fig, axes = figure(6.6, 2, 3, sharex=True, sharey=True)
    _risk(fig, axes[0], report)
    panels: Sequence[tuple[str, Callable[[Report], float | None], str, str]] = (
        ("smallest eigenvalue / rms", late("smallest"), "viridis_r", "{:z.1f}"),
        ("largest eigenvalue / rms", late("largest"), "viridis", "{:z.1f}"),
        ("fraction of negative eigenvalues", late("fraction_negative"), "viridis", "{:z.2f}"),
        ("asymmetry $m_3$ / standard error", worst_asymmetry, "RdBu_r", "{:z.1f}"),
        ("L1 of R5", late("l1"), "viridis", "{:z.3f}"),
    )
    for ax, (title, value, colours, form) in zip(axes[1:], panels, strict=True):
        grid = tiles(report, value)
        norm = _centred(grid) if colours == "RdBu_r" else _range(grid)
        _map(fig, ax, grid, norm, colours, title)
        _numbers(ax, grid, norm, colours, form)
    _crosses(axes[4], report)
    for ax in axes:
        _edge(ax, report)
    _equal(axes[0], report)
    fig.supxlabel("examples", fontsize=9)
    fig.supylabel("width", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
    return fig


def _range(grid: Array) -> Normalize:
    known = grid[np.isfinite(grid)]
    return Normalize(*(known.min(), known.max())) if known.size else Normalize(0, 1)


def _centred(grid: Array) -> Normalize:
    reach = max(4.0, float(np.nanmax(np.abs(grid), initial=0.0)))
    return TwoSlopeNorm(0.0, -reach, reach)


def _map(fig: Figure, ax: Axes, grid: Array, norm: Normalize, colours: str, title: str, bad: str = EMPTY) -> None:
    shade = mpl.colormaps[colours].with_extremes(bad=bad)
    image = ax.imshow(np.ma.masked_invalid(grid), cmap=shade, norm=norm, aspect="auto", origin="lower")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(title)
    fig.colorbar(image, ax=ax, aspect=30, pad=0.02).outline.set_visible(False)


def _ink(colours: str, norm: Normalize, value: float) -> str:
    """Black or white, whichever is read more easily on the colour of a value."""
    red, green, blue, _ = mpl.colormaps[colours](float(norm(value)))
    return "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else INK


def _numbers(ax: Axes, grid: Array, norm: Normalize, colours: str, form: str) -> None:
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            text = form.format(value).replace("-", "−")
            ax.text(j, i, text, ha="center", va="center", fontsize=6.5, color=_ink(colours, norm, value))


def _risk(fig: Figure, ax: Axes, report: Report) -> None:
    """Final risk, 0 left white, with the number of networks that reached it."""
    widths, examples = axes_of(report)
    grid = tiles(report, lambda row: row["risk"]["value"] if row["risk"] else None)
    norm = LogNorm(LEAST_RISK, 1.0, clip=True)
    _map(fig, ax, np.where(grid > 0, grid, np.nan), norm, "viridis", "final risk (white: exactly 0)", "white")
    for row in report["diagram"]:
        i, j = widths.index(row["width"]), examples.index(row["examples"])
        colour = _ink("viridis", norm, grid[i, j]) if grid[i, j] > 0 else INK
        ax.text(j, i, f"{row['zero']}/{row['networks']}", ha="center", va="center", fontsize=6.5, color=colour)
    ax.set_xticks(range(len(examples)), [f"{m:,}" for m in examples], rotation=45)
    ax.set_yticks(range(len(widths)), [str(n) for n in widths])


def _crosses(ax: Axes, report: Report) -> None:
    """A frame about the cells whose asymmetry is beyond its standard error."""
    widths, examples = axes_of(report)
    for row in report["diagram"]:
        if row["symmetric"] is False:
            corner = examples.index(row["examples"]) - 0.46, widths.index(row["width"]) - 0.46
            ax.add_patch(mpl.patches.Rectangle(corner, 0.92, 0.92, fill=False, ec=INK, lw=1.4))


def _edge(ax: Axes, report: Report) -> None:
    """The edge, between the tiles."""
    widths, examples = axes_of(report)
    at = [len(widths) if e["width"] is None else widths.index(e["width"]) for e in report["edge"]]
    across = np.repeat(np.arange(len(at) + 1) - 0.5, 2)[1:-1]
    ax.plot(across, np.repeat(at, 2) - 0.5, label="edge: above it most networks reach risk 0", **EDGE)
    told = [len(widths) if e["width"] is None else widths.index(e["width"]) for e in report["predicted_edge"]]
    ax.plot(across, np.repeat(told, 2) - 0.5, label="the same, predicted before training (R7)", **PREDICTED_EDGE)
    ax.set(xlim=(-0.5, len(examples) - 0.5), ylim=(-0.5, len(widths) - 0.5))


def _equal(ax: Axes, report: Report) -> None:
    """Where there are as many weights as examples, between the widths of the grid."""
    widths, examples = axes_of(report)
    sizes = {r["width"]: r["weights"] for r in report["diagram"]}
    if len(widths) > 1:
        heights = np.interp(np.log(examples), np.log([sizes[n] for n in widths]), np.arange(len(widths)),
                            left=np.nan, right=np.nan)  # fmt: skip
        ax.plot(range(len(examples)), heights, label="as many weights as examples", **EQUAL)


FIGURES: dict[str, Draw] = {"phase": phase}
