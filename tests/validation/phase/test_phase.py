"""The plasticity phase diagram: a network's record against dense eigenvalues, means over seeds, and runs that are
interrupted and lose their workers."""

from __future__ import annotations

import copy
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, mlp
from simulator.streams import Streams
from support.bad_input import check_refused
from support.places import ROOT
from validation import predict_training
from validation.compare.options import OptionError
from validation.data import load_dataset
from validation.phase import cell as phase_cell
from validation.phase import job as phase_job
from validation.phase.__main__ import main
from validation.phase.answer import answer, failures
from validation.phase.cell import CellOptions, Record, measure_cell
from validation.phase.figures import axes_of, tiles, worst_asymmetry
from validation.phase.job import PhaseOptions
from validation.phase.page import render, rows, text_table
from validation.phase.summary import agreement, diagram, edge, failed_facts, late
from validation.run.cells import CellStore
from validation.run.plain_options import seed_list
from validation.statistics.asymmetry import asymmetry
from validation.statistics.estimate import estimate, written

SMALL: dict[str, Any] = {"depth": 3, "updates": 400, "probes": 4, "steps": 20, "backend": "numpy"}
GRID = ["--widths", "2,6", "--examples", "20,60", "--seeds", "2", "--depth", "3", "--updates", "400", "--probes", "4",
        "--steps", "20", "--backend", "numpy", "--workers", "2"]  # fmt: skip


def timeless(cell: Record) -> Record:
    """A cell without the time it took, as JSON has it."""
    kept: Record = json.loads(json.dumps(cell))
    assert kept.pop("cpu_seconds") >= 0
    return kept


# One network


def test_a_record_against_dense_eigenvalues() -> None:
    data = load_dataset("digits", examples=40, spectrum_examples=1, seed=1, dtype="float64")
    network, options = mlp([64, 4, 4, 1]), CellOptions(depth=3, probes=200, steps=60)
    weights = network.init(3)
    seen = phase_cell._recorded(
        options, network, weights, data, get_backend("numpy"), "tenth", np.random.default_rng(0)
    )
    values = np.linalg.eigvalsh(HessianOperator(network, weights, data.x, data.y).dense())
    rms = np.sqrt(np.mean(values**2))
    assert seen["rms"] == pytest.approx(rms, rel=0.05)
    assert [seen["minimum"], seen["maximum"]] == pytest.approx([values[0], values[-1]], rel=1e-9)
    m3 = seen["symmetry"]
    assert abs(m3["m3"] - np.mean(values**3) / rms**3) < 4 * m3["m3_standard_error"]
    negative = seen["fraction_negative"]
    assert abs(negative["value"] - np.mean(values < -0.05 * rms)) < 4 * negative["standard_error"] + 0.005
    assert 0 < seen["l1"] < 0.2
    assert seen["left_out"] is None
    assert {"E1", "E2", "E3", "E4"} <= set(seen["exact"])


def test_a_cell_is_a_function_of_its_arguments() -> None:
    cell = measure_cell(SMALL, 8, 30, 0)
    assert timeless(measure_cell(SMALL, 8, 30, 0)) == timeless(cell)
    others = [measure_cell(SMALL, *place) for place in ((8, 30, 1), (8, 31, 0), (9, 30, 0))]
    assert len({c["start"] for c in (cell, *others)}) == 4


def test_random_labels_know_nothing_of_the_data() -> None:
    """The same inputs and weights with other labels; streams of the other purposes do not move."""
    true, random = (measure_cell(SMALL | {"labels": kind, "updates": 60}, 8, 60, 0) for kind in ("true", "random"))
    assert true["start"] != random["start"]
    assert true["accuracy"] > random["accuracy"]
    assert timeless(measure_cell(SMALL | {"updates": 60}, 8, 60, 0)) == timeless(true)


def test_the_stages_of_a_network_that_reaches_zero() -> None:
    cell = measure_cell(SMALL, 16, 30, 0)
    assert (cell["outcome"], cell["risk"], cell["accuracy"]) == ("zero", 0.0, 1.0)
    assert [r["stage"] for r in cell["records"]] == ["start", "half", "tenth"]
    for record, share in zip(cell["records"], phase_cell.STAGES.values(), strict=True):
        assert 0 < record["risk"] <= share * cell["start"]
    assert [r["l1"] is not None for r in cell["records"]] == [False, False, True]
    assert cell["epochs"] < SMALL["updates"]
    assert failed_facts([cell]) == []


