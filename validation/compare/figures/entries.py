"""Figures of the Hessian's entries (figs. 6 and 7 of the paper), drawn from the numbers of a report alone.

They need a report of a run with `--entries`; every function raises `ValueError` for one without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from validation.compare.captions.entries import with_entries
from validation.report.drawing import INK, Array, Draw, epoch_axis, figure, symmetric_ticks
from validation.report.source import Report

from .coupling import coupling_sets
from .of_entries import nothing, of_entries

Law = Mapping[str, Any]
PANELS = 3
SIDES_OF_LABELS: tuple[tuple[str, Callable[[Law], Law]], ...] = (
    ("entries", lambda entries: entries["concentration"]),
    (r"$\partial^2 T$ itself, without labels", lambda entries: entries["second_derivative"]["concentration"]),
)
LINEAR = 0.01  # µ/σ: up to here the axis of the means is linear


def _colours(count: int) -> Array:
    shades: Array = mpl.colormaps["viridis"](np.linspace(0, 0.88, count))
    return shades


@of_entries
def entry_laws(report: Report) -> Figure:
    """Fig. 6a: laws of three single entries through training, a column each.

    From above: over single examples, averages of 100, and ∂²T itself, without the labels, over single examples.

    Densities of |H_e| in the entry's own standard deviations on logarithmic axes, the positive side solid, the negative
    one dotted: where the two agree the law is symmetric. Exact zeros are drawn nowhere.
    """
    epochs = with_entries(report)
    chosen = _followed(epochs)
    edges = np.asarray(epochs[0]["entries"]["laws"]["edges"])
    sizes = sorted({law["average"] for _, k in _laws(epochs, chosen) for law in k["laws"]}) or [1]
    fig, panels = figure(3.4 + 2.2 * len(sizes), len(sizes) + 1, len(chosen), sharex="row", sharey="row")
    for place, index in enumerate(chosen):
        entries = [e["entries"]["laws"]["entries"][index] for e in epochs]
        for row, size in enumerate(sizes):
            ax = panels[row * len(chosen) + place]
            for epoch, entry, colour in zip(epochs, entries, _colours(len(epochs)), strict=True):
                for law in entry["laws"]:
                    if law["average"] == size:
                        _two_sides(ax, law["histogram"], edges, colour, str(epoch["epoch"]))
            if row == 0:
                ax.set_title(f"layers {entries[0]['layers'][0]} and {entries[0]['layers'][1]}")
        own = panels[len(sizes) * len(chosen) + place]
        for epoch, entry, colour in zip(epochs, entries, _colours(len(epochs)), strict=True):
            if entry["second_derivative"]:
                _two_sides(own, entry["second_derivative"], edges, colour, str(epoch["epoch"]))
    names = ["density: single examples" if size == 1 else f"density: averages of {size}" for size in sizes]
    for row, name in enumerate([*names, r"density: $\partial^2 T$ itself"]):
        panels[row * len(chosen)].set_ylabel(name)
    for ax in panels:
        ax.set(xscale="log", yscale="log")
        ax.xaxis.set_major_locator(LogLocator(numticks=6))
        ax.xaxis.set_minor_locator(NullLocator())
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
        return nothing("correlation", "fewer than two entries vary over the examples")
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

    On the right the same of ∂²T itself. Dotted: the mirror image. Vertical lines: 0.15 standard deviations of an
    average of B examples, ±0.15/√B.
    """
    known = [e for e in with_entries(report) if e["entries"]["concentration"]]
    if not known:
        return nothing("mean / standard deviation", "fewer than two entries vary over the examples")
    fig, panels = figure(3.6, 1, 2, sharey=True)
    reach = [0.2]
    for ax, (title, of) in zip(panels, SIDES_OF_LABELS, strict=True):
        found = [of(e["entries"]) for e in known]
        reach += [
            _law_of_means(ax, one, colour, str(e["epoch"]))
            for one, e, colour in zip(found, known, _colours(len(known)), strict=True)
        ]
        ax.set_xscale("symlog", linthresh=LINEAR, linscale=0.4)
        ax.set_yscale("log")
        _bounds(ax, found[0])
        ax.set_title(title, loc="left")
    for ax in panels:
        symmetric_ticks(ax, (LINEAR, 0.1, 1.0), 1.15 * max(reach))
    panels[0].set(xlabel=r"$\mu_e/\sigma_e$ of an entry", ylabel="density")
    panels[1].set(xlabel=r"$\mu_e/\sigma_e$ of $\partial^2 T$ itself")
    fig.legend(handles=panels[0].get_legend_handles_labels()[0], loc="outside right upper", title="epoch")
    return fig


