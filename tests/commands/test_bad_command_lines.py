"""Any words on any command line, and any damage to a run that is resumed: one line and its exit status, or the job.

Where the job itself would begin it is stopped as by Ctrl-C, so that what was accepted shows as exit status 130; a few
small jobs are done in full.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from simulator import mlp
from support.bad_input import TALLY, check_sentence, damaged, damages, explore, judged, table
from validation.compare.__main__ import main as compare_main
from validation.interchange import save_weights

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
COUNTS = [25, pytest.param(300 if REDUCED else 5000, marks=pytest.mark.slow)]
PROGRAMS = {
    "compare": "compare.single._train_and_measure",
    "exact": "exact.job._compute",
    "bounds": "bounds.job._compute",
    "ladder": "ladder.job._compute",
    "maxent": "maxent.job._compute",
    "gates": "gates.job._cells",
    **dict.fromkeys(
        ("phase", "capacity", "novel", "stationary", "chaos", "scales", "temperature"),
        "report.experiment.finished_cells",
    ),
}
WORDS = [
    "", " ", "0", "1", "2", "-1", "-0", "3.5", "1e3", "1e999", "-1e-999", "nan", "inf", "-inf", "abc", "9" * 40,
    "9" * 5000, "1,2", "2,1", "1,1", ",", "1,", "0,1,-2", ":", "0:1", "1:0", "0:0", "a:b", "0,1:2,3", "0:1:2", "٣",
    "1_0", "0x10",
    "é", "x" * 300, "/dev/null", "/proc/self/mem", "/", ".", "..", "~", "no-such-file", "digits", "auto", "cifar10",
    "numpy", "numba", "cupy", "jax", "float16", "float32", "hinge", "logistic", "mlp:", "mlp:8", "mlp:8x", "mlp:0",
    "mlp:-3", "mlp:8x8x8", "mlp:" + "9" * 30, "mlp:1e3", "vgg12", "vgg12:0", "vgg12:nan", "vgg12:1e9", "seq:",
    "seq:conv8", "seq:dense8,pool", "seq:pool,dense4", "seq:conv0,dense1", "R5", "R5,R6", "R9", "posterior", "w.pt",
    "w.npz",
    "true", "random,true", "broken.pt", "folder",
]  # fmt: skip


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few files to name, in which nothing but new folders may appear."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("validation.compare.single.bound_claims", lambda *_: [])
    network = mlp([64, 8, 1])
    save_weights("w.pt", network, network.init(0))
    save_weights("w.npz", network, network.init(0))
    Path("broken.pt").write_bytes(Path("w.pt").read_bytes()[:300])
    Path("folder").mkdir()
    return tmp_path


def status_of(main: Callable[[list[str]], int], words: list[str]) -> int:
    """The exit status, after what is printed was checked: on failure one line of stderr, no traceback."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    said = err.getvalue()
    if status in (2, 3, 130):
        assert said.endswith("\n")
        check_sentence(said.rstrip("\n"))
    else:
        assert said == "", said
    return status


def options_of(program: str) -> dict[str, bool]:
    """The options of a program, and whether each takes a value."""
    parser = importlib.import_module(f"validation.{program}.__main__").parser()
    actions = [a for a in parser._actions if a.option_strings[0] not in ("-h", "--help")]
    return {a.option_strings[-1]: a.nargs != 0 for a in actions}


