"""`python -m validation.novel`: networks trained to risk 0 and shown novel examples, on Dask, a cell for each network.

From Python, under ``if __name__ == "__main__"`` because workers are processes that import the program:
``novel(widths=(16, 64), seeds=(0, 1, 2), out="runs/novel")``, options as on the command line.
"""

from __future__ import annotations

from typing import Any

from backends import get_backend
from simulator.network.text import network_from_text
from validation.errors import OptionError
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.cluster import check_cluster

from .answer import answer
from .cell import Record, measure_cell, network_text, portions_of
from .claims import judge
from .options import NovelOptions
from .summary import rested, table


class NovelReport(FinishedRun):
    """A finished run: ``data`` is the content of novel.json, ``path`` the folder it stands in."""

    KIND = "novel"
    PICTURE = ("novel", "risk, order parameter, spectrum and circuits as novel examples are shown")

    def answer(self) -> str:
        """How many rounds of novel examples are absorbed, and whether earlier rounds wear the network out."""
        return answer(self.data)


SHOWINGS = Experiment("novel", NovelReport)


def novel(**options: Any) -> NovelReport:
    """Measure every cell that is not on disk yet; write novel.json, novel.html and figures/*.png to `out`.

    Options as `NovelOptions`. Raises `OptionError`, `DataError`, `StorageError`, `ClusterError` or
    `BackendUnavailableError` before any work is done. Cells are written as they finish, so that nothing but unfinished
    ones is lost by whatever ends the run.
    """
    chosen = NovelOptions(**options).completed()
    check_cluster(chosen.workers, chosen.scheduler)
    source, dtype = _source(chosen)
    return SHOWINGS.over_grid(chosen, source, measure_cell, _line, lambda cells: _report(chosen, cells, source, dtype))


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


def _line(cell: Record) -> str:
    first = cell["first"]
    ended = [r["outcome"] for kind in cell["kinds"].values() for r in kind]
    return (
        f"width {cell['width']:>5g}  seed {cell['seed']:>3}  first risk "
        f"{first['outcome']:<8}  rounds at risk 0: {ended.count('zero')} of {len(ended)}  ({cell['cpu_seconds']:.1f} s)"
    )


def _report(options: NovelOptions, cells: list[Record], source: str, dtype: str) -> Record:
    backend = get_backend(options.backend, dtype)
    return SHOWINGS.head(options.kept(), backend) | {
        "dataset": source,
        "rested": len(rested(cells)),
        "table": table(cells, options.updates),
        "checks": [claim.record() for claim in judge(cells, options.updates, options.batch_size, backend.dtype)],
    }
