"""Empirical laws as a record keeps them: histograms of weights, gradient entries and circuits, and their symmetry.

A histogram counts positive and negative values on the same bins of |value|, so that mirror images meet bin by bin;
exact zeros are counted apart, and so is what lies off the bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network, circuit_values, sample_live_paths
from simulator.streams import spawn_streams
from validation.statistics.estimate import mean_of
from validation.statistics.symmetry import broken_symmetry, symmetry_test

Array = np.ndarray[Any, Any]
Law = dict[str, Any]

LINEAR = 0.1  # rms: up to here the bins of the gradient are of one width, beyond they grow with |value|
WEIGHT_EDGES = np.linspace(0.0, 5.0, 51)  # standard deviations of the layer's initial law
GRADIENT_EDGES = LINEAR * np.sinh(np.linspace(0.0, np.arcsinh(100.0 / LINEAR), 41))  # rms
CIRCUIT_EDGES = np.logspace(-10.0, 3.0, 79)  # rms: six bins a decade
CIRCUITS, QUICK_CIRCUITS = 20_000, 5_000  # live circuits of each order
CIRCUIT_EXAMPLES = 64
ORDERS = (0, 1, 2)


def histogram(values: Array, edges: Array, scale: float) -> Law:
    """Counts of |value|/scale on the bins `edges`, apart for positive and negative values.

    ``positive`` and ``negative`` (one count per bin), ``below`` and ``above`` the bins ([negative, positive]),
    ``zeros`` (exactly 0), ``scale``.
    """
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    sides = {name: sign * x[sign * x > 0] / scale for name, sign in (("negative", -1.0), ("positive", 1.0))}
    return {
        "scale": scale,
        "zeros": int(x.size - sum(side.size for side in sides.values())),
        "below": [int(np.sum(side < edges[0])) for side in sides.values()],
        "above": [int(np.sum(side > edges[-1])) for side in sides.values()],
        **{name: np.histogram(side, edges)[0].tolist() for name, side in sides.items()},
    }


def rms(values: Array) -> float:
    """Root mean square, in float64."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def symmetry(sample: Array, rng: np.random.Generator) -> Law:
    """`broken_symmetry` with, as ``test``, the `symmetry_test` of a sample; null throughout where every value is 0."""
    size, test = broken_symmetry(sample, rng), symmetry_test(sample)
    if size is None or test is None:
        return {"value": None, "standard_error": None, "null": None, "null_95": None, "test": None}
    return asdict(size) | {"test": asdict(test)}


def weight_histograms(network: Network, weights: Sequence[Array]) -> Law:
    """The law of each layer's weights, in standard deviations of its initial law (2/fan-in, last 1/fan-in, squared)."""
    gains = [2.0] * (network.depth - 1) + [1.0]
    scales = [math.sqrt(gain / layer.fan_in) for gain, layer in zip(gains, network.layers, strict=True)]
    layers = [histogram(w, WEIGHT_EDGES, scale) for w, scale in zip(weights, scales, strict=True)]
    return {"edges": WEIGHT_EDGES.tolist(), "layers": layers}


def gradient_histograms(gradient: Sequence[Array]) -> Law:
    """The law of the gradient's entries, of each layer and of all, in units of its own rms (1 where that is 0)."""
    parts = [*gradient, np.concatenate([g.reshape(-1) for g in gradient])]
    *layers, whole = (histogram(g, GRADIENT_EDGES, rms(g) or 1.0) for g in parts)
    return {"edges": GRADIENT_EDGES.tolist(), "layers": layers, "all": whole}


def circuit_laws(
    network: Network, weights: Sequence[Array], x: Array, count: int, backend: Backend, rng: np.random.Generator
) -> Law:
    """The laws of the circuits (11) of order 0, 1 and 2 that are not 0, at up to `CIRCUIT_EXAMPLES` of the examples.

    ``live``: the share of circuits that are not 0, counted exactly at each example, its mean and standard error over
    the examples. ``orders``: for each order ``count`` live circuits (drawn uniformly, those of order k without k of
    their weights, uniformly chosen); ``histogram`` in units of the rms, ``symmetry``, and ``last_removed``: the
    symmetry of the same circuits without the last weight (null at order 0), the one whose law makes the others
    symmetric (S1). No orders where no circuit is live.
    """
    streams = spawn_streams(rng, len(ORDERS) + 1)
    x = x[rng.permutation(len(x))[:CIRCUIT_EXAMPLES]]
    drawn = sample_live_paths(network, weights, x, count, streams[0], backend)
    orders = [k for k in ORDERS if k <= network.depth and len(drawn.paths)]
    values = (circuit_values(network, weights, x, drawn.paths, drawn.examples, k, backend) for k in orders)
    return {
        "examples": len(x),
        "count": len(drawn.paths),
        "live": mean_of(drawn.fractions),
        "edges": CIRCUIT_EDGES.tolist(),
        "orders": [
            _circuit_law(k, v, network.depth, stream) for k, v, stream in zip(orders, values, streams[1:], strict=False)
        ],
    }


def _circuit_law(order: int, values: Array, depth: int, rng: np.random.Generator) -> Law:
    values = values.astype(np.float64).reshape(len(values), -1)
    removed = list(combinations(range(depth), order))
    last = [k for k, layers in enumerate(removed) if depth - 1 in layers]
    chosen = _one_slice(values, rng)
    return {
        "order": order,
        "histogram": histogram(chosen, CIRCUIT_EDGES, rms(chosen)),
        "symmetry": symmetry(chosen, rng),
        "last_removed": symmetry(_one_slice(values[:, last], rng), rng) if last else None,
    }


def _one_slice(values: Array, rng: np.random.Generator) -> Array:
    """One slice (choice of removed weights) for each circuit, so that the entries stay independent draws."""
    chosen: Array = values[np.arange(len(values)), rng.integers(0, values.shape[1], len(values))]
    return chosen
