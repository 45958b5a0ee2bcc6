"""Whether `python -m validation.compare --quick` judges R5 and R6 rightly: L1 as reported and against all eigenvalues.

    python benchmarks/quick.py [--seeds 10] [--network mlp:16x16x16] [--out benchmarks/results/quick.json]

For every seed the training and the records of a quick run on the digits, without its page and figures, and every
eigenvalue of the Hessian at every recorded epoch. For each rung: L1 as reported with its standard error; L1 of the same
prediction against the exact density on the same energies; and what the measured density itself is off by.
"""

from __future__ import annotations

import argparse
import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine
from scipy.linalg import eigvalsh

from simulator import HessianOperator, train_epochs
from validation.compare.options import Options
from validation.compare.record import measure
from validation.compare.single import prepare
from validation.run.stages import Stages
from validation.statistics.distances import l1_distance

RUNGS = ("R5", "R6")
BUDGET = 8.0  # seconds for a prediction, so that a busy machine leaves none out


def quick_run(seed: int, network: str) -> list[dict[str, Any]]:
    """A row for every recorded epoch at which H is not 0."""
    bench, _ = prepare(
        Options(quick=True, data="digits", network=network, seed=seed, prediction_seconds=BUDGET).completed()
    )
    options, data, rows = bench.options, bench.dataset, []
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    weights = bench.network.init(seed)
    trained = train_epochs(
        bench.network, weights, data.x, data.y, epochs=options.epochs or 0, batch_size=options.batch_size,
        learning_rate=options.learning_rate, momentum=options.momentum, loss=options.loss, seed=seed,
        backend=bench.backend,
    )  # fmt: skip
    for epoch, at in chain([(0, weights)], ((state.epoch, state.weights) for state in trained)):
        if epoch in (options.record or ()):
            record = measure(bench, at, epoch, Stages(), lambda _: None)
            if record["spectrum"]["rms"] > 0:
                rows.append(against_eigenvalues(record, HessianOperator(bench.network, at, x, y), options.eta))
    return rows


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
    parser.add_argument("--network", default="mlp:16x16x16", help="hidden widths; all eigenvalues must be within reach")
    parser.add_argument("--out", default="benchmarks/results/quick.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "network": options.network, "seeds": {}}
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        rows = quick_run(seed, options.network)
        results["seeds"][str(seed)] = rows
        for row in rows:
            print(f"seed {seed}: {json.dumps(row)}", flush=True)
        path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
