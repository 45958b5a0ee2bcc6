"""Training predicted by a run before it begins: the same networks as `predict_training`, kept, resumed, refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import validation
from simulator import FreshNetworks, HessianOperator, fresh_weights, mlp, output
from simulator.streams import Streams
from support.synthetic_report import report as synthetic
from validation import predict_training
from validation.compare import forecast as module
from validation.compare.options import Options
from validation.compare.pages.forecast import forecast_section
from validation.compare.single import prepare
from validation.errors import StorageError
from validation.predictions.forecast import COLUMNS, Forecast
from validation.run.directory import RunDirectory

SMALL: dict[str, Any] = {
    "backend": "numpy", "data": "digits", "network": "mlp:12x10", "examples": 120, "spectrum_examples": 40,
    "epochs": 3, "record": (0, 1, 3), "steps": 12, "probes": 2, "prediction_seconds": 0.2, "learning_rate": 0.02,
    "rate_drops": (2,),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def without_what_is_tested_elsewhere() -> Iterator[None]:
    """No exact ensembles behind the theorems, no pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validation.compare.single.bound_claims", lambda *_: [])
        patch.setattr("validation.compare.figures.registry.figures_of", lambda _: {})
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, without_what_is_tested_elsewhere: None) -> validation.Report:
    return validation.compare(**SMALL, out=str(tmp_path_factory.mktemp("forecast") / "run"))


def of(run: validation.Report) -> tuple[Any, Forecast]:
    bench, _ = prepare(Options(**SMALL).completed())
    with RunDirectory(str(run.path)) as folder:
        folder.open(Options(**SMALL).completed().identity(), True)
        kept = folder.load_arrays(module.FILE)
    assert kept is not None
    return bench, Forecast.of_arrays(kept)


def test_a_record_says_what_predict_training_says(run: validation.Report) -> None:
    """The same seed, the same networks, the same batches, with the rate of every epoch."""
    bench, _ = of(run)
    data, settings = bench.dataset, {"epochs": 3, "batch_size": 128, "momentum": 0.9, "backend": "numpy"}
    rates = [0.02, 0.02, 0.002]
    for rung, reads in (("R7", ()), ("R7m", (1, 2, 3))):
        law = predict_training(bench.network, data.x, data.y, learning_rate=rates, reads=reads, x_test=data.x_test,
                               **settings)  # fmt: skip
        for record in run.data["epochs"]:
            told, epoch = record["forecast"][rung], record["epoch"]
            assert set(told) == set(COLUMNS)
            assert_allclose(told["risk"], law.risk[epoch], rtol=1e-12)
            assert_allclose(told["active_fraction"], law.active[epoch] / 120, rtol=1e-12)
            assert_allclose(told["order_parameter"], law.order_parameter[epoch], rtol=1e-10)
            margins = data.y_test[module._tested(bench)] * law.test_outputs[epoch][:, module._tested(bench)]
            assert_allclose(told["test_accuracy"], np.mean(margins > 0, axis=1), atol=0.01)
    assert run.data["forecast"]["left_out"] is None
    assert run.data["forecast"]["networks"] == module.NETWORKS


def test_coefficients_are_those_of_the_networks_where_they_are(run: validation.Report) -> None:
    """At the start both rungs have the networks' own c; R7m has it at every record, at the weights where it stands."""
    bench, kept = of(run)
    x, y = (a[bench.dataset.spectrum] for a in (bench.dataset.x, bench.dataset.y))
    for rung, epoch in (("R7", 0), ("R7m", 0), ("R7m", 1), ("R7m", 3)):
        for k in range(module.NETWORKS):
            weights = kept.weights(rung, epoch, bench.network, k, bench.dataset.x, 0, "numpy")
            operator = HessianOperator(bench.network, weights, x, y, backend="numpy")
            assert_allclose(kept.coefficients(rung, epoch)[k], operator.c, rtol=1e-12)
    fresh = fresh_weights(bench.network, Streams(0), 1)
    still = kept.weights("R7", 3, bench.network, 1, bench.dataset.x, 0, "numpy")
    assert all(np.array_equal(a, b) for a, b in zip(fresh, still, strict=True))


