"""The benchmark of the GPU runs from end to end on a CPU, in tiny sizes, and outlives what its pieces do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu
import gpu_page

LIVES = 'import sys; open({lines!r}, \'a\').write(\'{{"piece": "spectrum", "what": "umwelt", "seconds": 2.0}}\\n\')'
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
DIES = {
    "training": "import os; os.abort()",
    "layers": "raise SystemExit('no device')",
    "products": "import time; time.sleep(60)",
}


def dry_run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--here", "--dry-run", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_piece_runs_and_is_written(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "--only", "spectrum")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert list(results["pieces"]) == ["spectrum"]
    assert results["pieces"]["spectrum"]["seconds"]["umwelt"] > 0
    assert "| spectrum |" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(REDUCED, reason="the whole rehearsal takes two minutes: one piece of it is a quick test")
def test_every_piece_runs_and_is_written(tmp_path: Path) -> None:
    page, out = tmp_path / "gpu.md", tmp_path / "results"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    done = dry_run(out, "--page", str(page))
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "gpu.json").read_text())
    named = [name for name in results["pieces"] if not name.startswith("layer of")]
    assert named == [
        "training step, vgg12:0.25", "training step, vgg12:1.0", "Hessian product, all active",
        "Hessian product, a tenth active", "enumeration", "spectrum", "R5", "R6", "RE",
    ]  # fmt: skip
    assert len(results["pieces"]) > len(named)
    for row in results["pieces"].values():
        assert row["seconds"]["umwelt"] > 0
    assert results["smoke"]["right"] > 60
    assert results["smoke"]["wrong"] == {}
    for difference in results["pieces"]["Hessian product, all active"].get("differences", {}).values():
        assert difference < 1e-3
    assert set(results["left_out"].values()) <= {"not installed"}  # peers, where they are not there
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| spectrum |" in text
    assert len((out / "gpu.jsonl").read_text().splitlines()) > 60


def test_a_budget_that_is_spent_leaves_pieces_out_by_name(tmp_path: Path) -> None:
    done = dry_run(tmp_path, "--seconds", "0")
    assert done.returncode == 1
    assert "Left out: spectrum (no room: 0 s of the budget are left)." in done.stdout
    assert "| spectrum" not in done.stdout


def test_pieces_end_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that aborts, one that ends with an error and one that hangs: the next one runs, and all is written."""
    begun = time.perf_counter()
    runner = gpu.Runner(tmp_path, 600.0, dry=True, here=True, page=None)
    texts = DIES | {"spectrum": LIVES.format(lines=str(runner.lines))}
    monkeypatch.setattr(runner, "_command", lambda piece, limit: [sys.executable, "-c", texts[piece]])
    monkeypatch.setattr(gpu, "LEAST", 0.1)
    for piece in texts:
        runner.end = time.perf_counter() + (2.0 if piece == "products" else 30.0)
        runner.run(piece, [])
    assert time.perf_counter() - begun < 50
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert results["left_out"] == {
        "training": "status -6: nothing was said", "layers": "status 1: no device", "products": "not finished in 2 s",
    }  # fmt: skip
    assert results["pieces"]["spectrum"]["seconds"] == {"umwelt": 2.0}


def test_time_that_was_saved_goes_to_later_pieces() -> None:
    assert sum(gpu.PIECES.values()) <= 480.0
    assert list(gpu.PIECES)[:4] == ["smoke", "training", "products", "layers"]


def test_lines_become_a_table() -> None:
    lines = [
        {"piece": "spectrum", "what": "umwelt", "seconds": 2.0, "rounds": 1},
        {"piece": "spectrum", "what": "pyhessian", "seconds": 5.0, "rounds": 1},
        {"piece": "spectrum", "what": "pytorch", "failed": "not installed"},
        {"piece": "layer of vgg12:1.0, forward", "what": "umwelt, TF32", "seconds": 0.5, "operations": 2e12},
        {"piece": "smoke", "what": "gate", "error": 0.5, "bound": 1e-6, "right": False, "said": []},
        {"piece": "smoke", "what": "convolve", "error": 0.0, "bound": 1e-6, "right": True, "said": []},
        {"piece": "smoke", "what": "inner", "failed": "cudaErrorIllegalAddress"},
    ]
    results = gpu_page.collect(lines, None, {"RE": "no room"})
    assert results["pieces"]["spectrum"]["ratios"] == {"umwelt": 2.5}
    assert results["pieces"]["layer of vgg12:1.0, forward"]["TFLOP/s"] == {"umwelt, TF32": 4.0}
    assert results["smoke"] == {"right": 1, "wrong": {"gate": "error 0.5", "inner": "cudaErrorIllegalAddress"}}
    text = gpu_page.table(results)
    for row in (
        "Smoke: 1 checks right, 2 wrong.", "| spectrum | 2 s | – | pyhessian 5 s | 2.50 | – | 2 |",
        "| vgg12:1.0, forward | – | 4 |", "Wrong: gate (error 0.5).", "Left out: spectrum by pytorch (not installed).",
    ):  # fmt: skip
        assert row in text


def test_what_was_cut_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "gpu.jsonl").write_text('{"piece": "RE", "what": "umwelt", "seconds": 1}\n{"piece": "RE", "wha')
    assert len(gpu_page.read(tmp_path / "gpu.jsonl")) == 1
    log = tmp_path / "parity.log"
    log.write_text("..F.x [ 50%]\n..E")
    assert gpu.outcome(log, None)["outcome"] == "5 passed, 1 failed, 1 errors, not finished"
    log.write_text("....  [100%]\n==== 4 passed in 3.2s ====\n")
    assert gpu.outcome(log, 0)["outcome"] == "4 passed, 0 failed, 0 errors, 4 passed in 3.2s"


def test_the_page_has_a_place_for_the_figures() -> None:
    text = (ROOT / "docs/gpu.md").read_text()
    assert text.count("<!-- measured: begin -->") == text.count("<!-- measured: end -->") == 1