def test_networks_that_do_not_reach_zero() -> None:
    short = measure_cell(SMALL | {"updates": 1}, 16, 30, 0)
    assert (short["outcome"], short["epochs"]) == ("above", 1)
    assert [r["stage"] for r in short["records"]] == ["start", "last"]
    dead = [c for c in (measure_cell(SMALL | {"depth": 6, "updates": 20}, 1, 20, s) for s in range(4))
            if c["outcome"] == "flat"]  # fmt: skip
    assert dead
    for cell in dead:
        assert cell["risk"] > 0
        assert cell["records"][-1]["rms"] == 0
        assert cell["records"][-1]["active"] > 0
    wild = measure_cell(SMALL | {"learning_rate": 1e40}, 16, 30, 0)
    assert (wild["outcome"], wild["risk"]) == ("diverged", None)


def test_a_prediction_that_takes_too_long_is_named() -> None:
    cell = measure_cell(SMALL | {"prediction_seconds": 1e-9}, 16, 30, 0)
    assert cell["records"][-1]["l1"] is None
    assert "more than --prediction-seconds" in cell["records"][-1]["left_out"]
    few = measure_cell(SMALL | {"prediction_examples": 2, "updates": 10}, 16, 60, 0)["records"][-1]
    assert few["l1"] is not None
    assert few["approximations"][0].startswith("2 of ")


# Means over seeds


def made(
    width: int, examples: int, seed: int, outcome: str = "zero", m3: float = 0.0, error: float = 1.0, told: str = "zero"
) -> Record:
    """A cell with given m3 ± error at every stage, and what was predicted of it before training."""
    law = {"m3": m3, "m3_standard_error": error, "value": 0.01, "skew": 0.02}
    record: Record = {
        "active": 5, "probes": 16, "exact": {}, "rms": 0.5, "minimum": -2.0, "maximum": 3.0, "symmetry": law,
        "l1_standard_error": 0.01, "fraction_negative": {"value": 0.1}, "fraction_positive": {"value": 0.2}, "l1": 0.03,
        "left_out": None, "approximations": [], "epoch": 1, "risk": 0.4,
    }  # fmt: skip
    risk = {"zero": 0.0, "flat": 1.0, "above": 0.2, "diverged": None}[outcome]
    stages = ("start", "half", "tenth") if outcome == "zero" else ("start", "last")
    records = [record | {"stage": s, "l1": 0.03 if s in phase_cell.PREDICTED else None} for s in stages]
    if outcome == "flat":
        records[-1] = records[-1] | {"rms": 0.0, "l1": None}
    return {
        "width": width, "examples": examples, "seed": seed, "weights": 10 * width, "outcome": outcome, "start": 1.0,
        "risk": risk, "accuracy": None if risk is None else 1.0, "epochs": 3, "records": records, "cpu_seconds": 0.5,
        "forecast": {"outcome": told, "risk": 0.0 if told == "zero" else 0.1, "order_parameter": 0.2, "epochs": 3},
    }  # fmt: skip


def test_estimates() -> None:
    assert estimate([]) is None
    assert estimate([2.0]) == {"value": 2.0, "standard_error": None, "networks": 1}
    assert estimate([1.0, 3.0]) == {"value": 2.0, "standard_error": pytest.approx(1.0), "networks": 2}
    assert [written(estimate(v), d) for v, d in (([], "g"), ([-2.0], ".1f"), ([-1.0, -3.0], ".3g"))] == [
        "–", "−2.0", "−2.0 ± 1.0",
    ]  # fmt: skip
    assert [written({"value": -1e-9, "standard_error": e}, ".3f") for e in (None, 0.0, 0.01)] == [
        "0.000", "0.000 ± 0", "0.000 ± 0.010",
    ]  # fmt: skip


def test_the_latest_record_with_a_hessian() -> None:
    assert [late(made(1, 1, 0, o))["stage"] for o in ("zero", "above", "flat")] == ["tenth", "last", "start"]  # type: ignore[index]
    assert late(made(1, 1, 0) | {"records": []}) is None


