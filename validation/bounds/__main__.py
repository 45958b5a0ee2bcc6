"""The command line of `python -m validation.bounds`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import BOUNDS, BoundsOptions, bounds


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `BoundsOptions`."""
    d = BoundsOptions()
    p = OneLineParser(
        prog=f"python -m {BOUNDS.program}",
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
    return BOUNDS.main(lambda: bounds(**chosen))


if __name__ == "__main__":
    sys.exit(main())
