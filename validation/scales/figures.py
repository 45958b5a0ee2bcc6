"""The figure of the scales, drawn from the report's numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.measurements.scales import SCALES
from validation.report.drawing import INK, Array, Draw, epoch_axis, figure, house_style
from validation.report.source import Report
from validation.statistics.sizes import LEVELS, product_law

COLOURS = dict(zip(SCALES, ("#9ECAE1", "#4292C6", "#08519C", "#009E73", "#E69F00", "#D55E00"), strict=True))
SHORT = dict(zip(SCALES, ("order 0", "order 1", "order 2", "∇R", "entries", "eigenvalues"), strict=True))
REFERENCE: dict[str, Any] = {"color": INK, "lw": 1.0, "ls": (0, (2, 2))}
EDGES = np.linspace(-7.0, 4.0, 56)  # nats around the median: bins of a fifth


def mean_law(report: Report, epoch: int, name: str) -> Array | None:
    """Quantiles of a scale's law, averaged over the networks; None where all of them are 0 there."""
    found = [
        record["laws"][name]["quantiles"]
        for cell in report["cells"]
        for record in cell["records"]
        if record["epoch"] == epoch and record["laws"][name]
    ]
    return np.mean(found, axis=0) if found else None


def density(quantiles: Array) -> tuple[Array, Array]:
    """Middles of bins and the density of a law with these quantiles, from its distribution at the edges."""
    below = np.interp(EDGES, quantiles, LEVELS, left=0.0, right=1.0)
    return (EDGES[1:] + EDGES[:-1]) / 2, np.diff(below) / np.diff(EDGES)


def shown_epochs(report: Report) -> list[int]:
    """The first epoch and the last one at which the Hessian is not 0."""
    live = [e["epoch"] for e in report["epochs"] if e["scales"]["eigenvalues"]["spread"]]
    return sorted({live[0], live[-1]}) if live else []


@house_style
def scales(report: Report) -> Figure:
    """Laws of sizes at two epochs, distances between them, and effective factors through training."""
    epochs = shown_epochs(report)
    fig, axes = figure(5.8, 2, 3)
    for row, epoch in enumerate(epochs):
        _laws(axes[3 * row], report, epoch)
        _distances(fig, axes[3 * row + 1], report, epoch)
    for ax in axes[3 * len(epochs) : 5]:
        ax.set_visible(False)
    _through(axes[2], report, "factors", "Gaussian factors")
    _through(axes[5], report, "signed", "Σv / Σ|v|")
    axes[5].axhline(0.0, **REFERENCE)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4)
    return fig


def _laws(ax: Axes, report: Report, epoch: int) -> None:
    for name, words in SCALES.items():
        law = mean_law(report, epoch, name)
        if law is not None:
            ax.plot(*density(law), color=COLOURS[name], label=words)
    ax.plot(*density(product_law(1)), label="Gaussian", **REFERENCE)
    ax.set(title=f"epoch {epoch}", xlabel="ln |v| less its median, nats", ylabel="density, weighted by |v|")


def _distances(fig: Figure, ax: Axes, report: Report, epoch: int) -> None:
    """W1 between scales; on the diagonal the same scale of two networks."""
    names = list(SCALES)
    (record,) = (e for e in report["epochs"] if e["epoch"] == epoch)
    grid = np.full((len(names), len(names)), np.nan)
    for row in record["distances"]:
        if row["distance"]:
            i, j = (names.index(name) for name in row["between"])
            grid[i, j] = grid[j, i] = row["distance"]["value"]
    for i, name in enumerate(names):
        grid[i, i] = np.nan if record["null"][name] is None else record["null"][name]
    top = max(float(np.nanmax(grid)), 1e-9) if np.isfinite(grid).any() else 1.0
    image = ax.imshow(grid, vmin=0.0, vmax=top, cmap="viridis_r")
    for i, j in zip(*np.nonzero(np.isfinite(grid)), strict=True):
        pale = grid[i, j] > 0.6 * top
        ax.text(j, i, f"{grid[i, j]:.2f}", ha="center", va="center", fontsize=6.5, color="white" if pale else INK)
    ax.set_xticks(range(len(names)), [SHORT[n] for n in names], rotation=40, ha="right")
    ax.set_yticks(range(len(names)), [SHORT[n] for n in names])
    ax.set_title(f"W1 in nats, epoch {epoch}")
    ax.grid(visible=False)
    fig.colorbar(image, ax=ax, shrink=0.8)


def _through(ax: Axes, report: Report, key: str, label: str) -> None:
    at = np.array([e["epoch"] for e in report["epochs"]], dtype=float)
    for name in SCALES:
        means = [e["scales"][name][key] for e in report["epochs"]]
        live = [i for i, m in enumerate(means) if m is not None]
        value = [means[i]["value"] for i in live]
        error = [means[i]["standard_error"] or 0.0 for i in live]
        ax.errorbar(at[live], value, yerr=error, color=COLOURS[name], marker="o", ms=3, capsize=2, lw=1.1)
    epoch_axis(ax, at)
    ax.set(xlabel="epoch", ylabel=label)


FIGURES: dict[str, Draw] = {"scales": scales}
