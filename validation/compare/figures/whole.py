"""The spectrum of the whole, H + G, and of the Gram matrix of gradients: figures of a run with --whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
from validation.statistics.extremes import LARGEST

from .tails import beyond

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
    """How many eigenvalues lie beyond an energy: H + G on either side, H, G, and H + G as RE and RK draw it.

    One panel for each epoch with G ≠ 0. Energies in units of the rms of H + G, both axes logarithmic. Nothing is
    smoothed: numbers are N times the weights of the Lanczos nodes beyond, means over probes or draws; those of G exact.
    Marks: the five largest at their rank, which weights of few probes give only roughly.
    """
    epochs, n = with_sum(report), report["network"]["n_weights"]
    if not epochs:
        raise ValueError("expected a run with --whole and a loss that has a curvature, got none: nothing to draw")
    columns = min(3, len(epochs))
    rows = -(-len(epochs) // columns)
    fig, panels = figure(1.4 + 2.4 * rows, rows, columns, sharey=True)
    for ax, epoch in zip(panels, epochs, strict=False):
        _whole_panel(ax, epoch, n)
    for ax in panels[len(epochs) :]:
        ax.remove()
    fig.supxlabel("|E| / rms of H + G", fontsize=9)
    fig.supylabel("eigenvalues beyond", fontsize=9)
    names = ["H + G, positive", "H + G, negative", "H, mean of both sides", "G, exact"]
    styles: list[tuple[str, Any]] = [(INK, "-"), (INK, ":"), (ALONE, "-"), (BENT, "-")]
    names += [f"{rung}, positive: {title_of(rung)}" for rung in DRAWN_RUNGS]
    styles += [RUNG_STYLES[rung][:2] for rung in DRAWN_RUNGS]
    handles = [Line2D([], [], color=colour, ls=ls, lw=1.2) for colour, ls in styles]
    fig.legend(handles, names, loc="outside upper center", ncols=3)
    return fig


def _whole_panel(ax: Axes, epoch: Report, n: int) -> None:
    made = epoch["whole"]
    law, rms = made["spectrum"], made["spectrum"]["rms"]
    reach = 1.3 * max(law["maximum"], -law["minimum"], -epoch["spectrum"]["minimum"]) / rms
    sizes = np.geomspace(0.3, reach, 400)
    bent = np.array(made["gauss_newton"]["eigenvalues"])
    curves = [
        (np.sum(bent > sizes[:, None] * rms, axis=1), BENT, "-", 1.0),
        (np.mean([beyond(epoch["spectrum"], sign, sizes * rms, n) for sign in (-1, 1)], axis=0), ALONE, "-", 1.0),
        *((beyond(made["predictions"][rung], 1, sizes * rms, n), *RUNG_STYLES[rung][:2], 1.3) for rung in DRAWN_RUNGS),
        (beyond(law, 1, sizes * rms, n), INK, "-", 0.9),
        (beyond(law, -1, sizes * rms, n), INK, ":", 0.9),
    ]
    for counts, colour, style, width in curves:
        ax.plot(sizes, np.where(counts > 0, counts, np.nan), color=colour, ls=style, lw=width)
    ranks = np.arange(1, LARGEST + 1)
    for found, colour, mark in (
        (made["predictions"]["RK"]["tails"]["largest"], RUNG_STYLES["RK"][0], "s"),
        (made["predictions"]["RE"]["tails"]["largest"], RUNG_STYLES["RE"][0], "o"),
        (law["largest"], INK, "."),
    ):
        values = [one["value"] for one in found["positive"]]
        ax.plot(values, ranks[: len(values)], mark, color=colour, mfc=INK if mark == "." else "none", ms=5, mew=0.8)
    ax.set(xscale="log", yscale="log", xlim=(sizes[0], reach))
    ax.set_ylim(bottom=0.7)
    plain_log_ticks(ax, fine=1, horizontal=True)
    ax.set_title(f"epoch {epoch['epoch']}   (risk {epoch['risk']:.2g}, rms {rms:.2g})")


@styled
def whole_largest(report: Report) -> Figure:
    """The largest eigenvalues of H + G beside those of G, their eigenvectors, and what the sampled rungs say of them.

    Left and middle, for the five largest at every epoch, against θ_k of G over the largest eigenvalue of H: λ_k of
    H + G over θ_k, and the share of its eigenvector in five of G; hollow: for directions that know nothing of H. Right:
    the largest eigenvalue of H + G drawn over measured.
    """
    epochs = [e for e in with_sum(report) if e["whole"]["largest"] and e["spectrum"]["maximum"] > 0]
    if not epochs:
        raise ValueError("expected a run with --whole and eigenvalues of H + G, got none: nothing to draw")
    fig, (left, middle, right) = figure(3.6, 1, 3)
    for epoch, colour in zip(epochs, _colours(epochs), strict=True):
        rows = epoch["whole"]["largest"]
        theta = np.array([row["gauss_newton"] for row in rows])
        at, label = theta / epoch["spectrum"]["maximum"], str(epoch["epoch"])
        for ax, values, law in (
            (left, [row["whole"] for row in rows] / theta, [row["spiked"] for row in rows] / theta),
            (middle, [row["span"] for row in rows], [row["spiked_overlap"] for row in rows]),
        ):
            ax.plot(at, values, "o", color=colour, ms=4, label=label)
            ax.plot(at, law, "o", color=colour, ms=6, mfc="none", mew=0.7)
    left.axhline(1.0, color=INK, lw=0.7, ls=":")
    left.set(xscale="log", yscale="log", ylabel=r"$\lambda_k$ of H + G / $\theta_k$ of G")
    middle.set(xscale="log", ylim=(-0.03, 1.05), ylabel="share of eigenvector in five of G")
    plain_log_ticks(left, fine=2)
    for ax in (left, middle):
        ax.set_xlabel(r"$\theta_k$ of G / largest of H")
        plain_log_ticks(ax, fine=1, horizontal=True)
    left.legend(title="epoch", loc="upper right", ncols=2)
    _drawn_panel(right, epochs)
    return fig


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
