"""Estimates of memory beside measured peaks, each step of a run in a process of its own (Linux).

    python benchmarks/memory.py [--case small] [--backend numba]
    python benchmarks/memory.py --step spectrum --case images   # one step, as JSON

The peak is what the process held at most during the step less what it held before, after every kind of step was done
once on a tiny network: libraries are then there.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import HessianOperator, Lanczos, Network, train_epochs
from simulator.streams import spawn_streams
from validation.compare import estimates
from validation.compare.options import build_network
from validation.compare.record import evaluate
from validation.measurements.entries.record import entry_statistics
from validation.measurements.facts import check_facts
from validation.measurements.moments import MomentProbes
from validation.predictions.predict import predict_from_moments, rung_law
from validation.run import budget as memory
from validation.statistics.symmetry import symmetry_test

CASES: dict[str, dict[str, Any]] = {
    "small": {"network": "mlp:500x500", "shape": (400,), "examples": 200, "dtype": "float64", "law": "mlp:16x16x16"},
    "wide": {"network": "mlp:1000x1000", "shape": (784,), "examples": 1000, "dtype": "float64", "law": "mlp:48x48"},
    "images": {"network": "vgg12:0.25", "shape": (32, 32, 3), "examples": 256, "dtype": "float32", "law": "mlp:16"},
}
STEPS = ("training", "state", "spectrum", "moments", "prediction", "entries")
LANCZOS_STEPS, ENTRIES, RESAMPLES, LAW_POINTS = 20, 800, 400, 21


class Problem:
    """A network at initialisation on random data, and every step of a run on it."""

    def __init__(self, name: str, shape: tuple[int, ...], examples: int, ops: Backend) -> None:
        rng = np.random.default_rng(0)
        self.network: Network = build_network(name, shape)[1]
        self.ops, self.y = ops, rng.choice([-1.0, 1.0], examples)
        self.x = rng.standard_normal((examples, *shape)).astype(ops.dtype)
        self.weights = [w.astype(ops.dtype) for w in self.network.init(0)]

    def operator(self) -> HessianOperator:
        return HessianOperator(self.network, self.weights, self.x, self.y, part="residual", backend=self.ops)

    def training(self) -> float:
        batch = min(128, len(self.y))
        need = estimates.training_bytes(self.network, self.ops, batch)
        options: Any = {"epochs": 1, "batch_size": batch, "learning_rate": 1e-6, "momentum": 0.9, "backend": self.ops}
        list(train_epochs(self.network, self.weights, self.x[: 2 * batch], self.y[: 2 * batch], **options))
        return need

    def state(self) -> float:
        network, ops = self.network, self.ops
        whole = evaluate(network, self.weights, self.x, self.y, "hinge", ops)
        symmetry_test(network.flatten(whole.gradient))
        check_facts(network, self.weights, self.x, self.y, self.operator().c, "hinge", ops, np.random.default_rng(0))
        return estimates.state_bytes(network, ops, len(self.y))

    def spectrum(self) -> float:
        operator = self.operator()
        run = Lanczos(operator, 4, LANCZOS_STEPS)
        while run.advance():
            pass
        return estimates.spectrum_bytes(operator, run)

    def moments(self) -> float:
        operator = self.operator()
        run = MomentProbes(operator)
        while run.advance():
            pass
        moments = run.result()
        z = moments.rms * (np.linspace(-4, 4, 121) + 0.05j)
        for rung in ("R1", "R2"):
            predict_from_moments(moments, z, rung)
        return estimates.moments_bytes(operator)

    def prediction(self) -> float:
        operator = self.operator()
        law = rung_law(self.network, self.x, operator.c, "R6", self.weights, 0, self.ops)
        z = law.equations[0].rms * (np.linspace(-4, 4, LAW_POINTS) + 0.5j) if law.equations[0] is not None else None
        assert z is not None
        law(z)
        return estimates.law_bytes(law.memory, len(z) // 2 + 1)

    def entries(self) -> float:
        size = {"n": ENTRIES, "resamples": RESAMPLES}
        (rng,) = spawn_streams(0, 1)
        entry_statistics(self.network, self.weights, self.x, self.y, backend=self.ops, seed=rng, **size)
        return estimates.entries_bytes(self.network, self.ops, len(self.y), **size)


def measure(step: str, case: str, backend: str) -> dict[str, Any]:
    """Estimate and peak of one step, in bytes."""
    chosen = CASES[case]
    ops = get_backend(backend, chosen["dtype"])
    images = len(chosen["shape"]) == 3
    shape = (16,) if step == "prediction" else chosen["shape"]
    tiny = Problem("seq:conv8,pool,dense4" if images and step != "prediction" else "mlp:4x4x4", shape, 12, ops)
    for warm in {step, "training", "state"} - {"entries"}:
        getattr(tiny, warm)()
    name, examples = (chosen["law"], 160) if step == "prediction" else (chosen["network"], chosen["examples"])
    problem = Problem(name, shape, examples, ops)
    run: Callable[[], float] = getattr(problem, step)
    gc.collect()
    memory.forget_peak()
    before = memory.resident()
    need = run()
    return {"case": case, "step": step, "backend": backend, "estimate": need, "peak": memory.peak() - before}


def main() -> None:
    """One step as JSON, or a table of all of them."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--step", choices=STEPS)
    p.add_argument("--case", choices=CASES, default="small")
    p.add_argument("--backend", default="numba")
    chosen = p.parse_args()
    if chosen.step is not None:
        print(json.dumps(measure(chosen.step, chosen.case, chosen.backend)))
        return
    for step in STEPS:
        command = [sys.executable, __file__, "--step", step, "--case", chosen.case, "--backend", chosen.backend]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        need, peak = found["estimate"], found["peak"]
        print(f"{chosen.case:<8} {chosen.backend:<6} {step:<11} estimated {memory.size(need):>8}, "
              f"peak {memory.size(peak):>8}, ratio {need / peak:.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
