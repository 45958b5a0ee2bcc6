"""The command line of `python -m validation.capacity`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser
from validation.run.plain_options import integer_list, seed_list, word_list

from .job import CAPACITY, CapacityOptions, capacity


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `CapacityOptions`."""
    d = CapacityOptions()
    p = OneLineParser(
        prog=f"python -m {CAPACITY.program}",
        description="The largest number of examples that networks fit: true and random labels, predicted and measured.",
        allow_abbrev=False,
    )
    p.add_argument("--widths", type=integer_list, metavar="N,...", help="of the hidden layers (10,12,16,20,28)")
    p.add_argument("--depths", type=integer_list, metavar="L,...", help="layers of weights (2,3)")
    p.add_argument("--labels", type=word_list, metavar="true,random", help="random: fair coins (default both)")
    p.add_argument("--losses", type=word_list, metavar="NAME,...", help="of squared_hinge and hinge (default both)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (4)")
    p.add_argument("--examples", type=int, metavar="M", help="at most so many (default: all digits, 5,000 images)")
    p.add_argument("--inputs", type=int, default=d.inputs, metavar="K",
                   help="leading principal components of the inputs; 0: all of the inputs (default 10)")  # fmt: skip
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--resolution", type=float, default=d.resolution, metavar="E",
                   help="the search ends where fitted and unfitted numbers differ by this share (0.05)")  # fmt: skip
    p.add_argument("--starts", type=int, default=d.starts,
                   help="fresh weights that are tried where dead gates lose examples (default 6)")  # fmt: skip
    p.add_argument("--iterations", type=int, help="at most so many of L-BFGS, for the squared hinge (4000)")
    p.add_argument("--updates", type=int, help="at most so many of stochastic descent, for the hinge (12000)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_cells("capacity")
    p.add_argument("--quick", action="store_true", help="a short run: narrow networks of depth 2, one loss")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact statement failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return CAPACITY.main(lambda: capacity(**chosen), "finished cells are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
