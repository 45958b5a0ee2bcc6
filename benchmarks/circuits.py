"""Circuits per second: 10^6 circuits of vgg12:0.25 at uniform paths and examples, orders 0, 1 and 2.

    python benchmarks/circuits.py [--rounds 3] [--out benchmarks/results/circuits.json]

Timed with the default backend in float32 and float64, on 5,000 random images of 32×32×3: `simulator.sample_circuits`
from the seed to the values on the host, the forward passes of all images included, and beside it two of its parts
alone: drawing the paths (`sample_paths`) and the forward passes (`output`). Order 1 has 12 values a circuit, order 2
has 66. Last, `simulator.enumerate_circuits` on mlp [8, 10, 10, 10, 1], 8,000 circuits at 200 inputs.

One method after the other in every round, so that a busy moment of the machine falls on all of them; medians over
rounds. The first call of each method, which may compile, is not timed. The samples must agree between the precisions
to 1e-4, and the enumeration must sum to the output to 1e-12.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine

from backends import get_backend
from simulator import (
    count_paths,
    enumerate_circuits,
    mlp,
    output,
    output_assembly,
    sample_circuits,
    sample_paths,
    vgg12,
)

CIRCUITS = 1_000_000
IMAGES = 5_000
WIDTHS = [8, 10, 10, 10, 1]
INPUTS = 200
DTYPES = ("float32", "float64")
ORDERS = (0, 1, 2)


def methods(circuits: int, images: int) -> dict[str, Callable[[], Any]]:
    """Everything that is timed, by name."""
    network, small = vgg12(0.25), mlp(WIDTHS)
    weights, few = network.init(0), small.init(0)
    x = np.random.default_rng(1).standard_normal((images, *network.input_shape), dtype=np.float32)
    inputs = np.random.default_rng(2).standard_normal((INPUTS, WIDTHS[0]))
    found: dict[str, Callable[[], Any]] = {"draw the paths": lambda: sample_paths(network, circuits)}
    for dtype in DTYPES:
        ops = get_backend(dtype=dtype)
        found[f"forward passes, {dtype}"] = lambda ops=ops: output(network, weights, x, ops)
        for order in ORDERS:
            found[f"sample order {order}, {dtype}"] = lambda ops=ops, order=order: sample_circuits(
                network, weights, x, circuits, order, backend=ops
            )
    for order in ORDERS:
        found[f"enumerate order {order}"] = lambda order=order: enumerate_circuits(small, few, inputs, order)
    return found


def check(ways: dict[str, Callable[[], Any]]) -> float:
    """The first calls: circuits of both precisions and of all orders belong together; the largest disagreement."""
    apart = 0.0
    for order in ORDERS:
        single, double = (ways[f"sample order {order}, {dtype}"]() for dtype in DTYPES)
        on = (single.values != 0) & (double.values != 0)  # a gate at the edge may differ in single precision
        if not np.array_equal(single.paths, double.paths) or not on.any():
            raise SystemExit(f"order {order}: the precisions did not meet the same live circuits: that is a bug")
        apart = max(apart, float(np.max(np.abs(single.values[on] / double.values[on] - 1.0))))
    if apart > 1e-4:
        raise SystemExit(f"the precisions differ by {apart:.1e}, more than 1e-4: that is a bug")
    small = mlp(WIDTHS)
    inputs = np.random.default_rng(2).standard_normal((INPUTS, WIDTHS[0]))
    sums, t = output_assembly(ways["enumerate order 0"]()), output(small, small.init(0), inputs)
    if np.linalg.norm(sums - t) > 1e-12 * np.linalg.norm(t):
        raise SystemExit("the enumerated circuits do not sum to the output: that is a bug")
    return apart


def measure(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every method, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Circuits per second, sampled and enumerated.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all methods (default 3)")
    parser.add_argument("--circuits", type=int, default=CIRCUITS, help=f"sampled circuits (default {CIRCUITS})")
    parser.add_argument("--images", type=int, default=IMAGES, help=f"images (default {IMAGES})")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "circuits.json")
    chosen = parser.parse_args()
    here, ways = machine(), methods(chosen.circuits, chosen.images)
    apart = check(ways)
    seconds = measure(ways, chosen.rounds)
    for name, times in seconds.items():
        print(f"{name:<26} {statistics.median(times):8.3f} s")
    result = {
        "network": "vgg12:0.25",
        "paths": str(count_paths(vgg12(0.25))),
        "circuits": chosen.circuits,
        "images": chosen.images,
        "enumerated": {"widths": WIDTHS, "inputs": INPUTS, "paths": count_paths(mlp(WIDTHS))},
        "rounds": chosen.rounds,
        "machine": here,
        "largest_disagreement_of_precisions": apart,
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "seconds": {n: {"median": statistics.median(times), "all": times} for n, times in seconds.items()},
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
