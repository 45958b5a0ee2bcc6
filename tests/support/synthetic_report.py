"""A made-up comparison report of the right shape, for tests of everything that only reads reports.

Its spectra are those of small random symmetric matrices with an atom at 0 and heavy tails, its weights, gradients and
circuits random numbers, all measured and described by the job's own functions, so that figures drawn from it look like
real ones; nothing in it was measured on a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator import EnsembleDensity, SpectralDensity, spectral_density
from validation.measurements.alignment import CLASSES
from validation.measurements.laws import CIRCUIT_EDGES, WEIGHT_EDGES, gradient_histograms, histogram, rms
from validation.measurements.laws import symmetry as describe_symmetry
from validation.measurements.spectrum import describe_spectrum
from validation.predictions.rung import RUNGS, SAMPLED_RUNGS
from validation.predictions.sampled import describe_sampled
from validation.statistics.distances import energy_grid, l1_distance
from validation.statistics.estimate import ratio
from validation.statistics.extremes import TAILS
from validation.statistics.symmetry import false_discoveries

Array = NDArray[np.float64]

ETA, STEPS = 0.05, 60
BEYOND = (76.25, 23.5, 8.75, 0.5)  # eigenvalues that a made-up prediction expects beyond `TAILS`
EIGENVALUES = 500  # of the random matrices whose spectra stand in for measured ones
CLAIMS = [
    ("E1", "theory", "Diagonal blocks of the Hessian are 0.", 1.1e-16, "≤ 1e-10", "holds"),
    ("E3", "theory", "H theta = (L - 1) grad R (Euler).", "relative error ≤ 3.2e-15", 1e-12, "holds"),
    ("S3", "theory", "Gates flip with probability (2/pi) arctan(...).", "-0.503 +/- 0.004", "-1/2", "holds"),
    ("M1", "theory", "The second moment grows by n s² / 2 per layer.", 1.002, 1.0, "holds"),
    ("fig3a", "fig. 3a", "Most weight laws stay symmetric.", 0.021, "below 0.1", "supported"),
    ("fig4b", "fig. 4b", "The order parameter is a decade below the risk.", 0.42, 0.1, "not supported"),
    ("fig8a.symmetry", "fig. 8a", "The spectrum is symmetric.", "0.011", "below 0.014", "supported"),
    ("eq20", "eq. (20)", "Means of assemblies decay with depth.", None, None, "not applicable"),
]

PAPER_EPOCHS = (0, 10, 20, 30, 40, 100, 160, 200, 260, 300)
CASES: dict[str, dict[str, Any]] = {
    "digits": {"zero_last": True},
    "twelve layers": {"layers": 12, "recorded": PAPER_EPOCHS, "zero_last": True, "rungs": tuple(RUNGS)},
    "first epoch only": {"recorded": (0,), "complete": False},
    "no predictions": {"recorded": (0, 1, 2), "complete": False, "rungs": ()},
    "nothing active": {"recorded": (7,), "zero_last": True},
    "one probe": {"recorded": (0, 1), "probes": 1},
    "one layer": {"layers": 1, "recorded": (0,), "rungs": ()},
    "no live circuit": {"recorded": (0, 1), "live": 0.0, "rungs": ("R0",)},
}


@cache
def report(case: str) -> dict[str, Any]:
    """One of the `CASES`; shared, so a test that changes it takes a copy."""
    return build(**CASES[case])


def build(
    layers: int = 4,
    recorded: Sequence[int] = (0, 1, 2, 5, 10, 20, 40),
    *,
    complete: bool = True,
    zero_last: bool = False,
    rungs: Sequence[str] = ("R0", "R1", "R2", "R5", "RE", "RK"),
    probes: int = 4,
    live: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """A report with `layers` weight layers at the epochs `recorded`; plain JSON types, no NaN.

    A share `live` of the circuits is not 0. With `zero_last` no example is active at the last recorded epoch: risk 0,
    Hessian 0, gradient 0.
    With `complete` false the run was planned for 40 epochs more than were recorded.
    """
    rng = np.random.default_rng(seed)
    last = recorded[-1]
    shapes = _shapes(layers)
    zero_epochs = {last} if zero_last else set()
    epochs = [_epoch(rng, epoch, shapes, rungs, probes, epoch in zero_epochs) for epoch in recorded]
    for epoch in (epochs[0], epochs[-1]):
        epoch["circuits"] = _circuits(rng, layers, live)
    for epoch, own in zip(epochs, rng.spawn(len(epochs)), strict=True):
        epoch["aligned"] = _alignment(own, epoch["risk"], live > 0)
    return {
        "schema": 1,
        "version": "0.1.0",
        "complete": complete,
        "options": {"data": "auto", "epochs": last if complete else last + 40, "probes": probes, "quick": False},
        "dataset": {
            "name": "digits",
            "source": "8x8 digits of scikit-learn: 1,437 training and 360 test examples of shape 64, "
            "label -1: 0, 2, 4, 6, 8; +1: 1, 3, 5, 7, 9",
            "negative": ["0", "2", "4", "6", "8"],
            "positive": ["1", "3", "5", "7", "9"],
            "examples": 1437,
            "spectrum_examples": 200,
            "test_examples": 360,
            "input_shape": [64],
        },
        "network": {
            "name": "mlp:64x64x64" if layers == 4 else "vgg12:0.25",
            "weight_shapes": shapes,
            "n_weights": sum(int(np.prod(s)) for s in shapes),
            "n_layers": layers,
            "init": "gaussian",
            "weights": None,
        },
        "loss": "hinge",
        "backend": {"name": "numba", "dtype": "float64", "tf32": False},
        "seed": seed,
        "eta": ETA,
        "environment": {"python": "3.11.7", "numpy": "2.4.6", "cores": 8, "platform": "Linux"},
        "training": {
            "epochs": last if complete else last + 40,
            "batch_size": 128,
            "learning_rate": 0.01,
            "rate_drops": [],
            "momentum": 0.9,
            "history": _history(rng, last, zero_last),
        },
        "forecast": {"networks": 4, "seconds": 1.0, "left_out": None},
        "epochs": epochs,
        "symmetry_tests": false_discoveries(epochs),
        "claims": [
            dict(zip(("id", "source", "claim", "measured", "expected", "verdict"), c, strict=True))
            | {"exact": c[-1] == "holds"}
            for c in CLAIMS
        ],
    }


def _shapes(layers: int) -> list[list[int]]:
    """Weight shapes: dense for few layers, convolutions with two dense layers on top for many."""
    if layers < 8:
        return [[64, 64]] * (layers - 1) + [[64, 1]]
    widths = [3, 16, 16, 32, 32, 64, 64, 128, 128, 128, 128]
    return [[3, 3, a, b] for a, b in pairwise(widths[: layers - 1])] + [[128, 128], [128, 1]]


def _history(rng: np.random.Generator, last: int, zero_last: bool) -> dict[str, list[float]]:
    epoch = np.arange(1, last + 1, dtype=np.float64)
    risk = _risk(epoch - 0.5) * np.exp(0.1 * rng.normal(size=last))
    if zero_last:  # exactly 0 now and then, as when no example of an epoch was active
        risk[-3::2] = 0.0
    return {"epoch": list(range(1, last + 1)), "risk": risk.tolist(), "accuracy": (1 - 0.45 * risk).tolist()}


def _risk(epoch: Array | float) -> Array:
    return np.asarray(np.exp(-0.25 * np.asarray(epoch, dtype=float) ** 0.9))


def _epoch(
    rng: np.random.Generator, epoch: int, shapes: list[list[int]], rungs: Sequence[str], probes: int, zero: bool
) -> dict[str, Any]:
    risk = 0.0 if zero else float(_risk(epoch))
    spectrum = describe_spectrum(_zeros(probes) if zero else _measured(rng, 0.3 * risk, probes), ETA, rng)
    drawn = [] if zero else rungs
    weights, gradient = _weights(rng, shapes, epoch), _gradient(rng, shapes, 0.0 if zero else risk)
    return {
        "epoch": epoch,
        "fresh": epoch == 0,
        "learning_rate": 0.01,
        "forecast": {rung: _forecast(risk, shift) for rung, shift in (("R7", 0.2), ("R7m", 0.05))},
        "risk": risk,
        "accuracy": 1 - 0.48 * risk,
        "test_accuracy": 0.95 - 0.45 * risk,
        "order_parameter": 40 * risk**1.1,
        "active_fraction": 0.9 * risk,
        "dead_layers": 0,
        "growth": (1 + 0.05 * rng.normal(size=len(shapes) - 1)).tolist(),
        "seconds": 1.5,
        "weight_symmetry": [describe_symmetry(w, rng) for w in weights],
        "gradient_symmetry": [describe_symmetry(g, rng) for g in gradient],
        "gradient_symmetry_all": describe_symmetry(np.concatenate(gradient), rng),
        "weight_histograms": {
            "edges": WEIGHT_EDGES.tolist(),
            "layers": [histogram(w, WEIGHT_EDGES, 1.0) for w in weights],
        },
        "gradient_histograms": gradient_histograms(gradient),
        "circuits": None,
        "spectrum": spectrum,
        "predictions": {r: _prediction(r, spectrum, risk, rng) for r in drawn},
        "left_out": {"R3": "weights are no longer at initialisation"},
        "exact": {"E1": {"value": 1.1e-16, "tolerance": 1e-12}, "E3": {"value": 2e-15, "tolerance": 1e-12}},
    }


def _forecast(risk: float, shift: float) -> dict[str, list[float]]:
    """What four networks foretold: a risk that falls more slowly."""
    risks = [risk**0.8 * (1 + shift * k) for k in (-1, 0, 1, 2)]
    return {
        "risk": risks,
        "accuracy": [max(0.0, 1 - 0.4 * r) for r in risks],
        "test_accuracy": [max(0.0, 0.95 - 0.4 * r) for r in risks],
        "active_fraction": [min(1.0, r) for r in risks],
        "order_parameter": [40 * r for r in risks],
    }


def _sizes(shapes: list[list[int]]) -> list[int]:
    return [min(int(np.prod(shape)), 600) for shape in shapes]


def _weights(rng: np.random.Generator, shapes: list[list[int]], epoch: int) -> list[Array]:
    """In units of their initial law; with the epochs they widen, and the last layer turns positive."""
    laws = [(1 + epoch / 200) * rng.normal(size=size) for size in _sizes(shapes)]
    return [*laws[:-1], np.where(rng.random(laws[-1].size) < epoch / 100, np.abs(laws[-1]), laws[-1])]


def _gradient(rng: np.random.Generator, shapes: list[list[int]], scale: float) -> list[Array]:
    """Heavy tails and an atom at 0, layer by layer a little lopsided."""
    return [
        scale * np.exp(rng.normal(size=size)) * (rng.random(size) > 0.2) * rng.choice([-1.0, 0.9, 1.1], size)
        for size in _sizes(shapes)
    ]


def _circuits(rng: np.random.Generator, layers: int, live: float, count: int = 3000) -> dict[str, Any]:
    """Products of normal numbers: one for the input and one for every weight that is not left out."""
    orders = []
    for order in range(min(2, layers) + 1 if live else 0):
        values = np.prod(rng.normal(size=(count, layers + 1 - order)), axis=1)
        found = describe_symmetry(values, rng)
        orders.append({
            "order": order, "histogram": histogram(values, CIRCUIT_EDGES, rms(values)), "symmetry": found,
            "last_removed": found if order else None,
        })  # fmt: skip
    return {
        "examples": 64,
        "count": count if live else 0,
        "live": {"value": live, "standard_error": 0.02 * live},
        "edges": CIRCUIT_EDGES.tolist(),
        "orders": orders,
    }


def _alignment(rng: np.random.Generator, risk: float, live: bool, count: int = 400) -> dict[str, Any]:
    """Outputs that lean to the labels as the risk falls, a hundredth of the circuits' magnitudes or less."""
    y, magnitudes = np.repeat([-1.0, 1.0], count // 2), live * np.exp(0.3 * rng.normal(size=count))
    t = 0.01 * magnitudes * ((1 - risk) * y + 0.1 * (1 + rng.normal(size=count)))
    of_class = {name: y == label for name, label in CLASSES.items()}
    chance = {"chance": 0.002 if live else None}
    return {
        "examples": count,
        "dead_examples": 0 if live else count,
        **ratio(y * t, magnitudes),
        **chance,
        "classes": {name: ratio((y * t)[i], magnitudes[i]) | chance for name, i in of_class.items()},
        "unsigned": ratio(np.abs(t), magnitudes),
    }


def _zeros(probes: int) -> SpectralDensity:
    """What Lanczos finds of H = 0: it ends at its first step."""
    none = np.zeros((probes, STEPS))
    weights = none.copy()
    weights[:, 0] = 1.0
    return SpectralDensity(none, weights, none, none)


def _measured(rng: np.random.Generator, rms: float, probes: int, n: int = EIGENVALUES) -> SpectralDensity:
    """Lanczos on a random symmetric matrix of the given rms eigenvalue."""
    scale = np.exp(1.4 * rng.normal(size=n)) * (rng.random(n) > 0.3)
    half = rng.normal(size=(n, n))
    matrix = scale[:, None] * (half + half.T) * scale
    matrix *= rms / np.sqrt(np.sum(matrix**2) / n)
    return spectral_density(matrix, probes, STEPS, rng)


def _prediction(rung: str, spectrum: dict[str, Any], risk: float, rng: np.random.Generator) -> dict[str, Any]:
    """A stand-in for a rung: from the semicircle (R0) ever closer to the measurement; two draws of a matrix."""
    if rung in SAMPLED_RUNGS:
        drawn = EnsembleDensity.of_draws(_measured(rng, 0.3 * risk, 2), 2)
        return describe_sampled(spectrum, drawn, ETA, EIGENVALUES) | {"seconds": 1.5}
    energies, measured = energy_grid(), np.asarray(spectrum["density"])
    semicircle = np.sqrt(np.maximum(4 - energies**2, 0)) / (2 * np.pi) + 0.004
    share = {"R0": 0.0, "R1": 0.4, "R2": 0.7, "R3": 0.8, "R4": 0.92}.get(rung, 0.985)
    density = share * (measured + measured[::-1]) / 2 + (1 - share) * semicircle
    made = {
        "l1": l1_distance(energies, measured, density),
        "w1": 0.1 * (1 - share),
        "l1_standard_error": 0.01,
        "density": density.tolist(),
    }
    if rung == "R5":
        beyond, largest = ([{"value": v, "standard_error": None} for v in row] for row in (BEYOND, (17.5, 15.25)))
        sides = ("negative", "positive")
        both = dict.fromkeys(sides, beyond)
        made["tails"] = {"thresholds": list(TAILS), **both, "largest": dict.fromkeys(sides, largest)}
        tail = np.asarray(spectrum["tail_energies"])
        made |= {"tail_density": (0.1 * tail**-3.0).tolist(), "tail_counts": (900 * tail**-2.0).tolist()}
    elif rung == "R4":
        made["tails_left_out"] = "a minute too long"
    return made
