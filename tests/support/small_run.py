"""One small run of the main job, finished, for every test that only reads it: made once, whatever processes test."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from validation.compare.__main__ import main

SMALL: dict[str, Any] = {
    "backend": "numpy", "data": "digits", "network": "mlp:8x8", "examples": 120, "spectrum_examples": 24,
    "epochs": 3, "record": (0, 1, 3), "steps": 6, "probes": 3, "prediction_seconds": 0.5,
}  # fmt: skip


def arguments(**options: Any) -> list[str]:
    """The options as a command line."""
    words: list[str] = []
    for name, value in options.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [text])
    return words


def run(**options: Any) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(arguments(**options))
    return status, out.getvalue(), err.getvalue()


def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A finished run of the command line and what it printed; not to be written to."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # of all processes
    folder, printed = place / "finished" / "run", place / "finished.txt"
    with (place / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            status, out, err = run(**SMALL, out=folder)
            assert (status, err) == (0, "")
            printed.write_text(out)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    yield folder, printed.read_text()
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
