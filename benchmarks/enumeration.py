"""Gate configurations per second: the exact marginal µ(y = +1|x) of one input of mlp [6, 11, 13, 1], 2^24 states.

    python benchmarks/enumeration.py [--rounds 3] [--out benchmarks/results/enumeration.json]

Four ways, in float64, one after the other in every round, so that a busy moment of the machine falls on all of them:

numba
    `simulator.exact_marginal` with the default backend: a tree of prefixes, the last layer by products of two tables.
numpy
    The same function with the reference backend: the same tree, log-sum-exp over blocks of leaves.
plain NumPy
    What one writes down first: all states as rows of bits, a block at a time, the forward pass of each.
pgmpy
    A general library for Bayesian networks, where it is installed. It can state the problem because x is given: the
    first gates are roots, each second gate has a table of 2^11 columns. But the label depends on all 24 gates through
    one sum, so its table has 2^24 columns: the tables are the enumeration, 0.3 GB each copy, and variable elimination
    sums them. Timed are the tables and the query together, from the weights to the marginal, and the query alone,
    with the tables made already: other weights, another input or temperature need other tables.

Medians over rounds and temperatures. The first call of each method, which may compile, is not timed. All methods must
agree to 1e-10.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import itertools
import json
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simulator import exact_marginal, mlp

Array = np.ndarray[Any, Any]
WIDTHS = (6, 11, 13, 1)
TEMPERATURES = (0.1, 0.5, 2.0)
BLOCK = 1 << 16
AGREEMENT = 1e-10
Timed = Callable[[float], tuple[float, float]]  # temperature -> marginal, seconds


def logistic(a: Array) -> Array:
    value: Array = 0.5 * (1.0 + np.tanh(0.5 * a))
    return value


def plain(weights: list[Array], x: Array, temperature: float) -> float:
    """Σ_h Π_l µ_l(h_l|O_{l-1}) σ(T(x, h)) over all states, `BLOCK` at a time."""
    gates = sum(w.shape[1] for w in weights[:-1])
    total = 0.0
    for first in range(0, 1 << gates, BLOCK):
        states = np.arange(first, min(first + BLOCK, 1 << gates))
        bits = ((states[:, None] >> np.arange(gates)) & 1).astype(np.float64)
        signal, log_prior, start = x[None, :], np.zeros(states.size), 0
        for w in weights[:-1]:
            z = signal @ w
            h = bits[:, start : start + w.shape[1]]
            log_prior = log_prior + np.sum(h * z / temperature - np.logaddexp(0.0, z / temperature), axis=1)
            signal, start = h * z, start + w.shape[1]
        total += float(np.exp(log_prior) @ logistic((signal @ weights[-1])[:, 0]))
    return total


def bayesian_network(weights: list[Array], x: Array, temperature: float) -> Any:
    """The three-layer case as tables of pgmpy; its last parent varies fastest."""
    table = importlib.import_module("pgmpy.factors.discrete").TabularCPD
    network = importlib.import_module("pgmpy.models").DiscreteBayesianNetwork()
    first, second = (weights[i].shape[1] for i in (0, 1))
    a, b = [f"a{k}" for k in range(first)], [f"b{k}" for k in range(second)]
    network.add_edges_from([*itertools.product(a, b), *((gate, "y") for gate in a + b)])
    z = x @ weights[0]
    for name, on in zip(a, logistic(z / temperature), strict=True):
        network.add_cpds(table(name, 2, [[1 - on], [on]]))
    inner = (_states(first) * z) @ weights[1]
    for name, on in zip(b, logistic(inner / temperature).T, strict=True):
        network.add_cpds(table(name, 2, np.stack([1 - on, on]), evidence=a, evidence_card=[2] * first))
    t = ((inner * weights[2][:, 0]) @ _states(second).T).reshape(-1)
    label = np.stack([logistic(-t), logistic(t)])
    network.add_cpds(table("y", 2, label, evidence=a + b, evidence_card=[2] * (first + second)))
    return network


def _states(n: int) -> Array:
    """All states of n gates, the last one fastest."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def timed(call: Callable[[float], float]) -> Timed:
    """A method with the seconds that it takes."""

    def measured(temperature: float) -> tuple[float, float]:
        start = time.perf_counter()
        value = call(temperature)
        return value, time.perf_counter() - start

    return measured


def methods(weights: list[Array], x: Array) -> dict[str, Timed]:
    """Every method that can run here, by name."""
    network = mlp(list(WIDTHS))
    found = {
        "numba": timed(lambda t: float(exact_marginal(network, weights, x[None], t, "numba")[0])),
        "numpy": timed(lambda t: float(exact_marginal(network, weights, x[None], t, "numpy")[0])),
        "plain NumPy": timed(lambda t: plain(weights, x, t)),
    }
    try:
        solver = importlib.import_module("pgmpy.inference").VariableElimination
    except ImportError:
        print("pgmpy is not installed: left out")
        return found
    logging.disable(logging.WARNING)

    def query(network: Any) -> float:
        return float(solver(network).query(["y"], show_progress=False).values[1])

    def query_alone(temperature: float) -> tuple[float, float]:
        tables = bayesian_network(weights, x, temperature)
        start = time.perf_counter()
        value = query(tables)
        return value, time.perf_counter() - start

    found["pgmpy, tables and query"] = timed(lambda t: query(bayesian_network(weights, x, t)))
    found["pgmpy, query alone"] = query_alone
    return found


def compare(rounds: int) -> dict[str, Any]:
    """Seconds of every method in turn, round by round, and how far their answers are apart."""
    weights = mlp(list(WIDTHS)).init(0)
    x = np.random.default_rng(1).standard_normal(WIDTHS[0])
    ways = methods(weights, x)
    for way in ways.values():
        way(TEMPERATURES[0])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    apart = 0.0
    for _ in range(rounds):
        for t in TEMPERATURES:
            answers = []
            for name, way in ways.items():
                value, took = way(t)
                answers.append(value)
                seconds[name].append(took)
            apart = max(apart, max(answers) - min(answers))
    if apart > AGREEMENT:
        raise SystemExit(f"the methods differ by {apart:.1e}, more than {AGREEMENT:g}: that is a bug")
    return {"seconds": seconds, "largest_disagreement": apart}


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    packages: dict[str, str | None] = {}
    for name in ("numpy", "numba", "pgmpy"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": {name: os.environ.get(name) for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        "packages": packages,
    }


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, rates and the single times of every method."""
    states = 2.0 ** sum(WIDTHS[1:-1])
    return {
        name: {
            "median_seconds": statistics.median(times),
            "configurations_per_second": states / statistics.median(times),
            "all_seconds": times,
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Gate configurations per second of the exact marginal.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all methods and temperatures (default 3)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "enumeration.json")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    here, found = machine(), compare(chosen.rounds)
    rows = summary(found["seconds"])
    for name, row in rows.items():
        print(f"{name:<26} {row['median_seconds']:8.3f} s  {row['configurations_per_second']:10.3g} configurations/s")
    result = {
        "widths": WIDTHS,
        "configurations": 2 ** sum(WIDTHS[1:-1]),
        "inputs": 1,
        "dtype": "float64",
        "temperatures": TEMPERATURES,
        "rounds": chosen.rounds,
        "machine": here,
        "largest_disagreement": found["largest_disagreement"],
        "methods": rows,
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
