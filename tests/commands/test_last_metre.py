"""A run that measured everything ends with its report and its page, whatever stdout, names or a figure do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

import validation
from support.places import ROOT
from support.synthetic_report import report
from validation import figures
from validation.compare.__main__ import main
from validation.compare.pages.report import render_html
from validation.errors import StorageError
from validation.exact.__main__ import main as exact_main
from validation.report import write as finishing
from validation.report.drawing import picture
from validation.report.markup import page
from validation.run import command, console
from validation.run.console import printable, say
from validation.run.folder import held, locked

TINY = [
    "--backend=numpy", "--data=digits", "--network=mlp:3", "--examples=40", "--spectrum-examples=10", "--epochs=0",
    "--steps=4", "--probes=1", "--prediction-seconds=0.01",
]  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validation.compare.single.bound_claims", lambda *_: [])
    monkeypatch.setattr(console, "_told", set())


class Stream(io.TextIOWrapper):
    """A text stream of an encoding, onto bytes that a test can read."""

    def __init__(self, encoding: str) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding=encoding)


class Broken(io.StringIO):
    """A stream whose every write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


def ran(folder: Path, stdout: Any, stderr: Any, words: list[str] | None = None) -> int:
    with redirect_stdout(stdout), redirect_stderr(stderr):
        return main([*(words or TINY), "--out", str(folder)])


def complete(folder: Path) -> dict[str, Any]:
    data = json.loads((folder / "report.json").read_bytes())
    assert data["complete"]
    assert "</html>" in (folder / "report.html").read_text(encoding="utf-8")
    return dict(data)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437", "utf-8", "utf-16"])
def test_every_encoding_of_stdout(encoding: str, tmp_path: Path, plain: None) -> None:
    stdout = Stream(encoding)
    assert ran(tmp_path / "run", stdout, io.StringIO()) == 0
    said = stdout.kept.getvalue().decode(encoding)
    assert ("≤" if encoding.startswith("utf") or encoding == "cp437" else r"\u2264") in said
    complete(tmp_path / "run")


STDOUT_ERRORS = [
    BrokenPipeError(32, "Broken pipe"),
    OSError(28, "No space left on device"),
    OSError(5, "Input/output error"),
    ValueError("I/O operation on closed file"),
]


@pytest.mark.parametrize("error", STDOUT_ERRORS)
def test_a_stdout_that_fails_is_said_once_and_ends_nothing(error: Exception, tmp_path: Path, plain: None) -> None:
    stderr = io.StringIO()
    assert ran(tmp_path / "run", Broken(error), stderr) == 0
    reason = getattr(error, "strerror", None) or str(error)
    assert stderr.getvalue() == f"stdout cannot be written ({reason}): the run goes on without it\n"
    complete(tmp_path / "run")


def test_no_stdout_and_no_stderr(tmp_path: Path, plain: None) -> None:
    assert ran(tmp_path / "run", None, None) == 0
    complete(tmp_path / "run")
    assert ran(tmp_path / "other", None, None, ["--epochs=-1"]) == 2
    assert ran(tmp_path / "third", io.StringIO(), Broken(OSError(28, "full")), ["--epochs=-1"]) == 2


@pytest.mark.slow
def test_from_the_shell_with_a_reader_that_leaves_and_with_everything_closed(tmp_path: Path) -> None:
    """The exit status is that of the run, not 120 of a flush that fails as Python ends; no file becomes a stdout."""
    base = f"{sys.executable} -m validation.exact --quick --backend numpy --out"
    for name, streams in (("closed", ">&- 2>&- <&-"), ("full", ">/dev/full 2>/dev/full")):
        folder = tmp_path / name
        done = subprocess.run(["bash", "-c", f"{base} {folder} {streams}"], cwd=ROOT, timeout=300, check=False)
        assert done.returncode == 0
        assert json.loads((folder / "report.json").read_bytes())["figures_missing"] == {}
        assert len(os.listdir(folder / "figures")) == 4


