"""The figures of a comparison, drawn from the numbers of its report alone (figs. 3a, 4, 8 of the paper).

Every function takes a report (the content of `report.json` as a mapping, or an object whose `data` is one),
which may hold only some of its epochs, and returns a matplotlib `Figure`. It raises `ValueError` if the
report has no recorded epoch. No figure touches pyplot or its global state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from .html import CAPTIONS, RUNG_NAMES, Report, caption, content, rungs_of
from .storage import write_atomic

__all__ = [
    "CAPTIONS",
    "FIGURES",
    "caption",
    "order_parameter",
    "prediction_error",
    "risk_accuracy",
    "save_all",
    "spectrum",
    "spectrum_overlay",
    "symmetry",
]

Array = NDArray[np.float64]

WIDTH, DPI, INK = 8.4, 160, "#1b1b1b"  # inches: one column of the page
TRAIN, TEST, ORDER = "#0072B2", "#D55E00", "#009E73"
# Colour (Okabe and Ito's, distinct to the colour-blind), line style and marker (for grey prints).
RUNGS: dict[str, tuple[str, Any, str]] = {
    "R0": ("#E69F00", "--", "s"),
    "R1": ("#56B4E9", "-.", "^"),
    "R2": ("#009E73", (0, (5, 1.5)), "D"),
    "R3": ("#CC79A7", ":", "v"),
    "R4": ("#0072B2", "-.", "P"),
    "R5": ("#D55E00", "-", "o"),
}
UNKNOWN_RUNG = ("#777777", "-", "x")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "lines.markersize": 5,
    "lines.linewidth": 1.1,
}


def _styled(draw: Callable[[Report], Figure]) -> Callable[[object], Figure]:
    """Unwrap the report, insist on a recorded epoch, and draw in the house style without leaking it."""

    @wraps(draw)
    def styled(report: object) -> Figure:
        data = content(report)
        if not data.get("epochs"):
            raise ValueError("expected a report with at least one recorded epoch, got none: nothing to draw")
        with mpl.rc_context(STYLE):
            return draw(data)

    return styled


@_styled
def risk_accuracy(report: Report) -> Figure:
    """Fig. 8b: risk (log axis) above, accuracy (share of 1) below, against the epoch.

    Markers: the recorded epochs. Thin line: mean over each epoch's mini-batches, at the middle of the epoch.
    """
    epochs, history = report["epochs"], report["training"]["history"]
    at, middle = _column(epochs, "epoch"), np.asarray(history["epoch"], dtype=float) - 0.5
    fig, (top, bottom) = _figure(4.8, 2, 1, sharex=True)
    thin: dict[str, Any] = {"color": TRAIN, "lw": 0.9, "alpha": 0.7, "label": "mean over the epoch's batches"}
    dots: dict[str, Any] = {"color": TRAIN, "marker": "o", "ls": "none", "label": "training set"}
    risk, running = _column(epochs, "risk"), np.asarray(history["risk"], dtype=float)
    if len(middle):
        top.plot(middle, np.where(running > 0, running, np.nan), **thin)
        bottom.plot(middle, history["accuracy"], **thin)
    _plot_with_zeros(top, [(at, risk, dots)], running)
    top.set_ylabel(f"risk ({report['loss']})")
    bottom.plot(at, _column(epochs, "accuracy"), **dots)
    test = _column(epochs, "test_accuracy")
    if np.isfinite(test).any():
        bottom.plot(at, test, color=TEST, marker="s", ls="--", lw=0.9, mfc="white", label="test set")
    bottom.axhline(1, color=INK, lw=0.6, ls=":")
    bottom.set(ylabel="accuracy", ylim=(min(0.45, bottom.get_ylim()[0]), 1.03))
    fig.legend(*bottom.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    _epoch_axis(bottom, np.concatenate([at, middle]))
    return fig


@_styled
def order_parameter(report: Report) -> Figure:
    r"""Fig. 4b: learning rate times :math:`\|\nabla R\|^2` and the risk (log axis); their ratio below.

    The dotted lines stand one decade below the risk, where the paper finds the order parameter.
    """
    epochs, rate = report["epochs"], float(report["training"]["learning_rate"])
    at, risk = _column(epochs, "epoch"), _column(epochs, "risk")
    order = rate * _column(epochs, "order_parameter")
    fig, (top, bottom) = _figure(4.8, 2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    lowered = np.where(risk > 0, risk / 10, np.nan)
    name = r"learning rate $\times\,\|\nabla R\|^2$"
    top.plot(at, lowered, color=INK, lw=1, ls=":", marker="_", label="one decade below the risk")
    _plot_with_zeros(
        top,
        [
            (at, risk, {"color": TRAIN, "marker": "o", "ms": 6, "label": "risk R"}),
            (at, order, {"color": ORDER, "marker": "D", "ms": 4, "label": name}),
        ],
        lowered,
    )
    top.set_ylabel(f"R and {name}")
    fig.legend(loc="outside upper center", ncols=3)
    ratio = np.divide(order, risk, out=np.full_like(risk, np.nan), where=risk > 0)
    ratio[ratio <= 0] = np.nan
    bottom.plot(at, ratio, color=INK, marker="o", ms=4)
    bottom.axhline(0.1, color=INK, lw=1, ls=":")
    known = np.append(ratio[np.isfinite(ratio)], 0.1)
    bottom.set(ylabel="ratio of the two", yscale="log", ylim=(known.min() / 2.5, known.max() * 2.5))
    _plain_log_ticks(bottom)
    _epoch_axis(bottom, at)
    return fig


@_styled
def spectrum(report: Report) -> Figure:
    """Fig. 8a: the measured Hessian spectrum and every prediction, a panel per recorded epoch.

    Energies and densities are in units of rms and 1/rms; the energy axis is linear within 0.2 rms and
    logarithmic beyond. Measured and predicted densities are smoothed by the same eta; the band is one
    standard error over the probes of stochastic Lanczos quadrature (SLQ). Predictions end with the shading.
    """
    epochs, eta = report["epochs"], float(report["eta"])
    laws = [e["spectrum"] for e in epochs if e["spectrum"]["rms"] > 0]
    reach = max([4.5, *(1.2 * max(-law["minimum"], law["maximum"]) / law["rms"] for law in laws)])
    columns = min(2, len(epochs))
    rows = -(-len(epochs) // columns)
    fig, panels = _figure(max(0.9 + 2.4 * rows, 4.2), rows, columns)
    drawn = [ax for ax, e in zip(panels, epochs, strict=False) if _spectrum_panel(ax, e, eta, reach)]
    room = 0.4 if rungs_of(report) else 0.05  # above the curves, for the legend; of the height of the curves
    low, high = (f((ax.dataLim.intervaly[i] for ax in drawn), default=1.0) for i, f in enumerate((min, max)))
    for ax in drawn:
        ax.set_ylim(low / 1.5, high * (high / low) ** room)
    for ax in panels[len(epochs) :]:
        ax.remove()
    fig.supxlabel("E / rms", fontsize=9)
    fig.supylabel(rf"density $\times$ rms, smoothed with $\eta$ = {eta:g} rms", fontsize=9)
    if drawn:
        handles = drawn[0].lines[:1] + drawn[0].collections[:1] + drawn[0].patches[:1]
        fig.legend(
            handles,
            ["measured (SLQ)", r"$\pm$ one standard error", "range of predictions and L1"],
            loc="outside upper center",
            ncols=3,
        )
    return fig


@_styled
def spectrum_overlay(report: Report) -> Figure:
    """The paper's fig. 8a: the measured densities of all epochs over one another, in absolute energies.

    Each is smoothed with eta times its own rms and drawn a little beyond its extreme Lanczos nodes. The
    energy axis is linear around 0, up to a third of the smallest rms, and logarithmic beyond.
    """
    epochs, eta = report["epochs"], float(report["eta"])
    laws = [e["spectrum"] for e in epochs]
    linear = min((law["rms"] for law in laws if law["rms"] > 0), default=1.0) / 3
    fig, (ax,) = _figure(4.6, 1, 1)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(epochs)))
    for epoch, colour in zip(epochs, colours, strict=True):
        law, label = epoch["spectrum"], f"{epoch['epoch']}   ({epoch['risk']:.2g})"
        if law["rms"] > 0:
            energies = _reaching_grid(law, linear)
            ax.plot(energies, _smoothed(law, energies, eta * law["rms"])[0], color=colour, label=label)
        else:
            ax.axvline(0, color=colour, lw=1.6, ls=":", label=f"{label}  H = 0")
    reach = 1.4 * max([linear, *(max(-law["minimum"], law["maximum"]) for law in laws)])
    ax.set_xscale("symlog", linthresh=linear, linscale=0.6)
    ax.set_yscale("log" if any(law["rms"] > 0 for law in laws) else "linear")
    _symmetric_ticks(ax, _decades(linear, reach), reach)
    ax.set(xlabel="E", ylabel=rf"density (1/E), smoothed with $\eta$ = {eta:g} rms of each epoch")
    ax.legend(title="epoch (risk)", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


@_styled
def prediction_error(report: Report) -> Figure:
    r"""L1 distance of every rung from the measured density against the epoch (log axis; at most 2).

    Every rung predicts a mirror-symmetric density, so by the triangle inequality none can come closer than
    half of :math:`\int|\rho(E) - \rho(-E)|dE`: the asymmetry floor. The dotted line is the distance at which
    the probes' standard error alone would put the exact answer.
    """
    epochs = report["epochs"]
    at = _column(epochs, "epoch")
    fig, (ax,) = _figure(3.9, 1, 1)
    floor, noise = np.array([_floors(e["spectrum"]) for e in epochs]).T
    values = [np.array([2.0]), floor, noise]
    for rung in rungs_of(report):
        l1 = np.array([e["predictions"].get(rung, {}).get("l1", np.nan) for e in epochs], dtype=float)
        values.append(l1)
        colour, style, marker = RUNGS.get(rung, UNKNOWN_RUNG)
        label = f"{rung} {RUNG_NAMES.get(rung, '')}"
        ax.plot(at, l1, color=colour, ls=style, marker=marker, label=label)
    if np.isfinite(floor).any():
        ax.fill_between(at, np.full(len(at), 1e-9), floor, color="#dedede", lw=0)
        ax.plot(at, floor, color="#666666", lw=1, marker="_", label="asymmetry floor")
        ax.plot(at, noise, color=INK, lw=1, ls=":", marker=".", ms=3, label="SLQ sampling noise")
    for epoch in at[~np.isfinite(floor)]:
        ax.axvline(epoch, color="#999999", lw=0.8, ls="--")
        ax.annotate("H = 0", (epoch, 0.97), xycoords=("data", "axes fraction"), rotation=90, ha="right", va="top")
    positive = np.concatenate(values)
    lowest = float(np.min(positive[np.isfinite(positive) & (positive > 0)]))
    ax.set(ylabel="L1 distance to the measured density", yscale="log", ylim=(max(lowest / 2, 1e-6), 2.4))
    _plain_log_ticks(ax)
    if rungs_of(report) or np.isfinite(floor).any():
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    _epoch_axis(ax, at)
    return fig


@_styled
def symmetry(report: Report) -> Figure:
    r"""Figs. 3a, 4a: broken symmetry of the weights and of the gradient, layer by epoch.

    A cell is :math:`\frac12\int|p(w) - p(-w)|dw` (0 to 1) of the empirical law of one layer, less its value
    for a symmetrised sample of the same size: intact means 0 within noise. Grey: undefined (gradient 0).
    """
    epochs, shapes = report["epochs"], report["network"]["weight_shapes"]
    broken = [_excess(epochs, key) for key in ("weight_symmetry", "gradient_symmetry")]
    fig, axes = _figure(1.1 + 0.27 * max(len(shapes), 5), 1, 2, sharey=True)
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


FIGURES: dict[str, Callable[[object], Figure]] = {
    "risk_accuracy": risk_accuracy,
    "order_parameter": order_parameter,
    "spectrum": spectrum,
    "spectrum_overlay": spectrum_overlay,
    "prediction_error": prediction_error,
    "symmetry": symmetry,
}


def save_all(report: object, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Draw every figure to `folder`/<name>.png (created if missing) and return the paths by name.

    A file is either the old or the new picture, never half of one.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, draw in FIGURES.items():
        paths[name] = target / f"{name}.png"
        # Without matplotlib's version line the same report gives the same bytes.
        save = partial(draw(report).savefig, format="png", dpi=DPI, metadata={"Software": None})
        write_atomic(paths[name], save)
    return paths


def _figure(height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, list[Axes]]:
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    return fig, list(fig.subplots(rows, columns, squeeze=False, **options).flat)


def _column(epochs: Sequence[Report], key: str) -> Array:
    """One number per epoch; NaN where the report has null."""
    return np.array([np.nan if e.get(key) is None else e[key] for e in epochs], dtype=float)


def _epoch_axis(ax: Axes, at: Array) -> None:
    pad = 0.03 * max(np.ptp(at), 1)
    ax.set_xlim(at.min() - pad, at.max() + pad)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")


def _plot_with_zeros(ax: Axes, series: Sequence[tuple[Array, Array, dict[str, Any]]], other: Array) -> None:
    """Plot on a log axis, with zeros as hollow triangles in a strip at the bottom that says what they are.

    `other` holds further values on the same axes, for the limits.
    """
    values = np.concatenate([other, *(y for _, y, _ in series)])
    positive = values[np.isfinite(values) & (values > 0)]
    high = float(np.max(positive, initial=0.0)) or 1.0
    low = float(np.min(positive, initial=high / 10))  # at least a decade
    unit = (high / low) ** 0.05  # a twentieth of the data's range
    ax.set(yscale="log", ylim=(low / unit, high * unit))
    strip, middle = (low / unit**4, low / unit**1.5), low / unit**2.75
    for x, y, style in series:
        ax.plot(x, np.where(y > 0, y, np.nan), **style)
        zeros, size = x[y == 0], style.get("ms", 5) + 2
        ax.plot(zeros, np.full(len(zeros), middle), marker="v", ms=size, mfc="none", color=style["color"], ls="none")
    if not any(np.any(y == 0) for _, y, _ in series):
        return
    ax.axhspan(*strip, color="#ececec", lw=0, zorder=0)
    ax.annotate("exactly 0", (0.01, middle), xycoords=("axes fraction", "data"), va="center")
    for minor in (False, True):
        ax.set_yticks([t for t in ax.get_yticks(minor=minor) if low / unit <= t <= high * unit], minor=minor)
    ax.set_ylim(strip[0], high * unit)


def _plain_log_ticks(ax: Axes) -> None:
    """Label 1, 2 and 5 of each decade in plain decimals, for log axes of few decades."""
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _smoothed(law: Report, energies: Array, eta: float) -> tuple[Array, Array]:
    """Density of the Lanczos measures after a Cauchy kernel of width `eta`, and its standard error."""
    nodes, weights = np.asarray(law["nodes"], dtype=float), np.asarray(law["weights"], dtype=float)
    kernel = eta / np.pi / ((energies[:, None, None] - nodes) ** 2 + eta**2)
    values = np.sum(kernel * weights, axis=-1)
    probes = values.shape[1]
    error = values.std(axis=1, ddof=1) / np.sqrt(probes) if probes > 1 else np.zeros(len(energies))
    return values.mean(axis=1), error


def _spectrum_panel(ax: Axes, epoch: Report, eta: float, reach: float) -> bool:
    """One epoch's densities; without an active example a note, and False."""
    law = epoch["spectrum"]
    ax.set_xscale("asinh", linear_width=0.2)
    _symmetric_ticks(ax, [t for t in (0.2, 1, 4, 16, 64, 256, 1024) if t < reach], reach)
    if law["rms"] <= 0:
        ax.set(title=f"epoch {epoch['epoch']}", yticks=[])
        ax.grid(False)
        ax.spines["left"].set_visible(False)
        ax.annotate(
            "no example is active:\nthe Hessian is exactly 0",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
            va="center",
        )
        return False
    ax.set_title(f"epoch {epoch['epoch']}   (risk {epoch['risk']:.2g}, rms {law['rms']:.2g})")
    inner = np.asarray(law["energies"])
    energies, density, error = _measured(law, eta)
    ax.set_yscale("log")
    lower = np.maximum(density - error, density / 20)  # the log axis has no room for 0
    ax.fill_between(energies, lower, density + error, color="#bdbdbd", lw=0)
    ax.plot(energies, density, color=INK, lw=1.8)
    for rung, prediction in sorted(epoch["predictions"].items()):
        colour, style, _ = RUNGS.get(rung, UNKNOWN_RUNG)
        ax.plot(inner, prediction["density"], color=colour, ls=style, label=f"{rung}  {prediction['l1']:.3f}")
    ax.axvspan(inner[0], inner[-1], color="#f4f4f0", lw=0, zorder=0)
    if epoch["predictions"]:
        ax.legend(
            title="L1 distance to the measured density",
            loc="upper center",
            borderpad=0,
            ncols=3 if len(epoch["predictions"]) > 4 else 2,
            labelspacing=0.2,
            columnspacing=1.5,
        )
    return True


