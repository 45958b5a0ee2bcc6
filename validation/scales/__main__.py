"""The command line of `python -m validation.scales`."""

from __future__ import annotations

import argparse
import sys

from simulator.network.text import FORMS
from validation.run.command import OneLineParser
from validation.run.plain_options import integer_list, seed_list

from .job import SCALES_RUN, ScalesOptions, scales


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `ScalesOptions`."""
    d = ScalesOptions()
    p = OneLineParser(
        prog=f"python -m {SCALES_RUN.program}",
        description="The laws of circuits, gradient, Hessian entries and eigenvalues through training, side by side.",
        allow_abbrev=False,
    )
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--network", default=d.network, help=f"{FORMS} (default {d.network})")
    p.add_argument("--examples", type=int, metavar="M", help="of the training (all digits, 5,000 images)")
    p.add_argument("--measured-examples", type=int, metavar="K",
                   help="on which gradient and Hessian are measured (200 digits, 1,000 images)")  # fmt: skip
    p.add_argument("--record", type=integer_list, metavar="E,...", help="epochs (0,1,2,5,10,20); the last one ends it")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (5)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--loss", default=d.loss, help="hinge (default), or another of the losses of compare")
    p.add_argument("--circuits", type=int, help="live circuits drawn for each order (20000)")
    p.add_argument("--entries", type=int, help="entries of the Hessian drawn (4000)")
    p.add_argument("--first", type=int, default=d.first, help=f"first weights behind them (default {d.first})")
    p.add_argument("--probes", type=int, default=d.probes, help="Lanczos probes of a large network (default 4)")
    p.add_argument("--steps", type=int, default=d.steps, help="Lanczos steps of a large network (default 120)")
    p.add_cells("scales", "networks")
    p.add_argument("--quick", action="store_true", help="a short run: three networks, two records, fewer draws")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return SCALES_RUN.main(lambda: scales(**chosen), "finished networks are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
