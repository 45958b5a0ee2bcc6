"""One network at one epoch: its gates at every temperature, by enumeration where it is small, by draws and a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import (
    ExactThermodynamics,
    GateSearch,
    Network,
    SampledThermodynamics,
    TrainingDivergedError,
    evaluate,
    exact_thermodynamics,
    relu_gates,
    sample_thermodynamics,
    search_gates,
)
from simulator.enumeration.gates import log_label
from simulator.streams import Streams
from validation.data import Dataset
from validation.run.plain_options import PlainOptions
from validation.statistics.estimate import mean_of

from .chain import chain_error

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
MOST_RISK = 1e12  # beyond it squares of energies and differences of logarithms have no digits left
CHAINED = 2  # examples on which every prefix of gates is walked


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its network and epoch; None: a default that depends on the data."""

    data: str = "auto"
    data_root: str = "data"
    classes: str | None = None
    network: str = "auto"
    small: str = "mlp:6x6x4"
    examples: int | None = None
    measured: int | None = None
    searched: int | None = None
    temperatures: Sequence[float] | None = None
    draws: int | None = None
    search_steps: int = 150
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    loss: str = "hinge"
    seed: int = 0
    backend: str | None = None
    dtype: str | None = None


def cell_name(role: str, epoch: int) -> str:
    return f"{role}-epoch-{epoch}"


def measure_cell(
    options: CellOptions,
    role: str,
    epoch: int,
    network: Network,
    weights: Sequence[Array],
    data: Dataset,
    ops: Backend,
    exact: bool,
) -> Record:
    """The record of a network after an epoch; `exact`: with sums over all gates. Plain numbers only.

    Statistics of the gates are of the rows `data.spectrum`, a number for every example. ``temperatures`` has an entry
    for every temperature; `searched` of the rows are searched. Raises `TrainingDivergedError`.
    """
    begun = time.process_time()
    with np.errstate(over="ignore", invalid="ignore"):
        seen = evaluate(network, weights, data.x, data.y, options.loss, ops)
    if not seen.risk < MOST_RISK:
        raise TrainingDivergedError(epoch, options.learning_rate)
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    streams = Streams(options.seed)
    place = ("small", "network").index(role)
    entries = [
        _at(options, network, weights, x, y, float(t), ops, exact, streams("gates draws", place, epoch, k))
        for k, t in enumerate(options.temperatures or ())
    ]
    return {
        "role": role,
        "epoch": epoch,
        "risk": seen.risk,
        "accuracy": seen.accuracy,
        "temperatures": entries,
        "cpu_seconds": round(time.process_time() - begun, 2),
    }


def _at(
    options: CellOptions,
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    temperature: float,
    ops: Backend,
    exact: bool,
    rng: np.random.Generator,
) -> Record:
    """Everything at one temperature. Sums of many logarithms are compared in float64, whatever the backend's dtype."""
    wide = get_backend(ops.name, "float64")
    sample = sample_thermodynamics(network, weights, x, temperature, options.draws or 1, rng, ops)
    relu = relu_gates(network, weights, x, y, temperature, wide)
    few = slice(options.searched)
    search = search_gates(network, weights, x[few], y[few], temperature, options.search_steps, wide)
    record: Record = {
        "temperature": temperature,
        "sampled": _sampled(sample, y) | {"relu": relu.log_joint.tolist()},
        "stable": relu.stable.tolist(),
        "largest_rise": relu.largest_rise,
        "identity": _identity(sample),
        "drift": _drift(sample),
        "stages": _stages(sample),
        "search": _searched(search),
    }
    if exact:
        summed = exact_thermodynamics(network, weights, x, y, temperature, wide)
        chained = chain_error(network, weights, x[:CHAINED], temperature, summed, wide)
        record["exact"] = _summed(summed) | {"chain": chained}
        record["deviations"] = _deviations(sample, summed, y)
        record["search"]["above_best"] = float(np.max(search.found - summed.best[few]))
        record["search"]["missed"] = (summed.best[few] - search.found).tolist()
    return record


def _sampled(sample: SampledThermodynamics, y: Array) -> Record:
    """Numbers of every example, means over the draws; ``log_marginal`` is the logarithm of the mean σ(yT)."""
    label = log_label(np, y * sample.output)[1]
    values = {
        "energy": sample.energy.sum(axis=2).mean(axis=0),
        "entropy": sample.entropy.sum(axis=2).mean(axis=0),
        "free_energy": sample.free_energy.sum(axis=2).mean(axis=0),
        "forward_bound": label.mean(axis=0),
        "log_marginal": np.logaddexp.reduce(label, axis=0) - np.log(label.shape[0]),
    }
    return {name: each.tolist() for name, each in values.items()}


def _identity(sample: SampledThermodynamics) -> float:
    """The largest relative error of F = -T log Z over stages, draws and examples."""
    expected = -sample.temperature * sample.log_normaliser
    scale = np.maximum(np.abs(sample.energy) + sample.temperature * sample.entropy, np.finfo(np.float64).tiny)
    return float(np.max(np.abs(sample.free_energy - expected) / scale))


def _drift(sample: SampledThermodynamics) -> Record:
    """Drawn energy less its conditional mean, over all stages: a mean of 0, with its error over examples and draws."""
    away = (sample.drawn_energy - sample.energy).sum(axis=2).ravel()
    return mean_of(away)


def _stages(sample: SampledThermodynamics) -> Record:
    """Mean energy and entropy of every stage."""
    energy, entropy = (a.mean(axis=(0, 1)).tolist() for a in (sample.energy, sample.entropy))
    return {"names": list(sample.stages), "energy": energy, "entropy": entropy}


def _searched(search: GateSearch) -> Record:
    return {
        "refuted": search.refuted.tolist(),
        "rise": (search.found - search.relu).tolist(),
        "flips": search.flips.tolist(),
        "climbed": int(search.climbed.sum()),
    }


def _summed(exact: ExactThermodynamics) -> Record:
    """Numbers of every example, and how far the orders that must hold are from being violated."""
    names = ("energy", "entropy", "free_energy", "gibbs", "log_marginal", "forward_bound", "relu", "best")
    record: Record = {name: getattr(exact, name).tolist() for name in names}
    likelihood = exact.log_marginal
    pairs = [(exact.relu, exact.best), (exact.best, likelihood), (exact.forward_bound, likelihood)]
    return record | {
        "most_probable": exact.most_probable.tolist(),
        "prior_most_probable": (exact.prior_state == exact.relu_state).tolist(),
        "order": max(float(np.max(low - high)) for low, high in pairs),
        "below_gibbs": float(np.max(exact.gibbs - exact.free_energy)),
    }


def _deviations(sample: SampledThermodynamics, exact: ExactThermodynamics, y: Array) -> Record:
    """Means over the examples, sampled less exact, each with its standard error over the draws.

    The variance over the draws is that of each example, pooled, so that a few draws of many examples are enough.
    """
    label = log_label(np, y * sample.output)[1]
    pairs = {
        "energy": (sample.energy.sum(axis=2), exact.energy),
        "entropy": (sample.entropy.sum(axis=2), exact.entropy),
        "free_energy": (sample.free_energy.sum(axis=2), exact.free_energy),
        "forward_bound": (label, exact.forward_bound),
    }
    found = {}
    for name, (drawn, truth) in pairs.items():
        draws, m = drawn.shape
        error = float(np.sqrt(drawn.var(axis=0, ddof=1).sum() / draws) / m) if draws > 1 else None
        found[name] = {"value": float((drawn - truth).mean()), "standard_error": error}
    return found
