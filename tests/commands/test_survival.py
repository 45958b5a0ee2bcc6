"""SIGKILL at random moments of the main job: resumed, it ends in the report of a run that was never killed.

Moments are drawn within a phase of the job, by how long that took in the undisturbed run, and where the kill then fell
is read from what the folder holds. States inside long steps are kept after every step here.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.places import ROOT
from validation.run.storage import json_checksum

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
RECORDS = (0, 6, 12)
OPTIONS = {
    "data": "digits", "network": "mlp:8x8", "examples": 600, "spectrum-examples": 40, "batch-size": 4, "steps": 5,
    "draws": 1, "epochs": 12, "record": "0,6,12", "probes": 3, "learning-rate": 0.001, "prediction-seconds": 0.3,
    "save-seconds": 0,
}  # fmt: skip
PHASES = ("training", "lanczos", "predictions", "report")
Place = tuple[str, int]  # a phase of the job and the epoch it belongs to


def start(backend: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "validation.compare", "--backend", backend, "--out", str(folder), *words, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")


def place(folder: Path) -> Place:
    """Where a run is, or was when it was killed."""
    if not (folder / "report.json").exists():
        return "start", 0
    if (folder / "figures").exists():
        return "report", RECORDS[-1]
    names = os.listdir(folder / "checkpoints")
    found = {match[1]: int(match[2]) for name in sorted(names) if (match := re.match(r"(\w+)-(\d+)\.\w+$", name))}
    for step in ("lanczos", "moments"):
        if step in found:
            return step, found[step]
    if "record" in found:
        try:
            kept = json.loads((folder / "checkpoints" / f"record-{found['record']:04d}.json").read_text())["record"]
        except FileNotFoundError:
            return place(folder)
        return ("predictions" if "moments" in kept.get("stages", ()) else "facts"), found["record"]
    newest = found.get("epoch", 0)
    return ("facts" if newest in RECORDS else "training"), RECORDS[int(np.searchsorted(RECORDS, newest))]


def inside(folder: Path) -> str:
    """How far it was, for the table."""
    phase, epoch = place(folder)
    if phase == "lanczos":
        with np.load(folder / "checkpoints" / f"lanczos-{epoch:04d}.npz") as data:
            return f"lanczos of epoch {epoch}, after step {int(data['place'][2])}"
    if phase == "predictions":
        kept = json.loads((folder / "checkpoints" / f"record-{epoch:04d}.json").read_text())["record"]
        return f"predictions of epoch {epoch}, after {list(kept['predictions'])[-1]}"
    if phase == "training":
        newest = max(int(p.stem[-4:]) for p in (folder / "checkpoints").glob("epoch-*.npz"))
        return f"training, after epoch {newest}"
    if phase == "report":
        pictures = len(list((folder / "figures").glob("*.png")))
        return f"report, after {pictures} figures{' and the page' * (folder / 'report.html').exists()}"
    return f"{phase} of epoch {epoch}"


def follow(process: subprocess.Popen[str], folder: Path, until: Callable[[Place], bool]) -> dict[Place, float]:
    """Seconds that each place was seen, until a place or the end."""
    seconds: dict[Place, float] = {}
    last = time.monotonic()
    while process.poll() is None:
        here, now = place(folder), time.monotonic()
        seconds[here] = seconds.get(here, 0.0) + now - last
        last = now
        if until(here):
            break
        time.sleep(0.002)
    return seconds


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to."""

    folder: Path
    seconds: dict[Place, float]


def undisturbed(backend: str, folder: Path) -> Undisturbed:
    process = start(backend, folder)
    seconds = follow(process, folder, lambda _: False)
    finish(process)
    assert {phase for phase, _ in seconds} >= set(PHASES)
    return Undisturbed(folder, seconds)


def kill_within(process: subprocess.Popen[str], folder: Path, target: Place, delay: float) -> str | None:
    """SIGKILL `delay` seconds after the job came to a place: where it fell, None where it had ended before."""
    follow(process, folder, lambda here: here == target)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    ended = process.wait() == 0
    assert process.stderr is not None
    process.stderr.close()
    return None if ended else inside(folder)


def draw(rng: np.random.Generator, phase: str, known: Undisturbed) -> tuple[Place, float]:
    """A moment within a phase, at one of its epochs."""
    places = [p for p in known.seconds if p[0] == phase]
    target = places[rng.integers(len(places))]
    return target, float(rng.uniform(0.0, known.seconds[target]))


def timeless(folder: Path) -> str:
    """The report without what depends on the clock, as text: every bit of every number."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert report.pop("checksum") == json_checksum(report)
    assert report["complete"]
    for record in copy.copy(report["epochs"]):
        record.pop("seconds")
        for prediction in record["predictions"].values():
            prediction.pop("seconds")
    return json.dumps(report)


def same_end(folder: Path, known: Undisturbed) -> None:
    assert timeless(folder) == timeless(known.folder)
    names = sorted(p.name for p in (known.folder / "checkpoints").iterdir())
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == names
    for name in names:
        assert (folder / "checkpoints" / name).read_bytes() == (known.folder / "checkpoints" / name).read_bytes()
    pictures = [p.name for p in (known.folder / "figures").iterdir()]
    assert all((folder / "figures" / p).read_bytes() == (known.folder / "figures" / p).read_bytes() for p in pictures)
    assert (folder / "report.html").exists()


@pytest.mark.slow
def test_a_run_killed_in_every_phase_ends_in_the_same_report(tmp_path: Path) -> None:
    """One run, killed again and again: while it trains, inside Lanczos, between predictions, while it is written up."""
    known, folder, rng = undisturbed("numpy", tmp_path / "known"), tmp_path / "run", np.random.default_rng(0)
    fell = []
    for phase, epoch in (("lanczos", 0), ("training", 6), ("predictions", 6), ("report", 12)):
        process = start("numpy", folder, *(["--resume"] if fell else []))
        delay = float(rng.uniform(0.0, 0.7)) * known.seconds[phase, epoch]
        fell.append(kill_within(process, folder, (phase, epoch), delay))
    print(*fell, sep="\n")
    finish(start("numpy", folder, "--resume"))
    same_end(folder, known)
    assert all(fell)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["numba"] if REDUCED else ["numpy", "numba"])
def test_killed_at_twenty_moments(backend: str, tmp_path: Path) -> None:
    """Each moment in a run of its own. More where a phase was over before it was hit; reduced: two of the phases."""
    known, rng = undisturbed(backend, tmp_path / "known"), np.random.default_rng(1)
    missed, moments = set(PHASES[:2] if REDUCED else PHASES), 2 if REDUCED else 20
    for number in itertools.count():
        if number >= moments and not missed:
            break
        assert number < moments + 10, f"never hit: {missed}"
        folder = tmp_path / str(number)
        target, delay = draw(rng, PHASES[number % 4] if number < moments else min(missed), known)
        where = kill_within(start(backend, folder), folder, target, delay)
        print(f"{backend} {number:2d}  {where or 'after the end'}")
        finish(start(backend, folder, "--resume"))
        same_end(folder, known)
        missed -= {phase for phase in PHASES if where is not None and where.startswith(phase)}
