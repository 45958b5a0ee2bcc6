"""The search for stationary points: kinds of planted points, indices, verdicts that can fail, and the command."""

from __future__ import annotations

import copy
import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, StationarySearch, evaluate, find_stationary, mlp
from support.bad_input import check_refused
from validation.measurements import stationary as measured
from validation.measurements.stationary import classify, escape, euler_error, index_of
from validation.stationary.__main__ import main
from validation.stationary.answer import answer
from validation.stationary.cell import CellOptions, measure_cell, recorded_epochs
from validation.stationary.claims import judge
from validation.stationary.figures import stationary as draw
from validation.stationary.job import StationaryReport
from validation.stationary.page import render, rows, stages, text_table
from validation.stationary.summary import fall, table_of
from validation.statistics.claim import failed

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
NUMPY = get_backend("numpy", "float64")
SADDLE = (np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([1.0, -1.0]))
SMALL: dict[str, Any] = {
    "network": "mlp:3", "examples": 20, "epochs": 4, "points": 3, "found": 2, "searches": 14, "backend": "numpy",
}  # fmt: skip
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))


def ended(network: Any, weights: list[Array], x: Any, y: Any, loss: str = "hinge") -> StationarySearch:
    return find_stationary(network, weights, x, y, loss, backend=NUMPY)


def kind_of(network: Any, weights: list[Array], x: Any, y: Any, loss: str = "hinge") -> Record:
    search = ended(network, weights, x, y, loss)
    return classify(network, search, np.asarray(x), np.asarray(y), loss, NUMPY, np.random.default_rng(0))


def test_planted_points_get_their_kinds() -> None:
    one = mlp([2, 1, 1])
    saddle = kind_of(one, [np.array([[1.0], [0.0]]), np.zeros((1, 1))], *SADDLE)
    assert (saddle["kind"], saddle["index"], saddle["minimum"], saddle["maximum"]) == ("saddle", 0.5, -1.0, 1.0)
    fitted = kind_of(one, [np.array([[9.0], [8.0]]), np.array([[1.0]])], [[1.0, 1.0]], [1.0])
    assert (fitted["kind"], fitted["index"]) == ("risk 0", None)
    dead = kind_of(mlp([1, 1, 1, 1]), [np.array([[1.0]]), np.array([[-1.0]]), np.array([[1.0]])], [[1.0]], [1.0])
    assert (dead["kind"], dead["risk"]) == ("flat", 1.0)
    kink = kind_of(mlp([1, 1]), [np.array([[1.0]])], [[1.0]] * 3, [1.0, 1.0, -1.0])
    assert kink["kind"] == "kink"
    assert kink["shortest"] == pytest.approx(0.0, abs=1e-9)
    assert kink["margin"] == 0.0
    least = kind_of(mlp([1, 1]), [np.array([[0.3]])], [[1.0]] * 3, [1.0, 1.0, -1.0], "squared")
    assert (least["kind"], least["index"]) == ("minimum", 0.0)


def test_a_saddle_nearer_to_a_kink_than_to_its_own_zero_is_named() -> None:
    """w = (ε, 0) and W_2 = ε: the linearised gradient is 0 at a distance of about ε, and the gate's kink is as near."""
    network, weights = mlp([2, 1, 1]), [np.array([[1e-9], [0.0]]), np.array([[1e-9]])]
    seen = evaluate(network, weights, *SADDLE)
    search = StationarySearch(weights, "found", 1, 1e-9, seen.order_parameter, 1.0, 1.0, seen.risk, 1.0)
    made = classify(network, search, *SADDLE, "hinge", NUMPY, np.random.default_rng(0))
    assert made["kind"] == "saddle at a kink"
    assert made["gate"] < 2 * made["newton"]


def test_both_ways_to_an_index_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    network, rng = mlp([20, 12, 12, 1]), np.random.default_rng(0)
    x, y = rng.standard_normal((60, 20)), rng.choice([-1.0, 1.0], 60)
    operator = HessianOperator(network, network.init(0), x, y, "squared", backend=NUMPY)
    exact = index_of(operator, np.random.default_rng(0))
    values = np.linalg.eigvalsh(operator.dense())
    top = np.abs(values).max()
    assert exact.value == np.sum(values < -1e-6 * top) / np.sum(np.abs(values) > 1e-6 * top)
    monkeypatch.setattr(measured, "DENSE", 10)
    sampled = index_of(operator, np.random.default_rng(0))
    rms = np.sqrt(np.mean(values**2))
    low, high = np.sum(values < -0.05 * rms), np.sum(values > 0.05 * rms)
    assert sampled.error is not None
    assert sampled.value == pytest.approx(low / (low + high), abs=4 * sampled.error + 0.02)
    assert sampled.both_signs


