"""One network: trained to risk 0, then shown novel examples round after round, of every kind from the same weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backends import get_backend
from simulator import Network, TrainingDivergedError, evaluate
from simulator.network.text import network_from_text
from simulator.streams import Streams
from validation.data import Examples, Portions, load_portions
from validation.run.plain_options import PlainOptions

from .decay import decay
from .moments import share_record, spectrum_record
from .training import LOSS, Batch, Descent, State, point

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
STAGES = {"jump": 1.0, "half": 0.5, "tenth": 0.1}  # the risk, over that of the jump, at which the spectrum is measured
BATCHES = ("old+novel", "novel")
CONTROL = "again"
SCALE = 1_000_000  # widths as whole numbers, which a stream takes


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its width and seed."""

    network: str = "mlp:{}x{}x{}"
    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    held_out: str | None = None
    examples: int = 200
    novel: int = 40
    rounds: int = 6
    kinds: tuple[str, ...] = ("same", "new", CONTROL)
    batch: str = BATCHES[0]
    twins: bool = True
    updates: int = 6000
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    probes: int = 4
    steps: int = 40
    backend: str | None = None


def cell_name(width: float, seed: int) -> str:
    return f"width-{width:g}-seed-{seed}"


def network_text(network: str, width: float) -> str:
    """The text of a network in which {} stands for the width.

    >>> network_text("mlp:{}x{}", 16.0), network_text("vgg12:{}", 0.25)
    ('mlp:16x16', 'vgg12:0.25')
    """
    return network.replace("{}", f"{width:g}")


def portions_of(options: CellOptions, seed: int) -> Portions:
    """The examples of a seed: the same for every width."""
    return load_portions(
        options.data, options.data_root, options.classes, options.held_out, options.examples, options.novel,
        options.rounds, options.kinds, seed=Streams(seed)("novel data"),
    )  # fmt: skip


def measure_cell(options: dict[str, Any], width: float, seed: int) -> Record:
    """The record of one network: its first training, and for every kind its rounds. Plain numbers only."""
    begun = time.process_time()
    shown = Showing(CellOptions(**options), width, seed)
    first, weights = shown.trained(shown.portions.first, shown.stream("base"))
    record: Record = {"width": width, "seed": seed, "weights": shown.network.n_weights, "first": first, "kinds": {}}
    record["twins"] = {}
    for number, kind in enumerate(shown.options.kinds):
        record["kinds"][kind] = shown.rounds(kind, number, weights)
        if shown.options.twins and kind != CONTROL and shown.options.rounds > 1:
            record["twins"][kind] = shown.twin(kind, number)
    return record | {"cpu_seconds": round(time.process_time() - begun, 2)}


