"""Statistics of Hessian entries: 2,000 entries of vgg12:0.25 at 5,000 examples, 1,000 bootstrap resamples.

    python benchmarks/entries.py [--entries 2000] [--images 5000] [--out benchmarks/results/entries.json]

Timed once with the default backend in float32, on random images of 32×32×3 and the network at initialisation with a
small output, so that every example is active (inactive ones cost nothing): the values of the entries
(`simulator.hessian_entries`, a tangent pass for every first parameter), and everything that
`validation.entry_statistics` makes of them. A run on 64 images goes before, so that nothing is compiled within the
clock. The means of some entries must equal products with `HessianOperator` to 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine

from backends import get_backend
from simulator import HessianEntries, HessianOperator, hessian_entries, vgg12
from simulator.streams import spawn_streams
from validation.measurements.entries.record import describe_entries

RESAMPLES = 1_000


def check(entries: HessianEntries, operator: HessianOperator) -> float:
    """The largest relative difference of a few first parameters' entries from products with unit vectors."""
    apart = 0.0
    for p in np.unique(entries.first)[::29]:
        unit = np.zeros(operator.shape[0], dtype=operator.dtype)
        unit[p] = 1.0
        mine = np.flatnonzero(entries.first == p)
        own, other = entries.values[:, mine].mean(axis=0), (operator @ unit)[entries.second[mine]]
        if np.linalg.norm(other) > 0:
            apart = max(apart, float(np.linalg.norm(own - other) / np.linalg.norm(other)))
    if apart > 1e-4:
        raise SystemExit(f"entries differ from products by {apart:.1e}, more than 1e-4: that is a bug")
    return apart


def main() -> None:
    parser = argparse.ArgumentParser(description="Statistics of Hessian entries, timed.")
    parser.add_argument("--entries", type=int, default=2000, help="sampled entries (default 2000)")
    parser.add_argument("--images", type=int, default=5000, help="images (default 5000)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "entries.json")
    chosen = parser.parse_args()
    network, ops, rng = vgg12(0.25), get_backend(None, "float32"), np.random.default_rng(0)
    weights = network.init(1)
    weights[-1] = 0.01 * weights[-1]  # |T| < 1: every example is active
    x = rng.standard_normal((chosen.images, 32, 32, 3)).astype(np.float32)
    y = rng.choice([-1.0, 1.0], chosen.images)
    hessian_entries(network, weights, x[:64], y[:64], chosen.entries, backend=ops)
    before = os.getloadavg()[0]
    start = time.perf_counter()
    entries = hessian_entries(network, weights, x, y, chosen.entries, backend=ops)
    middle = time.perf_counter()
    found = describe_entries(entries, network.n_weights, RESAMPLES, ops, spawn_streams(0, 8))
    end = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    few = slice(0, min(chosen.images, 500))
    same = HessianEntries(entries.values[few], entries.pairs, entries.c[few])
    result: dict[str, Any] = {
        "network": "vgg12:0.25",
        "entries": len(entries.first),
        "first_parameters": entries.pairs.n_first,
        "images": chosen.images,
        "active": found["active"],
        "live": found["live"],
        "resamples": RESAMPLES,
        "machine": machine(),
        "load_before": round(before, 2),
        "relative_error_against_products": check(same, HessianOperator(network, weights, x[few], y[few], backend=ops)),
        "peak_memory_gib": round(memory, 2),
        "seconds": {"values": middle - start, "statistics": end - middle, "all": end - start},
    }
    for name, seconds in result["seconds"].items():
        print(f"{name:<12} {seconds:8.1f} s")
    print(f"peak memory {memory:.2f} GiB")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