def _measured(law: Report, eta: float) -> tuple[Array, Array, Array]:
    """The stored density on its grid, continued to just beyond the extreme nodes; all in units of rms."""
    inner, rms = np.asarray(law["energies"], dtype=float), law["rms"]
    ends = (max(1.1 * end / rms, inner[-1]) for end in (-law["minimum"], law["maximum"]))
    below, above = (np.geomspace(inner[-1], end, 150)[1:] for end in ends)
    scaled = {"nodes": np.asarray(law["nodes"]) / rms, "weights": law["weights"]}
    stored = (np.asarray(law["density"]), np.nan_to_num(np.asarray(law["standard_error"], dtype=float)))
    left, right = (_smoothed(scaled, side, eta) for side in (-below[::-1], above))
    density, error = (np.concatenate(parts) for parts in zip(left, stored, right, strict=True))
    return np.concatenate([-below[::-1], inner, above]), density, error


def _reaching_grid(law: Report, linear: float) -> Array:
    """Energies fine around 0 and out to 1.2 times the extreme nodes, for a symlog axis."""
    ends = (max(1.2 * end, linear) for end in (-law["minimum"], law["maximum"]))
    left, right = (np.geomspace(linear / 100, end, 400) for end in ends)
    return np.concatenate([-left[::-1], [0.0], right])


