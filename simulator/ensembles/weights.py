"""Laws of fresh weights: what is kept of a layer's weights, and Gaussian noise for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import HostArray
from simulator.network.layers import Layer, Shape


@dataclass(frozen=True)
class WeightLaw:
    """W' = M + t (1 - UU^T) G (1 - VV^T) of a layer, W' and G (fan_in, n_out), G_ij ~ N(0, r_i² k_j²).

    ``mean``     M = UU^T W + W VV^T - UU^T W VV^T: W acts as it does on the directions U of its inputs and V of the
                 errors at its outputs. None: no directions are given
    ``left``     U (fan_in, r), ``right`` V (n_out, r), orthonormal columns
    ``rows``     r (fan_in,), ``columns`` k (n_out,): root mean squares, up to the scale t
    ``scale``    t, which keeps E Σ W'² = Σ W²
    """

    shape: Shape
    rows: HostArray
    columns: HostArray
    left: HostArray
    right: HostArray
    mean: HostArray | None
    scale: float

    def draw(self, rng: np.random.Generator) -> HostArray:
        """Fresh weights of the layer's shape."""
        noise = rng.standard_normal((self.rows.size, self.columns.size))
        noise *= self.rows[:, None]
        noise *= self.columns
        if self.mean is None:
            return np.reshape(self.scale * noise, self.shape)
        noise -= self.left @ (self.left.T @ noise)
        noise -= (noise @ self.right) @ self.right.T
        return np.reshape(self.mean + self.scale * noise, self.shape)

    @property
    def n_given(self) -> int:
        """Numbers that describe the law: U, V, and W on them; the profile; the mean square."""
        (n, a), (k, b) = self.left.shape, self.right.shape
        profile = 0 if np.ptp(self.rows) == 0.0 and np.ptp(self.columns) == 0.0 else n + k
        directions = a * n + b * k + a * k + b * n - a * b if self.mean is not None else 0
        return 1 + profile + directions


def weight_law(
    layer: Layer, weights: Any, profile: bool = False, left: HostArray | None = None, right: HostArray | None = None
) -> WeightLaw:
    """The law that keeps a layer's mean square and, if asked, its profile and its action on given directions.

    With `profile` the variance of a weight is the product of the mean squares of the weights of its input neuron and of
    its output neuron, over the layer's; an input neuron of a convolution is a channel. Without, it is the same for all.
    """
    matrix = np.reshape(np.asarray(weights, dtype=np.float64), (layer.fan_in, layer.weight_shape[-1]))
    rows, columns = _profile(layer, matrix) if profile else (np.ones(n) for n in matrix.shape)
    u, v = (np.zeros((n, 0)) if a is None else a for n, a in zip(matrix.shape, (left, right), strict=True))
    mean, rest = None, matrix
    if left is not None or right is not None:
        rest = matrix - u @ (u.T @ matrix)
        rest = rest - (rest @ v) @ v.T
        mean = matrix - rest
    expected = math.prod(
        float(np.square(a) @ (1.0 - np.sum(np.square(b), axis=1))) for a, b in ((rows, u), (columns, v))
    )  # of the square of the noise, on the directions that are left
    left_over = min(a.shape[0] - a.shape[1] for a in (u, v))
    scale = math.sqrt(float(np.sum(np.square(rest))) / expected) if left_over > 0 and expected > 0.0 else 0.0
    return WeightLaw(layer.weight_shape, rows, columns, u, v, mean, scale)


def _profile(layer: Layer, matrix: HostArray) -> tuple[HostArray, HostArray]:
    """Root mean squares of the weights of every input neuron (for each of its weights) and of every output neuron."""
    squares = np.square(matrix)
    if layer.convolutional:
        channels = layer.weight_shape[2]
        per_channel = np.mean(np.reshape(squares, (-1, channels, squares.shape[1])), axis=(0, 2))
        rows = np.tile(per_channel, squares.shape[0] // channels)
    else:
        rows = np.mean(squares, axis=1)
    return np.sqrt(rows), np.sqrt(np.mean(squares, axis=0))
