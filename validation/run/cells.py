"""Finished parts of a long run, a file each: whatever ends the run, what was finished stays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from validation.errors import StorageError

from .cluster import cluster, completed, default_workers
from .console import Stage, say
from .folder import make_folder
from .storage import write_atomic

CELL_FORMAT = 1
Cell = dict[str, Any]


def sealed(body: bytes) -> bytes:
    """JSON of two members: the SHA-256 of the bytes of the second, and that one, the JSON text `body`."""
    return b'{"sha256": "%s", "cell": %s}\n' % (hashlib.sha256(body).hexdigest().encode(), body)


def opened(text: bytes) -> Any:
    """What `sealed` made the text of; `ValueError` where a byte differs."""
    body = text[len(sealed(b"")) - 2 : -2]
    if text != sealed(body):
        raise ValueError("the checksum does not fit the text")
    return json.loads(body)


class CellStore:
    """DIR/cells: one file per finished cell, with the options that it was made with and a checksum.

    A file is there whole or not at all. `options` are those that decide a cell's content, not which cells there are:
    a grid may grow, and what it has already is kept.
    """

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        self.root, self.options = Path(root), dict(options)
        self.folder = self.root / "cells"

    def open(self, resume: bool) -> None:
        """Make the folder; `StorageError` where it holds something and `resume` is not set, or cannot be written."""
        make_folder(self.root, self.folder.name)
        held = any(self.folder.iterdir()) or any(p != self.folder for p in self.root.iterdir())
        if held and not resume:
            raise StorageError(f"--out {self.root} is not empty: add --resume to go on with it, or name another folder")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def save(self, name: str, result: Mapping[str, Any]) -> None:
        """Write a finished cell; `StorageError` where the folder has gone or the disk is full."""
        content = {"format": CELL_FORMAT, "name": name, "options": self.options, "result": result}
        text = sealed(json.dumps(content, allow_nan=False).encode())
        write_atomic(self.path(name), lambda stream: stream.write(text))

    def load(self, name: str) -> Cell | None:
        """The cell's result; None where there is none, or its file is damaged and the cell must be made again.

        `StorageError` where it is whole but of a run with other options.
        """
        try:
            content = opened(self.path(name).read_bytes())
        except (OSError, ValueError):
            return None
        if content["format"] != CELL_FORMAT or content["name"] != name:
            return None
        options = content["options"]
        differing = sorted(k for k in {*self.options, *options} if options.get(k) != self.options.get(k))
        if differing:
            raise StorageError(
                f"--out {self.root} holds another run ({name} differs in {', '.join(differing)}): name another folder"
            )
        kept: Cell = content["result"]
        return kept


def finished_cells(
    store: CellStore,
    tasks: Mapping[str, Sequence[Any]],
    measure: Callable[..., Cell],
    line: Callable[[Cell], str],
    *,
    workers: int | None,
    scheduler: str | None,
    unit: str = "cells",
) -> dict[str, Cell]:
    """Every cell by its name: those on disk, and the others made now, ``measure(*arguments)`` of each task on Dask.

    A cell is written as it is finished, and `line` says in words what it holds.
    """
    found = {name: cell for name in tasks if (cell := store.load(name)) is not None}
    missing = {name: arguments for name, arguments in tasks.items() if name not in found}
    say(f"{unit}: {len(tasks)}, of which {len(found)} are on disk")
    if missing:
        count = min(workers or default_workers(), len(missing)) if scheduler is None else None
        progress = Stage(unit, len(tasks), unit, len(found))
        with progress, cluster(count, scheduler) as client:
            for name, cell in completed(client, measure, missing):
                store.save(name, cell)
                found[name] = cell
                progress.update()
                say(f"{len(found):>4} of {len(tasks)}  {line(cell)}")
    return {name: found[name] for name in tasks}
