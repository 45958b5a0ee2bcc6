"""One network, trained, and the laws of its scales at every recorded epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from backends import get_backend
from simulator import Network, TrainingDivergedError, evaluate, network_from_text, train_epochs
from simulator.streams import Streams
from validation.data import load_dataset
from validation.measurements.scales import measure_scales
from validation.run.plain_options import PlainOptions

Array = np.ndarray[Any, Any]
Record = dict[str, Any]


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its seed; None: the default."""

    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    network: str = "mlp:24x24x24"
    examples: int | None = None
    measured_examples: int | None = None
    record: Sequence[int] | None = None
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    loss: str = "hinge"
    circuits: int | None = None
    entries: int | None = None
    first: int = 300
    probes: int = 4
    steps: int = 120
    backend: str | None = None


def cell_name(seed: int) -> str:
    """The name of the cell of a seed."""
    return f"seed-{seed}"


def measure_cell(options: dict[str, Any], seed: int) -> Record:
    """The scales of the network of a seed through its training; plain numbers only.

    Data, weights, batches and measurements have streams of their own. ``diverged``: why it was left out, or None.
    """
    chosen, begun = CellOptions(**options), time.process_time()
    streams = Streams(seed)
    data = load_dataset(
        chosen.data, chosen.data_root, chosen.classes, chosen.examples, chosen.measured_examples,
        seed=streams("scales data"),
    )  # fmt: skip
    backend = get_backend(chosen.backend, str(data.x.dtype))
    network = network_from_text(chosen.network, data.x.shape[1:])
    x, y, due = data.x[data.spectrum], data.y[data.spectrum], sorted(chosen.record or ())
    first = network.init(streams("scales weights"))
    trained = train_epochs(
        network, first, data.x, data.y, epochs=due[-1], batch_size=chosen.batch_size, loss=chosen.loss,
        learning_rate=chosen.learning_rate, momentum=chosen.momentum, seed=streams("scales batches"), backend=backend,
    )  # fmt: skip
    states = chain([(0, first)], ((state.epoch, state.weights) for state in trained))
    cell: Record = {"seed": seed, "network": network_words(network), "depth": network.depth, "diverged": None}
    cell |= {"weights": network.n_weights, "examples": len(data.y), "measured": len(y), "records": []}
    try:
        for epoch, weights in states:
            if epoch not in due:
                continue
            found = evaluate(network, weights, data.x, data.y, chosen.loss, backend)
            laws = measure_scales(
                network, weights, x, y, loss=chosen.loss, circuits=chosen.circuits or 0, entries=chosen.entries or 0,
                first=chosen.first, probes=chosen.probes, steps=chosen.steps, backend=backend,
                rng=streams("scales records", epoch),
            )  # fmt: skip
            cell["records"].append({"epoch": epoch, "risk": found.risk, "accuracy": found.accuracy, **laws})
    except TrainingDivergedError as error:
        cell |= {"diverged": str(error), "records": []}
    return cell | {"cpu_seconds": round(time.process_time() - begun, 2)}


def network_words(network: Network) -> str:
    """Numbers of neurons or channels of the layers, such as 64-24-24-24-1."""
    return "-".join(str(shape[-1]) for shape in (network.input_shape, *network.weight_shapes))
