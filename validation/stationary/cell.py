"""One network, trained, and the stationary points that searches from many points of its training come to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import HessianOperator, Network, evaluate, find_stationary, network_from_text, train_epochs
from simulator.streams import Streams
from validation.data import Dataset, load_dataset
from validation.measurements.stationary import FOUND_KINDS, classify, index_of
from validation.run.plain_options import PlainOptions

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
NOISES = (0.1, 0.3, 1.0)  # of the starts behind the first round, over the rms of the weights, in turn
SAME = 1e-6  # of ||θ||: points closer than this are one
LOSSES = ("hinge", "logistic", "squared")


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its loss and seed."""

    network: str = "mlp:6x6"
    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    examples: int = 100
    epochs: int = 133
    batch_size: int = 32
    learning_rate: float = 0.02
    momentum: float = 0.9
    points: int = 9
    found: int = 50
    searches: int = 200
    tolerance: float = 1e-8
    steps: int = 60
    backend: str | None = None


def cell_name(loss: str, seed: int) -> str:
    return f"loss-{loss}-seed-{seed}"


def recorded_epochs(options: CellOptions) -> list[int]:
    """Epochs of the start, and of at most `points` - 1 more that grow by about the same factor."""
    later = np.geomspace(1.0, options.epochs, max(options.points - 1, 1))
    return sorted({0, *(round(float(e)) for e in later)})


def measure_cell(options: dict[str, Any], loss: str, seed: int) -> Record:
    """The record of one training and of the searches from it. Plain numbers only.

    Searches start at every recorded epoch, and go on in rounds with each noise in turn, until every noise had its round
    and `found` different points were found, or `searches` were made.
    """
    chosen, begun = CellOptions(**options), time.process_time()
    streams, which = Streams(seed), LOSSES.index(loss)
    data_rng, init, batches, starts, ends = (
        streams(f"stationary {what}", which) for what in ("data", "weights", "batches", "starts", "ends")
    )
    data = load_dataset(
        chosen.data, chosen.data_root, chosen.classes, chosen.examples, 1, seed=data_rng, dtype="float64"
    )  # fmt: skip
    backend = get_backend(chosen.backend, "float64")
    network = network_from_text(chosen.network, data.x.shape[1:])
    places = list(_places(chosen, network, data, loss, init, batches, backend))
    run = [_of_run(network, weights, data, loss, epoch, ends, backend) for epoch, weights in places]
    found: list[Record] = []
    points: list[Array] = []
    for made in range(chosen.searches):
        rounds, place = divmod(made, len(places))
        if rounds > len(NOISES) and len(points) >= chosen.found:
            break
        noise = NOISES[(rounds - 1) % len(NOISES)] if rounds else 0.0
        record, theta = _searched(chosen, network, places[place], noise, data, loss, starts, ends, backend)
        record["again"] = record["kind"] in FOUND_KINDS and any(_same(theta, other) for other in points)
        found.append(record)
        if record["kind"] in FOUND_KINDS and not record["again"]:
            points.append(theta)
    return {
        "loss": loss, "seed": seed, "weights": network.n_weights, "examples": int(data.y.size), "run": run,
        "searches": found, "cpu_seconds": round(time.process_time() - begun, 2),
    }  # fmt: skip


def _same(one: Array, other: Array) -> bool:
    return bool(np.linalg.norm(one - other) <= SAME * np.linalg.norm(other))


def _places(
    options: CellOptions, network: Network, data: Dataset, loss: str, init: np.random.Generator,
    batches: np.random.Generator, backend: Backend,
) -> Iterator[tuple[int, Sequence[Array]]]:  # fmt: skip
    """(epoch, weights) of the recorded epochs."""
    wanted, weights = recorded_epochs(options), network.init(init)
    yield 0, weights
    for state in train_epochs(
        network, weights, data.x, data.y, epochs=options.epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=loss, seed=batches, backend=backend,
    ):  # fmt: skip
        if state.epoch in wanted:
            yield state.epoch, state.weights


def _of_run(
    network: Network, weights: Sequence[Array], data: Dataset, loss: str, epoch: int, rng: np.random.Generator,
    backend: Backend,
) -> Record:  # fmt: skip
    """Risk and index at a point of the training itself, which need not be stationary."""
    seen = evaluate(network, weights, data.x, data.y, loss, backend)
    index = index_of(HessianOperator(network, weights, data.x, data.y, loss, backend=backend), rng)
    return {
        "epoch": epoch, "risk": seen.risk, "active": seen.active_fraction, "order_parameter": seen.order_parameter,
        **asdict(index),
    }  # fmt: skip


def _searched(
    options: CellOptions, network: Network, place: tuple[int, Sequence[Array]], noise: float, data: Dataset, loss: str,
    starts: np.random.Generator, ends: np.random.Generator, backend: Backend,
) -> tuple[Record, Array]:  # fmt: skip
    """A search from a recorded epoch, its weights moved by Gaussian noise of `noise` times their rms, and its end."""
    epoch, weights = place
    theta = network.flatten(weights)
    theta = theta + noise * float(np.sqrt(np.mean(theta**2))) * starts.standard_normal(theta.size)
    start = network.unflatten(theta)
    first = evaluate(network, start, data.x, data.y, loss, backend).risk
    search = find_stationary(
        network, start, data.x, data.y, loss, tolerance=options.tolerance, max_steps=options.steps, backend=backend
    )
    length = float(np.linalg.norm(network.flatten(search.weights)) / np.linalg.norm(theta))
    made = classify(network, search, data.x, data.y, loss, backend, ends)
    record = {"epoch": epoch, "noise": noise, "first_risk": first, "length": length} | made
    return record, network.flatten(search.weights)
