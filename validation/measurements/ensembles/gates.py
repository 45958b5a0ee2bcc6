"""How gates depend on the width below: flips under w → -w (S3), and correlations between gates of one layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import theory
from backends import Backend, HostArray
from simulator.streams import Seed, spawn_streams
from validation.statistics.estimate import Estimate, mean_and_error

BLOCK = 1 << 20  # weights at a time
SEEN = 256  # gates of a layer whose pairs are correlated
LAYERS = (1, 2, 3)
LEAST_REPEATS = 4


@dataclass(frozen=True)
class FlipPoint:
    """The mean probability over a and x that the gate changes when w_ab is negated, n signals below.

    ``measured`` by Monte Carlo, ``formula`` by S3 in closed form (`theory.mean_flip_probability`, rectified signals).
    """

    n: int
    measured: Estimate
    formula: float


def measure_flips(widths: Sequence[int], budget: float, seed: Seed, backend: Backend) -> list[FlipPoint]:
    """S3 behind a layer of Gaussian weights: x = ReLU(z), z and the weights standard Gaussian; all a of each draw.

    `budget`: weights drawn at each width.
    """
    points = []
    for n, rng in zip(widths, spawn_streams(seed, len(widths)), strict=True):
        draws, block = max(64, int(budget / n)), max(1, BLOCK // n)
        shares = [_flip_shares(n, min(block, draws - first), rng, backend) for first in range(0, draws, block)]
        points.append(
            FlipPoint(n, mean_and_error(np.concatenate(shares)), theory.mean_flip_probability(n, rectified=True))
        )
    return points


def _flip_shares(n: int, draws: int, rng: np.random.Generator, backend: Backend) -> HostArray:
    """The share of the n weights into a neuron whose negation changes its gate, per draw."""
    xp = backend.xp
    z, w = (backend.asarray(rng.standard_normal((draws, n))) for _ in range(2))
    parts = w * xp.where(z > 0, z, xp.zeros_like(z))
    field = xp.sum(parts, axis=1)[:, None]
    changed = (field > 0) != (field - 2.0 * parts > 0)
    return backend.to_numpy(xp.mean(xp.astype(changed, parts.dtype), axis=1)).astype(np.float64)


@dataclass(frozen=True)
class CorrelationPoint:
    """The rms correlation between two gates of a hidden layer over Gaussian inputs, weights fixed; mean over weights.

    ``constant``: the share of gates that no input of a sample changes; they have no correlation and are left out.
    """

    n: int
    layer: int
    rms: Estimate
    constant: float


def measure_correlations(widths: Sequence[int], inputs: int, seed: Seed, backend: Backend) -> list[CorrelationPoint]:
    """Layers 1 to 3 of networks of constant width, Gaussian weights of variance 2/n, `inputs` standard Gaussian inputs.

    The mean square correlation comes from the product of the coefficients of two halves of the inputs, whose errors are
    independent: the square of one coefficient would be too large by one over the number of inputs.

    In layer 1 two columns of weights at an angle θ give the correlation 1 - 2θ/π, rms (2/π)/√n for large n.
    """
    points = []
    for n, stream in zip(widths, spawn_streams(seed, len(widths)), strict=True):
        repeats = max(LEAST_REPEATS, 512 // n)
        rows = np.array([_mean_squares(n, inputs, rng, backend) for rng in spawn_streams(stream, repeats)])
        for i, layer in enumerate(LAYERS):
            square, constant = mean_and_error(rows[:, i, 0]), float(np.mean(rows[:, i, 1]))
            rms = math.sqrt(max(square.value, 0.0))
            error = square.standard_error / (2 * rms) if rms > 0 else math.sqrt(square.standard_error)
            points.append(CorrelationPoint(n, layer, Estimate(rms, error), constant))
    return points


def _mean_squares(n: int, inputs: int, rng: np.random.Generator, backend: Backend) -> list[tuple[float, float]]:
    """For every layer: mean square correlation of pairs of gates, and the share of constant gates."""
    xp = backend.xp
    signals = backend.asarray(rng.standard_normal((inputs, n)))
    found = []
    for _ in LAYERS:
        signals = xp.matmul(signals, backend.asarray(rng.standard_normal((n, n)) * math.sqrt(2.0 / n)))
        gates = backend.to_numpy(signals[:, : min(SEEN, n)] > 0).astype(np.float64)
        signals = xp.where(signals > 0, signals, xp.zeros_like(signals))
        halves = gates[: inputs // 2], gates[inputs // 2 :]
        varied = np.all([np.ptp(half, axis=0) > 0 for half in halves], axis=0)
        first, second = (np.atleast_2d(np.corrcoef(half[:, varied], rowvar=False)) for half in halves)
        upper = np.triu_indices(int(varied.sum()), 1)
        found.append((float(np.mean(first[upper] * second[upper])), float(np.mean(~varied))))
    return found


def gate_record(flips: Sequence[FlipPoint], correlations: Sequence[CorrelationPoint]) -> dict[str, Any]:
    """The gates' part of the report."""
    return {
        "flips": [
            {"n": p.n, "measured": [p.measured.value, p.measured.standard_error], "formula": p.formula} for p in flips
        ],
        "correlations": [
            {"n": p.n, "layer": p.layer, "rms": [p.rms.value, p.rms.standard_error], "constant": p.constant}
            for p in correlations
        ],
    }
