"""The command line of `python -m validation.stationary`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser
from validation.run.plain_options import seed_list

from .job import STATIONARY, StationaryOptions, stationary


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


_words.__name__ = "list"  # argparse says "invalid list value"


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `StationaryOptions`."""
    d = StationaryOptions()
    p = OneLineParser(
        prog=f"python -m {STATIONARY.program}",
        description="Searches for stationary points from many points of a training, what they are, and their index.",
        allow_abbrev=False,
    )
    p.add_argument("--losses", type=_words, metavar="NAME,...", help="hinge,logistic,squared (default: all)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (2)")
    p.add_argument("--network", default=d.network, help="default mlp:6x6; without max-pools")
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--examples", type=int, default=d.examples, help="class-balanced (default 100)")
    p.add_argument("--epochs", type=int, default=d.epochs, help="of training (default 133)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--points", type=int, default=d.points, help="of the training to search from (default 9)")
    p.add_argument("--found", type=int, help="search until so many stationary points of a network are found (50)")
    p.add_argument("--searches", type=int, help="at most so many of each network (200)")
    p.add_argument("--tolerance", type=float, default=d.tolerance,
                   help="of ||∇R|| over its length if the examples' terms were orthogonal (default 1e-8)")  # fmt: skip
    p.add_argument("--steps", type=int, default=d.steps, help="of a search at most (default 60)")
    p.add_cells("stationary", "networks")
    p.add_argument("--quick", action="store_true", help="a short run: hinge and squared, one seed, 20 searches each")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return STATIONARY.main(
        lambda: stationary(**chosen), "finished networks are kept, go on with --resume --out {folder}"
    )


if __name__ == "__main__":
    sys.exit(main())
