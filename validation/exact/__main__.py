"""The command line of `python -m validation.exact`."""

from __future__ import annotations

import argparse
import sys

from validation.report.text import outcome
from validation.run.command import EXIT_FACT_FAILED, OneLineParser, exit_status, stop
from validation.run.console import say

from .job import ExactOptions, ExactReport, run_exact

PROGRAM = "validation.exact"


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `ExactOptions`."""
    d = ExactOptions()
    p = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description="Small cases in full: exact marginals, exact EM beside its approximations, checks with verdicts.",
        allow_abbrev=False,
    )
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--seed", type=int, default=d.seed)
    p.add_argument("--out", metavar="DIR", help="a new or empty folder (default: runs/exact, and what was chosen)")
    p.add_argument("--quick", action="store_true", help="a short run: fewer temperatures, iterations and starts")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact statement failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return exit_status(PROGRAM, lambda: run_exact(**chosen), _conclude)


def _conclude(report: ExactReport) -> int:
    say(f"\n{outcome(report.data['checks'])}\n")
    say(f"report: {report.path / 'report.html'}", whole=True)
    if report.failed_checks:
        said = f"exact statements failed, which is a bug: {', '.join(report.failed_checks)}"
        return stop(PROGRAM, said, EXIT_FACT_FAILED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
