"""How a network maps the correlation of two inputs, beside what a wide layer of intact weights does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network, input_stretch, signal_correlations
from theory import correlation_map
from validation.run.storage import finite_or_none

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
DIRECTIONS, KEPT = 32, 150  # of small differences; pairs of every layer that a record keeps for its figure


def correlations_record(
    network: Network, weights: Sequence[Array], x: Array, backend: Backend, seed: np.random.Generator
) -> Record:
    """Per hidden layer: stretch χ, slope of the correlation map at 1 and between pairs, and its distance from κ.

    ``chi``, ``slope_at_one``: means over examples, geometric for χ. ``slope``: of the least-squares line through
    (ρ_{l-1}, ρ_l) of all pairs; ``slope_kappa``: the same with κ(ρ_{l-1}) for ρ_l. ``offset``: mean of ρ_l - κ.
    ``off``: root mean square of ρ_l - κ. None where no signal is left. ``dead``: the share of examples without one at
    the last layer. ``pairs``: some (ρ_{l-1}, ρ_l). Also ``chi_mean``, the geometric mean of χ over layers.
    """
    stretched = input_stretch(network, weights, x, DIRECTIONS, seed, backend)
    rho = signal_correlations(network, weights, x, backend)
    layers = [
        {"chi": _geometric(chi), "slope_at_one": _mean(slope)} | map_record(below, above)
        for chi, slope, below, above in zip(stretched.distance, stretched.correlation, rho[:-1], rho[1:], strict=True)
    ]
    known = [layer["chi"] for layer in layers if layer["chi"]]
    whole = float(np.exp(np.mean(np.log(known)))) if len(known) == len(layers) and known else None
    return {
        "layers": layers, "chi_mean": whole, "dead": float(np.mean(np.isnan(np.diag(rho[-1])))),
    }  # fmt: skip


def map_record(below: Array, above: Array) -> Record:
    """The map of one layer, from the correlations (m, m) below and above it."""
    pair = np.triu_indices(len(below), 1)
    first, second = below[pair], above[pair]
    seen = np.isfinite(first) & np.isfinite(second)
    first, second = first[seen], second[seen]
    if first.size < 2 or np.ptp(first) == 0.0:
        return dict.fromkeys(("slope", "slope_kappa", "offset", "off")) | {"pairs": []}
    expected = correlation_map(first)
    chosen = np.linspace(0, first.size - 1, min(KEPT, first.size)).astype(int)
    return {
        "slope": line_slope(first, second),
        "slope_kappa": line_slope(first, expected),
        "offset": float(np.mean(second - expected)),
        "off": float(np.sqrt(np.mean((second - expected) ** 2))),
        "pairs": np.round(np.stack([first[chosen], second[chosen]], axis=1), 4).tolist(),
    }


def line_slope(first: Array, second: Array) -> float:
    """Slope of the least-squares line of `second` on `first`."""
    centred = first - first.mean()
    return float(centred @ (second - second.mean()) / (centred @ centred))


def _mean(values: Array) -> float | None:
    seen = values[np.isfinite(values)]
    return finite_or_none(float(seen.mean())) if seen.size else None


def _geometric(values: Array) -> float | None:
    seen = values[np.isfinite(values) & (values > 0.0)]
    return finite_or_none(float(np.exp(np.mean(np.log(seen))))) if seen.size else None
