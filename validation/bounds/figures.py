"""The figures of the report on bounds, drawn from its numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from validation.measurements.ensembles.assemblies import KINDS
from validation.measurements.ensembles.claims import EXPONENT
from validation.report.drawing import INK, RUNG_STYLES, TEST, TRAIN, Array, Draw, figure, house_style, plain_log_ticks
from validation.report.source import Report

from .page import BROKEN_MOST, SHOWN_MU, widths

STYLES = [(colour, marker) for colour, _, marker in RUNG_STYLES.values()]
GUIDE: dict[str, Any] = {"color": INK, "ls": ":", "lw": 1.0}
LABELS = {kind: "T" if not parts else r"$\{" + ",".join(parts) + r"\}$" for kind, parts in KINDS.items()}


def _rows(report: Report, kind: str, mu: float | None, n: int) -> list[Report]:
    return [r for r in report["assemblies"] if (r["kind"], r["mu"], r["n"]) == (kind, mu, n)]


def _line(ax: Axes, rows: list[Report], key: str, place: int, **style: Any) -> None:
    """One estimate against L, with two standard errors; nothing where it is exactly 0."""
    seen = [r for r in rows if key in r and r[key][0] > 0]
    if not seen:
        return
    colour, marker = STYLES[place]
    values, errors = np.array([r[key] for r in seen]).T
    ax.errorbar([r["depth"] for r in seen], values, 2 * errors, color=colour, marker=marker, **style)


def _kinds(order: int) -> list[str]:
    return [kind for kind, parts in KINDS.items() if len(parts) == order]


@house_style
def means(report: Report) -> Figure:
    """Means over the bracket of (20), above, and over the bound of M4, below, against L, for k = 0, 1, 2."""
    fig, axes = figure(6.4, 2, 3, sharex=True, sharey="row")
    _, widest = widths(report)
    depths = sorted({r["depth"] for r in report["assemblies"]})
    for order in range(3):
        top, bottom = axes[order], axes[3 + order]
        for place, kind in enumerate(_kinds(order)):
            for ax, key in ((top, "mean_ratio"), (bottom, "m4_ratio")):
                _line(ax, _rows(report, kind, SHOWN_MU, widest), key, place, ms=4)
                _line(ax, _rows(report, kind, None, widest), key, place, ms=4, ls="--", mfc="none")
        top.set(title=f"k = {order}", yscale="log")
        bottom.set(yscale="log", xlabel="depth L")
        bottom.axhline(1.0, color=INK, lw=1.0)
        _depth_axis(bottom, depths)
    _power_of_two(axes[0], depths)
    axes[0].set_ylabel("mean / bracket of (20)")
    axes[3].set_ylabel("mean / bound of M4")
    plain_log_ticks(axes[3], fine=1)
    _set_keys(fig, SHOWN_MU)
    return fig


def _depth_axis(ax: Axes, depths: list[int]) -> None:
    ax.xaxis.set_major_locator(FixedLocator(depths))
    ax.set_xlim(depths[0] - 0.5, depths[-1] + 0.5)


def _power_of_two(ax: Axes, depths: list[int]) -> None:
    """What a mean that does not decay at all looks like over 2^{-L}."""
    at = np.linspace(depths[0], depths[-1], 50)
    ax.plot(at, 2.0 ** (at - depths[0]) * 30, **GUIDE)
    ax.annotate(r"$\propto 2^L$", (at[30], 2.0 ** (at[30] - depths[0]) * 30), xytext=(-6, 4),
                textcoords="offset points", ha="right")  # fmt: skip


def _set_keys(fig: Figure, mu: float) -> None:
    """One key for all panels: the removed layers by order, and the line styles."""
    keys = [Line2D([], [], color=INK, marker="o", ms=4, label=f"µ = {mu:g}")]
    keys.append(Line2D([], [], color=INK, marker="o", ms=4, mfc="none", ls="--", label="all intact"))
    for order in (1, 2):
        for (colour, marker), kind in zip(STYLES, _kinds(order), strict=False):
            keys.append(Line2D([], [], color=colour, marker=marker, ms=4, ls="none", label=f"k={order} {LABELS[kind]}"))
    fig.legend(handles=keys, loc="outside upper center", ncols=6)


@house_style
def squares(report: Report) -> Figure:
    """Mean squares over the bracket of (21) against L, over their value at the smallest L, where they grow fastest."""
    narrowest, _ = widths(report)
    fig, axes = figure(3.7, 1, 3, sharey=True)
    depths = sorted({r["depth"] for r in report["assemblies"]})
    for order, ax in enumerate(axes):
        for place, kind in enumerate(_kinds(order)):
            for mu in (BROKEN_MOST, None):
                rows = _rows(report, kind, mu, narrowest)
                first = rows[0]["square_ratio"][0]
                shift = 0.12 * (place - 2)  # error bars beside each other
                values, errors = np.array([r["square_ratio"] for r in rows]).T / first
                at = [r["depth"] + shift for r in rows]
                style: dict[str, Any] = {"ls": "-"} if mu else {"ls": "--", "mfc": "none"}
                colour, marker = STYLES[place]
                ax.errorbar(at, values, 2 * errors, color=colour, marker=marker, ms=4, **style)
        ax.axhline(1.0, **GUIDE)
        ax.set(title=f"k = {order}", xlabel="depth L")
        _depth_axis(ax, depths)
        ax.set_xlim(depths[0] - 1, depths[-1] + 1)
    axes[0].set_ylabel(f"mean square / bracket of (21),\nrelative to L = {depths[0]}")
    _set_keys(fig, BROKEN_MOST)
    return fig


@house_style
def flips(report: Report) -> Figure:
    """The mean flip probability of a gate against the width below: Monte Carlo, S3, n^{-1/2}; their ratio below."""
    rows = report["flips"]
    n, formula = (np.array([r[key] for r in rows], dtype=float) for key in ("n", "formula"))
    values, errors = np.array([r["measured"] for r in rows]).T
    fig, (top, bottom) = figure(5.0, 2, 1, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    top.plot(n, formula, color=TRAIN, label="S3, closed form")
    top.errorbar(n, values, 2 * errors, color=TEST, marker="o", ms=4, ls="none", label="Monte Carlo ± 2 errors")
    top.plot(n, formula[-1] * (n / n[-1]) ** EXPONENT, **GUIDE, label=r"$\propto n^{-1/2}$")
    top.set(xscale="log", yscale="log", ylabel=r"P(gate changes under $w\to-w$)")
    top.legend(loc="upper right")
    bottom.errorbar(n, values / formula, 2 * errors / formula, color=TEST, marker="o", ms=4, ls="none")
    bottom.axhline(1.0, color=TRAIN)
    bottom.set(xlabel="width below n", ylabel="measured / S3")
    plain_log_ticks(top, fine=3)
    _width_axis(bottom, n)
    return fig


def _width_axis(ax: Axes, n: Array) -> None:
    ax.set_xlim(n[0] / 1.2, n[-1] * 1.2)
    ax.xaxis.set_major_locator(FixedLocator(list(n)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_locator(NullLocator())


@house_style
def correlations(report: Report) -> Figure:
    """The rms correlation of two gates of a layer over inputs, against the width, layer by layer."""
    fig, (ax,) = figure(3.9, 1, 1)
    layers = sorted({r["layer"] for r in report["correlations"]})
    n = np.array(sorted({r["n"] for r in report["correlations"]}), dtype=float)
    for layer, (colour, marker) in zip(layers, STYLES[3:], strict=False):
        values, errors = np.array([r["rms"] for r in report["correlations"] if r["layer"] == layer]).T
        ax.errorbar(n, values, 2 * errors, color=colour, marker=marker, ms=4, label=f"layer {layer}")
    ax.plot(n, 2 / np.pi * n**EXPONENT, **GUIDE, label=r"$(2/\pi)\,n^{-1/2}$")
    ax.set(xscale="log", yscale="log", xlabel="width n", ylabel="rms correlation of two gates")
    plain_log_ticks(ax, fine=3)
    _width_axis(ax, n)
    ax.legend(loc="upper right")
    return fig


FIGURES: dict[str, Draw] = {
    "bounds_means": means,
    "bounds_squares": squares,
    "bounds_flips": flips,
    "bounds_correlations": correlations,
}
