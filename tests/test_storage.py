"""Files of a run: written whole or not at all, read back bit for bit, refused when damaged or foreign."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from cases import Array
from numpy.testing import assert_array_equal

from validation.storage import (
    REPORT_SCHEMA,
    Checkpoint,
    RunDirectory,
    StorageError,
    finite_or_none,
    json_checksum,
    read_json,
    write_atomic,
    write_json,
)

IDENTITY = {"seed": 0, "record": [0, 5], "data": "digits", "dtype": None}


def state(epoch: int = 3) -> Checkpoint:
    rng = np.random.default_rng(epoch)
    weights: list[Array] = [rng.standard_normal((3, 3, 2, 4)), rng.standard_normal((5, 1)).astype(np.float32)]
    weights[0][0, 0, 0] = [-0.0, 5e-324, 1 / 3, 1e308]
    history = {"epoch": [1.0, 2.0, 3.0], "risk": [0.1, 1 / 3, 1e-300], "accuracy": [0.5, 0.75, 1.0]}
    return Checkpoint(epoch, weights, [-w for w in weights], history)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(str(tmp_path / "runs" / "here"))
    assert directory.open(IDENTITY, resume=False) is None
    return directory


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def test_an_atomic_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second"):
        write_atomic(path, partial(_write, content))
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError("no")], ids=repr)
def test_a_write_that_fails_keeps_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write(stream: Any) -> None:
        stream.write(b"half of the n")
        raise error

    with pytest.raises(type(error)):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_no_reader_sees_half_a_file(tmp_path: Path) -> None:
    """While the new content is written the path still shows the old one; a file opened before shows it to its end."""
    path, seen = tmp_path / "file", list[bytes]()
    path.write_bytes(b"old")
    opened = path.open("rb")

    def write(stream: Any) -> None:
        stream.write(b"new")
        stream.flush()
        seen.append(path.read_bytes())

    write_atomic(path, write)
    with opened:
        seen.append(opened.read())
    assert seen == [b"old", b"old"]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(bad: float, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"a": [1.5, None, "ρ"]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": [bad]})
    assert json.loads(path.read_text())["a"] == read_json(path)["a"] == [1.5, None, "ρ"]
    assert finite_or_none(bad) is None
    assert finite_or_none(0.5) == 0.5


def same(a: Checkpoint, b: Checkpoint) -> bool:
    """Bit for bit, types included; -0.0 is not 0.0."""
    arrays = zip([*a.weights, *a.velocity], [*b.weights, *b.velocity], strict=True)
    equal = all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in arrays)
    return equal and (a.epoch, a.history) == (b.epoch, b.history)


def test_a_checkpoint_comes_back_bit_for_bit(run: RunDirectory) -> None:
    run.save_checkpoint(state())
    assert same(run.load_checkpoint(3), state())
    assert os.listdir(run.checkpoints) == ["epoch-0003.npz"]
    with np.load(run.checkpoint_path(3), allow_pickle=False) as data:
        assert_array_equal(data["weights_0"], state().weights[0])


@pytest.mark.parametrize("epochs", [[], [0], [9, 10, 2], [10_000, 9999]])
def test_the_newest_checkpoint_is_the_one_of_the_latest_epoch(epochs: list[int], run: RunDirectory) -> None:
    """By number: epoch-10000 comes after epoch-9999."""
    for path in (*map(run.checkpoint_path, epochs), run.checkpoints / "epoch-last.npz"):
        path.touch()
    assert run.last_epoch() == max(epochs, default=None)


def archive(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def foreign_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("format", "1")
        file.writestr("epoch", "3")
    return stream.getvalue()


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


class Trap:
    """Unpickling it runs code."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return sprung, ()


def sprung() -> None:
    pytest.fail("a pickle was loaded")


def _history() -> dict[str, Array]:
    return {f"history_{name}": np.zeros(1) for name in ("epoch", "risk", "accuracy")}


def trapped() -> bytes:
    """Complete and in the right form, except that one array is of pickled objects."""
    known = {"format": np.array(1), "epoch": np.array(3), "velocity_0": np.zeros(2), **_history()}
    return archive(weights_0=np.array([Trap(), None], dtype=object), **known)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not an archive",
    "a single array": lambda: npy(np.zeros(3)),
    "a pickle": lambda: pickle.dumps(Trap()),
    "pickled objects": trapped,
    "foreign archive": foreign_zip,
    "foreign arrays": lambda: archive(x=np.zeros(3)),
    "another format": lambda: archive(format=np.array(2), epoch=np.array(3), **_history()),
    "another epoch": lambda: archive(format=np.array(1), epoch=np.array(4), **_history()),
    "no number": lambda: archive(format=np.array("x"), epoch=np.array(3), **_history()),
    "many numbers": lambda: archive(format=np.ones(2), epoch=np.array(3), **_history()),
    "a gap": lambda: archive(format=np.array(1), epoch=np.array(3), weights_1=np.zeros(2), **_history()),
    "no velocity": lambda: archive(format=np.array(1), epoch=np.array(3), weights_0=np.zeros(2), **_history()),
    "no history": lambda: archive(format=np.array(1), epoch=np.array(3), weights_0=np.ones(1), velocity_0=np.ones(1)),
}


