"""One cell: a search for the largest number of examples that a network fits, from one order of the examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import HessianOperator, Network, evaluate, mlp
from simulator.streams import Streams
from theory import inertia
from validation.data import load_dataset
from validation.data.labels import labels_of
from validation.data.preprocessing import principal_components
from validation.run.plain_options import PlainOptions

from .forecast import MOST_DENSE, forecast
from .training import SMOOTH, Attempt, Schedule, rescaled, train_once

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
LEAST = 2  # examples
CLEARLY = 10.0  # an eigenvalue of H is one that is so many times above the rounding of H + G
KINK = 1e-3  # a Gaussian z is so near 0 with probability 8e-4
OUTCOMES = ("zero", "stuck", "lost", "diverged")


@dataclass(frozen=True)
class CellOptions(PlainOptions):
    """What decides the content of a cell, but for its loss, labels, depth, width and seed."""

    data: str = "digits"
    data_root: str = "data"
    classes: str | None = None
    examples: int | None = None
    inputs: int = 10
    resolution: float = 0.05
    starts: int = 6
    iterations: int = 4000
    updates: int = 12000
    batch_size: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    backend: str | None = None


def cell_name(loss: str, labels: str, depth: int, width: int, seed: int) -> str:
    return f"{loss}-{labels}-depth-{depth}-width-{width}-seed-{seed}"


def measure_cell(options: Record, loss: str, labels: str, depth: int, width: int, seed: int) -> Record:
    """The record of a search: what was predicted, then every number of examples that was tried, and the edge.

    The examples have one order for every seed, so that more of them contain the fewer. Plain numbers only.
    """
    chosen, begun = CellOptions(**options), time.process_time()
    streams, backend = Streams(seed), get_backend(chosen.backend, "float64")
    x, y = examples_of(chosen, streams, labels)
    network = mlp([x.shape[1], *[width] * (depth - 1), 1])
    told = forecast(network, x, y, streams, (depth, width), backend)

    def attempt(m: int) -> Record:
        return _trial(chosen, network, x[:m], y[:m], loss, streams, (depth, width), backend)

    trials, fitted, unfitted = search(attempt, network.n_weights, len(y), chosen.resolution)
    return {
        "loss": loss, "labels": labels, "depth": depth, "width": width, "seed": seed, "weights": network.n_weights,
        "most": len(y), "forecast": told, "trials": trials, "fitted": fitted, "unfitted": unfitted,
        "cpu_seconds": round(time.process_time() - begun, 2),
    }  # fmt: skip


def examples_of(options: CellOptions, streams: Streams, labels: str) -> tuple[Array, Array]:
    """Inputs (m, inputs), their leading principal components, and labels (m,), in the order of the seed."""
    data = load_dataset(
        options.data, options.data_root, options.classes, options.examples, 1, streams("capacity data"), "float64"
    )
    x = data.x.reshape(len(data.y), -1)
    if options.inputs:
        x = principal_components(x, options.inputs)
    return x, labels_of(labels, data.y, streams("capacity labels"))


def search(
    attempt: Callable[[int], Record], first: int, most: int, resolution: float
) -> tuple[list[Record], int, int | None]:
    """(trials, largest number fitted, smallest one above it that was not), by doubling or halving and then bisection.

    It begins at `first` and ends where the two differ by at most the share `resolution`. 0 for nothing fitted; None
    where `most` was.
    """
    trials: list[Record] = []
    low, high, m = 0, None, max(LEAST, min(first, most))
    while True:
        trials.append(attempt(m))
        low, high = (m, high) if trials[-1]["outcome"] == "zero" else (low, m)
        if high is None:
            if m == most:
                return trials, low, None
            m = min(2 * m, most)
        elif low == 0:
            if m == LEAST:
                return trials, 0, high
            m = max(m // 2, LEAST)
        else:
            if high <= low * (1.0 + resolution) or high - low == 1:
                return trials, low, high
            m = min(max(round(np.sqrt(low * high)), low + 1), high - 1)


def _trial(
    options: CellOptions,
    network: Network,
    x: Array,
    y: Array,
    loss: str,
    streams: Streams,
    place: tuple[int, int],
    backend: Backend,
) -> Record:
    """Train on these examples from fresh weights; from others where dead gates lost examples, so many `starts`."""
    schedule = Schedule(
        options.iterations, options.updates, options.batch_size, options.learning_rate, options.momentum
    )
    kept: Attempt | None = None
    for start in range(options.starts):
        at = (*place, len(y), start)
        weights = network.init(streams("capacity weights", *at))
        made = train_once(network, weights, x, y, loss, schedule, streams("capacity batches", *at), backend)
        if kept is None or made.fitted or made.lost <= kept.lost:
            kept = made
        if made.fitted or (made.weights is not None and made.lost == 0):
            break
    assert kept is not None
    found: Record = {"examples": len(y), "starts": start + 1, "steps": kept.steps, "lost": kept.lost}
    return found | _state(network, kept, x, y, loss, backend)


def _state(network: Network, attempt: Attempt, x: Array, y: Array, loss: str, backend: Backend) -> Record:
    """Where the training ended: a network of risk 0, or one with active examples and its Hessian's index."""
    if attempt.weights is None:
        return {"outcome": "diverged", "risk": None}
    if attempt.fitted:
        risk = evaluate(network, rescaled(network, attempt), x, y, loss, backend).risk
        return {"outcome": "zero", "risk": risk, "active": 0}
    now = evaluate(network, attempt.weights, x, y, loss, backend)
    record: Record = {
        "outcome": "lost" if attempt.lost else "stuck",
        "risk": now.risk,
        "order_parameter": now.order_parameter,
        "active": int(np.sum(attempt.margins < 1.0)) - attempt.lost,
        "wrong": int(np.sum(attempt.margins < 0.0)),
    }
    return record | _kinks(attempt, x) | _indices(network, attempt.weights, x, y, loss, backend)


def _kinks(attempt: Attempt, x: Array) -> Record:
    """Of the gates of active examples, the share that is about to switch: |z| ≤ `KINK` times the layer's rms."""
    assert attempt.weights is not None
    signal = x[(attempt.margins < 1.0) & (attempt.margins != 0.0)]
    near = gates = 0
    for w in attempt.weights[:-1]:
        z = signal @ w
        near += int(np.sum(np.abs(z) <= KINK * np.sqrt(np.mean(z**2)))) if z.size else 0
        gates += z.size
        signal = np.maximum(z, 0.0)
    return {"kinks": near / gates if gates else None}


def _indices(network: Network, weights: Any, x: Array, y: Array, loss: str, backend: Backend) -> Record:
    """Inertia of the residual part H and the index of H + G; empty where the network is too large for all of it."""
    if network.n_weights > MOST_DENSE:
        return {}
    values = {}
    for part in ("residual", "full") if loss == SMOOTH else ("residual",):  # G = 0 for the hinge
        operator = HessianOperator(network, weights, x, y, loss, part, backend=backend)
        values[part] = np.linalg.eigvalsh(operator.dense())
    scale = max(float(np.abs(spectrum).max(initial=0.0)) for spectrum in values.values())
    # What is negative in H beyond the rounding of H + G is negative in it too, up to the rank of G (Weyl).
    own, whole = inertia(values["residual"], CLEARLY * scale), inertia(values.get("full", values["residual"]), scale)
    return {"negative": own.negative, "positive": own.positive, "index": whole.negative}
