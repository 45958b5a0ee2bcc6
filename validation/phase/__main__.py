"""The command line of `python -m validation.phase`."""

from __future__ import annotations

import argparse
import sys

from validation.run.command import OneLineParser
from validation.run.plain_options import integer_list, seed_list

from .job import PHASE, PhaseOptions, phase


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `PhaseOptions`."""
    d = PhaseOptions()
    p = OneLineParser(
        prog=f"python -m {PHASE.program}",
        description="The plasticity phase diagram: networks of every width on every number of examples, on Dask.",
        allow_abbrev=False,
    )
    p.add_argument("--widths", type=integer_list, metavar="N,...", help="of the hidden layers (2,4,6,8,16,32)")
    p.add_argument("--examples", type=integer_list, metavar="M,...", help="class-balanced (50,100,200,400,800,1400)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (3)")
    p.add_argument("--depth", type=int, default=d.depth, metavar="L", help="layers of weights (default 4)")
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--labels", default=d.labels, metavar="true|random", help="random: fair coins (default true)")
    p.add_argument("--updates", type=int, help="at most so many updates of each network (6000)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--probes", type=int, default=d.probes, help=f"Lanczos probes (default {d.probes})")
    p.add_argument("--steps", type=int, default=d.steps, help="Lanczos steps (default 60)")
    p.add_argument("--eta", type=float, default=d.eta, help="smoothing half width in rms (default 0.05)")
    p.add_argument("--prediction-examples", type=int, default=d.prediction_examples, metavar="K",
                   help="R5 from at most K of the active examples, corrected (default 200)")  # fmt: skip
    p.add_argument("--prediction-seconds", type=float, default=d.prediction_seconds, metavar="S",
                   help="leave R5 out of a cell where it is estimated to take longer (default 60)")  # fmt: skip
    p.add_cells("phase")
    p.add_argument("--quick", action="store_true", help="a short run: a grid of 3 widths by 2 numbers of examples")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return PHASE.main(lambda: phase(**chosen), "finished cells are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
