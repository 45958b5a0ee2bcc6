"""`python -m validation.capacity`: how many examples are fitted, for every loss, labels, depth, width and seed.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``capacity(widths=(10, 16), depths=(2, 3), seeds=(0, 1, 2), out="runs/capacity")``, options as on the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from backends import get_backend
from simulator.streams import Streams
from validation.data import load_dataset
from validation.data.labels import LABELS
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster

from .answer import answer
from .cell import CellOptions, Record, cell_name, examples_of, measure_cell
from .claims import check_all
from .summary import rows_of, scaling_of
from .training import LOSSES

DEFAULTS: dict[str, Any] = {
    "widths": (10, 12, 16, 20, 28),
    "depths": (2, 3),
    "labels": LABELS,
    "losses": LOSSES,
    "seeds": (0, 1, 2, 3),
}
QUICK: dict[str, Any] = {
    "widths": (12, 16, 20), "depths": (2,), "labels": LABELS, "losses": LOSSES[:1], "seeds": (0, 1),
    "examples": 600, "iterations": 1000, "updates": 2000,
}  # fmt: skip
Place = tuple[str, str, int, int, int]


@dataclass(frozen=True)
class CapacityOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    # A report grows in its folder by more losses, labels, depths, widths and seeds.
    ELSEWHERE = ("out", "resume", "workers", "scheduler", "widths", "depths", "labels", "losses", "seeds")

    LEAST = {"examples": 4, "inputs": 0, "starts": 1, "iterations": 1, "updates": 1, "batch_size": 1}  # noqa: RUF012

    widths: Sequence[int] | None = None
    depths: Sequence[int] | None = None
    labels: Sequence[str] | None = None
    losses: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    iterations: int | None = None  # type: ignore[assignment]
    updates: int | None = None  # type: ignore[assignment]
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> CapacityOptions:
        """Defaults filled in, values checked."""
        usual = CellOptions()
        given = DEFAULTS | {"iterations": usual.iterations, "updates": usual.updates} | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("capacity"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name, least in (("widths", 1), ("depths", 2), ("seeds", 0)):
            self.check_different(name, least)
        for name, known in (("labels", LABELS), ("losses", LOSSES)):
            words = tuple(getattr(self, name))
            _check_list(name, words, set(words) <= set(known), f"words of {', '.join(known)}")
        self.check_schedule()
        self.check_positive("resolution")

    @property
    def places(self) -> list[Place]:
        """(loss, labels, depth, width, seed) of every cell, in the order of the report."""
        return list(
            product(self.losses or (), self.labels or (), self.depths or (), self.widths or (), self.seeds or ())
        )

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return [cell_name(*place) for place in self.places]

    @property
    def tasks(self) -> dict[str, Place]:
        """The cells by name, the longest first: the end then keeps all workers busy."""
        return {cell_name(*place): place for place in sorted(self.places, key=lambda p: (-p[3] * p[2], p))}


def _check_list(name: str, values: tuple[Any, ...], usable: bool, expected: str) -> None:
    if not values or not usable or len(set(values)) < len(values):
        raise OptionError(f"--{name} {','.join(map(str, values))}: expected different {expected}, at least one")


class CapacityReport(FinishedRun):
    """A finished run: ``data`` is the content of capacity.json, ``path`` the folder it stands in."""

    KIND = "capacity"
    PICTURE = ("capacity", "the edge of capacity over weights, predicted and measured")

    def answer(self) -> str:
        """How the edge of capacity grows with the weights, and whether it was predicted."""
        return answer(self.data)


CAPACITY = Experiment("capacity", CapacityReport)


def capacity(**options: Any) -> CapacityReport:
    """Search every cell that is not on disk yet; write capacity.json, capacity.html and figures/*.png to `out`.

    Options as `CapacityOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish, so that nothing but unfinished
    ones is lost by whatever ends the run.
    """
    chosen = CapacityOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    get_backend(chosen.backend, "float64")
    source = _source(chosen)
    return CAPACITY.over_grid(chosen, source, measure_cell, _line, lambda cells: _report(chosen, cells, source))


def _source(options: CapacityOptions) -> str:
    """Where the data come from; `DataError` where they or their principal components cannot be had."""
    cell = CellOptions(**options.cell_options)
    examples_of(cell, Streams(0), "true")
    return load_dataset(
        options.data, options.data_root, options.classes, options.examples, 1, dtype="float64"
    ).source  # fmt: skip


def _line(cell: Record) -> str:
    above = "-" if cell["unfitted"] is None else str(cell["unfitted"])
    return (
        f"{cell['loss']:<13} {cell['labels']:<6} depth {cell['depth']:>2}  "
        f"width {cell['width']:>4}  seed {cell['seed']:>3}  weights {cell['weights']:>6}  fitted {cell['fitted']:>6}  "
        f"not {above:>6}  ({cell['cpu_seconds']:.1f} s)"
    )


def _report(options: CapacityOptions, cells: list[Record], source: str) -> Record:
    rows = rows_of(cells)
    scaling = scaling_of(rows)
    return CAPACITY.head(options.kept(), get_backend(options.backend, "float64")) | {
        "dataset": source,
        "checks": [claim.record() for claim in check_all(cells, rows, scaling)],
        "rows": rows,
        "scaling": scaling,
    }
