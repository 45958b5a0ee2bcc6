"""One seed at one temperature: networks trained at 0 and at T, both with their gates drawn at T."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import EnsembleLanczos, Network, TrainingDivergedError, network_from_text, train
from simulator.streams import Streams
from validation.data import Dataset, load_dataset
from validation.measurements.spectrum import describe_spectrum
from validation.measurements.stochastic import (
    Rows,
    Temperature,
    described,
    evaluated,
    facts,
    lanczos,
    scale_of,
    spectrum_of,
)
from validation.predictions.sampled import describe_sampled, ensemble_of
from validation.run.plain_options import PlainOptions

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
PREDICTED = ("RE", "RK")
KEPT = (
    "rms",
    "rms_standard_error",
    "energies",
    "density",
    "standard_error",
    "l1_standard_error",
    "largest",
    "symmetry",
)
PREDICTION = ("l1", "l1_standard_error", "rms", "density")


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its seed and temperature; None: the default."""

    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    network: str = "mlp:24x24x24"
    examples: int | None = None
    measured_examples: int | None = None
    epochs: int | None = None
    e_step: str = "monte_carlo"
    gate_draws: int | None = None
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    loss: str = "hinge"
    probes: int = 4
    draws: int = 2
    steps: int | None = None
    eta: float = 0.05
    backend: str | None = None


def cell_name(seed: int, temperature: float) -> str:
    """The name of the cell of a seed and a temperature."""
    return f"seed-{seed}-at-{temperature:g}"


def measure_cell(options: dict[str, Any], seed: int, temperature: float) -> Record:
    """What drawing the gates at a temperature changes in the networks of a seed; plain numbers only.

    ``start``: the random weights; ``heated``: trained with ReLU gates; ``trained``: trained at the temperature, None at
    0, where it is the same. Data, weights and batches are those of the seed alone, so that networks of different
    temperatures begin alike. ``diverged``: why the cell was left out, or None.
    """
    chosen, begun, streams = CellOptions(**options), time.process_time(), Streams(seed)
    data = load_dataset(
        chosen.data, chosen.data_root, chosen.classes, chosen.examples, chosen.measured_examples,
        seed=streams("temperature data"),
    )  # fmt: skip
    ops = get_backend(chosen.backend, str(data.x.dtype))
    network = network_from_text(chosen.network, data.x.shape[1:])
    start = network.init(streams("temperature weights"))
    cell: Record = {"seed": seed, "temperature": temperature, "weights": network.n_weights, "depth": network.depth}
    cell |= {"examples": len(data.y), "measured": int(data.spectrum.size), "diverged": None}
    try:
        states = {"start": start, "heated": _trained(chosen, network, start, data, 0.0, streams, ops), "trained": None}
        if temperature > 0.0:
            states["trained"] = _trained(chosen, network, start, data, temperature, streams, ops)
        for place, (name, weights) in enumerate(states.items()):
            cell[name] = weights and _measured(chosen, network, weights, data, temperature, streams, place, ops)
    except TrainingDivergedError as error:
        cell |= {"diverged": str(error), "start": None, "heated": None, "trained": None}
    return cell | {"cpu_seconds": round(time.process_time() - begun, 2)}


def _trained(
    options: CellOptions,
    network: Network,
    start: Sequence[Array],
    data: Dataset,
    temperature: float,
    streams: Streams,
    ops: Backend,
) -> list[Array]:
    e_step = options.e_step if temperature > 0.0 else "zero_temperature"
    done = train(
        network, start, data.x, data.y, epochs=options.epochs or 0, batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=options.loss,
        seed=streams("temperature batches"), temperature=temperature, e_step=e_step, samples=options.gate_draws or 1,
        choosing_pools=True, backend=ops,
    )  # fmt: skip
    return done.weights


def _measured(
    options: CellOptions,
    network: Network,
    weights: Sequence[Array],
    data: Dataset,
    temperature: float,
    streams: Streams,
    place: int,
    ops: Backend,
) -> Record:
    """Averages, facts, spectrum and sampled rungs of one network; the same probes at every temperature."""
    law = "posterior" if options.e_step == "posterior" else "forward"
    hot = Temperature(temperature, law, options.gate_draws or 1)
    drawn = hot.network(network, weights, data.x, data.y, options.loss, streams, place, ops)
    _, seen = evaluated(drawn)
    record = described(drawn, seen, weights)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    drawn = hot.network(network, weights, x, y, options.loss, streams, place, ops)
    rng = streams.spawn("temperature records", 5, place)
    exact = facts(drawn, weights, rng[0])
    run = lanczos(drawn, options.probes, options.steps or 2, rng[1])
    while run.advance():
        pass
    spectrum = describe_spectrum(spectrum_of(run), options.eta, rng[2])
    live = spectrum["rms"] > 0.0
    return record | {
        "exact": {name: {"value": f.value, "tolerance": f.tolerance} for name, f in exact.items()},
        "scale": scale_of(drawn, rng[3]),
        "spectrum": {name: spectrum[name] for name in KEPT},
        "predictions": _predicted(options, network, weights, Rows.of_set(drawn), spectrum, rng[4], ops) if live else {},
    }


def _predicted(
    options: CellOptions,
    network: Network,
    weights: Sequence[Array],
    rows: Rows,
    spectrum: Record,
    rng: np.random.Generator,
    ops: Backend,
) -> Record:
    """RE and RK beside the measured spectrum, from the signals of the first set of draws."""
    found, seed = {}, int(rng.integers(2**63))
    for rung in PREDICTED:
        ensemble = ensemble_of(rung, network, weights, rows.x, rows.c, ops, gates=rows.gates)
        run = EnsembleLanczos(ensemble, options.draws, 1, options.steps or 2, seed)
        while run.advance():
            pass
        made = describe_sampled(spectrum, run.result(), options.eta, network.n_weights)
        found[rung] = {name: made[name] for name in PREDICTION}
    return found
