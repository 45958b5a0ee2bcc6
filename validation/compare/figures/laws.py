"""Figures of the microscopic symmetries: laws of the weights, of circuits and of gradient entries (figs. 3, 4a).

A histogram is drawn so that what is broken can be seen: grey, what a law has in common with its mirror image; in
colour, the surplus of one side over the other. The coloured share of an area is the broken symmetry of
docs/theory/estimators.md, on the bins of the figure and noise included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from validation.report.drawing import INK, TEST, TRAIN, WIDTH, Array, HouseFigure, figure, styled, symmetric_ticks
from validation.report.source import Report

COMMON = "#d9d9d9"
LINEAR = 0.1  # rms: up to here the axis of the gradient is linear
RIDGE = 1.25  # height of the highest ridge, in distances of two
COLUMNS = 4
LABEL = {"facecolor": "white", "alpha": 0.75, "pad": 0.6, "lw": 0}  # behind a number that may meet a ridge
SHOWN = 0.999  # share of every law that the axis must show

Law = Mapping[str, Any]


@styled
def weight_histograms(report: Report) -> Figure:
    """Fig. 3a: the law of the weights, a panel per layer and a ridge per recorded epoch.

    Weights are in standard deviations of the layer's initial law. Beside each ridge: the broken symmetry less its null.
    """
    epochs = report["epochs"]
    edges = np.asarray(epochs[0]["weight_histograms"]["edges"])
    by_layer = [[e["weight_histograms"]["layers"][i] for e in epochs] for i in _layers(report)]
    reach = max(3.0, *(_reach(law, edges) for laws in by_layer for law in laws))
    fig, panels = _grid(report, top=False)
    for i, (ax, laws) in enumerate(zip(panels, by_layer, strict=True)):
        _ridges(ax, laws, edges, edges, [e["weight_symmetry"][i] for e in epochs])
        ax.set_xlim(-1.25 * reach, 1.25 * reach)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))
    fig.supxlabel("weight / standard deviation of the layer's initial law", fontsize=9)
    return fig


@styled
def gradient_histograms(report: Report) -> Figure:
    """Fig. 4a: the law of the gradient's entries; above, of all of them by epoch, below, layer by layer.

    Entries are in units of the rms, on an axis that is linear up to 0.1 rms and logarithmic beyond. Above: densities,
    on a logarithmic axis. Below: shares per unit of the drawn axis, as ridges.
    """
    epochs = report["epochs"]
    edges = np.asarray(epochs[0]["gradient_histograms"]["edges"])
    by_layer = [[e["gradient_histograms"]["layers"][i] for e in epochs] for i in _layers(report)]
    whole = [e["gradient_histograms"]["all"] for e in epochs]
    reach = max(3.0, *(_reach(law, edges, 1.0) for laws in [whole, *by_layer] for law in laws))
    fig, (top, *panels) = _grid(report, top=True)
    _densities(top, epochs, whole, edges)
    for i, (ax, laws) in enumerate(zip(panels, by_layer, strict=True)):
        _ridges(ax, laws, edges, np.arcsinh(edges / LINEAR), [e["gradient_symmetry"][i] for e in epochs])
    for ax in (top, *panels):
        ax.set_xscale("asinh", linear_width=LINEAR)
        symmetric_ticks(ax, [t for t in ((0.1, 1, 10, 100) if ax is top else (1, 10, 100)) if t < reach], 2.5 * reach)
    fig.supxlabel("gradient entry / rms", fontsize=9)
    return fig


def _layers(report: Report) -> range:
    return range(len(report["network"]["weight_shapes"]))


def _reach(law: Law, edges: Array, shown: float = SHOWN) -> float:
    """The edge within which the given share of a law's histogram lies."""
    counts = np.cumsum(np.add(law["positive"], law["negative"]))
    return float(edges[1 + np.searchsorted(counts, shown * counts[-1])]) if counts[-1] else 0.0


