"""The benchmark of the GPU runs from end to end on a CPU, in tiny sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.places import ROOT


def dry_run(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--dry-run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_piece_runs_and_is_written(tmp_path: Path) -> None:
    page, out = tmp_path / "gpu.md", tmp_path / "results" / "gpu.json"
    page.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    dry_run("--out", str(out), "--page", str(page))
    results = json.loads(out.read_text())
    assert list(results["pieces"]) == [
        "training step, vgg12:0.25", "training step, vgg12:1.0", "Hessian product, all active",
        "Hessian product, a tenth active", "enumeration", "spectrum", "R5",
    ]  # fmt: skip
    for row in results["pieces"].values():
        assert row["seconds"]["umwelt"] > 0
    assert results["pieces"]["enumeration"]["error"] < 1e-12
    for difference in results["pieces"]["Hessian product, all active"].get("differences", {}).values():
        assert difference < 1e-3
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| spectrum |" in text


def test_a_budget_that_is_spent_leaves_pieces_out_by_name() -> None:
    said = dry_run("--seconds", "0")
    assert "Left out: spectrum (no room for 120 s in the budget)." in said
    assert "| spectrum" not in said


def test_the_page_has_a_place_for_the_figures() -> None:
    text = (ROOT / "docs/gpu.md").read_text()
    assert text.count("<!-- measured: begin -->") == text.count("<!-- measured: end -->") == 1
