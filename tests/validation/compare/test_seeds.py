"""The main job over several seeds: as many comparisons, kept, with means, standard errors and counted verdicts."""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import validation
from simulator import TrainingDivergedError
from support.bad_input import check_refused
from validation.compare import seeds as module
from validation.compare import single
from validation.compare.__main__ import main
from validation.compare.options import OptionError
from validation.compare.pages.seeds import render_seeds
from validation.compare.report import Report
from validation.compare.seeds import digest, joint, run_seed

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
SMALL: dict[str, Any] = {
    "backend": "numpy", "data": "digits", "network": "mlp:6x6", "examples": 100, "spectrum_examples": 20,
    "epochs": 1, "record": (0, 1), "steps": 12, "probes": 3, "prediction_seconds": 0.2,
}  # fmt: skip


def quietly(**options: Any) -> Report:
    with redirect_stdout(io.StringIO()):
        return validation.compare(**options)


def here(_: Any, function: Callable[..., Any], tasks: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the cluster does, in this process, the last task first."""
    for name in reversed(tasks):
        yield name, function(*tasks[name])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two seeds, without workers and without each seed's own figures and theorems, which take longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validation.run.cells.cluster", lambda *_: nullcontext())
        patch.setattr("validation.run.cells.completed", here)
        patch.setattr(single, "bound_claims", lambda *_: [])
        patch.setattr("validation.report.write.draw", lambda figures, data: ({}, {}))
        report = quietly(**SMALL, seeds=(3, 5), out=str(tmp_path_factory.mktemp("seeds") / "run"))
    return report


@pytest.mark.slow
def test_every_seed_on_a_worker_is_the_comparison_that_it_is_alone(tmp_path: Path) -> None:
    options = SMALL | ({"epochs": 0, "record": (0,)} if REDUCED else {})
    joined = quietly(**options, seeds=(3, 5), workers=2, out=str(tmp_path / "joined"))
    single = quietly(**options, seed=5, out=str(tmp_path / "alone"))
    there = json.loads((joined.path / "seed-5" / "report.json").read_text())
    assert digest(there)["epochs"] == digest(single.data)["epochs"]
    assert [c["verdict"] for c in there["claims"]] == [c["verdict"] for c in single.data["claims"]]
    assert (joined.path / "seed-5" / "report.html").exists()
    assert joined.failed_facts == []


def test_means_and_standard_errors(finished: Report) -> None:
    reports = [json.loads((finished.path / f"seed-{s}" / "report.json").read_text()) for s in (3, 5)]
    for i, epoch in enumerate(finished.data["epochs"]):
        risks = [r["epochs"][i]["risk"] for r in reports]
        assert epoch["risk"]["value"] == pytest.approx(np.mean(risks))
        assert epoch["risk"]["standard_error"] == pytest.approx(abs(risks[0] - risks[1]) / 2)
        l1 = [r["epochs"][i]["predictions"]["R2"]["l1"] for r in reports]
        assert epoch["predictions"]["R2"]["l1"]["value"] == pytest.approx(np.mean(l1))
    assert finished.data["seeds"] == [3, 5]
    assert finished.failed_facts == []
    page = (finished.path / "seeds.html").read_text()
    assert finished.page == finished.path / "seeds.html"
    assert "holds for 2 of 2 seeds" in page
    assert not any(reference in page for reference in ("http:", "https:", "<script"))


def test_a_finished_seed_is_not_computed_again(finished: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr("validation.run.cells.cluster", never)
    again = quietly(**SMALL, seeds=(5,), resume=True, out=str(finished.path))
    assert again.data["seeds"] == [5]
    assert again.data["epochs"][0]["risk"]["standard_error"] is None
    with pytest.raises(ValueError, match="another run"):
        quietly(**SMALL | {"steps": 13}, seeds=(5,), resume=True, out=str(finished.path))


def test_a_seed_that_diverges_is_left_out_and_said(
    finished: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wild_training(**_: Any) -> None:
        raise TrainingDivergedError(2, 1e40)

    monkeypatch.setattr(module, "compare_one", wild_training)
    wild = run_seed(SMALL | {"out": str(tmp_path)}, 0)
    assert "training diverged" in wild["diverged"]
    tame = digest(json.loads((finished.path / "seed-3" / "report.json").read_text()))
    data = joint([wild, tame]) | {"options": {}}
    assert data["seeds"] == [3]
    assert data["diverged"].startswith("seed 0 (training diverged")
    assert "Left out, training diverged" in render_seeds(data, {})
    with pytest.raises(OptionError, match="with every seed"):
        joint([wild])


def test_one_seed_against_a_claim_is_enough(finished: Report) -> None:
    one = digest(json.loads((finished.path / "seed-3" / "report.json").read_text()))
    other = copy.deepcopy(one) | {"seed": 4}
    fact = next(c for c in other["claims"] if c["id"] == "E2")
    fact |= {"verdict": "not supported", "measured": "relative error 1"}
    other["claims"] = [c for c in other["claims"] if c["id"] != "fig8a.prediction.RE"]
    data = joint([one, other]) | {"options": {}}
    made = {c["id"]: c for c in data["claims"]}
    assert (made["E2"]["verdict"], made["E2"]["measured"]) == ("not supported", "holds for 1 of 2 seeds")
    assert made["E2"]["against"] == ["seed 4: relative error 1"]
    assert made["fig8a.prediction.RE"]["measured"].partition(",")[0].endswith("of 1 seeds")
    assert made["E7"]["verdict"] == "not applicable"
    assert Report(data, finished.path).failed_facts == ["E2"]
    assert "seed 4: relative error 1" in render_seeds(data, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1,1"], "--seeds 1,1: expected different integers"),
        (["--seeds", "2", "--seed", "3"], "--seed 3 with --seeds"),
        (["--workers", "2"], "--workers 2: it is for several --seeds"),
        (["--seeds", "2", "--workers", "0"], "--workers 0: expected an integer >= 1"),
        (["--seeds", "x"], "invalid list value"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(main, [*arguments, "--data", "digits", "--out", str(tmp_path / "run")], message)
    assert not (tmp_path / "run").exists()
