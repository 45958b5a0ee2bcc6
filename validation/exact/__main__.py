"""The command line of `python -m validation.exact`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import EXACT, ExactOptions, run_exact


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `ExactOptions`."""
    d = ExactOptions()
    p = OneLineParser(
        prog=f"python -m {EXACT.program}",
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
    return EXACT.main(lambda: run_exact(**chosen))


if __name__ == "__main__":
    sys.exit(main())
