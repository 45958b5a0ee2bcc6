"""The command line of `python -m validation.temperature`."""

from __future__ import annotations

import argparse
import sys

from simulator.network.text import FORMS
from validation.run.command import OneLineParser
from validation.run.plain_options import number_list, seed_list

from .job import TEMPERATURE, TemperatureOptions, temperature


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `TemperatureOptions`."""
    d = TemperatureOptions()
    p = OneLineParser(
        prog=f"python -m {TEMPERATURE.program}",
        description="How risk, gradient and Hessian spectrum change with the temperature of the gates, from 0 up.",
        allow_abbrev=False,
    )
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--network", default=d.network, help=f"{FORMS} (default {d.network})")
    p.add_argument("--temperatures", type=number_list, metavar="T,...", help="from 0 up (0,0.03,0.1,0.3,1,3)")
    p.add_argument("--e-step", default=d.e_step, metavar="STEP",
                   help="monte_carlo (default), or posterior, an importance sample (logistic)")  # fmt: skip
    p.add_argument("--gate-draws", type=int, metavar="S", help="draws of the gates of an example in a set (8)")
    p.add_argument("--examples", type=int, metavar="M", help="of the training (all digits, 5,000 images)")
    p.add_argument("--measured-examples", type=int, metavar="K",
                   help="on which spectra are measured and predicted (200 digits, 1,000 images)")  # fmt: skip
    p.add_argument("--epochs", type=int, help="of training (20)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (3)")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--loss", default=d.loss, help="hinge (default), or another of the losses of compare")
    p.add_argument("--probes", type=int, default=d.probes, help="sets of draws, a Lanczos probe in each (default 4)")
    p.add_argument("--draws", type=int, default=d.draws, help="of the ensembles RE and RK (default 2)")
    p.add_argument("--steps", type=int, help="Lanczos steps (240)")
    p.add_argument("--eta", type=float, default=d.eta, help="smoothing half width in rms (default 0.05)")
    p.add_cells("temperature")
    p.add_argument("--quick", action="store_true", help="a short run: two networks, three temperatures, fewer draws")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return TEMPERATURE.main(
        lambda: temperature(**chosen), "finished cells are kept, go on with --resume --out {folder}"
    )


if __name__ == "__main__":
    sys.exit(main())
