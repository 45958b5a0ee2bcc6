"""Memory said in advance: sizes in words, refusals that say what to reduce, estimates against measured peaks."""

from __future__ import annotations

import json
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.places import ROOT
from validation.compare.__main__ import main
from validation.errors import InsufficientMemoryError
from validation.run import budget as memory
from validation.run.budget import Memory, available, duration, parse_size, peak, resident, size

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc, on Linux only")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8GB", 8_000_000_000), ("8 gb", 8_000_000_000), ("1.5G", 1_500_000_000), ("500MB", 500_000_000),
        ("2GiB", 2 << 30), ("64k", 64_000), ("123456", 123_456), ("1TB", 10**12), ("10b", 10),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "8XB", "8GBs", "1e9", "0", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not usable: use a number of bytes or one such as 8GB"):
        parse_size(text)


def test_sizes_and_durations_in_words() -> None:
    assert [size(n) for n in (5e4, 12e6, 3.14e8, 2.5e10)] == ["0 MB", "12 MB", "0.314 GB", "25 GB"]
    assert [duration(s) for s in (0.0213, 4.26, 75.0, 300.0, 11520.0)] == ["0.021 s", "4.3 s", "75 s", "5 min", "3.2 h"]


@LINUX
def test_what_the_process_holds_is_known() -> None:
    memory.forget_peak()
    before = resident()
    with mmap.mmap(-1, 60_000_000) as block:  # pages that nothing freed before has left with the process
        block.write(b"1" * len(block))
        assert resident() - before > 50_000_000
    assert peak() - before > 50_000_000
    assert before < available() + before < 1 << 50


def test_a_control_group_bounds_what_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "GROUPS", ((limit, used),))
    free = available()
    limit.write_text("max\n")
    used.write_text("5\n")
    assert available() == pytest.approx(free, rel=0.2)
    limit.write_text("1000005\n")
    assert available() == 1_000_000


def test_a_step_that_does_not_fit_is_refused_with_what_to_reduce(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(memory, "available", lambda: 3_000_000_000)
    monkeypatch.setattr(memory, "resident", lambda: 500_000_000)
    Memory(None, said.append).announce("training", 2.9e9, "use less", 12.3)
    Memory(2_000_000_000, said.append).announce("training", 1.4e9, "use less")
    assert said == ["next: training: about 12 s, 2.9 GB", "next: training: about 1.4 GB"]
    with pytest.raises(InsufficientMemoryError, match=r"^training takes about 3.1 GB, 3 GB are available: use less$"):
        Memory(None, said.append).announce("training", 3.1e9, "use less")
    message = r"^training takes about 1.6 GB, 1.5 GB are left of --memory 2 GB: use less$"
    with pytest.raises(InsufficientMemoryError, match=message):
        Memory(2_000_000_000, said.append).check("training", 1.6e9, "use less")
    assert len(said) == 2


def test_a_network_beyond_memory_is_refused_before_it_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", "digits", "--network", "mlp:100000x100000", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--quick"]) == 2
    error = capsys.readouterr().err
    says = r"drawing the first weights takes about 240 GB, .* are available: use a smaller --network"
    assert re.fullmatch(rf"validation\.compare: {says}\n", error)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("step", ["state", "prediction"] if REDUCED else ["state", "moments", "prediction", "entries"])
def test_estimates_are_within_a_factor_of_two_of_the_peak(step: str) -> None:
    """In a fresh process for each, as `benchmarks/memory.py` does for larger cases."""
    command = [sys.executable, "benchmarks/memory.py", "--step", step, "--case", "small"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["peak"] > 3e7
    assert 0.5 < found["estimate"] / found["peak"] < 2.0, found
