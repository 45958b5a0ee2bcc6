"""A record of a run with --whole, its claims, its figures and its page: one tiny network, measured once."""

from __future__ import annotations

import json
import warnings
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from simulator import HessianOperator, spectral_density
from support.cases import he_weights
from support.page import Page
from support.synthetic_report import report
from validation import figures
from validation.compare.claims.whole import FACTS, judge_whole
from validation.compare.options import Options
from validation.compare.pages.report import render_html
from validation.compare.single import prepare
from validation.compare.whole import whole
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.whole import SUMS, WHOLE_RUNGS
from validation.run.stages import Stages

NAMES = ("whole_spectrum", "whole_largest", "gram_spectra")


@cache
def measured(loss: str) -> dict[str, Any]:
    """The record of 12 examples on a network of 6-5-4-1 weights, with what --whole adds to it."""
    rng = np.random.default_rng(4)
    given: Any = (rng.standard_normal((12, 6)), np.where(np.arange(12) % 2 == 0, 1.0, -1.0))
    options = Options(
        backend="numpy", data=given, network="mlp:5x4", loss=loss, spectrum_examples=12, epochs=0, probes=2, steps=8,
        whole=True, out="unused",
    )  # fmt: skip
    bench, _ = prepare(options.completed())
    weights = he_weights(bench.network, 1)
    x, y = bench.dataset.x[bench.dataset.spectrum], bench.dataset.y[bench.dataset.spectrum]
    bare = HessianOperator(bench.network, weights, x, y, loss, part="residual", backend=bench.backend)
    stages, done = Stages(), list[int]()
    stages.record["spectrum"] = describe_spectrum(spectral_density(bare, 2, 32, 0), options.eta, rng)
    whole(bench, weights, bare.c, 0, stages, done.append)
    stages.record["products"] = sum(done)
    again = deepcopy(stages.record["whole"])
    whole(bench, weights, bare.c, 0, stages, done.append)  # all of it is there: nothing is done again
    assert sum(done) == stages.record["products"]
    assert json.dumps(again, allow_nan=False) == json.dumps(stages.record["whole"])
    return stages.record


@cache
def reported(loss: str) -> dict[str, Any]:
    """The made-up digits report with these records in the place of its own spectra."""
    data = deepcopy(report("digits"))
    data["epochs"] = [e for e in data["epochs"] if e["spectrum"]["rms"] > 0][:2]
    data["network"]["n_weights"] = 54
    for epoch in data["epochs"]:
        epoch["spectrum"], epoch["whole"] = measured(loss)["spectrum"], measured(loss)["whole"]
    return data


def test_everything_of_a_curved_loss_is_recorded() -> None:
    made = measured("logistic")["whole"]
    assert set(made["predictions"]) == {*SUMS, *WHOLE_RUNGS}
    for name, one in made["predictions"].items():
        assert 0.0 <= one["l1"] <= 2.0, name
        assert one["l1_standard_error"] > 0.0
        assert one["log_distance"] >= 0.0
    assert len(made["largest"]) == 5
    assert made["left_out"] is None
    assert made["curvature"]["share"] == 1.0
    assert made["gauss_newton"]["eigenvalues"] == pytest.approx(made["fisher"]["eigenvalues"], rel=1e-12)
    assert all(check["value"] < 1e-12 for check in made["exact"].values())


def test_no_law_of_a_part_alone_has_the_largest_eigenvalue_of_the_sum() -> None:
    """Weyl: λ_1(G) + λ_min(H) ≤ λ_1(H + G) ≤ λ_1(H) + λ_1(G), by numbers from three places."""
    record = measured("logistic")
    first = record["whole"]["largest"][0]
    low, high = record["spectrum"]["minimum"], record["spectrum"]["maximum"]
    assert first["gauss_newton"] + low <= first["whole"] <= first["gauss_newton"] + high
    assert first["whole"] == pytest.approx(record["whole"]["spectrum"]["maximum"], rel=1e-9)


def test_a_loss_without_curvature_has_the_kernels_alone() -> None:
    record = measured("hinge")
    made = record["whole"]
    assert record["products"] == 0
    assert made["spectrum"] is None
    assert not any(made["gauss_newton"]["eigenvalues"])
    assert made["tangent"]["rank"] > 0
    assert made["curvature"] == {"mean": 0.0, "share": 0.0}
    assert [claim.id for claim in judge_whole([record | {"epoch": 0}])] == [f"whole.fact.{name}" for name in FACTS]


