"""The layers of a network, with the rules that are theirs: shapes, and what a pool does with a window.

A pool stands behind gates. All of them have one form, which passes, circuits and Hessian rest on: the sum over each
window of the signals of those sites that the pool selects, times its ``scale``. A max-pool selects one site, and is one
more 0/1 gate; an average pool selects all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from backends import Array, Backend

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """A k×k convolution with "same" zero padding, then gates."""

    channels: int
    kernel: int = 3


@dataclass(frozen=True)
class Dense:
    """A dense layer (images are flattened row-major, channels last), then gates, except after the last."""

    width: int


@dataclass(frozen=True)
class MaxPool:
    """Max-pooling by size×size windows (after gates); a ragged edge is dropped. Ties go to the first site."""

    size: int = 2
    chooses: ClassVar[bool] = True
    """Whether what is selected depends on the signals."""

    @property
    def scale(self) -> float:
        return 1.0

    def select(self, ops: Backend, x: Array) -> tuple[Array, Array]:
        """Images x (m, H, W, C) -> (sums over the selected sites of each window, the sites that are selected)."""
        return ops.select_maximum(x, self.size)


@dataclass(frozen=True)
class AvgPool:
    """Means of size×size windows (after gates), linear and without gates of their own; a ragged edge is dropped.

    >>> from simulator import Conv, Dense, output, sequential
    >>> network = sequential((2, 2, 1), [Conv(1, kernel=1), AvgPool(2), Dense(1)])
    >>> output(network, [[[[[1.0]]]], [[3.0]]], [[[[1.0], [-5.0]], [[2.0], [4.0]]]]).tolist()
    [5.25]
    """

    size: int = 2
    chooses: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        return 1.0 / self.size**2

    def select(self, ops: Backend, x: Array) -> tuple[Array, Array]:
        """Images x (m, H, W, C) -> (sums over each window, the sites that are in a whole one)."""
        xp = ops.xp
        every = xp.ones_like(x, dtype=xp.bool)
        sums = ops.apply_gates(every, x, self.size)
        return sums, ops.spread_gates(every, xp.ones_like(sums), self.size) > 0


Pool = MaxPool | AvgPool


def window_of(pools: Sequence[Pool]) -> int:
    """The side of the window that pools one behind the other have together."""
    return math.prod(pool.size for pool in pools)


def scale_of(pools: Sequence[Pool]) -> float:
    """What the sum over that window is multiplied by."""
    return math.prod(pool.scale for pool in pools)


def pooled_shape(shape: Shape, pools: Sequence[Pool]) -> Shape:
    """The shape (H, W, C) behind pools."""
    for pool in pools:
        shape = (shape[0] // pool.size, shape[1] // pool.size, shape[2])
    return shape


def select(ops: Backend, pools: Sequence[Pool], x: Array, mask: Array, window: int = 1) -> tuple[Array, Array]:
    """Pools one behind the other: (sums over their windows, the sites of `mask` that all of them select).

    x (m, H, W, C) are sums over windows of side `window` of the sites of `mask` already.
    """
    for pool in pools:
        x, selected = pool.select(ops, x)
        mask = ops.spread_gates(mask, ops.xp.astype(selected, x.dtype), window) > 0
        window *= pool.size
    return x, mask


@dataclass(frozen=True)
class Layer:
    """One weight layer: z = W^T x, its gates, and the pools behind them.

    ``input_shape`` and ``gate_shape`` are the shapes of x_{l-1} and z_l of one example, ``output_shape`` that of
    x_l = D_l z_l behind the pools. ``window`` is the side of their composed window, ``scale`` what its sums are
    multiplied by. ``first_maxima``: sizes of the max-pools that come first, which kernels take along with the gates.
    """

    weight_shape: Shape
    input_shape: Shape
    gate_shape: Shape
    pools: tuple[Pool, ...] = ()

    @property
    def convolutional(self) -> bool:
        return len(self.weight_shape) == 4

    @property
    def window(self) -> int:
        return window_of(self.pools)

    @property
    def scale(self) -> float:
        return scale_of(self.pools)

    @property
    def first_maxima(self) -> Shape:
        kinds = [pool.chooses for pool in self.pools]
        count = kinds.index(False) if False in kinds else len(kinds)
        return tuple(pool.size for pool in self.pools[:count])

    @property
    def output_shape(self) -> Shape:
        return pooled_shape(self.gate_shape, self.pools)

    @property
    def fan_in(self) -> int:
        return math.prod(self.weight_shape[:-1])

    @property
    def n_weights(self) -> int:
        return math.prod(self.weight_shape)


def scaled(x: Any, scale: float) -> Any:
    """scale · x, and x itself where nothing is averaged."""
    return x if scale == 1.0 else x * scale
