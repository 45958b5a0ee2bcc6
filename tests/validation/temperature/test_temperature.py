"""The command that raises the temperature of the gates: its cells, its rows, its claims and its files."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import evaluate, hessian_scale, mlp
from simulator.streams import Streams
from validation.data import load_dataset
from validation.errors import OptionError
from validation.measurements.stochastic import Temperature
from validation.temperature.answer import answer
from validation.temperature.cell import CellOptions, _measured, cell_name, measure_cell
from validation.temperature.claims import judge
from validation.temperature.job import TemperatureOptions, TemperatureReport, temperature
from validation.temperature.page import render, text_table
from validation.temperature.summary import summarise

SMALL: dict[str, Any] = {
    "network": "mlp:5x4", "examples": 40, "measured_examples": 12, "epochs": 2, "gate_draws": 2, "probes": 2,
    "steps": 12, "backend": "numpy",
}  # fmt: skip
Record = dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, alone_here: None) -> TemperatureReport:
    folder = tmp_path_factory.mktemp("temperature") / "run"
    return temperature(**SMALL, temperatures=(0.0, 0.5), seeds=(0, 1), workers=1, out=str(folder))


def test_a_run_has_a_row_for_every_temperature_and_is_resumed(finished: TemperatureReport) -> None:
    data = finished.data
    assert [row["temperature"] for row in data["rows"]] == [0.0, 0.5]
    assert [row["networks"] for row in data["rows"]] == [2, 2]
    assert data["rows"][0]["trained"] is None
    assert data["rows"][0]["heated"]["from_relu"]["value"] == 0.0
    assert data["rows"][1]["heated"]["from_relu"]["value"] > 0.0
    again = temperature(**SMALL, temperatures=(0.0, 0.5), seeds=(0, 1), workers=1, out=str(finished.path), resume=True)
    for name in ("cells", "rows", "checks"):
        assert again.data[name] == data[name]
    assert (finished.path / "figures" / "temperature.png").stat().st_size > 10_000
    assert json.loads((finished.path / "temperature.json").read_text())["kind"] == "temperature"


def test_the_page_and_the_terminal_say_what_was_found(finished: TemperatureReport) -> None:
    text = text_table(finished.data)
    assert max(map(len, text.split("\n\n")[1].splitlines())) <= 80
    assert "exact facts: holds: 4" in text
    html = render(finished.data, {})
    for words in ("random weights", "trained at T", "temperature.limit", "Draws that count"):
        assert words in html
    assert "nan" not in html.lower().replace("finance", "")


def test_at_temperature_0_the_record_is_that_of_the_relu_network() -> None:
    cell = measure_cell(SMALL, 0, 0.0)
    seen = cell["heated"]
    assert seen["risk"] == {"value": pytest.approx(seen["relu"]["risk"]), "standard_error": 0.0}
    assert seen["order_parameter"]["value"] == pytest.approx(seen["relu"]["order_parameter"])
    assert seen["scale"]["of_a_set"]["value"] == pytest.approx(seen["scale"]["of_the_mean"]["value"])
    assert seen["effective_samples"] == pytest.approx(2.0)
    assert seen["layer_temperatures"] is None
    assert {"E1", "E2", "E3", "E4"} == set(seen["exact"])


def test_networks_of_all_temperatures_begin_alike_and_part_in_training() -> None:
    cold, hot = (measure_cell(SMALL, 1, t) for t in (0.0, 0.8))
    assert cold["heated"]["relu"] == hot["heated"]["relu"]
    assert cold["start"]["relu"] == hot["start"]["relu"]
    assert hot["trained"]["relu"] != hot["heated"]["relu"]
    assert hot["start"]["risk"]["standard_error"] > 0.0


def test_the_measured_spectrum_is_that_of_the_mean_over_a_set() -> None:
    options = CellOptions(**(SMALL | {"probes": 16, "steps": 40}))
    data = load_dataset("digits", "data", None, 30, 10, seed=0)
    network = mlp([64, 5, 4, 1])
    weights, ops, streams = network.init(0), get_backend("numpy"), Streams(0)
    record = _measured(options, network, weights, data, 0.6, streams, 0, ops)
    hot = Temperature(0.6, "forward", 2)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    drawn = hot.network(network, weights, x, y, "hinge", streams, 0, ops)
    squares = [np.mean(np.linalg.eigvalsh(drawn.draw(k).dense()) ** 2) for k in range(16)]
    assert record["spectrum"]["rms"] == pytest.approx(np.sqrt(np.mean(squares)), rel=0.2)
    exact = hessian_scale(drawn, 16, 40, 0)
    assert exact.of_a_set.value == pytest.approx(np.sqrt(np.mean(squares)), rel=0.05)
    assert record["relu"]["risk"] == evaluate(network, weights, data.x, data.y, "hinge", ops).risk


def test_the_answer_is_made_from_the_numbers(finished: TemperatureReport) -> None:
    data = copy.deepcopy(finished.data)
    assert finished.answer() in render(data, {}).replace("&#39;", "'")
    for row in data["rows"]:
        for kind in ("heated", "trained"):
            if row[kind]:
                row[kind]["predictions"]["RE"]["l1"] = {"value": 0.01 + row["temperature"], "standard_error": 0.002}
    data["rows"][1]["heated"]["from_relu"] = {"value": 0.25, "standard_error": 0.03}
    assert answer(data) == (
        "Drawing the gates moves the spectrum of a trained network by L1 0.250 ± 0.030 at T = 0.5; RE predicts it at "
        "every temperature to L1 0.5100 ± 0.0020 (the largest, at T = 0.5)"
    )
    data["rows"] = data["rows"][:1]
    assert answer(data).startswith("No spectrum at a temperature above 0")


def cells_of(finished: TemperatureReport) -> list[Record]:
    found: list[Record] = copy.deepcopy(finished.data["cells"])
    return found


def verdict(cells: list[Record], claim: str) -> str:
    (found,) = (c.record() for c in judge(cells, summarise(cells)) if c.id == claim)
    return str(found["verdict"])


def test_planted_numbers_turn_the_verdicts(finished: TemperatureReport) -> None:
    def planted(change: Any) -> list[Record]:
        cells = cells_of(finished)
        for cell in cells:
            if cell["temperature"] > 0.0:
                change(cell)
        return cells

    def ratio(value: float) -> Any:
        def change(cell: Record) -> None:
            cold = next(c for c in cells_of(finished) if c["temperature"] == 0.0 and c["seed"] == cell["seed"])
            own = cold["heated"]["scale"]["of_the_mean"]["value"]
            cell["heated"]["scale"]["of_the_mean"]["value"] = (value + 1e-3 * cell["seed"]) * own

        return change

    assert verdict(planted(ratio(0.5)), "temperature.smaller") == "supported"
    assert verdict(planted(ratio(1.5)), "temperature.smaller") == "not supported"

    def prediction(value: float) -> Any:
        def change(cell: Record) -> None:
            for kind in ("heated", "trained"):
                if cell[kind] is not None:
                    cell[kind]["predictions"]["RE"] |= {"l1": value, "l1_standard_error": 0.01}

        return change

    def cold_too(value: float) -> list[Record]:
        cells = cells_of(finished)
        for cell in cells:
            prediction(value)(cell)
        return cells

    assert verdict(cold_too(0.03), "temperature.prediction.RE") == "supported"
    assert verdict(cold_too(0.3), "temperature.prediction.RE") == "not supported"

    def gain(value: float) -> Any:
        def change(cell: Record) -> None:
            cell["trained"]["risk"]["value"] = cell["heated"]["risk"]["value"] + value + 1e-3 * cell["seed"]

        return change

    assert verdict(planted(gain(-0.2)), "temperature.training") == "supported"
    assert verdict(planted(gain(0.2)), "temperature.training") == "not supported"

    def broken(cell: Record) -> None:
        cell["heated"]["exact"]["E3"]["value"] = 1e-3

    assert verdict(planted(broken), "temperature.E3") != "holds"
    assert verdict(cells_of(finished), "temperature.E3") == "holds"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperatures": (0.1, 0.5)}, "begin with 0"),
        ({"temperatures": (0.0, 0.5, 0.5)}, "increasing numbers"),
        ({"e_step": "exact"}, "--e-step 'exact'"),
        ({"e_step": "posterior"}, "--loss hinge is not a likelihood"),
        ({"loss": "absolute"}, "--loss 'absolute' is unknown"),
        ({"eta": 0.0}, "--eta"),
        ({"gate_draws": 0}, "--gate-draws 0"),
    ],
)
def test_options_that_no_run_could_use_are_refused(given: Record, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TemperatureOptions(**given).completed()


def test_cells_have_names_of_their_own() -> None:
    chosen = TemperatureOptions(temperatures=(0.0, 0.03, 0.3), seeds=(0, 2)).completed()
    assert len(chosen.tasks) == 6
    assert cell_name(2, 0.03) in chosen.tasks
