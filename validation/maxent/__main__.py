"""The command line of `python -m validation.maxent`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser

from .job import MAXENT, maxent


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `WholeOptions`."""
    p = OneLineParser(
        prog=f"python -m {MAXENT.program}",
        description="A network learned scale by scale: couplings, maximum entropy, multipliers, weights.",
        allow_abbrev=False,
    )
    p.add_whole("maxent", "fewer worlds, epochs and networks")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact statement failed, 2 usage, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return MAXENT.main(lambda: maxent(**chosen))


if __name__ == "__main__":
    sys.exit(main())
