"""Where the sampled rungs RE and RK fail: width, depth, rate, initial scale, labels, length of training, momentum.

    python benchmarks/regimes.py [--data FOLDER|ZIP] [--networks 5] [--draws 4] [--only scale]

Every regime changes one thing of a network trained on the digits (64-24-24-1, rate 0.01, momentum 0.9, batches of 32,
200 examples of the spectrum among 1,000), or on images averaged over blocks to 4x4 in colour (48-24-24-1). L1 of RE and
RK against all eigenvalues of each network, over five networks, beside ``draw``: what one draw of RE is off the mean of
the others, which is as near as one network can be. And what may foretell the failure, for each network: the relative
change of its tangent kernel, the kernel's alignment with the labels, and the excess kurtosis of its preactivations.

At the end stands the claim that RK's L1 less RE's, which is what Gaussian fields add, follows one of these: Spearman's
rank correlation over all networks with its standard error (Bonett and Wright, Psychometrika 65 (2000) 23). A finished
regime is kept, so that a run goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import eigvalsh
from scipy.stats import kurtosis, spearmanr

from backends import get_backend
from simulator import Ensemble, HessianOperator, Network, mlp, risk, train
from simulator.passes.propagation import backpropagate, propagate
from validation.data import Dataset, load_dataset
from validation.ladder.spectra import l1, measured_density, spread
from validation.statistics.claim import Claim
from validation.statistics.decide import at_least
from validation.statistics.estimate import estimate, written

Array = np.ndarray[Any, Any]
PIXELS = 4  # on a side of an averaged image
FOLLOWS = 0.5  # a rank correlation from which on the one follows the other
FORETELL = {
    "kernel_change": "the relative change of the tangent kernel",
    "alignment": "the kernel's alignment with the labels",
    "kurtosis": "the excess kurtosis of the preactivations",
    "risk": "the training risk",
}
BASE = {
    "widths": (24, 24), "rate": 0.01, "momentum": 0.9, "epochs": 5, "scale": 1.0, "labels": "true", "batch": 32,
}  # fmt: skip
REGIMES: dict[str, dict[str, Any]] = {
    "base": {},
    "start": {"epochs": 0},
    "epochs 1": {"epochs": 1},
    "epochs 20": {"epochs": 20},
    "width 12": {"widths": (12, 12)},
    "width 48": {"widths": (48, 48)},
    "depth 4": {"widths": (24, 24, 24)},
    "depth 5": {"widths": (24, 24, 24, 24)},
    "rate 0.003": {"rate": 0.003},
    "rate 0.03": {"rate": 0.03},
    "scale 0.1": {"scale": 0.1, "rate": 0.03},
    "scale 0.3": {"scale": 0.3, "rate": 0.02},
    "scale 3": {"scale": 3.0, "rate": 0.001},
    "no momentum": {"momentum": 0.0, "rate": 0.05},
    "random labels": {"labels": "random"},
    "random labels, 20 epochs": {"labels": "random", "epochs": 20},
}


def live_eigenvalues(operator: HessianOperator) -> Array:
    """All eigenvalues; those of weights of dead pixels and neurons are 0."""
    h = operator.dense()
    live = np.flatnonzero(np.any(h != 0, axis=0))
    values = np.zeros(len(h))
    values[: live.size] = eigvalsh(h[np.ix_(live, live)], overwrite_a=True, check_finite=False)
    return values


def tangent_kernel(network: Network, weights: list[Array], x: Array) -> tuple[Array, list[Array]]:
    """∇T_i·∇T_k = Σ_l (x_{l-1} x_{l-1}^T) ∘ (δ_l δ_l^T) of a perceptron, and its hidden preactivations."""
    ops = get_backend("numpy")
    signals = propagate(network, weights, x, ops)
    slopes = backpropagate(network, weights, signals, np.ones(len(x)), ops)
    pairs = zip(signals.inputs, slopes, strict=True)
    kernel: Array = sum((a @ a.T) * (d @ d.T) for a, d in pairs)  # type: ignore[assignment]
    return kernel, [a @ w for a, w in zip(signals.inputs[:-1], weights[:-1], strict=True)]


def one_network(data: Dataset, regime: dict[str, Any], seed: int, draws: int) -> dict[str, Any] | None:
    """L1 of RE and RK, and what may foretell it; None where no example of the spectrum is active, or H = 0."""
    network, rng = mlp([data.x.shape[1], *regime["widths"], 1]), np.random.default_rng(seed)
    y = data.y if regime["labels"] == "true" else rng.permutation(data.y)
    first = [regime["scale"] * w for w in network.init(seed)]
    last = first
    if regime["epochs"]:
        last = train(
            network, first, data.x, y, epochs=regime["epochs"], batch_size=regime["batch"],
            learning_rate=regime["rate"], momentum=regime["momentum"], seed=seed,
        ).weights  # fmt: skip
    x, labels = data.x[data.spectrum], y[data.spectrum]
    operator = HessianOperator(network, last, x, labels)
    if operator.active.size == 0:
        return None
    own = live_eigenvalues(operator)
    rms = float(np.sqrt(np.mean(own**2)))
    if rms == 0.0:
        return None
    measured = measured_density(own, rms)
    before, _ = tangent_kernel(network, first, x)
    kernel, fields = tangent_kernel(network, last, x)
    found: dict[str, Any] = {
        "risk": risk(network, last, data.x, y),
        "active": int(operator.active.size),
        "kernel_change": float(np.linalg.norm(kernel - before) / np.linalg.norm(before)),
        "alignment": float(labels @ kernel @ labels / (len(labels) * np.linalg.norm(kernel))),
        "kurtosis": float(np.mean([np.mean(kurtosis(z, axis=1)) for z in fields])),
    }
    for rung, options in (("RE", {}), ("RK", {"fields": True})):
        ensemble = Ensemble(network, last, x, operator.c, **options)
        spectra = [live_eigenvalues(ensemble.draw(k, seed)) for k in range(draws)]
        densities = np.stack([measured_density(values, rms) for values in spectra])
        found[rung] = l1(measured, densities.mean(axis=0))
        found[f"{rung} largest"] = float(np.mean([np.abs(v).max() for v in spectra]) / np.abs(own).max())
        if rung == "RE":
            found["draw"] = spread(densities)
    return found


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means with standard errors over networks."""
    return {name: estimate([row[name] for row in rows]) for name in rows[0]} if rows else {}


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whether what Gaussian fields add to L1 follows what may foretell it; none with fewer than four networks."""
    gap = [row["RK"] - row["RE"] for row in rows]
    return [_follows(key, [row[key] for row in rows], gap) for key in FORETELL] if len(rows) > 3 else []


def _follows(key: str, values: list[float], gap: list[float]) -> dict[str, Any]:
    rho, p = (float(v) for v in spearmanr(values, gap))
    error = float(np.sqrt((1.0 + 0.5 * rho**2) / (len(gap) - 3)))
    claim = Claim(
        f"regimes.{key}", "RK", f"L1 of RK less that of RE follows {FORETELL[key]}",
        f"rank correlation {rho:.2f} ± {error:.2f} (p = {p:.1g}) over {len(gap)} networks",
        f"at least {FOLLOWS:g} in size", at_least(abs(rho), FOLLOWS, error),
    )  # fmt: skip
    return claim.record() | {"rho": rho, "standard_error": error, "p": p}


def load(name: str) -> Dataset:
    """1,000 examples; images averaged over blocks to `PIXELS` a side, and flattened."""
    data = load_dataset(name, examples=1000, spectrum_examples=200, seed=0)
    return data if data.x.ndim == 2 else averaged(data)


def averaged(data: Dataset) -> Dataset:
    """Images averaged over blocks to `PIXELS` a side, flattened, of variance 1."""
    m, side, _, colours = data.x.shape
    block = side // PIXELS
    means = data.x[:, : PIXELS * block, : PIXELS * block].reshape(m, PIXELS, block, PIXELS, block, colours)
    x = means.mean(axis=(2, 4), dtype=np.float64).reshape(m, -1)
    return replace(data, x=x / x.std())


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", default="digits", help="digits (default), or an image folder or zip")
    p.add_argument("--networks", type=int, default=5)
    p.add_argument("--draws", type=int, default=4)
    p.add_argument("--only", help="regimes whose name holds this")
    p.add_argument("--out", type=Path, default=Path("benchmarks/results/regimes.json"))
    chosen = p.parse_args()
    data = load(chosen.data)
    kept: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    kept |= {"base": BASE, "draws": chosen.draws}
    found = kept.setdefault("data", {}).setdefault("digits" if chosen.data == "digits" else "images", {"regimes": {}})
    for name, change in REGIMES.items():
        if name in found["regimes"] or (chosen.only and chosen.only not in name):
            continue
        made = [one_network(data, BASE | change, seed, chosen.draws) for seed in range(chosen.networks)]
        rows = [row for row in made if row is not None]
        found["regimes"][name] = {"change": change, "networks": rows, "mean": summary(rows)}
        found["claims"] = judged([row for regime in found["regimes"].values() for row in regime["networks"]])
        chosen.out.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        words = "  ".join(f"{k} {written(m)}" for k, m in found["regimes"][name]["mean"].items())
        print(f"{name}: {words or 'H = 0'}", flush=True)
    for claim in found["claims"]:
        print(f"{claim['claim']}: {claim['measured']}: {claim['verdict']}")


if __name__ == "__main__":
    main()