def test_a_row_of_the_diagram() -> None:
    cells = [made(4, 10, s, o) for s, o in enumerate(("zero", "zero", "flat", "diverged", "above"))]
    (row,) = diagram(cells)
    counted = [row[k] for k in ("networks", "zero", "flat", "above", "diverged")]
    assert counted == [5, 2, 1, 1, 1]
    assert row["risk"]["networks"] == 4
    assert row["risk"]["value"] == pytest.approx(0.3)
    assert row["late"]["smallest"]["value"] == -4.0
    assert row["late"]["largest"]["value"] == 6.0
    assert row["late"]["l1"]["networks"] == 4  # the flat one never came to a prediction
    assert not row["reaches_zero"]  # two of five
    assert row["symmetric"]
    assert not row["plastic"]


def test_the_edge_is_where_most_networks_reach_zero_from_there_on() -> None:
    zero = {(2, 10), (4, 10), (8, 10), (2, 20), (8, 20)}  # width 2 at 20 examples: an island
    cells = [
        made(n, m, s, "zero" if (n, m) in zero else "above") for n in (2, 4, 8) for m in (10, 20, 30) for s in (0, 1)
    ]
    assert edge(diagram(cells)) == [
        {"examples": 10, "width": 2}, {"examples": 20, "width": 8}, {"examples": 30, "width": None},
    ]  # fmt: skip


def test_the_predicted_edge_and_how_often_it_is_right() -> None:
    zero, told = {(2, 10), (4, 10), (4, 20)}, {(4, 10), (2, 20), (4, 20)}
    cells = [
        made(*place, s, "zero" if place in zero else "above", told="zero" if place in told else "above")
        for place in product((2, 4), (10, 20))
        for s in (0, 1)
    ]
    found = diagram(cells)
    assert edge(found, "predicted_zero") == [{"examples": 10, "width": 4}, {"examples": 20, "width": 2}]
    assert agreement(found) == {"cells": 4, "right": 2, "missed": 1, "false": 1}
    assert found[0]["forecast"]["risk"]["value"] == 0.1


def test_a_forecast_follows_the_batches_of_its_cell() -> None:
    """The linearised dynamics of one fresh network, from streams of their own; wide networks reach 0, and do so."""
    cell = measure_cell(SMALL, 64, 20, 0)
    assert cell["forecast"]["outcome"] == cell["outcome"] == "zero"
    assert cell["forecast"]["order_parameter"] == cell["forecast"]["risk"] == 0.0
    data = load_dataset("digits", examples=20, spectrum_examples=1, seed=Streams(0)("phase data", 64, 20))
    network = mlp([64, *[64] * (SMALL["depth"] - 1), 1])
    law = predict_training(
        network, data.x, data.y, epochs=cell["forecast"]["epochs"], batch_size=64,
        learning_rate=0.01, momentum=0.9, weights=network.init(Streams(0)("phase forecast", 64, 20)),
        seed=Streams(0)("phase batches", 64, 20),
    )  # fmt: skip
    assert law.risk[-1, 0] == 0.0 < law.risk[-2, 0]
    wild = measure_cell(SMALL | {"learning_rate": 1e40}, 16, 30, 0)["forecast"]
    assert wild["outcome"] in ("zero", "diverged", "above")


def test_asymmetry_takes_the_larger_standard_error() -> None:
    still = asymmetry([made(1, 1, s)["records"][0] for s in range(4)], 3)
    assert still is not None
    assert still["standard_error"] == pytest.approx(0.5)  # 1/√4: networks do not scatter
    spread = [made(1, 1, s, m3=m3, error=0.01)["records"][0] for s, m3 in enumerate((-3.0, 3.0, 0.3))]
    found = asymmetry([*spread, None], 3)
    assert found is not None
    assert found["standard_error"] == pytest.approx(np.std([-3, 3, 0.3], ddof=1) / np.sqrt(3))
    assert found["within"]
    shifted = asymmetry([made(1, 1, s, m3=3.0, error=1.0)["records"][0] for s in range(4)], 3)
    assert shifted is not None
    assert not shifted["within"]
    assert asymmetry([None], 3) is None


def test_symmetric_spectra_are_called_asymmetric_at_most_as_often_as_said() -> None:
    rng, networks, trials = np.random.default_rng(0), 3, 400
    wrong = 0
    for _ in range(trials):
        drawn = rng.standard_normal((3, networks, 16))  # stages, networks, probes
        stages = [
            [{"probes": 16, "symmetry": {"m3": p.mean(), "m3_standard_error": p.std(ddof=1) / 4}} for p in stage]
            for stage in drawn
        ]
        found = [asymmetry(stage, 3) for stage in stages]
        wrong += not all(a is not None and a["within"] for a in found)
    assert wrong / trials < 0.05 + 2 * np.sqrt(0.05 * 0.95 / trials)


