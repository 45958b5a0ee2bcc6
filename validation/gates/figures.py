"""The figures of the report on gates, drawn from its numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from validation.report.drawing import INK, RUNG_STYLES, Array, Draw, figure, house_style
from validation.report.source import Report

STYLES = [(colour, marker) for colour, _, marker in RUNG_STYLES.values()]
ROLES = ("small", "network")
BOUNDS = (  # of the gaps below log µ(y|x): key, line style, label
    ("relu_gap", "-", "certain of the ReLU gates"),
    ("forward_gap", (0, (4, 1.5)), "forward law"),
)
SMALLEST = 1e-6  # nats: what a logarithmic axis still shows


def temperatures(report: Report) -> list[float]:
    return [entry["temperature"] for entry in report["networks"]["network"]["training"]]


def epochs_of(report: Report, role: str) -> Array:
    return np.array([epoch["epoch"] for epoch in report["networks"][role]["epochs"]], dtype=float)


def series(report: Report, role: str, k: int, key: str) -> tuple[Array, Array]:
    """A mean of the k-th temperature by epoch, and its standard error; NaN where there is none."""
    entries = [epoch["temperatures"][k].get(key) for epoch in report["networks"][role]["epochs"]]
    values, errors = (
        np.array([np.nan if e is None or e[part] is None else e[part] for e in entries], dtype=float)
        for part in ("value", "standard_error")
    )
    return values, errors


def _epochs(ax: Axes, at: Array) -> None:
    """An axis on which the first epochs stand apart."""
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.5)
    ax.set_xlim(-0.25, max(at.max(), 1.0) * 1.2)
    ax.xaxis.set_major_locator(FixedLocator(_apart(at)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("epoch")


def _apart(at: Array) -> list[float]:
    """Recorded epochs whose labels do not touch."""
    kept: list[float] = []
    for epoch in sorted(at.tolist()):
        if not kept or epoch >= 1.45 * kept[-1] + (kept[-1] == 0.0):
            kept.append(epoch)
    return kept


def _lines(ax: Axes, report: Report, role: str, key: str, scale: float = 1.0, **style: Any) -> None:
    """A line for every temperature, with two standard errors."""
    at = epochs_of(report, role)
    for k, (colour, marker) in zip(range(len(temperatures(report))), STYLES, strict=False):
        values, errors = series(report, role, k, key)
        ax.errorbar(at, values / scale, 2 * errors / scale, color=colour, marker=marker, ms=4, **style)
    _epochs(ax, at)


def _keys(report: Report) -> list[Any]:
    return [
        Line2D([], [], color=colour, marker=marker, ms=4, label=f"T = {t:g}")
        for t, (colour, marker) in zip(temperatures(report), STYLES, strict=False)
    ]


def _name(report: Report, role: str) -> str:
    return f"{report['networks'][role]['name']}, {'summed over all gates' if role == 'small' else 'sampled'}"


@house_style
def most_probable(report: Report) -> Figure:
    """The share of examples whose ReLU gates are the most probable ones; of the larger network, at most that share."""
    fig, (left, right) = figure(3.6, 1, 2, sharey=True)
    _lines(left, report, "small", "most_probable")
    at = epochs_of(report, "network")
    for k, (colour, marker) in zip(range(len(temperatures(report))), STYLES, strict=False):
        refuted, errors = series(report, "network", k, "refuted")
        right.errorbar(at, 1 - refuted, 2 * errors, color=colour, marker=marker, ms=4, mfc="none", ls=(0, (4, 1.5)))
    _epochs(right, at)
    left.set(title=_name(report, "small"), ylabel="share of the examples", ylim=(-0.05, 1.08))
    right.set(title=f"{report['networks']['network']['name']}: at most this share, by a search")
    fig.legend(handles=_keys(report), loc="outside upper center", ncols=6)
    return fig


@house_style
def bounds(report: Report) -> Figure:
    """How far the evidence bounds are below log µ(y|x), at the ReLU gates and at the forward law."""
    fig, axes = figure(3.9, 1, 2)
    for ax, role in zip(axes, ROLES, strict=True):
        at = epochs_of(report, role)
        for k, (colour, marker) in zip(range(len(temperatures(report))), STYLES, strict=False):
            for key, dashes, _ in BOUNDS:
                values, _ = series(report, role, k, key)
                shown = np.where(values > SMALLEST, values, np.nan)
                ax.plot(
                    at, shown, color=colour, marker=marker, ms=4, ls=dashes, mfc=None if key == "relu_gap" else "none"
                )
        _epochs(ax, at)
        ax.set(yscale="log", title=_name(report, role))
    axes[0].set_ylabel(r"below $\log\,\mu(y\,|\,x)$ (nats)")
    styles = [Line2D([], [], color=INK, ls=dashes, label=label) for _, dashes, label in BOUNDS]
    fig.legend(handles=[*_keys(report), *styles], loc="outside upper center", ncols=6)
    return fig


@house_style
def free_energy(report: Report) -> Figure:
    """Energy, entropy and free energy of the gates (9), for each gate, by epoch and temperature."""
    fig, axes = figure(5.6, 2, 3)
    panels: Sequence[tuple[str, str]] = (
        ("energy", "energy U"),
        ("entropy", "entropy S (nats)"),
        ("free_energy", "free energy U − T S"),
    )
    for row, role in enumerate(ROLES):
        count = report["networks"][role]["gates"]
        for ax, (key, title) in zip(axes[3 * row : 3 * row + 3], panels, strict=True):
            _lines(ax, report, role, key, scale=count)
            ax.set_title(title)
        axes[3 * row].set_ylabel(f"{report['networks'][role]['name']}\na gate")
        axes[3 * row + 1].axhline(report["networks"][role]["largest_entropy"] / count, color=INK, ls=":", lw=1.0)
    fig.legend(handles=_keys(report), loc="outside upper center", ncols=6)
    return fig


FIGURES: dict[str, Draw] = {"most_probable": most_probable, "bounds": bounds, "free_energy": free_energy}
