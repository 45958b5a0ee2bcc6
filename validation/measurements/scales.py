"""The same network at every scale of the paper: circuits, entries of the gradient and of the Hessian, eigenvalues.

Circuits are what a network computes with; an entry of the gradient sums those that share a weight (16), an entry of the
Hessian those that share two (18), and an eigenvalue sums over all entries. The paper calls these scales self-similar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import (
    HessianOperator,
    Network,
    SpectralDensity,
    circuit_values,
    gradient,
    hessian_entries,
    sample_live_paths,
    spectral_density,
)
from simulator.streams import spawn_streams
from validation.statistics.sizes import SizeLaw, product_chance, product_law, size_distance, size_law

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

SCALES = {
    "circuits 0": "circuits",
    "circuits 1": "circuits less one weight",
    "circuits 2": "circuits less two weights",
    "gradient": "entries of the gradient",
    "hessian": "entries of the Hessian",
    "eigenvalues": "eigenvalues of the Hessian",
}
"""Every scale and its words."""
CIRCUIT_EXAMPLES = 64
DENSE = 3000
"""Up to so many weights the eigenvalues are those of the dense matrix, beyond nodes of Lanczos quadrature."""


def measure_scales(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    *,
    loss: str,
    circuits: int,
    entries: int,
    first: int,
    probes: int,
    steps: int,
    backend: Backend,
    rng: np.random.Generator,
) -> Record:
    """The `SizeLaw` of every scale, as a record; None where all of its numbers are 0.

    Circuits: live ones, drawn uniformly, at up to `CIRCUIT_EXAMPLES` of the examples. Gradient: all entries of ∇R.
    Hessian: `entries` drawn from pairs of layers, of the residual part of the Hessian of R, which is all of it for the
    hinge, behind `first` first weights; those that are 0 by construction are never drawn. ``active``: the number of
    examples with ℓ' ≠ 0. ``eigenvalue_error``: the W1, in nats, to the law with a quarter fewer Lanczos steps; 0 where
    the eigenvalues are exact, None where there are none. ``products``: the W1 of the circuits of order k to a product
    of L - k Gaussians and an input, which they are at initialisation, up to what open gates say of the weights; beside
    it the W1 of as many draws of that product, by chance.
    """
    drawn, pairs, lanczos, chance = spawn_streams(rng, 4)
    rows = np.sort(drawn.permutation(len(x))[:CIRCUIT_EXAMPLES])
    laws = _circuits(network, weights, x[rows], circuits, backend, drawn)
    products = {
        name: {
            "distance": size_distance(law.quantiles, product_law(network.depth - order, x[rows])),
            "chance": product_chance(network.depth - order, x[rows], circuits, chance),
        }
        for order, (name, law) in enumerate(laws.items())
        if law is not None
    }
    slopes = gradient(network, weights, x, y, loss, backend=backend)
    laws["gradient"] = size_law(np.concatenate([g.reshape(-1) for g in slopes]))
    sample = hessian_entries(network, weights, x, y, entries, first, pairs, loss, backend=backend)
    laws["hessian"] = size_law(sample.values.mean(axis=0, dtype=np.float64))
    operator = HessianOperator(network, weights, x, y, loss, part="residual", backend=backend)
    laws["eigenvalues"], error = _eigenvalues(operator, probes, steps, lanczos)
    return {
        "active": int(operator.active.size),
        "laws": {name: law_record(laws[name]) for name in SCALES},
        "eigenvalue_error": error,
        "products": products,
    }


def law_record(law: SizeLaw | None) -> Record | None:
    """A law as a report keeps it."""
    return None if law is None else law.record()


def _circuits(
    network: Network, weights: Sequence[Array], x: Array, count: int, backend: Backend, rng: np.random.Generator
) -> dict[str, SizeLaw | None]:
    """Live circuits of order 0, 1, 2; of those of order k one slice each, its k layers chosen uniformly."""
    paths, slices = spawn_streams(rng, 2)
    live = sample_live_paths(network, weights, x, count, paths, backend)
    laws: dict[str, SizeLaw | None] = {}
    for order in range(3):
        if order > network.depth or not len(live.paths):
            laws[f"circuits {order}"] = None
            continue
        values = circuit_values(network, weights, x, live.paths, live.examples, order, backend)
        values = values.astype(np.float64).reshape(len(values), -1)
        chosen = slices.integers(values.shape[1], size=len(values))
        laws[f"circuits {order}"] = size_law(values[np.arange(len(values)), chosen])
    return laws


def _eigenvalues(
    operator: HessianOperator, probes: int, steps: int, rng: np.random.Generator
) -> tuple[SizeLaw | None, float | None]:
    """The law, and what it changes by with a quarter fewer steps."""
    if not operator.active.size:
        return None, None
    if operator.shape[0] <= DENSE:
        values = np.linalg.eigvalsh(operator.dense())
        floor = np.abs(values).max() * values.size * np.finfo(values.dtype).eps
        return size_law(np.where(np.abs(values) > floor, values, 0.0)), 0.0
    spectrum = spectral_density(operator, probes, steps, rng)
    law, coarser = _of_nodes(spectrum), _of_nodes(spectrum.truncated(max(3 * steps // 4, 1)))
    if law is None or coarser is None:
        return law, None
    return law, size_distance(law.quantiles, coarser.quantiles)


def _of_nodes(spectrum: SpectralDensity) -> SizeLaw | None:
    """Nodes and weights of all probes; those of breakdowns have the weight 0."""
    return size_law(spectrum.nodes, spectrum.weights)
