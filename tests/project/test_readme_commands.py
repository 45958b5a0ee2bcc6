"""Every command of the README: it parses, its target is there, and all of them run in one checkout, in order."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.places import ROOT
from validation.compare.__main__ import parser as compare_parser
from validation.compare.options import Options

README = (ROOT / "README.md").read_text()
REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
STOPPED = 4  # the exit status of a piece


def commands() -> list[str]:
    """The lines of all shell blocks, comments left out."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [shlex.join(shlex.split(line, comments=True)) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


LINES = commands()
JOBS = [line for line in LINES if line.startswith("python -m validation.")]
COMPARE = "python -m validation.compare"

# What stands in for something that is not on every machine.
INSTEAD = {
    "--data cifar10": "--data photos",  # the same 32x32 colour images, in a folder
    "--backend cupy": "--dtype float32",
    "--stop-after 600": "--stop-after 0.001",
}
# Smaller, so that the tour ends. With UMWELT_REDUCED=1 it takes less than 60 s of one core: the first comparison,
# `exact` and `ladder` run to their end, the other comparisons begin, and the rest is parsed, above.
SMALLER = {
    "compare": "--epochs 5 --spectrum-examples 100 --steps 30 --prediction-seconds 5",
    **dict.fromkeys(("exact", "bounds", "ladder", "phase"), "--quick"),
}
TINY = "--backend numpy --epochs 1 --record 0 --examples 24 --spectrum-examples 6 --steps 4 --probes 1 --draws 2"
SMALLEST = {
    "compare": f"{TINY} --prediction-seconds 0.001",
    "exact": "--quick",
    "ladder": "--quick --widths 6 --depths 3 --train 0 --draws 0 --rungs R5",
}
BEGUN = "--stop-after 0.001"


def test_there_is_a_tour() -> None:
    assert LINES[:4] == [
        "python3 -m venv .venv",
        "source .venv/bin/activate",
        "pip install -e .",
        f"{COMPARE} --quick",
    ]
    told = {re.sub(r".*validation\.(\w+).*", r"\1", job) for job in JOBS}
    assert told == set(SMALLER)
    assert all(any(word in line for line in LINES) for word in INSTEAD)


def test_every_line_is_a_known_kind_of_command() -> None:
    """Jobs, targets of make, and installations of extras that pyproject.toml has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in set(LINES[2:]) - set(JOBS):
        if line.startswith("make "):
            done = subprocess.run(["make", "-n", line[5:]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        else:
            (wanted,) = re.findall(r"^pip install -e '?\.(?:\[(\w+)\])?'?$", line)
            assert not wanted or wanted in extras, line
    for wanted in re.findall(r"\(pip install -e '\.\[(\w+)\]'\)", README):
        assert wanted in extras


@pytest.mark.parametrize("line", JOBS)
def test_every_job_parses(line: str) -> None:
    _, _, module, *words = shlex.split(line)
    importlib.import_module(f"{module}.__main__").parser().parse_args(words)


def test_no_two_runs_of_the_tour_share_a_folder() -> None:
    """But for a run and its next piece."""
    folders: dict[str, list[str]] = {}
    for line in JOBS:
        words = shlex.split(line)[3:]
        if line.startswith(COMPARE) and "--seeds" not in words:
            chosen = Options(**vars(compare_parser().parse_args(words))).completed()
            folders.setdefault(str(chosen.out), []).append(line)
    assert len(folders) > 4
    for lines in folders.values():
        assert all("--resume" in line for line in lines[1:]), lines


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The packages, and the images that two lines ask for."""
    for name in ("backends", "simulator", "theory", "validation", "umwelt_dnn"):
        (tmp_path / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    for folder, classes in (("photos", "01"), ("my-images", ("cat", "dog", "car", "ship"))):
        for name in classes:
            (tmp_path / folder / "train" / name).mkdir(parents=True)
            for k in range(60):  # more than the spectrum is measured on
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / "train" / name / f"{k}.png")
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-c", "my-images.zip", "my-images/train"], cwd=tmp_path, check=True
    )
    return tmp_path


def shortened(line: str, first: bool) -> str | None:
    """The command that stands in for a line; None for one that the reduced tour leaves out."""
    module = shlex.split(line)[2].removeprefix("validation.")
    for given, taken in INSTEAD.items():
        line = line.replace(given, taken)
    if not REDUCED:
        return line if "--quick" in line else f"{line} {SMALLER[module]}"
    if module not in SMALLEST or "--seeds" in line:
        return None
    begun = f" {BEGUN}" if module == "compare" and not first and BEGUN not in line else ""
    return f"{line} {SMALLEST[module]}{begun}"


def run(command: str, folder: Path) -> int:
    """Its exit status: of a process of its own, or in the reduced tour, to save imports, of a call in this one."""
    if REDUCED:
        _, _, module, *words = shlex.split(command)
        return int(importlib.import_module(f"{module}.__main__").main(words))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=False).returncode


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
def test_the_tour_runs_in_order_in_one_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ends with an error, whatever ran before; a piece ends with its own status."""
    tour = [command for k, line in enumerate(JOBS) if (command := shortened(line, first=k == 0)) is not None]
    assert len(tour) >= 8
    monkeypatch.chdir(checkout)
    for command in tour:
        expected = STOPPED if BEGUN in command else 0
        assert run(command, checkout) == expected, command
    pages = list((checkout / "runs").glob("*/*.html"))
    assert len(pages) == sum(BEGUN not in command for command in tour)
