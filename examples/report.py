"""
The main job and its figures
============================

`validation.compare` from Python, and the figures of its report by one call each. They are the functions that the job
itself draws with; each takes a report, its data, or the path of a report.json.
"""

from __future__ import annotations

import tempfile

import validation
from validation import figures

# %%
# A short run on real digits. The same options as on the command line; the report goes to a folder.
folder = tempfile.mkdtemp()
report = validation.compare(
    data="digits",
    network="mlp:24x24",
    examples=600,
    spectrum_examples=40,
    epochs=4,
    record=(0, 4),
    quick=True,
    prediction_seconds=1,
    out=f"{folder}/run",
)
print(f"exact facts that failed: {report.failed_facts or 'none'}")

# %%
# Measured and predicted spectra, a panel for each recorded epoch.
spectrum = figures.spectrum(report)

# %%
# How far every rung is from the measured density, beside what the measurement itself is worth.
errors = figures.prediction_error(report)

# %%
# Risk and accuracy.
training = figures.risk_accuracy(report)

# %%
# Broken symmetry of weights and gradient. A path does as well as a report.
symmetry = figures.symmetry(f"{folder}/run/report.json")

# %%
# `Figure` objects are matplotlib's; nothing here touches pyplot. `figures_of` lists what a report has numbers for.
spectrum.savefig(f"{folder}/spectrum.svg")
print(", ".join(figures.figures_of(report)))
