"""The command line of `python -m validation.ladder`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from validation.run.command import OneLineParser

from .job import LADDER, LadderOptions, ladder


def _listed(kind: Callable[[str], Any], separator: str = ",") -> Callable[[str], tuple[Any, ...]]:
    """A parser of lists; an empty text is the empty list."""

    def parse(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(separator)) if text else ()

    parse.__name__ = "list"  # argparse says "invalid list value"
    return parse


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `LadderOptions`."""
    d, integers = LadderOptions(), _listed(int)
    p = OneLineParser(
        prog=f"python -m {LADDER.program}",
        description="Predicted against measured Hessian spectra for every rung, over widths, depths and training.",
        allow_abbrev=False,
    )
    p.add_argument("--data", default=d.data, metavar="digits|cifar10|FOLDER|ZIP", help="averaged to 4x4 grey pixels")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices of classes, comma-separated")
    p.add_argument("--examples", type=int, metavar="M", help="examples, class-balanced (60)")
    p.add_argument("--networks", type=int, metavar="K", help="networks of each shape (5)")
    p.add_argument("--widths", type=integers, metavar="N,...", help="constant widths (12,24,36); '' for none")
    p.add_argument("--depths", type=integers, metavar="L,...", help="layers of weights (3,4)")
    p.add_argument("--hidden", type=_listed(_listed(int, "x")), default=d.hidden, metavar="N1xN2,...",
                   help="further perceptrons by their hidden widths, such as 44x20x30")  # fmt: skip
    p.add_argument(
        "--rungs",
        type=_listed(str),
        default=d.rungs,
        metavar="R0,...",
        help="those to predict with (all but those with norms of neurons)",
    )
    p.add_argument("--train", type=integers, metavar="STEPS,...",
                   help="full-batch steps to compare after (0,100,400); '' for none")  # fmt: skip
    p.add_argument("--train-widths", type=integers, metavar="N,...", help="widths to train (the middle one)")
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--draws", type=int, help="fresh weights at frozen signals (6); 0 for none")
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--seed", type=int, default=d.seed)
    p.add_argument("--out", metavar="DIR", help="a new or empty folder (default: runs/ladder, and what was chosen)")
    p.add_argument("--quick", action="store_true", help="a short run: narrow networks, fewer of them")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 2 usage, 3 training diverged, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return LADDER.main(lambda: ladder(**chosen))


if __name__ == "__main__":
    sys.exit(main())
