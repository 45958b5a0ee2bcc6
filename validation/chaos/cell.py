"""One network of a gain: its correlation map, stretch and Hessian symmetry on the way to zero risk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import (
    HessianOperator,
    Network,
    TrainingDivergedError,
    evaluate,
    mlp,
    spectral_density,
    train_epochs,
)
from simulator.streams import Streams, spawn_streams
from validation.data import Dataset, load_dataset
from validation.measurements.chaos import correlations_record
from validation.measurements.spectrum import describe_spectrum
from validation.run.plain_options import PlainOptions

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
LOSS = "hinge"
STAGES = {"start": 1.0, "half": 0.5, "tenth": 0.1}  # of the first risk, at which the symmetry of the Hessian is tested
LAST = "last"


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its gain and seed."""

    width: int = 24
    depth: int = 5
    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    examples: int = 150
    updates: int = 3000
    batch_size: int = 50
    learning_rate: float = 0.01
    momentum: float = 0.9
    probes: int = 12
    steps: int = 40
    backend: str | None = None


def cell_name(gain: float, seed: int) -> str:
    return f"gain-{gain:g}-seed-{seed}"


def scaled_weights(network: Network, gain: float, seed: np.random.Generator) -> list[Array]:
    """Gaussian weights of variance 2 gain²/fan-in in hidden layers; the last layer's are not scaled."""
    weights = network.init(seed)
    return [*(gain * w for w in weights[:-1]), weights[-1]]


def recorded(epoch: int) -> bool:
    """Epochs 0, 1, 2, 4, 8, ...: as many in every doubling."""
    return epoch & (epoch - 1) == 0


def measure_cell(options: dict[str, Any], gain: float, seed: int) -> Record:
    """The record of one network. All gains of a seed share data, batches and weights but for the factor.

    ``outcome``: "zero" (risk exactly 0), "flat" (H = 0 at a risk above 0), "above" or "diverged". Plain numbers only.
    """
    chosen, begun = CellOptions(**options), time.process_time()
    streams = Streams(seed)
    data = load_dataset(
        chosen.data, chosen.data_root, chosen.classes, chosen.examples, 1, seed=streams("chaos data"), dtype="float64"
    )  # fmt: skip
    backend = get_backend(chosen.backend, "float64")
    network = mlp([int(np.prod(data.x.shape[1:])), *[chosen.width] * (chosen.depth - 1), 1])
    first = scaled_weights(network, gain, streams("chaos weights"))
    batches, measuring = streams("chaos batches"), streams("chaos records", round(1e6 * gain))
    cell: Record = {"gain": gain, "seed": seed, "weights": network.n_weights}
    cell |= _followed(chosen, network, data, first, batches, measuring, backend)
    return cell | {"cpu_seconds": round(time.process_time() - begun, 2)}


def _followed(
    options: CellOptions, network: Network, data: Dataset, first: Sequence[Array], batches: np.random.Generator,
    measuring: np.random.Generator, backend: Backend,
) -> Record:  # fmt: skip
    """Train until the risk is 0, the updates are used up or it diverges; records on the way and of the last state."""
    epochs = -(-options.updates // -(-data.y.size // options.batch_size))
    found: Record = {"outcome": "above", "records": []}
    due, start = list(STAGES), 0.0
    states = train_epochs(
        network, first, data.x, data.y, epochs=epochs, batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=LOSS, seed=batches, backend=backend,
    )  # fmt: skip
    epoch, weights = 0, first
    while True:
        with np.errstate(over="ignore", invalid="ignore"):
            risk = evaluate(network, weights, data.x, data.y, LOSS, backend).risk
        if not np.isfinite(risk):
            return found | {"outcome": "diverged"}
        start = risk if epoch == 0 else start
        passed = [stage for stage in due if 0.0 < risk <= STAGES[stage] * start]
        over = risk == 0.0 or epoch == epochs
        stage = passed[-1] if passed else LAST if over and risk > 0.0 else None
        due = due[due.index(passed[-1]) + 1 :] if passed else due
        if recorded(epoch) or stage is not None or over:
            found["records"].append(
                _recorded(options, network, weights, data, backend, stage, measuring) | {"epoch": epoch}
            )
        if over:
            break
        try:
            state = next(states)
        except TrainingDivergedError:
            return found | {"outcome": "diverged"}
        epoch, weights = state.epoch, state.weights
    last = found["records"][-1]
    outcome = "zero" if last["risk"] == 0.0 else "above" if last["rms"] else "flat"
    return found | {"outcome": outcome}


def _recorded(
    options: CellOptions, network: Network, weights: Sequence[Array], data: Dataset, backend: Backend,
    stage: str | None, rng: np.random.Generator,
) -> Record:  # fmt: skip
    """Risk, correlation map and stretch; at a stage the Hessian's asymmetry too."""
    directions, lanczos, mirrors = spawn_streams(rng, 3)
    seen = evaluate(network, weights, data.x, data.y, LOSS, backend)
    record: Record = {"risk": seen.risk, "accuracy": seen.accuracy, "stage": stage, "rms": None, "symmetry": None}
    record |= correlations_record(network, weights, data.x, backend, directions)
    if stage is not None:
        operator = HessianOperator(network, weights, data.x, data.y, LOSS, backend=backend)
        spectrum = spectral_density(operator, options.probes, options.steps, lanczos)
        record["rms"] = spectrum.rms
        if spectrum.rms > 0.0:
            record |= {"symmetry": describe_spectrum(spectrum, 0.05, mirrors)["symmetry"], "probes": options.probes}
    return record
