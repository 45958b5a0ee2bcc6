"""Random exact sign ensembles for the theorems S1-S3, M1-M4, and a wrong bound among them that must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

import theory
from backends import Backend
from simulator import Network, mlp
from simulator.streams import Seed, spawn_streams

from .theorems import Bounds, TheoremCheck, check_ensemble, check_gate_flips, merge_checks

Array = np.ndarray[Any, Any]
MOST_SIGNS = 10
SIGNALS = 8  # most components of a signal for S3
LAWS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "constant": lambda rng, n: np.ones(n),
    "rademacher": lambda rng, n: rng.choice([-1.0, 1.0], n),
    "uniform": lambda rng, n: rng.uniform(-2.0, 2.0, n),
    "gaussian": lambda rng, n: rng.standard_normal(n),
}


@dataclass(frozen=True)
class Drawn:
    """A network of up to 4 layers of up to 3 neurons, weights, an input, and which weights are intact (at most 10)."""

    network: Network
    weights: list[Array]
    x: Array
    intact: Array

    def check(self, backend: Backend, bounds: Bounds | None = None) -> dict[str, TheoremCheck]:
        return check_ensemble(self.network, self.weights, self.x, self.intact, backend, bounds)


def draw_ensemble(rng: np.random.Generator) -> Drawn:
    """Widths, laws of the magnitudes layer by layer, and the broken subset at random."""
    widths = [*(int(n) for n in rng.integers(1, 4, rng.integers(2, 5))), 1]
    network = mlp(widths)
    flat = np.concatenate([LAWS[str(rng.choice(list(LAWS)))](rng, size) for size in network.layer_sizes])
    most = min(MOST_SIGNS, int(np.ceil(flat.size * rng.uniform(0.4, 1.0))))
    intact = np.zeros(flat.size, dtype=bool)
    intact[rng.permutation(flat.size)[:most]] = True
    return Drawn(network, network.unflatten(flat), rng.standard_normal(widths[0]), intact)


def check_theorems(count: int, seed: Seed, backend: Backend, bounds: Bounds | None = None) -> dict[str, TheoremCheck]:
    """S1, S2, M1-M4 in `count` random ensembles, S3 for a random signal with each tenth, merged by theorem."""
    ensembles, signals = spawn_streams(seed, 2)
    found = [draw_ensemble(ensembles).check(backend, bounds) for _ in range(count)]
    flips = [_random_signal(signals) for _ in range(max(1, count // 10))]
    merged = {name: reduce(merge_checks, (checks[name] for checks in found)) for name in found[0]}
    merged["S3"] = reduce(merge_checks, map(check_gate_flips, flips))
    return dict(sorted(merged.items(), key=lambda item: "SM".index(item[0][0])))


def _random_signal(rng: np.random.Generator) -> Array:
    """Components over several decades, about one in eight 0."""
    n = int(rng.integers(1, SIGNALS + 1))
    x: Array = rng.standard_normal(n) * 10.0 ** rng.uniform(-2, 1, n) * (rng.random(n) > 0.125)
    return x


def ensembles_until_caught(seed: Seed, backend: Backend, most: int) -> int | None:
    """After how many random ensembles S2 with the constant ¼ in place of ½ is found violated; None: not in `most`."""
    (rng,) = spawn_streams(seed, 1)
    wrong = Bounds(coupling=lambda values, negated: 0.5 * theory.coupling_bound(values, negated))
    for tried in range(1, most + 1):
        if not draw_ensemble(rng).check(backend, wrong)["S2"].holds:
            return tried
    return None