def refused(run: RunDirectory, content: bytes) -> None:
    path = run.checkpoint_path(3)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"checkpoint .*epoch-0003\.npz cannot be used .*: remove it, or start anew"):
        run.load_checkpoint(3)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_foreign_or_damaged_checkpoint_is_refused_by_name(name: str, run: RunDirectory) -> None:
    refused(run, DAMAGED[name]())


def test_a_missing_checkpoint_is_refused_by_name(run: RunDirectory) -> None:
    with pytest.raises(StorageError, match=r"epoch-0009\.npz cannot be used"):
        run.load_checkpoint(9)


def test_every_truncation_is_refused(run: RunDirectory) -> None:
    run.save_checkpoint(state())
    whole = run.checkpoint_path(3).read_bytes()
    for length in {*range(0, len(whole), 29), len(whole) - 1}:
        refused(run, whole[:length])


def test_a_flipped_bit_is_refused_or_harmless(run: RunDirectory) -> None:
    """Every array is under a checksum; what is not (time stamps, permissions) does not matter."""
    run.save_checkpoint(state())
    path, rng = run.checkpoint_path(3), np.random.default_rng(0)
    whole, harmless, messages = path.read_bytes(), 0, list[str]()
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            assert same(run.load_checkpoint(3), state())
            harmless += 1
        except StorageError as error:
            messages.append(str(error))
    assert all(str(path) in message for message in messages)
    assert 0 < harmless < 300


def report(**changed: Any) -> dict[str, Any]:
    return {"schema": REPORT_SCHEMA, "options": dict(IDENTITY), "epochs": []} | changed


def sealed(data: dict[str, Any]) -> bytes:
    return json.dumps(data | {"checksum": json_checksum(data)}).encode()


def test_a_run_is_continued_only_on_request_and_only_the_same(run: RunDirectory) -> None:
    write_json(run.report_path, report())
    with pytest.raises(StorageError, match="holds a run already: add --resume to go on, or name another folder"):
        run.open(IDENTITY, resume=False)
    assert report().items() <= (run.open(IDENTITY, resume=True) or {}).items()
    with pytest.raises(StorageError, match=r"holds another run \(it differs in data, seed\): name another folder"):
        run.open(IDENTITY | {"seed": 1, "data": "cifar10"}, resume=True)
    with pytest.raises(StorageError, match=r"it differs in probes"):
        run.open(IDENTITY | {"probes": 4}, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoints_of_nobody_are_refused(resume: bool, run: RunDirectory) -> None:
    """Without a report there is no telling whose they are: they must not be trained on."""
    run.save_checkpoint(state())
    with pytest.raises(StorageError, match=f"{run.root} holds checkpoints without a report"):
        run.open(IDENTITY, resume)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"report\.json cannot be read"),
        (b'{"schema": 1, "opt', r"report\.json cannot be read"),
        (b"\xff\xfe\x00", r"report\.json cannot be read"),
        (b"[]", r"report\.json cannot be read \(it holds no object\)"),
        (b"{}", r"report\.json cannot be read \(its checksum does not match\)"),
        (b"[" * 100_000, r"report\.json cannot be read \(it is nested too deeply\)"),
        (sealed(report(schema=99)), r"report\.json is not a report of schema 1"),
        (sealed(report(options=None)), r"report\.json is not a report of schema 1"),
        (sealed(report(epochs={})), r"report\.json is not a report of schema 1"),
    ],
)
def test_a_report_that_is_none_is_refused(content: bytes, message: str, run: RunDirectory) -> None:
    run.report_path.write_bytes(content)
    with pytest.raises(StorageError, match=message):
        run.open(IDENTITY, resume=True)
    assert run.report_path.read_bytes() == content


def test_other_files_in_the_folder_are_left_alone(run: RunDirectory) -> None:
    (run.root / "notes.txt").write_text("mine")
    assert run.open(IDENTITY, resume=False) is None
    assert (run.root / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("below", ["", "runs/x", "checkpoints"])
def test_a_file_in_the_way(below: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    blocked = tmp_path / "here" / "checkpoints" if below == "checkpoints" else tmp_path / "file"
    blocked.write_text("mine")
    root = tmp_path / "here" if below == "checkpoints" else blocked / below
    with pytest.raises(StorageError, match="a file is in the way; name a folder that can be made"):
        RunDirectory(str(root)).open(IDENTITY, resume=False)
    assert blocked.read_text() == "mine"


def test_a_read_only_folder(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `os.access` reports it, since permissions do not bind a superuser."""
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (run.root, os.W_OK))
    with pytest.raises(StorageError, match=f"--out {run.root} is read-only: name a writable folder"):
        run.open(IDENTITY, resume=False)


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=r"cannot be made \(Permission denied\): name a writable folder"):
        RunDirectory(str(tmp_path / "x")).open(IDENTITY, resume=False)
