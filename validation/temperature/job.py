"""`python -m validation.temperature`: how risk, gradient and Hessian spectrum change with the temperature of the gates.

A cell for every seed and temperature, on Dask. From Python, under ``if __name__ == "__main__"`` because workers are
processes that import the program: ``temperature(temperatures=(0.0, 0.3, 1.0), seeds=(0, 1))``, options as on the
command line.
"""

from __future__ import annotations

import math
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
from .claims import judge
from .summary import summarise

DEFAULTS: dict[str, Any] = {
    "temperatures": (0.0, 0.03, 0.1, 0.3, 1.0, 3.0), "seeds": (0, 1, 2), "epochs": 20, "gate_draws": 8, "steps": 240,
}  # fmt: skip
QUICK: dict[str, Any] = {
    "temperatures": (0.0, 0.1, 1.0), "seeds": (0, 1), "epochs": 5, "gate_draws": 2, "steps": 60, "examples": 400,
    "measured_examples": 60,
}  # fmt: skip
E_STEPS = ("monte_carlo", "posterior")


@dataclass(frozen=True)
class TemperatureOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    ELSEWHERE = ("out", "resume", "workers", "scheduler", "seeds", "temperatures")

    LEAST: ClassVar[Mapping[str, int]] = {
        "examples": 2, "measured_examples": 1, "epochs": 0, "gate_draws": 1, "batch_size": 1, "probes": 2, "draws": 2,
        "steps": 2,
    }  # fmt: skip

    temperatures: Sequence[float] | None = None
    seeds: Sequence[int] | None = None
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> TemperatureOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("temperature"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        self.check_different("seeds", 0)
        self.check_schedule()
        self.check_positive("eta")
        values = list(self.temperatures or ())
        if values != sorted(set(values)) or not values or values[0] != 0.0 or not math.isfinite(values[-1]):
            raise OptionError(
                f"--temperatures {','.join(f'{t:g}' for t in values)}: expected increasing numbers that begin with 0, "
                "the ReLU network"
            )
        if self.loss not in LOSSES:
            raise OptionError(f"--loss {self.loss!r} is unknown: expected one of {', '.join(LOSSES)}")
        if self.e_step not in E_STEPS:
            raise OptionError(f"--e-step {self.e_step!r}: expected {' or '.join(E_STEPS)}")
        if self.e_step == "posterior" and self.loss != "logistic":
            raise OptionError(f"--e-step posterior: --loss {self.loss} is not a likelihood, use --loss logistic")

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return list(self.tasks)

    @property
    def tasks(self) -> dict[str, tuple[int, float]]:
        """(seed, temperature) of every cell by its name."""
        return {cell_name(s, t): (s, t) for t in self.temperatures or () for s in self.seeds or ()}


class TemperatureReport(FinishedRun):
    """A finished run: ``data`` is the content of temperature.json, ``path`` the folder it stands in."""

    KIND = "temperature"
    PICTURE = ("temperature", "spectra, risk, order parameter and predictions against the temperature of the gates")

    def answer(self) -> str:
        """How far heating takes the spectrum, and how well it is predicted at every temperature."""
        return answer(self.data)


TEMPERATURE = Experiment("temperature", TemperatureReport)


def temperature(**options: Any) -> TemperatureReport:
    """Train and measure what is not on disk yet; write temperature.json, temperature.html and figures/*.png to `out`.

    Options as `TemperatureOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. The record of a cell is written as it is finished.
    """
    chosen = TemperatureOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    data = _data(chosen)
    backend = get_backend(chosen.backend, str(data.x.dtype))

    def reported(cells: list[Record]) -> Record:
        if all(cell["diverged"] is not None for cell in cells):
            raise OptionError(f"training diverged with every seed ({cells[0]['diverged']})")
        rows = summarise(cells)
        checks = [claim.record() for claim in judge(cells, rows)]
        diverged = sorted({cell["diverged"] for cell in cells if cell["diverged"] is not None})
        head = TEMPERATURE.head(chosen.kept(), backend, dataset=data.source)
        return head | {"rows": rows, "checks": checks, "diverged": diverged}

    return TEMPERATURE.over_grid(chosen, data.source, measure_cell, _line, reported)


def _data(options: TemperatureOptions) -> Dataset:
    """The data of the first seed, and a network that fits them; raises before any work is done."""
    data = load_dataset(
        options.data, options.data_root, options.classes, options.examples, options.measured_examples, seed=0
    )  # fmt: skip
    try:
        network_from_text(options.network, data.x.shape[1:])
    except ValueError as error:
        raise OptionError(f"--network {options.network!r}: {error}") from None
    return data


def _line(cell: Record) -> str:
    place = f"seed {cell['seed']:>3}  T {cell['temperature']:<5g}"
    if cell["diverged"] is not None:
        return f"{place}  {cell['diverged']}"
    last, seconds = cell["trained"] or cell["heated"], cell["cpu_seconds"]
    return f"{place}  risk {last['risk']['value']:.3g}  rms {last['spectrum']['rms']:.3g}  ({seconds:.1f} s)"
