"""`python -m validation.compare`: the command line of the main job."""

from __future__ import annotations

import argparse
import sys

from simulator.passes.losses import LOSSES
from validation.report.text import outcome
from validation.run.command import EXIT_DIVERGED, EXIT_FACT_FAILED, OneLineParser, exit_status, stop
from validation.run.console import say
from validation.run.plain_options import seed_list

from .answer import answer
from .job import compare
from .options import Options
from .report import Report

PROGRAM = "validation.compare"


def _epochs(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def parser() -> argparse.ArgumentParser:
    """The options of the main job; defaults as in `Options`."""
    d = Options()
    p = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description="Train a ReLU network, measure its Hessian spectrum through training, predict it, and compare.",
        allow_abbrev=False,
    )
    p.add_argument("--backend", help="numba (default), numpy or cupy")
    p.add_argument("--dtype", help="float64 or float32 (default: float32 for images, else float64)")
    p.add_argument("--tf32", action="store_true", help="cupy, float32: convolutions on tensor cores, 10-bit factors")
    p.add_argument("--data", default=d.data, metavar="DATA",
                   help="auto (default), digits, cifar10, an image FOLDER or ZIP, FILE.npz of x and y")  # fmt: skip
    p.add_argument("--data-root", default=d.data_root, metavar="DIR", help="where CIFAR-10 is or goes (default: data)")
    p.add_argument("--classes", metavar="NEG:POS", help="names or indices, comma-separated; others are dropped")
    p.add_argument("--network", default=d.network, help="auto, mlp:W1xW2x..., vgg12[:WIDTH], seq:conv8,pool,avg,dense8")
    p.add_argument("--weights", metavar="FILE",
                   help="start from a .pt, .safetensors or .npz file (--epochs 0: only measure it)")  # fmt: skip
    p.add_argument("--weights-names", type=_words, metavar="A,B,...",
                   help="the arrays of that file, first layer to last, where it does not say their order")  # fmt: skip
    p.add_argument("--weights-key", metavar="KEY", help="the state dictionary in a checkpoint of several")
    p.add_argument("--examples", type=int, metavar="M", help="training examples (default: all digits, 5000 images)")
    p.add_argument("--spectrum-examples", type=int, metavar="K",
                   help="the subset for spectrum and prediction (default: 200 digits, 1000 images)")  # fmt: skip
    p.add_argument("--epochs", type=int, help="default 40")
    p.add_argument("--record", type=_epochs, metavar="E0,E1,...", help="default 0,1,2,3,5,10,15 and the last")
    p.add_argument("--batch-size", type=int, default=d.batch_size)
    p.add_argument("--learning-rate", type=float, default=d.learning_rate)
    p.add_argument("--rate-drops", type=_epochs, default=d.rate_drops, metavar="E0,E1,...",
                   help="epochs after which the learning rate falls to a tenth")  # fmt: skip
    p.add_argument("--momentum", type=float, default=d.momentum)
    others = ", ".join(name for name in LOSSES if name != d.loss)
    p.add_argument("--loss", default=d.loss, help=f"{d.loss} (default), {others}")
    p.add_argument("--temperature", type=float, default=d.temperature, metavar="T",
                   help="of the gates, P(h = 1) = σ(z/T), in training and spectra (default 0: ReLU)")  # fmt: skip
    p.add_argument("--e-step", metavar="STEP",
                   help="at T > 0: monte_carlo (default), or posterior, an importance sample (logistic)")  # fmt: skip
    p.add_argument("--gate-draws", type=int, metavar="S",
                   help="draws of the gates of an example that are averaged at T > 0 (default 4)")  # fmt: skip
    p.add_argument("--probes", type=int, default=d.probes, help="Lanczos probes (default 4)")
    p.add_argument("--steps", type=int, help="Lanczos steps (default 60)")
    p.add_argument("--eta", type=float, default=d.eta, help="smoothing half width in rms (default 0.05)")
    p.add_argument("--prediction-seconds", type=float, metavar="S",
                   help="leave out a rung estimated to take longer at one epoch (default 120)")  # fmt: skip
    p.add_argument("--prediction-examples", type=int, metavar="K",
                   help="predict from K of the active spectrum examples, corrected (default: all)")  # fmt: skip
    p.add_argument("--draws", type=int, metavar="D",
                   help="draws of each sampled rung, RE to RK (default: half of --probes, at least 2)")  # fmt: skip
    p.add_argument("--entries", action="store_true", help="statistics of Hessian entries too (figs. 6, 7)")
    p.add_argument("--entry-examples", type=int, metavar="K",
                   help="the entries at K of the training examples (default: all)")  # fmt: skip
    p.add_argument("--structure", action="store_true",
                   help="which layers and directions the spectrum sees")  # fmt: skip
    p.add_argument("--whole", action="store_true",
                   help="the spectrum of H + G and of the Gram matrix of gradients")  # fmt: skip
    p.add_argument("--seed", type=int, default=d.seed)
    several = p.add_argument_group("several seeds, on Dask", argument_default=argparse.SUPPRESS)
    several.add_argument("--seeds", type=seed_list, metavar="N|A,B,...",
                         help="the same with seeds 0 to N-1, or these; means and standard errors")  # fmt: skip
    several.add_argument("--workers", type=int, metavar="K", help="local processes (default: one for each core)")
    several.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler instead, such as tcp://host:8786")
    p.add_argument("--out", metavar="DIR",
                   help="default: runs/ and a name of the data, the network and what was chosen")  # fmt: skip
    p.add_argument("--resume", action="store_true", help="go on with the run in --out")
    p.add_argument("--save-seconds", type=float, default=d.save_seconds, metavar="S",
                   help="keep what was reached inside a long step this often (default 60)")  # fmt: skip
    p.add_argument("--stop-after", type=float, metavar="S",
                   help="stop between two steps after S seconds, exit status 4: go on with --resume")  # fmt: skip
    p.add_argument(
        "--memory", metavar="SIZE", help="the most that the process may hold, such as 8GB (what is available)"
    )
    p.add_argument("--quick", action="store_true", help="a short run: fewer epochs, steps and spectrum examples")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status.

    0 done, 1 an exact fact failed, 2 usage, 3 diverged, 4 stopped by --stop-after, 70 unexpected error,
    130 interrupted.
    """
    chosen = vars(parser().parse_args(arguments))
    return exit_status(
        PROGRAM,
        lambda: compare(**chosen),
        _conclude,
        interrupted="go on with --resume" + ("" if chosen["out"] is None else f" --out {chosen['out']}"),
        diverged="what was recorded before is in {folder}",
    )


def _conclude(report: Report) -> int:
    say(f"\n{answer(report.data)}.\n\n{outcome(report.data['claims'])}\n")
    say(f"report: {report.page}", whole=True)
    if report.failed_facts:
        said = f"exact facts failed, which is a bug: {', '.join(report.failed_facts)}"
        return stop(PROGRAM, said, EXIT_FACT_FAILED)
    if diverged := report.data.get("diverged"):
        return stop(PROGRAM, f"training diverged: {diverged}", EXIT_DIVERGED)
    return 0


if __name__ == "__main__":
    sys.exit(main())