@pytest.mark.parametrize("examples", COUNTS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_any_words(program: str, examples: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"validation.{PROGRAMS[program]}", begin)
    main = importlib.import_module(f"validation.{program}.__main__").main
    names = options_of(program)
    value = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    one = st.sampled_from(sorted(names)).flatmap(lambda n: st.tuples(st.just(n), value if names[n] else st.none()))

    def check(chosen: list[tuple[str, str | None]], extra: list[str], equals: bool) -> None:
        shutil.rmtree(workplace / "runs", ignore_errors=True)
        words = ["--out", "runs/fuzz"]
        for name, word in chosen:
            if name == "--out" and word in ("", ".", "..", "/", "~", "folder"):
                continue  # real folders that the test would write to
            words += [name] if word is None else [f"{name}={word}"] if equals else [name, word]
        judged(f"command line: {program}", status_of(main, words + extra), accepted=(130,))

    rest = st.lists(st.sampled_from(["--nothing", "stray", "--", "--seed", "-x"]), max_size=1)
    explore(check, examples, st.lists(one, max_size=4), rest, st.booleans())


def small(**options: Any) -> list[str]:
    """A job of a second or less."""
    base = {
        "backend": "numpy", "data": "digits", "network": "mlp:3", "examples": 40, "spectrum_examples": 10, "epochs": 1,
        "steps": 4, "probes": 1, "prediction_seconds": 0.01, "out": "runs/small",
    }  # fmt: skip
    return [w for name, value in (base | options).items() for w in (f"--{name.replace('_', '-')}", str(value))]


EXTREMES = {
    "eta": ["1e-300", "1e-12", "1e12", "1e300"], "learning_rate": ["1e-300", "1e3", "1e300"],
    "momentum": ["0", "0.999999"],
    "probes": ["2", "70"], "steps": ["2", "300"], "batch_size": ["1", "39", "1000000000"], "seed": ["9" * 30],
    "examples": ["2", "3"], "loss": ["logistic", "squared"], "dtype": ["float32"],
    "network": ["mlp:1", "mlp:1x1x1x1x1"],
    "prediction_seconds": ["1e-300", "1e300"], "prediction_examples": ["1", "9999"], "weights": ["w.npz"],
    "classes": ["0:1", "0,1,2:9"], "record": ["0", "1", "0,1"],
}  # fmt: skip


@pytest.mark.parametrize("examples", [2, pytest.param(10 if REDUCED else 150, marks=pytest.mark.slow)])
def test_small_jobs_with_extreme_options(examples: int, workplace: Path, plain: None) -> None:
    """Done (0), refused (2) or diverged (3), never an exact fact that fails; the report holds no NaN."""
    one = st.sampled_from(sorted(EXTREMES)).flatmap(lambda n: st.tuples(st.just(n), st.sampled_from(EXTREMES[n])))

    def check(chosen: dict[str, str]) -> None:
        shutil.rmtree(workplace / "runs", ignore_errors=True)
        status = status_of(compare_main, small(spectrum_examples=2, **chosen))
        judged("small jobs", status)
        if status == 0:
            text = Path("runs/small/report.json").read_text()
            json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in a report"))

    explore(check, examples, st.lists(one, max_size=3).map(dict))


@pytest.mark.parametrize("examples", [15, pytest.param(100 if REDUCED else 1500, marks=pytest.mark.slow)])
def test_damaged_runs_are_not_gone_on_with(
    examples: int, workplace: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report or checkpoint that was damaged is refused, or says the same as before."""
    assert status_of(compare_main, small()) == 0
    shutil.copytree("runs/small", "kept")
    report = Path("runs/small/report.json")
    files = ["report.json", "checkpoints/epoch-0001.npz"]
    before = json.loads(report.read_text())

    def check(damage: list[tuple[str, float, int]], file: str) -> None:
        shutil.rmtree("runs/small")
        shutil.copytree("kept", "runs/small")
        place = Path("runs/small") / file
        place.write_bytes(damaged(place.read_bytes(), damage))
        status = status_of(compare_main, [*small(), "--resume"])
        judged(f"resumed: {Path(file).suffix[1:]} damaged", status)
        assert status == 2 or json.loads(report.read_text())["epochs"] == before["epochs"]

    explore(check, examples, damages(), st.sampled_from(files))


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a nest of dictionaries and lists, the first few of a list."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from mutations(inner, (*path, key))


def replaced(data: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = data.copy()
    changed[path[0]] = replaced(data[path[0]], path[1:], new)
    return changed


@pytest.mark.parametrize("examples", [20, pytest.param(150 if REDUCED else 3000, marks=pytest.mark.slow)])
def test_reports_that_say_something_else(examples: int, workplace: Path, plain: None) -> None:
    """Other types, other numbers, deep nests: a report that was changed by hand is refused when it is gone on with."""
    assert status_of(compare_main, small()) == 0
    path = Path("runs/small/report.json")
    data = json.loads(path.read_text())
    places = list(mutations(data))
    others = st.sampled_from([None, True, 0, -1, 1e308, "", "nan", [], {}, [[]], [None], {"a": 1}, 10**400])

    def check(place: tuple[Any, ...], new: Any) -> None:
        changed = replaced(data, place, new)
        if changed == data:
            return
        path.write_text(json.dumps(changed))
        judged("report.json changed", status_of(compare_main, [*small(), "--resume"]), accepted=())

    explore(check, examples, st.sampled_from(places), others)
    for content in (b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b"", b"NaN", b"9" * 100_000):
        path.write_bytes(content)
        judged("report.json changed", status_of(compare_main, [*small(), "--resume"]), accepted=())


def test_the_tally(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table()}")
    assert TALLY
