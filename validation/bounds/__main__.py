"""The command line of `python -m validation.bounds`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import BOUNDS, bounds


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `WholeOptions`."""
    p = OneLineParser(
        prog=f"python -m {BOUNDS.program}",
        description="Symmetry theorems in exact ensembles, moment bounds and exponents by Monte Carlo, with verdicts.",
        allow_abbrev=False,
    )
    p.add_whole("bounds", "fewer ensembles, smaller grids")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 a theorem failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return BOUNDS.main(lambda: bounds(**chosen))


if __name__ == "__main__":
    sys.exit(main())
