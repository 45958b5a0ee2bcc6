"""The hinge risk of one example and two weights, R = max(0, 1 - w_1 w_2) with the gate on: a saddle, no other trap."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

INK, UP, DOWN = "#1b1b1b", "#D55E00", "#0072B2"
REACH = 1.9


def _risk(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - a * b)


def _surface(ax: Any) -> None:
    ax.computed_zorder = False
    at = np.linspace(-1.6, 1.6, 97)
    a, b = np.meshgrid(at, at)
    ax.plot_surface(a, b, _risk(a, b), cmap="viridis", rstride=2, cstride=2, alpha=0.92, lw=0, antialiased=True)
    ax.scatter([0], [0], [1.12], color="white", edgecolor=INK, s=50, depthshade=False, zorder=10)
    for sign in (-1, 1):
        ax.scatter([sign * 1.35], [sign * 1.35], [0.06], color=INK, s=34, depthshade=False, zorder=10)
    ax.view_init(elev=32, azim=66)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", zlabel="risk", xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[0, 1, 2, 3])
    ax.set_box_aspect((1, 1, 0.62))
    ax.tick_params(labelsize=8, pad=0)


def _plane(ax: Axes) -> None:
    at = np.linspace(-REACH, REACH, 301)
    a, b = np.meshgrid(at, at)
    ax.contourf(a, b, _risk(a, b), levels=[-1, 1e-9], colors=["#e3ecf5"])
    lines = ax.contour(a, b, _risk(a, b), levels=[0.25, 0.5, 0.75, 1.0, 1.5, 2, 3], cmap="viridis", linewidths=0.9)
    ax.clabel(lines, levels=[1.0, 2.0, 3.0], fontsize=7, fmt="%g")
    for direction, colour in (((1, 1), DOWN), ((-1, -1), DOWN), ((1, -1), UP), ((-1, 1), UP)):
        tip = 0.72 * np.array(direction)
        ax.add_patch(FancyArrowPatch((0, 0), tip, arrowstyle="-|>", mutation_scale=13, color=colour, lw=1.6, zorder=3))
    ax.plot(0, 0, "o", mfc="white", mec=INK, ms=7, zorder=4)
    ax.plot([-1.35, 1.35], [-1.35, 1.35], "o", color=INK, ms=5, zorder=4)
    box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1}
    ax.text(0.7, 0.74, "eigenvalue −1", color=DOWN, fontsize=8.5, bbox=box)
    ax.text(0.62, -0.93, "eigenvalue +1", color=UP, fontsize=8.5, bbox=box)
    ax.text(1.82, 1.68, "risk 0", ha="right", fontsize=8.5)
    ax.text(-1.82, -1.78, "risk 0", fontsize=8.5)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])


def draw() -> Figure:
    """The landscape, and its plane with the eigenvectors of the Hessian at the saddle."""
    fig = Figure(figsize=(8.4, 3.8), facecolor="white")
    _surface(fig.add_axes((0.02, 0.05, 0.52, 0.95), projection="3d"))
    _plane(fig.add_axes((0.6, 0.14, 0.38, 0.82)))
    return fig