def test_help_without_a_reader() -> None:
    helped = f"{sys.executable} -m validation.compare --help >/dev/full"
    assert subprocess.run(["bash", "-c", helped], cwd=ROOT, stderr=subprocess.PIPE, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat", "cat"), ("größe 猫 قط $x_1", "größe 猫 قط $x_1"), ("caf\udce9", r"caf\xe9"), ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"), ("\u202eevil", r"\u202eevil"), ("\ud800", r"\ud800"), ("\x9b", r"\x9b"),
    ],
)  # fmt: skip
def test_names_that_can_be_shown_anywhere(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown


CLASSES = (b"caf\xe9", b"<script>alert(1)<script>", b"a\nb\x1b[31m", "$\\frac{1}$ 猫 קט‮x".encode(), b"x" * 200)


def image_folder(root: Path, classes: tuple[bytes, ...] = CLASSES) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        folder = Path(os.fsdecode(os.path.join(os.fsencode(root / "train"), name)))
        folder.mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8)).save(folder / f"{i}.png")
    return root


def test_class_names_of_any_bytes(tmp_path: Path, plain: None) -> None:
    """The same command with --resume too; a class may be named by its bytes and by what is shown."""
    try:
        data = image_folder(tmp_path / os.fsdecode(b"d\xfcrr"))
    except (OSError, ValueError):
        pytest.skip("this file system takes no such names")
    (data / "train" / "notes.txt").write_text("not read")
    (data / "train" / ("x" * 200) / ".hidden.png").write_text("not read")
    words = [w for w in TINY if "data" not in w and "examples" not in w] + [f"--data={data}"]
    stdout = Stream("ascii")
    out = tmp_path / os.fsdecode(b"r\xfcn")
    assert ran(out, stdout, sys.stderr, words) == 0
    found = complete(out)
    assert (found["figures_missing"], found["dataset"]["left_out"]) == ({}, {"hidden": 1, "in no class": 1})
    assert "left out (hidden: 1, in no class: 1)" in (out / "report.html").read_text(encoding="utf-8")
    assert set(found["dataset"]["negative"] + found["dataset"]["positive"]) == {
        printable(os.fsdecode(c)) for c in CLASSES
    }
    first = stdout.kept.getvalue().decode().splitlines()[0]
    assert first.startswith("data: image folder")
    assert r"caf\xe9" in first
    assert r"a\nb\x1b[31m" in first
    assert "<script" not in (out / "report.html").read_text(encoding="utf-8")
    json.loads((out / "report.json").read_bytes().decode("ascii")).__str__().encode("utf-8")  # no lone surrogate
    assert ran(out, io.StringIO(), sys.stderr, [*words, "--resume"]) == 0
    for name in (os.fsdecode(b"caf\xe9"), r"caf\xe9"):
        chosen = validation.data.load_dataset(data, classes=f"{name}:{'x' * 200}")
        assert (chosen.negative, len(chosen.y)) == ((r"caf\xe9",), 8)


# Figures


def test_a_page_names_the_figures_that_are_missing() -> None:
    data = report("digits") | {"figures_missing": {"spectrum": "ValueError: a < b & more"}}
    html = render_html(data, {"symmetry": PNG})
    assert "<strong>Figures missing.</strong>" in html
    assert "<code>spectrum</code>: ValueError: a &lt; b &amp; more" in html
    assert "Figures missing" not in render_html(report("digits"), {"symmetry": PNG})
    assert "Figures missing" in render_html(data)


def failing(_: Any) -> Any:
    raise ZeroDivisionError("no\nink")