def _grid(report: Report, top: bool) -> tuple[Figure, list[Axes]]:
    """A panel per layer, four in a row, with epochs as rows; before them, if wanted, one across the page."""
    epochs, shapes = report["epochs"], report["network"]["weight_shapes"]
    columns = min(COLUMNS, len(shapes))
    rows = -(-len(shapes) // columns)
    panel, head = max(0.27 * (len(epochs) + RIDGE), 1.5), 2.4 if top else 0.0
    names = [str(i) if i < len(shapes) else "." for i in range(rows * columns)]
    mosaic: list[Any] = [["top"] * columns] if top else []
    mosaic += [names[row * columns : (row + 1) * columns] for row in range(rows)]
    fig = HouseFigure(figsize=(WIDTH, 0.9 + head + rows * (panel + 0.4)), layout="constrained")
    axes = fig.subplot_mosaic(mosaic, height_ratios=[*([head] if top else []), *[panel] * rows])
    for i, shape in enumerate(shapes):
        ax = axes[str(i)]
        ax.set_title(f"{i + 1}   ({'×'.join(map(str, shape))})", fontsize=8)
        ax.set(ylim=(0.8 - len(epochs), RIDGE + 0.15))
        ax.set_yticks(-np.arange(len(epochs)), [str(e["epoch"]) if i % columns == 0 else "" for e in epochs])
        ax.set_ylabel("epoch" if i % columns == 0 else "")
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(False)
    surplus = [Patch(color=colour) for colour in (COMMON, TEST, TRAIN)]
    words = ["common with the mirror image", "surplus of negative values", "surplus of positive values"]
    fig.legend(surplus, words, loc="outside upper center", ncols=3)
    return fig, [axes[name] for name in (["top"] if top else []) + [str(i) for i in range(len(shapes))]]


def _ridges(ax: Axes, laws: Sequence[Law], edges: Array, measure: Array, symmetries: Sequence[Report]) -> None:
    """One law below the other, first epoch on top; heights are shares per unit of `measure`, which maps the edges."""
    drawn = [_halves(law, edges, measure) for law in laws]
    highest = max((float(np.max(side)) for _, *sides in drawn for side in sides), default=0.0) or 1.0
    for row, ((at, negative, positive), symmetry) in enumerate(zip(drawn, symmetries, strict=True)):
        base = float(-row)
        ax.axhline(base, color="#bbbbbb", lw=0.5, zorder=row)
        for sign, height, other, colour in ((-1, negative, positive, TEST), (1, positive, negative, TRAIN)):
            full, common = (base + RIDGE / highest * h[::sign] for h in (height, np.minimum(height, other)))
            edge = (sign * at)[::sign]
            ax.stairs(full, edge, baseline=base, fill=True, color=colour, lw=0, zorder=row + 0.2)
            ax.stairs(common, edge, baseline=base, fill=True, color=COMMON, lw=0, zorder=row + 0.3)
            ax.stairs(full, edge, baseline=None, color=INK, lw=0.5, zorder=row + 0.4)
        excess = None if symmetry["value"] is None else symmetry["value"] - symmetry["null"]
        text = "all 0" if excess is None else f"{excess:z.2f}".replace("-", "−")
        ax.text(
            0.99, base + 0.1, text, transform=ax.get_yaxis_transform(), ha="right", fontsize=6.5, zorder=99, bbox=LABEL
        )


def _halves(law: Law, edges: Array, measure: Array) -> tuple[Array, Array, Array]:
    """(edges, negative, positive): shares of all entries per unit of `measure`, bins merged where entries are few.

    Bins are merged up to Scott's width, about 3.5 n^{-1/3} of the spread; a tenth of that is a bin's own.
    """
    counts = [np.asarray(law[side], dtype=float) for side in ("negative", "positive")]
    total = sum(float(c.sum()) for c in counts) + sum(law["below"]) + sum(law["above"]) + law["zeros"]
    signed = max(total - law["zeros"], 1.0)
    merged = max(f for f in (1, 2, 5, 10) if f == 1 or (f <= 35 * signed ** (-1 / 3) and len(counts[0]) % f == 0))
    width = np.diff(measure[::merged]) * max(total, 1.0)
    negative, positive = (c.reshape(-1, merged).sum(axis=1) / width for c in counts)
    return edges[::merged], negative, positive


def _densities(ax: Axes, epochs: Sequence[Report], laws: Sequence[Law], edges: Array) -> None:
    """Densities of the non-zero entries by epoch, the mirror image dotted."""
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(epochs)))
    for epoch, law, colour in zip(epochs, laws, colours, strict=True):
        at, negative, positive = _halves(law, edges, edges)
        zeros = law["zeros"] / max(law["zeros"] + _signed(law), 1)
        label = f"{epoch['epoch']}   ({100 * zeros:.3g} %)"
        middle = np.concatenate([-0.5 * (at[1:] + at[:-1])[::-1], 0.5 * (at[1:] + at[:-1])])
        density = np.concatenate([negative[::-1], positive])
        density[density == 0] = np.nan
        ax.plot(middle, density, color=colour, lw=1.0, label=label)
        ax.plot(middle, density[::-1], color=colour, lw=0.8, ls=":")
    if not any(map(_signed, laws)):
        ax.annotate("every entry is 0", (0.5, 0.8), xycoords="axes fraction", ha="center", va="center")
    ax.plot([], [], color=INK, lw=0.8, ls=":", label="mirror image")
    ax.set_yscale("log")
    ax.set_ylabel("density of all entries × rms")
    ax.legend(title="epoch (share exactly 0)", loc="lower center", ncols=-(-(len(epochs) + 1) // 5))


def _signed(law: Law) -> int:
    return sum(map(sum, (law["positive"], law["negative"], law["below"], law["above"])))


@styled
def circuits(report: Report) -> Figure:
    r"""Fig. 3b: the laws of the circuits of order 0, 1 and 2 that are not 0, negative ones over positive ones.

    A column per order, a row per epoch at which circuits were drawn. :math:`|x_{i_0}\Psi|` is in units of the rms on a
    logarithmic axis; heights are shares of the drawn circuits per decade.
    """
    epochs = [e for e in report["epochs"] if e["circuits"] and e["circuits"]["orders"]]
    if not epochs:
        return _no_circuits(report)
    columns = max(len(e["circuits"]["orders"]) for e in epochs)
    fig, panels = figure(1.1 + 2.1 * len(epochs), len(epochs), columns, sharex=True, sharey=True)
    for row, epoch in enumerate(epochs):
        drawn = epoch["circuits"]
        for ax, law in zip(panels[row * columns :], drawn["orders"], strict=False):
            _circuit_panel(ax, law, np.log10(drawn["edges"]))
        panels[row * columns].set_ylabel(f"epoch {epoch['epoch']}: share per decade")
    low, high = _occupied([law["histogram"] for e in epochs for law in e["circuits"]["orders"]], epochs)
    panels[0].set_xlim(low, high)
    panels[0].set_ylim(0, 1.3 * panels[0].get_ylim()[1])
    fig.supxlabel(r"$|x_{i_0}\,\delta^k\Psi|$ / rms", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return fig


def _circuit_panel(ax: Axes, law: Report, edges: Array) -> None:
    counts, symmetry, bare = law["histogram"], law["symmetry"], law["last_removed"]
    total = counts["zeros"] + _signed(counts)
    negative, positive = (np.asarray(counts[side]) / np.diff(edges) / total for side in ("negative", "positive"))
    common = np.minimum(negative, positive)
    for side, colour, style, name in ((positive, TRAIN, "-", "positive"), (negative, TEST, (0, (3, 1.5)), "negative")):
        ax.stairs(side, edges, baseline=common, fill=True, color=colour, alpha=0.45, lw=0)
        ax.stairs(side, edges, baseline=None, color=colour, ls=style, lw=1.1, label=f"{name} circuits")
    ax.stairs(common, edges, fill=True, color="#eeeeee", lw=0, zorder=0.5)
    ax.set_title(f"order {law['order']}")
    words = [f"broken {symmetry['value']:.3f}  (null {symmetry['null']:.3f})"]
    if bare:
        words.append(f"without $W_L$ {bare['value']:.3f}  (null {bare['null']:.3f})")
    ax.annotate("\n".join(words), (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=7)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$"))


def _occupied(laws: Sequence[Law], epochs: Sequence[Report]) -> tuple[float, float]:
    """Decades that hold every drawn circuit but the last thousandth on either side."""
    edges = np.log10(epochs[0]["circuits"]["edges"])
    counts = np.cumsum(np.sum([np.add(law["positive"], law["negative"]) for law in laws], axis=0))
    first = np.searchsorted(counts, (1 - SHOWN) * counts[-1])
    last = np.searchsorted(counts, SHOWN * counts[-1])
    return float(edges[first]) - 0.3, float(edges[last + 1]) + 0.3


def _no_circuits(report: Report) -> Figure:
    looked = [str(e["epoch"]) for e in report["epochs"] if e["circuits"]]
    at = f"every one is 0 (epoch {' and '.join(looked)})" if looked else "none were drawn at these epochs"
    fig, (ax,) = figure(1.6, 1, 1)
    ax.set(xticks=[], yticks=[], xlabel="circuit / rms", ylabel="share")
    ax.annotate(f"Circuits: {at}.", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    return fig
