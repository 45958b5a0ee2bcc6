"""`python -m validation.phase`: the plasticity phase diagram, a network for every (width, examples, seed), on Dask.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``phase(widths=(4, 8), examples=(100, 400), seeds=(0, 1, 2), out="runs/phase")``, options as on the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends import get_backend
from validation.data import load_dataset
from validation.data.labels import LABELS
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster
from validation.statistics.distances import LEAST_ETA

from .answer import answer
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
        done = replace(self.filled(given), out=self.folder("phase"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name, least in (("widths", 1), ("examples", 2), ("seeds", 0)):
            self.check_different(name, least)
        if self.labels not in LABELS:
            raise OptionError(f"--labels {self.labels!r}: expected one of {', '.join(LABELS)}")
        self.check_schedule()
        self.check_positive("eta", "prediction_seconds")
        if self.eta < LEAST_ETA:
            raise OptionError(f"--eta {self.eta!r}: expected at least {LEAST_ETA:g}, in units of the rms")

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return [cell_name(n, m, s) for n in self.widths or () for m in self.examples or () for s in self.seeds or ()]

    @property
    def tasks(self) -> dict[str, tuple[int, int, int]]:
        """(width, examples, seed) of every cell by its name, the longest first: the end then keeps all workers busy."""
        grid = [(n, m, s) for n in self.widths or () for m in self.examples or () for s in self.seeds or ()]
        return {cell_name(*place): place for place in sorted(grid, key=lambda p: (-p[0] * p[1], p[2]))}


class PhaseReport(FinishedRun):
    """A finished diagram: ``data`` is the content of phase.json, ``path`` the folder it stands in."""

    KIND = "phase"
    PICTURE = ("phase", "risk, spectrum and predictions over widths and examples")

    def answer(self) -> str:
        """The report in one sentence, without its stop."""
        return answer(self.data)

    @property
    def failed_facts(self) -> list[str]:
        """Exact facts that did not hold; anything here is a bug."""
        return failed_facts(self.data["cells"])


PHASE = Experiment("phase", PhaseReport)


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
    return PHASE.over_grid(chosen, source, measure_cell, _line, lambda cells: _report(chosen, cells, source))


def _source(options: PhaseOptions) -> str:
    """Where the data come from; `DataError` where the largest cell asks for more than there is."""
    most = max(options.examples or ())
    source = load_dataset(options.data, options.data_root, options.classes, most, 1, dtype="float64").source
    return f"{source} (the largest cells)"


def _line(cell: Record) -> str:
    risk = "-" if cell["risk"] is None else f"{cell['risk']:.3g}"
    return (
        f"width {cell['width']:>4}  examples {cell['examples']:>6}  seed {cell['seed']:>3}  "
        f"risk {risk:>8}  {cell['outcome']:<8}  ({cell['cpu_seconds']:.1f} s)"
    )


def _report(options: PhaseOptions, cells: list[Record], source: str) -> Record:
    rows = diagram(cells)
    return PHASE.head(options.kept(), get_backend(options.backend, "float64")) | {
        "dataset": source,
        "diagram": rows,
        "edge": edge(rows),
        "predicted_edge": edge(rows, "predicted_zero"),
        "agreement": agreement(rows),
    }
