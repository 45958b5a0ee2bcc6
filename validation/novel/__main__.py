"""The command line of `python -m validation.novel`."""

from __future__ import annotations

import argparse
import sys

from validation.data import KINDS
from validation.run.command import OneLineParser
from validation.run.plain_options import number_list, seed_list, word_list

from .cell import BATCHES
from .job import SHOWINGS, novel
from .options import EXAMPLES, NOVEL, ROUNDS, NovelOptions


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `NovelOptions`."""
    d = NovelOptions()
    p = OneLineParser(
        prog=f"python -m {SHOWINGS.program}",
        description="Novel examples: train to risk 0, show new ones round after round, and follow the jump and its "
        "decay.",
        allow_abbrev=False,
    )
    p.add_argument("--network", default=d.network, metavar="TEXT",
                   help="mlp:, vgg12: or seq: as in validation.compare, {} for the width (mlp:{}x{}x{})")  # fmt: skip
    p.add_argument("--widths", type=number_list, metavar="N,...", help="what {} stands for (16,32,64,128)")
    p.add_argument("--seeds", type=seed_list, metavar="N|A,B,...", help="N: seeds 0 to N-1; A,B,...: these (6)")
    p.add_argument("--data", default=d.data, help="digits (default), cifar10, auto, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--held-out", metavar="CLASS,...", help="new classes (default: the last one of either label)")
    p.add_argument("--examples", type=int, metavar="M", help=f"learned first, class-balanced ({EXAMPLES})")
    p.add_argument("--novel", type=int, metavar="K", help=f"novel examples of one round ({NOVEL})")
    p.add_argument("--rounds", type=int, metavar="R", help=f"rounds of every kind ({ROUNDS})")
    p.add_argument(
        "--kinds", type=word_list, default=d.kinds, metavar="KIND,...", help=f"some of {','.join(KINDS)} (all)"
    )
    p.add_argument("--batch", default=d.batch, metavar="WHAT",
                   help=f"{BATCHES[0]} (default): old examples stay; {BATCHES[1]}: they are left out")  # fmt: skip
    p.add_argument("--no-twins", dest="twins", action="store_false",
                   help="leave out the networks that learn all examples but the last round's at once")  # fmt: skip
    p.add_argument("--updates", type=int, default=d.updates, help=f"at most so many in a round ({d.updates})")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--probes", type=int, default=d.probes, help=f"Lanczos probes (default {d.probes})")
    p.add_argument("--steps", type=int, default=d.steps, help=f"Lanczos steps (default {d.steps})")
    p.add_cells("novel")
    p.add_argument("--quick", action="store_true", help="a short run: two widths, two seeds, two rounds")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage or cluster, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return SHOWINGS.main(lambda: novel(**chosen), "finished cells are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
