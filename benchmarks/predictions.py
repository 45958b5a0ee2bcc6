"""How long the linearised equations take (R4w, R5, R6), and how far they reach: perceptrons of many examples, vgg12.

    python benchmarks/predictions.py [--only NAME,...] [--out benchmarks/results/predictions.json]

Every case solves at the 31 energies 0 ≤ E ≤ 4 rms of a 61-point grid (mirror images follow) at η = 0.05 rms, unless it
says otherwise, from a cold start, signals included; ``estimate`` is what `theory.estimate_seconds` said before. Random
data where no archive is given. With --images FOLDER or ZIP the vgg12:0.25 cases run on its images and are compared to
Lanczos quadrature on the same examples (8 probes × 150 steps, float64); with --checkpoint also at trained weights.
--digits trains the network of `make compare` and holds R5 and R6 against all 12,352 eigenvalues, tails included, at the
epochs named that still have active examples (a few minutes each). --convolutions ARCHIVE holds them against all
eigenvalues of two small convolutional networks, five of each, at initialisation and in mid-training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine
from scipy.linalg import eigvalsh

from simulator import (
    Conv,
    Dense,
    HessianOperator,
    MaxPool,
    Network,
    mlp,
    output,
    sequential,
    spectral_density,
    train_epochs,
    vgg12,
)
from theory.linearised.law import estimate_seconds, law_of
from theory.linearised.sweep import LinearisedEquation
from validation.data import load_dataset
from validation.ladder import spectra as ladder_spectra
from validation.predictions.predict import rung_law, rung_signals
from validation.predictions.record import tails
from validation.predictions.rung import SIGNAL_RUNGS
from validation.statistics.distances import TAILS, energy_grid, l1_distance

ETA = 0.05
PERCEPTRONS = {
    "L=3, n=20, m=300": ([16, 20, 20, 1], 300),
    "L=3, n=64, m=1,000": ([16, 64, 64, 1], 1000),
    "L=3, n=64, m=10,000": ([16, 64, 64, 1], 10_000),
    "L=4, n=24, m=60": ([16, 24, 24, 24, 1], 60),
    "L=4, n=64, m=200": ([64, 64, 64, 64, 1], 200),
    "L=4, n=64, m=1,000": ([64, 64, 64, 64, 1], 1000),
    "L=5, n=32, m=100": ([16, 32, 32, 32, 32, 1], 100),
}
VGG = {
    "vgg12:0.25, m=1": (1, 0.0, ("R5", "R6")),
    "vgg12:0.25, m=1, cut": (1, 1e-3, ("R5", "R6")),
    "vgg12:0.25, m=2, cut": (2, 1e-3, ("R5", "R6")),
    "vgg12:0.25, m=4, cut": (4, 1e-3, ("R5",)),
}
"""Examples, directions of the inner layers left out, rungs."""


def solve(
    network: Network, x: Any, c: Any, rung: str, weights: Any, grid: Any, rms: float | None, cut: float = 0.0
) -> dict[str, Any]:
    """Seconds, sweeps and density of one rung on `grid` (in rms; the law's own where None)."""
    begun = time.perf_counter()
    (signals,) = rung_signals(network, x, c, rung, weights)
    equation = LinearisedEquation(signals, SIGNAL_RUNGS[rung], cut)
    scale = equation.rms if rms is None else rms
    law = law_of(equation, scale * (grid + 1j * ETA))
    return {
        "seconds": time.perf_counter() - begun,
        "estimate": estimate_seconds(equation, len(grid) // 2 + 1),
        "sweeps": law.iterations,
        "sites": [layer.n_sites for layer in signals.layers],
        "density": (law.g.imag / np.pi * scale).tolist(),
    }


def perceptron(widths: Sequence[int], m: int, rungs: Sequence[str]) -> dict[str, Any]:
    """Timings at initialisation, labels at random, all examples active."""
    rng, network = np.random.default_rng(0), mlp(widths)
    x, c = rng.standard_normal((m, widths[0])), rng.choice([-1.0, 1.0], m) / m
    return {rung: _brief(solve(network, x, c, rung, network.init(1), energy_grid(30), None)) for rung in rungs}


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "density"}


def images(m: int, cut: float, rungs: Sequence[str], archive: str, checkpoint: str | None) -> dict[str, Any]:
    """vgg12:0.25 on m images, at initialisation or at a checkpoint's weights, against Lanczos quadrature."""
    network = vgg12(0.25)
    weights, data = network.init(0), load_dataset(archive, examples=5000, seed=0, dtype="float64")
    if checkpoint is not None:
        with np.load(checkpoint, allow_pickle=False) as stored:
            weights = [stored[f"weights_{i}"].astype(np.float64) for i in range(network.depth)]
    margin = data.y * output(network, weights, data.x)
    chosen = np.flatnonzero(margin < 1.0)[:m]  # examples of loss > 0
    x, c = data.x[chosen], -data.y[chosen] / m
    operator = HessianOperator(network, weights, x, None, c=c)
    spectrum = spectral_density(operator, 8, 150)
    grid, rms = energy_grid(15), spectrum.rms
    density, _ = spectrum.terminated_density(grid * rms, ETA * rms)
    found: dict[str, Any] = {
        "l1_standard_error": spectrum.l1_standard_error(grid * rms, ETA * rms),
        "energies": grid.tolist(),
        "measured": (density * rms).tolist(),
    }
    for rung in rungs:
        found[rung] = solve(network, x, c, rung, weights, grid, rms, cut)
        found[rung]["l1"] = l1_distance(grid, density * rms, np.array(found[rung]["density"]))
        print(f"  {rung}: L1 {found[rung]['l1']:.3f}, {found[rung]['seconds']:.0f} s", flush=True)
    return found


def digits(epochs: Sequence[int]) -> dict[str, Any]:
    """mlp:64x64x64 on the digits, 200 spectrum examples, as in `make compare`: rungs against dense eigenvalues."""
    data, network = load_dataset("digits", seed=0), mlp([64, 64, 64, 64, 1])
    weights = network.init(0)
    x, y, found = data.x[data.spectrum], data.y[data.spectrum], dict[str, Any]()
    if 0 in epochs:
        found["epoch 0"] = against_eigenvalues(network, weights, x, y)
    for state in train_epochs(
        network, weights, data.x, data.y, epochs=max(epochs), batch_size=128, learning_rate=0.01, momentum=0.9,
        seed=0,
    ):  # fmt: skip
        if state.epoch in epochs:
            found[f"epoch {state.epoch}"] = against_eigenvalues(network, state.weights, x, y)
    return found


def against_eigenvalues(network: Network, weights: Any, x: Any, y: Any) -> dict[str, Any]:
    """L1, counts beyond 4, 8 and 12 rms and the largest eigenvalue, measured exactly and by R5 and R6."""
    operator = HessianOperator(network, weights, x, y)
    found: dict[str, Any] = {"active": int(operator.active.size)}
    if operator.active.size == 0:
        return found
    h = operator.dense()
    live = np.flatnonzero(np.any(h != 0, axis=0))  # weights of dead neurons and pixels have eigenvalue 0
    values = np.zeros(len(h))
    values[: live.size] = eigvalsh(h[np.ix_(live, live)], overwrite_a=True, check_finite=False)
    del h
    grid, rms = ladder_spectra.ENERGIES, ladder_spectra.rms(values)
    density = ladder_spectra.measured_density(values, rms)
    found["asymmetry"] = l1_distance(grid, density, density[::-1]) / 2
    found["beyond"] = [[int(np.sum(s * values > t * rms)) for t in TAILS] for s in (1, -1)]
    found["largest"] = [float(values.max() / rms), float(-values.min() / rms)]
    for rung in ("R5", "R6"):
        found[rung] = _brief(made := solve(network, x, operator.c, rung, weights, grid, rms))
        found[rung]["l1"] = l1_distance(grid, density, np.array(made["density"]))
        found[rung]["tails"] = tails(rung_law(network, x, operator.c, rung, weights), network.n_weights, rms)
    print(json.dumps(found), flush=True)
    return found


def convolutions(archive: str, networks: int) -> dict[str, Any]:
    """Two small networks on six images, at initialisation and in mid-training: L1 of R5 and R6 to dense eigenvalues."""
    colour, grey = load_dataset(archive, examples=60, seed=0, dtype="float64"), load_dataset("digits", seed=0)
    thumbnails = colour.x[:6].reshape(6, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    thumbnails = (thumbnails - thumbnails.mean()) / thumbnails.std()
    pool, top = MaxPool(2), [Dense(8), Dense(1)]
    cases: dict[str, Any] = {
        "8x8 colour, conv 8, pool, conv 8, pool, dense 8": (
            [Conv(8), pool, Conv(8), pool, *top],
            thumbnails,
            colour.y[:6],
        ),
        "8x8 digits, conv 6, pool, conv 6, dense 8": (
            [Conv(6), pool, Conv(6), *top],
            grey.x[:6].reshape(6, 8, 8, 1),
            grey.y[:6],
        ),
    }
    found: dict[str, Any] = {}
    for name, (layers, x, y) in cases.items():
        network = sequential(x.shape[1:], layers)
        errors: dict[str, list[float]] = {}
        for seed in range(networks):
            for stage, weights, c in _stages(network, network.init(seed), x, y):
                for rung, l1 in _errors(network, weights, x, c).items():
                    errors.setdefault(f"{rung} {stage}", []).append(l1)
        found[name] = {"weights": network.n_weights} | {
            key: [float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))), len(values)]
            for key, values in errors.items()
        }
        print(name, json.dumps(found[name]), flush=True)
    return found


