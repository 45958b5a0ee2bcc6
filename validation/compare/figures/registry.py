"""Every figure of a comparison by the name of its PNG, and those that a report has numbers for."""

from __future__ import annotations

import os
from pathlib import Path

from validation.compare.captions.entries import with_entries
from validation.report.drawing import Draw, save_figures
from validation.report.source import Source, content

from .alignment import aligned_share
from .entries import ENTRY_FIGURES
from .headline import headline
from .laws import circuits, gradient_histograms, weight_histograms
from .spectrum import prediction_error, spectrum, spectrum_overlay
from .structure import STRUCTURE_FIGURES, with_structure
from .tails import tails
from .training import order_parameter, risk_accuracy, symmetry
from .whole import SUM_FIGURES, WHOLE_FIGURES, with_sum, with_whole

FIGURES: dict[str, Draw] = {
    "headline": headline,
    "spectrum": spectrum,
    "prediction_error": prediction_error,
    "tails": tails,
    **STRUCTURE_FIGURES,
    **WHOLE_FIGURES,
    "spectrum_overlay": spectrum_overlay,
    "risk_accuracy": risk_accuracy,
    "order_parameter": order_parameter,
    "symmetry": symmetry,
    "weight_histograms": weight_histograms,
    "circuits": circuits,
    "aligned_share": aligned_share,
    "gradient_histograms": gradient_histograms,
    **ENTRY_FIGURES,
}


def figures_of(report: Source) -> dict[str, Draw]:
    """The figures that this report has numbers for, by name."""
    data = content(report)
    kinds = (
        (ENTRY_FIGURES, with_entries(data)),
        (STRUCTURE_FIGURES, with_structure(data)),
        (SUM_FIGURES, with_sum(data)),
        (WHOLE_FIGURES, with_whole(data)),
    )
    absent = {name for names, there in kinds if not there for name in names}
    return {name: draw for name, draw in FIGURES.items() if name not in absent}


def save_all(report: Source, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Draw every figure of the report to `folder`/<name>.png (created if missing) and return the paths by name.

    A file is either the old or the new picture, never half of one.
    """
    data = content(report)
    return save_figures(figures_of(data), data, folder)
