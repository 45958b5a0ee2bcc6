"""`python -m validation.chaos`: the correlation map of two inputs, a network for every (gain, seed), on Dask.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``chaos(gains=(0.5, 1.0, 2.0), seeds=(0, 1), out="runs/chaos")``, options as on the command line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends import get_backend
from validation.data import load_dataset
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster

from .answer import answer
from .cell import CellOptions, Record, cell_name, measure_cell
from .claims import judge
from .summary import rows_of

DEFAULTS: dict[str, Any] = {
    "gains": (0.1, 0.16, 0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0),
    "seeds": (0, 1, 2, 3, 4, 5),
    "updates": 3000,
}
QUICK: dict[str, Any] = {"gains": (0.25, 1.0, 4.0), "seeds": (0, 1), "updates": 600}


@dataclass(frozen=True)
class ChaosOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    # A run grows in its folder by more gains and seeds.
    ELSEWHERE = ("out", "resume", "workers", "scheduler", "gains", "seeds")

    LEAST = {  # noqa: RUF012
        "width": 1, "depth": 2, "examples": 3, "updates": 1, "batch_size": 1, "probes": 2, "steps": 2,
    }  # fmt: skip

    gains: Sequence[float] | None = None
    seeds: Sequence[int] | None = None
    updates: int | None = None  # type: ignore[assignment]
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> ChaosOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("chaos"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        gains = tuple(self.gains or ())
        usable = all(math.isfinite(g) and g > 0 for g in gains)
        if not gains or not usable or len({f"{g:g}" for g in gains}) < len(gains):
            raise OptionError(f"--gains {','.join(map(str, gains))}: expected different numbers > 0, at least one")
        self.check_different("seeds", 0)
        self.check_schedule()

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return list(self.tasks)

    @property
    def tasks(self) -> dict[str, tuple[float, int]]:
        """(gain, seed) of every cell by its name."""
        grid = [(gain, seed) for gain in self.gains or () for seed in self.seeds or ()]
        return {cell_name(*place): place for place in grid}


class ChaosReport(FinishedRun):
    """A finished run: ``data`` is the content of chaos.json, ``path`` the folder it stands in."""

    KIND = "chaos"
    PICTURE = ("chaos", "correlation maps, and the plane of gain and stretch")

    def answer(self) -> str:
        """Where networks are plastic, and what their χ is."""
        return answer(self.data)


CHAOS = Experiment("chaos", ChaosReport)


def chaos(**options: Any) -> ChaosReport:
    """Train every network that is not on disk yet; write chaos.json, chaos.html and the figure.

    Options as `ChaosOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish.
    """
    chosen = ChaosOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    get_backend(chosen.backend, "float64")
    source = _source(chosen)
    return CHAOS.over_grid(
        chosen, source, measure_cell, _line, lambda cells: _report(chosen, cells, source), unit="networks"
    )


def _source(options: ChaosOptions) -> str:
    """Where the data come from; `DataError` where they cannot be had."""
    return load_dataset(options.data, options.data_root, options.classes, options.examples, 1, dtype="float64").source


def _line(cell: Record) -> str:
    return f"gain {cell['gain']:<6g} seed {cell['seed']:>3}  {cell['outcome']:<8}  ({cell['cpu_seconds']:.1f} s)"


def _report(options: ChaosOptions, cells: list[Record], source: str) -> Record:
    backend, rows = get_backend(options.backend, "float64"), rows_of(cells)
    return CHAOS.head(options.kept(), backend) | {
        "dataset": source,
        "rows": rows,
        "checks": [claim.record() for claim in judge(cells, rows)],
    }
