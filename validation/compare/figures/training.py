"""Figures of a training run: risk and accuracy (fig. 8b), order parameter (fig. 4b), broken symmetries."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.predictions.rung import in_order, title_of
from validation.report.drawing import (
    INK,
    ORDER,
    RUNG_STYLES,
    TEST,
    TRAIN,
    Array,
    Series,
    column,
    epoch_axis,
    figure,
    plain_log_ticks,
    plot_with_zeros,
    styled,
)
from validation.report.source import Report


@styled
def risk_accuracy(report: Report) -> Figure:
    """Fig. 8b: risk (log axis) above, accuracy (share of 1) below, against the epoch.

    Markers: the recorded epochs. Thin line: mean over each epoch's mini-batches, at the middle of the epoch.
    """
    epochs = sorted([*report["epochs"], *report.get("silent", [])], key=itemgetter("epoch"))
    history = report["training"]["history"]
    at, middle = column(epochs, "epoch"), np.asarray(history["epoch"], dtype=float) - 0.5
    fig, (top, bottom) = figure(4.8, 2, 1, sharex=True)
    thin: dict[str, Any] = {"color": TRAIN, "lw": 0.9, "alpha": 0.7, "label": "mean over the epoch's batches"}
    dots: dict[str, Any] = {"color": TRAIN, "marker": "o", "ls": "none", "label": "training set"}
    series = [(at, column(epochs, "risk"), dots)]
    if len(middle):
        series.insert(0, (middle, np.asarray(history["risk"], dtype=float), thin))
        bottom.plot(middle, history["accuracy"], **thin)
    plot_with_zeros(top, series)
    top.set_ylabel(f"risk ({report['loss']})")
    bottom.plot(at, column(epochs, "accuracy"), **dots)
    test = column(epochs, "test_accuracy")
    if np.isfinite(test).any():
        bottom.plot(at, test, color=TEST, marker="s", ls="--", lw=0.9, ms=7, mfc="none", label="test set")
    bottom.axhline(1, color=INK, lw=0.6, ls=":")
    bottom.set(ylabel="accuracy", ylim=(min(0.45, bottom.get_ylim()[0]), 1.03))
    forecast_bands(top, epochs, "risk")
    forecast_bands(bottom, epochs, "accuracy")
    fig.legend(*bottom.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    epoch_axis(bottom, np.concatenate([at, middle]))
    return fig


@styled
def order_parameter(report: Report) -> Figure:
    r"""Fig. 4b: the risk, and :math:`\|\nabla R\|^2` times the learning rate η and times η/(1 - momentum) (log axis).

    Below: their ratios to the risk. The dotted lines stand one decade below the risk, where the paper finds the order
    parameter. Momentum makes of a gradient that stays the same a step of the effective rate η/(1 - momentum).
    """
    epochs, training = report["epochs"], report["training"]
    at, risk, order, rate = (column(epochs, key) for key in ("epoch", "risk", "order_parameter", "learning_rate"))
    momentum = float(training["momentum"])
    fig, (top, bottom) = figure(4.8, 2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    lowered = np.where(risk > 0, risk / 10, np.nan)
    curves: list[tuple[Array, dict[str, Any]]] = [
        (rate * order, {"color": ORDER, "marker": "D", "ms": 4, "label": r"$\eta\,\|\nabla R\|^2$"})
    ]
    if momentum > 0:
        name = r"$\eta/(1-\mathrm{momentum})\cdot\|\nabla R\|^2$"
        curves[0][1].update(alpha=0.55, mfc="none")
        curves.append((rate / (1 - momentum) * order, {"color": ORDER, "marker": "s", "ms": 4, "label": name}))
    risks: Series = (at, risk, {"color": TRAIN, "marker": "o", "ms": 6, "label": "risk R"})
    plot_with_zeros(top, [risks, *((at, values, style) for values, style in curves)], lowered)
    top.plot(at, lowered, color=INK, lw=1, ls=":", marker="_", label="one decade below the risk", zorder=1.5)
    top.set_ylabel(r"R and rate $\times\,\|\nabla R\|^2$")
    known = [bool(e.get("forecast")) for e in epochs]
    forecast_bands(top, epochs, "order_parameter", r"$\eta\,\|\nabla R\|^2$ ", rate[known])
    fig.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    _ratio_panel(bottom, at, risk, curves)
    return fig


def forecast_bands(ax: Axes, epochs: Sequence[Report], name: str, what: str = "", scale: Array | float = 1.0) -> None:
    """What fresh networks predicted before training: their mean by every rung, and from the least to the largest."""
    known = [e for e in epochs if e.get("forecast")]
    at, limits = column(known, "epoch"), ax.get_ylim()
    for rung in in_order(known[0]["forecast"]) if known else ():
        values = np.array([e["forecast"][rung][name] for e in known], dtype=float).T * scale
        colour, style, _ = RUNG_STYLES[rung]
        ends = [values.min(axis=0), values.mean(axis=0), values.max(axis=0)]
        if ax.get_yscale() != "linear":  # 0 stands below a log axis
            ends = [np.maximum(part, limits[0] / 10) for part in ends]
        ax.fill_between(at, ends[0], ends[2], color=colour, alpha=0.13, lw=0, zorder=0.5)
        ax.plot(at, ends[1], color=colour, ls=style, lw=1.1, marker="none", zorder=1.2,
                label=f"{what}{rung}: {title_of(rung)}")  # fmt: skip
    ax.set_ylim(limits)


def _ratio_panel(ax: Axes, at: Array, risk: Array, curves: Sequence[tuple[Array, dict[str, Any]]]) -> None:
    known = [np.array([0.1])]
    for order, style in curves:
        ratio = np.divide(order, risk, out=np.full_like(risk, np.nan), where=risk > 0)
        ratio[ratio <= 0] = np.nan
        ax.plot(at, ratio, **style)
        known.append(ratio[np.isfinite(ratio)])
    ax.axhline(0.1, color=INK, lw=1, ls=":")
    values = np.concatenate(known)
    ax.set(ylabel="ratio to R", yscale="log", ylim=(values.min() / 2.5, values.max() * 2.5))
    plain_log_ticks(ax, fine=2)
    epoch_axis(ax, at)


@styled
def symmetry(report: Report) -> Figure:
    r"""Figs. 3a, 4a: broken symmetry of the weights and of the gradient, layer by epoch.

    A cell is :math:`\frac12\int|p(w) - p(-w)|dw` (0 to 1) of the empirical law of one layer, less its value
    for a symmetrised sample of the same size: intact means 0 within noise. Grey: undefined (gradient 0).
    """
    epochs, shapes = report["epochs"], report["network"]["weight_shapes"]
    broken = [_excess(epochs, key) for key in ("weight_symmetry", "gradient_symmetry")]
    fig, axes = figure(1.1 + 0.27 * max(len(shapes), 5), 1, 2, sharey=True)
    top = max(0.1, *(np.max(b[np.isfinite(b)], initial=0.0) for b in broken))
    step = -(-len(epochs) // 12)
    for ax, values, title in zip(axes, broken, ("weights", "gradient"), strict=True):
        shades = mpl.colormaps["Blues"].with_extremes(bad="#dcdcdc")
        image = ax.imshow(np.ma.masked_invalid(values), cmap=shades, vmin=0, vmax=top, aspect="auto")
        _annotate(ax, values, top)
        ax.set(title=title, xlabel="epoch")
        ax.set_xticks(range(0, len(epochs), step), [str(e["epoch"]) for e in epochs[::step]])
        ax.grid(False)
        ax.tick_params(length=0)
    names = [r"$\times$".join(map(str, shape)) for shape in shapes]
    axes[0].set_yticks(range(len(shapes)), [f"{name}   {i}" for i, name in enumerate(names, 1)])
    axes[0].set_ylabel("layer (shape, number)")
    fig.colorbar(image, ax=axes, label="broken symmetry less its null", fraction=0.04, pad=0.02)
    return fig


def _excess(epochs: Sequence[Report], key: str) -> Array:
    """Value less null, shape (layers, epochs); NaN where a value is null."""
    rows = [[np.nan if m["value"] is None else m["value"] - (m["null"] or 0) for m in e[key]] for e in epochs]
    return np.array(rows, dtype=float).T


def _annotate(ax: Axes, values: Array, top: float) -> None:
    """Write each cell's number into it while the cells are wide enough."""
    for (row, place), value in np.ndenumerate(values if values.shape[1] <= 12 else np.empty((0, 0))):
        text = f"{value:z.2f}".replace("-", "−") if np.isfinite(value) else "n/a"
        colour = "white" if np.isfinite(value) and value > 0.6 * top else INK
        ax.text(place, row, text, ha="center", va="center", fontsize=7, color=colour)
