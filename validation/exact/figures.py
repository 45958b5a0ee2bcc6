"""The figures of the exact report, drawn from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from validation.report.drawing import (
    INK,
    ORDER,
    RUNG_STYLES,
    TEST,
    TRAIN,
    Array,
    Draw,
    figure,
    house_style,
    plain_log_ticks,
)
from validation.report.source import Report

from .cases import select

COLOURS = [colour for colour, _, _ in RUNG_STYLES.values()]
STRIP = "#ececec"
SMALLEST = 1e-6  # nats: what a log axis still shows
BEYOND = 5.0  # standard errors: the edge of their axis
E_STEPS: dict[tuple[str, str], tuple[str, str, Any, str]] = {  # label, colour, line style, marker
    ("exact", "line search"): ("exact posterior, line search", TRAIN, "-", "o"),
    ("exact", "fixed step"): ("exact posterior, fixed step", "#56B4E9", (0, (5, 1.5)), "s"),
    ("monte_carlo", "fixed step"): ("Monte Carlo, fixed step", TEST, "-", "^"),
    ("zero_temperature", "fixed step"): ("zero temperature (ReLU), fixed step", ORDER, "-.", "D"),
}


@house_style
def marginal(report: Report) -> Figure:
    """µ(y = +1|x) of each input against the temperature: exact lines, Monte Carlo bands; their deviation below."""
    data = report["marginal"]
    at = np.array(data["temperatures"])
    exact, estimate, error = (np.array(data[key]) for key in ("exact", "estimate", "standard_error"))
    trusted = np.array(data["trusted"])
    fig, (top, bottom) = figure(5.6, 2, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1]})
    ends = at[0] / 1.8, at[-1] * 1.8
    for ax in (top, bottom):
        _temperature_axis(ax, ends)
    for i, colour in enumerate(COLOURS[: exact.shape[1]]):
        low, high = estimate[:, i] - 2 * error[:, i], estimate[:, i] + 2 * error[:, i]
        top.fill_between(at, low, high, color=colour, alpha=0.25, lw=0)
        top.plot(at, estimate[:, i], color=colour, marker=".", ms=3.5, ls="none")
        top.plot(at, exact[:, i], color=colour)
        for x, key in zip(ends, ("cold_limit", "hot_limit"), strict=True):
            top.plot(x, data[key][i], color=colour, marker="o", ms=6, mfc="none", mew=1.3)
        for part, alpha in ((trusted[:, i], 1.0), (~trusted[:, i] & (error[:, i] > 0), 0.35)):
            z = (estimate[part, i] - exact[part, i]) / error[part, i]
            _deviations(bottom, at[part], z, {"color": colour, "alpha": alpha, "ls": "none"})
    top.set_ylabel(r"$\mu(y=+1\,|\,x)$")
    bottom.axhspan(-2, 2, color=STRIP, lw=0, zorder=0)
    bottom.axhline(0, color=INK, lw=0.6, ls=":")
    bottom.set(
        ylim=(-BEYOND - 0.6, BEYOND + 0.6),
        yticks=[-4, -2, 0, 2, 4],
        ylabel="deviation\n(standard errors)",
        xlabel="temperature",
    )
    fig.legend(handles=_marginal_keys(data["samples"]), loc="outside upper center", ncols=3)
    return fig


def _deviations(ax: Axes, at: Array, z: Array, style: dict[str, Any]) -> None:
    """Points, and triangles at the edge for those beyond it."""
    inside = np.abs(z) <= BEYOND
    ax.plot(at[inside], z[inside], marker=".", ms=4, **style)
    for sign, marker in ((1, "^"), (-1, "v")):
        out = at[sign * z > BEYOND]
        ax.plot(out, np.full(out.size, sign * BEYOND), marker=marker, ms=5, mfc="none", **style)


def _temperature_axis(ax: Axes, ends: tuple[float, float]) -> None:
    """A log axis whose ends, shaded, stand for T → 0 and T → ∞."""
    cold, hot = ends
    ax.set_xscale("log")
    pad = 1.35
    for low, high in ((cold / pad, cold * pad), (hot / pad, hot * pad)):
        ax.axvspan(low, high, color=STRIP, lw=0, zorder=0)
    names = {cold: "→ 0", hot: "→ ∞"}
    decades = 10.0 ** np.arange(np.ceil(np.log10(cold)), np.floor(np.log10(hot)) + 1)
    ax.xaxis.set_major_locator(FixedLocator([cold, *decades, hot]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(value, f"{value:g}")))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(cold / pad, hot * pad)


def _marginal_keys(samples: int) -> list[Any]:
    return [
        Line2D([], [], color=INK, label="exact, one colour per input"),
        Patch(color=INK, alpha=0.25, lw=0, label=f"Monte Carlo ± 2 standard errors ({samples} draws)"),
        Line2D([], [], color=INK, marker="o", ms=6, mfc="none", mew=1.3, ls="none", label="limits: ReLU, fair coins"),
    ]


@house_style
def em(report: Report) -> Figure:
    """Likelihood and bound through exact EM; below, on a log axis, what is missing from each to the next."""
    runs = select(report["runs"], e_step="exact", rule="line search", temperature=report["learning"]["temperature"])
    fig, (top, bottom) = figure(5.6, 2, 1, sharex=True)
    thick: dict[str, Any] = {"lw": 1.8, "zorder": 3}
    for run in runs[1:]:
        top.plot(run["log_likelihood"], color=TRAIN, lw=0.7, alpha=0.45)
        bottom.plot(_positive(run["kl"]), color=TRAIN, lw=0.7, alpha=0.45)
    first = runs[0]
    top.plot(first["log_likelihood"], color=TRAIN, label="log-likelihood", **thick)
    steps = np.arange(1, len(first["bound"]))  # at 0 no posterior was taken yet
    dashed: dict[str, Any] = {"color": TEST, "ls": "--", "lw": 1.3, "zorder": 4}
    top.plot(steps, first["bound"][1:], label="evidence bound after the M-step", **dashed)
    floor = -first["entropy"][0]
    top.axhline(floor, color=INK, ls=":", label="minus the entropy of the labels")
    top.plot([], [], color=TRAIN, lw=0.7, alpha=0.45, label="other starts")
    top.set_ylabel("nats an example")
    bottom.plot(_positive(first["kl"]), color=TRAIN, label="likelihood to entropy: divergence", **thick)
    gap = np.subtract(first["log_likelihood"], first["bound"])
    bottom.plot(steps, _positive(gap[1:]), label="bound to likelihood", **dashed)
    bottom.set(yscale="log", ylabel="difference (nats)", xlabel="iteration")
    bottom.yaxis.set_minor_locator(NullLocator())
    top.legend(loc="lower right")
    bottom.legend(loc="upper right", ncols=2)
    _iterations(bottom, len(first["kl"]))
    return fig


def _positive(values: Sequence[float] | Array) -> Array:
    """What a log axis can show: differences down to `SMALLEST`, nothing where rounding takes over."""
    array = np.asarray(values, dtype=float)
    return np.where(array > SMALLEST, array, np.nan)


def _iterations(ax: Axes, count: int) -> None:
    ax.set_xlim(-0.01 * count, 1.01 * (count - 1))


@house_style
def e_steps(report: Report) -> Figure:
    """The three E-steps from the same weights: likelihood by iteration; where every start ends."""
    learning = report["learning"]
    fig, (left, right) = figure(3.9, 1, 2, gridspec_kw={"width_ratios": [1.7, 1]})
    keys = []
    for place, ((e_step, rule), (label, colour, dashes, marker)) in enumerate(E_STEPS.items()):
        t = 0.0 if e_step == "zero_temperature" else learning["temperature"]
        runs = select(report["runs"], e_step=e_step, rule=rule, temperature=t)
        left.plot(runs[0]["log_likelihood"], color=colour, ls=dashes, lw=1.4)
        keys.append(Line2D([], [], color=colour, ls=dashes, lw=1.4, marker=marker, label=label))
        ends = np.maximum([run["kl"][-1] for run in runs], SMALLEST)
        right.plot(ends, place + np.linspace(-0.2, 0.2, len(ends)), color=colour, marker=marker, ls="none", mfc="none")
        right.plot(ends[0], place - 0.2, color=colour, marker=marker, ls="none")
    left.axhline(-learning["entropy"], color=INK, ls=":")
    left.set(xlabel="iteration", ylabel="log-likelihood (nats an example)")
    _iterations(left, len(runs[0]["kl"]))
    right.set(xscale="log", xlabel="divergence left at the end (nats)", ylim=(len(E_STEPS) - 0.5, -0.5))
    plain_log_ticks(right, fine=2.5, horizontal=True)
    right.set_yticks(range(len(E_STEPS)), [""] * len(E_STEPS))
    right.tick_params(axis="y", length=0)
    keys.append(Line2D([], [], color=INK, ls=":", label="minus the entropy of the labels"))
    fig.legend(handles=keys, loc="outside upper center", ncols=3)
    return fig


@house_style
def gate_entropy(report: Report) -> Figure:
    """Mean entropy of µ(h|x) by iteration, for the E-steps and temperatures of the first start."""
    runs = [run for run in select(report["runs"], start=0) if "gate_entropy" in run]
    fig, (ax,) = figure(3.9, 1, 1)
    temperatures = sorted({run["temperature"] for run in runs} - {0.0})
    for t, colour in zip(temperatures, (ORDER, TRAIN, TEST), strict=True):
        for run in select(runs, temperature=t):
            exact = run["e_step"] == "exact"
            style: dict[str, Any] = {"lw": 1.6} if exact else {"lw": 0.9, "ls": "--"}
            ax.plot(run["gate_entropy"], color=colour, **style)
        ax.annotate(f"T = {t:g}", (1.01, _end(runs, t)), xycoords=("axes fraction", "data"), color=colour, va="center")
    for run in select(runs, temperature=0.0):
        ax.plot(run["gate_entropy"], color=INK, lw=1.6)
    ax.annotate("T = 0", (1.01, 0.0), xycoords=("axes fraction", "data"), va="center")
    most = report["learning"]["gates"] * np.log(2)
    ax.axhline(most, color=INK, ls=":")
    ax.annotate(f"fair coins: {report['learning']['gates']} ln 2", (0.99, most), xycoords=("axes fraction", "data"),
                ha="right", va="bottom", xytext=(0, 2), textcoords="offset points")  # fmt: skip
    ax.set(xlabel="iteration", ylabel="entropy of the gates (nats an example)", ylim=(-0.12, 1.1 * most))
    _iterations(ax, len(runs[0]["gate_entropy"]))
    keys = [
        Line2D([], [], color=INK, lw=1.6, label="exact posterior (T = 0: ReLU)"),
        Line2D([], [], color=INK, lw=0.9, ls="--", label="Monte Carlo"),
    ]
    fig.legend(handles=keys, loc="outside upper center", ncols=2)
    return fig


def _end(runs: Sequence[Report], temperature: float) -> float:
    return float(np.mean([run["gate_entropy"][-1] for run in select(runs, temperature=temperature)]))


FIGURES: dict[str, Draw] = {
    "marginal": marginal,
    "em": em,
    "e_steps": e_steps,
    "gate_entropy": gate_entropy,
}