def _stages(network: Network, weights: Any, x: Any, y: Any) -> Iterator[tuple[str, Any, Any]]:
    """(stage, weights, c): all examples active at first, then the first state with at most two thirds of them."""
    yield "at initialisation", weights, -y / len(y)
    options: Any = {"epochs": 400, "batch_size": len(y), "learning_rate": 0.01, "momentum": 0.9}
    for state in train_epochs(network, weights, x, y, **options):
        active = y * output(network, state.weights, x) < 1
        if 2 <= np.sum(active) <= 2 * len(y) / 3:
            yield "in mid-training", state.weights, np.where(active, -y, 0.0) / len(y)
            return


def _errors(network: Network, weights: Any, x: Any, c: Any) -> dict[str, float]:
    """L1 of R5 and R6 to all eigenvalues."""
    values = ladder_spectra.eigenvalues(HessianOperator(network, weights, x, None, c=c))
    grid, rms = ladder_spectra.ENERGIES, ladder_spectra.rms(values)
    density = ladder_spectra.measured_density(values, rms)
    made = {rung: solve(network, x, c, rung, weights, grid, rms)["density"] for rung in ("R5", "R6")}
    return {rung: l1_distance(grid, density, np.array(law)) for rung, law in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names of cases, separated by semicolons")
    parser.add_argument("--images", help="image folder or zip for the vgg12 cases")
    parser.add_argument("--checkpoint", help="checkpoint of a vgg12:0.25 run (npz)")
    parser.add_argument("--out", default="benchmarks/results/predictions.json")
    parser.add_argument("--digits", help="recorded epochs, such as 0,1,2,5,10: the digits run against its eigenvalues")
    parser.add_argument("--convolutions", metavar="ARCHIVE", help="small convolutional networks on its images")
    options = parser.parse_args()
    wanted = None if options.only is None else options.only.split(";")
    path = Path(options.out)
    results = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    results["machine"] = machine()
    for name, (widths, m) in PERCEPTRONS.items():
        if wanted is None or name in wanted:
            rungs = ("R4w", "R5", "R6") if m <= 100 else ("R5", "R6")
            results["cases"][name] = perceptron(widths, m, rungs)
            print(name, {rung: round(case["seconds"], 2) for rung, case in results["cases"][name].items()}, flush=True)
    if options.digits:
        results["cases"].setdefault("digits", {}).update(digits([int(e) for e in options.digits.split(",")]))
    if options.convolutions:
        results["cases"]["convolutions"] = convolutions(options.convolutions, networks=5)
    for name, (m, cut, rungs) in VGG.items() if options.images else ():
        if wanted is None or name in wanted:
            title = name + ("" if options.checkpoint is None else ", trained")
            print(title, flush=True)
            results["cases"][title] = images(m, cut, rungs, options.images, options.checkpoint)
            path.write_text(json.dumps(results, indent=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
