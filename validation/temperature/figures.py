"""The figure of the temperatures, drawn from the report's numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.report.drawing import INK, Draw, figure, house_style
from validation.report.source import Report

STYLES: dict[str, dict[str, Any]] = {
    "heated": {"color": "#D55E00", "marker": "o", "label": "heated"},
    "trained": {"color": "#0072B2", "marker": "s", "label": "trained at T"},
}
WIDE = 4.0  # rms on either side


@house_style
def temperature(report: Report) -> Figure:
    """Spectra, their scale, distances, risk, order parameter and layer temperatures against T."""
    fig, axes = figure(6.4, 2, 3)
    _spectra(axes[0], report)
    _scales(axes[1], report)
    _distances(axes[2], report)
    _risk(axes[3], report)
    _order(axes[4], report)
    _layers(axes[5], report)
    return fig


def places(report: Report) -> dict[float, float]:
    """Where a temperature stands on the axis: by its logarithm, 0 a step of the decade to the left of the lowest."""
    hot = [row["temperature"] for row in report["rows"] if row["temperature"] > 0.0]
    left = np.log10(hot[0]) - 0.7 if hot else 0.0
    return {0.0: float(left)} | {t: float(np.log10(t)) for t in hot}


def _axis(ax: Axes, report: Report) -> None:
    at = places(report)
    ax.set_xticks(list(at.values()), [f"{t:g}" for t in at])
    ax.set_xlabel("temperature T of the gates")


def _line(ax: Axes, report: Report, kind: str, key: str, **style: Any) -> None:
    at = places(report)
    seen = [(at[row["temperature"]], row[kind][key]) for row in report["rows"] if row[kind] and row[kind][key]]
    if seen:
        x, means = zip(*seen, strict=True)
        values = [m["value"] for m in means]
        errors = [m["standard_error"] or 0.0 for m in means]
        ax.errorbar(x, values, yerr=errors, ms=3.5, capsize=2, lw=1.1, **style)


def _spectra(ax: Axes, report: Report) -> None:
    """The mean over networks of the densities, the ReLU network's first."""
    colours = colormaps["plasma"](np.linspace(0.0, 0.85, len(report["rows"])))
    for row, colour in zip(report["rows"], colours, strict=True):
        kind = "trained" if row["trained"] else "heated"
        cells = [c[kind]["spectrum"] for c in report["cells"] if c["temperature"] == row["temperature"] and c[kind]]
        live = [s for s in cells if s["energies"]]
        if live:
            density = np.mean([s["density"] for s in live], axis=0)
            ax.plot(live[0]["energies"], density, color=colour, lw=1.1, label=f"T = {row['temperature']:g}")
    ax.set(yscale="log", xlim=(-WIDE, WIDE), xlabel="eigenvalue / rms", ylabel="density · rms", title="spectrum")
    ax.legend(fontsize=6.5, loc="upper right")


def _scales(ax: Axes, report: Report) -> None:
    for kind, style in STYLES.items():
        _line(ax, report, kind, "rms_of_the_mean", **style)
        _line(ax, report, kind, "rms_of_a_set", **(style | {"label": None, "ls": ":", "mfc": "white"}))
    ax.set(yscale="log", ylabel="rms of eigenvalues", title="scale of H (dotted: one set of draws)")
    ax.legend(fontsize=6.5)
    _axis(ax, report)


def _distances(ax: Axes, report: Report) -> None:
    for kind, style in STYLES.items():
        _line(ax, report, kind, "from_relu", **(style | {"label": f"to ReLU, {style['label']}"}))
    at = places(report)
    for rung, colour in (("RE", "#009E73"), ("RK", "#CC79A7")):
        seen = [
            (at[row["temperature"]], kept["predictions"][rung]["l1"])
            for row in report["rows"]
            if (kept := row["trained"] or row["heated"]) and kept["predictions"][rung]["l1"]
        ]
        if seen:
            x, means = zip(*seen, strict=True)
            errors = [m["standard_error"] or 0.0 for m in means]
            values = [m["value"] for m in means]
            ax.errorbar(x, values, yerr=errors, color=colour, marker="^", ms=3.5, capsize=2, lw=1.1, ls="--",
                        label=f"of {rung}, trained at T")  # fmt: skip
    ax.set(ylabel="L1", title="distances of spectra", ylim=(0.0, None))
    ax.legend(fontsize=6.5)
    _axis(ax, report)


def _risk(ax: Axes, report: Report) -> None:
    at = places(report)
    for kind, style in STYLES.items():
        _line(ax, report, kind, "risk", **style)
        cells = [c for c in report["cells"] if c[kind] is not None]
        relu = {t: [c[kind]["relu"]["risk"] for c in cells if c["temperature"] == t] for t in at}
        seen = [(at[t], np.mean(values)) for t, values in relu.items() if values]
        if seen:
            ax.plot(*zip(*seen, strict=True), color=style["color"], ls=":", lw=1.0)
    ax.set(ylabel="risk", title="risk (dotted: ReLU gates)", ylim=(0.0, None))
    ax.legend(fontsize=6.5)
    _axis(ax, report)


def _order(ax: Axes, report: Report) -> None:
    for kind, style in STYLES.items():
        _line(ax, report, kind, "order_parameter", **style)
    ax.set(yscale="log", ylabel=r"$\|E\, \nabla R\|^2$", title="order parameter")
    ax.legend(fontsize=6.5)
    _axis(ax, report)


def _layers(ax: Axes, report: Report) -> None:
    """Layer temperatures of the networks trained at T; none at 0."""
    at = places(report)
    rows = [row for row in report["rows"] if row["trained"]]
    if rows:
        values = np.array([row["trained"]["layer_temperatures"] for row in rows])
        colours = colormaps["viridis"](np.linspace(0.0, 0.9, values.shape[1]))
        x = [at[row["temperature"]] for row in rows]
        for layer, colour in enumerate(colours, start=1):
            shown = layer in (1, values.shape[1])
            ax.plot(
                x, values[:, layer - 1], color=colour, marker=".", lw=1.0, label=f"layer {layer}" if shown else None
            )
        ax.legend(fontsize=6.5)
    ax.axhline(1.0, color=INK, lw=0.7, ls=(0, (2, 2)))
    ax.set(yscale="log", ylabel=r"$T_l = 1 / \|W_l\|$", title=r"layers, $W = \hat W / T$")
    _axis(ax, report)


FIGURES: dict[str, Draw] = {"temperature": temperature}