class Showing:
    """What stays fixed through a cell, and what is done with it."""

    def __init__(self, options: CellOptions, width: float, seed: int) -> None:
        self.options, self._streams, self._width = options, Streams(seed), round(SCALE * width)
        self.portions = portions_of(options, seed)
        x = self.portions.first.x
        self.network: Network = network_from_text(network_text(options.network, width), x.shape[1:])
        self.descent = Descent(
            self.network, get_backend(options.backend, str(x.dtype)), options.batch_size, options.learning_rate,
            options.momentum, options.updates,
        )  # fmt: skip

    def stream(self, what: str, *index: int) -> np.random.Generator:
        return self._streams(f"novel {what}", self._width, *index)

    @cached_property
    def start(self) -> list[Array]:
        """The weights before any training: those of a twin, too."""
        return self.network.init(self.stream("weights"))

    def trained(self, examples: Examples, rng: np.random.Generator) -> tuple[Record, list[Array]]:
        """The first training, to risk 0 or the last update. `outcome`: "zero", "above" or "diverged"."""
        points, weights = [], self.start
        try:
            for state in self.descent.states(self.start, examples, rng):
                points.append(point(self.descent, state, examples, None, Batch(examples, None)))
                weights = state.weights
                if points[-1]["risk"] == 0.0:
                    break
        except TrainingDivergedError:
            return {"outcome": "diverged", "points": points}, weights
        return {"outcome": "zero" if points[-1]["risk"] == 0.0 else "above", "points": points}, weights

    def rounds(self, kind: str, number: int, weights: Sequence[Array]) -> list[Record]:
        """Every round of a kind, each from where the last one ended; what diverged is not gone on with.

        Examples that were shown are old ones in the next round. Those that are shown again stay the first examples.
        """
        found: list[Record] = []
        old = self.portions.first
        for k, novel in enumerate(self.portions.later[kind]):
            made, weights = self.round(old, novel, weights, kind, (number, k))
            found.append({"round": k + 1, **made})
            if made["outcome"] == "diverged":
                break
            old = old if kind == CONTROL else old.with_more([novel])
        return found

    def twin(self, kind: str, number: int) -> Record:
        """The last round of a network that learned the examples of all rounds before at once, from the same start.

        It has seen what the perturbed network has, and was never perturbed.
        """
        *before, last = self.portions.later[kind]
        old = self.portions.first.with_more(before)
        first, weights = self.trained(old, self.stream("base", number + 1))
        if first["outcome"] == "diverged":
            return {"first": first}
        made, _ = self.round(old, last, weights, kind, (number, self.options.rounds))
        return {"first": first, "round": self.options.rounds, **made}

    def round(
        self, old: Examples, novel: Examples, weights: Sequence[Array], kind: str, place: tuple[int, int]
    ) -> tuple[Record, list[Array]]:
        """One showing: the state before it, the jump, and the way back to risk 0; the weights at its end.

        `outcome`: "zero"; "flat" (risk above 0 and a gradient of exactly 0: active examples are dead); "above";
        "diverged".
        """
        batch = Batch(old if self.options.batch == BATCHES[0] else None, novel)
        shown = batch.examples
        moments = [self._moment("before", weights, old, old, novel, place)]
        points: list[Record] = []
        due, outcome = list(STAGES), "above"
        state = State(0, list(weights))
        least = -(-len(shown.y) // self.options.batch_size) if kind == CONTROL else 0  # a pass that changes nothing
        try:
            for state in self.descent.states(weights, shown, self.stream("batches", *place)):
                points.append(point(self.descent, state, old, novel, batch))
                risk = points[-1]["risk"]
                reached = [s for s in due if 0.0 < risk <= STAGES[s] * points[0]["risk"]]
                if reached:  # of several passed between two looks the last one
                    moment = self._moment(reached[-1], state.weights, shown, old, novel, place)
                    moments.append(moment | {"updates": state.updates})
                    due = due[due.index(reached[-1]) + 1 :]
                if risk == 0.0 and state.updates >= least:
                    outcome = "zero"
                    break
        except TrainingDivergedError:
            outcome = "diverged"
        else:
            if outcome == "above" and points[-1]["order_parameter"] == 0.0:
                outcome = "flat"
            moments.append(self._moment("end", state.weights, shown, old, novel, place) | {"updates": state.updates})
        record = self._described(points, old, novel, weights, shown)
        return record | {"outcome": outcome, "points": points, "moments": moments}, state.weights

    def _described(
        self, points: list[Record], old: Examples, novel: Examples, weights: Sequence[Array], shown: Examples
    ) -> Record:
        """What is read off a way: sizes, the jump beside a direct computation, decay times."""
        direct = evaluate(self.network, weights, shown.x, shown.y, LOSS, self.descent.backend)
        updates = [p["updates"] for p in points]
        return {
            "examples": {"old": len(old.y), "novel": len(novel.y), "batch": len(shown.y)},
            "direct": {"risk": direct.risk, "order_parameter": direct.order_parameter},
            "decay": {key: decay(updates, [p[key] for p in points]) for key in ("risk", "order_parameter")},
        }

    def _moment(
        self, stage: str, weights: Sequence[Array], batch: Examples, old: Examples, novel: Examples,
        place: tuple[int, int],
    ) -> Record:  # fmt: skip
        """The spectrum on the examples of the batch, and the aligned share on old and novel ones."""
        ops, rng = self.descent.backend, self.stream("records", *place, ["before", *STAGES, "end"].index(stage))
        of_shares = {"old": old, "novel": novel}
        return {
            "stage": stage,
            "updates": 0,
            **spectrum_record(self.network, weights, batch, self.options.probes, self.options.steps, ops, rng),
            "aligned": {name: share_record(self.network, weights, part, ops) for name, part in of_shares.items()},
        }
