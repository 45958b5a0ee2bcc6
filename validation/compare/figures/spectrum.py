"""Figures of the Hessian spectrum: measured against predicted, through training, and how far they are apart.

Every measured density is that of the Lanczos continued fraction with its terminator
(`simulator.SpectralDensity.terminated_density`), rebuilt from the coefficients that the report keeps.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulator import SpectralDensity
from validation.compare.captions.run import zero_spectra
from validation.predictions.rung import in_order, rungs_of, title_of
from validation.report.drawing import (
    INK,
    RUNG_STYLES,
    UNKNOWN_RUNG,
    WIDTH,
    Array,
    HouseFigure,
    column,
    decades,
    epoch_axis,
    figure,
    plain_log_ticks,
    styled,
    symmetric_ticks,
)
from validation.report.source import Report

from .tails import rung_legend, zero_panel

CORNERS = (0.01, 0.21, 0.785, 0.99)  # of the columns of distances, in fractions of a panel
RATIOS = (0.1, 10.0)  # predicted over measured density that is drawn
OFF_AXIS = 1e-9  # an L1 too small to show; stands for 0 on a log axis


@styled
def spectrum(report: Report) -> Figure:
    """Fig. 8a: the measured Hessian spectrum over every prediction, and their ratio, for each epoch with H ≠ 0.

    Energies and densities are in units of rms and 1/rms; the energy axis is linear within 0.2 rms and
    logarithmic beyond. All densities are smoothed by the same eta: a single eigenvalue far out is a spike of that
    width. The band is one standard error from the probes.
    """
    epochs = [e for e in report["epochs"] if e["spectrum"]["rms"] > 0]
    zero = textwrap.wrap(zero_spectra(report), 104)
    if not epochs:
        return zero_panel(zero)
    reach = max(e["spectrum"]["tail_energies"][-1] for e in epochs)
    columns = min(2, len(epochs))
    rows = -(-len(epochs) // columns)
    fig = HouseFigure(figsize=(WIDTH, max(1.3 + 3.1 * rows, 5.2)), layout="constrained")
    panels = list(fig.subplots(2 * rows, columns, squeeze=False, height_ratios=[3.2, 1] * rows).T.flat)
    panels = [panels[c * 2 * rows + 2 * r + part] for r in range(rows) for c in range(columns) for part in (0, 1)]
    for k, epoch in enumerate(epochs):
        _spectrum_panel(panels[2 * k], epoch, float(report["eta"]), report["network"]["n_weights"], reach)
        _ratio_panel(panels[2 * k + 1], epoch, float(report["eta"]), report["network"]["n_weights"], reach)
    _common_height(panels[: 2 * len(epochs) : 2], -(-len(rungs_of(report)) // len(CORNERS)))
    for ax in panels[2 * len(epochs) :]:
        ax.remove()
    fig.supxlabel("\n".join(["E / rms", *zero]), fontsize=9)
    fig.supylabel(rf"density $\times$ rms ($\eta$ = {report['eta']:g} rms); below: predicted / measured", fontsize=9)
    measured = [*panels[0].lines[-1:], *panels[0].collections[:1]]
    rung_legend(fig, measured, ["measured", r"$\pm$ one standard error"], rungs_of(report))
    return fig


def _spectrum_panel(ax: Axes, epoch: Report, eta: float, size: int, reach: float) -> None:
    law, predictions = epoch["spectrum"], epoch["predictions"]
    energy_axis(ax, reach)
    ax.set_yscale("log")
    ax.tick_params(labelbottom=False)
    ax.set_title(f"epoch {epoch['epoch']}   (risk {epoch['risk']:.2g}, rms {law['rms']:.2g})")
    energies = energies_of(law, 0.01, eta, law["tail_energies"][-1])
    density, error = density_of(law, energies, eta, size)
    lower = np.maximum(density - error, density / 20)  # the log axis has no room for 0
    ax.fill_between(energies, lower, density + error, color="#bdbdbd", lw=0)
    for rung, prediction in sorted(predictions.items()):
        colour, style, _ = RUNG_STYLES.get(rung, UNKNOWN_RUNG)
        ax.plot(*predicted(law, prediction, energies, eta), color=colour, ls=style, lw=1.2)
        if prediction.get("spread"):
            middle, spread = (np.asarray(prediction[name]) for name in ("density", "spread"))
            ends = np.maximum(middle - spread, middle / 20), middle + spread
            ax.fill_between(law["energies"], *ends, color=colour, alpha=0.12, lw=0)
    ax.plot(energies, density, color=INK, lw=0.9)
    _distances(ax, predictions)


def energy_axis(ax: Axes, reach: float) -> None:
    ax.set_xscale("asinh", linear_width=0.2)
    symmetric_ticks(ax, [t for t in (0.2, 1, 4, 16, 64, 256, 1024) if t < reach], reach)


def _distances(ax: Axes, predictions: Report) -> None:
    """The L1 of every prediction in the upper corners, which the curves leave free: two columns in each."""
    rungs = in_order(predictions)
    rows = -(-len(rungs) // len(CORNERS))
    for place, rung in enumerate(rungs):
        column, row = divmod(place, rows)
        ax.annotate(
            f"{rung}  {predictions[rung]['l1']:.3f}",
            (CORNERS[column], 0.98 - 0.085 * row),
            xycoords="axes fraction",
            ha="left" if CORNERS[column] < 0.5 else "right",
            va="top",
            fontsize=7,
            color=RUNG_STYLES.get(rung, UNKNOWN_RUNG)[0],
        )
    if rungs:
        ax.annotate("L1", (0.5, 0.98), xycoords="axes fraction", ha="center", va="top", fontsize=7)


def predicted(law: Report, prediction: Report, energies: Array, eta: float) -> tuple[Array, Array]:
    """(energies, density) of a prediction, as far as it is known."""
    if "alpha" in prediction:
        drawn = {**law, "alpha": prediction["alpha"], "beta": prediction["beta"]}
        return energies, density_of(drawn, energies, eta, None)[0]
    inner, density = np.asarray(law["energies"]), np.asarray(prediction["density"])
    if "tail_density" not in prediction:
        return inner, density
    sizes, tail = np.asarray(law["tail_energies"][1:]), np.asarray(prediction["tail_density"][1:])
    return np.concatenate([-sizes[::-1], inner, sizes]), np.concatenate([tail[::-1], density, tail])


def _ratio_panel(ax: Axes, epoch: Report, eta: float, size: int, reach: float) -> None:
    """Predicted over measured density, with the measurement's own standard error."""
    law = epoch["spectrum"]
    energy_axis(ax, reach)
    energies = np.asarray(law["energies"])
    density, error = density_of(law, energies, eta, size)
    share = error / density
    ax.fill_between(energies, np.maximum(1 - share, 1e-3), 1 + share, color="#bdbdbd", lw=0)
    for rung, prediction in sorted(epoch["predictions"].items()):
        colour, style, _ = RUNG_STYLES.get(rung, UNKNOWN_RUNG)
        ax.plot(energies, np.asarray(prediction["density"]) / density, color=colour, ls=style, lw=1.0)
    ax.axhline(1.0, color=INK, lw=0.9)
    ax.set(yscale="log", ylim=RATIOS)
    ax.yaxis.set_major_locator(FixedLocator([0.25, 1, 4]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _common_height(panels: Sequence[Axes], rows: int) -> None:
    """The same limits for all panels, with the peak's flanks free of the rows of numbers in the corners."""
    low = min(float(ax.dataLim.minposy) for ax in panels)  # the log axis has no room for 0
    high = max(ax.dataLim.y1 for ax in panels)
    for ax in panels:
        ax.set_ylim(low / 1.5, high * (high / low) ** max(0.12, 0.07 * rows - 0.05))


@styled
def spectrum_overlay(report: Report) -> Figure:
    """The paper's fig. 8a: the measured densities of all epochs over one another, in absolute energies.

    Each is smoothed with eta times its own rms and drawn a little beyond its extreme Lanczos nodes. The
    energy axis is linear around 0, up to a third of the smallest rms, and logarithmic beyond.
    """
    epochs, eta = report["epochs"], float(report["eta"])
    laws = [e["spectrum"] for e in epochs]
    linear = min((law["rms"] for law in laws if law["rms"] > 0), default=1.0) / 3
    fig, (ax,) = figure(4.6, 1, 1)
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(epochs)))
    for epoch, colour in zip(epochs, colours, strict=True):
        law = epoch["spectrum"]
        if law["rms"] > 0:
            energies = energies_of(law, linear / law["rms"] / 100, eta, 0.0)
            density = density_of(law, energies, eta, report["network"]["n_weights"])[0] / law["rms"]
            label = f"{epoch['epoch']}   ({epoch['risk']:.2g})"
            ax.plot(energies * law["rms"], density, color=colour, lw=0.9, label=label)
    reach = 1.4 * max([linear, *(max(-law["minimum"], law["maximum"]) for law in laws)])
    ax.set_xscale("asinh", linear_width=linear)
    ax.set_yscale("log" if ax.lines else "linear")
    _mark_zero(ax, [str(e["epoch"]) for e in epochs if e["spectrum"]["rms"] == 0])
    symmetric_ticks(ax, decades(linear, reach), reach)
    ax.set(xlabel="E", ylabel=rf"density (1/E), smoothed with $\eta$ = {eta:g} rms of each epoch")
    ax.legend(title="epoch (risk)", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def _mark_zero(ax: Axes, epochs: Sequence[str]) -> None:
    """An arrow head above 0 for the epochs whose whole density is there, beside the curves and not through them."""
    if epochs:
        label = "\n".join([*textwrap.wrap(", ".join(epochs), 20), "(H = 0)"])
        above = ax.get_xaxis_transform()
        ax.plot(0, 1, transform=above, marker="^", ms=8, color=INK, ls="none", clip_on=False, label=label)


@styled
def prediction_error(report: Report) -> Figure:
    r"""L1 distance of every rung from the measured density against the epoch (log axis; at most 2).

    R0 to R6 predict a mirror-symmetric density, so by the triangle inequality none of them can come closer than
    half of :math:`\int|\rho(E) - \rho(-E)|dE`: the asymmetry floor. A dashed line is the standard error of the
    measurement, what two measurements like this one differ by. Below 0.001 both leave the axis.
    """
    epochs = report["epochs"]
    at = column(epochs, "epoch")
    fig, (ax,) = figure(3.9, 1, 1)
    limits = [_limits(e["spectrum"]) for e in epochs]
    floor, error = np.maximum(np.array(limits).T, OFF_AXIS)
    values = [floor, error]
    for rung in rungs_of(report):
        l1 = np.array([e["predictions"].get(rung, {}).get("l1", np.nan) for e in epochs], dtype=float)
        values.append(l1)
        colour, style, marker = RUNG_STYLES.get(rung, UNKNOWN_RUNG)
        label = f"{rung} {title_of(rung)}"
        ax.plot(at, l1, color=colour, ls=style, marker=marker, label=label)
    ax.fill_between(at, OFF_AXIS, floor, color="#dedede", lw=0)
    ax.plot(at, floor, color="#8a8a8a", lw=1, marker="_", label="asymmetry floor")
    ax.plot(at, error, color=INK, lw=0.8, ls=(0, (6, 3)), marker="x", ms=4, label="standard error")
    _error_axes(ax, epochs, np.concatenate(values))
    return fig


def _error_axes(ax: Axes, epochs: Sequence[Report], values: Array) -> None:
    for epoch in epochs:
        if epoch["spectrum"]["rms"] == 0:
            ax.axvline(epoch["epoch"], color="#999999", lw=0.8, ls="--")
            place = (epoch["epoch"], 0.97)
            ax.annotate("H = 0", place, xycoords=("data", "axes fraction"), rotation=90, ha="right", va="top")
    low = max(np.nanmin(values, initial=0.2) / 2, 1e-3)
    ax.set(ylabel="L1 distance to the measured density", yscale="log", ylim=(low, 2.4))
    plain_log_ticks(ax, fine=3)
    if np.isfinite(values).any():
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    epoch_axis(ax, column(epochs, "epoch"))


def _limits(law: Report) -> tuple[float, float]:
    """What bounds the L1 of a spectrum: asymmetry floor and standard error; NaN where there is none."""
    if not law["density"]:
        return np.nan, np.nan
    energies, density = np.asarray(law["energies"]), np.asarray(law["density"])
    asymmetry = np.trapezoid(np.abs(density - density[::-1]), energies) / 2
    error = law["l1_standard_error"]
    return float(asymmetry), np.nan if error is None else float(error)


def density_of(law: Report, energies: Array, eta: float, size: int | None) -> tuple[Array, Array]:
    """Density of Lanczos recurrences and its standard error; energies and eta in units of the rms."""
    rule = SpectralDensity.from_recurrence(law["alpha"], law["beta"], size)
    density, error = rule.terminated_density(energies * law["rms"], eta * law["rms"])
    return density * law["rms"], error * law["rms"]


def energies_of(law: Report, first: float, eta: float, least: float) -> Array:
    """Energies in units of the rms, out to a little beyond the extreme nodes and at least to `least`.

    Logarithmic from ±`first`, and finer around every node, where a single eigenvalue makes a spike of width
    eta: a grid coarser than that would draw its height at random.
    """
    ends = [max(1.2 * end / law["rms"], least, 2 * first) for end in (-law["minimum"], law["maximum"])]
    left, right = (np.geomspace(first, end, 500) for end in ends)
    nodes = np.unique(SpectralDensity.from_recurrence(law["alpha"], law["beta"]).nodes) / law["rms"]
    offsets = eta * np.array([-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4])
    near = (nodes[:, None] + offsets).ravel()
    grid = np.concatenate([-left, [0.0], right, near[(near > -ends[0]) & (near < ends[1])]])
    return np.unique(grid)
