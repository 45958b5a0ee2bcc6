"""The figure of coupling sets (fig. 7c of the paper), drawn from the numbers of a report alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.compare.captions.entries import PAPER_RATIO, with_entries
from validation.report.drawing import INK, ORDER, TEST, TRAIN, Array, epoch_axis, figure
from validation.report.source import Report

from .of_entries import nothing, of_entries

KINDS = {
    "covariance": (TRAIN, "o", r"covariance $\kappa_{ab}$"),
    "third": (ORDER, "D", r"third cumulant $\kappa_{aab}$"),
    "fourth": (TEST, "s", r"fourth cumulant $\kappa_{aabb}$"),
}


@of_entries
def coupling_sets(report: Report) -> Figure:
    """Fig. 7c: coupling-set size as exponent of N, by epoch; numbers: its ratio to N² where a curve ends.

    Bands: one standard error over first parameters. Blue, dotted: what the mean square correlation alone requires of
    covariances. Grey: every entry that exists, and the paper's ratio 3.4e-4 at this N. Black, dotted: what the theorem
    on the spectrum wants neighbourhoods to stay below. A hollow triangle at the bottom
    stands for an epoch at which no pair was significant.
    """
    known = [e for e in with_entries(report) if e["entries"]["coupling"]]
    if not known:
        return nothing("epoch", "fewer than two entries vary over the examples")
    at, n = np.array([e["epoch"] for e in known], dtype=float), report["network"]["n_weights"]
    fig, (ax,) = figure(4.2, 1, 1)
    exponent = partial(_exponent, n)
    whole = exponent([2.0 * known[0]["entries"]["existing"] / n**2])
    for level, style, name in ((whole, "-", "all entries"), (exponent([PAPER_RATIO]), "--", "paper, 3.4e-4 of $N^2$")):
        ax.axhline(level[0], color="#888888", lw=0.9, ls=style, label=name, zorder=1)
    ax.axhline(0.5, color=INK, lw=0.9, ls=(0, (1, 1)), label=r"theorem: below $N^{1/2}$", zorder=1)
    least = exponent([e["entries"]["coupling"]["least_ratio"] for e in known])
    ax.plot(at, least, color=TRAIN, lw=0.9, ls=":", marker=".", label="least, by mean square correlation")
    ends = []
    for place, (kind, (colour, marker, name)) in enumerate(KINDS.items()):
        rows = [e["entries"]["coupling"][kind] for e in known]
        value = exponent([row["ratio"] for row in rows])
        error = np.array([row["exponent_standard_error"] or 0.0 for row in rows])
        ax.fill_between(at, value - error, value + error, color=colour, alpha=0.25, lw=0)
        ax.plot(at, value, color=colour, marker=marker, ms=4, label=name)
        none = at[np.isnan(value)]
        height = np.full(none.size, 0.02 + 0.03 * place)
        ax.plot(none, height, color=colour, marker="v", mfc="none", ls="none", transform=ax.get_xaxis_transform())
        if none.size < at.size:
            last = int(np.flatnonzero(np.isfinite(value))[-1])
            ends.append((float(value[last]), float(at[last]), colour, f"{rows[last]['ratio']:.1e}"))
    if any(e["entries"]["coupling"][kind]["exponent"] is None for e in known for kind in KINDS):
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.15 * (high - low), high)
        ax.plot([], [], color=INK, marker="v", mfc="none", ls="none", label="no pair significant")
    epoch_axis(ax, at)
    ax.set_xlim(right=at.max() + 0.12 * max(np.ptp(at), 1.0))
    _end_labels(ax, ends)
    ax.set_ylabel(r"coupling-set size: $\log_N$ of the number of entries")
    fig.legend(loc="outside upper center", ncols=3)
    return fig


def _exponent(n: int, ratios: Sequence[float]) -> Array:
    """log_N of ratio × N²; NaN where the ratio is 0."""
    ratio = np.array(ratios, dtype=float)
    exponent: Array = 2.0 + np.log(np.where(ratio > 0, ratio, np.nan)) / np.log(n)
    return exponent


def _end_labels(ax: Axes, ends: Sequence[tuple[float, float, Any, str]]) -> None:
    """Write each curve's last ratio beside its last point, far enough apart to be read."""
    low, high = ax.get_ylim()
    gap, last = 0.06 * (high - low), -np.inf
    for value, x, colour, text in sorted(ends, key=lambda end: end[0]):
        last = max(value, last + gap)
        ax.annotate(text, (x, last), (7, 0), textcoords="offset points", color=colour, fontsize=7.5, va="center")
