"""ReLU networks a second time, on `autograd`: the oracle of output, risk, gradient and Hessian products.

Written from the definitions alone, sharing nothing with the packages under test: a network is a list of steps,
its parameters one flat vector, a convolution a sparse gather of patches followed by one matrix product, and every
derivative comes from reverse-mode differentiation.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import autograd.numpy as anp
import numpy as np
import scipy.sparse as sparse
from autograd import elementwise_grad, grad, jacobian
from autograd.extend import defvjp, primitive

Array = Any
Step = tuple[str, int] | tuple[str, int, int]
"""("conv", channels, kernel), ("pool", size), ("avg", size) or ("dense", width)."""


@primitive
def gather(matrix: sparse.csr_array, rows: Array) -> Array:
    """A constant sparse matrix times rows (sites, n): linear, so that its adjoint is all that autograd needs."""
    return matrix @ rows


defvjp(gather, lambda ans, matrix, rows: lambda g: gather(matrix.T, g), argnums=(1,))


def _selection(pairs: Sequence[tuple[int, int]], height: int, width: int) -> sparse.csr_array:
    """The 0/1 matrix that reads the site (y, x) for every listed pair, and 0 for pairs outside the image."""
    inside = [(row, y * width + x) for row, (y, x) in enumerate(pairs) if 0 <= y < height and 0 <= x < width]
    rows, columns = np.array(inside, dtype=int).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(inside)), (rows, columns)), shape=(len(pairs), height * width))


@lru_cache
def patches(height: int, width: int, kernel: int) -> sparse.csr_array:
    r, sites = kernel // 2, [(y, x) for y in range(height) for x in range(width)]
    offsets = [(dy, dx) for dy in range(-r, r + 1) for dx in range(-r, r + 1)]
    return _selection([(y + dy, x + dx) for y, x in sites for dy, dx in offsets], height, width)


@lru_cache
def windows(height: int, width: int, size: int) -> sparse.csr_array:
    corners = [(y * size, x * size) for y in range(height // size) for x in range(width // size)]
    offsets = [(dy, dx) for dy in range(size) for dx in range(size)]
    return _selection([(y + dy, x + dx) for y, x in corners for dy, dx in offsets], height, width)


def _gather_groups(matrix: sparse.csr_array, x: Array, group: int) -> Array:
    """Images (m, H, W, C) -> (sites, group, m, C)."""
    m, height, width, channels = x.shape
    rows = anp.reshape(anp.transpose(x, (1, 2, 0, 3)), (height * width, m * channels))
    return anp.reshape(gather(matrix, rows), (matrix.shape[0] // group, group, m, channels))


def convolve(x: Array, w: Array) -> Array:
    m, height, width, channels = x.shape
    kernel = w.shape[0]
    seen = _gather_groups(patches(height, width, kernel), x, kernel * kernel)
    columns = anp.reshape(anp.transpose(seen, (2, 0, 1, 3)), (m, height, width, kernel * kernel * channels))
    return anp.dot(columns, anp.reshape(w, (kernel * kernel * channels, w.shape[3])))


def max_pool(x: Array, size: int) -> Array:
    m, height, width, channels = x.shape
    seen = _gather_groups(windows(height, width, size), x, size * size)
    first = np.arange(size * size)[:, None, None] == anp.argmax(seen, axis=1)[:, None]
    pooled = anp.transpose(anp.sum(seen * first, axis=1), (1, 0, 2))
    return anp.reshape(pooled, (m, height // size, width // size, channels))


def mean_pool(x: Array, size: int) -> Array:
    m, height, width, channels = x.shape
    seen = _gather_groups(windows(height, width, size), x, size * size)
    pooled = anp.transpose(anp.mean(seen, axis=1), (1, 0, 2))
    return anp.reshape(pooled, (m, height // size, width // size, channels))


POOLS = {"pool": max_pool, "avg": mean_pool}
LOSSES: dict[str, Callable[[Array], Array]] = {
    "hinge": lambda u: anp.maximum(0.0, 1.0 - u),
    "perceptron": lambda u: anp.maximum(0.0, -u),
    "logistic": lambda u: anp.logaddexp(0.0, -u),
    "squared": lambda u: 0.5 * (1.0 - u) ** 2,
    "squared_hinge": lambda u: 0.5 * anp.maximum(0.0, 1.0 - u) ** 2,
}


def weight_shapes(input_shape: Sequence[int], spec: Sequence[Step]) -> list[tuple[int, ...]]:
    """By hand from the steps: (n_in, n_out) or (k, k, C_in, C_out)."""
    shape: tuple[int, ...] = tuple(input_shape)
    found: list[tuple[int, ...]] = []
    for kind, *sizes in spec:
        if kind in POOLS:
            shape = (shape[0] // sizes[0], shape[1] // sizes[0], shape[2])
        elif kind == "conv":
            found.append((sizes[1], sizes[1], shape[2], sizes[0]))
            shape = (*shape[:2], sizes[0])
        else:
            found.append((math.prod(shape), sizes[0]))
            shape = (sizes[0],)
    return found


@dataclass(frozen=True)
class Oracle:
    """A network by its steps, with examples x (m, ...) and labels y (m,); theta is the flat parameter vector."""

    input_shape: tuple[int, ...]
    spec: tuple[Step, ...]
    x: Array
    y: Array
    loss: str = "hinge"

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        return weight_shapes(self.input_shape, self.spec)

    def _weights(self, theta: Array) -> list[Array]:
        ends = np.cumsum([math.prod(s) for s in self.shapes])
        return [anp.reshape(theta[e - math.prod(s) : e], s) for e, s in zip(ends, self.shapes, strict=True)]

    def output(self, theta: Array) -> Array:
        """T(x), (m,)."""
        weights, signal = iter(self._weights(theta)), self.x.reshape(len(self.x), *self.input_shape)
        for position, (kind, size, *_) in enumerate(self.spec):
            if kind in POOLS:
                signal = POOLS[kind](signal, size)
                continue
            w = next(weights)
            z = convolve(signal, w) if kind == "conv" else anp.dot(signal.reshape((len(self.x), -1)), w)
            signal = z if position == len(self.spec) - 1 else z * (z > 0)
        return signal[:, 0]

    def risk(self, theta: Array) -> Array:
        return anp.mean(LOSSES[self.loss](self.y * self.output(theta)))

    def gradient(self, theta: Array) -> Array:
        return grad(self.risk)(theta)

    def coefficients(self, theta: Array) -> Array:
        """c = ∂ℓ/∂T / m, (m,)."""
        return elementwise_grad(LOSSES[self.loss])(self.y * self.output(theta)) * self.y / len(self.y)

    def curvature(self, theta: Array) -> Array:
        """ℓ''/m, (m,)."""
        u, slope = self.y * self.output(theta), elementwise_grad(LOSSES[self.loss])
        return np.zeros(len(u)) if self.loss in ("hinge", "perceptron") else elementwise_grad(slope)(u) / len(u)

    def jacobian(self, theta: Array) -> Array:
        """∇T_i, (m, N)."""
        return jacobian(self.output)(theta)

    def product(self, theta: Array, v: Array, part: str = "full", c: Array | None = None) -> Array:
        """H v for v (N, k); with c, Σ c_i ∇²T_i v."""
        if c is not None or part == "residual":
            fixed = self.coefficients(theta) if c is None else np.asarray(c)
            return _hessian_product(lambda t: anp.sum(fixed * self.output(t)), theta, v)
        if part == "gauss_newton":
            tangents = self.jacobian(theta)
            return tangents.T @ (self.curvature(theta)[:, None] * (tangents @ v))
        return _hessian_product(self.risk, theta, v)


def _hessian_product(function: Callable[[Array], Array], theta: Array, v: Array) -> Array:
    slope = grad(function)
    with warnings.catch_warnings():  # a derivative that is constant is an answer, not a mistake
        warnings.filterwarnings("ignore", "Output seems independent of input")
        columns = [grad(lambda t, column=column: anp.sum(slope(t) * column))(theta) for column in v.T]
    return np.stack(columns, axis=1)


def train(oracle: Oracle, theta: Array, steps: int, learning_rate: float, momentum: float) -> Array:
    """Full-batch momentum steps v ← momentum·v + ∇R, w ← w - learning_rate·v."""
    velocity = np.zeros_like(theta)
    for _ in range(steps):
        velocity = momentum * velocity + oracle.gradient(theta)
        theta = theta - learning_rate * velocity
    return theta