def test_the_escape_from_a_quadratic_saddle_falls_by_half_lambda_t_squared() -> None:
    network, weights = mlp([2, 1, 1]), [np.array([[1.0], [0.0]]), np.zeros((1, 1))]
    hessian = HessianOperator(network, weights, *SADDLE, backend=NUMPY)
    found = escape(network, hessian, weights, *SADDLE, "hinge")
    assert found["falls"]
    assert found["share"] == pytest.approx(1.0, abs=1e-4)


def test_eulers_relation_is_checked_and_can_fail() -> None:
    network, rng = mlp([5, 4, 3, 1]), np.random.default_rng(0)
    x, y = rng.standard_normal((9, 5)), rng.choice([-1.0, 1.0], 9)
    for loss in ("hinge", "logistic", "squared"):
        assert euler_error(network, network.init(0), x, y, loss, NUMPY) < 1e-12
    cell = measure_cell(SMALL, "hinge", 0)
    cell["searches"][0]["euler"] = 1e-3
    claims = [c.record() for c in judge([cell], 1e-8, 2)]
    assert failed(claims) == ["stationary.euler"]


@pytest.fixture(scope="module")
def cells() -> list[Record]:
    return [measure_cell(SMALL, loss, 0) for loss in ("hinge", "squared")]


def test_a_cell_is_a_function_of_its_arguments(cells: list[Record]) -> None:
    again = measure_cell(SMALL, "hinge", 0)
    drop = {"cpu_seconds"}
    assert json.dumps({k: v for k, v in again.items() if k not in drop}) == json.dumps(
        {k: v for k, v in cells[0].items() if k not in drop}
    )
    assert recorded_epochs(CellOptions(epochs=100, points=3)) == [0, 1, 100]
    assert [r["epoch"] for r in cells[0]["run"]] == recorded_epochs(CellOptions(**SMALL))
    assert [s["noise"] for s in cells[0]["searches"]] == [n for n in (0.0, 0.1, 0.3, 1.0) for _ in range(3)]
    twice = measure_cell(SMALL | {"epochs": 1, "learning_rate": 1e-300, "searches": 2}, "hinge", 0)
    assert [s["again"] for s in twice["searches"]] == [False, twice["searches"][0]["status"] == "found"]
    assert table_of([twice])[0]["found"] == (twice["searches"][0]["status"] == "found")
    for cell in cells:
        for search in cell["searches"]:
            assert 0.0 <= fall(search) <= 1.0 + 1e-12
            assert (search["status"] == "found") == (search["relative"] <= 1e-8)
            assert (search["kind"] == "kink") == (search["status"] == "stopped")


def test_exact_facts_hold_and_a_planted_minimum_fails_the_run(cells: list[Record]) -> None:
    claims = [c.record() for c in judge(cells, 1e-8, 2)]
    assert failed(claims) == []
    exact = [c["id"] for c in claims if c["exact"]]
    assert exact == ["E5", "stationary.euler", "stationary.share", "stationary.residual"]
    wrong = copy.deepcopy(cells)
    next(s for s in wrong[0]["searches"] if s["status"] == "found")["kind"] = "minimum"
    assert failed([c.record() for c in judge(wrong, 1e-8, 2)]) == ["E5"]
    shifted = copy.deepcopy(cells)
    next(s for s in shifted[0]["searches"] if s["status"] == "found")["risk"] += 0.01
    assert failed([c.record() for c in judge(shifted, 1e-8, 2)]) == ["stationary.share"]


def test_verdicts_follow_the_points() -> None:
    point = {
        "kind": "saddle", "status": "found", "index": 0.5, "index_error": 0.0, "euler": 0.0, "risk": 1.0, "active": 1.0,
        "residual": None, "escape": {"falls": True}, "first_order_parameter": 1.0, "order_parameter": 0.0, "gate": 1.0,
        "margin": None, "shortest": None, "relative": 0.0, "again": False,
    }  # fmt: skip
    cells = [{"loss": "hinge", "searches": [point] * 3} for _ in range(2)]
    verdicts = {c.id: c.verdict for c in judge(cells, 1e-8, 3)}
    assert verdicts["E5"] == "holds"
    for name in ("stationary.saddles.hinge", "stationary.index.hinge", "stationary.escape", "stationary.found.hinge"):
        assert verdicts[name] == "supported", name
    assert verdicts["stationary.kinks"] == verdicts["stationary.residual"] == "not applicable"
    cells[0]["searches"] = [point | {"kind": "flat", "index": None}, point | {"index": 0.7, "escape": {"falls": False}}]
    cells[1]["searches"] = [*cells[0]["searches"], point | {"kind": "kink", "gate": 1e-3, "shortest": 1.0}]
    verdicts = {c.id: c.verdict for c in judge(cells, 1e-8, 3)}
    for name in ("saddles.hinge", "index.hinge", "escape", "found.hinge", "kinks"):
        assert verdicts[f"stationary.{name}"] == "not supported", name
    one = {c.id: c.verdict for c in judge(cells[:1], 1e-8, 1)}
    assert one["stationary.index.hinge"] == "not resolved"  # no scatter of networks, no error


