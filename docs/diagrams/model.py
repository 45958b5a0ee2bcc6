"""The model and its feedback loop: gates joined by weights, a circuit, and the error that comes back as gradient."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

INK, WEIGHT, CIRCUIT, INPUT, OUTPUT, ERROR = "#1b1b1b", "#c4c4c4", "#009E73", "#D55E00", "#0072B2", "#882255"
SIZES = (3, 4, 4, 1)
ACROSS, RADIUS = 2.3, 0.3
PATH = (1, 2, 0, 0)
OFF = {(1, 1), (2, 3)}  # gates that are 0 at the example shown


def place(layer: int, neuron: int) -> tuple[float, float]:
    return ACROSS * layer, (SIZES[layer] - 1) / 2 - neuron


def _weights(ax: Axes) -> None:
    for layer in range(1, len(SIZES)):
        for a in range(SIZES[layer - 1]):
            for b in range(SIZES[layer]):
                on = (PATH[layer - 1], PATH[layer]) == (a, b)
                (x0, y0), (x1, y1) = place(layer - 1, a), place(layer, b)
                style = {"color": CIRCUIT, "lw": 4.5, "zorder": 2} if on else {"color": WEIGHT, "lw": 0.8, "zorder": 1}
                ax.plot([x0, x1], [y0, y1], solid_capstyle="round", **style)


def _neuron(ax: Axes, layer: int, neuron: int) -> None:
    x, y = place(layer, neuron)
    last = len(SIZES) - 1
    colour = INPUT if layer == 0 else OUTPUT if layer == last else INK
    off = (layer, neuron) in OFF
    ax.add_patch(Circle((x, y), RADIUS, facecolor="#e9e9e9" if off else "white", edgecolor=colour, lw=1.4, zorder=3))
    text = rf"$x_{neuron + 1}$" if layer == 0 else "$T$" if layer == last else "0" if off else "1"
    ax.text(x, y, text, ha="center", va="center", color="#8a8a8a" if off else colour, fontsize=11, zorder=4)


def _words(ax: Axes) -> None:
    top = 2.15
    heads = ("signals $x$", "gates $h_1$", "gates $h_2$", "output $T(x)$")
    for layer, text in enumerate(heads):
        ax.text(ACROSS * layer, top, text, ha="center", color=(INPUT, INK, INK, OUTPUT)[layer])
    laws = (r"$\mu_1(h_1\,|\,x)$", r"$\mu_2(h_2\,|\,x, h_1)$", r"$\mu(y\,|\,x, h_1, h_2)$")
    for layer, law in enumerate(laws, 1):
        ax.text(ACROSS * layer, top + 0.42, law, ha="center", fontsize=11)
    for layer in (1, 2, 3):
        ax.text(ACROSS * (layer - 0.5), -1.85, f"$W_{layer}$", ha="center", color="#777777")
    ax.text(ACROSS * 2.44, 1.02, r"a circuit $x_{i_0}\Psi_i$", color=CIRCUIT, va="center", fontsize=11)


def _loop(ax: Axes) -> None:
    """Output, risk, gradient, and back to the weights."""
    right, low = ACROSS * 3 + 2.15, -2.75
    for (x, y), text, colour in (((right, 0), "risk\n$R$", ERROR), ((right, 1.35), "label $y$", INPUT)):
        ax.add_patch(
            FancyBboxPatch((x - 0.55, y - 0.33), 1.1, 0.66, boxstyle="round,pad=0.06", fc="white", ec=colour, lw=1.4)
        )
        ax.text(x, y, text, ha="center", va="center", color=colour)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 14, "lw": 1.4}
    ax.add_patch(FancyArrowPatch((ACROSS * 3 + RADIUS, 0), (right - 0.65, 0), color=OUTPUT, **arrow))
    ax.add_patch(FancyArrowPatch((right, 0.96), (right, 0.42), color=INPUT, **arrow))
    ax.plot([right, right, ACROSS * 0.5], [-0.42, low, low], color=ERROR, lw=1.4)
    for layer in (1, 2, 3):
        x = ACROSS * (layer - 0.5)
        ax.add_patch(FancyArrowPatch((x, low), (x, -1.98), color=ERROR, **arrow))
    ax.text(
        ACROSS * 1.9, low - 0.42, r"feedback:  $W_l \leftarrow W_l - \eta\,\nabla_l R$,  gates held fixed", ha="center",
        color=ERROR,
    )  # fmt: skip


def _law(ax: Axes) -> None:
    """One gate's law at three temperatures."""
    z = np.linspace(-4, 4, 401)
    for temperature, style in ((1.0, ":"), (0.3, "--")):
        ax.plot(z, 1 / (1 + np.exp(-z / temperature)), color=INK, lw=1.1, ls=style, label=f"$T$ = {temperature:g}")
    ax.plot([-4, 0, 0, 4], [0, 0, 1, 1], color=INK, lw=1.6, label=r"$T \to 0$: ReLU")
    ax.set(xticks=[0], yticks=[0, 1], xlabel=r"$z_{l,j} = (W_l^\top x_{l-1})_j$")
    ax.set_title(r"a gate: $P(h_{l,j} = 1) = \sigma(z_{l,j}/T)$", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8.5, loc="lower right", borderpad=0)


def draw() -> Figure:
    """The network with its loop, and the law of one gate."""
    fig = Figure(figsize=(8.4, 5.9), facecolor="white")
    ax = fig.add_axes((0.0, 0.3, 1.0, 0.7))
    _weights(ax)
    for layer, size in enumerate(SIZES):
        for neuron in range(size):
            _neuron(ax, layer, neuron)
    _words(ax)
    _loop(ax)
    ax.set(xlim=(-0.6, ACROSS * 3 + 3.0), ylim=(-3.4, 3.0), aspect="equal")
    ax.axis("off")
    _law(fig.add_axes((0.33, 0.085, 0.34, 0.165)))
    return fig
