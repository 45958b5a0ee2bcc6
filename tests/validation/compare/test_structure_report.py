"""Figures and the page of a run with --structure, from made-up numbers."""

from __future__ import annotations

import warnings
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from simulator import mlp
from support.page import Page
from support.synthetic_report import report
from validation import figures
from validation.compare.pages.report import render_html
from validation.predictions.structure import structure_cases


@cache
def structured() -> dict[str, Any]:
    """The made-up digits report with a structure at every epoch that has a spectrum."""
    data, rng = deepcopy(report("digits")), np.random.default_rng(0)
    network = mlp([shape[0] for shape in data["network"]["weight_shapes"]] + [1])
    for epoch in data["epochs"]:
        found: dict[str, Any] = {"layers": {}, "directions": {}, "outliers": []}
        for case in structure_cases(network) if epoch["spectrum"]["rms"] > 0 else ():
            key = "layer" if case.part == "layers" else "directions"
            largest = deepcopy(epoch["spectrum"]["largest"])
            l1 = 0.05 / (1 + case.value) * float(rng.uniform(0.5, 1))
            made = {
                key: case.value,
                "l1": l1,
                "l1_standard_error": 0.004,
                "log_distance": 1.5 * l1,
                "known": 50 + 80 * case.value,
                "largest": largest,
            }
            found[case.part].setdefault(case.kind, []).append(made)
        if epoch["spectrum"]["rms"] > 0:
            shares = rng.dirichlet(np.ones(network.depth)).tolist()
            found["outliers"] = [{"eigenvalue": 3.0, "gradient": 0.25, "span": 0.75, "layers": shares}]
        epoch["structure"] = found
    return data


@pytest.mark.parametrize("name", ["structure_layers", "structure_directions"])
def test_figures_of_structure(name: str) -> None:
    assert name not in figures.figures_of(report("digits"))
    assert name in figures.figures_of(structured())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = figures.FIGURES[name](structured())
        FigureCanvasAgg(fig).draw()  # type: ignore[no-untyped-call]
    inked = fig.get_tightbbox()
    assert min(inked.min) > -0.02
    assert (inked.max < fig.get_size_inches() + 0.02).all()


def test_the_layer_map_has_the_numbers() -> None:
    fig = figures.structure_layers(structured())
    left = fig.axes[0]
    epochs = [e for e in structured()["epochs"] if e["structure"]["layers"]]
    shown = np.ma.filled(left.images[0].get_array(), np.nan)
    assert np.isnan(shown[0]).all()
    assert np.isnan(shown[-1]).all()
    for place, epoch in enumerate(epochs):
        for made in epoch["structure"]["layers"]["RE"]:
            assert shown[made["layer"], place] == made["l1"]


def test_the_page_tells_the_shortest_description_and_the_eigenvectors() -> None:
    text = Page(render_html(structured())).text
    for words in ("Structure", "The fewest numbers known", "Eigenvectors of the largest", "0.25", "0.75"):
        assert words in text
    assert "Eigenvectors of the largest" not in Page(render_html(report("digits"))).text