# The report


@pytest.fixture
def report() -> Record:
    outcomes = {(2, 10): "above", (4, 10): "zero", (2, 2000): "flat", (4, 2000): "zero"}
    cells = [made(*place, s, o) for place, o in outcomes.items() for s in (0, 1)]
    found = diagram(cells)
    return {
        "schema": 1, "kind": "phase", "version": "0", "dataset": "digits", "backend": {"name": "numpy", "dtype": "x"},
        "options": PhaseOptions().completed().kept() | {"seeds": [0, 1]}, "environment": {}, "diagram": found,
        "edge": edge(found), "predicted_edge": edge(found, "predicted_zero"), "agreement": agreement(found),
        "cells": cells, "seconds": {"total": 1.0, "cells_cpu": 2.0},
    }  # fmt: skip


def test_tiles_are_where_they_belong(report: Record) -> None:
    assert axes_of(report) == ([2, 4], [10, 2000])
    assert tiles(report, lambda r: r["risk"]["value"]).tolist() == [[0.2, 1.0], [0.0, 0.0]]
    report["diagram"][0]["asymmetry"]["half"] = {"value": -6.0, "standard_error": 2.0}
    assert worst_asymmetry(report["diagram"][0]) == -3.0


def test_the_page_and_its_table(report: Record) -> None:
    report["cells"][0]["records"][-1] |= {"left_out": "too <long>"}
    report["cells"][1]["records"][-1] |= {"approximations": ["2 of 5"]}
    report["diagram"][1]["symmetric"] = report["diagram"][1]["plastic"] = False
    page = render(report, {"phase": b"png"})
    for text in ("too &lt;long&gt;", "1 predictions rest on 200", "10 examples: width 4", "in 2 of 4 cells", "λ<sub>"):
        assert text in page
    for reference in ("http:", "https:", "src='", "<script"):
        assert reference not in page
    table = {(row[0], row[1]): row for row in rows(report)}
    assert [table[place][-1] for place in (("10", "2"), ("10", "4"), ("2,000", "4"))].count("risk > 0") == 1
    assert "risk > 0" in text_table(report)


def test_the_answer_counts_cells_and_says_where_it_fails(report: Record) -> None:
    """R7 right or wrong, spectra symmetric, asymmetric or untested: each changes the sentence and the list."""
    text = (
        "Most networks reach risk 0 in 2 of 4 cells; before training R7 predicts this rightly in 2 and wrongly in 2; "
        "the spectrum is asymmetric beyond its standard error in 0 of 4 tested, where chance alone gives 0.2"
    )
    assert answer(report) == text
    assert failures(report) == [
        "R7 foresees risk 0 that most networks do not reach: width 2 on 10 examples; width 2 on 2,000 examples.",
        "2 of 8 networks ended at H = 0 with a risk above 0.",
    ]
    page = render(report, {"phase": b"png"})
    assert page.index(text) < page.index('id="phase"') < page.index("Where it fails") < page.index("The table")
    assert " ".join(text_table(report).split()).startswith(text)
    other = [made(2, 10, s, "zero", m3=9.0, error=0.1, told="above") for s in (0, 1)]
    changed = report | {"diagram": diagram(other), "agreement": agreement(diagram(other))}
    said = answer(changed)
    assert "in 1 of 1 cell; before training R7 predicts this rightly in 0 and wrongly in 1; " in said
    assert "beyond its standard error in 1 of 1 tested" in said
    assert failures(changed) == [
        "R7 does not foresee that most networks reach risk 0: width 2 on 10 examples.",
        "The spectrum is asymmetric beyond its standard error: width 2 on 10 examples.",
    ]
    for row in changed["diagram"]:
        row |= {"symmetric": None, "predicted_zero": True}
    assert answer(changed).endswith("the symmetry of no spectrum could be tested")
    assert failures(changed) == []
    report["cells"][0]["records"][0] |= {"exact": {"E1": {"value": 1.0, "tolerance": 0.1}}}
    assert "This is a bug: E1." in render(report, {})


