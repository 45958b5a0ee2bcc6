"""The command line of `python -m validation.exact`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import EXACT, run_exact


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `WholeOptions`."""
    p = OneLineParser(
        prog=f"python -m {EXACT.program}",
        description="Small cases in full: exact marginals, exact EM beside its approximations, checks with verdicts.",
        allow_abbrev=False,
    )
    p.add_whole("exact", "fewer temperatures, iterations and starts")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact statement failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return EXACT.main(lambda: run_exact(**chosen))


if __name__ == "__main__":
    sys.exit(main())
