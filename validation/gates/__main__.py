"""The command line of `python -m validation.gates`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from validation.run.command import OneLineParser

from .job import GATES, GatesOptions, gates


def _listed(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A parser of lists."""

    def parse(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = "list"  # argparse says "invalid list value"
    return parse


def parser() -> argparse.ArgumentParser:
    """The options of the command line; defaults as in `GatesOptions`."""
    d = GatesOptions()
    p = OneLineParser(
        prog=f"python -m {GATES.program}",
        description="Gates at temperatures through training: how probable the ReLU gates are, and their free energy.",
        allow_abbrev=False,
    )
    p.add_argument("--data", default=d.data, help="auto (default), digits, cifar10, an image FOLDER or a ZIP of one")
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--network", default=d.network, metavar="auto|mlp:64x64|vgg12[:WIDTH]|seq:conv8,pool,dense8",
                   help="sampled and searched (auto: mlp:64x64x64, of images vgg12:0.25)")  # fmt: skip
    p.add_argument("--small", default=d.small, metavar="mlp:N1xN2", help=f"summed over all gates ({d.small})")
    p.add_argument("--examples", type=int, metavar="M", help="training examples (all digits, 5000 images)")
    p.add_argument("--measured", type=int, metavar="K", help="of them, whose gates are looked at (200; images 48)")
    p.add_argument("--searched", type=int, metavar="K", help="of these, for more probable gates (100; images 12)")
    p.add_argument("--temperatures", type=_listed(float), metavar="T,...", help="of the gates (0.1,0.3,1,3)")
    p.add_argument("--draws", type=int, help="of the gates of every measured example (20; images 4)")
    p.add_argument("--search-steps", type=int, default=d.search_steps, help=f"of a search ({d.search_steps})")
    p.add_argument("--epochs", type=int, help="of training, at temperature 0 (40)")
    p.add_argument("--record", type=_listed(int), metavar="E,...", help="epochs at which gates are measured")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--momentum", type=float, default=d.momentum)
    p.add_argument("--loss", default=d.loss, help="hinge (default), perceptron, logistic or squared")
    p.add_argument("--seed", type=int, default=d.seed)
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--dtype", help="float64 or float32 (default: float32 for images)")
    p.add_argument("--out", metavar="DIR", help="default: runs/gates, and what was chosen")
    p.add_argument("--resume", action="store_true", help="keep the finished cells in --out; records may be added")
    p.add_argument("--quick", action="store_true", help="a short run: few epochs, temperatures and examples")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage, 3 training diverged, 70 unexpected error, 130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return GATES.main(lambda: gates(**chosen), "finished cells are kept, go on with --resume --out {folder}")


if __name__ == "__main__":
    sys.exit(main())
