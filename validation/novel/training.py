"""Training that is looked at more often at its beginning than later, until the risk of its batch is exactly 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import Evaluation, Network, TrainingDivergedError, evaluate, train_epochs
from simulator.streams import Streams
from validation.data import Examples

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
LOSS = "hinge"
GROWTH = 1.1  # of the number of updates from one look to the next
DIVERGED = 1e12  # beyond this risk nothing is learned any more


@dataclass(frozen=True)
class Descent:
    """Stochastic gradient descent with momentum, the velocity 0 at first; what stays fixed through a cell."""

    network: Network
    backend: Backend
    batch_size: int
    learning_rate: float
    momentum: float
    updates: int

    def states(self, weights: Sequence[Array], examples: Examples, rng: np.random.Generator) -> Iterator[State]:
        """The weights after 0, 1, 2, ... updates, at `looks`, for at most `updates` of them.

        Batches are cut from one random order of the examples after another.
        """
        streams, order, velocity = Streams(rng), np.empty(0, dtype=np.int64), None
        size = min(self.batch_size, len(examples.y))
        yield State(0, [np.asarray(w) for w in weights])
        before = 0
        for look in looks(self.updates):
            need, made = (look - before) * size, [order]
            while sum(map(len, made)) < need:
                made.append(streams("batches", look, len(made)).permutation(len(examples.y)))
            rows, order = np.split(np.concatenate(made), [need])
            (state,) = train_epochs(
                self.network, weights, examples.x[rows], examples.y[rows], epochs=look, first_epoch=look,
                batch_size=size, learning_rate=self.learning_rate, momentum=self.momentum, loss=LOSS,
                seed=streams("batches", look), backend=self.backend, velocity=velocity,
            )  # fmt: skip
            weights, velocity, before = state.weights, state.velocity, look
            yield State(look, state.weights)


@dataclass(frozen=True)
class State:
    """Host ``weights`` after so many ``updates``."""

    updates: int
    weights: list[Array]


def looks(most: int) -> list[int]:
    """Numbers of updates from 1 to `most`: each the least integer that is `GROWTH` times the one before.

    >>> looks(16)
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16]
    """
    found: list[int] = []
    at = 1
    while at < most:
        found.append(at)
        at = max(at + 1, int(np.ceil(GROWTH * at - 1e-9)))
    return [*found, most]


@dataclass(frozen=True)
class Batch:
    """What a training visits: the ``old`` examples (None where they are left out) and the ``novel`` ones, or either."""

    old: Examples | None
    novel: Examples | None

    @property
    def examples(self) -> Examples:
        """All of them, the old ones first."""
        parts = [part for part in (self.old, self.novel) if part is not None]
        return parts[0].with_more(parts[1:])


def point(descent: Descent, state: State, old: Examples | None, novel: Examples | None, batch: Batch) -> Record:
    """Risk, order parameter and active examples of the batch, and the risks of the old and of the novel examples.

    With m old and k novel examples R = (m R_old + k R_novel)/(m + k), and so ∇R. Raises `TrainingDivergedError`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        seen = {
            name: evaluate(descent.network, state.weights, part.x, part.y, LOSS, descent.backend)
            for name, part in (("old", old), ("novel", novel))
            if part is not None
        }
    if not all(e.risk <= DIVERGED for e in seen.values()):
        raise TrainingDivergedError(state.updates, descent.learning_rate)
    sizes = {"old": None if batch.old is None else len(batch.old.y), "novel": batch.novel and len(batch.novel.y)}
    return {
        "updates": state.updates,
        **together([(seen[name], size) for name, size in sizes.items() if size]),
        "old": seen["old"].risk if "old" in seen else None,
        "novel": seen["novel"].risk if "novel" in seen else None,
    }


def together(parts: Sequence[tuple[Evaluation, int]]) -> Record:
    """Risk, order parameter (15), active examples and their share, of several sets of examples with their sizes."""
    m = sum(size for _, size in parts)
    total = [
        sum(e.gradient[k].astype(np.float64) * size for e, size in parts) for k in range(len(parts[0][0].gradient))
    ]
    active = sum(round(e.active_fraction * size) for e, size in parts)
    return {
        "risk": float(sum(e.risk * size for e, size in parts) / m),
        "order_parameter": float(sum(np.sum(np.square(g / m)) for g in total)),
        "active": active,
    }
