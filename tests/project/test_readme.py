"""What the README and the examples promise runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.places import ROOT
from support.torch_files import need_torch

README = (ROOT / "README.md").read_text()


def test_python_of_the_readme_runs() -> None:
    own, code = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert "from_torch" in own  # runs below
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    measured, predicted, energies = (np.asarray(names[n]) for n in ("measured", "predicted", "energies"))
    assert measured.shape == predicted.shape == energies.shape
    assert measured.min() > 0
    assert predicted.min() > 0


@pytest.mark.usefixtures("plain")
def test_a_network_of_your_own_takes_six_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nn = need_torch().nn
    own = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]
    assert len([line for line in own.splitlines() if line.strip()]) <= 6
    layers = [nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()]
    x = np.random.default_rng(0).standard_normal((40, 8, 8, 1))
    names: dict[str, Any] = {"x": x, "y": x.sum((1, 2, 3)) > 0}
    names["model"] = nn.Sequential(*layers, nn.Linear(32, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
    monkeypatch.chdir(tmp_path)
    exec(compile(own, "README.md", "exec"), names)
    (record,) = names["report"].data["epochs"]
    assert record["spectrum"]["rms"] > 0
    assert {"RE", "RK"} <= set(record["predictions"])
    assert (tmp_path / "runs" / "own" / "report.html").is_file()


OWN_NETWORK = ROOT / "docs" / "start" / "own_network.md"


@pytest.mark.slow
@pytest.mark.usefixtures("plain")
def test_the_page_on_a_network_of_your_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks in one session; the density at 0 is predicted to three standard errors and 5 %."""
    need_torch()
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", OWN_NETWORK.read_text(), flags=re.DOTALL):
        exec(compile(code, OWN_NETWORK.name, "exec"), names)
    error = np.hypot(names["error"], names["its_error"])
    assert abs(names["predicted"] - names["measured"]) < 3 * error + 0.05 * names["measured"]


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"make (\w+)", README))
    assert {"compare", "test", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_files_that_the_readme_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


# All scripts of the tutorial and of the examples run when the site is built; the main job (report.py) only then.
SHORT = ("dyson", "hierarchy")
EXAMPLES = [
    pytest.param(path, marks=() if path.stem in SHORT else pytest.mark.slow, id=path.stem)
    for path in sorted((ROOT / "examples").glob("*.py"))
    if path.stem != "report"
]


@pytest.mark.parametrize("script", EXAMPLES)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
