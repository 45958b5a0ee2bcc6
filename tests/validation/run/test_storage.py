"""Files of a run: written whole or not at all, read back bit for bit, refused when damaged or foreign."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from support.cases import Array
from support.places import ROOT
from validation.errors import StorageError
from validation.run.directory import CHECKPOINT_FORMAT, Checkpoint, RunDirectory
from validation.run.folder import new_folder
from validation.run.storage import (
    PARTIAL,
    REPORT_SCHEMA,
    arrays_checksum,
    finite_or_none,
    json_checksum,
    read_arrays,
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
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory(str(tmp_path / "runs" / "here")) as directory:
        assert directory.open(IDENTITY, resume=False) is None
        yield directory


def opened(run: RunDirectory, identity: dict[str, Any] = IDENTITY, resume: bool = True) -> Any:
    """What another job finds in the folder once this one has ended."""
    run.__exit__()
    with RunDirectory(str(run.root)) as other:
        return other.open(identity, resume)


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


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EROFS, "writable"), (errno.EACCES, "writable")],
)
@pytest.mark.parametrize("when", ["mkstemp", "fsync"])
def test_a_file_that_cannot_be_written_is_named(
    number: int, remedy: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile if when == "mkstemp" else os, when, fail)
    with pytest.raises(StorageError, match=rf"{path} cannot be written \({os.strerror(number)}\): .*{remedy}"):
        write_atomic(path, partial(_write, b"new"))
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
    data: dict[str, Any] = {"a": [1.5, None, "ρ"]}
    write_json(path, data)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": [bad]})
    assert read_json(path) == json.loads(path.read_text()) == data
    assert set(data) == {"a", "checksum"}
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
    """An npz archive with a right checksum, as far as one can be had."""
    stream, plain = io.BytesIO(), {name: np.asarray(value) for name, value in arrays.items()}
    whole = all(a.dtype != object for a in plain.values())
    checksum = arrays_checksum(plain.items()) if whole else bytes(32)
    np.savez(stream, checksum=np.frombuffer(checksum, dtype=np.uint8), **plain)  # type: ignore[arg-type]
    return stream.getvalue()


def checkpoint(run: RunDirectory, /, **changed: Any) -> bytes:
    """A good checkpoint of epoch 3 but for what is changed, None taken out; under a right checksum."""
    run.save_checkpoint(state())
    good = read_arrays(run.checkpoint_path(3)) | changed
    return archive(**{name: value for name, value in good.items() if value is not None})


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


DAMAGED: dict[str, tuple[Callable[[RunDirectory], bytes], str]] = {
    "empty": (lambda run: b"", "No data left"),
    "text": (lambda run: b"not an archive", "pickle"),
    "a single array": (lambda run: npy(np.zeros(3)), ""),
    "a pickle": (lambda run: pickle.dumps(Trap()), "pickle"),
    "pickled objects": (lambda run: checkpoint(run, weights_0=np.array([Trap(), None], dtype=object)), "allow_pickle"),
    "foreign archive": (lambda run: foreign_zip(), ""),
    "foreign arrays": (lambda run: archive(x=np.zeros(3)), "format"),
    "another format": (lambda run: checkpoint(run, format=CHECKPOINT_FORMAT - 1), "another format"),
    "another epoch": (lambda run: checkpoint(run, epoch=4), "another step or epoch"),
    "another step": (lambda run: checkpoint(run, kind="moments"), "another step or epoch"),
    "another run": (lambda run: checkpoint(run, run="0" * 64), "another run"),
    "no number": (lambda run: checkpoint(run, format="x"), ""),
    "many numbers": (lambda run: checkpoint(run, format=np.ones(2)), ""),
    "a gap": (lambda run: checkpoint(run, weights_0=None), "weights_0"),
    "no velocity": (lambda run: checkpoint(run, velocity_0=None), "velocity_0"),
    "no history": (lambda run: checkpoint(run, history_risk=None), "history_risk"),
}


def refused(run: RunDirectory, content: bytes, reason: str = "") -> None:
    path = run.checkpoint_path(3)
    path.write_bytes(content)
    message = rf"checkpoint .*epoch-0003\.npz cannot be used \(.*{reason}.*\): remove it to do again what it held"
    with pytest.raises(StorageError, match=message):
        run.load_checkpoint(3)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_foreign_or_damaged_checkpoint_is_refused_by_name(name: str, run: RunDirectory) -> None:
    make, reason = DAMAGED[name]
    refused(run, make(run), reason)


def test_a_changed_checkpoint_is_refused_by_its_checksum(run: RunDirectory) -> None:
    """Rewritten as a whole and valid archive, which no checksum of the format would notice."""
    run.save_checkpoint(state())
    with np.load(run.checkpoint_path(3)) as data:
        arrays = {name: data[name] for name in data.files}
    arrays["weights_1"] = np.nextafter(arrays["weights_1"], 1)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    refused(run, stream.getvalue(), "its checksum does not match")


def test_the_inside_of_a_step_comes_back_or_is_refused_by_name(run: RunDirectory) -> None:
    assert run.load_step("lanczos", 5) is None
    run.save_step("lanczos", 5, {"alpha": np.arange(3.0)})
    kept = run.load_step("lanczos", 5)
    assert kept is not None
    assert_array_equal(kept["alpha"], np.arange(3.0))
    run.step_path("lanczos", 5).rename(run.step_path("moments", 5))
    with pytest.raises(StorageError, match=r"moments-0005\.npz cannot be used \(it is of another step or epoch\)"):
        run.load_step("moments", 5)
    run.save_record(5, {"epoch": 5, "risk": 1 / 3})
    assert run.load_record(5) == {"epoch": 5, "risk": 1 / 3}
    text = run.record_path(5).read_text()
    run.record_path(5).write_text(text.replace("0.333", "0.334"))
    with pytest.raises(StorageError, match=r"record-0005\.json cannot be used \(its checksum does not match\)"):
        run.load_record(5)
    run.forget_record(5)
    assert (run.load_record(5), os.listdir(run.checkpoints)) == ({}, [])


def test_states_between_records_make_room_for_newer_ones(run: RunDirectory) -> None:
    for epoch in range(5):
        run.save_checkpoint(state(epoch), {0, 3})
    assert sorted(os.listdir(run.checkpoints)) == ["epoch-0000.npz", "epoch-0003.npz", "epoch-0004.npz"]


def test_a_folder_in_use_is_refused(run: RunDirectory) -> None:
    """By another process or this one, with or without --resume, also for the jobs that want an empty folder."""
    for resume in (False, True):
        with pytest.raises(StorageError, match=f"--out {run.root} is in use by another job"):
            RunDirectory(str(run.root)).open(IDENTITY, resume)
    code = f"from validation.run.folder import new_folder\nwith new_folder({str(run.root)!r}): pass"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr
    assert "is in use by another job" in done.stderr
    folder = str(run.root / "new")
    with new_folder(folder), pytest.raises(StorageError, match="in use"), new_folder(folder):
        pass
    run.__exit__()
    with new_folder(folder):
        assert opened(run, resume=False) is None


def test_what_a_killed_writer_left_is_removed(run: RunDirectory) -> None:
    write_json(run.report_path, report())
    for folder in (run.root, run.checkpoints):
        (folder / f".report.json.abc{PARTIAL}").write_text("half")
    run.save_record(5, {"epoch": 5})
    assert opened(run)["epochs"] == []
    assert not list(run.root.rglob(f"*{PARTIAL}"))
    assert run.record_path(5).exists()


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
        opened(run, resume=False)
    found = opened(run)
    assert found.pop("checksum") == json_checksum(found)
    assert found == report()
    with pytest.raises(StorageError, match=r"holds another run \(it differs in data, seed\): name another folder"):
        opened(run, IDENTITY | {"seed": 1, "data": "cifar10"})
    with pytest.raises(StorageError, match=r"it differs in probes"):
        opened(run, IDENTITY | {"probes": 4})


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoints_of_nobody_are_refused(resume: bool, run: RunDirectory) -> None:
    """Without a report there is no telling whose they are: they must not be trained on."""
    run.save_checkpoint(state())
    with pytest.raises(StorageError, match=f"{run.root} holds checkpoints without a report"):
        opened(run, resume=resume)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"report\.json cannot be read"),
        (b'{"schema": 1, "opt', r"report\.json cannot be read"),
        (b"\xff\xfe\x00", r"report\.json cannot be read"),
        (b"[]", r"report\.json cannot be read \(it holds no object\)"),
        (b"{}", r"report\.json cannot be read \(its checksum does not match\)"),
        (json.dumps(report()).encode(), r"report\.json cannot be read \(its checksum does not match\)"),
        (b"[" * 100_000, r"report\.json cannot be read \(it is nested too deeply\)"),
        (sealed(report(schema=99)), r"report\.json is not a report of schema 1"),
        (sealed(report(options=None)), r"report\.json is not a report of schema 1"),
        (sealed(report(epochs={})), r"report\.json is not a report of schema 1"),
    ],
)
def test_a_report_that_is_none_is_refused(content: bytes, message: str, run: RunDirectory) -> None:
    run.report_path.write_bytes(content)
    with pytest.raises(StorageError, match=message):
        opened(run)
    assert run.report_path.read_bytes() == content


def test_other_files_in_the_folder_are_left_alone(run: RunDirectory) -> None:
    (run.root / "notes.txt").write_text("mine")
    assert opened(run, resume=False) is None
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
        opened(run, resume=False)


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=r"cannot be made \(Permission denied\): name a writable folder"):
        RunDirectory(str(tmp_path / "x")).open(IDENTITY, resume=False)
