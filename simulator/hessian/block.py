"""The block of a Hessian that belongs to some of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from backends import Array, HostArray

from .products import SymmetricProducts

if TYPE_CHECKING:
    from .operator import HessianOperator


class HessianBlock(SymmetricProducts):
    """H restricted to the weights of some layers, as products with vectors of these weights; symmetric.

    The layers' weights follow each other as in the flat parameter vector. A single layer's block of the residual part
    is 0 by E1, so that for the hinge at least two layers are needed for a spectrum; with a curved loss what is left
    of a single layer is the Gauss-Newton part. Made by `HessianOperator.block`; attributes ``layers``, ``network``,
    ``backend``.
    """

    def __init__(self, operator: HessianOperator, layers: Sequence[int]) -> None:
        self.network, self.backend, self.layers = operator.network, operator.backend, tuple(layers)
        self._operator = operator
        size = sum(self.network.layer_sizes[layer] for layer in self.layers)
        super().__init__(operator.dtype, (size, size))

    @property
    def precision(self) -> float:
        """Relative rounding error of a product, that of the whole operator."""
        return self._operator.precision

    def rows(self, v: Array) -> Array:
        """The block applied to each row of a device array v (K, N_block) -> (K, N_block)."""
        ops, network, count, at = self.backend, self.network, int(v.shape[0]), 0
        directions: list[Array | None] = [None] * network.depth
        for layer in self.layers:
            size, shape = network.layer_sizes[layer], network.weight_shapes[layer]
            directions[layer] = ops.xp.reshape(v[:, at : at + size], (count, *shape))
            at += size
        whole = self._operator.directed_rows(directions, count)
        return ops.xp.concat([whole[:, network.slices[layer]] for layer in self.layers], axis=1)

    def diagonal(self) -> HostArray:
        """Its diagonal (N_block,), exactly: see `HessianOperator.diagonal`."""
        whole = self._operator.diagonal()
        return np.concatenate([whole[self.network.slices[layer]] for layer in self.layers])

    def trace(self) -> float:
        """Its trace, exactly: see `HessianOperator.trace`."""
        return float(np.sum(self.diagonal(), dtype=np.float64))
