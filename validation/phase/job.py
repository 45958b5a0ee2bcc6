"""`python -m validation.phase`: the plasticity phase diagram, a network for every (width, examples, seed), on Dask.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``phase(widths=(4, 8), examples=(100, 400), seeds=(0, 1, 2), out="runs/phase")``, options as on the command line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from backends import get_backend
from validation.data import load_dataset
from validation.data.labels import LABELS
from validation.errors import OptionError
from validation.report.finished import FinishedRun
from validation.report.write import finish
from validation.run.cells import CellStore
from validation.run.cluster import check_cluster, cluster, completed, default_workers
from validation.run.console import Stage, say
from validation.run.environment import environment, package_version
from validation.run.folder import locked
from validation.run.storage import REPORT_SCHEMA
from validation.statistics.distances import LEAST_ETA

from .cell import CellOptions, Record, cell_name, measure_cell
from .summary import agreement, diagram, edge, failed_facts

DEFAULTS: dict[str, Any] = {
    "widths": (2, 4, 6, 8, 16, 32),
    "examples": (50, 100, 200, 400, 800, 1400),
    "seeds": (0, 1, 2),
    "updates": 6000,
}
QUICK: dict[str, Any] = {"widths": (2, 4, 8), "examples": (50, 200), "seeds": (0, 1), "updates": 1000}


@dataclass(frozen=True)
class PhaseOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    # A diagram grows in its folder by more widths, examples and seeds.
    ELSEWHERE = ("out", "resume", "workers", "scheduler", "widths", "examples", "seeds")

    LEAST = {"depth": 2, "updates": 1, "batch_size": 1, "probes": 2, "steps": 2, "prediction_examples": 1}  # noqa: RUF012

    widths: Sequence[int] | None = None
    examples: Sequence[int] | None = None
    seeds: Sequence[int] | None = None
    updates: int | None = None  # type: ignore[assignment]
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> PhaseOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self, **{k: v for k, v in given.items() if getattr(self, k) is None}, out=self.folder("phase"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name, least in (("widths", 1), ("examples", 2), ("seeds", 0)):
            values = tuple(getattr(self, name))
            if not values or any(v < least for v in values) or len(set(values)) < len(values):
                text = ",".join(map(str, values))
                raise OptionError(f"--{name} {text}: expected different integers >= {least}, at least one")
        if self.labels not in LABELS:
            raise OptionError(f"--labels {self.labels!r}: expected one of {', '.join(LABELS)}")
        for name in ("learning_rate", "eta", "prediction_seconds"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise OptionError(f"--{name.replace('_', '-')} {getattr(self, name)!r}: expected a number > 0")
        if self.eta < LEAST_ETA:
            raise OptionError(f"--eta {self.eta!r}: expected at least {LEAST_ETA:g}, in units of the rms")
        if not 0 <= self.momentum < 1:
            raise OptionError(f"--momentum {self.momentum!r}: expected a number in [0, 1)")

    @property
    def cell_options(self) -> Record:
        """What decides the content of a cell."""
        return {f.name: getattr(self, f.name) for f in fields(CellOptions)}

    @property
    def tasks(self) -> dict[str, tuple[int, int, int]]:
        """(width, examples, seed) of every cell by its name, the longest first: the end then keeps all workers busy."""
        grid = [(n, m, s) for n in self.widths or () for m in self.examples or () for s in self.seeds or ()]
        return {cell_name(*place): place for place in sorted(grid, key=lambda p: (-p[0] * p[1], p[2]))}

    def record(self) -> Record:
        """For the report."""
        values = asdict(self)
        for name in ("out", "resume", "workers", "scheduler"):
            values.pop(name)
        return {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}


class PhaseReport(FinishedRun):
    """A finished diagram: ``data`` is the content of phase.json, ``path`` the folder it stands in."""

    KIND = "phase"
    PICTURE = ("phase", "risk, spectrum and predictions over widths and examples")

    @property
    def failed_facts(self) -> list[str]:
        """Exact facts that did not hold; anything here is a bug."""
        return failed_facts(self.data["cells"])


def phase(**options: Any) -> PhaseReport:
    """Measure every cell that is not on disk yet; write phase.json, phase.html and figures/phase.png to `out`.

    Options as `PhaseOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish, so that nothing but unfinished
    ones is lost by whatever ends the run.
    """
    chosen = PhaseOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    get_backend(chosen.backend, "float64")
    source = _source(chosen)
    store = CellStore(chosen.folder(), chosen.cell_options)
    store.open(chosen.resume)
    begun = time.perf_counter()
    say(f"data: {source}")
    with locked(Path(chosen.folder())):
        cells = _cells(chosen, store)
        data = _report(chosen, cells, source)
        data["seconds"] = {"total": round(time.perf_counter() - begun, 2)}
        data["seconds"]["cells_cpu"] = round(sum(c["cpu_seconds"] for c in cells), 2)
        _write(Path(chosen.folder()), data)
    return PhaseReport(data, Path(chosen.folder()))


def _source(options: PhaseOptions) -> str:
    """Where the data come from; `DataError` where the largest cell asks for more than there is."""
    most = max(options.examples or ())
    source = load_dataset(options.data, options.data_root, options.classes, most, 1, dtype="float64").source
    return f"{source} (the largest cells)"


def _cells(options: PhaseOptions, store: CellStore) -> list[Record]:
    """All cells of the grid in the order of the grid: those on disk, and those computed now."""
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
    return [found[cell_name(n, m, s)] for n in options.widths or () for m in options.examples or ()
            for s in options.seeds or ()]  # fmt: skip


def _line(cell: Record, done: int, total: int) -> str:
    risk = "-" if cell["risk"] is None else f"{cell['risk']:.3g}"
    return (
        f"cell {done:>4} of {total}  width {cell['width']:>4}  examples {cell['examples']:>6}  seed {cell['seed']:>3}  "
        f"risk {risk:>8}  {cell['outcome']:<8}  ({cell['cpu_seconds']:.1f} s)"
    )


def _report(options: PhaseOptions, cells: list[Record], source: str) -> Record:
    rows = diagram(cells)
    backend = get_backend(options.backend, "float64")
    return {
        "schema": REPORT_SCHEMA,
        "kind": "phase",
        "version": package_version("umwelt-dnn"),
        "options": options.record(),
        "dataset": source,
        "backend": {"name": backend.name, "dtype": backend.dtype},
        "environment": environment() | {"dask": package_version("distributed")},
        "diagram": rows,
        "edge": edge(rows),
        "predicted_edge": edge(rows, "predicted_zero"),
        "agreement": agreement(rows),
        "cells": cells,
    }


def _write(folder: Path, data: Record) -> None:
    from .page import render_phase

    finish(folder, "phase", data, _figures, render_phase)


def _figures() -> Mapping[str, Callable[[Any], Any]]:
    from .figures import FIGURES

    return FIGURES
