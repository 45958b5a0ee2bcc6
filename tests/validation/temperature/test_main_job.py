"""The main job with gates drawn at a temperature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import trapezoid

from simulator import StochasticNetwork, mlp
from validation import compare, predict_spectrum
from validation.compare.options import Options
from validation.compare.pages.report import render_html
from validation.compare.record import measure
from validation.compare.single import prepare
from validation.errors import OptionError, StoppedError
from validation.run.stages import Stages

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


def test_the_products_of_a_record_are_those_that_were_announced(tmp_path: Path) -> None:
    done: list[int] = []
    bench, _ = prepare(Options(**SMALL, temperature=0.6, out=str(tmp_path)).completed())
    measure(bench, bench.network.init(0), 0, Stages(), done.append)
    assert sum(done) == bench.n_products()


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


@pytest.mark.parametrize("rung", ["R0", "R2", "R5", "R6", "RE", "RK"])
def test_rungs_predict_the_spectrum_of_drawn_gates(rung: str) -> None:
    """Beside the exact density of one set of draws; with the signals of ReLU gates the prediction is another one."""
    rng = np.random.default_rng(0)
    network = mlp([20, 16, 16, 1])
    weights, x, y = network.init(1), rng.standard_normal((40, 20)), np.where(rng.random(40) < 0.5, -1.0, 1.0)
    drawn = StochasticNetwork(network, weights, x, y, 1.0, part="residual", backend="numpy")
    (c, _), eigenvalues = drawn.coefficients(0), np.linalg.eigvalsh(drawn.draw(0).dense())
    rms = float(np.sqrt(np.mean(eigenvalues**2)))
    energies = np.linspace(-4.0, 4.0, 81)
    z = rms * (energies + 0.2j)
    exact = np.mean(1.0 / (eigenvalues[:, None] - z), axis=0).imag * rms / np.pi
    found = predict_spectrum(network, drawn.rows, c, z, rung, weights, backend="numpy", gates=drawn.gates(0))
    distance = float(trapezoid(np.abs(found.imag * rms / np.pi - exact), energies))
    assert distance < {"R0": 1.0, "R2": 0.3}.get(rung, 0.12)
    if rung in ("R5", "R6", "RE"):
        cold = predict_spectrum(network, drawn.rows, c, z, rung, weights, backend="numpy")
        assert float(trapezoid(np.abs(cold.imag * rms / np.pi - exact), energies)) > 2.0 * distance


def test_rungs_that_see_no_weights_refuse_drawn_gates() -> None:
    network = mlp([3, 4, 1])
    drawn = StochasticNetwork(network, network.init(0), np.eye(3), np.ones(3), 1.0, backend="numpy")
    for rung in ("R3", "R4", "R7"):
        with pytest.raises(ValueError, match=f"rung {rung} describes ReLU gates"):
            predict_spectrum(network, drawn.rows, np.ones(3), [1j], rung, gates=drawn.gates(0))
