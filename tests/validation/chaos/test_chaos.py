"""The edge of chaos: records of planted maps, cells, verdicts that can fail, the plane, and the command."""

from __future__ import annotations

import io
import json
import math
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import mlp
from support.bad_input import check_refused
from theory import correlation_map
from validation.chaos.__main__ import main
from validation.chaos.answer import answer
from validation.chaos.cell import CellOptions, measure_cell, recorded, scaled_weights
from validation.chaos.claims import judge
from validation.chaos.figures import chaos as draw
from validation.chaos.job import ChaosReport
from validation.chaos.page import render, rows, text_table
from validation.chaos.summary import chi_of, phase, rows_of
from validation.measurements.chaos import correlations_record, line_slope, map_record

Record = dict[str, Any]
NUMPY = get_backend("numpy", "float64")
SMALL: dict[str, Any] = {
    "width": 8, "depth": 3, "examples": 20, "updates": 60, "batch_size": 10, "probes": 4, "steps": 10,
    "backend": "numpy",
}  # fmt: skip
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))


def test_a_map_that_is_kappa_is_off_by_nothing() -> None:
    points = np.random.default_rng(0).standard_normal((12, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    below = np.clip(points @ points.T, -1.0, 1.0)
    exact = map_record(below, correlation_map(below))
    assert exact["off"] == pytest.approx(0.0, abs=1e-12)
    assert exact["slope"] == pytest.approx(exact["slope_kappa"])
    pair = np.triu_indices(12, 1)
    assert exact["slope"] == pytest.approx(np.polyfit(below[pair], correlation_map(below[pair]), 1)[0])
    shifted = map_record(below, correlation_map(below) + 0.1)
    assert (shifted["offset"], shifted["off"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert shifted["slope"] == pytest.approx(exact["slope"])
    lost = map_record(below, np.full((12, 12), np.nan))
    assert lost["slope"] is None
    assert lost["pairs"] == []
    assert line_slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])) == pytest.approx(2.0)


def test_planted_weights_have_their_stretch_and_dead_layers_none() -> None:
    network, x = mlp([5, 5, 5, 1]), np.abs(np.random.default_rng(0).standard_normal((6, 5)))
    planted = [3.0 * np.eye(5), 0.5 * np.eye(5), np.ones((5, 1))]
    found = correlations_record(network, planted, x, NUMPY, np.random.default_rng(0))
    assert [layer["chi"] for layer in found["layers"]] == pytest.approx([9.0, 0.25])
    assert [layer["slope_at_one"] for layer in found["layers"]] == pytest.approx([1.0, 1.0])
    assert found["chi_mean"] == pytest.approx(1.5)
    assert found["dead"] == 0.0
    dead = correlations_record(network, [planted[0], -planted[1], planted[2]], x, NUMPY, np.random.default_rng(0))
    assert dead["chi_mean"] is None
    assert dead["dead"] == 1.0
    json.dumps(dead, allow_nan=False)


def test_a_cell_is_a_function_of_its_arguments_and_gains_share_their_draws() -> None:
    cell, again = (measure_cell(SMALL, 1.0, 0) for _ in range(2))
    assert cell.pop("cpu_seconds") >= 0
    again.pop("cpu_seconds")
    assert json.dumps(cell) == json.dumps(again)
    assert [e for e in range(20) if recorded(e)] == [0, 1, 2, 4, 8, 16]
    assert cell["records"][0]["stage"] == "start"
    assert cell["records"][0]["symmetry"] is not None
    small = measure_cell(SMALL, 0.5, 0)["records"][0]
    assert small["chi_mean"] == pytest.approx(cell["records"][0]["chi_mean"] / 4, rel=0.1)
    first = [layer["slope"] for layer in small["layers"]]
    assert first == pytest.approx([layer["slope"] for layer in cell["records"][0]["layers"]], rel=1e-12)
    weights = [scaled_weights(mlp([4, 3, 1]), gain, np.random.default_rng(0)) for gain in (1.0, 2.0)]
    assert weights[1][0] == pytest.approx(2 * weights[0][0])
    assert np.array_equal(weights[1][1], weights[0][1])


def test_outcomes() -> None:
    done = measure_cell(SMALL | {"updates": 4000, "width": 16}, 1.0, 0)
    assert (done["outcome"], done["records"][-1]["risk"]) == ("zero", 0.0)
    assert [r["stage"] for r in done["records"] if r["stage"]] == ["start", "half", "tenth"]
    short = measure_cell(SMALL | {"updates": 2}, 0.1, 0)
    assert (short["outcome"], short["records"][-1]["stage"]) == ("above", "last")
    wild = measure_cell(SMALL | {"learning_rate": 1e40}, 1.0, 0)
    assert wild["outcome"] in ("diverged", "flat")


def made(
    gain: float, seed: int, outcome: str = "zero", chi: tuple[float, float] = (1.0, 1.0), off: float = 0.0
) -> Record:
    """A cell with given χ at the start and at the end, and a map that is off by `off` in its slopes."""
    layer = {"chi": chi[0], "slope_at_one": 1.0 + off, "slope": 0.5 + off, "slope_kappa": 0.5, "pairs": [[0.1, 0.2]]}
    law = {"m3": 0.01 * (-1) ** seed, "m3_standard_error": 1.0}
    stages = ("start", "half", "tenth") if outcome == "zero" else ("start", "half", "last")
    records = [
        {"epoch": k, "stage": s, "risk": 1.0 - k / 2, "rms": 1.0, "symmetry": law, "probes": 8, "chi_mean": c,
         "layers": [layer] * 2}
        for k, (s, c) in enumerate(zip(stages, (chi[0], *[chi[1]] * 2), strict=True))
    ]  # fmt: skip
    return {"gain": gain, "seed": seed, "outcome": outcome, "records": records, "cpu_seconds": 0.1}


def verdicts_of(cells: list[Record]) -> dict[str, str]:
    return {c.id: c.verdict for c in judge(cells, rows_of(cells))}


def test_verdicts_follow_the_maps() -> None:
    jitter = (0.999, 1.0, 1.001)
    places = ((0.2, "above", 0.1), (1.0, "zero", 1.0), (5.0, "flat", 9.0))
    cells = [made(g, s, o, (g**2 * j, b * j)) for g, o, b in places for s, j in enumerate(jitter)]
    good = verdicts_of(cells)
    assert good.pop("chaos.drawn") == "not applicable"  # none but gain 1 reached risk 0
    assert set(good.values()) == {"supported"}
    near = verdicts_of([*cells, *(made(0.5, s, "zero", (0.25 * j, 0.8 * j)) for s, j in enumerate(jitter))])
    assert near["chaos.drawn"] == "supported"
    wrong = [made(g, s, "zero", (3.0 * j, 9.0 * j), 0.5) for g in (0.2, 1.0, 5.0) for s, j in enumerate(jitter)]
    assert set(verdicts_of(wrong).values()) == {"not supported"}
    single = verdicts_of([made(1.0, 0), made(3.0, 0, chi=(9.0, 3.0)), made(0.3, 0, chi=(0.09, 0.5))])
    assert {single[f"chaos.{k}"] for k in ("stretch", "slope", "map", "training")} == {"not resolved"}


def test_rows_and_the_phase() -> None:
    cells = [made(0.5, s, o, (0.25, 1.0)) for s, o in enumerate(("zero", "zero", "flat"))]
    cells += [made(2.0, s, "flat", (4.0, 3.0)) for s in range(3)]
    found = rows_of(cells)
    assert phase(found) == [0.5]
    assert [(r["zero"], r["flat"]) for r in found] == [(2, 1), (0, 3)]
    chi = chi_of(found[0], "chi_start")
    assert chi is not None
    assert chi["value"] == pytest.approx(0.25)
    biased = [made(0.5, s, "zero") for s in range(3)]
    for cell in biased:
        for record in cell["records"]:
            record["symmetry"] = {"m3": 9.0, "m3_standard_error": 0.1}
    assert rows_of(biased)[0]["plastic"] is False
    assert rows_of([made(1.0, 0, "zero") | {"records": [], "outcome": "diverged"}])[0]["chi_end"] is None


def report_of(cells: list[Record]) -> Record:
    return {
        "version": "0", "dataset": "digits", "backend": {"name": "numpy", "dtype": "float64"}, "environment": {},
        "options": SMALL, "rows": rows_of(cells), "cells": cells, "seconds": {"total": 1.0, "cells_cpu": 2.0},
        "checks": [c.record() for c in judge(cells, rows_of(cells))],
    }  # fmt: skip


def test_the_answer_is_made_from_the_numbers() -> None:
    """A phase around gain 1, one that is nowhere, networks without a record: each changes the sentence."""
    jitter = (0.99, 1.0, 1.01)
    places = ((0.2, "above", 0.1), (0.5, "zero", 0.8), (1.0, "zero", 1.0), (5.0, "flat", 9.0))
    data = report_of([made(g, s, o, (g**2 * j, b)) for g, o, b in places for s, j in enumerate(jitter)])
    text = answer(data)
    assert text.startswith("Networks are plastic at gains 0.5, 1 of 0.2 to 5 (around the edge of chaos: supported); ")
    assert (
        "(χ = gain²: supported); in training to risk 0 from other gains |ln χ| falls by 1.1632 ± 0.0058 (supported)"
        in text
    )
    page = render(data, {"chaos": b"png"})
    assert page.index("Networks are plastic at") < page.index('id="chaos"') < page.index("Verdicts")
    assert " ".join(text_table(data).split()).startswith(f"{text}.")
    assert f"{text}." in repr(ChaosReport(data, Path("run")))
    wrong = answer(report_of([made(g, s, "flat", (9.0 * j, 9.0)) for g in (1.0, 5.0) for s, j in enumerate(jitter)]))
    assert wrong.startswith("Networks are plastic at no gain of 1 to 5 (around the edge of chaos: not supported); ")
    assert "furthest from 0 at gain 1, 2.1972 ± 0.0058 (χ = gain²: not supported); no network reached risk 0" in wrong
    single = answer(report_of([made(0.5, 0, "zero", (0.25, 2.0)), made(2.0, 0, "flat")]))
    assert (
        "(χ = gain²: not resolved); in training to risk 0 from other gains |ln χ| falls by 0.693 (not resolved)"
        in single
    )
    lost = answer(report_of([made(1.0, 0) | {"records": [], "outcome": "diverged"}]))
    assert "; χ before training is not known; no network reached risk 0 from another gain than 1" in lost


def test_the_page_and_the_figure() -> None:
    cells = [made(g, s, "zero", (g**2, math.sqrt(g))) for g in (0.5, 1.0, 2.0) for s in range(2)]
    data = report_of(cells)
    page = render(data, {"chaos": b"png"})
    for text in ("The edge of chaos", "chaos.stretch", "Plastic at 0.5, 1, 2"):
        assert text in page
    assert [row[0] for row in rows(data)] == ["0.5", "1", "2"]
    target = io.BytesIO()
    draw(data).savefig(target, format="png")
    assert len(target.getvalue()) > 1000


@pytest.mark.slow
def test_the_command_runs_and_grows(tmp_path: Path) -> None:
    small = [w for name, value in SMALL.items() for w in (f"--{name.replace('_', '-')}", str(value))]
    words = [*small, "--workers", "1", "--seeds", "1", "--out", str(tmp_path / "run")]
    grids = (("1", []),) if REDUCED else (("1", []), ("1,2", ["--resume"]))
    for gains, extra in grids:
        with redirect_stdout(io.StringIO()):
            assert main([*words, "--gains", gains, *extra]) == 0
    report = json.loads((tmp_path / "run" / "chaos.json").read_text())
    assert [c["gain"] for c in report["cells"]] == ([1.0] if REDUCED else [1.0, 2.0])
    assert (tmp_path / "run" / "figures" / "chaos.png").stat().st_size > 1000
    assert CellOptions().depth == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gains", "1,0"], "expected different numbers > 0"),
        (["--gains", "1,1"], "expected different numbers > 0"),
        (["--seeds", "0,0"], "--seeds"),
        (["--depth", "1"], "expected an integer >= 2"),
        (["--learning-rate", "nan"], "expected a number > 0"),
    ],
)
def test_bad_command_lines(words: list[str], said: str, tmp_path: Path) -> None:
    check_refused(main, [*words, "--out", str(tmp_path / "run")], said)