def test_claims_follow_the_numbers() -> None:
    record = measured("logistic") | {"epoch": 0}
    claims = {claim.id: claim for claim in judge_whole([record])}
    assert len(claims) == 2 * len(WHOLE_RUNGS) + 7 + len(FACTS)
    assert all(claims[f"whole.fact.{name}"].verdict == "holds" for name in FACTS)
    changed = deepcopy(record)
    for row in changed["whole"]["largest"]:
        row |= {"whole": 1.02 * row["gauss_newton"], "overlap": 0.95, "spiked": row["gauss_newton"]}
        row |= {"spiked_overlap": 0.99, "action": 1.1, "action_chance": 0.1, "classes": 0.4}
    near = {claim.id: claim for claim in judge_whole([changed])}
    for name in ("outliers", "outliers.five", "spiked", "alignment"):
        assert near[f"whole.{name}"].verdict == "supported", name
    assert near["whole.classes"].verdict == "not supported"
    changed["whole"]["largest"][0] |= {"overlap": 0.5, "action": 9.0}
    changed["whole"]["largest"][3]["whole"] *= 2.0
    changed["whole"]["exact"]["euler"]["value"] = 1.0
    far = {claim.id: claim for claim in judge_whole([changed])}
    for name in ("outliers", "outliers.five", "spiked", "alignment", "fact.euler"):
        assert far[f"whole.{name}"].verdict == "not supported", name
    assert judge_whole([{"epoch": 0}]) == []


def test_symmetry_is_judged_by_the_difference() -> None:
    record = deepcopy(measured("logistic") | {"epoch": 0})
    for own, whole_skew, verdict in ((0.0, 0.9, "supported"), (0.3, 0.5, "not supported"), (0.3, 0.8, "not resolved")):
        record["spectrum"]["symmetry"] |= {"skew": own, "skew_standard_error": 0.03}
        record["whole"]["spectrum"]["symmetry"] |= {"skew": whole_skew, "skew_standard_error": 0.04}
        (claim,) = (c for c in judge_whole([record]) if c.id == "whole.symmetry")
        assert claim.verdict == verdict


def test_a_distance_that_h_alone_keeps_decides_nothing() -> None:
    record = deepcopy(measured("logistic") | {"epoch": 0})
    for own, alone, verdict in ((0.02, 0.5, "supported"), (0.02, 0.05, "not resolved"), (0.5, 0.05, "not supported")):
        for name in ("RE", "free"):
            record["whole"]["predictions"][name] |= {"l1": own, "l1_standard_error": 0.01}
        record["whole"]["predictions"]["H"]["l1"] = alone
        claims = {claim.id: claim for claim in judge_whole([record])}
        assert claims["whole.prediction.RE"].verdict == claims["whole.free"].verdict == verdict


@pytest.mark.parametrize("name", NAMES)
def test_figures(name: str) -> None:
    assert name not in figures.figures_of(report("digits"))
    assert name in figures.figures_of(reported("logistic"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = figures.FIGURES[name](reported("logistic"))
        FigureCanvasAgg(fig).draw()  # type: ignore[no-untyped-call]
    inked = fig.get_tightbbox()
    assert min(inked.min) > -0.02
    assert (inked.max < fig.get_size_inches() + 0.02).all()
    with pytest.raises(ValueError, match="expected a run with --whole"):
        figures.FIGURES[name](report("digits"))


def test_figures_and_page_of_a_loss_without_curvature() -> None:
    data = reported("hinge")
    assert [name for name in NAMES if name in figures.figures_of(data)] == ["gram_spectra"]
    FigureCanvasAgg(figures.gram_spectra(data)).draw()  # type: ignore[no-untyped-call]
    text = Page(render_html(data)).text
    assert "G is 0, and the residual part H is the whole Hessian" in text
    assert "2 tr HG/N" not in text


def test_the_page_has_the_numbers() -> None:
    text = Page(render_html(reported("logistic"))).text
    first = measured("logistic")["whole"]["largest"][0]
    for words in ("Spectrum of the whole", "2 tr HG/N", f"{first['whole']:.3g}", f"{first['gauss_newton']:.3g}"):
        assert words in text
    assert "Spectrum of the whole" not in Page(render_html(report("digits"))).text
