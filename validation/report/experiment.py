"""A command as an object: what its report begins with, and the one way from what it measures to a finished run.

The folder of a command has one shape: ``job`` (options and measuring), ``figures`` and ``page``. `Experiment` finds the
last two there when a run ends, so that nothing is imported for a drawing before there is something to draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from backends import Backend
from validation.run.cells import CellStore, finished_cells
from validation.run.command import EXIT_FACT_FAILED, Clock, exit_status, stop
from validation.run.console import say
from validation.run.environment import environment, package_version
from validation.run.folder import locked, new_folder
from validation.run.storage import REPORT_SCHEMA

from .finished import FinishedRun
from .write import finish

Record = dict[str, Any]


class Grid(Protocol):
    """The options of a run whose cells stand on a grid.

    ``tasks``: the place of every cell by its name, in the order in which they are begun. ``names``: the cells in the
    order of the report.
    """

    @property
    def tasks(self) -> Mapping[str, tuple[Any, ...]]: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def cell_options(self) -> Record: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def scheduler(self) -> str | None: ...
    @property
    def resume(self) -> bool: ...
    def folder(self) -> str: ...


Run = TypeVar("Run", bound=FinishedRun)


@dataclass(frozen=True)
class Experiment(Generic[Run]):
    """A command: its word, such as "phase", and the class of its finished run, which stands in its ``job`` module.

    The module ``figures`` beside it has ``FIGURES``, a drawing for every name, or ``figures_of(data)`` where the data
    decide; ``page`` has ``render(data, pictures)`` and ``text_table(data)`` for the terminal. The run's ``KIND`` is the
    stem of its JSON file and its page.
    """

    name: str
    run: type[Run]

    @property
    def program(self) -> str:
        """The module that starts it, validation.NAME."""
        return f"validation.{self.name}"

    def head(self, options: Record, backend: Backend, **more: Any) -> Record:
        """What every report begins with: schema, kind, version, options, backend and environment."""
        return {
            "schema": REPORT_SCHEMA,
            "kind": self.name,
            "version": package_version("umwelt-dnn"),
            "options": options,
            **more,
            "backend": {"name": backend.name, "dtype": backend.dtype},
            "environment": environment(),
        }

    def whole(self, folder: str, measure: Callable[[Clock], Record]) -> Run:
        """A run that is kept only where it comes to its end: `measure` gives the content of its report."""
        with new_folder(folder) as root:
            clock = Clock()
            data = measure(clock)
            self._finish(root, data, clock)
        return self.run(data, root)

    def in_cells(self, store: CellStore, resume: bool, measure: Callable[[], list[Record]],
                 summary: Callable[[list[Record]], Record]) -> Run:  # fmt: skip
        """A run that keeps each cell as it is finished: `measure` gives the cells, `summary` the report on them.

        The report gets ``cells``, and ``seconds``: of the run, and of the processor in all cells (``cpu_seconds``).
        """
        store.open(resume)
        begun = time.perf_counter()
        with locked(store.root):
            cells = measure()
            data = summary(cells) | {"cells": cells}
            data["environment"] |= {"dask": package_version("distributed")}
            total = round(time.perf_counter() - begun, 2)
            data["seconds"] = {"total": total, "cells_cpu": round(sum(c["cpu_seconds"] for c in cells), 2)}
            self._finish(store.root, data, None)
        return self.run(data, store.root)

    def over_grid(
        self,
        chosen: Grid,
        source: str,
        measure: Callable[..., Record],
        line: Callable[[Record], str],
        summary: Callable[[list[Record]], Record],
        *,
        unit: str = "cells",
    ) -> Run:
        """`in_cells` with the cells of a grid on Dask: ``measure(cell_options, *place)`` for each of its ``tasks``.

        `source` says where the data come from, `line` in words what a finished cell holds. `summary` gets the cells in
        the order of ``names``.
        """
        store = CellStore(chosen.folder(), chosen.cell_options)

        def measured() -> list[Record]:
            say(f"data: {source}")
            tasks = {name: (store.options, *place) for name, place in chosen.tasks.items()}
            found = finished_cells(
                store, tasks, measure, line, workers=chosen.workers, scheduler=chosen.scheduler, unit=unit
            )
            return [found[name] for name in chosen.names]

        return self.in_cells(store, chosen.resume, measured, summary)

    def _finish(self, folder: Path, data: Record, clock: Clock | None) -> None:
        finish(folder, self.run.KIND, data, lambda: self._figures(data), self._page().render, clock)

    def _page(self) -> Any:
        return import_module(f"{self.program}.page")

    def _figures(self, data: Record) -> Mapping[str, Callable[[Any], Any]]:
        module = import_module(f"{self.program}.figures")
        made: Mapping[str, Callable[[Any], Any]]
        made = module.figures_of(data) if hasattr(module, "figures_of") else module.FIGURES
        return made

    def main(self, job: Callable[[], Run], kept: str = "nothing was written") -> int:
        """The end of a command line: run the job, print the table and the path of the page; the exit status.

        0 done, 1 an exact fact failed, 2 usage, 3 training diverged, 70 unexpected error, 130 interrupted; `kept` says
        what a job that does not come to its end leaves.
        """

        def conclude(run: Run) -> int:
            say(f"\n{self._page().text_table(run.data)}\n\nreport: {run.page}", whole=True)
            if run.failed_facts:
                said = f"exact facts failed, which is a bug: {', '.join(run.failed_facts)}"
                return stop(self.program, said, EXIT_FACT_FAILED)
            return 0

        return exit_status(self.program, job, conclude, interrupted=kept, diverged=kept)
