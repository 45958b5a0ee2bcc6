"""The command line of `python -m validation.chaos`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser
from validation.run.plain_options import number_list, seed_list

from .job import CHAOS, ChaosOptions, chaos


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `ChaosOptions`."""
    d = ChaosOptions()
    p = OneLineParser(
        prog=f"python -m {CHAOS.program}",
        description="The edge of chaos by correlations of two inputs, through training, over the gain of the weights.",
        allow_abbrev=False,
    )
    p.add_argument("--gains", type=number_list, metavar="G,...",
                   help="of the hidden layers, over variance 2/fan-in (0.1 to 4, nine of them)")  # fmt: skip
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (6)")
    p.add_argument("--width", type=int, default=d.width, metavar="N", help="of the hidden layers (default 24)")
    p.add_argument("--depth", type=int, default=d.depth, metavar="L", help="layers of weights (default 5)")
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--examples", type=int, default=d.examples, help="class-balanced (default 150)")
    p.add_argument("--updates", type=int, help="at most so many updates of each network (3000)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--probes", type=int, default=d.probes, help=f"Lanczos probes (default {d.probes})")
    p.add_argument("--steps", type=int, default=d.steps, help=f"Lanczos steps (default {d.steps})")
    p.add_cells("chaos", "networks")
    p.add_argument("--quick", action="store_true", help="a short run: three gains, two seeds")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status: 0 done, 2 usage or cluster, 70 unexpected error, 130 interrupted."""
    chosen = vars(parser().parse_args(arguments))
    return CHAOS.main(lambda: chaos(**chosen), "finished networks are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
