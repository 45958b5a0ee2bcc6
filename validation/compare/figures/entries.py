"""Figures of the Hessian's entries (figs. 6 and 7 of the paper), drawn from the numbers of a report alone.

They need a report of a run with `--entries`; every function raises `ValueError` for one without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from validation.compare.captions.entries import PAPER_RATIO, with_entries
from validation.report.drawing import (
    INK,
    ORDER,
    TEST,
    TRAIN,
    Array,
    Draw,
    epoch_axis,
    figure,
    named_after,
    styled,
    symmetric_ticks,
)
from validation.report.source import Report, Source, content

Law = Mapping[str, Any]
PANELS = 3
LINEAR = 0.01  # µ/σ: up to here the axis of the means is linear
KINDS = {
    "covariance": (TRAIN, "o", r"covariance $\kappa_{ab}$"),
    "third": (ORDER, "D", r"third cumulant $\kappa_{aab}$"),
    "fourth": (TEST, "s", r"fourth cumulant $\kappa_{aabb}$"),
}


def of_entries(draw: Callable[[Report], Figure]) -> Draw:
    """`styled` for figures that need the statistics of entries at some recorded epoch."""
    in_style = styled(draw)

    def drawn(report: Source) -> Figure:
        data = content(report)
        if data.get("epochs") and not with_entries(data):
            raise ValueError("the report has no statistics of Hessian entries: run with --entries (entries=True)")
        return in_style(data)

    return named_after(draw, drawn)


def _colours(count: int) -> Array:
    shades: Array = mpl.colormaps["viridis"](np.linspace(0, 0.88, count))
    return shades


@of_entries
def entry_laws(report: Report) -> Figure:
    """Fig. 6a: laws of three single entries through training, a column each; averages of 1 and of 100 examples.

    Densities of |H_e| in the entry's own standard deviations on logarithmic axes, the positive side solid, the negative
    one dotted: where the two agree the law is symmetric. Exact zeros are drawn nowhere.
    """
    epochs = with_entries(report)
    chosen = _followed(epochs)
    edges = np.asarray(epochs[0]["entries"]["laws"]["edges"])
    sizes = sorted({law["average"] for _, k in _laws(epochs, chosen) for law in k["laws"]}) or [1]
    fig, panels = figure(1.2 + 2.2 * len(sizes), len(sizes), len(chosen), sharex="row", sharey="row")
    for place, index in enumerate(chosen):
        entries = [e["entries"]["laws"]["entries"][index] for e in epochs]
        for row, size in enumerate(sizes):
            ax = panels[row * len(chosen) + place]
            for epoch, entry, colour in zip(epochs, entries, _colours(len(epochs)), strict=True):
                for law in entry["laws"]:
                    if law["average"] == size:
                        _two_sides(ax, law["histogram"], edges, colour, str(epoch["epoch"]))
            ax.set(xscale="log", yscale="log")
            ax.xaxis.set_major_locator(LogLocator(numticks=6))
            ax.xaxis.set_minor_locator(NullLocator())
            if place == 0:
                ax.set_ylabel("density: single examples" if size == 1 else f"density: averages of {size}")
            if row == 0:
                ax.set_title(f"layers {entries[0]['layers'][0]} and {entries[0]['layers'][1]}")
    handles = {h.get_label(): h for ax in panels for h in ax.get_legend_handles_labels()[0]}
    signs = [mpl.lines.Line2D([], [], color=INK, ls=ls, lw=1.0, label=name) for ls, name in SIDES]
    fig.legend(handles=[*handles.values(), *signs], loc="outside upper center", ncols=10, title="epoch")
    fig.supxlabel(r"$|H_e|$ / standard deviation of $H_e$", fontsize=9)
    return fig


SIDES = (("-", "positive"), (":", "negative"))


def _laws(epochs: Sequence[Report], chosen: Sequence[int]) -> list[tuple[int, Law]]:
    return [(i, e["entries"]["laws"]["entries"][i]) for e in epochs for i in chosen]


def _followed(epochs: Sequence[Report]) -> list[int]:
    """Three of the half of the followed entries that are not 0 at most examples, from low, middle and high layers."""
    entries = [e["entries"]["laws"]["entries"] for e in epochs]
    seen = np.array([min(_signed(of[i]["laws"]) for of in entries) for i in range(len(entries[0]))])
    best = np.sort(np.argsort(-seen, kind="stable")[: max(PANELS, seen.size // 2)])
    chosen: list[int] = best[np.linspace(0, best.size - 1, min(PANELS, best.size)).round().astype(int)].tolist()
    return chosen


def _signed(laws: Sequence[Law]) -> int:
    """At how many single examples an entry is not 0."""
    single = [law["histogram"] for law in laws if law["average"] == 1]
    return sum(sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"]))) for law in single)


def _two_sides(ax: Axes, law: Law, edges: Array, colour: Any, label: str) -> None:
    total = law["zeros"] + sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"])))
    middle = np.sqrt(edges[1:] * edges[:-1])
    for (style, side), name in zip(SIDES, (label, None), strict=True):
        density = np.asarray(law[side], dtype=float) / (np.diff(edges) * max(total, 1))
        density[density == 0] = np.nan
        ax.plot(middle, density, color=colour, ls=style, lw=1.0, label=name)


@of_entries
def entry_correlations(report: Report) -> Figure:
    """Figs. 6b, 6c: correlation matrices of 100 entries at the first and the last epoch that has them."""
    known = [e for e in with_entries(report) if e["entries"]["correlation"]]
    shown = known if len(known) < 2 else [known[0], known[-1]]
    if not shown:
        return _nothing("correlation", "fewer than two entries vary over the examples")
    fig, panels = figure(4.1 if len(shown) > 1 else 5.2, 1, len(shown), sharey=True)
    for ax, epoch in zip(panels, shown, strict=True):
        correlation = epoch["entries"]["correlation"]
        image = ax.imshow(np.array(correlation["matrix"]), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none")
        ax.set(title=f"epoch {epoch['epoch']}", xlabel="entry, sorted by its two layers")
        first = np.array([pair[0] for pair in correlation["layers"]])
        starts = np.flatnonzero(np.diff(first, prepend=0))
        apart = np.append(np.diff(starts), len(first)) >= 4  # a label needs the height of four entries
        ax.set_yticks(starts, [str(layer) if far else "" for layer, far in zip(first[starts], apart, strict=True)])
        ax.set_xticks(starts, [""] * len(starts))
        ax.grid(False)
    panels[0].set_ylabel("lower of the two layers")
    fig.colorbar(image, ax=panels, label="correlation over examples", fraction=0.04, pad=0.02)
    return fig


@of_entries
def entry_means(report: Report) -> Figure:
    r"""Fig. 7a: the law of the means of entries over their standard deviation, :math:`\mu_e/\sigma_e`, by epoch.

    Dotted: its mirror image. Vertical lines: 0.15 standard deviations of an average of B examples, ±0.15/√B.
    """
    known = [e for e in with_entries(report) if e["entries"]["concentration"]]
    if not known:
        return _nothing("mean / standard deviation", "fewer than two entries vary over the examples")
    fig, (ax,) = figure(3.6, 1, 1)
    reach = 0.0
    for epoch, colour in zip(known, _colours(len(known)), strict=True):
        found = epoch["entries"]["concentration"]
        law, edges = found["law"], np.asarray(found["edges"])
        count = sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"]))) + law["zeros"]
        negative, positive = (np.asarray(law[side]) / (np.diff(edges) * count) for side in ("negative", "positive"))
        density = np.concatenate([negative[::-1], positive])
        density[density == 0] = np.nan
        middle = (edges[1:] + edges[:-1]) / 2
        at = np.concatenate([-middle[::-1], middle])
        ax.plot(at, density, color=colour, lw=1.1, label=str(epoch["epoch"]))
        ax.plot(at, density[::-1], color=colour, lw=0.8, ls=":")
        reach = max(reach, float(np.nanmax(np.where(np.isfinite(density), np.abs(at), np.nan))))
    ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.4)
    ax.set_yscale("log")
    for size in (B["average"] for B in known[0]["entries"]["concentration"]["averages"]):
        bound = known[0]["entries"]["concentration"]["bound"] / np.sqrt(size)
        for sign in (-1, 1):
            ax.axvline(sign * bound, color=INK, lw=0.7, ls=(0, (4, 3)), zorder=0.5)
        ax.annotate(
            f"B={size:,}", (bound, 1.0), xycoords=ax.get_xaxis_transform(), fontsize=6.5, ha="center", va="bottom"
        )
    symmetric_ticks(ax, (LINEAR, 0.1, 1.0), 1.15 * max(reach, 0.2))
    ax.set(xlabel=r"$\mu_e/\sigma_e$, mean over standard deviation of an entry", ylabel="density")
    fig.legend(loc="outside right upper", title="epoch")
    return fig


@of_entries
def entry_concentration(report: Report) -> Figure:
    """Fig. 7b: fraction of entries whose mean is within 0.15 standard deviations of an average of B examples.

    Bands: one bootstrap error (examples) and that over first parameters, in quadrature. Dotted: the fraction that means
    of exactly 0 would give. Grey: the paper's 95 to 98 %.
    """
    known = [e for e in with_entries(report) if e["entries"]["concentration"]]
    if not known:
        return _nothing("epoch", "fewer than two entries vary over the examples")
    at = np.array([e["epoch"] for e in known], dtype=float)
    sizes = [B["average"] for B in known[0]["entries"]["concentration"]["averages"]]
    fig, (ax,) = figure(3.6, 1, 1)
    ax.axhspan(0.95, 0.98, color="#d9d9d9", lw=0, zorder=0, label="paper: 0.95 to 0.98")
    markers = ("o", "s", "D", "^")
    for size, colour, marker in zip(
        sizes, mpl.colormaps["plasma"](np.linspace(0, 0.8, len(sizes))), markers, strict=False
    ):
        rows = [next(B for B in e["entries"]["concentration"]["averages"] if B["average"] == size) for e in known]
        keys = ("fraction", "standard_error", "entry_standard_error", "chance")
        value, error, between, chance = (np.array([row[key] or 0.0 for row in rows]) for key in keys)
        width = np.hypot(error, between)
        ax.fill_between(at, value - width, value + width, color=colour, alpha=0.25, lw=0)
        ax.plot(at, value, color=colour, marker=marker, ms=4, label=f"B = {size:,}")
        ax.plot(at, chance, color=colour, ls=":", lw=0.9)
    ax.plot([], [], color=INK, ls=":", lw=0.9, label="every mean 0")
    ax.set(
        ylabel=f"fraction within {known[0]['entries']['concentration']['bound']:g} standard deviations",
        ylim=(-0.02, 1.04),
    )
    epoch_axis(ax, at)
    fig.legend(loc="outside right upper", title="averages of B examples")
    return fig


@of_entries
def coupling_sets(report: Report) -> Figure:
    """Fig. 7c: coupling-set size as exponent of N, by epoch; numbers: its ratio to N² where a curve ends.

    Bands: one standard error over first parameters. Blue, dotted: what the mean square correlation alone requires of
    covariances. Grey: every entry that exists, and the paper's ratio 3.4e-4 at this N. A hollow triangle at the bottom
    stands for an epoch at which no pair was significant.
    """
    known = [e for e in with_entries(report) if e["entries"]["coupling"]]
    if not known:
        return _nothing("epoch", "fewer than two entries vary over the examples")
    at, n = np.array([e["epoch"] for e in known], dtype=float), report["network"]["n_weights"]
    fig, (ax,) = figure(4.2, 1, 1)
    exponent = partial(_exponent, n)
    whole = exponent([2.0 * known[0]["entries"]["existing"] / n**2])
    for level, style, name in ((whole, "-", "all entries"), (exponent([PAPER_RATIO]), "--", "paper, 3.4e-4 of $N^2$")):
        ax.axhline(level[0], color="#888888", lw=0.9, ls=style, label=name, zorder=1)
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


def _nothing(label: str, why: str) -> Figure:
    fig, (ax,) = figure(1.6, 1, 1)
    ax.set(xticks=[], yticks=[], xlabel=label, ylabel="value")
    ax.annotate(f"Nothing to draw: {why}.", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    return fig


ENTRY_FIGURES: dict[str, Draw] = {
    "entry_laws": entry_laws,
    "entry_correlations": entry_correlations,
    "entry_means": entry_means,
    "entry_concentration": entry_concentration,
    "coupling_sets": coupling_sets,
}