def report_of(cells: list[Record]) -> Record:
    return {
        "version": "0", "dataset": "digits", "backend": {"name": "numpy", "dtype": "float64"}, "environment": {},
        "options": SMALL | {"tolerance": 1e-8}, "table": table_of(cells), "cells": cells,
        "checks": [c.record() for c in judge(cells, 1e-8, 2)], "seconds": {"total": 1.0, "cells_cpu": 2.0},
    }  # fmt: skip


def test_the_answer_is_made_from_the_numbers(cells: list[Record]) -> None:
    """Points that are no saddles, indices that are no half, searches that find nothing: each changes the sentence."""
    first = next(s for s in cells[0]["searches"])

    def planted(*points: tuple[str, float | None]) -> Record:
        one = [
            first | {"kind": kind, "index": index, "index_error": 0.0, "shortest": 1.0, "again": False}
            for kind, index in points
        ]
        return cells[0] | {"searches": one}

    data = report_of(
        [planted(("saddle", 0.5), ("saddle at a kink", 0.5)), planted(("saddle", 0.502), ("risk 0", None))]
    )
    text = (
        "3 of 3 stationary points of risk > 0 are saddle points (all: 1 supported); a share of 0.5010 ± 0.0010 "
        "(hinge) of their eigenvalues other than 0 is negative (one half: 1 supported)"
    )
    assert answer(data) == text
    page = render(data, {"stationary": b"png"}).replace("&gt;", ">")
    assert page.index(text) < page.index('id="stationary"') < page.index("Verdicts")
    assert " ".join(text_table(data).split()).startswith(f"{text}.")
    assert f"{text}." in repr(StationaryReport(data, Path("run")))
    wrong = answer(report_of([planted(("saddle", 0.8), ("flat", None)), planted(("saddle", 0.81), ("minimum", 0.0))]))
    assert wrong.startswith(
        "2 of 4 stationary points of risk > 0 are saddle points, beside 1 flat, 1 minimum (all: 1 not "
    )
    assert "0.8050 ± 0.0050 (hinge)" in wrong
    assert wrong.endswith("(one half: 1 not supported)")
    assert answer(report_of([planted(("saddle", 0.5))])).endswith("(one half: 1 not resolved)")
    assert answer(report_of([planted(("flat", None))])) == (
        "0 of 1 stationary points of risk > 0 are saddle points, beside 1 flat (all: 1 not supported)"
    )
    assert answer(report_of([planted(("kink", None), ("risk 0", None))])) == (
        "None of 2 searches found a stationary point of risk > 0"
    )


def test_the_page_the_tables_and_the_figure(cells: list[Record]) -> None:
    data = report_of(cells)
    page = render(data, {"stationary": b"png"})
    for text in ("Stationary points", "stationary.euler", "saddle at a kink", "Where searches began"):
        assert text in page
    assert len(rows(data)) == 2
    assert len(stages(data)) == 6
    target = io.BytesIO()
    draw(data).savefig(target, format="png")
    assert len(target.getvalue()) > 1000


@pytest.mark.slow
def test_the_command_runs_grows_and_says_what_it_found(tmp_path: Path) -> None:
    small = [w for name, value in SMALL.items() for w in (f"--{name}", str(value))]
    words = ["--losses", "hinge", *small, "--workers", "1", "--out", str(tmp_path / "run")]
    for seeds, extra in (("1", []), ("1" if REDUCED else "2", ["--resume"])):
        out = io.StringIO()
        with redirect_stdout(out):
            assert main([*words, "--seeds", seeds, *extra]) == 0
    report = json.loads((tmp_path / "run" / "stationary.json").read_text())
    assert [c["seed"] for c in report["cells"]] == list(range(1 if REDUCED else 2))
    assert (tmp_path / "run" / "figures" / "stationary.png").stat().st_size > 1000
    assert "exact facts: holds" in out.getvalue()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--losses", "hinge,what"], "expected different ones of hinge, logistic, squared"),
        (["--network", "vgg12:0.1"], "--network vgg12:0.1"),
        (["--tolerance", "0"], "--tolerance 0.0: expected a number > 0"),
        (["--seeds", "0,0"], "--seeds"),
        (["--momentum", "1"], "expected a number in [0, 1)"),
        (["--found", "0"], "expected an integer >= 1"),
    ],
)
def test_bad_command_lines(words: list[str], said: str, tmp_path: Path) -> None:
    check_refused(main, [*words, "--out", str(tmp_path / "run")], said)
    assert not (tmp_path / "run" / "stationary.json").exists()