def _decades(low: float, high: float) -> list[float]:
    """At most four powers of ten up to `high`, none so near `low` that its label would touch the one at 0."""
    last, span = int(np.floor(np.log10(high))), np.log10(high / low)
    step = max(1, int(np.ceil(span / 4)))
    return [10.0**p for p in range(last, last - 4 * step, -step) if p - np.log10(low) > span / 8][::-1]


def _symmetric_ticks(ax: Axes, positive: Sequence[float], reach: float) -> None:
    """Ticks at 0 and at plus and minus the given values only, and limits at plus and minus `reach`."""
    ax.xaxis.set_major_locator(FixedLocator([*(-t for t in positive[::-1]), 0.0, *positive]))
    ax.xaxis.set_major_formatter(FuncFormatter(_tick))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(-reach, reach)


def _tick(value: float, _: object) -> str:
    if value == 0 or 1e-3 < abs(value) < 1e4:
        return f"{value:g}".replace("-", "−")
    return rf"${'-' if value < 0 else ''}10^{{{round(np.log10(abs(value)))}}}$"


def _floors(law: Report) -> tuple[float, float]:
    """Asymmetry floor of L1, and the L1 of an exact answer by sampling alone (mean absolute error)."""
    if not law["density"]:
        return np.nan, np.nan
    energies, density = np.asarray(law["energies"]), np.asarray(law["density"])
    error = np.asarray(law["standard_error"], dtype=float)  # null with a single probe
    asymmetry = np.trapezoid(np.abs(density - density[::-1]), energies) / 2
    noise = np.sqrt(2 / np.pi) * np.trapezoid(error, energies)
    return float(asymmetry), float(noise)


def _excess(epochs: Sequence[Report], key: str) -> Array:
    """Value less null, shape (layers, epochs); NaN where a value is null."""
    rows = [[np.nan if m["value"] is None else m["value"] - (m["null"] or 0) for m in e[key]] for e in epochs]
    return np.array(rows, dtype=float).T


def _annotate(ax: Axes, values: Array, top: float) -> None:
    """Write each cell's number into it while the cells are wide enough."""
    for (row, column), value in np.ndenumerate(values if values.shape[1] <= 12 else np.empty((0, 0))):
        text = f"{round(value, 2) + 0.0:.2f}".replace("-", "−") if np.isfinite(value) else "n/a"
        colour = "white" if np.isfinite(value) and value > 0.6 * top else INK
        ax.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
