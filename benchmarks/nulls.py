"""How often tests and verdicts reject what is exactly true.

    python benchmarks/nulls.py [--runs 300] [--out benchmarks/results/nulls.json]

Spectra: H = [[0, B], [B^T, 0]] with Gaussian B, 2n = 40 and 400, and 1 to 16 probes of random signs. S H S = -H for
signs S, so that the law of a probe's measure is symmetric exactly: the randomisation test at 5 %, two standard errors
of the skewness and of the difference of the shares by sign, and the verdicts of fig. 8a. Laws: samples of 20, 200 and
5,000 symmetric numbers, continuous and with ties and zeros: the test on D, the sign test, the 95 % point of the broken
part, and its verdict. Predictions: two-layer networks, whose law R5 gives exactly, against their measured spectrum.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simulator import HessianOperator, mlp, spectral_density
from validation.compare.claims.law import BROKEN
from validation.compare.claims.mirror import MIRROR, SKEW
from validation.compare.claims.predictions import CLOSE
from validation.compare.claims.spectrum import IMBALANCE
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.predict import rung_law
from validation.statistics.decide import at_most, l1_at_most
from validation.statistics.distances import l1_distance, spectral_grid
from validation.statistics.symmetry import broken_symmetry, symmetry_test

Array = np.ndarray[Any, Any]
PROBES, HALVES, STEPS, ETA, LEVEL = (1, 2, 4, 6, 8, 16), (20, 200), 30, 0.05, 0.05
SAMPLES = (20, 200, 5000)
NETWORKS = ([8, 6, 1], [16, 24, 1])
Row = dict[str, Any]


def bipartite(half: int, rng: np.random.Generator) -> Array:
    """A matrix that a choice of signs turns into its negative."""
    b = rng.standard_normal((half, half)) / np.sqrt(half)
    return np.block([[np.zeros_like(b), b], [b.T, np.zeros_like(b)]])


def spectrum_run(half: int, probes: int, rng: np.random.Generator) -> dict[str, bool]:
    """What one measurement of a symmetric spectrum rejects."""
    spectrum = spectral_density(bipartite(half, rng), probes, STEPS, rng)
    made = describe_spectrum(spectrum, ETA, rng)
    mirror, low, high = made["symmetry"], made["fraction_negative"], made["fraction_positive"]
    imbalance, total = abs(low["value"] - high["value"]), low["value"] + high["value"]
    error = low["standard_error"] + high["standard_error"]  # what one share has too much the other lacks
    return {
        "p ≤ 0.05": mirror["p_value"] <= LEVEL,
        "|skew| > 2 errors": abs(mirror["skew"]) > 2.0 * mirror["skew_standard_error"],
        "|f₋ - f₊| > 2 errors": imbalance > 2.0 * error,
        "fig8a.symmetry": at_most(mirror["value"], MIRROR, mirror["standard_error"]) is False,
        "fig8a.skew": at_most(abs(mirror["skew"]), SKEW, mirror["skew_standard_error"]) is False,
        "fig8a.shares": at_most(imbalance / total, IMBALANCE, error / total) is False,
    }


def law_run(size: int, ties: bool, rng: np.random.Generator) -> dict[str, bool]:
    """What the tests say of a sample of a symmetric law."""
    x = rng.standard_normal(size) ** 3
    if ties:
        x = np.round(x)
    test, broken = symmetry_test(x), broken_symmetry(x, rng)
    if test is None or broken is None:
        raise ValueError(f"a sample of {size} numbers is all 0: use another seed")
    return {
        "p(D) ≤ 0.05": test.p_value <= LEVEL,
        "p(sign) ≤ 0.05": test.sign_p_value <= LEVEL,
        "broken part > null_95": broken.value > broken.null_95,
        "broken part, verdict": at_most(broken.value - broken.null, BROKEN, broken.standard_error) is False,
    }


def prediction_run(widths: list[int], probes: int, steps: int, rng: np.random.Generator) -> dict[str, bool]:
    """What is said of a law that is exact."""
    network = mlp(widths)
    x, y = rng.standard_normal((30, widths[0])), rng.choice([-1.0, 1.0], 30)
    weights = network.init(rng)
    operator = HessianOperator(network, weights, x, y)
    made = describe_spectrum(spectral_density(operator, probes, steps, rng), ETA, rng)
    grid, rms = spectral_grid(ETA), made["rms"]
    law = rung_law(network, x, operator.c, "R5", weights)(rms * (grid + 1j * ETA)).imag / np.pi * rms
    l1, error = l1_distance(grid, np.array(made["density"]), law), made["l1_standard_error"]
    return {"L1 > error": l1 > error, "verdict": l1_at_most(l1, CLOSE, error) is False}


def cases() -> Iterator[tuple[str, Row, Callable[[np.random.Generator], dict[str, bool]]]]:
    """Every null: its part, what it is, and one run of it."""
    for half in HALVES:
        for probes in PROBES:
            yield "spectra", {"size": 2 * half, "probes": probes}, lambda r, h=half, p=probes: spectrum_run(h, p, r)
    for size in SAMPLES:
        for ties in (False, True):
            yield "laws", {"sample": size, "ties": ties}, lambda r, s=size, t=ties: law_run(s, t, r)
    for widths in NETWORKS:
        for probes, steps in ((1, 60), (4, 60), (2, 10)):
            row = {"widths": widths, "probes": probes, "steps": steps}
            yield "predictions", row, lambda r, w=widths, p=probes, s=steps: prediction_run(w, p, s, r)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--runs", type=int, default=300)
    p.add_argument("--out", type=Path, default=Path("benchmarks/results/nulls.json"))
    chosen = p.parse_args()
    found: dict[str, Any] = {"runs": chosen.runs, "spectra": [], "laws": [], "predictions": []}
    for index, (part, row, run) in enumerate(cases()):
        results = [run(rng) for rng in np.random.default_rng([index, chosen.runs]).spawn(chosen.runs)]
        rates = {name: float(np.mean([result[name] for result in results])) for name in results[0]}
        found[part].append(row | {"rejected": rates})
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")
        print(part, row, "  ".join(f"{name}: {rate:.3f}" for name, rate in rates.items()), flush=True)


if __name__ == "__main__":
    main()
