"""Second moments of the Hessian per weight and layer, by products with random vectors; a run that can be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator import HessianOperator
from simulator.streams import Seed, Streams

Array = np.ndarray[Any, Any]
BLOCK = 4  # products at a time


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
    """Row second moments by probes [Hutchinson1989] supported on one layer: E (Hv)_p² = Σ_{q in layer} H_pq².

    A layer with no more weights than probes is done exactly, by unit vectors. A run that must survive its process is a
    `MomentProbes`.
    """
    run = MomentProbes(operator, probes, seed)
    while count := run.advance():
        if progress is not None:
            progress(count)
    return run.result()


class MomentProbes:
    """`hessian_moments` a few products at a time; `state` and `restore` as for `simulator.Lanczos`."""

    def __init__(self, operator: HessianOperator, probes: int | None = None, seed: Seed = 0) -> None:
        network = operator.network
        self._operator, self._sizes = operator, network.layer_sizes
        self._count = probes or default_moment_probes(network.n_weights)
        self._rows = np.zeros((network.n_weights, network.depth))
        self._streams = Streams(seed).spawn("hutchinson", network.depth)
        self._layer = self._done = 0  # the layer at hand, and how many of its vectors are done
        self._vectors: Array | None = None

    @property
    def finished(self) -> bool:
        """Whether every layer is done."""
        return self._layer == len(self._sizes)

    def advance(self) -> int:
        """The next few products: how many, 0 when all is done."""
        if self.finished:
            return 0
        ops, size = self._operator.backend, self._sizes[self._layer]
        exact = size <= self._count
        if self._vectors is None:
            drawn = (self._count, size)
            self._vectors = np.eye(size) if exact else self._streams[self._layer].integers(0, 2, drawn) * 2.0 - 1.0
        block = ops.asarray(self._vectors[self._done : self._done + BLOCK])
        product = ops.to_numpy(self._operator.layer_rows(self._layer, block)).astype(np.float64)
        self._rows[:, self._layer] += np.sum(product**2, axis=0) / (1 if exact else self._count)
        self._done += block.shape[0]
        if self._done == len(self._vectors):
            self._layer, self._done, self._vectors = self._layer + 1, 0, None
        return int(block.shape[0])

    def result(self) -> HessianMoments:
        """The moments; of a run that has finished."""
        return HessianMoments(self._rows, self._sizes, None if max(self._sizes) <= self._count else self._count)

    def state(self) -> dict[str, Array]:
        """Everything that the rest of the run depends on."""
        return {"rows": self._rows, "place": np.array([self._count, self._layer, self._done], dtype=np.int64)}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from a `state` of a run with the same parameters, not begun itself; `ValueError` for another one."""
        count, layer, done = (int(value) for value in state["place"])
        if count != self._count or state["rows"].shape != self._rows.shape:
            raise ValueError("the state is not of a run with these probes and weights")
        self._rows, self._layer, self._done = np.array(state["rows"]), layer, done
