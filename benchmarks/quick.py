"""Whether `python -m validation.compare --quick` judges R5 and R6 rightly: L1 as reported and against all eigenvalues.

    python benchmarks/quick.py [--seeds 10] [--network mlp:24x24x24] [--out benchmarks/results/quick.json]

A quick run on the digits for every seed, its checkpoints put back, and every eigenvalue of the Hessian at every recorded
epoch. For each rung: L1 as reported with its standard error; L1 of the same prediction against the exact density on the
same energies; and what the measured density itself is off by.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine
from scipy.linalg import eigvalsh

from simulator import HessianOperator
from validation import compare
from validation.distances import l1_distance
from validation.job import prepare
from validation.options import Options

RUNGS = ("R5", "R6")


def quick_run(seed: int, network: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of the run, and a row for every recorded epoch at which H is not 0."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {
            "quick": True, "data": "digits", "network": network, "seed": seed, "out": f"{folder}/run",
        }  # fmt: skip
        begun = time.perf_counter()
        report = compare(**options).data
        seconds = time.perf_counter() - begun
        bench, _ = prepare(Options(**options).completed())
        x, y = bench.dataset.x[bench.dataset.spectrum], bench.dataset.y[bench.dataset.spectrum]
        rows = []
        for record in report["epochs"]:
            if record["spectrum"]["rms"] == 0:
                continue
            with np.load(f"{folder}/run/checkpoints/epoch-{record['epoch']:04d}.npz", allow_pickle=False) as kept:
                weights = [kept[f"weights_{i}"] for i in range(bench.network.depth)]
            rows.append(against_eigenvalues(record, HessianOperator(bench.network, weights, x, y), report["eta"]))
    return seconds, rows


def against_eigenvalues(record: dict[str, Any], operator: HessianOperator, eta: float) -> dict[str, Any]:
    h = operator.dense()
    live = np.flatnonzero(np.any(h != 0, axis=0))  # weights of dead neurons and pixels have eigenvalue 0
    law, values = record["spectrum"], np.zeros(len(h))
    values[: live.size] = eigvalsh(h[np.ix_(live, live)], overwrite_a=True, check_finite=False) / law["rms"]
    energies = np.array(law["energies"])
    exact = np.array([np.mean(eta / np.pi / ((values - e) ** 2 + eta**2)) for e in energies])
    row = {
        "epoch": record["epoch"],
        "l1_standard_error": law["l1_standard_error"],
        "measured against eigenvalues": l1_distance(energies, exact, np.array(law["density"])),
    }
    for rung in RUNGS:
        made = record["predictions"].get(rung)
        if made is not None:
            row[rung] = {"reported": made["l1"], "exact": l1_distance(energies, exact, np.array(made["density"]))}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--network", default="mlp:24x24x24", help="hidden widths; all eigenvalues must be within reach")
    parser.add_argument("--out", default="benchmarks/results/quick.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "network": options.network, "seeds": {}}
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        seconds, rows = quick_run(seed, options.network)
        results["seeds"][str(seed)] = {"seconds": seconds, "epochs": rows}
        for row in rows:
            print(f"seed {seed}: {json.dumps(row)}", flush=True)
        path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
