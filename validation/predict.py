"""Network and theory brought together: what the ladder of self-consistent equations says of a spectrum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import HessianOperator, Network
from simulator.streams import Seed, spawn_streams
from theory import block_law, semicircle, separable_law

Array = np.ndarray[Any, Any]
RUNGS = ("R0", "R1", "R2")


@dataclass(frozen=True)
class HessianMoments:
    """Second moments of H per weight and layer.

    ``rows`` (N, L): Σ_{q in layer l'} H_pq² for every weight p, with the standard error coming from `probes`
    probes per layer (``None``: exact). ``sizes`` (L,): weights per layer.
    """

    rows: Array
    sizes: list[int]
    probes: int | None

    @property
    def rms(self) -> float:
        """sqrt(tr H² / N)."""
        return float(np.sqrt(self.rows.sum() / self.rows.shape[0]))

    @property
    def block_mean_square(self) -> Array:
        """(L, L) mean square entry of block (l, l'), made symmetric (an estimate is not, quite)."""
        ends = np.cumsum(self.sizes)[:-1]
        totals = np.stack([part.sum(axis=0) for part in np.split(self.rows, ends)])
        counts = np.outer(self.sizes, self.sizes)
        mean: Array = (totals + totals.T) / (2.0 * counts)
        return mean


def default_moment_probes(n_weights: int) -> int:
    """Probes per layer: 32 where products are cheap, down to 4 for large networks."""
    return int(np.clip(400_000 // n_weights, 4, 32))


def hessian_moments(
    operator: HessianOperator,
    probes: int | None = None,
    seed: Seed = 0,
    progress: Callable[[int], object] | None = None,
) -> HessianMoments:
    """Row second moments by Hutchinson probes supported on one layer: E (Hv)_p² = Σ_{q in layer} H_pq².

    A layer with no more weights than probes is done exactly, by unit vectors.
    """
    network, ops = operator.network, operator.backend
    n, count = network.n_weights, probes or default_moment_probes(network.n_weights)
    rows = np.zeros((n, network.depth))
    streams = spawn_streams(seed, network.depth)
    for index, (size, rng) in enumerate(zip(network.layer_sizes, streams, strict=True)):
        exact = size <= count
        vectors = np.eye(size) if exact else rng.integers(0, 2, (count, size)) * 2.0 - 1.0
        for first in range(0, vectors.shape[0], 4):
            block = ops.asarray(vectors[first : first + 4])
            product = ops.to_numpy(operator.layer_rows(index, block)).astype(np.float64)
            rows[:, index] += np.sum(product**2, axis=0) / (1 if exact else count)
            if progress is not None:
                progress(block.shape[0])
    return HessianMoments(rows, network.layer_sizes, None if max(network.layer_sizes) <= count else count)


def predict_from_moments(moments: HessianMoments, z: Array, rung: str) -> Array:
    """g(z) of R0 (semicircle), R1 (layer blocks) or R2 (separable profile in each block)."""
    if rung == "R0":
        return semicircle(z, moments.rms)
    if rung == "R1":
        return block_law(z, moments.block_mean_square, np.array(moments.sizes)).g
    return separable_law(z, moments.rows, np.array(moments.sizes)).g


def predict_spectrum(
    network: Network,
    x: Any,
    c: Any,
    z: Any,
    rung: str = "R2",
    weights: Sequence[Any] | None = None,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> Array:
    """Predicted Stieltjes transform g(z) of H = Σ_i c_i ∇²T(x_i), without diagonalising or fitting anything.

    x (m, ...), c (m,), z complex with Im z > 0, any shape. R0, R1 and R2 see the second moments of the Hessian of
    `weights` through products with random vectors drawn from `seed`. Raises `ValueError` for a rung that is not
    known or cannot treat the case, `theory.ConvergenceError` where the equations were not solved.
    """
    if rung not in RUNGS:
        raise ValueError(f"rung {rung!r} is not available: use one of {', '.join(RUNGS)}")
    if weights is None:
        raise ValueError(f"rung {rung} needs the network's weights: pass weights=")
    points = np.asarray(z, dtype=complex)
    operator = HessianOperator(network, weights, x, None, c=c, backend=backend)
    moments = hessian_moments(operator, seed=seed)
    return predict_from_moments(moments, points.reshape(-1), rung).reshape(points.shape)
