"""The spectrum of the whole, H + G, and of the Gram matrix of gradients: figures of a run with --whole."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulator import SpectralDensity
from validation.predictions.rung import title_of
from validation.predictions.whole import WHOLE_RUNGS
from validation.report.drawing import (
    INK,
    RUNG_STYLES,
    Array,
    Draw,
    column,
    epoch_axis,
    figure,
    plain_log_ticks,
    styled,
)
from validation.report.source import Report

from .spectrum import density_of, energy_axis, fine_energies

ALONE, BENT = "#8a8a8a", "#0072B2"  # H, G
GRAMS = {"tangent": "tangent kernel / m", "fisher": "Fisher", "gauss_newton": "Gauss-Newton G"}
LEAST = 1e-7  # of the largest eigenvalue, below which the Gram matrix's are rounding of float32
DRAWN_RUNGS = ("RE", "RK")


def with_whole(report: Report) -> list[Report]:
    """The recorded epochs that have the Gram matrix of gradients."""
    return [e for e in report["epochs"] if e.get("whole")]


def with_sum(report: Report) -> list[Report]:
    """Those of them at which G is not 0."""
    return [e for e in with_whole(report) if e["whole"]["spectrum"]]


def _colours(epochs: Sequence[Report]) -> Array:
    found: Array = mpl.colormaps["viridis"](np.linspace(0, 0.88, len(epochs)))
    return found


@styled
def whole_spectrum(report: Report) -> Figure:
    """H + G, measured and drawn (RE, RK), over H alone and G alone, for each epoch with G ≠ 0.

    Energies and densities in units of the rms of H + G; the axis is linear within 0.2 rms and logarithmic beyond. All
    are smoothed with the same eta.
    """
    epochs, eta, n = with_sum(report), float(report["eta"]), report["network"]["n_weights"]
    if not epochs:
        raise ValueError("expected a run with --whole and a loss that has a curvature, got none: nothing to draw")
    columns = min(2, len(epochs))
    rows = -(-len(epochs) // columns)
    fig, panels = figure(1.2 + 2.7 * rows, rows, columns, sharey=True)
    for ax, epoch in zip(panels, epochs, strict=False):
        _whole_panel(ax, epoch, eta, n)
    for ax in panels[len(epochs) :]:
        ax.remove()
    fig.supxlabel("E / rms of H + G", fontsize=9)
    fig.supylabel(rf"density $\times$ rms ($\eta$ = {eta:g} rms)", fontsize=9)
    handles = [
        Line2D([], [], color=INK, lw=1.1),
        Line2D([], [], color=ALONE, lw=1.1),
        Line2D([], [], color=BENT, lw=1.1),
    ]
    names = ["H + G, measured", "H alone, measured", "G alone, exact"]
    for rung in DRAWN_RUNGS:
        handles.append(Line2D([], [], color=RUNG_STYLES[rung][0], ls=RUNG_STYLES[rung][1], lw=1.2))
        names.append(f"H + G, {rung}: {title_of(rung)}")
    fig.legend(handles, names, loc="outside upper center", ncols=3)
    return fig


def _whole_panel(ax: Axes, epoch: Report, eta: float, n: int) -> None:
    made = epoch["whole"]
    law, rms = made["spectrum"], made["spectrum"]["rms"]
    reach = 1.3 * max(law["maximum"], -law["minimum"], -epoch["spectrum"]["minimum"]) / rms
    energy_axis(ax, reach)
    energies = fine_energies(law, 0.01, eta, reach)
    density, error = density_of(law, energies, eta, n)
    ax.fill_between(energies, np.maximum(density - error, density / 20), density + error, color="#d9d9d9", lw=0)
    residual = SpectralDensity.from_recurrence(epoch["spectrum"]["alpha"], epoch["spectrum"]["beta"], n)
    ax.plot(energies, residual.terminated_density(energies * rms, eta * rms)[0] * rms, color=ALONE, lw=0.9)
    ax.plot(
        energies, _exact(made["gauss_newton"]["eigenvalues"], n, energies * rms, eta * rms) * rms, color=BENT, lw=0.9
    )
    for rung in DRAWN_RUNGS:
        drawn = {**law, **{name: made["predictions"][rung][name] for name in ("alpha", "beta")}}
        colour, style, _ = RUNG_STYLES[rung]
        ax.plot(energies, density_of(drawn, energies, eta, None)[0], color=colour, ls=style, lw=1.2)
    ax.plot(energies, density, color=INK, lw=0.9)
    ax.set_yscale("log")
    ax.set_ylim(bottom=max(float(density.min()) / 3, 1e-7))
    ax.set_title(f"epoch {epoch['epoch']}   (risk {epoch['risk']:.2g}, rms {rms:.2g})")
    said = [(f"{name}  {made['predictions'][name]['l1']:.3f}", colour) for name, colour in _named(made)]
    for place, (words, colour) in enumerate([("L1", INK), *said]):
        ax.annotate(words, (0.99, 0.98 - 0.075 * place), xycoords="axes fraction", ha="right", va="top",
                    fontsize=7, color=colour)  # fmt: skip


def _named(made: Report) -> list[tuple[str, str]]:
    """Predictions with a distance, and their colours."""
    colours = {"H": ALONE, "G": BENT, "free": INK} | {rung: RUNG_STYLES[rung][0] for rung in WHOLE_RUNGS}
    return [(name, colours[name]) for name in colours if "l1" in made["predictions"].get(name, {})]


def _exact(values: Sequence[float], n: int, energies: Array, eta: float) -> Array:
    """The smoothed density of n eigenvalues of which all but `values` are 0."""
    found = np.zeros_like(energies)
    for value in values:
        found += eta / np.pi / ((energies - value) ** 2 + eta**2)
    density: Array = (found + (n - len(values)) * eta / np.pi / (energies**2 + eta**2)) / n
    return density


@styled
def whole_largest(report: Report) -> Figure:
    """The largest eigenvalues of H + G beside those of G, their eigenvectors, and what the sampled rungs say of them.

    Left: λ_k of H + G over θ_k of G, k = 1 to 5; hollow: for directions of G that know nothing of H. Middle: squared
    overlap of the leading eigenvectors of H + G and of G. Right: the largest eigenvalue drawn over measured.
    """
    epochs = [e for e in with_sum(report) if e["whole"]["largest"]]
    if not epochs:
        raise ValueError("expected a run with --whole and eigenvalues of H + G, got none: nothing to draw")
    fig, (left, middle, right) = figure(3.6, 1, 3)
    for epoch, colour in zip(epochs, _colours(epochs), strict=True):
        rows = epoch["whole"]["largest"]
        theta = [row["gauss_newton"] for row in rows]
        left.plot(theta, [row["whole"] for row in rows], "o", color=colour, ms=4, label=str(epoch["epoch"]))
        left.plot(theta, [row["spiked"] for row in rows], "o", color=colour, ms=6, mfc="none", mew=0.7)
    low, high = left.get_xlim()
    ends = np.array([max(low, 0.0), high])
    left.plot(ends, ends, color=INK, lw=0.7, ls=":")
    left.set(xlabel=r"$\theta_k$ of G", ylabel=r"$\lambda_k$ of H + G")
    left.legend(title="epoch", loc="lower right", ncols=2)
    _overlap_panel(middle, epochs)
    _drawn_panel(right, epochs)
    return fig


def _overlap_panel(ax: Axes, epochs: Sequence[Report]) -> None:
    at, first = column(epochs, "epoch"), [e["whole"]["largest"][0] for e in epochs]
    for name, words, colour, style in (
        ("overlap", "with the first of G", INK, "o-"),
        ("span", "with five of G", ALONE, "s-"),
        ("spiked_overlap", "law of spikes", INK, "o:"),
        ("classes", "first of G with class means", BENT, "^-"),
    ):
        filled = colour if name != "spiked_overlap" else "none"
        ax.plot(at, [row[name] for row in first], style, color=colour, mfc=filled, lw=1.0, ms=4, label=words)
    ax.set(ylim=(0, 1.05), ylabel="squared overlap, first eigenvector")
    ax.legend(loc="lower right", fontsize=7)
    epoch_axis(ax, at)


def _drawn_panel(ax: Axes, epochs: Sequence[Report]) -> None:
    at = column(epochs, "epoch")
    for place, rung in enumerate(WHOLE_RUNGS):
        rows = [e["whole"]["predictions"][rung]["tails"]["largest"]["positive"] for e in epochs]
        scale = np.array([e["whole"]["spectrum"]["rms"] / e["whole"]["largest"][0]["whole"] for e in epochs])
        values, errors = (
            np.array([row[0][key] if row else np.nan for row in rows]) for key in ("value", "standard_error")
        )
        shift = (place - 1) * 0.008 * max(float(np.ptp(at)), 1.0)
        ax.errorbar(
            at + shift, values * scale, errors * scale, color=RUNG_STYLES[rung][0], fmt="o", ms=4, lw=1, label=rung
        )
    ax.axhline(1.0, color=INK, lw=0.7)
    ax.set_ylabel("largest eigenvalue, drawn / measured")
    ax.legend(loc="best")
    epoch_axis(ax, at)


@styled
def gram_spectra(report: Report) -> Figure:
    """Eigenvalues by rank of the tangent kernel over m, of the Fisher matrix, and of G, epoch by epoch; log-log.

    Those below 1e-7 of the largest are rounding and are left out. A kind whose eigenvalues are all 0 says so.
    """
    epochs = with_whole(report)
    if not epochs:
        raise ValueError("expected a run with --whole, got none: nothing to draw")
    fig, panels = figure(3.3, 1, len(GRAMS), sharex=True)
    for ax, (kind, title) in zip(panels, GRAMS.items(), strict=True):
        for epoch, colour in zip(epochs, _colours(epochs), strict=True):
            values = np.array(epoch["whole"][kind]["eigenvalues"])
            values = values[values > LEAST * values.max(initial=0.0)]
            ax.plot(
                np.arange(1, values.size + 1), values, color=colour, marker=".", ms=3, lw=0.8, label=str(epoch["epoch"])
            )
        ax.set(xscale="log", title=title, xlabel="rank")
        if any(line.get_xdata().size for line in ax.lines):  # type: ignore[union-attr]
            ax.set_yscale("log")
        else:
            ax.set_yticks([])
            ax.annotate("0: the loss has no curvature", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=8)
    panels[0].set_ylabel("eigenvalue")
    plain_log_ticks(panels[0], fine=2, horizontal=True)
    handles, names = panels[0].get_legend_handles_labels()
    fig.legend(handles, names, title="epoch", loc="outside right upper")
    return fig


SUM_FIGURES: dict[str, Draw] = {"whole_spectrum": whole_spectrum, "whole_largest": whole_largest}
WHOLE_FIGURES: dict[str, Draw] = {**SUM_FIGURES, "gram_spectra": gram_spectra}