def test_spectra_are_in_the_records(run: validation.Report) -> None:
    bench, kept = of(run)
    for record in run.data["epochs"]:
        if record["spectrum"]["rms"] == 0:
            continue
        for rung in ("R7", "R7m"):
            made = record["predictions"][rung]
            assert made["draws"] == module.NETWORKS
            c = kept.coefficients(rung, record["epoch"])
            at = [kept.weights(rung, record["epoch"], bench.network, k, bench.dataset.x, 0, None) for k in range(4)]
            x = bench.dataset.x[bench.dataset.spectrum]
            networks = FreshNetworks(bench.network, x, c, backend="numpy", weights=at.__getitem__)
            values = [np.linalg.eigvalsh(networks.draw(k).dense()) for k in range(module.NETWORKS)]
            rms = [np.sqrt(np.mean(v**2)) / record["spectrum"]["rms"] for v in values]
            told = np.sqrt(np.mean(np.square(made["rms_of_networks"])))  # one probe in each
            assert told == pytest.approx(float(np.sqrt(np.mean(np.square(rms)))), rel=0.3)
    assert "Before training" in (run.path / "report.html").read_text()
    ids = {claim["id"] for claim in run.data["claims"]}
    assert {"fig8a.prediction.R7", "fig8a.prediction.R7m"} <= ids


def test_it_is_made_once(run: validation.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run reads what was kept; a damaged file is named."""
    monkeypatch.setattr(module, "_made", lambda bench: pytest.fail("made again"))
    assert validation.compare(**SMALL, out=str(run.path), resume=True).data["epochs"] == run.data["epochs"]
    path = run.path / "checkpoints" / f"{module.FILE}.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match=r"forecast\.npz cannot be used"):
        validation.compare(**SMALL, out=str(run.path), resume=True)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"prediction_seconds": 1e-6}, r"read again as training goes on, are estimated at .* s, more than"),
        ({"memory": 1}, None),
        (
            {"learning_rate": 1e8, "loss": "squared", "epochs": 60, "record": (60,)},
            "the tangent kernel at the start, training",
        ),
    ],
    ids=["time", "memory", "diverged"],
)
def test_what_cannot_be_predicted_is_said(
    options: dict[str, Any], reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Options(**SMALL | options, out=str(tmp_path / "run")).completed()
    bench, _ = prepare(chosen)
    if reason is None:
        monkeypatch.setattr(bench.memory, "_limit", 1)
        reason = "tangent kernels on 120 training examples takes about"
    with RunDirectory(chosen.out) as folder:
        folder.open(chosen.identity(), False)
        report: dict[str, Any] = {}
        assert module.forecast(bench, folder, report) is None
    assert report["forecast"]["left_out"] is not None
    assert re.search(reason, report["forecast"]["left_out"]), report["forecast"]["left_out"]


def test_loaded_weights_are_not_predicted(tmp_path: Path) -> None:
    network = mlp([64, 12, 10, 1])
    validation.save_weights(tmp_path / "w.npz", network, network.init(3))
    report = validation.compare(**SMALL | {"weights": str(tmp_path / "w.npz")}, out=str(tmp_path / "run"))
    assert "R7 predicts training that starts from random weights" in report.data["forecast"]["left_out"]
    assert all(record["forecast"] is None for record in report.data["epochs"])
    section = forecast_section(report.data)
    assert section is not None
    assert "Training was not predicted" in section.__html__()


def test_kernels_are_read_often_at_first() -> None:
    assert module._reads((0, 3, 40)) == [*range(1, 11), 40]
    assert module._reads((0, 2)) == [1, 2]
    assert module._reads((0,)) == []


def test_reports_without_a_forecast_have_no_section() -> None:
    assert forecast_section({"epochs": []}) is None
    section = forecast_section(synthetic("digits"))
    assert section is not None
    assert "R7m" in section.__html__()


def test_outputs_of_moved_networks(run: validation.Report) -> None:
    """R7m's risk at a record is the risk of the networks at the weights that it says."""
    bench, kept = of(run)
    told = run.data["epochs"][-1]["forecast"]["R7m"]["risk"]
    for k in range(module.NETWORKS):
        weights = kept.weights("R7m", 3, bench.network, k, bench.dataset.x, 0, "numpy")
        margins = bench.dataset.y * output(bench.network, weights, bench.dataset.x, "numpy")
        assert told[k] == pytest.approx(float(np.mean(np.maximum(1 - margins, 0))), rel=1e-10)
    assert_array_equal(kept.epochs, [0, 1, 3])
