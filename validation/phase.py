"""`python -m validation.phase`: the plasticity phase diagram, a network for every (width, examples, seed), on Dask.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``phase(widths=(4, 8), examples=(100, 400), seeds=(0, 1, 2), out="runs/phase")``, options as on the command line.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from backends import get_backend

from .cells import CellStore
from .cluster import check_cluster, cluster, completed, default_workers
from .command import EXIT_FACT_FAILED, OneLineParser, exit_status, stop
from .console import bar, say
from .data import load_dataset
from .distances import LEAST_ETA
from .finishing import finish
from .job import environment, package_version
from .locking import locked
from .options import seed_list
from .phase_cell import CellOptions, Record, cell_name, measure_cell
from .phase_summary import diagram, edge, failed_facts
from .plain_options import OptionError
from .storage import REPORT_SCHEMA

PROGRAM = "validation.phase"
DEFAULTS: dict[str, Any] = {
    "widths": (2, 4, 6, 8, 16, 32),
    "examples": (50, 100, 200, 400, 800, 1600),
    "seeds": (0, 1, 2),
    "updates": 6000,
}
QUICK: dict[str, Any] = {"widths": (2, 4, 8), "examples": (50, 200), "seeds": (0, 1), "updates": 1000}


@dataclass(frozen=True)
class PhaseOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    LEAST = {"depth": 2, "updates": 1, "batch_size": 1, "probes": 2, "steps": 2, "prediction_examples": 1}  # noqa: RUF012

    widths: Sequence[int] | None = None
    examples: Sequence[int] | None = None
    seeds: Sequence[int] | None = None
    updates: int | None = None  # type: ignore[assignment]
    workers: int | None = None
    scheduler: str | None = None
    out: str = "runs/phase"
    resume: bool = False
    quick: bool = False

    def completed(self) -> PhaseOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self, **{k: v for k, v in given.items() if getattr(self, k) is None})
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


@dataclass(frozen=True)
class PhaseReport:
    """A finished diagram: ``data`` is the content of phase.json, ``path`` the folder it stands in."""

    data: Record
    path: Path

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
    store = CellStore(chosen.out, chosen.cell_options)
    store.open(chosen.resume)
    begun = time.perf_counter()
    say(f"data: {source}")
    with locked(Path(chosen.out)):
        cells = _cells(chosen, store)
        data = _report(chosen, cells, source)
        data["seconds"] = {"total": round(time.perf_counter() - begun, 2)}
        data["seconds"]["cells_cpu"] = round(sum(c["cpu_seconds"] for c in cells), 2)
        _write(Path(chosen.out), data)
    return PhaseReport(data, Path(chosen.out))


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
        progress = bar(len(tasks), "cells", "cell", len(found))
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
        "cells": cells,
    }


def _write(folder: Path, data: Record) -> None:
    from .phase_page import render_phase

    finish(folder, "phase", data, _figures, render_phase)


def _figures() -> Mapping[str, Callable[[Any], Any]]:
    from .phase_figures import FIGURES

    return FIGURES


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


_integers.__name__ = "list"  # argparse says "invalid list value"


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `PhaseOptions`."""
    d = PhaseOptions()
    p = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description="The plasticity phase diagram: networks of every width on every number of examples, on Dask.",
        allow_abbrev=False,
    )
    p.add_argument("--widths", type=_integers, metavar="N,...", help="of the hidden layers (2,4,6,8,16,32)")
    p.add_argument("--examples", type=_integers, metavar="M,...", help="class-balanced (50,100,200,400,800,1600)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (3)")
    p.add_argument("--depth", type=int, default=d.depth, metavar="L", help="layers of weights (default 4)")
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--updates", type=int, help="at most so many updates of each network (6000)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--probes", type=int, default=d.probes, help=f"Lanczos probes (default {d.probes})")
    p.add_argument("--steps", type=int, default=d.steps, help="Lanczos steps (default 60)")
    p.add_argument("--eta", type=float, default=d.eta, help="smoothing half width in rms (default 0.05)")
    p.add_argument("--prediction-examples", type=int, default=d.prediction_examples, metavar="K",
                   help="R5 from at most K of the active examples, corrected (default 200)")  # fmt: skip
    p.add_argument("--prediction-seconds", type=float, default=d.prediction_seconds, metavar="S",
                   help="leave R5 out of a cell where it is estimated to take longer (default 60)")  # fmt: skip
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--workers", type=int, metavar="K", help="local processes (default: one for each core)")
    p.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler instead, such as tcp://host:8786")
    p.add_argument("--out", default=d.out, metavar="DIR", help="default runs/phase")
    p.add_argument("--resume", action="store_true", help="keep the finished cells in --out; the grid may have grown")
    p.add_argument("--quick", action="store_true", help="a short run: a grid of 3 widths by 2 numbers of examples")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    kept = f"finished cells are kept, go on with --resume --out {chosen['out']}"
    return exit_status(PROGRAM, lambda: phase(**chosen), _conclude, interrupted=kept)


def _conclude(report: PhaseReport) -> int:
    from .phase_page import text_table

    say(f"\n{text_table(report.data)}\n\nreport: {report.path / 'phase.html'}")
    if report.failed_facts:
        message = f"exact facts failed, which is a bug: {', '.join(report.failed_facts)}"
        return stop(PROGRAM, message, EXIT_FACT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
