"""Which structure of a network its spectrum sees: figures of a run with --structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    """One layer drawn afresh, the others as they are, layer by epoch: L1, the law of log|λ|, and the five largest.

    RE: the layer's weights. RK: its weights, and its fields from their Gram matrices. Light grey: nothing to draw.
    """
    epochs, shapes = with_structure(report), report["network"]["weight_shapes"]
    fig, axes = figure(1.2 + 3 * 0.25 * max(len(shapes), 7), len(LAYER_MAPS), len(MAPS), sharey=True, sharex=True)
    names = [r"$\times$".join(map(str, shape)) for shape in shapes]
    for row, (title, value, shades) in enumerate(LAYER_MAPS):
        panels = axes[row * len(MAPS) : (row + 1) * len(MAPS)]
        tables = [_layer_table(epochs, rung, len(shapes), value) for rung in MAPS]
        image = _layer_row(panels, tables, shades)
        fig.colorbar(image, ax=panels, label=title, fraction=0.04, pad=0.02)
        panels[0].set_yticks(range(len(shapes)), [f"{name}   {i}" for i, name in enumerate(names, 1)])
    for ax, rung in zip(axes, MAPS, strict=False):
        ax.set_title(f"{rung}  {title_of(rung)}")
    for ax in axes[-len(MAPS) :]:
        ax.set_xlabel("epoch")
        ax.set_xticks(range(len(epochs)), [str(e["epoch"]) for e in epochs])
    fig.supylabel("layer drawn afresh (shape, number)", fontsize=9)
    return fig


def _layer_row(panels: Sequence[Axes], tables: Sequence[Array], shades: str) -> Any:
    """Maps of one quantity with a common scale; the image that stands for it."""
    known = np.concatenate([table[np.isfinite(table)] for table in tables])
    low, high = (0.0, max(0.02, known.max(initial=0.0))) if shades == "Purples" else (0.0, 2.0)
    for ax, values in zip(panels, tables, strict=True):
        colours = mpl.colormaps[shades].with_extremes(bad="#eeeeee")
        image = ax.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto")
        for (row, place), value in np.ndenumerate(values if values.shape[1] <= 12 else np.empty((0, 0))):
            if np.isfinite(value):
                dark = abs(value - low) > 0.6 * (high - low) if shades == "Purples" else abs(value - 1.0) > 0.6
                ax.text(
                    place,
                    row,
                    f"{value:.2f}" if shades != "Purples" else f"{value:.2g}",
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if dark else INK,
                )
        ax.grid(False)
        ax.tick_params(length=0)
    return image


def _layer_table(epochs: Sequence[Report], rung: str, layers: int, value: Callable[[Report, Report], Any]) -> Array:
    """`value` of the cases, (layers, epochs); NaN where nothing was drawn."""
    table = np.full((layers, len(epochs)), np.nan)
    for place, epoch in enumerate(epochs):
        for made in epoch["structure"]["layers"].get(rung, ()):
            found = value(made, epoch["spectrum"])
            table[made["layer"], place] = np.nan if found is None else found
    return table


LAYER_MAPS: tuple[tuple[str, Callable[[Report, Report], Any], str], ...] = (
    ("L1", lambda made, _: made["l1"], "Purples"),
    (r"log|$\lambda$| distance", lambda made, _: made["log_distance"], "Purples"),
    ("ratio of largest", largest_ratio, "RdBu"),
)


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
