"""The exact report from beginning to end on a tiny size: numbers, checks that can fail, files, exit codes."""

from __future__ import annotations

import copy
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from backends import get_backend
from support.places import ROOT
from validation.compare.options import OptionError
from validation.errors import StorageError
from validation.exact import claims as exact_checks
from validation.exact import job as exact
from validation.exact.__main__ import main
from validation.exact.answer import answer
from validation.exact.cases import Sizes, select
from validation.exact.figures import FIGURES
from validation.exact.job import ExactReport, run_exact
from validation.exact.page import CAPTIONS, caption, render, text_table
from validation.report.markup import captioned, page
from validation.report.verdicts import verdicts

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")
TINY = Sizes(temperatures=5, samples=60, iterations=6, starts=2, gradients=60)
EXACT = {"EM.bound", "EM.monotone", "EM.tight", "EM.fisher", "EM.cold", "eq8", "split", "eq10", "backends"}


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Any:
    """Every quick run of this module is tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "QUICK", TINY)
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExactReport:
    folder = tmp_path_factory.mktemp("exact") / "run"
    return run_exact(quick=True, backend="numpy", out=str(folder))


def command(*words: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = int(str(stop.code))
    return status, out.getvalue(), err.getvalue()


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a report")


def test_the_files_of_a_run(report: ExactReport) -> None:
    data = json.loads((report.path / "report.json").read_text(), parse_constant=refuse)
    assert data == report.data
    assert (data["schema"], data["kind"], data["seed"]) == (1, "exact", 0)
    assert data["backend"] == {"name": "numpy", "dtype": "float64"}
    assert data["options"]["temperatures"] == TINY.temperatures
    assert set(data["seconds"]) == {"marginals", "learning", "checks", "figures", "total", "cpu"}
    assert {p.name for p in report.path.rglob("*") if p.is_file()} == {
        "report.json", "report.html", *(f"{name}.png" for name in FIGURES),
    }  # fmt: skip
    for name in FIGURES:
        assert (report.path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_every_check_holds(report: ExactReport) -> None:
    checks = {c["id"]: c for c in report.data["checks"]}
    assert {name for name, c in checks.items() if c["exact"]} == EXACT
    assert set(checks) - EXACT == {"MC.gradient", "MC.marginal"}
    assert [name for name in EXACT if checks[name]["verdict"] != "holds"] == []
    assert report.failed_facts == []


def test_marginals_run_into_their_limits(report: ExactReport) -> None:
    marginal = report.data["marginal"]
    values = np.array(marginal["exact"])
    assert values.shape == (TINY.temperatures, 6) == np.shape(marginal["estimate"])
    assert np.all((values > 0) & (values < 1))
    assert marginal["cold_limit"] == sorted(marginal["cold_limit"])
    assert np.abs(values[0] - marginal["cold_limit"]).max() < 0.005
    assert np.abs(values[-1] - marginal["hot_limit"]).max() < 0.03
    assert np.abs(values[0] - values[-1]).max() > 0.1
    assert np.shape(marginal["trusted"]) == values.shape
    assert 0 < marginal["counted"] == np.sum(marginal["trusted"]) < values.size


def test_histories_of_the_runs(report: ExactReport) -> None:
    data = report.data
    runs = data["runs"]
    assert len(runs) == 4 * TINY.starts + 4
    for run in runs:
        likelihood, divergence = (np.array(run[key]) for key in ("log_likelihood", "kl"))
        assert likelihood.shape == (TINY.iterations + 1,)
        np.testing.assert_allclose(-likelihood - divergence, data["learning"]["entropy"], atol=1e-12)
    for start in range(TINY.starts):  # from the same weights at the same temperature
        warm = select(runs, start=start, temperature=0.5)
        assert len(warm) == 3
        assert np.ptp([run["log_likelihood"][0] for run in warm]) < 1e-12
    for run in select(runs, temperature=0.0):
        assert not np.any(run["gate_entropy"])
    hotter = [run["gate_entropy"][0] for t in (0.2, 0.5, 1.0) for run in select(runs, start=0, temperature=t)[:1]]
    assert hotter == sorted(hotter)


@pytest.mark.usefixtures("plain")
def test_another_seed_is_another_report(report: ExactReport, tmp_path: Path) -> None:
    other = run_exact(quick=True, backend="numpy", seed=1, out=str(tmp_path)).data
    assert other["marginal"]["estimate"] != report.data["marginal"]["estimate"]
    assert other["runs"][0] != report.data["runs"][0]


@pytest.mark.usefixtures("plain")
def test_a_failed_statement_is_exit_1_after_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = exact_checks.circuit_moments
    monkeypatch.setattr(exact_checks, "circuit_moments", lambda *args, **options: 1 + honest(*args, **options))
    status, out, err = command("--quick", "--backend", "numpy", "--out", str(tmp_path / "run"))
    assert status == 1
    assert err == "validation.exact: exact facts failed, which is a bug: eq10\n"
    assert "not supported" in out
    assert "exact statements failed" not in out
    assert "not supported" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.usefixtures("plain")
def test_the_command_line_ends_with_counts_and_the_page(report: ExactReport, tmp_path: Path) -> None:
    """And one seed is one report."""
    status, out, err = command("--quick", "--backend", "numpy", "--seed", "0", "--out", str(tmp_path))
    assert (status, err) == (0, "")
    again = json.loads((tmp_path / "report.json").read_text())
    assert again == report.data | {key: again[key] for key in ("seconds", "checksum")}
    assert f"\nexact facts: holds: {len(EXACT)}\n" in out
    assert out.rstrip().endswith(f"report: {tmp_path / 'report.html'}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "--seed -1: expected an integer >= 0"),
        (["--backend", "abacus"], "backend 'abacus' is unknown: use one of numpy, numba, cupy"),
        (["--sed", "1"], "unrecognized arguments"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(tmp_path: Path, words: list[str], message: str) -> None:
    status, out, err = command(*words, "--out", str(tmp_path / "run"))
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_refused(report: ExactReport, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in report.path.rglob("*") if p.is_file()}
    status, out, err = command("--quick", "--out", str(report.path))
    assert (status, out) == (2, "")
    assert err == f"validation.exact: --out {report.path} is not empty: name another folder, or remove it\n"
    assert before == {p: p.read_bytes() for p in report.path.rglob("*") if p.is_file()}
    (tmp_path / "file").touch()
    for way in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="a file is in the way"):
            run_exact(out=str(way))
    with pytest.raises(OptionError, match=r"--seed 1\.5"):
        run_exact(seed=1.5, out=str(tmp_path / "new"))


def test_an_interrupted_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "learn", interrupt)
    status, _, err = command("--quick", "--backend", "numpy", "--out", str(tmp_path))
    assert (status, err) == (130, "validation.exact: interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_from_the_stored_numbers(report: ExactReport, name: str) -> None:
    before = dict(mpl.rcParams)
    stored = json.loads((report.path / "report.json").read_text())
    frozen = copy.deepcopy(stored)
    figure = FIGURES[name](stored)
    assert stored == frozen
    assert dict(mpl.rcParams) == before
    assert all(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes)


def test_figures_show_the_runs(report: ExactReport) -> None:
    runs = report.data["runs"]
    first = select(runs, e_step="exact", rule="line search", temperature=0.5, start=0)[0]
    top, bottom = FIGURES["em"](report).axes
    drawn = [list(line.get_ydata()) for line in top.lines]
    assert first["log_likelihood"] in drawn
    assert first["bound"][1:] in drawn
    assert list(np.where(np.array(first["kl"]) > 1e-6, first["kl"], np.nan)) in [
        list(a.get_ydata()) for a in bottom.lines
    ]
    _, right = FIGURES["e_steps"](report).axes
    marks = np.concatenate([line.get_xdata() for line in right.lines if line.get_markerfacecolor() == "none"])
    assert marks.size == 4 * TINY.starts
    (entropies,) = FIGURES["gate_entropy"](report).axes
    assert sum(len(line.get_ydata()) == TINY.iterations + 1 for line in entropies.lines) == 7


def test_the_page_is_whole(report: ExactReport) -> None:
    html = (report.path / "report.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == len(FIGURES) == len(CAPTIONS)
    assert not [outside for outside in ("http", "url(", "@import", "<script") if outside in html]
    assert all(f"<code>{c['id']}</code>" in html for c in report.data["checks"])
    counted = len({c["verdict"] for c in report.data["checks"]})  # a badge each, above those of the claims
    assert html.count('class="verdict good"') == counted + len(report.data["checks"])
    assert "2-6-5-1" in html
    assert str(report.path) not in html


def with_ends(data: dict[str, Any], **ends: float) -> dict[str, Any]:
    """The report with these divergences at the end of every run of an E-step."""
    made = copy.deepcopy(data)
    for run in made["runs"]:
        run["kl"][-1] = ends[run["e_step"]] + (0.25 if run["rule"] == "fixed step" else 0.0)
    return made


def test_the_answer_names_the_best_e_step_and_what_fails(report: ExactReport) -> None:
    """Other numbers, another sentence: it begins the page, the terminal's text and the repr."""
    data = with_ends(report.data, exact=0.125, monte_carlo=0.25, zero_temperature=0.5)
    text = answer(data)
    assert text == (
        f"After {TINY.iterations} iterations the E-step nearest to the law of the labels is exact with line search: a "
        "median of 0.12 nats, beside 0.38 (exact with fixed step), 0.5 (Monte Carlo), 0.75 (zero temperature); all "
        f"{len(EXACT)} exact facts hold; claims on Monte Carlo estimates: 2 supported"
    )
    html = render(data, {"marginal": b"first", "em": b"second"})
    assert html.index(text) < html.index('id="em"') < html.index("Verdicts") < html.index('id="marginal"')
    assert text in " ".join(text_table(data).split())
    assert repr(ExactReport(data, report.path)).splitlines()[1].strip() == f"{text}."
    worse = with_ends(report.data, exact=0.5, monte_carlo=0.0, zero_temperature=0.5)
    checks = {c["id"]: c for c in worse["checks"]}
    checks["eq8"]["verdict"] = checks["MC.marginal"]["verdict"] = "not supported"
    checks["MC.gradient"]["verdict"] = "not resolved"
    said = answer(worse)
    assert "is Monte Carlo: a median of 0.25 nats" in said
    assert "1 of 9 exact facts fail: eq8; claims on Monte Carlo estimates: 1 not resolved, 1 not supported" in said
    assert "Exact facts failed." in render(worse, {})


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_carry_numbers(report: ExactReport, name: str) -> None:
    words = caption(name, report.data)
    assert words.endswith(".")
    assert not [stray for stray in ("{", "nan", "None", "  ") if stray in words]
    unresolved = copy.deepcopy(report.data)
    unresolved["marginal"] |= {"within_two": None, "counted": 0}
    assert "None" not in caption(name, unresolved)


def test_pieces_of_a_page_escape_what_they_are_given() -> None:
    hostile = "<script>&"
    claim = dict.fromkeys(("id", "source", "claim", "measured", "expected", "verdict"), hostile)
    parts = [captioned(hostile, f"{hostile}. More.", b"png"), verdicts([claim], hostile)]
    html = page(hostile, hostile, parts)
    assert hostile not in html
    assert html.count("&lt;script&gt;&amp;") >= 12
    assert verdicts([], "none") == ""
    assert "<strong>As in eq. (8).</strong> More." in captioned("a", "As in eq. (8). More.", b"")
    with pytest.raises(KeyError):
        render({}, {})


def test_importing_needs_no_matplotlib() -> None:
    code = "import sys, validation.exact, validation.exact.page; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_the_default_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Sizes(iterations=40) if os.environ.get("UMWELT_REDUCED") else Sizes()
    monkeypatch.setattr(exact, "Sizes", lambda: sizes)
    done = run_exact(out=str(tmp_path))
    assert [c["id"] for c in done.data["checks"] if c["verdict"] == "not supported"] == []
