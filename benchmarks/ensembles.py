"""Sign patterns per second: all 2^21 signs of the weights of mlp [3, 3, 3, 1], Gaussian magnitudes, one input.

    python benchmarks/ensembles.py [--rounds 5] [--out benchmarks/results/ensembles.json]

Five ways, in float64, one after the other in every round, so that a busy moment of the machine falls on all of them.
Each takes seconds from the weights to the result named:

numba
    `simulator.enumerate_signs` with the default backend: gates and output of every pattern, moments of every neuron.
numba, circuit laws
    The same, and the exact law of each of the 27 basis circuits.
numba, all laws
    The same, and for each circuit and each of its weights below the last layer both probabilities of the coupling
    bound S2 (54 pairs), and the flip probability of each of the 6 gates under each of the 18 weights they can see.
numpy
    `simulator.enumerate_signs` with the reference backend: a forward pass of every pattern.
plain NumPy
    What one writes down first: signs from bits, matrix products, T and packed gates, a block of patterns at a time.

Medians over rounds. The first call of each, which may compile, is not timed. Gates and outputs of both backends must
agree bit for bit, and those of plain NumPy, whose matrix products sum in another order, to 1e-12.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine

from simulator import SignEnsemble, enumerate_signs, mlp

Array = np.ndarray[Any, Any]
WIDTHS = (3, 3, 3, 1)
NETWORK = mlp(list(WIDTHS))
PATHS = np.array(list(itertools.product(*map(range, WIDTHS))))
BLOCK = 1 << 16
AGREEMENT = 1e-12
Result = tuple[Array, Array]  # gates, output


def with_laws(weights: list[Array], x: Array, couplings: bool) -> SignEnsemble:
    """The ensemble, after its laws were counted."""
    ensemble = enumerate_signs(NETWORK, weights, x, backend="numba")
    ensemble.circuit_law(PATHS)
    if couplings:
        for layer in range(NETWORK.depth - 1):
            ensemble.coupling_law(PATHS, layer)
        ensemble.flip_probability(np.arange(NETWORK.slices[-1].start))
    return ensemble


def plain(weights: list[Array], x: Array) -> Result:
    """Gates and output of every pattern by matrix products, `BLOCK` at a time."""
    flat = np.abs(NETWORK.flatten(weights))
    gates, output = [], []
    for first in range(0, 1 << flat.size, BLOCK):
        patterns = np.arange(first, min(first + BLOCK, 1 << flat.size))
        signed = np.where((patterns[:, None] >> np.arange(flat.size)) & 1, -flat, flat)
        signal, on = np.broadcast_to(x, (patterns.size, 1, x.size)), []
        for part, shape in zip(NETWORK.slices, NETWORK.weight_shapes, strict=True):
            z = signal @ signed[:, part].reshape(-1, *shape)
            signal = np.maximum(z, 0.0)
            on.append(z[:, 0] > 0)
        bits = np.concatenate(on[:-1], axis=1)
        gates.append(bits @ (1 << np.arange(bits.shape[1])))
        output.append(z[:, 0, 0])
    return np.concatenate(gates), np.concatenate(output)


def methods(weights: list[Array], x: Array) -> dict[str, Callable[[], SignEnsemble | Result]]:
    """Every way, by name."""
    return {
        "numba": lambda: enumerate_signs(NETWORK, weights, x, backend="numba"),
        "numba, circuit laws": lambda: with_laws(weights, x, couplings=False),
        "numba, all laws": lambda: with_laws(weights, x, couplings=True),
        "numpy": lambda: enumerate_signs(NETWORK, weights, x, backend="numpy"),
        "plain NumPy": lambda: plain(weights, x),
    }


def check(results: dict[str, SignEnsemble | Result]) -> float:
    """The largest difference of outputs; SystemExit where gates differ or it is too large."""
    reference, worst = results["numpy"], 0.0
    assert isinstance(reference, SignEnsemble)
    for name, result in results.items():
        gates, output = (result.gates, result.output) if isinstance(result, SignEnsemble) else result
        apart = float(np.abs(output - reference.output).max())
        if not np.array_equal(gates, reference.gates) or apart > (AGREEMENT if name == "plain NumPy" else 0.0):
            raise SystemExit(f"{name} differs from the reference, outputs by {apart:.1e}: that is a bug")
        worst = max(worst, apart)
    return worst


def compare(rounds: int) -> dict[str, Any]:
    """Seconds of every way in turn, round by round, and how far their answers are apart."""
    weights, x = NETWORK.init(0), np.random.default_rng(1).standard_normal(WIDTHS[0])
    ways = methods(weights, x)
    apart = check({name: way() for name, way in ways.items()})
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {"seconds": seconds, "largest_disagreement": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description="Sign patterns per second of a finite exact ensemble.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over all ways (default 5)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "ensembles.json")
    chosen = parser.parse_args()
    here, found = machine(), compare(chosen.rounds)
    patterns = 2.0**NETWORK.n_weights
    rows = {
        name: {
            "median_seconds": statistics.median(times),
            "patterns_per_second": patterns / statistics.median(times),
            "all_seconds": times,
        }
        for name, times in found["seconds"].items()
    }
    for name, row in rows.items():
        print(f"{name:<20} {row['median_seconds']:8.4f} s  {row['patterns_per_second']:10.3g} patterns/s")
    result = {
        "widths": WIDTHS,
        "patterns": int(patterns),
        "circuits": len(PATHS),
        "dtype": "float64",
        "rounds": chosen.rounds,
        "machine": here,
        "largest_disagreement": found["largest_disagreement"],
        "methods": rows,
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
