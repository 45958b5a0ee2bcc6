"""The figure of the network that is learned scale by scale, drawn from the report's numbers alone."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.report.drawing import INK, ORDER, TEST, TRAIN, Draw, figure, house_style
from validation.report.source import Report


@house_style
def maxent(report: Report) -> Figure:
    """What the chain form loses in planted worlds and on digits, and the label's likelihood of every network."""
    fig, axes = figure(3.4, 1, 3)
    _planted(axes[0], report["planted"])
    _scales(axes[1], report["digits"])
    _networks(axes[2], report["digits"])
    return fig


def _planted(ax: Axes, planted: Report) -> None:
    """Loss against the share of a random tensor; quadratic while it is small."""
    curves = planted["curves"]
    at = np.array([row["mixture"] for row in curves[0]])
    inside = at > 0
    for scale, colour in ((1, TRAIN), (2, TEST)):
        lost = np.array([[row["loss"][scale] for row in curve] for curve in curves])
        ax.plot(at[inside], lost.mean(axis=0)[inside], "o-", ms=4, color=colour, label=f"scale {scale + 1}")
        ax.plot(at[inside], lost.T[inside], "-", lw=0.5, alpha=0.5, color=colour)
    fitted = np.array([[row["least_squares"] for row in curve] for curve in curves])
    ax.plot(at[inside], fitted.mean(axis=0)[inside], "s--", ms=4, color=ORDER, label="scale 3, nearest chain")
    ax.set(xscale="log", yscale="log", xlabel="random tensor over chain", ylabel="lost by the chain form, nats")
    ax.set_title("planted worlds")
    ax.legend(loc="lower right")


def _scales(ax: Axes, digits: Report) -> None:
    """Entropy of the events of each scale: independent, by the chain, by every coupling."""
    scales = digits["scales"]
    at = np.arange(len(scales))
    for shift, key, colour in ((-0.27, "independent", "#9a9a9a"), (0.0, "chain", TEST), (0.27, "unfactored", TRAIN)):
        values = [s[key] for s in scales]
        ax.bar(at + shift, values, 0.25, color=colour, label=key)
        for x, value in zip(at + shift, values, strict=True):
            ax.text(x, value + 0.08, f"{value:.2f}", ha="center", va="bottom", fontsize=5.6)
    ax.set_xticks(at, [f"scale {k + 1}" for k in at])
    ax.set(ylabel="entropy of the events, nats", title="digits")
    ax.grid(visible=False, axis="x")
    ax.legend(loc="upper right")


def _networks(ax: Axes, digits: Report) -> None:
    """Accuracy on new examples."""
    rows = [("stack, gates drawn", digits["marginal"]["stack"]), ("stack, T → 0", digits["cold"]["stack"]),
            ("stack, modified", digits["cold"]["modified"])]  # fmt: skip
    rows += [("back-propagation", run) for run in digits["back_propagation"]]
    names = list(dict.fromkeys(name for name, _ in rows))
    for name, run in rows:
        made = run["accuracy"]
        ax.errorbar(made["value"], names.index(name), xerr=made["standard_error"], fmt="o", ms=4, color=INK, capsize=2)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel="accuracy on new examples", title="odd or even")


FIGURES: dict[str, Draw] = {"maxent": maxent}
