"""The figures of a comparison, one call each, drawn from the numbers of its report alone.

    from validation import figures
    figures.spectrum("runs/digits").savefig("spectrum.png")

Every function takes a report: what `validation.compare` returned, the content of report.json as a mapping, or the path
of that file or of its folder. The report may hold only some of its epochs. What comes back is a matplotlib `Figure`,
the same one that the job saves; nothing touches pyplot or its global state. `ValueError`: the report has no recorded
epoch, or not what the figure shows; `TypeError`, `FileNotFoundError`: no report. `FIGURES` lists the functions by the
name of their PNG, `figures_of` those that have something to draw in a report.
"""

from __future__ import annotations

from validation.compare.figures.alignment import aligned_share
from validation.compare.figures.coupling import coupling_sets
from validation.compare.figures.entries import entry_concentration, entry_correlations, entry_laws, entry_means
from validation.compare.figures.headline import headline
from validation.compare.figures.laws import circuits, gradient_histograms, weight_histograms
from validation.compare.figures.registry import FIGURES, figures_of, save_all
from validation.compare.figures.spectrum import prediction_error, spectrum, spectrum_overlay
from validation.compare.figures.structure import structure_directions, structure_layers
from validation.compare.figures.tails import tails
from validation.compare.figures.training import order_parameter, risk_accuracy, symmetry
from validation.compare.figures.whole import gram_spectra, whole_largest, whole_spectrum

__all__ = [
    "FIGURES",
    "aligned_share",
    "circuits",
    "coupling_sets",
    "entry_concentration",
    "entry_correlations",
    "entry_laws",
    "entry_means",
    "figures_of",
    "gradient_histograms",
    "gram_spectra",
    "headline",
    "order_parameter",
    "prediction_error",
    "risk_accuracy",
    "save_all",
    "spectrum",
    "spectrum_overlay",
    "structure_directions",
    "structure_layers",
    "symmetry",
    "tails",
    "weight_histograms",
    "whole_largest",
    "whole_spectrum",
]
