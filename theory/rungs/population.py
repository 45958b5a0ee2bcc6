"""Population kernels of a multilayer perceptron at initialisation: what its signals are on average over the weights.

For Gaussian weights of variance s_l² the preactivations of one neuron over the examples are N(0, Σ^l), with the
arc-cosine kernels [Cho2009]

    Σ^1 = s_1² X X^T,   Σ^{l+1} = s_{l+1}² n_l k^l,   cos θ = Σ_ik / √(Σ_ii Σ_kk),
    q^l = (π - θ)/2π,   k^l = √(Σ_ii Σ_kk) (sin θ + (π - θ) cos θ)/2π,
    d^L = 1,   d^l = q^l s_{l+1}² n_{l+1} d^{l+1}    (elementwise):

q the probability that a gate is on for both examples, n k and n c c^T d the mean Gram matrices of signals and errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from theory.shown import shown
from theory.signals import OFF, LayerSignals, NetworkSignals, Real

RANK_CUT = 1e-12
"""Eigenvalues of a kernel below this share of the largest are rounding."""


@shown
@dataclass(frozen=True)
class PopulationKernels:
    """Kernels (m, m) of the hidden layers l = 1..L-1, in order.

    covariance  Σ^l of a neuron's preactivations;  overlap  q^l;  activation  k^l of a neuron's output
    backward    d^l of ∂T/∂z_l of a neuron
    """

    covariance: tuple[Real, ...]
    overlap: tuple[Real, ...]
    activation: tuple[Real, ...]
    backward: tuple[Real, ...]


def population_kernels(x: ArrayLike, widths: Sequence[int], variances: Sequence[float]) -> PopulationKernels:
    """Kernels of inputs x (m, n_0) in a network of widths [n_0, ..., n_L = 1] with weight variances s_1²..s_L².

    Raises ValueError where the numbers of widths, variances and input features do not go together.
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != widths[0] or len(variances) != len(widths) - 1:
        raise ValueError(
            f"x {rows.shape}, {len(widths)} widths and {len(variances)} variances do not go together: "
            "expected x (m, n_0), widths [n_0, ..., 1] and one variance per layer"
        )
    sigma = variances[0] * rows @ rows.T
    covariance, overlap, activation = [], [], []
    for width, variance in zip(widths[1:-1], variances[1:], strict=True):
        size = np.sqrt(np.outer(np.diag(sigma), np.diag(sigma)))
        cosine = np.divide(sigma, size, out=np.zeros_like(sigma), where=size > 0.0)
        np.fill_diagonal(cosine, np.diag(sigma) > 0.0)
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        covariance.append(sigma)
        # An example without signal has z = 0 and no gate on, whatever the angle.
        overlap.append(np.where(size > 0.0, (np.pi - angle) / (2.0 * np.pi), 0.0))
        activation.append(size * (np.sin(angle) + (np.pi - angle) * cosine) / (2.0 * np.pi))
        sigma = variance * width * activation[-1]
    backward = [overlap[-1] * variances[-1]] if overlap else []
    for q, variance, width in zip(overlap[-2::-1], variances[-2:0:-1], widths[-2:1:-1], strict=True):
        backward.insert(0, q * variance * width * backward[0])
    return PopulationKernels(tuple(covariance), tuple(overlap), tuple(activation), tuple(backward))


def infinite_width_kernel(x: ArrayLike, widths: Sequence[int], variances: Sequence[float]) -> tuple[Real, Real]:
    """Tangent kernel K and covariance of the outputs T_0 of wide perceptrons at initialisation, both (m, m).

    K is a sum over layers of products of two Gram matrices. Their means over the weights are kernels of this module,

        K = X X^T ∘ n_1 d^1 + Σ_{l=2}^{L-1} n_{l-1} k^{l-1} ∘ n_l d^l + n_{L-1} k^{L-1},
        E T T^T = s_L² n_{L-1} k^{L-1},

    at the given widths up to corrections of relative order 1/n, [Jacot2018] [Lee2018]. x (m, n_0), widths
    [n_0, ..., n_L = 1], variances s_1²..s_L². Raises ValueError as `population_kernels`.

    >>> import numpy as np
    >>> kernel, covariance = infinite_width_kernel(np.eye(2), [2, 4, 1], [1.0, 0.25])
    >>> kernel.round(3).tolist(), covariance.round(3).tolist()
    ([[2.5, 0.637], [0.637, 2.5]], [[0.5, 0.159], [0.159, 0.5]])
    """
    rows = np.asarray(x, dtype=np.float64)
    kernels = population_kernels(rows, widths, variances)
    inputs = [rows @ rows.T, *(n * k for n, k in zip(widths[1:-1], kernels.activation, strict=True))]
    slopes = [*(n * d for n, d in zip(widths[1:-1], kernels.backward, strict=True)), np.ones_like(inputs[0])]
    kernel: Real = np.sum([a * b for a, b in zip(inputs, slopes, strict=True)], axis=0)
    return kernel, variances[-1] * inputs[-1]


def factor(kernel: Real) -> Real:
    """F with F F^T = kernel, for a symmetric positive semidefinite kernel (m, m) -> (m, rank)."""
    values, vectors = np.linalg.eigh(kernel)
    kept = values > RANK_CUT * max(float(values[-1]), 0.0)
    columns: Real = vectors[:, kept] * np.sqrt(values[kept])
    return columns


def population_signals(
    x: ArrayLike,
    c: ArrayLike,
    widths: Sequence[int],
    variances: Sequence[float],
    samples: int,
    rng: np.random.Generator,
) -> NetworkSignals:
    """Signals that stand for a perceptron at initialisation in the mean-field equations (R4).

    Kernels take the place of measured Gram matrices; on-sets are the signs of `samples` draws from N(0, Σ^l).
    x (m, n_0), c (m,), widths [n_0, ..., 1], variances s_1²..s_L².
    """
    rows, weight = np.asarray(x, dtype=np.float64), np.asarray(c, dtype=np.float64)
    kernels = population_kernels(rows, widths, variances)
    sizes = tuple(a * b for a, b in pairwise(widths))
    sites, layers = np.arange(len(rows))[:, None], []
    for index, sigma in enumerate(kernels.covariance):
        root = factor(sigma)
        drawn = root @ rng.standard_normal((root.shape[1], samples))
        if index == 0:
            inputs, errors = rows, None
        else:
            inputs = factor(widths[index] * kernels.activation[index - 1])
            errors = weight[:, None] * factor(widths[index + 1] * kernels.backward[index])
        layers.append(
            LayerSignals(
                inputs=inputs,
                errors=errors,
                source=np.where(drawn > 0.0, sites, OFF),
                n_sites=len(rows),
                n_in=widths[index],
                n_out=widths[index + 1],
                variance=variances[index],
                offsets=None,
            )
        )
    return NetworkSignals(tuple(layers), weight[:, None], sizes)
