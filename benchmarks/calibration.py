"""Whether standard errors of a measured spectrum are right: how often the truth lies within one and within two of them.

    python benchmarks/calibration.py [--each 80] [--out benchmarks/results/calibration.json]

Matrices of known eigenvalues, five kinds: a Gaussian orthogonal matrix (semicircle); sample covariances, with an atom
at 0 or without (Marchenko-Pastur); a narrow bulk with few outliers far out; discrete clusters and heavy tails; and
Hessians of small ReLU networks in training on the digits. The first four have random eigenvectors. Every measurement
draws its probes (1, 2, 4, 8), steps (15, 30, 60, 120) and η (0.02, 0.05, 0.1 rms) at random. Known truths: L1 between
the measured density and the exact one at the same η on |E| ≤ 4 rms; shares of eigenvalues below -η, above η and
between, and beyond 4, 8 and 12 rms; tr H^k/N, k = 2, 3, 4; the density itself at single energies. The last two have
errors from probes alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.fft import dct, idct

from simulator import HessianOperator, SpectralDensity, mlp, spectral_density, train_epochs
from validation.data import load_dataset
from validation.measurements.spectrum import describe_spectrum
from validation.statistics.distances import energy_grid, l1_distance

Array = np.ndarray[Any, Any]
PROBES, STEPS, ETAS = (1, 2, 4, 8), (15, 30, 60, 120), (0.02, 0.05, 0.1)
NETWORKS, EPOCHS = ([64, 8, 8, 1], [64, 12, 12, 1], [64, 12, 12, 12, 1]), (1, 2, 5)
SIZES = 150, 700  # of the matrices that are no Hessians


class Rotated:
    """A matrix of given eigenvalues and random eigenvectors: those of two cosine transforms with random signs."""

    def __init__(self, eigenvalues: Array, rng: np.random.Generator) -> None:
        n = len(eigenvalues)
        self.shape = (n, n)
        self.eigenvalues = rng.permutation(eigenvalues)[:, None]
        self.signs = rng.choice([-1.0, 1.0], (2, n, 1))

    def __matmul__(self, v: Array) -> Array:
        first, second = self.signs
        w = dct(second * dct(first * v, axis=0, norm="ortho"), axis=0, norm="ortho") * self.eigenvalues
        product: Array = first * idct(second * idct(w, axis=0, norm="ortho"), axis=0, norm="ortho")
        return product


def semicircle(rng: np.random.Generator) -> Array:
    n = int(rng.integers(*SIZES))
    half = rng.standard_normal((n, n))
    return np.asarray(np.linalg.eigvalsh(half + half.T))


def marchenko_pastur(rng: np.random.Generator) -> Array:
    """With fewer columns than rows most eigenvalues are 0."""
    n = int(rng.integers(*SIZES))
    x = rng.standard_normal((n, int(n * rng.uniform(0.2, 2.5))))
    return np.asarray(np.linalg.eigvalsh(x @ x.T / x.shape[1]))


def outliers(rng: np.random.Generator) -> Array:
    values = semicircle(rng)
    values *= rng.uniform(0.02, 0.2) / values.max()
    far = int(rng.integers(2, 20))
    values[rng.permutation(values.size)[:far]] = rng.uniform(1.0, 6.0, far) * rng.choice([-1.0, 1.0], far)
    return values


def clusters_or_tails(rng: np.random.Generator) -> Array:
    """Few values with random shares, sharp or a little spread out; or a power law of infinite fourth moment."""
    n = int(rng.integers(*SIZES))
    if rng.random() < 0.5:
        return rng.standard_t(rng.uniform(1.5, 4.0), n)
    places = int(rng.integers(3, 30))
    centres = rng.choice(rng.standard_normal(places), n, p=rng.dirichlet(np.ones(places)))
    return centres + rng.choice([0.0, 1e-2]) * rng.standard_normal(n)


RANDOM: dict[str, Callable[[np.random.Generator], Array]] = {
    "semicircle": semicircle, "Marchenko-Pastur": marchenko_pastur, "bulk and outliers": outliers,
    "clusters, heavy tails": clusters_or_tails,
}  # fmt: skip


def hessians(networks: Sequence[Sequence[int]] = NETWORKS, examples: int = 100) -> list[tuple[Any, Array]]:
    """(operator, all its eigenvalues) of networks in training, on `examples` of the digits."""
    data, found = load_dataset("digits", seed=0), []
    x, y = data.x[data.spectrum][:examples], data.y[data.spectrum][:examples]
    for seed, widths in enumerate(networks):
        network = mlp(widths)
        for state in train_epochs(
            network, network.init(seed), data.x, data.y, epochs=max(EPOCHS), batch_size=128, learning_rate=0.01,
            momentum=0.9, seed=seed,
        ):  # fmt: skip
            operator = HessianOperator(network, state.weights, x, y)
            if state.epoch in EPOCHS and operator.active.size:
                found.append((operator, np.linalg.eigvalsh(operator.dense())))
    return found


def measurements(each: int, seed: int, known: Sequence[tuple[Any, Array]]) -> Iterator[dict[str, Any]]:
    """`each` measurements of every kind, with what they are off by and their standard errors; `known`: the Hessians."""
    rng = np.random.default_rng(seed)
    for kind in [*RANDOM, "ReLU Hessians"]:
        for _ in range(each):
            if kind in RANDOM:
                values = RANDOM[kind](rng)
                operator: Any = Rotated(values, rng)
            else:
                operator, values = known[int(rng.integers(len(known)))]
            probes, steps, eta = (rng.choice(choices).item() for choices in (PROBES, STEPS, ETAS))
            found = spectral_density(operator, probes, steps, rng)
            errors = off_by(found, values, eta, rng)
            yield {"kind": kind, "probes": probes, "steps": steps, "eta": eta, "errors": errors}


def off_by(found: SpectralDensity, values: Array, eta: float, rng: np.random.Generator) -> dict[str, list[Any]]:
    """Of every quantity the pairs (|measured - true|, standard error)."""
    law, rms = describe_spectrum(found, eta, rng), found.rms
    values, grid = values / rms, energy_grid()
    measured, spread = found.terminated_density(grid * rms, eta * rms)
    true = np.mean(eta / np.pi / ((values - grid[:, None]) ** 2 + eta**2), axis=1)
    error = found.l1_standard_error(grid * rms, eta * rms)
    pairs: dict[str, list[Any]] = {"L1": [(l1_distance(grid, measured * rms, true), error)]}
    shares = {"negative": np.mean(values < -eta), "positive": np.mean(values > eta)}
    shares["zero"] = 1.0 - sum(shares.values())
    pairs["shares"] = [_pair(law[f"fraction_{name}"], share) for name, share in shares.items()]
    pairs["tails"] = [
        _pair(seen, np.mean(sign * values > threshold))
        for sign, side in ((-1, "negative"), (1, "positive"))
        for threshold, seen in zip(law["tails"]["thresholds"], law["tails"][side], strict=True)
        if np.any(sign * values > threshold)
    ]
    moments = ((found.moment(k), np.mean(values**k) * rms**k) for k in (2, 3, 4))
    pairs["moments"] = [(abs(value - exact), error) for (value, error), exact in moments]
    pairs["density"] = list(
        zip(np.abs(measured * rms - true)[::10].tolist(), (spread * rms)[::10].tolist(), strict=True)
    )
    return pairs


def _pair(share: Mapping[str, Any], exact: Any) -> tuple[float, float]:
    return abs(share["value"] - float(exact)), share["standard_error"]


def coverage(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Shares of the truths within one and two standard errors, and the median of standard error over error."""
    off, error = np.array(pairs, dtype=float).T
    rounding = 1e-9
    ratio = np.median(error[off > rounding] / off[off > rounding]) if np.any(off > rounding) else 1.0
    return {
        "count": len(off),
        "one": float(np.mean(off <= error + rounding)),
        "two": float(np.mean(off <= 2.0 * error + rounding)),
        "ratio": float(ratio),
    }


def tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Coverage of every quantity: of all measurements, then by kind, probes, steps and η."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in rows[0]["errors"]:
        groups: dict[str, list[Any]] = {}
        for row in rows:
            for group in ("all", row["kind"], *(f"{key} {row[key]:g}" for key in ("probes", "steps", "eta"))):
                groups.setdefault(group, []).extend(row["errors"][name])
        found[name] = {group: coverage(pairs) for group, pairs in sorted(groups.items()) if pairs}
    return found


def main() -> None:
    from enumeration import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=80, help="measurements of every kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="benchmarks/results/calibration.json")
    options = parser.parse_args()
    rows = list(measurements(options.each, options.seed, hessians()))
    results = {"machine": machine(), "measurements": len(rows), "seed": options.seed, "coverage": tables(rows)}
    for name, groups in results["coverage"].items():
        print(name)
        for group, seen in groups.items():
            print(f"  {group:22s} {seen['one']:.3f} {seen['two']:.3f}  {seen['ratio']:.2f}  of {seen['count']}")
    path = Path(options.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
