"""How far the circuits lean to the labels, epoch by epoch (the broken share of section II D)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.report.drawing import INK, TEST, TRAIN, Array, column, epoch_axis, figure, styled
from validation.report.source import Report

UNSIGNED = "#777777"


@styled
def aligned_share(report: Report) -> Figure:
    r"""The label-aligned share of the circuits, :math:`\sum y\,T / \sum\sum|x\Psi|`, of all examples and by class.

    Bars: two standard errors over the examples. Band: two standard deviations, about 0, over random signs of the last
    layer's weights. Dotted: :math:`|T|` in place of :math:`y\,T`.
    """
    epochs = report["epochs"]
    at = column(epochs, "epoch")
    shares = [e["aligned"] for e in epochs]
    fig, (ax,) = figure(3.6, 1, 1)
    chance = 2.0 * column(shares, "chance")
    ax.fill_between(at, -chance, chance, color="#dddddd", lw=0, label="random signs of $W_L$")
    if len(at) == 1:
        ax.errorbar(at, [0.0], chance, color="#dddddd", lw=6, zorder=1)
    ax.axhline(0, color=INK, lw=0.7)
    series = [
        ("negative examples", [s["classes"]["negative"] for s in shares], TEST, "s", "--"),
        ("positive examples", [s["classes"]["positive"] for s in shares], TRAIN, "^", "--"),
        ("all examples", shares, INK, "o", "-"),
        (r"$|T|$ for $y\,T$", [s["unsigned"] for s in shares], UNSIGNED, ".", ":"),
    ]
    for name, rows, colour, marker, style in series:
        _drawn(ax, at, rows, label=name, color=colour, marker=marker, ls=style, ms=4, lw=1.1)
    if not np.isfinite(column(shares, "value")).any():
        ax.annotate("no circuit is live", (0.5, 0.7), xycoords="axes fraction", ha="center")
    ax.set_ylabel(r"$\sum y\,T \; / \; \sum\sum |x\,\Psi|$")
    epoch_axis(ax, at)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return fig


def _drawn(ax: Axes, at: Array, rows: Sequence[Report], **style: Any) -> None:
    """A line through shares, with bars of two standard errors where there are any."""
    errors = 2.0 * np.nan_to_num(column(rows, "standard_error"))
    ax.errorbar(at, column(rows, "value"), errors, capsize=2, elinewidth=0.9, **style)
