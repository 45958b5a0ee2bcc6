"""How far rungs R7 and R7m reach: training predicted from freshly drawn networks, case by case.

    python benchmarks/forecast.py [--data FOLDER|ZIP] [--networks 5] [--steps 80] [--only "width 256"] [--out FILE]

Perceptrons 64-n-...-n-1 on the digits, or on images averaged over blocks; convolutional networks on the digits, and
vgg12 on whole images; batches of 32, momentum 0.9. The learning rate is `RATE`/n times a factor, so that the outputs of
all widths move at one speed; convolutional networks have the rate at which their outputs move as those of the base
case do, by their kernels at the start. Of every case: `networks` trained networks beside the laws of `FRESH` fresh
ones, on the training examples, at the epochs `EPOCHS`:

R7, R7m    L1 of the prediction, energies in the trained network's rms; ``shape``: each law in its own rms
others     the same for the law of the other trained networks: what a perfect law of networks reaches
start      control: c of epoch 0 (shape);  size: a random active set of the predicted size (shape)
true       control: the trained network's own c on the signals of one fresh network (shape)
error      standard error of the measured L1 (`describe_spectrum`)
moved      relative change of the kernel: of the trained networks, and as fresh networks foretell it at epoch EPOCHS[-1]

At the end stand the claim that the foretold motion of the kernel tells R7's L1 in advance, and exponents in the width.
A finished case is kept, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from regimes import averaged
from scipy.stats import linregress, spearmanr

from simulator import (
    FreshNetworks,
    HessianOperator,
    Network,
    SpectralDensity,
    evaluate,
    fresh_weights,
    mlp,
    network_from_text,
    spectral_density,
    tangent_kernel,
    train_epochs,
)
from simulator.streams import Streams
from validation.data import Dataset, load_dataset
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.linearised import (
    Linearised,
    Motion,
    Schedule,
    linearised_epochs,
    linearised_networks,
    moved,
    reader,
)
from validation.predictions.training import describe
from validation.statistics.distances import energy_grid, l1_distance
from validation.statistics.estimate import estimate, written

Array = np.ndarray[Any, Any]
EPOCHS = (0, 1, 2, 4, 8)
FRESH, SEED = 4, 1000  # fresh networks, none of them a trained one
RATE, MOMENTUM, BATCH, ETA = 0.64, 0.9, 32, 0.05
PROBES = 2
settings = {"steps": 80}  # of Lanczos; --steps
MANY = 100_000  # one probe and 60 steps from so many weights on: their spectra are self-averaging
CONTROLS = 500_000  # weights up to which the controls are drawn
GRID = energy_grid()
BASE: dict[str, Any] = {"width": 64, "depth": 3, "factor": 1.0, "examples": 200, "labels": "true", "network": None}
PERCEPTRONS: dict[str, dict[str, Any]] = {
    **{f"width {n}": {"width": n} for n in (16, 64, 256, 1024)},
    **{f"depth {d}, width {n}": {"depth": d, "width": n} for d in (4, 5) for n in (16, 64, 256)},
    **{f"rate x {f:g}, width {n}": {"factor": f, "width": n} for f in (0.25, 4.0) for n in (64, 256)},
    **{f"{m} examples, width {n}": {"examples": m, "width": n} for m in (50, 800) for n in (64, 256)},
    **{f"random labels, width {n}": {"labels": "random", "width": n} for n in (64, 256)},
}
CASES = {
    "digits": PERCEPTRONS
    | {
        f"convolutions of {n} channels": {"network": f"seq:conv{n},conv{n},pool,conv{2 * n},dense{4 * n}"}
        for n in (4, 8, 16, 32)
    },
    "images": PERCEPTRONS | {f"vgg12:{w:g}": {"network": f"vgg12:{w:g}", "examples": 50} for w in (0.125, 0.25)},
}


def predictions(network: Network, x: Array, y: Array, schedule: Schedule) -> dict[str, dict[int, Any]]:
    """Of both rungs at every epoch of `EPOCHS`: (what `describe` says, weights of the fresh networks)."""
    streams = Streams(SEED)
    law = linearised_networks(network, x, [fresh_weights(network, streams, k) for k in range(FRESH)])
    found: dict[str, dict[int, Any]] = {"R7": {}, "R7m": {}}
    for rung, reads in (("R7", range(0)), ("R7m", range(1, EPOCHS[-1] + 1))):
        steps = linearised_epochs(law, y, schedule, reads, reader(network, x))
        for epoch, (now, motion) in enumerate(steps):
            if epoch in EPOCHS:
                found[rung][epoch] = describe(now, motion, y, schedule.loss), now.weights, motion
    return found


def foretold_motion(network: Network, x: Array, law: Linearised, motion: Motion) -> float:
    """Relative change of the kernels of fresh networks whose weights follow the linearised dynamics, on average."""
    assert law.weights is not None
    changes = []
    for k, (weights, kernel) in enumerate(zip(law.weights, law.kernel, strict=True)):
        there = tangent_kernel(network, moved(network, weights, None, x, motion, k)[0], x)
        changes.append(np.linalg.norm(there - kernel) / np.linalg.norm(kernel))
    return float(np.mean(changes))


def law_of(operators: Sequence[HessianOperator]) -> list[SpectralDensity]:
    """Measured spectra, with `PROBES` probes and the steps of --steps, or fewer where there are many weights."""
    many = operators[0].network.n_weights > MANY
    probes, steps = (1, 60) if many else (PROBES, settings["steps"])
    return [spectral_density(one, probes, steps, seed=k) for k, one in enumerate(operators)]


def distances(own: SpectralDensity, laws: Sequence[SpectralDensity]) -> tuple[float, float, float]:
    """L1 in the measured rms, L1 of the shapes, predicted over measured rms."""
    scales = own.rms, float(np.sqrt(np.mean([law.rms**2 for law in laws])))

    def density(parts: Sequence[SpectralDensity], scale: float) -> Array:
        mean: Array = np.mean([p.terminated_density(GRID * scale, ETA * scale)[0] * scale for p in parts], axis=0)
        return mean

    measured = density([own], scales[0])
    first, second = (l1_distance(GRID, measured, density(laws, scale)) for scale in scales)
    return first, second, scales[1] / scales[0]


def load_flat(data: Dataset) -> Dataset:
    """The examples of perceptrons: images averaged over blocks."""
    return data if data.x.ndim == 2 else averaged(data)


def network_of(data: Dataset, case: dict[str, Any]) -> tuple[Network, Array]:
    """The network of a case, and its examples in the shape that it takes."""
    x = data.x[: case["examples"]]
    if case["network"] is None:
        x = load_flat(data).x[: case["examples"]]
        return mlp([x.shape[1], *[case["width"]] * (case["depth"] - 1), 1]), x
    if x.ndim == 2:
        side = math.isqrt(x.shape[1])
        x = x.reshape(-1, side, side, 1)
    return network_from_text(case["network"], x.shape[1:]), x


def mean_kernel(network: Network, x: Array) -> float:
    """The mean of ||∇T(x_i)||² over the examples and over fresh networks: how fast outputs move for one rate."""
    streams = Streams(SEED)
    return float(
        np.mean([np.trace(tangent_kernel(network, fresh_weights(network, streams, k), x)) for k in range(FRESH)])
    ) / len(x)


def one_case(data: Dataset, case: dict[str, Any], networks: int) -> list[dict[str, Any]]:
    """A row for every epoch with an active example in all networks: lists over the trained networks."""
    network, x = network_of(data, case)
    y = data.y[: case["examples"]]
    if case["labels"] == "random":
        y = np.random.default_rng(0).permutation(y)
    rate = RATE / case["width"] * case["factor"]
    if case["network"] is not None:
        perceptron, flat = network_of(load_flat(data), BASE | {"examples": case["examples"]})
        rate *= mean_kernel(perceptron, flat) / mean_kernel(network, x)
    schedule = Schedule([rate] * EPOCHS[-1], BATCH, MOMENTUM, "hinge", 0)
    made = predictions(network, x, y, schedule)
    trained = [_trained(network, x, y, rate, seed) for seed in range(networks)]
    first = [tangent_kernel(network, states[0], x) for states in trained]
    rows = []
    for epoch in EPOCHS:
        weights = [states[epoch] for states in trained]
        row = _row(network, x, y, weights, {rung: made[rung][epoch] for rung in made}, made["R7"][0][0]["c"])
        if row is None:
            break
        changes = [
            float(np.linalg.norm(tangent_kernel(network, w, x) - k) / np.linalg.norm(k))
            for w, k in zip(weights, first, strict=True)
        ]
        described, at, motion = made["R7"][epoch]
        law = Linearised(described["outputs"], np.stack([tangent_kernel(network, w, x) for w in at]), weights=at)
        rows.append({"epoch": epoch, "moved": changes, "foretold": foretold_motion(network, x, law, motion)} | row)
    return rows


def _trained(network: Network, x: Array, y: Array, rate: float, seed: int) -> dict[int, list[Array]]:
    states = {0: network.init(seed)}
    for state in train_epochs(
        network, states[0], x, y, epochs=EPOCHS[-1], batch_size=BATCH, learning_rate=rate, momentum=MOMENTUM
    ):
        states[state.epoch] = state.weights
    return states


def _row(
    network: Network, x: Array, y: Array, weights: Sequence[list[Array]], made: dict[str, Any], c_start: Array
) -> dict[str, Any] | None:
    """What is measured and predicted at one epoch; None where some trained network has no active example."""
    operators = [HessianOperator(network, w, x, y) for w in weights]
    if any(one.active.size == 0 for one in operators):
        return None
    measured, states = law_of(operators), [evaluate(network, w, x, y) for w in weights]
    row: dict[str, Any] = {
        "risk": [s.risk for s in states],
        "active": [int(one.active.size) for one in operators],
        "order_parameter": [s.order_parameter for s in states],
        "error": [describe_spectrum(m, ETA, np.random.default_rng(0))["l1_standard_error"] for m in measured],
    }
    for rung, (described, at, _) in made.items():
        row |= {f"{rung} {name}": described[name].tolist() for name in ("risk", "active", "order_parameter")}
        laws = _fresh_laws(network, x, described["c"], at)
        _keep(row, rung, [distances(m, laws) for m in measured])
    if network.n_weights <= CONTROLS:
        _controls(row, network, x, y, operators, measured, made["R7"], c_start)
    others = [[law for law in measured if law is not own] for own in measured]
    _keep(row, "others", [distances(own, rest) for own, rest in zip(measured, others, strict=True)])
    return row


def _controls(
    row: dict[str, Any],
    network: Network,
    x: Array,
    y: Array,
    operators: Sequence[HessianOperator],
    measured: Sequence[SpectralDensity],
    made: tuple[dict[str, Array], Sequence[Any], Motion],
    c_start: Array,
) -> None:
    """Other coefficients on the signals of fresh networks."""
    described, at, _ = made
    sizes = np.random.default_rng(1).permuted(np.broadcast_to(np.arange(len(y)), (FRESH, len(y))), axis=1)
    random = -np.where(sizes < described["active"][:, None], y, 0.0) / len(y)
    for name, c in (("start", c_start), ("size", random)):
        laws = _fresh_laws(network, x, c, at)
        _keep(row, name, [distances(m, laws) for m in measured])
    true = []
    for k, (own, one) in enumerate(zip(measured, operators, strict=True)):  # one fresh network for each
        laws = _fresh_laws(network, x, one.c[None], [at[k % FRESH]])
        true.append(distances(own, laws))
    _keep(row, "true", true)


def _fresh_laws(network: Network, x: Array, c: Array, weights: Sequence[Any]) -> list[SpectralDensity]:
    """Spectra of fresh networks with these weights, each with its row of c."""
    networks = FreshNetworks(network, x, c, weights=weights.__getitem__)
    return law_of([networks.draw(k) for k in range(len(networks))])


def _keep(row: dict[str, Any], name: str, found: Sequence[tuple[float, float, float]]) -> None:
    for key, values in zip(("L1", "shape", "rms"), zip(*found, strict=True), strict=True):
        row[f"{name} {key}"] = list(values)


def judged(cases: dict[str, Any]) -> dict[str, Any]:
    """Rank correlation of R7's L1 beyond that of the others with the foretold motion; exponents in the width."""
    rows = [row for case in cases.values() for row in case if row["epoch"] > 0]
    foretold = [row["foretold"] for row in rows]
    excess = [float(np.mean(row["R7 L1"]) - np.mean(row["others L1"])) for row in rows]
    found: dict[str, Any] = {"rows": len(rows)}
    if len(rows) > 3:
        rho, p = (float(v) for v in spearmanr(foretold, excess))
        found["foretold"] = {"rho": rho, "standard_error": float(np.sqrt((1 + rho**2 / 2) / (len(rows) - 3))), "p": p}
        for limit in (0.05, 0.1, 0.2, 0.4):
            below = [e for e, f in zip(excess, foretold, strict=True) if f <= limit]
            found[f"worst excess up to {limit:g}"] = max(below, default=None)
    widths = {n: cases[f"width {n}"] for n in (16, 64, 256, 1024) if f"width {n}" in cases}
    for name in ("moved", "R7 L1", "R7m L1", "others L1"):
        for epoch in EPOCHS[1:]:
            at = {n: r for n, rows in widths.items() for r in rows if r["epoch"] == epoch}
            if len(at) > 2:
                fit = linregress(np.log(list(at)), np.log([np.mean(r[name]) for r in at.values()]))
                found[f"exponent of {name} at epoch {epoch}"] = {"value": fit.slope, "standard_error": fit.stderr}
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", default="digits", help="digits (default), or an image folder or zip")
    p.add_argument("--networks", type=int, default=5)
    p.add_argument("--steps", type=int, default=80, help="Lanczos steps (default 80)")
    p.add_argument("--only", help="cases whose name holds this")
    p.add_argument("--out", type=Path, default=Path("benchmarks/results/forecast.json"))
    chosen = p.parse_args()
    settings["steps"] = chosen.steps
    data = load_dataset(chosen.data, examples=1000, spectrum_examples=200, seed=0)
    kept: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    kind = "digits" if chosen.data == "digits" else "images"
    found = kept.setdefault(kind, {"cases": {}})
    for name, change in CASES[kind].items():
        if name in found["cases"] or (chosen.only and chosen.only not in name):
            continue
        found["cases"][name] = one_case(data, BASE | change, chosen.networks)
        found["judged"] = judged(found["cases"])
        chosen.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        for row in found["cases"][name]:
            words = "  ".join(f"{k} {written(estimate(row[f'{k} L1']))}" for k in ("R7", "R7m", "others"))
            print(f"{name}, epoch {row['epoch']}: {words}  foretold {row['foretold']:.3f}", flush=True)
    print(json.dumps(found.get("judged"), indent=1))


if __name__ == "__main__":
    main()
