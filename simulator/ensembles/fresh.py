"""Freshly drawn networks of one shape: what is known of a network before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from backends import Backend, HostArray, get_backend
from simulator.hessian.operator import HessianOperator
from simulator.inputs import check_coefficients, real_array
from simulator.network.network import Network
from simulator.streams import Seed, Streams


def fresh_weights(network: Network, streams: Streams, index: int) -> list[HostArray]:
    """Initial weights of fresh network number `index` of a seed: always the same ones."""
    return network.init(streams("fresh networks", index))


class FreshNetworks:
    """Hessians Σ_i c_i^k ∇²T^k(x_i) of freshly drawn networks k, each with coefficients c^k of its own (rung R7).

    Parameters
    ----------
    x : (m, *input_shape) examples; ``c`` (networks, m): ∂ℓ/∂T/m of every network, as `validation.predict_training`
        gives them for the same `seed`
    seed : names the networks: number k has the weights of `fresh_weights(network, Streams(seed), k)`
    weights : the weights of number k instead, for networks that have moved

    Raises `ValueError` for a c of another shape, and where every number of c vanishes in the dtype of the backend.

    >>> import numpy as np
    >>> from simulator import FreshNetworks, mlp
    >>> networks = FreshNetworks(mlp([3, 8, 1]), np.eye(3), np.ones((2, 3)) / 3, seed=0, backend="numpy")
    >>> len(networks), networks.draw(1).dense().shape
    (2, (32, 32))
    """

    def __init__(
        self,
        network: Network,
        x: Any,
        c: Any,
        seed: Seed = 0,
        backend: str | Backend | None = None,
        weights: Callable[[int], Sequence[Any]] | None = None,
    ) -> None:
        self.network, self.backend = network, get_backend(backend)
        self._x, streams = x, Streams(seed)
        self._weights = partial(fresh_weights, network, streams) if weights is None else weights
        rows = np.asarray(real_array(c, "c"), dtype=np.float64)
        if rows.ndim != 2 or len(rows) == 0:
            raise ValueError(f"c has shape {rows.shape}: expected (networks, m), one row for every fresh network")
        check_coefficients(rows.ravel(), rows.size, self.backend.dtype)
        # A network whose coefficients all vanish in this dtype, beside those of others, has the Hessian 0.
        held = np.abs(rows).max(axis=1, initial=0.0) >= np.finfo(self.backend.dtype).smallest_normal
        self.c: HostArray = np.where(held[:, None], rows, 0.0)

    def __len__(self) -> int:
        return len(self.c)

    def draw(self, index: int, seed: Seed = 0) -> HessianOperator:
        """The Hessian of network number `index`, which does not depend on the `seed` of the other draws."""
        return HessianOperator(self.network, self._weights(index), self._x, None, c=self.c[index], backend=self.backend)
