"""A report as an object: loaded again, in a few lines, in a notebook."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import validation
from support.places import ROOT
from validation import Report, load_report
from validation.compare.answer import answer
from validation.compare.report import headline
from validation.errors import StorageError
from validation.run.storage import write_json


@pytest.fixture
def report(finished: tuple[Path, str]) -> Report:
    return load_report(finished[0])


def test_its_repr_is_a_few_lines(report: Report) -> None:
    lines = repr(report).splitlines()
    last, size = report.data["epochs"][-1], report.data["network"]["n_weights"]
    assert lines[1] == f"    mlp:8x8 ({size} weights) on digits, hinge loss"
    assert lines[2].startswith(f"    epoch 3: risk {last['risk']:.4g}, accuracy {last['accuracy']:.4g}, test accuracy")
    own = {rung: made["l1"] for rung, made in last["predictions"].items() if rung not in ("R0", "R1", "R2")}
    assert f"predicted best by {min(own, key=lambda rung: own[rung])}" in lines[3]
    counts = Counter(claim["verdict"] for claim in report.data["claims"])
    assert report.verdicts == dict(counts)
    assert all(f"{verdict}: {count}" in lines[4] for verdict, count in counts.items())
    assert len(lines) == 7


def test_a_notebook_shows_lines_and_picture(report: Report) -> None:
    page = report._repr_html_()
    assert "predicted best by" in page
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_reports_without_predictions_and_of_several_seeds(report: Report) -> None:
    data = report.data
    assert headline(data | {"epochs": []})[-1] == answer(data | {"epochs": []}) == "No epoch is recorded yet"
    silent = data["epochs"][0] | {"predictions": {}}
    assert (
        headline(data | {"epochs": [silent], "complete": False})[-1] == "No prediction was made at the recorded epochs"
    )
    silent |= {"spectrum": silent["spectrum"] | {"rms": 0.0}}
    assert headline(data | {"epochs": [silent]})[-1] == "H = 0 at every recorded epoch"
    mean = {"value": 0.25, "standard_error": 0.01, "networks": 3}
    of_seeds = {"l1": mean, "w1": mean}
    record = data["epochs"][0] | {
        "risk": mean,
        "accuracy": mean,
        "test_accuracy": None,
        "predictions": {"RE": of_seeds},
    }
    seeds = data | {"kind": "seeds", "seeds": [0, 1, 2], "epochs": [record]}
    flat = {"epoch": 1, "risk": mean, "accuracy": mean, "test_accuracy": None, "predictions": {}, "rms": None}
    assert headline(seeds | {"epochs": [flat]})[-1] == "H = 0 at every recorded epoch"
    lines = headline(seeds)
    assert lines[0].endswith("hinge loss, 3 seeds")
    assert "risk 0.250 ± 0.010" in lines[1]
    assert "RE (fresh weights), L1 0.250 ± 0.010" in lines[2]
    assert "<img" not in Report(seeds, Path("x"))._repr_html_()
    failed = Report(data | {"claims": [{"id": "E2", "exact": True, "verdict": "not supported"}]}, Path("x"))
    assert "EXACT FACTS FAILED: E2" in repr(failed)


def test_what_is_no_report(report: Report, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no report in .*: name the folder of a run"):
        load_report(tmp_path)
    file = tmp_path / "report.json"
    for content, message in (("{", "cannot be read as a report"), ("{}", "checksum|cannot be read")):
        file.write_text(content)
        with pytest.raises(StorageError, match=message):
            load_report(file)
    write_json(file, {"kind": "exact"})
    with pytest.raises(StorageError, match=r"is no report of validation\.compare"):
        load_report(file)
    write_json(file, report.data | {"schema": 0})
    with pytest.raises(StorageError, match="was written by another version"):
        load_report(file)


def test_the_package_lists_its_public_names_and_imports_them_late() -> None:
    code = (
        "import sys, validation; names = dir(validation); print('matplotlib' in sys.modules, 'torch' in sys.modules, "
        "'simulator' in sys.modules); print(*names); print(validation.figures.spectrum.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert first == "False False False"
    assert second.split() == sorted(validation.__all__)
    assert third == "spectrum"
    for name in dir(validation):
        assert getattr(validation, name) is not None
