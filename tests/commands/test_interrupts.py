"""Ctrl-C at any moment, a disk without room: one line, the right status, what was there before kept."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.places import ROOT

SMALL = [
    "--backend=numpy", "--data=digits", "--network=mlp:8x8", "--examples=300", "--spectrum-examples=40",
    "--epochs=1", "--record=0,1", "--steps=8", "--probes=2", "--prediction-seconds=0.001",
]  # fmt: skip
JOBS = [("compare", "_multiarray_umath"), ("exact", "scipy"), ("bounds", "_multiarray_umath"), ("ladder", "scipy")]


def start(job: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"validation.{job}", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def loaded(process: subprocess.Popen[str], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has loaded is read from /proc, on Linux only")
@pytest.mark.parametrize(("job", "library"), JOBS)
def test_interrupted_while_it_is_imported(job: str, library: str, tmp_path: Path) -> None:
    process = start(job, "--out", str(tmp_path / "run"))
    while not loaded(process, library):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, f"validation.{job}: interrupted before it began\n")
    assert not (tmp_path / "run").exists()


def test_interrupted_while_it_works(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("compare", *SMALL, "--out", str(folder))
    while not (folder / "report.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    said = f"validation.compare: interrupted: go on with --resume --out {folder}\n"
    assert (process.returncode, err) == (130, said)
    assert not json.loads((folder / "report.json").read_text())["complete"]


def test_a_disk_without_room(tmp_path: Path) -> None:
    """Files may not grow beyond 60 kB, which the report does: one line, status 2; with room the run goes on.

    To its end, where the page is named on stdout, stderr is quiet, and the folder is taken.
    """
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "validation.compare", *SMALL, "--out", str(folder)]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))

    full = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=small_files, timeout=300, check=False
    )
    assert full.returncode == 2
    assert full.stderr.count("\n") == 1
    assert "cannot be written (File too large): make room, or name another folder" in full.stderr
    assert not list(folder.rglob("*.partial"))
    assert json.loads((folder / "report.json").read_text())["complete"] is False
    again = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert json.loads((folder / "report.json").read_text())["complete"] is True
    assert os.listdir(folder / "figures")
    assert again.stdout.rstrip().endswith(f"report: {folder / 'report.html'}")
    taken = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    said = [line for line in taken.stdout.splitlines() if "reading the data" not in line]  # a slow machine says so
    assert (taken.returncode, said) == (2, [])
    assert taken.stderr.count("\n") == 1
    assert "add --resume to go on" in taken.stderr
