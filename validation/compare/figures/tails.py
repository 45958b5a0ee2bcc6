"""The far ends of the Hessian spectrum, measured and predicted, and what figures of spectra share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulator import SpectralDensity
from validation.compare.captions.run import zero_spectra
from validation.predictions.rung import rungs_of, title_of
from validation.report.drawing import INK, RUNG_STYLES, UNKNOWN_RUNG, Array, figure, styled, symmetric_ticks
from validation.report.source import Report
from validation.statistics.extremes import SIDES, TAILS

SIDE_LINES = {"positive": "-", "negative": ":"}


@styled
def tails(report: Report) -> Figure:
    """Numbers of eigenvalues beyond an energy, measured on either side and predicted, for each epoch with H ≠ 0.

    Energies in units of the rms, both axes logarithmic. Nothing is smoothed: numbers are N times the weights of the
    Lanczos nodes beyond, means over probes or draws, or those that a solved law expects. Predictions: the mean of both
    sides.
    """
    epochs = [e for e in report["epochs"] if e["spectrum"]["rms"] > 0]
    if not epochs:
        return zero_panel(textwrap.wrap(zero_spectra(report), 104))
    reach = max(e["spectrum"]["tail_energies"][-1] for e in epochs)
    columns = min(3, len(epochs))
    rows = -(-len(epochs) // columns)
    fig, panels = figure(1.2 + 2.2 * rows, rows, columns, sharey=True, sharex=True)
    for ax, epoch in zip(panels, epochs, strict=False):
        _tail_panel(ax, epoch, report["network"]["n_weights"], reach)
    for ax in panels[len(epochs) :]:
        ax.remove()
    for ax in panels[max(0, len(epochs) - columns) : len(epochs)]:
        ax.tick_params(labelbottom=True)
    fig.supxlabel("|E| / rms", fontsize=9)
    fig.supylabel("eigenvalues beyond", fontsize=9)
    sides = [Line2D([], [], color=INK, lw=0.9, ls=ls) for ls in SIDE_LINES.values()]
    made = {rung for e in epochs for rung, p in e["predictions"].items() if "alpha" in p or "tail_counts" in p}
    rungs = [rung for rung in rungs_of(report) if rung in made]
    rung_legend(fig, sides, [f"measured, {side}" for side in SIDE_LINES], rungs)
    return fig


def _tail_panel(ax: Axes, epoch: Report, size: int, reach: float) -> None:
    law = epoch["spectrum"]
    sizes = np.asarray(law["tail_energies"])
    ax.set(xscale="log", yscale="log", xlim=(TAILS[0], reach))
    ax.xaxis.set_major_locator(FixedLocator([t for t in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if t < reach]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_title(f"epoch {epoch['epoch']}   (risk {epoch['risk']:.2g})")
    for rung, prediction in sorted(epoch["predictions"].items()):
        colour, style, _ = RUNG_STYLES.get(rung, UNKNOWN_RUNG)
        if "alpha" in prediction:
            counts = np.mean([beyond(prediction, sign, sizes * law["rms"], size) for sign in SIDES.values()], axis=0)
        elif "tail_counts" in prediction:
            counts = np.asarray(prediction["tail_counts"])
        else:
            continue
        ax.plot(sizes, np.where(counts > 0, counts, np.nan), color=colour, ls=style, lw=1.2)
    for side, sign in SIDES.items():
        counts = beyond(law, sign, sizes * law["rms"], size)
        ax.plot(sizes, np.where(counts > 0, counts, np.nan), color=INK, lw=0.9, ls=SIDE_LINES[side])
    ax.set_ylim(bottom=0.5)


def beyond(law: Report, sign: int, sizes: Array, n: int) -> Array:
    """Numbers of n eigenvalues beyond energies on one side, from the nodes of recurrences: means over probes."""
    rule = SpectralDensity.from_recurrence(law["alpha"], law["beta"])
    share: Array = np.sum(rule.weights * (sign * rule.nodes > sizes[:, None, None]), axis=(1, 2))
    return n * share / len(rule.nodes)


def rung_legend(fig: Figure, handles: Sequence[Artist], names: Sequence[str], rungs: Sequence[str]) -> None:
    """One legend above all panels: what `names` say of `handles`, then every rung with its title."""
    styles = [RUNG_STYLES.get(rung, UNKNOWN_RUNG) for rung in rungs]
    lines = [Line2D([], [], color=colour, ls=style, lw=1.3) for colour, style, _ in styles]
    words = [*names, *(f"{rung}  {title_of(rung)}" for rung in rungs)]
    fig.legend([*handles, *lines], words, loc="outside upper center", ncols=3)


def zero_panel(zero: Sequence[str]) -> Figure:
    """A figure in the place of spectra that are 0 at every epoch, with the reason in words."""
    fig, (ax,) = figure(2.4, 1, 1)
    symmetric_ticks(ax, [], 1.0)
    ax.set(yticks=[], xlabel="E", ylabel="density")
    ax.grid(False)
    ax.spines["left"].set_visible(False)
    ax.annotate("\n".join(zero), (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    return fig
