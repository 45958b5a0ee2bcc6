"""What results show of themselves: a few lines, whatever their size."""

from __future__ import annotations

import base64
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import simulator
from simulator import (
    HessianOperator,
    SpectralDensity,
    enumerate_circuits,
    evaluate,
    mlp,
    sample_circuits,
    solve_maxent,
    spectral_density,
    train,
)
from simulator.shown import short, short_repr
from support.cases import DENSE
from support.places import ROOT
from umwelt_dnn.__main__ import commands
from validation.data import Dataset, load_dataset
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun

DESCRIPTIONS = {"AvgPool", "Conv", "Dense", "MaxPool", "Network"}  # short or in full, as they can be typed again
CASE = DENSE[3]
BIG = mlp([200, 80, 80, 1])


def results() -> dict[str, Any]:
    x = np.random.default_rng(0).standard_normal((300, 200))
    y = np.where(x[:, 0] > 0, 1.0, -1.0)
    weights = BIG.init(0)
    return {
        "spectrum": spectral_density(HessianOperator(BIG, weights, x, y, backend="numpy"), n_steps=8),
        "training": train(BIG, weights, x, y, epochs=2, batch_size=50, learning_rate=0.01, backend="numpy"),
        "evaluation": evaluate(BIG, weights, x, y, backend="numpy"),
        "circuits": enumerate_circuits(CASE.network, CASE.weights, CASE.x, 2),
        "sample": sample_circuits(CASE.network, CASE.weights, CASE.x, 1000),
        "maxent": solve_maxent([np.ones((4, 3))], np.full((3, 2), 0.3)),
        "data": load_dataset("digits"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return results()


def test_a_few_lines_whatever_the_size(made: dict[str, Any]) -> None:
    for name, result in made.items():
        lines = repr(result).splitlines()
        assert len(lines) <= 14, name
        assert max(map(len, lines)) <= 140, name
        assert lines[0].startswith(type(result).__name__ + "(")
        for field in dataclasses.fields(result):
            assert f"{field.name}=" in repr(result) or not field.repr or "..." in repr(result), field.name
    assert "4 probes of 8 steps, N = 22,480; rms 0." in repr(made["spectrum"])
    assert "weights=<3 arrays (200, 80), (80, 80), (80, 1)>" in repr(made["training"])
    assert isinstance(made["data"], Dataset)


def test_every_public_result_does() -> None:
    kinds = {name: getattr(simulator, name) for name in simulator.__all__}
    found = {name: kind for name, kind in kinds.items() if inspect.isclass(kind) and dataclasses.is_dataclass(kind)}
    assert {name for name, kind in found.items() if kind.__repr__ is not short_repr} == DESCRIPTIONS
    assert len(found) > 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1234567891, "0.123457"),
        (float("nan"), "nan"),
        (np.zeros((3, 4), dtype=np.float32), "<array 3×4 float32>"),
        (np.array([1, 2]), "[1 2]"),
        (np.array(3), "3"),
        ([np.zeros((2, 1)), np.zeros(5)], "<2 arrays (2, 1), (5,)>"),
        ({"a": 1, "b": 2}, "<2 entries: a, b>"),
        ((1, 2, 3), "(1, 2, 3)"),
        (list(range(5000)), "<5,000 values>"),
        ("x" * 200, "<str>"),
        (None, "None"),
    ],
)
def test_values(value: Any, expected: str) -> None:
    assert short(value) == expected


def test_the_plot_of_a_spectrum(made: dict[str, Any]) -> None:
    """The curve is the smoothed density in units of the rms, on axes that are returned."""
    from matplotlib.figure import Figure

    spectrum = made["spectrum"]
    ax = Figure().subplots()
    assert spectrum.plot(ax, eta=0.1) is ax
    (line,) = ax.lines
    energies, density = line.get_data()
    expected, _ = spectrum.terminated_density(np.asarray(energies) * spectrum.rms, 0.1 * spectrum.rms)
    np.testing.assert_allclose(density, spectrum.rms * expected, rtol=1e-12)
    assert "0.1 rms" in ax.get_ylabel()
    mass = np.trapezoid(density, energies)
    assert 0.95 < mass < 1.0
    with pytest.raises(ValueError, match="eta 0 is not usable"):
        spectrum.plot(ax, eta=0)


