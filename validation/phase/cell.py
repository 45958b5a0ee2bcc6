"""One network of the plasticity phase diagram, trained to zero risk or the last update, and its Hessian on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import HessianOperator, Network, TrainingDivergedError, evaluate, mlp, spectral_density, train_epochs
from simulator.streams import Streams, spawn_streams
from theory import Continuation, ConvergenceError
from validation.data import Dataset, load_dataset
from validation.data.labels import labels_of
from validation.measurements.facts import check_facts
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.linearised import Schedule, linearised_epochs, linearised_networks
from validation.predictions.predict import rung_law
from validation.predictions.record import POINTS, approximations, density_of, solve_density, too_much
from validation.predictions.training import describe
from validation.run.plain_options import PlainOptions
from validation.statistics.distances import l1_distance

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
LOSS, RUNG = "hinge", "R5"
STAGES = {"start": 1.0, "half": 0.5, "tenth": 0.1}  # the risk, over that of the start, at which each is recorded
LAST = "last"  # instead of the stages that were never reached
PREDICTED = ("tenth", LAST)  # where R5 is solved: few examples are active there, and its cost grows with their cube


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its width, number of examples and seed."""

    depth: int = 4
    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    labels: str = "true"
    updates: int = 6000
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    probes: int = 16
    steps: int = 60
    eta: float = 0.05
    prediction_examples: int = 200
    prediction_seconds: float = 60.0
    backend: str | None = None


def cell_name(width: int, examples: int, seed: int) -> str:
    return f"width-{width}-examples-{examples}-seed-{seed}"


def measure_cell(options: dict[str, Any], width: int, examples: int, seed: int) -> Record:
    """The record of one network of depth - 1 hidden layers of `width` on `examples` drawn examples.

    Data, weights and batches come from streams of their own for every (seed, width, examples). Plain numbers only.
    ``outcome``: "zero" (risk exactly 0); "flat" (risk above 0 but H = 0: no active example passes a whole layer, as in
    a dead network); "above" (risk above 0); "diverged".
    """
    chosen, begun = CellOptions(**options), time.process_time()
    streams = Streams(seed)
    data_rng, *rest = (streams(f"phase {what}", width, examples) for what in ("data", "weights", "batches", "records"))
    data = load_dataset(
        chosen.data, chosen.data_root, chosen.classes, examples, 1, seed=data_rng, dtype="float64"
    )  # fmt: skip
    data = replace(data, y=labels_of(chosen.labels, data.y, streams("phase labels", width, examples)))
    backend = get_backend(chosen.backend, "float64")
    network = mlp([int(np.prod(data.x.shape[1:])), *[width] * (chosen.depth - 1), 1])
    cell: Record = {"width": width, "examples": examples, "seed": seed, "weights": network.n_weights}
    cell |= _followed(chosen, network, data, backend, *rest)
    fresh, order = (streams(f"phase {what}", width, examples) for what in ("forecast", "batches"))
    cell["forecast"] = _forecast(chosen, network, data, backend, fresh, order)
    return cell | {"cpu_seconds": round(time.process_time() - begun, 2)}


def _followed(
    options: CellOptions,
    network: Network,
    data: Dataset,
    backend: Backend,
    init: np.random.Generator,
    batches: np.random.Generator,
    measuring: np.random.Generator,
) -> Record:
    """Train, and record the stages as they are reached; the last state where the risk is not 0 at the end."""
    found: Record = {"outcome": "above", "start": 0.0, "risk": None, "accuracy": None, "epochs": 0, "records": []}
    due, probes = list(STAGES), spawn_streams(measuring, len(STAGES) + 1)
    first: Sequence[Array] = network.init(init)
    weights = first
    try:
        for epoch, weights in _states(options, network, data, first, batches, backend):
            with np.errstate(over="ignore", invalid="ignore"):
                risk = evaluate(network, weights, data.x, data.y, LOSS, backend).risk
            if not np.isfinite(risk):
                raise TrainingDivergedError(epoch, options.learning_rate)
            if epoch == 0:
                found["start"] = risk
            found |= {"risk": risk, "epochs": epoch}
            reached = [s for s in due if 0.0 < risk <= STAGES[s] * found["start"]]
            if reached:  # of several passed in one epoch the last one
                record = _recorded(options, network, weights, data, backend, reached[-1], probes[len(due) - 1])
                found["records"].append(record | {"epoch": epoch, "risk": risk})
                due = due[due.index(reached[-1]) + 1 :]
            if risk == 0.0:
                break
    except TrainingDivergedError:
        return found | {"outcome": "diverged", "risk": None}
    found["accuracy"] = evaluate(network, weights, data.x, data.y, LOSS, backend).accuracy
    if found["risk"] == 0.0:
        return found | {"outcome": "zero"}
    last = _recorded(options, network, weights, data, backend, LAST, probes[-1])
    found["records"].append(last | {"epoch": found["epochs"], "risk": found["risk"]})
    return found | {"outcome": "above" if last["rms"] > 0 else "flat"}


