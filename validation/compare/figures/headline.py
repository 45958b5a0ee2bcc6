"""The picture of the answer: one measured spectrum beside the best prediction of it and the best baseline."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.figure import Figure

from validation.compare.answer import answered, standings
from validation.compare.captions.run import zero_spectra
from validation.predictions.rung import title_of
from validation.report.drawing import INK, RUNG_STYLES, UNKNOWN_RUNG, HouseFigure, styled
from validation.report.source import Report

from .spectrum import density_of, energies_of, energy_axis, predicted
from .tails import zero_panel

SIZE = (4.9, 3.7)  # inches: half a page, or the whole of a phone


@styled
def headline(report: Report) -> Figure:
    """The spectrum at the last epoch with a prediction: measured, as the best rung predicts it, and the best baseline.

    Axes and smoothing are those of `spectrum`; the band is one standard error of the measurement. Where nothing was
    predicted the last measured spectrum stands alone.
    """
    measured = [e for e in report["epochs"] if e["spectrum"]["rms"] > 0]
    if not measured:
        return zero_panel(textwrap.wrap(zero_spectra(report), 104))
    epoch = answered(report) or measured[-1]
    law, eta, size = epoch["spectrum"], float(report["eta"]), report["network"]["n_weights"]
    reach = law["tail_energies"][-1]
    fig = HouseFigure(figsize=SIZE, layout="constrained")
    ax = fig.subplots()
    energy_axis(ax, reach)
    energies = energies_of(law, 0.01, eta, reach)
    density, error = density_of(law, energies, eta, size)
    ax.fill_between(
        energies, np.maximum(density - error, density / 20), density + error,
        color="#bdbdbd", lw=0, label=r"$\pm$ one standard error",
    )  # fmt: skip
    ranked = standings(epoch)
    shown = [*ranked[:1], *[one for one in ranked[1:] if one.baseline][:1]]
    for one in shown[::-1]:
        colour, style, _ = RUNG_STYLES.get(one.rung, UNKNOWN_RUNG)
        label = f"{one.rung}, {title_of(one.rung)}" + (" (baseline)" if one.baseline else "")
        ax.plot(
            *predicted(law, epoch["predictions"][one.rung], energies, eta), color=colour, ls=style, lw=1.6, label=label
        )
    ax.plot(energies, density, color=INK, lw=0.9, label="measured")
    ax.set_yscale("log")
    low, high = float(density.min()), float(density.max())
    ax.set_ylim(low / 3, high * 2)
    ax.set(xlabel="E / rms", ylabel=r"density $\times$ rms")
    ax.set_title(f"epoch {epoch['epoch']}, risk {epoch['risk']:.2g}, rms {law['rms']:.2g}")
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=2)
    return fig