FAILURES: dict[str, Callable[[], Any]] = {
    "one figure": lambda: {"good": figures.symmetry, "bad": failing},
    "matplotlib itself": lambda: __import__("no_such_library"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_figure_that_fails_ends_nothing(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = deepcopy(report("first epoch only"))
    finishing.finish(tmp_path, "report", data, FAILURES[kind], render_html)
    name, reason = (
        ("bad", "ZeroDivisionError: no ink") if kind == "one figure" else (finishing.EVERY, "No module named")
    )
    kept = json.loads((tmp_path / "report.json").read_bytes())
    assert list(kept["figures_missing"]) == [name]
    assert reason in kept["figures_missing"][name]
    assert reason in (tmp_path / "report.html").read_text(encoding="utf-8")
    err = capsys.readouterr().err
    assert err.startswith(f"figures missing: {name} (")
    assert err.count("\n") == 1
    assert [p.stem for p in tmp_path.glob("figures/*")] == (["good"] if kind == "one figure" else [])


def test_figures_that_cannot_be_saved_are_in_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "figures").write_text("a file in the way")
    data = deepcopy(report("first epoch only"))
    finishing.finish(tmp_path, "report", data, lambda: {"symmetry": figures.symmetry}, render_html)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64," in html
    assert "Figures missing" not in html
    assert list(json.loads((tmp_path / "report.json").read_bytes())["figures_missing"]) == ["symmetry"]
    assert "figures missing: symmetry (" in capsys.readouterr().err


def test_the_report_is_on_disk_before_anything_is_drawn(tmp_path: Path) -> None:
    def look() -> Any:
        assert json.loads((tmp_path / "report.json").read_bytes())["epochs"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finishing.finish(tmp_path, "report", deepcopy(report("digits")), look, render_html)


def test_a_run_with_a_figure_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "validation.compare.figures.registry.FIGURES", {"symmetry": figures.symmetry, "spectrum": failing}
    )
    stderr = io.StringIO()
    assert ran(tmp_path / "run", io.StringIO(), stderr) == 0
    assert list(complete(tmp_path / "run")["figures_missing"]) == ["spectrum"]
    assert "spectrum (ZeroDivisionError: no ink)" in stderr.getvalue()
    with pytest.raises(ZeroDivisionError):
        figures.save_all(tmp_path / "run", tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["symmetry.png"]


def test_densities_that_are_0_or_negative_are_drawn() -> None:
    """A log axis has no room for them: limits come from what is above 0."""
    data = deepcopy(report("first epoch only"))
    for epoch in data["epochs"]:
        for made in epoch["predictions"].values():
            made["density"] = [-0.01 if i % 3 else 0.0 for i in range(len(made["density"]))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = figures.spectrum(data)
        picture(figures.spectrum, data)
    low, high = fig.axes[0].get_ylim()
    assert 0 < low < high < np.inf


RC = {
    "text.usetex": True, "font.family": ["No Such Font"], "font.sans-serif": ["Neither"], "savefig.dpi": 1,
    "savefig.bbox": "tight", "savefig.transparent": True, "savefig.format": "svg", "axes.grid": False,
    "lines.linewidth": 9.0, "mathtext.fontset": "stix", "figure.facecolor": "red", "savefig.facecolor": "red",
    "xtick.labelsize": 40, "figure.autolayout": True, "axes.unicode_minus": False, "text.parse_math": False,
    "axes.formatter.limits": (0, 0), "figure.constrained_layout.h_pad": 2.0, "interactive": True,
}  # fmt: skip


@pytest.mark.parametrize("name", ["order_parameter", pytest.param("spectrum", marks=pytest.mark.slow)])
def test_a_users_matplotlibrc_has_no_part_in_the_figures(name: str) -> None:
    """Pixel for pixel, also where the figure is saved by the user, under the user's settings for saving."""
    data = report("digits")
    expected = picture(figures.FIGURES[name], data)
    buffers = [io.BytesIO(), io.BytesIO()]
    figures.FIGURES[name](data).savefig(buffers[0], format="png", dpi=80)
    with mpl.rc_context(RC):
        before = dict(mpl.rcParams)
        assert picture(figures.FIGURES[name], data) == expected
        assert dict(mpl.rcParams) == before
        drawn = figures.FIGURES[name](data)
        saving = {key: mpl.rcParamsDefault[key] for key in RC if key.startswith("savefig.")}
        with mpl.rc_context(saving):
            drawn.savefig(buffers[1], format="png", dpi=80)
    first, second = (np.asarray(Image.open(buffer)) for buffer in buffers)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("backend", ["TkAgg", "nonsense"])
def test_a_backend_of_the_users_has_no_part_either(backend: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['-m']; sys.orig_argv = ['python', '-m', 'validation.compare'];"
        "import validation; from validation import figures; import matplotlib; print(matplotlib.get_backend())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"MPLBACKEND": backend},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip().lower() == "agg"


# Exit statuses


UNEXPECTED = [
    RuntimeError("boom"),
    KeyError("x"),
    AssertionError(),
    ValueError("shapes differ"),
    np.linalg.LinAlgError("singular"),
    AttributeError("\udce9"),
]


@pytest.mark.parametrize("error", UNEXPECTED)
def test_an_unexpected_error_has_a_status_of_its_own(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: None
) -> None:
    """Its traceback stays in the run's folder until the next job there; the run can be gone on with."""

    def fail(*_: Any) -> None:
        raise error

    stderr = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("validation.compare.single.measure", fail)
        assert ran(tmp_path / "run", io.StringIO(), stderr) == 70
    kept = tmp_path / "run" / "umwelt-traceback.txt"
    assert stderr.getvalue().count("\n") == 1
    assert f"unexpected error, please report it ({type(error).__name__}" in stderr.getvalue()
    assert f"its traceback is in {kept}" in stderr.getvalue()
    assert "Traceback (most recent call last)" in kept.read_text(encoding="utf-8")
    assert ran(tmp_path / "run", io.StringIO(), stderr, [*TINY, "--resume"]) == 0
    assert not kept.exists()


def test_an_unexpected_error_leaves_a_new_folder_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr("validation.exact.job._compute", fail)
    for _ in range(2):
        stderr = io.StringIO()
        with redirect_stderr(stderr):
            assert exact_main(["--out", str(tmp_path / "run")]) == 70
        assert os.listdir(tmp_path / "run") == ["umwelt-traceback.txt"]


@pytest.mark.parametrize("error", [MemoryError("too much"), OSError(28, "full"), StorageError("no folder")])
def test_what_the_machine_lacks_is_status_2(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("validation.compare.single.measure", fail)
    assert ran(tmp_path / "run", io.StringIO(), io.StringIO()) == 2


def test_before_a_folder_is_held_the_traceback_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise TypeError("odd")

    monkeypatch.setattr("validation.compare.single.prepare", fail)
    monkeypatch.setattr(command.tempfile, "tempdir", str(tmp_path))
    mine = tmp_path / "mine"
    mine.mkdir()
    assert ran(mine, io.StringIO(), io.StringIO()) == 70
    assert os.listdir(mine) == []
    assert len(list(tmp_path.glob("umwelt-traceback-*.txt"))) == 1


def test_an_error_during_the_imports_is_not_status_1(tmp_path: Path) -> None:
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("raise OSError('libraries do not fit')")
    done = run_elsewhere(tmp_path, "-m", "validation.compare", "--help", TMPDIR=str(tmp_path))
    assert done.returncode == 70
    assert done.stderr.count("\n") == 1
    assert "unexpected error, please report it (OSError: libraries do not fit)" in done.stderr


def test_a_platform_without_such_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows has none, and opens no folder: that is said, and the folder is used."""

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("validation.run.folder.fcntl", None)
    monkeypatch.setattr("validation.run.folder.os.open", refuse)
    with locked(tmp_path):
        assert held() == tmp_path
    assert "cannot be locked" in capsys.readouterr().err


# Packages of the same name


def run_elsewhere(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in another folder, which it looks through before this one."""
    names = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=names, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["backends", "simulator", "theory"])
@pytest.mark.parametrize("form", ["file", "package"])
def test_what_is_in_the_way_is_named(name: str, form: str, tmp_path: Path) -> None:
    place = tmp_path / (f"{name}.py" if form == "file" else name)
    if form == "file":
        place.write_text("mine = 1")
    else:
        place.mkdir()
        (place / "__init__.py").write_text("from .core import mine")
    done = run_elsewhere(tmp_path, "-m", "validation.compare", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"validation.compare: '{place}' is in the way of Umwelt's package {name!r}")
    assert done.stderr.count("\n") == 1
    assert "PYTHONSAFEPATH=1" in done.stderr


def test_folders_without_python_do_no_harm_and_imports_are_checked_too(tmp_path: Path) -> None:
    for name in ("backends", "simulator", "theory", "validation"):
        (tmp_path / name).mkdir()
    assert run_elsewhere(tmp_path, "-c", "import validation; validation.load_weights").returncode == 0
    (tmp_path / "theory" / "__init__.py").write_text("")
    refused = run_elsewhere(tmp_path, "-c", "import validation")
    assert f"ImportError: '{tmp_path / 'theory'}' is in the way" in refused.stderr


def test_another_distribution_in_our_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two distributions with a package of one name write over each other."""
    for name in ("backends", "simulator", "theory"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("class Simulator: pass")
    monkeypatch.setattr("validation.run.origin.HOME", tmp_path)
    monkeypatch.setattr("validation.run.origin._found", lambda name: tmp_path / name / "__init__.py")
    with pytest.raises(ImportError, match="another distribution has put its file there"):
        validation.run.origin.check_packages()


def test_pages_and_lines_without_surrogates() -> None:
    text = page("caf\udce9 \x00", "k", [Markup("<p>a\nb\x1b</p>")])
    assert "caf\\xe9 \\x00" in text
    assert "<p>a\nb\\x1b</p>" in text
    stdout = SimpleNamespace(encoding="no-such-encoding", write=lambda line: lines.append(line), flush=lambda: None)
    lines: list[str] = []
    with redirect_stdout(stdout):  # type: ignore[type-var]
        say("≤")
    assert lines == ["\\u2264\n"]
