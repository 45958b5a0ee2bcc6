"""Signs of life of a step: lines where nobody watches a terminal, a bar where somebody does."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.places import ROOT
from validation.run import console
from validation.run.console import Stage, say_compilation


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred times as fast."""
    monkeypatch.setattr(console, "BEAT", 0.01)
    monkeypatch.setattr(console, "SILENCE", 0.02)


@pytest.mark.usefixtures("quick")
def test_a_step_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage("R6 at epoch 3", unit="energies") as stage:
        stage.update(24)
        time.sleep(0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "R6 at epoch 3: 24 energies, 0 s"
    assert 3 <= len(lines) <= 12  # a fifth more time between later ones
    assert not console._open


@pytest.mark.usefixtures("quick")
def test_only_the_inner_step_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage("training", 15, "epochs") as outer:
        outer.reach(2)
        with Stage("theorems"):
            time.sleep(0.1)
        inner = capsys.readouterr().out
        time.sleep(0.1)
    assert {line.split(":")[0].strip() for line in inner.splitlines()} == {"theorems"}
    assert "training: 2 of 15 epochs, 0 s" in capsys.readouterr().out


def test_a_short_step_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Stage("reading the data"):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("quick")
def test_a_step_that_fails_ends_its_signs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Stage("drawing"):
        raise KeyboardInterrupt
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_lines_come_every_two_seconds_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "say", said.append)
    stage = Stage("moments", 9, "products")
    for tick in range(1, 60):
        stage._show(tick + 0.01)
    times = [int(re.findall(r"(\d+) s$", line)[0]) for line in said]
    assert times[:5] == [2, 4, 6, 8, 10]
    assert all(later <= 1.3 * sooner for sooner, later in pairwise(times[4:]))


@pytest.mark.skipif(sys.platform != "linux", reason="a terminal of its own")
def test_a_terminal_has_a_bar_that_moves() -> None:
    import pty
    import termios

    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 100))
    program = (
        "import time\nfrom validation.run.console import Stage\n"
        "with Stage('R5 at epoch 1', 4, 'energies') as stage:\n    stage.update(3)\n    time.sleep(2.5)\n"
    )
    call = [sys.executable, "-c", program]
    found = subprocess.run(call, stdout=subprocess.PIPE, stderr=inner, cwd=ROOT, check=True)
    shown = os.read(outer, 100_000).decode()
    os.close(inner)
    os.close(outer)
    assert found.stdout == b""
    assert "R5 at epoch 1" in shown
    assert "3/4" in shown
    assert len({second for second in re.findall(r"\[00:0(\d)", shown)}) >= 3  # its clock goes on without an update


def test_compilation_is_said_before_it_begins(tmp_path: Path) -> None:
    """By a process without compiled kernels on disk, once; by the next one not at all."""
    program = (
        "from validation.run.console import say_compilation\nsay_compilation()\n"
        "from backends.numba.jit import njit\n"
        "import kernels\n"
        "print(kernels.twice(2), kernels.thrice(2))\n"
    )
    kernels = (
        "from backends.numba.jit import njit\n\n@njit(cache=True)\ndef twice(x):\n    return 2 * x\n\n"
        "@njit(cache=True)\ndef thrice(x):\n    return 3 * x\n"
    )
    (tmp_path / "kernels.py").write_text(kernels)
    places = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment: dict[str, Any] = dict(os.environ) | {"PYTHONPATH": places, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def output() -> list[str]:
        call = [sys.executable, "-c", program]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()

    first, again = output(), output()
    assert first == ["compiling kernels for this machine, which are kept on disk: up to a minute, once", "4 6"]
    assert again == ["4 6"]


def test_the_line_on_compilation_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    say_compilation()
    say_compilation()
    logging.getLogger("umwelt.kernels").info("compiling")
    assert capsys.readouterr().out == "compiling\n"


@pytest.mark.parametrize(("kernel", "widgets"), [(True, True), (True, False), (False, True)])
def test_a_notebook_with_widgets_has_bars_of_its_own(
    kernel: bool, widgets: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """tqdm.auto decides which bar; without a kernel or without widgets there are lines, and no warning of tqdm."""
    made: list[dict[str, Any]] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            made.append(options)

        def refresh(self) -> None: ...
        def update(self, count: int) -> None: ...
        def close(self) -> None: ...

    shell = SimpleNamespace(config={"IPKernelApp": {}} if kernel else {})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if widgets else None)
    with Stage("training", 3, "epochs") as stage:
        stage.update()
    assert [options["desc"] for options in made] == (["training"] if kernel and widgets else [])
