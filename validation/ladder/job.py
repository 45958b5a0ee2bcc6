"""`python -m validation.ladder`: every rung of the predicted spectrum over widths, depths and training.

Perceptrons on coarse images, dense eigenvalues, L1 as in docs/theory/estimators.md. From Python:
``ladder(widths=(12, 24, 36), depths=(3, 4), out="runs/ladder")``, the same options as on the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends import Backend, get_backend
from simulator.streams import Streams, spawn_streams
from validation.data import load_dataset
from validation.errors import OptionError
from validation.predictions.rung import RUNGS
from validation.report.experiment import Experiment
from validation.report.finished import FinishedRun
from validation.run.command import Clock
from validation.run.console import say
from validation.run.plain_options import PlainOptions

from .answer import answer
from .cases import Problem, convergence, draw_networks, measure_case, name_of
from .spectra import ENERGIES, ETA, SIDE, coarse_images
from .training import measure_training

DEFAULTS: dict[str, Any] = {
    "examples": 60,
    "networks": 5,
    "widths": (12, 24, 36),
    "depths": (3, 4),
    "train": (0, 100, 400),
    "draws": 6,
}
QUICK: dict[str, Any] = {
    "examples": 30,
    "networks": 3,
    "widths": (6, 9, 14),
    "depths": (3,),
    "train": (0, 100),
    "draws": 3,
}

MOST_LAYERS = 100


DEFAULT_RUNGS = tuple(name for name, rung in RUNGS.items() if rung.recorded and not rung.ensemble.get("profile"))
"""Norms of neurons and given directions add nothing where weights are fresh, or nearly so."""


@dataclass(frozen=True)
class LadderOptions(PlainOptions):
    """What the command line takes; None: the default, which `quick` makes smaller.

    widths × depths are the perceptrons of constant width, `hidden` further ones; `train` the steps after which those of
    `train_widths` (the middle one of `widths`) and of `hidden` are compared again, `draws` the fresh weights at frozen
    signals behind each of these.
    """

    LEAST = {"examples": 4, "networks": 2, "draws": 0, "seed": 0}  # noqa: RUF012

    backend: str | None = None
    data: str = "digits"
    classes: str | None = None
    examples: int | None = None
    networks: int | None = None
    widths: Sequence[int] | None = None
    depths: Sequence[int] | None = None
    hidden: Sequence[Sequence[int]] = ()
    rungs: Sequence[str] = DEFAULT_RUNGS
    train: Sequence[int] | None = None
    train_widths: Sequence[int] | None = None
    learning_rate: float = 0.003
    draws: int | None = None
    seed: int = 0
    out: str | None = None
    quick: bool = False

    def completed(self) -> LadderOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | (QUICK if self.quick else {})
        done = replace(self.filled(given), out=self.folder("ladder"))
        if done.train_widths is None:
            done = replace(done, train_widths=sorted(done.widths or ())[len(done.widths or ()) // 2 :][:1])
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        if self.draws == 1:
            raise OptionError("--draws 1: expected 0 for none, or at least 2 for a standard error")
        for name, least in (("widths", 1), ("depths", 2), ("train", 0), ("train_widths", 1)):
            values = getattr(self, name)
            if any(v < least for v in values) or len(set(values)) < len(values):
                text = ",".join(map(str, values))
                raise OptionError(f"--{name.replace('_', '-')} {text}: expected different integers >= {least}")
        if any(not shape or min(shape) < 1 for shape in self.hidden):
            raise OptionError(f"--hidden {list(self.hidden)}: expected hidden widths >= 1, such as 44x20x30")
        if max(self.depths or (), default=0) > MOST_LAYERS:
            raise OptionError(f"--depths {max(self.depths or ())}: expected at most {MOST_LAYERS} layers of weights")
        strange = sorted(set(self.train_widths or ()) - set(self.widths or ()))
        if strange:
            raise OptionError(f"--train-widths {strange[0]}: expected some of --widths {list(self.widths or ())}")
        unknown = [r for r in self.rungs if r not in RUNGS]
        if unknown or not self.rungs:
            raise OptionError(f"--rungs {','.join(self.rungs)}: expected some of {', '.join(RUNGS)}")
        self.check_positive("learning_rate")
        if not self.cases:
            raise OptionError("no network to look at: give --widths and --depths, or --hidden")

    @property
    def cases(self) -> list[tuple[int, ...]]:
        """Hidden widths of every case, each once."""
        grid = [(width,) * (depth - 1) for depth in self.depths or () for width in self.widths or ()]
        return list(dict.fromkeys([*grid, *map(tuple, self.hidden)]))

    def trained(self, hidden: tuple[int, ...]) -> bool:
        """Whether a case is compared through training."""
        if not self.train:
            return False
        named = hidden in set(map(tuple, self.hidden))
        return named or (len(set(hidden)) == 1 and hidden[0] in (self.train_widths or ()))


class LadderReport(FinishedRun):
    """A finished run: ``data`` is the content of ladder.json, ``path`` the folder it stands in."""

    KIND = "ladder"
    PICTURE = ("ladder_density", "densities of the smallest cases, measured and predicted")

    def answer(self) -> str:
        """The report in one sentence, without its stop."""
        return answer(self.data)


LADDER = Experiment("ladder", LadderReport)


def ladder(**options: Any) -> LadderReport:
    """Hold every rung against measured spectra; write ladder.json, ladder.html and figures/*.png to `out`.

    Options as `LadderOptions`. Raises `OptionError`, `DataError`, `StorageError` or `BackendUnavailableError` before
    any work is done and `simulator.TrainingDivergedError`; nothing is written unless the run comes to its end.
    """
    chosen = LadderOptions(**options).completed()
    ops = get_backend(chosen.backend, "float64")
    return LADDER.whole(chosen.folder(), lambda clock: _compute(chosen, ops, clock))


def _compute(options: LadderOptions, ops: Backend, clock: Clock) -> dict[str, Any]:
    """The content of the report, but for the time it took."""
    examples, networks, steps, draws = options.examples, options.networks, options.train, options.draws
    assert examples is not None
    assert networks is not None
    assert steps is not None
    assert draws is not None
    streams = Streams(options.seed).spawn("ladder", 1 + len(options.cases))
    dataset = load_dataset(options.data, classes=options.classes, examples=examples, seed=streams[0], dtype="float64")
    source = f"{dataset.source}, averaged to {SIDE}×{SIDE} grey pixels"
    say(f"data: {source}")
    problem = Problem(coarse_images(dataset), dataset.y, tuple(options.rungs), ops)
    cases, training = [], []
    for hidden, stream in zip(options.cases, streams[1:], strict=True):
        name = name_of(hidden, problem.x.shape[1])
        first, second, third = spawn_streams(stream, 3)
        weights = draw_networks(problem.network(hidden), networks, first)
        cases.append(measure_case(problem, hidden, weights, second) | {"name": name})
        clock.lap(name)
        if options.trained(hidden):
            record = measure_training(problem, hidden, weights, sorted(steps), options.learning_rate, draws, third)
            training.append(record | {"name": name})
            clock.lap(f"{name} trained")
    return LADDER.head(options.kept(), ops, seed=options.seed) | {
        "dataset": source,
        "examples": int(problem.y.size),
        "eta": ETA,
        "energies": ENERGIES.tolist(),
        "cases": cases,
        "training": training,
        "convergence": convergence(cases),
    }
