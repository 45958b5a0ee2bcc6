"""`python -m validation.bounds`: every symmetry theorem and moment bound put to the test, with a table of verdicts.

S1-S3 and M1-M4 in random exact sign ensembles; (20), (21) and the exponents by Monte Carlo. From Python:
``bounds(seed=0, out="runs/bounds", quick=False, backend=None)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backends import Backend, get_backend
from simulator.streams import Streams

from .bound_checks import (
    bracket_checks,
    bracket_slopes,
    correlation_checks,
    failed,
    flip_checks,
    mean_bound_check,
    planted_check,
    theorem_checks,
)
from .bound_ensembles import check_theorems, ensembles_until_caught
from .bound_gates import gate_record, measure_correlations, measure_flips
from .bound_slopes import Grid, measure_grid, moments_record
from .command import EXIT_FACT_FAILED, Clock, OneLineParser, exit_status, stop
from .console import say
from .finishing import finish
from .job import environment, package_version, table
from .locking import new_folder
from .plain_options import PlainOptions
from .storage import REPORT_SCHEMA

PROGRAM = "validation.bounds"


@dataclass(frozen=True)
class Sizes:
    """How much is tried: ensembles, the grid of assemblies, widths and weights drawn for flips, for correlations."""

    ensembles: int = 4000
    grid: Grid = field(default_factory=Grid)
    flip_widths: tuple[int, ...] = tuple(2**k for k in range(3, 12))
    flip_budget: float = 5e7
    correlation_widths: tuple[int, ...] = tuple(2**k for k in range(3, 11))
    inputs: int = 2000


QUICK = Sizes(200, Grid((16, 32, 64), (4, 6, 8), 4e6), Sizes.flip_widths, 2e6, (8, 16, 32, 64, 128, 256), 1000)


@dataclass(frozen=True)
class BoundsReport:
    """A finished run: ``data`` is the content of bounds.json, ``path`` the folder it stands in."""

    data: dict[str, Any]
    path: Path

    @property
    def failed_checks(self) -> list[str]:
        """Theorems that did not hold; anything here is a bug."""
        return failed(self.data["checks"])


@dataclass(frozen=True)
class BoundsOptions(PlainOptions):
    """What the command line takes."""

    LEAST = {"seed": 0}  # noqa: RUF012

    backend: str | None = None
    seed: int = 0
    out: str = "runs/bounds"
    quick: bool = False


def bounds(**options: Any) -> BoundsReport:
    """Test every theorem and bound, and write bounds.json, bounds.html and figures/*.png to `out`.

    Options: `backend`, `seed`, `out`, `quick`. Raises `OptionError`, `StorageError` or `BackendUnavailableError` before
    any work is done; nothing is written unless the run comes to its end.
    """
    chosen = BoundsOptions(**options)
    chosen.check_integers()
    ops = get_backend(chosen.backend)
    with new_folder(chosen.out) as folder:
        clock = Clock()
        data = _compute(chosen, QUICK if chosen.quick else Sizes(), ops, clock)
        _write(folder, data, clock)
    return BoundsReport(data, folder)


def _compute(options: BoundsOptions, sizes: Sizes, ops: Backend, clock: Clock) -> dict[str, Any]:
    """The content of the report, but for the time it took."""
    streams = Streams(options.seed).spawn("bounds", 5)
    theorems = check_theorems(sizes.ensembles, streams[0], ops)
    caught = ensembles_until_caught(streams[1], ops, sizes.ensembles)
    clock.lap("theorems")
    moments = measure_grid(sizes.grid, streams[2], ops)
    clock.lap("assemblies")
    flips = measure_flips(sizes.flip_widths, sizes.flip_budget, streams[3], ops)
    correlations = measure_correlations(sizes.correlation_widths, sizes.inputs, streams[4], ops)
    clock.lap("gates")
    slopes = bracket_slopes(moments)
    checks = [*theorem_checks(theorems), mean_bound_check(moments), planted_check(caught, sizes.ensembles)]
    checks += [*flip_checks(flips), *correlation_checks(correlations), *bracket_checks(slopes)]
    return {
        "schema": REPORT_SCHEMA,
        "kind": "bounds",
        "version": package_version("umwelt-dnn"),
        "options": {"backend": options.backend, "quick": options.quick, **_flat(sizes)},
        "seed": options.seed,
        "backend": {"name": ops.name, "dtype": ops.dtype},
        "environment": environment(),
        "theorems": [asdict(c) | {"holds": c.holds} for c in theorems.values()],
        "planted": {"bound": "S2 with ¼", "caught_after": caught, "of": sizes.ensembles},
        "assemblies": [moments_record(m) for m in moments],
        "slopes": [{"id": name, "fit": None if s is None else asdict(s)} for name, s in slopes.items()],
        **gate_record(flips, correlations),
        "checks": checks,
    }


def _flat(sizes: Sizes) -> dict[str, Any]:
    """Lists, as JSON has them."""
    values = asdict(sizes)
    grid = values.pop("grid")
    named = values | {f"assembly_{key}": value for key, value in grid.items()}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in named.items()}


def _write(folder: Path, data: dict[str, Any], clock: Clock) -> None:
    from .bound_page import render_bounds

    finish(folder, "bounds", data, _figures, render_bounds, clock)


def _figures() -> Mapping[str, Callable[[Any], Any]]:
    from .bound_figures import FIGURES

    return FIGURES


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `BoundsOptions`."""
    d = BoundsOptions()
    p = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description="Symmetry theorems in exact ensembles, moment bounds and exponents by Monte Carlo, with verdicts.",
        allow_abbrev=False,
    )
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--seed", type=int, default=d.seed)
    p.add_argument("--out", default=d.out, metavar="DIR", help="a new or empty folder (default runs/bounds)")
    p.add_argument("--quick", action="store_true", help="a short run: fewer ensembles, smaller grids")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 a theorem failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return exit_status(PROGRAM, lambda: bounds(**chosen), _conclude)


def _conclude(report: BoundsReport) -> int:
    say(f"\n{table(report.data['checks'])}\n\nreport: {report.path / 'bounds.html'}")
    if report.failed_checks:
        said = f"theorems failed, which is a bug: {', '.join(report.failed_checks)}"
        return stop(PROGRAM, said, EXIT_FACT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
