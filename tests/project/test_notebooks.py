"""The notebooks: kept without outputs, run in order, and true. `make docs` runs them in Jupyter."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from support.places import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_SECONDS = 20.0  # of one core


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def run(name: str) -> dict[str, Any]:
    """What the code of a notebook leaves, within the time that it may take."""
    names: dict[str, Any] = {}
    begun = time.process_time()
    for cell in cells(FOLDER / f"{name}.ipynb", "code"):
        exec(compile("".join(cell["source"]), name, "exec"), names)
    assert time.process_time() - begun < MOST_SECONDS
    plt.close("all")
    return names


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["exact_and_sampled", "own_arrays"]
    page = (ROOT / "docs" / "index.md").read_text()
    assert all(f"notebooks/{path.stem}" in page for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    assert json.loads(path.read_text())["nbformat"] == 4
    for cell in cells(path, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        compile("".join(cell["source"]), path.name, "exec")
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)#]+)\)", "".join(cell["source"])):
            assert (FOLDER / target).exists(), target


@pytest.mark.slow
def test_your_own_arrays() -> None:
    """Measured at 0 as all eigenvalues have it, and predicted to a tenth of the mass."""
    names = run("own_arrays")
    eigenvalues = np.linalg.eigvalsh(names["hessian"].dense())
    eta = names["eta"] * names["rms"]
    true = np.mean(eta / np.pi / (eigenvalues**2 + eta**2)) * names["rms"]
    middle = len(names["energies"]) // 2
    assert abs(names["measured"][middle] - true) < 4 * names["error"][middle] + 0.02 * true
    assert 0 < np.trapezoid(np.abs(names["measured"] - names["predicted"]), names["energies"]) < 0.1


@pytest.mark.slow
def test_exact_and_sampled() -> None:
    names = run("exact_and_sampled")
    inside = np.mean(np.abs(names["deviations"]) < 2)
    assert abs(inside - 0.954) < 4 * np.sqrt(0.954 * 0.046 / names["deviations"].size)
    assert abs(names["off"]) > 5  # where the text says that the standard error fails
    assert names["circuits"].values.shape == (3, 60)