def _states(
    options: CellOptions,
    network: Network,
    data: Dataset,
    weights: Sequence[Array],
    rng: np.random.Generator,
    backend: Backend,
) -> Iterator[tuple[int, Sequence[Array]]]:
    """(epoch, weights) from the start on, for about `updates` updates."""
    trained = train_epochs(
        network, weights, data.x, data.y, epochs=_epochs(options, data), batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=LOSS, seed=rng, backend=backend,
    )  # fmt: skip
    return chain([(0, weights)], ((state.epoch, state.weights) for state in trained))


def _forecast(
    options: CellOptions,
    network: Network,
    data: Dataset,
    backend: Backend,
    fresh: np.random.Generator,
    order: np.random.Generator,
) -> Record:
    """R7 before training: risk and order parameter at the end, by the tangent kernel of one freshly drawn network.

    It visits the batches of the cell, and stops where the predicted risk is 0. ``outcome``: "zero", "above" or
    "diverged".
    """
    law = linearised_networks(network, data.x, [network.init(fresh)], None, backend)
    rates = [options.learning_rate] * _epochs(options, data)
    schedule = Schedule(rates, options.batch_size, options.momentum, LOSS, order)
    found: Record = {}
    try:
        for epoch, (now, motion) in enumerate(linearised_epochs(law, data.y, schedule)):
            made = describe(now, motion, data.y, LOSS)
            found = {name: float(made[name][0]) for name in ("risk", "order_parameter")} | {"epochs": epoch}
            if found["risk"] == 0.0:
                break
    except TrainingDivergedError:
        return found | {"outcome": "diverged", "risk": None, "order_parameter": None}
    return found | {"outcome": "zero" if found["risk"] == 0.0 else "above"}


def _epochs(options: CellOptions, data: Dataset) -> int:
    """Epochs that make about `updates` updates."""
    return -(-options.updates // -(-data.y.size // options.batch_size))


def _recorded(
    options: CellOptions,
    network: Network,
    weights: Sequence[Array],
    data: Dataset,
    backend: Backend,
    stage: str,
    rng: np.random.Generator,
) -> Record:
    """The Hessian of the risk of all examples: extreme eigenvalues, shares by sign, asymmetry, R5 where it is due."""
    facts, lanczos, mirrors, prediction = spawn_streams(rng, 4)
    operator = HessianOperator(network, weights, data.x, data.y, LOSS, backend=backend)
    spectrum = spectral_density(operator, options.probes, options.steps, lanczos)
    law = describe_spectrum(spectrum, options.eta, mirrors)
    exact = check_facts(network, weights, data.x, data.y, operator.c, LOSS, backend, facts)
    record: Record = {
        "stage": stage,
        "active": int(operator.active.size),
        "probes": options.probes,
        "exact": {name: asdict(check) for name, check in exact.items()},
        **{key: law[key] for key in ("rms", "minimum", "maximum", "symmetry", "l1_standard_error")},
        **{key: law[key] for key in ("fraction_negative", "fraction_positive")},
        "l1": None,
        "left_out": None,
        "approximations": [],
    }
    if stage in PREDICTED and spectrum.rms > 0.0:
        record |= _predicted(options, network, weights, data, operator, law, prediction)
    return record


def _predicted(
    options: CellOptions,
    network: Network,
    weights: Sequence[Array],
    data: Dataset,
    operator: HessianOperator,
    law: Record,
    rng: np.random.Generator,
) -> Record:
    """L1 of R5 on at most `prediction_examples` of the active examples, or why there is none."""
    grid, rms, most = np.array(law["energies"]), law["rms"], options.prediction_examples
    try:
        rung = rung_law(network, data.x, operator.c, RUNG, weights, rng, operator.backend, examples=most)
        reason = too_much(rung, POINTS, options.prediction_seconds)
        if reason is not None:
            return {"left_out": reason}
        known = Continuation(rung, rms)
        solve_density(known, grid, options.eta)
    except (ValueError, ConvergenceError) as error:
        return {"left_out": str(error)}
    distance = l1_distance(grid, np.array(law["density"]), density_of(known, grid, options.eta))
    return {"l1": distance, "approximations": approximations(rung, operator.c, most)}
