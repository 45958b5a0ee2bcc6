"""The command line of `python -m validation.bounds`."""

from __future__ import annotations

import argparse
import sys

from validation.report.text import outcome
from validation.run.command import EXIT_FACT_FAILED, OneLineParser, exit_status, stop
from validation.run.console import say

from .job import BoundsOptions, BoundsReport, bounds

PROGRAM = "validation.bounds"


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
    p.add_argument("--out", metavar="DIR", help="a new or empty folder (default: runs/bounds, and what was chosen)")
    p.add_argument("--quick", action="store_true", help="a short run: fewer ensembles, smaller grids")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 a theorem failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return exit_status(PROGRAM, lambda: bounds(**chosen), _conclude)


def _conclude(report: BoundsReport) -> int:
    say(f"\n{outcome(report.data['checks'])}\n")
    say(f"report: {report.path / 'bounds.html'}", whole=True)
    if report.failed_checks:
        said = f"theorems failed, which is a bug: {', '.join(report.failed_checks)}"
        return stop(PROGRAM, said, EXIT_FACT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
