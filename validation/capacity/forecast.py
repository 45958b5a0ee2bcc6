"""The edge before any training: from one fresh network, its examples and a rung of the ladder.

Stability: with k active examples the residual part has N_-(k) negative eigenvalues, counted on rung RE (the signals of
the fresh network, weights drawn again). Fewer than k*, the smallest k = N_-(k), have no strict minimum above 0, so that
P* ≥ k*. Counting: the gradients ∇T_i of a fresh network span r dimensions. In them half of all labellings of P examples
in general position can be separated at P = 2r [Cover1965].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from backends import Backend
from simulator import Ensemble, Network, kernel_spectrum
from simulator.streams import Streams
from theory import inertia, stability_edge

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
SPANNING = 2  # examples for each weight whose gradients span all that there is
MOST_DENSE = 1000  # weights of a network whose eigenvalues are all computed


def forecast(
    network: Network, x: Array, y: Array, streams: Streams, place: tuple[int, int], backend: Backend
) -> Record:
    """``stability`` k* and ``counting`` r of one fresh network; None, with the reason, where it cannot be had.

    ``negative``: N_-(k) of every k that was looked at. `place`: depth and width.
    """
    n, weights = network.n_weights, network.init(streams("capacity forecast", *place))
    if n > MOST_DENSE:
        said = f"{n:,} weights, of which all eigenvalues are computed up to {MOST_DENSE:,} only"
        return {"stability": None, "counting": None, "negative": [], "left_out": said}
    looked: list[list[int]] = []

    @cache
    def negatives(k: int) -> int:
        ensemble = Ensemble(network, weights, x[:k], -y[:k] / k, backend=backend)
        drawn = ensemble.draw(0, streams("capacity rung", *place, k)).dense()
        looked.append([k, inertia(np.linalg.eigvalsh(drawn)).negative])
        return looked[-1][1]

    edge = stability_edge(negatives, min(len(y), n))
    if len(y) < SPANNING * n:
        said = (
            f"{len(y):,} examples are fewer than {SPANNING} for each of {n:,} weights: their gradients may not span all"
        )
        return {"stability": edge, "counting": None, "negative": sorted(looked), "left_out": said}
    rank = kernel_spectrum(network, weights, x[: SPANNING * n], backend=backend).rank
    return {"stability": edge, "counting": rank, "negative": sorted(looked), "left_out": None}
