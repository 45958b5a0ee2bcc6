"""Reports as arrays: every number where it stood in the report, in npz, xarray and NetCDF."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import validation
from support.synthetic_report import CASES, report
from validation.compare.report import Report
from validation.report.results import arrays, to_npz, to_xarray


def as_numbers(value: Any) -> Any:
    return np.array(value, dtype=float)


@pytest.mark.parametrize("case", CASES)
def test_every_number_of_the_report(case: str, tmp_path: Path) -> None:
    data = report(case)
    to_npz(Report(data, tmp_path), tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz", allow_pickle=False) as stored:
        kept = {name: stored[name] for name in stored.files}
    named = {name: variable.values for name, variable in arrays(data).items()}
    assert set(kept) == {*named, "settings"}
    for name, values in named.items():
        assert_array_equal(kept[name], values)
    assert json.loads(str(kept["settings"]))["network"] == data["network"]
    rungs = kept["rung"].tolist()
    assert set(rungs) == {rung for r in data["epochs"] for rung in r["predictions"]}
    for row, record in enumerate(data["epochs"]):
        check_record(kept, row, record, rungs)
    assert_array_equal(kept["history_risk"], as_numbers(data["training"]["history"]["risk"]))
    assert dict(zip(kept["claim"].tolist(), kept["verdict"].tolist(), strict=True)) == {
        c["id"]: c["verdict"] for c in data["claims"]
    }


def check_record(kept: dict[str, Any], row: int, record: dict[str, Any], rungs: list[str]) -> None:
    spectrum = record["spectrum"]
    assert kept["epoch"][row] == record["epoch"]
    for name in ("risk", "accuracy", "test_accuracy", "order_parameter", "active_fraction"):
        assert_array_equal(kept[name][row], as_numbers(record[name]))
    for name in ("rms", "rms_standard_error", "minimum", "maximum", "l1_standard_error", "w1_standard_error"):
        assert_array_equal(kept[name][row], as_numbers(spectrum[name]))
    for name in ("value", "standard_error", "p_value", "skew", "skew_standard_error"):
        assert_array_equal(kept[f"symmetry_{name}"][row], as_numbers(spectrum["symmetry"][name]))
    assert_array_equal(kept["fraction_negative"][row], as_numbers(spectrum["fraction_negative"]["value"]))
    for name, key in (("nodes", "nodes"), ("weights", "weights"), ("alpha", "alpha"), ("beta", "beta")):
        values = as_numbers(spectrum[key])
        assert_array_equal(kept[name][row, : values.shape[0], : values.shape[1]], values)
    density = as_numbers(spectrum["density"])
    assert_array_equal(kept["density"][row, : density.size], density)
    assert np.isnan(kept["density"][row, density.size :]).all()
    if density.size:
        assert_array_equal(kept["energy"], as_numbers(spectrum["energies"]))
    for side in ("negative", "positive"):
        shares = [share["value"] for share in spectrum["tails"][side]]
        assert_array_equal(kept[f"beyond_{side}"][row], as_numbers(shares))
    for column, rung in enumerate(rungs):
        check_tails(kept, row, column, record["predictions"].get(rung, {}).get("tails", {}))
        prediction = record["predictions"].get(rung, {"l1": None, "w1": None, "density": []})
        for name in ("l1", "w1"):
            assert_array_equal(kept[name][row, column], as_numbers(prediction[name]))
            error = as_numbers(prediction.get(f"{name}_standard_error"))
            assert_array_equal(kept[f"predicted_{name}_standard_error"][row, column], error)
        size = len(prediction["density"])
        assert_array_equal(kept["predicted_density"][row, column, :size], as_numbers(prediction["density"]))
        assert np.isnan(kept["predicted_density"][row, column, size:]).all()
    for column, rung in enumerate(kept["forecast_rung"].tolist()):
        for name, told in record["forecast"][rung].items():
            assert_array_equal(kept[f"forecast_{name}"][row, column], as_numbers(told))
    for layer, law in enumerate(record["weight_symmetry"]):
        assert_array_equal(kept["weight_symmetry_value"][row, layer], as_numbers(law["value"]))


def check_tails(kept: dict[str, Any], row: int, column: int, tails: dict[str, Any]) -> None:
    for side in ("negative", "positive"):
        parts = {"beyond": tails.get(side, []), "largest": tails.get("largest", {}).get(side, [])}
        for name, expected in parts.items():
            for ending, key in (("", "value"), ("_standard_error", "standard_error")):
                values = as_numbers([one[key] for one in expected])
                if len(values):
                    assert_array_equal(kept[f"expected_{name}_{side}{ending}"][row, column, : len(values)], values)


@pytest.mark.parametrize("case", CASES)
def test_xarray_and_netcdf(case: str, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    data = report(case)
    dataset = to_xarray(data)
    assert {"epoch", "energy", "threshold", "rung", "forecast_rung", "claim"} == set(dataset.coords)
    for name, variable in arrays(data).items():
        assert dataset[name].dims == variable.axes
        assert_array_equal(dataset[name].values, variable.values)
    pytest.importorskip("netCDF4", reason="netCDF4 is not installed")
    dataset.to_netcdf(tmp_path / "r.nc")
    with xarray.open_dataset(tmp_path / "r.nc") as again:
        xarray.testing.assert_identical(again.load(), dataset)
    last = data["epochs"][-1]
    assert float(dataset["risk"].sel(epoch=last["epoch"])) == last["risk"]
    if "R0" in last["predictions"]:
        assert float(dataset["l1"].sel(epoch=last["epoch"], rung="R0")) == last["predictions"]["R0"]["l1"]


def test_xarray_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("sys").modules, "xarray", None)
    with pytest.raises(ImportError, match=r"pip install 'umwelt-dnn\[xarray\]'"):
        to_xarray(report("digits"))


def test_what_is_no_report(tmp_path: Path) -> None:
    damaged = copy.deepcopy(report("digits"))
    del damaged["epochs"][1]["spectrum"]["nodes"]
    ragged = copy.deepcopy(report("digits"))
    ragged["epochs"][0]["spectrum"]["nodes"][0].pop()
    for wrong, message in (
        ({}, "expected a Report"),
        ([], "expected a Report"),
        ({**report("digits"), "epochs": []}, "no recorded epoch"),
        (damaged, "KeyError: 'nodes'"),
        (ragged, "ValueError"),
        ({**report("digits"), "epochs": [3]}, "another form"),
    ):
        with pytest.raises(ValueError, match=message):
            to_npz(wrong, tmp_path / "r.npz")  # type: ignore[arg-type]
    with pytest.raises(validation.run.storage.StorageError, match="cannot be written"):
        to_npz(report("digits"), tmp_path / "no" / "r.npz")
    assert not list(tmp_path.iterdir())


def test_the_public_names() -> None:
    assert validation.to_npz is to_npz
    assert validation.to_xarray is to_xarray
