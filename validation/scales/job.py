"""`python -m validation.scales`: the laws of circuits, gradient, Hessian and eigenvalues of one network, side by side.

A network for every seed, on Dask. From Python, under ``if __name__ == "__main__"`` because workers are processes that
import the program: ``scales(network="mlp:24x24x24", seeds=(0, 1, 2), out="runs/scales")``, options as on the command
line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from backends import get_backend
from simulator import network_from_text
from simulator.passes.losses import LOSSES
from validation.data import Dataset, load_dataset
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster

from .answer import answer
from .cell import CellOptions, Record, cell_name, measure_cell
from .summary import summary

DEFAULTS: dict[str, Any] = {
    "record": (0, 1, 2, 5, 10, 20),
    "circuits": 20_000,
    "entries": 4_000,
    "seeds": (0, 1, 2, 3, 4),
}
QUICK: dict[str, Any] = {
    "record": (0, 5),
    "circuits": 5_000,
    "entries": 1_000,
    "seeds": (0, 1, 2),
    "examples": 400,
    "measured_examples": 100,
}


@dataclass(frozen=True)
class ScalesOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    ELSEWHERE = ("out", "resume", "workers", "scheduler", "seeds")

    LEAST: ClassVar[Mapping[str, int]] = {
        "examples": 2, "measured_examples": 1, "batch_size": 1, "circuits": 2, "entries": 2, "first": 1, "probes": 2,
        "steps": 2,
    }  # fmt: skip

    seeds: Sequence[int] | None = None
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> ScalesOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("scales"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name in ("record", "seeds"):
            self.check_different(name, 0)
        self.check_schedule()
        if self.loss not in LOSSES:
            raise OptionError(f"--loss {self.loss!r} is unknown: expected one of {', '.join(LOSSES)}")

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return list(self.tasks)

    @property
    def tasks(self) -> dict[str, tuple[int]]:
        """(seed,) of every cell by its name."""
        return {cell_name(seed): (seed,) for seed in self.seeds or ()}


class ScalesReport(FinishedRun):
    """A finished run: ``data`` is the content of scales.json, ``path`` the folder it stands in."""

    KIND = "scales"
    PICTURE = ("scales", "laws of sizes at every scale, distances between them, and effective factors")

    def answer(self) -> str:
        """How far the laws of the scales are apart, and whether they stay."""
        return answer(self.data)


SCALES_RUN = Experiment("scales", ScalesReport)


def scales(**options: Any) -> ScalesReport:
    """Train the networks that are not on disk yet; write scales.json, scales.html and figures/*.png to `out`.

    Options as `ScalesOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. The record of a network is written as it is finished.
    """
    chosen = ScalesOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    data = _data(chosen)
    backend = get_backend(chosen.backend, str(data.x.dtype))

    def reported(cells: list[Record]) -> Record:
        return SCALES_RUN.head(chosen.kept(), backend) | {"dataset": data.source} | summary(_some(cells))

    return SCALES_RUN.over_grid(chosen, data.source, measure_cell, _line, reported, unit="networks")


def _data(options: ScalesOptions) -> Dataset:
    """The data of the first seed, and a network that fits them; raises before any work is done."""
    data = load_dataset(
        options.data, options.data_root, options.classes, options.examples, options.measured_examples, seed=0
    )  # fmt: skip
    try:
        network_from_text(options.network, data.x.shape[1:])
    except ValueError as error:
        raise OptionError(f"--network {options.network!r}: {error}") from None
    return data


def _some(cells: list[Record]) -> list[Record]:
    """The cells; `OptionError` where every training diverged."""
    if all(cell["diverged"] is not None for cell in cells):
        raise OptionError(f"training diverged with every seed ({cells[0]['diverged']})")
    return cells


def _line(cell: Record) -> str:
    if cell["diverged"] is not None:
        return f"seed {cell['seed']:>3}  {cell['diverged']}"
    last = cell["records"][-1]
    return f"seed {cell['seed']:>3}  risk {last['risk']:.3g} at epoch {last['epoch']}  ({cell['cpu_seconds']:.1f} s)"