def _law_of_means(ax: Axes, found: Law, colour: Any, label: str) -> float:
    """The law of means over deviations and its mirror image; how far out it goes."""
    law, edges = found["law"], np.asarray(found["edges"])
    count = sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"]))) + law["zeros"]
    negative, positive = (np.asarray(law[side]) / (np.diff(edges) * count) for side in ("negative", "positive"))
    density = np.concatenate([negative[::-1], positive])
    density[density == 0] = np.nan
    middle = (edges[1:] + edges[:-1]) / 2
    at = np.concatenate([-middle[::-1], middle])
    ax.plot(at, density, color=colour, lw=1.1, label=label)
    ax.plot(at, density[::-1], color=colour, lw=0.8, ls=":")
    return float(np.max(np.abs(at[np.isfinite(density)]), initial=0.0))


def _bounds(ax: Axes, found: Law) -> None:
    """±0.15/√B for every B."""
    for size in (B["average"] for B in found["averages"]):
        bound = found["bound"] / np.sqrt(size)
        for sign in (-1, 1):
            ax.axvline(sign * bound, color=INK, lw=0.7, ls=(0, (4, 3)), zorder=0.5)
        ax.annotate(
            f"B={size:,}", (bound, 1.0), xycoords=ax.get_xaxis_transform(), fontsize=6.5, rotation=40, va="bottom",
        )  # fmt: skip


@of_entries
def entry_concentration(report: Report) -> Figure:
    """Fig. 7b: fraction of entries whose mean is within 0.15 standard deviations of an average of B examples.

    Bands: one bootstrap error (examples) and that over first parameters, in quadrature. Dotted: the fraction that means
    of exactly 0 would give. Crosses: random labels. Right: ∂²T itself. Grey: the paper's 95 to 98 %.
    """
    known = [e for e in with_entries(report) if e["entries"]["concentration"]]
    if not known:
        return nothing("epoch", "fewer than two entries vary over the examples")
    at = np.array([e["epoch"] for e in known], dtype=float)
    sizes = [B["average"] for B in known[0]["entries"]["concentration"]["averages"]]
    fig, panels = figure(3.6, 1, 2, sharey=True)
    colours = mpl.colormaps["plasma"](np.linspace(0, 0.8, len(sizes)))
    for ax, (title, of) in zip(panels, SIDES_OF_LABELS, strict=True):
        ax.axhspan(0.95, 0.98, color="#d9d9d9", lw=0, zorder=0, label="paper: 0.95 to 0.98")
        for size, colour, marker in zip(sizes, colours, ("o", "s", "D", "^"), strict=False):
            rows = [next(B for B in of(e["entries"])["averages"] if B["average"] == size) for e in known]
            keys = ("fraction", "standard_error", "entry_standard_error", "chance")
            value, error, between, chance = (np.array([row[key] or 0.0 for row in rows]) for key in keys)
            width = np.hypot(error, between)
            ax.fill_between(at, value - width, value + width, color=colour, alpha=0.25, lw=0)
            ax.plot(at, value, color=colour, marker=marker, ms=4, label=f"B = {size:,}")
            ax.plot(at, chance, color=colour, ls=":", lw=0.9)
        ax.set(title=title, ylim=(-0.02, 1.04))
        epoch_axis(ax, at)
    for place, colour in enumerate(colours):
        null = [e["entries"]["random_labels"]["concentration"]["averages"][place]["value"] for e in known]
        panels[0].plot(at, null, color=colour, marker="x", ms=6, ls="none")
    panels[0].plot([], [], color=INK, marker="x", ls="none", label="random labels")
    panels[0].plot([], [], color=INK, ls=":", lw=0.9, label="every mean 0")
    panels[0].set_ylabel(f"fraction within {known[0]['entries']['concentration']['bound']:g} standard deviations")
    fig.legend(
        handles=panels[0].get_legend_handles_labels()[0], loc="outside right upper", title="averages of B examples"
    )
    return fig


ENTRY_FIGURES: dict[str, Draw] = {
    "entry_laws": entry_laws,
    "entry_correlations": entry_correlations,
    "entry_means": entry_means,
    "entry_concentration": entry_concentration,
    "coupling_sets": coupling_sets,
}
