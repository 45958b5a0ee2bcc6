"""`python -m validation.novel`: networks trained to risk 0 and shown novel examples, on Dask, a cell for each network.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``novel(widths=(16, 64), seeds=(0, 1, 2), out="runs/novel")``, options as on the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backends import get_backend
from simulator.network.text import network_from_text
from validation.errors import OptionError
from validation.report.finished import FinishedRun
from validation.report.write import finish
from validation.run.cells import CellStore
from validation.run.cluster import check_cluster, cluster, completed, default_workers
from validation.run.console import Stage, say
from validation.run.environment import environment, package_version
from validation.run.folder import locked
from validation.run.storage import REPORT_SCHEMA
from validation.statistics.claim import failed

from .cell import Record, cell_name, measure_cell, network_text, portions_of
from .claims import judge
from .options import NovelOptions
from .summary import rested, table


class NovelReport(FinishedRun):
    """A finished run: ``data`` is the content of novel.json, ``path`` the folder it stands in."""

    KIND = "novel"
    PICTURE = ("novel", "risk, order parameter, spectrum and circuits as novel examples are shown")

    @property
    def failed_checks(self) -> list[str]:
        """Exact statements that did not hold; anything here is a bug."""
        return failed(self.data["checks"])


def novel(**options: Any) -> NovelReport:
    """Measure every cell that is not on disk yet; write novel.json, novel.html and figures/*.png to `out`.

    Options as `NovelOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish, so that nothing but unfinished
    ones is lost by whatever ends the run.
    """
    chosen = NovelOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    source, dtype = _source(chosen)
    store = CellStore(chosen.folder(), chosen.cell_options)
    store.open(chosen.resume)
    begun = time.perf_counter()
    say(f"data: {source}")
    with locked(Path(chosen.folder())):
        cells = _cells(chosen, store)
        data = _report(chosen, cells, source, dtype)
        data["seconds"] = {"total": round(time.perf_counter() - begun, 2)}
        data["seconds"]["cells_cpu"] = round(sum(c["cpu_seconds"] for c in cells), 2)
        _write(Path(chosen.folder()), data)
    return NovelReport(data, Path(chosen.folder()))


def _source(options: NovelOptions) -> tuple[str, str]:
    """Where the data come from, and their precision; an error where data or a network cannot be had."""
    portions = portions_of(options, (options.seeds or (0,))[0])
    x = portions.first.x
    get_backend(options.backend, str(x.dtype))
    for width in options.widths or ():
        try:
            network_from_text(network_text(options.network, width), x.shape[1:])
        except ValueError as error:
            raise OptionError(f"--network {options.network} --widths {width:g}: {error}") from None
    return portions.source, str(x.dtype)


def _cells(options: NovelOptions, store: CellStore) -> list[Record]:
    """All cells in the order of widths and seeds: those on disk, and those computed now."""
    tasks = options.tasks
    found = {name: cell for name in tasks if (cell := store.load(name)) is not None}
    missing = {name: place for name, place in tasks.items() if name not in found}
    say(f"cells: {len(tasks)}, of which {len(found)} are on disk")
    if missing:
        workers = min(options.workers or default_workers(), len(missing)) if options.scheduler is None else None
        progress = Stage("cells", len(tasks), "cells", len(found))
        with progress, cluster(workers, options.scheduler) as client:
            arguments = {name: (store.options, *place) for name, place in missing.items()}
            for name, cell in completed(client, measure_cell, arguments):
                store.save(name, cell)
                found[name] = cell
                progress.update()
                say(_line(cell, len(found), len(tasks)))
    return [found[cell_name(n, s)] for n in options.widths or () for s in options.seeds or ()]


def _line(cell: Record, done: int, total: int) -> str:
    first = cell["first"]
    ended = [r["outcome"] for kind in cell["kinds"].values() for r in kind]
    return (
        f"cell {done:>4} of {total}  width {cell['width']:>5g}  seed {cell['seed']:>3}  first risk "
        f"{first['outcome']:<8}  rounds at risk 0: {ended.count('zero')} of {len(ended)}  ({cell['cpu_seconds']:.1f} s)"
    )


def _report(options: NovelOptions, cells: list[Record], source: str, dtype: str) -> Record:
    backend = get_backend(options.backend, dtype)
    return {
        "schema": REPORT_SCHEMA,
        "kind": "novel",
        "version": package_version("umwelt-dnn"),
        "options": options.record(),
        "dataset": source,
        "backend": {"name": backend.name, "dtype": backend.dtype},
        "environment": environment() | {"dask": package_version("distributed")},
        "rested": len(rested(cells)),
        "table": table(cells, options.updates),
        "checks": [claim.record() for claim in judge(cells, options.updates, options.batch_size, backend.dtype)],
        "cells": cells,
    }


def _write(folder: Path, data: Record) -> None:
    from .page import render_novel

    finish(folder, "novel", data, _figures, render_novel)


def _figures() -> Mapping[str, Callable[[Any], Any]]:
    from .figures import FIGURES

    return FIGURES
