"""Circuits of order 0, 1 and 2: what they add up to when the removed weights are held."""

from __future__ import annotations

from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

INK, CIRCUIT, REMOVED = "#1b1b1b", "#009E73", "#D55E00"
SIZES = (3, 3, 3, 1)
# Removed weights by layer (1 to 3): (neuron below, neuron above).
PANELS = (
    ({}, "order 0: the output", r"$T = \sum_i x_{i_0}\Psi_i$"),
    ({2: (1, 0)}, "order 1: an entry of the gradient", r"$\partial T/\partial w = \sum_i x_{i_0}\,\delta\Psi_i$"),
    ({1: (0, 1), 2: (1, 0)}, "order 2: an entry of the Hessian",
     r"$\partial^2 T/\partial w\,\partial w' = \sum_i x_{i_0}\,\delta^2\Psi_i$"),
)  # fmt: skip


def place(layer: int, neuron: int) -> tuple[float, float]:
    return 1.5 * layer, (SIZES[layer] - 1) / 2 - neuron


def _paths(removed: dict[int, tuple[int, int]]) -> list[tuple[int, ...]]:
    """The paths that run through every removed weight."""
    every = product(*(range(size) for size in SIZES))
    return [p for p in every if all((p[layer - 1], p[layer]) == ends for layer, ends in removed.items())]


def _panel(ax: Axes, removed: dict[int, tuple[int, int]], title: str, formula: str) -> None:
    used = {(layer, path[layer - 1], path[layer]) for path in _paths(removed) for layer in range(1, len(SIZES))}
    for layer in range(1, len(SIZES)):
        for a, b in product(range(SIZES[layer - 1]), range(SIZES[layer])):
            ends = zip(place(layer - 1, a), place(layer, b), strict=True)
            if removed.get(layer) == (a, b):
                style = {"color": REMOVED, "lw": 2.0, "ls": (0, (1, 1.6)), "zorder": 2}
            elif (layer, a, b) in used:
                style = {"color": CIRCUIT, "lw": 2.2, "zorder": 2}
            else:
                style = {"color": "#d5d5d5", "lw": 0.8, "zorder": 1}
            ax.plot(*ends, **style)
    for layer, size in enumerate(SIZES):
        for neuron in range(size):
            on = any(path[layer] == neuron for path in _paths(removed))
            ax.add_patch(Circle(place(layer, neuron), 0.16, fc="white", ec=INK if on else "#bbbbbb", lw=1.1, zorder=3))
    ax.set_title(title, fontsize=10)
    count = len(_paths(removed))
    ax.text(2.25, -1.62, formula, ha="center", va="center", fontsize=11)
    ax.text(2.25, -2.1, f"{count} circuit{'s' if count > 1 else ''}", ha="center", va="center", fontsize=8.5)
    ax.set(xlim=(-0.3, 4.8), ylim=(-2.35, 1.35), aspect="equal")
    ax.axis("off")


def draw() -> Figure:
    """Three panels; removed weights dotted."""
    fig = Figure(figsize=(8.4, 2.5), facecolor="white", layout="constrained")
    for ax, (removed, title, formula) in zip(fig.subplots(1, 3), PANELS, strict=True):
        _panel(ax, removed, title, formula)
    return fig
