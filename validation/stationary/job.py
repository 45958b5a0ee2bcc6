"""`python -m validation.stationary`: searches for stationary points, a network for every (loss, seed), on Dask.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``stationary(losses=("hinge",), seeds=(0, 1), out="runs/stationary")``, options as on the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends import get_backend
from simulator import network_from_text
from validation.data import load_dataset
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster

from .answer import answer
from .cell import LOSSES, CellOptions, Record, cell_name, measure_cell
from .claims import judge
from .summary import table_of

DEFAULTS: dict[str, Any] = {"losses": LOSSES, "seeds": (0, 1), "found": 50, "searches": 200}
QUICK: dict[str, Any] = {"losses": ("hinge", "squared"), "seeds": (0,), "found": 5, "searches": 20}


@dataclass(frozen=True)
class StationaryOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    # A run grows in its folder by more losses and seeds.
    ELSEWHERE = ("out", "resume", "workers", "scheduler", "losses", "seeds")

    LEAST = {"examples": 2, "epochs": 1, "batch_size": 1, "points": 2, "found": 1, "searches": 1, "steps": 0}  # noqa: RUF012

    losses: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    found: int | None = None  # type: ignore[assignment]
    searches: int | None = None  # type: ignore[assignment]
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> StationaryOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("stationary"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        losses = tuple(self.losses or ())
        if not losses or any(loss not in LOSSES for loss in losses) or len(set(losses)) < len(losses):
            raise OptionError(f"--losses {','.join(losses)}: expected different ones of {', '.join(LOSSES)}")
        self.check_different("seeds", 0)
        self.check_schedule()
        self.check_positive("tolerance")

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return list(self.tasks)

    @property
    def tasks(self) -> dict[str, tuple[str, int]]:
        """(loss, seed) of every cell by its name."""
        grid = [(loss, seed) for loss in self.losses or () for seed in self.seeds or ()]
        return {cell_name(*place): place for place in grid}


class StationaryReport(FinishedRun):
    """A finished run: ``data`` is the content of stationary.json, ``path`` the folder it stands in."""

    KIND = "stationary"
    PICTURE = ("stationary", "what searches for stationary points came to, against the risk")

    def answer(self) -> str:
        """How many of the stationary points found are saddles, and their index."""
        return answer(self.data)


STATIONARY = Experiment("stationary", StationaryReport)


def stationary(**options: Any) -> StationaryReport:
    """Search from every network that is not on disk yet; write stationary.json, stationary.html and the figure.

    Options as `StationaryOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish.
    """
    chosen = StationaryOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    get_backend(chosen.backend, "float64")
    source = _source(chosen)
    return STATIONARY.over_grid(
        chosen, source, measure_cell, _line, lambda cells: _report(chosen, cells, source), unit="networks"
    )


def _source(options: StationaryOptions) -> str:
    """Where the data come from; `DataError` or `OptionError` where data or network cannot be had."""
    data = load_dataset(
        options.data, options.data_root, options.classes, options.examples, 1, dtype="float64"
    )  # fmt: skip
    try:
        network = network_from_text(options.network, data.x.shape[1:])
    except ValueError as error:
        raise OptionError(f"--network {options.network}: {error}") from None
    if network.has_maxima:
        raise OptionError(f"--network {options.network}: max-pools have kinks that are not measured; use avg")
    return data.source


def _line(cell: Record) -> str:
    return f"{cell['loss']:<10} seed {cell['seed']:>3}  ({cell['cpu_seconds']:.1f} s)"


def _report(options: StationaryOptions, cells: list[Record], source: str) -> Record:
    backend = get_backend(options.backend, "float64")
    return STATIONARY.head(options.kept(), backend) | {
        "dataset": source,
        "table": table_of(cells),
        "checks": [claim.record() for claim in judge(cells, options.tolerance, options.found or 0)],
    }