def test_one_network_in_one_cell_can_be_drawn(report: Record) -> None:
    from validation.phase.figures import phase

    lone = copy.deepcopy(report)
    lone["cells"] = [made(4, 10, 0, "flat") | {"records": []}]
    lone["diagram"] = diagram(lone["cells"])
    lone["edge"] = lone["predicted_edge"] = edge(lone["diagram"])
    for data in (report, lone):
        target = io.BytesIO()
        phase(data).savefig(target, format="png")
        assert len(target.getvalue()) > 1000


# The command line


@pytest.mark.parametrize("quick", [False, True])
def test_the_default_grid_has_its_examples(quick: bool) -> None:
    """The digits hold some out for a test: what is left is enough for the largest cells."""
    assert "digits" in phase_job._source(PhaseOptions(quick=quick).completed())


def test_seeds() -> None:
    assert seed_list("3") == (0, 1, 2)
    assert seed_list("5,2") == (5, 2)
    assert seed_list("7,") == (7,)
    for text in ("", "0", "-1", "10001", "9" * 40):
        with pytest.raises(ValueError, match=r"invalid literal|expected 1 to 10000"):
            seed_list(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "--widths : expected"),
        ({"widths": (4, 4)}, "--widths 4,4: expected different"),
        ({"examples": (1,)}, "--examples 1: expected different integers >= 2"),
        ({"seeds": (-1,)}, "--seeds -1"),
        ({"probes": 1}, "--probes 1: expected an integer >= 2"),
        ({"depth": 1}, "--depth 1"),
        ({"updates": 0}, "--updates 0"),
        ({"labels": "false"}, "--labels 'false': expected one of true, random"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"eta": float("inf")}, "--eta inf"),
    ],
)
def test_values_that_no_run_could_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PhaseOptions(**options).completed()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--examples", "100000"], "examples is 100000"),
        (["--backend", "abacus"], "abacus"),
        (["--seeds", "0"], "--seeds"),
        (["--workers", "0"], "--workers 0: expected an integer >= 1"),
        (["--widths", "a"], "invalid list value"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(main, [*arguments, "--out", str(tmp_path / "run")], message)
    assert not (tmp_path / "run").exists()


def test_without_dask_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    errors = io.StringIO()
    with redirect_stderr(errors):
        assert main(["--out", str(tmp_path / "run")]) == 2
    assert errors.getvalue() == "validation.phase: Dask is not installed: pip install 'umwelt-dnn[cluster]'\n"


def started(out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "validation.phase", *GRID, "--out", str(out), *more], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def wait_for_cells(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 120
    while len(list((out / "cells").glob("*.json"))) < count:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < limit
        time.sleep(0.02)


def workers_of(parent: int) -> list[int]:
    """Process ids of the local workers that a run has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status, command = (folder / "stat").read_text(), (folder / "cmdline").read_text()
        except OSError:
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent and "spawn_main" in command:
            found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for worker processes in /proc")
def test_interrupted_and_robbed_of_its_workers_a_run_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = started(out)
    wait_for_cells(out, 1, first)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    assert errors == f"validation.phase: interrupted: finished cells are kept, go on with --resume --out {out}\n"
    kept = {path: path.read_bytes() for path in (out / "cells").iterdir()}
    assert 1 <= len(kept) < 8
    second = started(out, "--resume")
    wait_for_cells(out, len(kept) + 1, second)
    killed = workers_of(second.pid)
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    output, errors = second.communicate(timeout=180)
    assert (second.returncode, errors) == (0, "")
    assert len(killed) == 2
    assert f"cells: 8, of which {len(kept)} are on disk" in output
    assert {path: path.read_bytes() for path in kept} == kept
    report = json.loads((out / "phase.json").read_text())
    options = PhaseOptions(**SMALL).completed().cell_options
    assert [timeless(c) for c in report["cells"]] == [
        timeless(measure_cell(options, n, m, s)) for n in (2, 6) for m in (20, 60) for s in (0, 1)
    ]
    assert CellStore(str(out), options).load("width-2-examples-20-seed-0") == report["cells"][0]
    assert {p.name for p in out.iterdir()} == {"cells", "figures", "phase.html", "phase.json"}
    assert refused(out, "--depth", "4") == "holds another run"
    assert refused(out) == "add --resume"


def refused(out: Path, *more: str) -> str:
    """The reason why a finished folder is not taken by another run."""
    errors = io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        assert main([*GRID, *more, *(["--resume"] if more else []), "--out", str(out)]) == 2
    return next(r for r in ("holds another run", "add --resume") if r in errors.getvalue())