def test_a_spectrum_of_zeros_says_so() -> None:
    from matplotlib.figure import Figure

    zero = SpectralDensity.from_recurrence(np.zeros((2, 3)), np.zeros((2, 3)), 5)
    ax = zero.plot(Figure().subplots())
    assert [text.get_text() for text in ax.texts] == ["every eigenvalue is 0"]
    assert "rms 0 ± 0" in repr(zero)


def test_a_notebook_shows_numbers_and_picture(made: dict[str, Any]) -> None:
    page = made["spectrum"]._repr_html_()
    assert "rms 0." in page
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_matplotlib_comes_with_the_first_plot() -> None:
    code = (
        "import sys, simulator as s; n = s.mlp([2, 1]); o = s.HessianOperator(n, n.init(0), [[1, 2]], [1], 'squared', "
        "backend='numpy'); d = s.spectral_density(o, n_steps=2); repr(d); a = 'matplotlib' in sys.modules; "
        "d.plot(); print(a, 'matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={"MPLBACKEND": "agg"})
    assert done.stdout.split() == ["False", "True"]


def test_reports_of_the_other_commands_are_as_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A headline, how many checks have each verdict, the page; in a notebook the same above a figure of the run."""
    from validation.bounds.job import BoundsReport
    from validation.capacity.job import CapacityReport
    from validation.exact.job import ExactReport
    from validation.ladder.job import LadderReport
    from validation.novel.job import NovelReport
    from validation.phase.job import PhaseReport

    checks = [{"id": f"M{k}", "exact": True, "verdict": "holds"} for k in range(900)]
    checks += [{"id": "S2", "exact": True, "verdict": "not supported"}]
    data = {"kind": "made up", "backend": {"name": "numpy"}, "seed": 3, "checks": checks}
    data["cells"] = [{"records": [{"exact": {"S2": {"value": 1.0, "tolerance": 0.0}}}]}] * 10_000
    (tmp_path / "figures").mkdir()
    for kind in (BoundsReport, CapacityReport, ExactReport, LadderReport, NovelReport, PhaseReport):
        monkeypatch.setattr(kind, "answer", lambda _: "So it is")
        report = kind(data, tmp_path)
        lines = [line.strip() for line in repr(report).splitlines()]
        assert lines == [
            f"{kind.__name__}(", "So it is.", "made up on numpy, seed 3", "cells: 10000",
            "checks: holds: 900, not supported: 1", "EXACT FACTS FAILED: S2", f"page: {report.page}", ")",
        ]  # fmt: skip
        assert "<img" not in report._repr_html_()
        (tmp_path / "figures" / f"{kind.PICTURE[0]}.png").write_bytes(b"\x89PNG")
        assert f'alt="{kind.PICTURE[1]}" src="data:image/png;base64,iVBORw=="' in report._repr_html_()


@pytest.mark.parametrize("command", [name for name in commands() if name != "compare"])
def test_the_picture_of_a_report_is_one_that_its_command_draws(command: str) -> None:
    job = importlib.import_module(f"validation.{command}.job")
    (kind,) = (k for n, k in vars(job).items() if n.endswith("Report") and n != "FinishedRun")
    drawn = (ROOT / "validation" / command / "figures.py").read_text()
    assert f'"{kind.PICTURE[0]}"' in drawn
    assert kind.answer is not FinishedRun.answer
    (made,) = (value for value in vars(job).values() if isinstance(value, Experiment))
    assert (made.program, made.run) == (f"validation.{command}", kind)
