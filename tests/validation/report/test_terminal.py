"""What a command ends with, at the width of a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from validation.report.text import outcome
from validation.run.console import folded, say

LONG = "the mean of assemblies of order 0 is at most a constant times the bracket, some weights broken, at every width"


def claim(name: str, verdict: str, exact: bool = False) -> dict[str, Any]:
    return {"id": name, "source": "eq. (20)", "claim": LONG, "measured": f"{LONG} 0.616 ± 0.039", "expected": LONG,
            "verdict": verdict, "exact": exact}  # fmt: skip


CLAIMS = [
    *(claim(f"E{k}", "holds", exact=True) for k in range(1, 9)),
    claim("fig8b.risk", "not supported"),
    *(claim(f"fig{k}a.some_longer_name", "not resolved") for k in range(3, 9)),
    claim("fig3a", "supported") | {"measured": None},
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_counts_failures_and_names_fit_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = outcome(CLAIMS).splitlines()
    assert max(map(len, lines)) <= width
    together = " ".join(" ".join(lines).split())
    assert together.startswith(
        "exact facts: holds: 8 claims under test: not supported: 1, not resolved: 6, supported: 1"
    )
    assert f"not supported: fig8b.risk (eq. (20)), {LONG} measured: {LONG} 0.616 ± 0.039 expected: {LONG}" in together
    assert together.endswith("not resolved: " + ", ".join(f"fig{k}a.some_longer_name" for k in range(3, 9)))
    assert together.count(LONG) == 3  # nothing of what is supported


def test_without_failures_there_are_counts_alone() -> None:
    assert outcome(CLAIMS[:2]) == "exact facts: holds: 2"
    assert outcome([]) == ""


def test_lines_are_folded_between_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At blanks only, so that a path can be copied and an option read."""
    monkeypatch.setenv("COLUMNS", "80")
    path = "/home/somebody/" + "a-folder/" * 12
    say(f"epoch    3  {LONG}\n\n      R6 at epoch 3: short")
    say(f"report: {path} --prediction-seconds 5")
    say(f"report: {path}", whole=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"epoch    3  {LONG[:66]}".rstrip(), f"      {LONG[66:].lstrip()}"]
    assert lines[2:] == ["", "      R6 at epoch 3: short", "report:", f"      {path}",
                         "      --prediction-seconds 5", f"report: {path}"]  # fmt: skip
    assert folded("short", 80) == ["short"]
