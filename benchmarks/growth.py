"""How the cost of a Hessian product grows: exponents of time in examples, width, depth and vectors at once.

    python benchmarks/growth.py [--rounds 5] [--out benchmarks/results/growth.json]

Each sweep changes one number of a convolutional network on 16×16 images (3×3 kernels, one pool, float32, all examples
active) and fits log(seconds) against its logarithm by least squares; the error is that of the slope. Expected: 1 for
examples, for depth and for vectors; 2 for width, less where layers are so narrow that passes over signals count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine

from backends import get_backend
from simulator import Conv, Dense, HessianOperator, MaxPool, sequential

BASE = {"examples": 128, "width": 32, "depth": 4, "vectors": 1}
SWEEPS = {
    "examples": (64, 128, 256, 512, 1024), "width": (32, 64, 128, 256), "depth": (2, 4, 8, 16), "vectors": (1, 2, 4, 8),
}  # fmt: skip


def seconds(examples: int, width: int, depth: int, vectors: int, rounds: int) -> float:
    """Median of a product with `vectors` vectors; `depth` counts convolutions."""
    network = sequential((16, 16, 3), [Conv(width)] * depth + [MaxPool(4), Dense(1)])
    rng = np.random.default_rng(0)
    weights = [w.astype(np.float32) for w in network.init(0)]
    x, c = rng.standard_normal((examples, 16, 16, 3)).astype(np.float32), rng.standard_normal(examples) / examples
    operator = HessianOperator(network, weights, x, None, c=c, backend=get_backend("numba", "float32"))
    v = rng.standard_normal((network.n_weights, vectors)).astype(np.float32)
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        operator @ v
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def exponent(sizes: Sequence[int], times: Sequence[float]) -> tuple[float, float]:
    """Slope of log time against log size, and its standard error."""
    fit, covariance = np.polyfit(np.log(sizes), np.log(times), 1, cov=True)
    return float(fit[0]), float(np.sqrt(covariance[0, 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default="benchmarks/results/growth.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "base": BASE, "sweeps": {}}
    for name, sizes in SWEEPS.items():
        times = [seconds(**(BASE | {name: size}), rounds=options.rounds) for size in sizes]
        slope, error = exponent(sizes, times)
        results["sweeps"][name] = {"sizes": sizes, "seconds": times, "exponent": slope, "standard error": error}
        print(f"{name}: {slope:.2f} ± {error:.2f}   {[f'{t:.4f}' for t in times]}", flush=True)
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
