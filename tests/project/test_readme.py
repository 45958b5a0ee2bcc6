"""What the README and the examples promise runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.places import ROOT

README = (ROOT / "README.md").read_text()


def test_python_of_the_readme_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    measured, predicted, energies = (np.asarray(names[n]) for n in ("measured", "predicted", "energies"))
    assert measured.shape == predicted.shape == energies.shape
    assert measured.min() > 0
    assert predicted.min() > 0


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
