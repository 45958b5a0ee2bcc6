"""Cells on disk: whole or not there, kept by a run with the same options only."""

from __future__ import annotations

from pathlib import Path

import pytest

from validation.errors import StorageError
from validation.run.cells import CellStore

OPTIONS = {"depth": 3, "rate": 0.01}
RESULT = {"risk": 0.1 + 0.2, "records": [{"rms": 1e-300, "l1": None}]}


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    made = CellStore(str(tmp_path / "run"), OPTIONS)
    made.open(resume=False)
    return made


def test_a_cell_comes_back_as_it_was(store: CellStore) -> None:
    assert store.load("a") is None
    store.save("a", RESULT)
    assert store.load("a") == RESULT
    assert [p.name for p in store.folder.iterdir()] == ["a.json"]


def test_every_damaged_byte_is_seen(store: CellStore) -> None:
    store.save("a", RESULT)
    whole = store.path("a").read_bytes()
    for i in range(len(whole)):
        store.path("a").write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        assert store.load("a") is None, whole[i : i + 10]
    for part in (b"", whole[: len(whole) // 2], b"[]", b'{"sha256": 3}'):
        store.path("a").write_bytes(part)
        assert store.load("a") is None


def test_a_cell_under_another_name_is_not_taken(store: CellStore) -> None:
    store.save("a", RESULT)
    store.path("a").rename(store.path("b"))
    assert store.load("b") is None


def test_cells_of_other_options_are_refused(store: CellStore) -> None:
    store.save("a", RESULT)
    for options in ({"depth": 4, "rate": 0.01}, {"depth": 3}, OPTIONS | {"more": 1}):
        with pytest.raises(StorageError, match=r"another run \(a differs in (depth|rate|more)\)"):
            CellStore(str(store.root), options).load("a")


def test_numbers_that_json_does_not_have_are_refused(store: CellStore) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.save("a", {"risk": float("nan")})
    assert list(store.folder.iterdir()) == []


def test_a_folder_with_something_in_it_needs_resume(store: CellStore, tmp_path: Path) -> None:
    CellStore(str(store.root), OPTIONS).open(resume=False)  # nothing was finished yet
    store.save("a", RESULT)
    with pytest.raises(StorageError, match="add --resume"):
        CellStore(str(store.root), OPTIONS).open(resume=False)
    CellStore(str(store.root), OPTIONS).open(resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file is in the way"):
        CellStore(str(tmp_path / "file"), OPTIONS).open(resume=True)


def test_a_folder_that_has_gone_is_said(store: CellStore) -> None:
    store.folder.rmdir()
    with pytest.raises(StorageError, match="cannot be written"):
        store.save("a", RESULT)
