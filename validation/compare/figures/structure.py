"""Which structure of a network its spectrum sees: figures of a run with --structure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from validation.predictions.rung import title_of
from validation.predictions.structure import CLOSE_L1, CLOSE_LARGEST, KINDS, largest_ratio
from validation.report.drawing import INK, Array, Draw, figure, plain_log_ticks, styled
from validation.report.source import Report

MAPS = ("RE", "RK")
KIND_TITLES = {"both": "of inputs and errors", "errors": "of errors only", "inputs": "of inputs only"}


def with_structure(report: Report) -> list[Report]:
    """The recorded epochs that have single layers drawn afresh."""
    return [e for e in report["epochs"] if e.get("structure", {}).get("layers")]


@styled
def structure_layers(report: Report) -> Figure:
    """L1 between the measured density and that with one layer drawn afresh, the others as they are: layer by epoch.

    RE: the layer's weights. RK: its weights, and its fields from their Gram matrices. Light grey: nothing to draw.
    """
    epochs, shapes = with_structure(report), report["network"]["weight_shapes"]
    tables = [_layer_table(epochs, rung, len(shapes)) for rung in MAPS]
    fig, axes = figure(1.1 + 0.27 * max(len(shapes), 5), 1, 2, sharey=True)
    top = max(0.02, *(float(np.max(t[np.isfinite(t)], initial=0.0)) for t in tables))
    for ax, values, rung in zip(axes, tables, MAPS, strict=True):
        shades = mpl.colormaps["Purples"].with_extremes(bad="#eeeeee")
        image = ax.imshow(np.ma.masked_invalid(values), cmap=shades, vmin=0, vmax=top, aspect="auto")
        for (row, place), value in np.ndenumerate(values):
            if np.isfinite(value) and len(epochs) <= 12:
                ax.text(place, row, f"{value:.3f}", ha="center", va="center", fontsize=6,
                        color="white" if value > 0.6 * top else INK)  # fmt: skip
        ax.set(title=f"{rung}  {title_of(rung)}", xlabel="epoch")
        ax.set_xticks(range(len(epochs)), [str(e["epoch"]) for e in epochs])
        ax.grid(False)
        ax.tick_params(length=0)
    names = [r"$\times$".join(map(str, shape)) for shape in shapes]
    axes[0].set_yticks(range(len(shapes)), [f"{name}   {i}" for i, name in enumerate(names, 1)])
    axes[0].set_ylabel("layer drawn afresh (shape, number)")
    fig.colorbar(image, ax=axes, label="L1 to the measured density", fraction=0.04, pad=0.02)
    return fig


def _layer_table(epochs: Sequence[Report], rung: str, layers: int) -> Array:
    """L1, (layers, epochs); NaN where nothing was drawn."""
    table = np.full((layers, len(epochs)), np.nan)
    for place, epoch in enumerate(epochs):
        for made in epoch["structure"]["layers"].get(rung, ()):
            table[made["layer"], place] = made["l1"]
    return table


@styled
def structure_directions(report: Report) -> Figure:
    """L1 and the largest eigenvalues against the numbers that are known of the weights, by epoch and kind of direction.

    The abscissa is the share of those numbers in the number of weights. Lines join 0, 1, 2, 4, ... given directions;
    the dotted lines are what a sufficient description has to reach.
    """
    epochs = [e for e in with_structure(report) if e["structure"]["directions"]]
    n = report["network"]["n_weights"]
    fig, axes = figure(4.6, 2, len(KINDS), sharex=True, sharey="row")
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(epochs)))
    for epoch, colour in zip(epochs, colours, strict=True):
        for place, kind in enumerate(KINDS):
            made = _cases(epoch, kind)
            known = [case["known"] / n for case in made]
            ratios = [largest_ratio(case, epoch["spectrum"]) for case in made]
            errors = [case["l1_standard_error"] or 0.0 for case in made]
            style = {"color": colour, "marker": "o", "ms": 3, "lw": 1.0}
            axes[place].errorbar(known, [case["l1"] for case in made], yerr=errors, elinewidth=0.5, **style)
            axes[len(KINDS) + place].plot(known, np.array(ratios, dtype=float), **style)
    _direction_axes(axes)
    handles = [
        Line2D([], [], color=c, marker="o", ms=3, label=str(e["epoch"])) for e, c in zip(epochs, colours, strict=True)
    ]
    fig.legend(handles=handles, title="epoch", loc="outside right upper")
    return fig


def _cases(epoch: Report, kind: str) -> list[Report]:
    """The cases of a kind by what is known, with that of norms alone, which all kinds begin with."""
    directions = epoch["structure"]["directions"]
    none = [case for case in directions.get("both", ()) if case["directions"] == 0]
    own = [case for case in directions.get(kind, ()) if case["directions"] > 0]
    return sorted(none + own, key=lambda case: case["known"])


def _direction_axes(axes: Sequence[Axes]) -> None:
    for place, kind in enumerate(KINDS):
        top, bottom = axes[place], axes[len(KINDS) + place]
        top.set(title=f"directions {KIND_TITLES[kind]}", xscale="log", yscale="log")
        top.axhline(CLOSE_L1, color=INK, lw=0.8, ls=":")
        bottom.axhline(1.0 - CLOSE_LARGEST, color=INK, lw=0.8, ls=":")
        bottom.axhline(1.0 + CLOSE_LARGEST, color=INK, lw=0.8, ls=":")
        bottom.set_xlabel("numbers known / weights")
    axes[0].set_ylabel("L1 to the measured density")
    axes[len(KINDS)].set_ylabel("five largest, predicted / measured")
    axes[len(KINDS)].set_ylim(bottom=0.0)
    plain_log_ticks(axes[0], fine=2)


STRUCTURE_FIGURES: dict[str, Draw] = {
    "structure_layers": structure_layers,
    "structure_directions": structure_directions,
}
