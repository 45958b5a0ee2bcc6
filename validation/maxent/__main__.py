"""The command line of `python -m validation.maxent`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import MAXENT, MaxentOptions, maxent


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `MaxentOptions`."""
    d = MaxentOptions()
    p = OneLineParser(
        prog=f"python -m {MAXENT.program}",
        description="A network learned scale by scale: couplings, maximum entropy, multipliers, weights.",
        allow_abbrev=False,
    )
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--seed", type=int, default=d.seed)
    p.add_argument("--out", metavar="DIR", help="a new or empty folder (default: runs/maxent, and what was chosen)")
    p.add_argument("--quick", action="store_true", help="a short run: fewer worlds, epochs and networks")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact statement failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return MAXENT.main(lambda: maxent(**chosen))


if __name__ == "__main__":
    sys.exit(main())
