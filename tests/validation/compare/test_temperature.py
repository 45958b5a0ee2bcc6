"""The main job with gates drawn at a temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from validation import compare
from validation.compare.options import Options
from validation.compare.pages.report import render_html
from validation.errors import OptionError, StoppedError

SMALL: dict[str, Any] = {
    "data": "digits", "network": "mlp:8x6", "examples": 80, "quick": True, "epochs": 2, "record": (0, 2),
    "spectrum_examples": 20, "probes": 2, "steps": 12, "backend": "numpy", "prediction_seconds": 1e-3,
}  # fmt: skip
Record = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def without_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validation.report.write.draw", lambda figures, data: ({}, {}))
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("hot") / "run"
    return compare(**SMALL, temperature=0.6, gate_draws=3, out=str(folder))


def test_a_record_has_averages_with_errors_and_predictions(report: Any) -> None:
    for epoch in report.data["epochs"]:
        seen = epoch["stochastic"]
        assert (seen["temperature"], seen["law"], seen["samples"]) == (0.6, "forward", 3)
        assert epoch["risk"] == seen["risk"]["value"] != seen["relu"]["risk"]
        assert epoch["order_parameter"] == seen["order_parameter"]["value"]
        for name in ("risk", "accuracy", "active_fraction", "log_likelihood", "order_parameter"):
            assert seen[name]["standard_error"] > 0.0
        assert 0.0 < seen["scale"]["of_the_mean"]["value"] <= seen["scale"]["of_a_set"]["value"] * 1.2
        assert 1.0 <= seen["effective_samples"] <= 3.0
        assert set(epoch["exact"]) == {"E1", "E2", "E3", "E4"}
        assert all(check["value"] <= check["tolerance"] for check in epoch["exact"].values())
        assert {"R0", "R2", "RE", "RK"} <= set(epoch["predictions"])
        assert "R5" in epoch["left_out"]
        assert epoch["left_out"]["R3"] == "it describes ReLU gates, at temperature 0"
        assert epoch["circuits"] is None
        assert epoch["aligned"]["value"] is None
    assert report.data["epochs"][0]["predictions"]["RE"]["l1"] < 0.3
    assert "R7 predicts the training of a ReLU network" in report.data["forecast"]["left_out"]


def test_the_page_says_at_which_temperature(report: Any) -> None:
    html = render_html(report.data)
    for words in ("gates drawn at temperature 0.6", "Gates at a temperature", "5 sets of 3 draws", "W = Ŵ/T"):
        assert words in html
    plain = dict(report.data, epochs=[dict(e, stochastic=None) for e in report.data["epochs"]])
    assert "Gates at a temperature" not in render_html(plain)


def test_a_stopped_run_goes_on_to_the_same_report(report: Any, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        compare(**SMALL, temperature=0.6, gate_draws=3, out=str(tmp_path / "run"), stop_after=1e-9)
    rest = compare(**SMALL, temperature=0.6, gate_draws=3, out=str(tmp_path / "run"), resume=True)
    for one, other in zip(rest.data["epochs"], report.data["epochs"], strict=True):
        for name in ("risk", "stochastic", "exact"):
            assert one[name] == other[name]
        assert one["spectrum"]["alpha"] == other["spectrum"]["alpha"]
        assert one["predictions"]["RE"]["l1"] == other["predictions"]["RE"]["l1"]


def test_the_posterior_e_step_measures_the_likelihood_that_it_learns(tmp_path: Path) -> None:
    found = compare(
        **SMALL, temperature=0.6, e_step="posterior", loss="logistic", gate_draws=4, out=str(tmp_path / "run")
    ).data
    first, last = (epoch["stochastic"] for epoch in found["epochs"])
    assert first["law"] == "posterior"
    assert last["log_likelihood"]["value"] > first["log_likelihood"]["value"]
    assert found["training"]["history"]["risk"][-1] == pytest.approx(-last["log_likelihood"]["value"], abs=0.25)


def test_pools_choose_in_the_main_job(tmp_path: Path) -> None:
    found = compare(
        **(SMALL | {"network": "seq:conv3,pool,dense4", "data": _images(), "record": (1,), "epochs": 1}),
        temperature=0.5, out=str(tmp_path / "run"),
    ).data  # fmt: skip
    (epoch,) = found["epochs"]
    assert epoch["stochastic"]["risk"]["value"] != epoch["stochastic"]["relu"]["risk"]
    assert all(check["value"] <= check["tolerance"] for check in epoch["exact"].values())


def _images() -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.standard_normal((80, 6, 6, 1)), np.where(rng.random(80) < 0.5, 0, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -1.0}, "--temperature -1.0: expected a number >= 0"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"temperature": 0.5, "e_step": "zero_temperature"}, "expected monte_carlo or posterior at --temperature 0.5"),
        ({"e_step": "monte_carlo"}, "expected zero_temperature at --temperature 0"),
        ({"temperature": 0.5, "e_step": "posterior"}, "--loss hinge is not a likelihood"),
        ({"gate_draws": 3}, "it is for a --temperature > 0"),
        ({"temperature": 0.5, "entries": True}, "--entries: it is for ReLU gates"),
        ({"temperature": 0.5, "structure": True}, "--structure: it is for ReLU gates"),
        ({"temperature": 0.5, "whole": True}, "--whole: it is for ReLU gates"),
        ({"temperature": 0.5, "prediction_examples": 5}, "--prediction-examples: it is for ReLU gates"),
    ],
)
def test_what_does_not_go_together_is_refused(given: Record, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Options(**given).completed()
