"""Spectra of Σ_i d_i ∇T_i ∇T_i^T from the Gram matrix of the gradients: Gauss-Newton, tangent kernel, Fisher.

J (m, N) has the rows ∇T_i, K = J J^T is the tangent kernel (m, m), D = diag(d) with d_i ≥ 0. The matrices

    M = J^T D J  (N, N)   and   D^½ K D^½  (m, m)

have the same eigenvalues but for zeros: D^½ K D^½ b = θ b gives M u = θ u for the unit vector u = J^T D^½ b / √θ. So
the spectrum of a matrix of N × N numbers is had exactly, atom at 0 included, from m × m of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, HostArray, get_backend
from simulator.inputs import check_count, check_examples, check_labels, real_array
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.risk import output
from simulator.passes.tangent_kernel import tangent_kernel
from simulator.shown import shown

EPSILON = float(np.finfo(np.float64).eps)


@shown
@dataclass(frozen=True)
class GramSpectrum:
    """The spectrum of M = Σ_i d_i ∇T_i ∇T_i^T (N, N), exactly.

    ``eigenvalues`` (k,), largest first, all ≥ 0, k = min(m, N): the other N - k are 0. ``loadings`` (m, k): the unit
    eigenvector of the j-th is u_j = Σ_i loadings_ij ∇T_i (`simulator.output_gradient` makes it); a column of zeros
    where the eigenvalue is 0 up to rounding. ``coefficients`` d (m,); ``size`` N.
    """

    eigenvalues: HostArray
    loadings: HostArray
    coefficients: HostArray
    size: int

    @property
    def rank(self) -> int:
        """Number of eigenvalues that are not 0 up to rounding of the Gram matrix."""
        return int(np.count_nonzero(np.any(self.loadings != 0.0, axis=0)))

    @property
    def trace(self) -> float:
        """tr M = Σ_i d_i ||∇T_i||²."""
        return float(np.sum(self.eigenvalues))

    @property
    def rms(self) -> float:
        """sqrt(tr M² / N), the root mean square of all N eigenvalues."""
        return float(np.sqrt(np.sum(np.square(self.eigenvalues)) / self.size))

    @property
    def participation(self) -> float:
        """(tr M)² / tr M²: by how many equal eigenvalues the spectrum could be replaced; 0 for M = 0."""
        largest = float(self.eigenvalues.max(initial=0.0))
        if largest == 0.0:
            return 0.0
        scaled = self.eigenvalues / largest
        return float(np.sum(scaled) ** 2 / np.sum(np.square(scaled)))

    def stieltjes(self, z: Any) -> HostArray:
        """g(z) = (1/N) tr (M - z)^{-1}, the atom at 0 included; z of any shape, off the eigenvalues."""
        points = np.asarray(z, dtype=np.complex128)
        there = np.sum(1.0 / (self.eigenvalues - points[..., None]), axis=-1)
        found: HostArray = (there - (self.size - self.eigenvalues.size) / points) / self.size
        return found

    def density(self, energies: Any, eta: Any) -> HostArray:
        """ρ_η(E) = Im g(E + iη)/π, the spectrum smoothed by a Lorentzian of half width η > 0."""
        smoothed: HostArray = self.stieltjes(np.asarray(energies, dtype=np.float64) + 1j * np.asarray(eta)).imag / np.pi
        return smoothed

    def summary(self) -> str:
        """Rank, size, trace, rms and the largest eigenvalue."""
        largest = float(self.eigenvalues.max(initial=0.0))
        return (
            f"rank {self.rank} of N = {self.size:,}; trace {self.trace:.4g}, rms {self.rms:.4g}, "
            f"largest eigenvalue {largest:.4g}, as spread as {self.participation:.3g} equal ones"
        )


def gram_spectrum(kernel: Any, coefficients: Any, size: int, precision: float = EPSILON) -> GramSpectrum:
    """The spectrum of Σ_i d_i ∇T_i ∇T_i^T (size, size) from K_ij = ∇T_i · ∇T_j (m, m) and d (m,) ≥ 0.

    Eigenvalues below the rounding of the m × m problem, m times the `precision` of K times the largest, are returned as
    they come out but never below 0, and have no eigenvector. Raises `ValueError` for arrays that do not fit one
    another, for a kernel that is not symmetric, and for a negative d, of which the Gram matrix would need the root.

    >>> import numpy as np
    >>> from simulator import gram_spectrum
    >>> gram_spectrum(np.array([[2.0, 0.0], [0.0, 3.0]]), [1.0, 0.5], size=10).eigenvalues
    array([2. , 1.5])
    """
    k = np.asarray(real_array(kernel, "kernel"), dtype=np.float64)
    d = np.asarray(real_array(coefficients, "coefficients"), dtype=np.float64)
    n = check_count(size, "size")
    if k.ndim != 2 or k.shape[0] != k.shape[1] or d.shape != k.shape[:1]:
        raise ValueError(f"kernel has shape {k.shape}, coefficients {d.shape}: expected (m, m) and (m,)")
    if not np.isfinite(k).all() or not np.isfinite(d).all():
        raise ValueError("kernel or coefficients are not finite: give finite numbers")
    if np.abs(k - k.T).max(initial=0.0) > 1e-6 * np.abs(k).max(initial=0.0):
        raise ValueError("the kernel is not symmetric: give K_ij = ∇T_i · ∇T_j of the same examples on both sides")
    if np.any(d < 0.0):
        raise ValueError(f"a coefficient is {d.min():g}, expected numbers >= 0: the Gram matrix needs their roots")
    root = np.sqrt(d)
    values, vectors = np.linalg.eigh(root[:, None] * k * root)
    count = min(len(d), n)
    values, vectors = np.maximum(values[::-1][:count], 0.0), vectors[:, ::-1][:, :count]
    known = values > len(d) * precision * values.max(initial=0.0)
    lengths = np.sqrt(np.where(known, values, 1.0))
    return GramSpectrum(values, np.where(known, root[:, None] * vectors / lengths, 0.0), d, n)


def kernel_spectrum(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    *,
    kernel: Any = None,
    backend: str | Backend | None = None,
) -> GramSpectrum:
    """The spectrum of (1/m) Σ_i ∇T_i ∇T_i^T: the eigenvalues of the tangent kernel [Jacot2018] over m.

    x (m, ...) examples; ``kernel`` (m, m), where `tangent_kernel` is known already. Raises `ValueError` for arrays
    that do not fit the network.

    >>> import numpy as np
    >>> from simulator import kernel_spectrum, mlp
    >>> kernel_spectrum(mlp([2, 1]), [np.ones((2, 1))], np.array([[2.0, 0.0], [0.0, 4.0]]), backend="numpy").eigenvalues
    array([8., 2.])
    """
    ops = get_backend(backend)
    m = len(check_examples(network, x, ops.dtype))
    return _spectrum(network, weights, x, np.full(m, 1.0 / m), kernel, ops)


def gauss_newton_spectrum(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "logistic",
    *,
    kernel: Any = None,
    backend: str | Backend | None = None,
) -> GramSpectrum:
    """The spectrum of the Gauss-Newton part G = (1/m) Σ_i ℓ''(y_i T_i) ∇T_i ∇T_i^T of the Hessian, exactly.

    It is that of (1/m) D^½ K D^½ with K the tangent kernel and D = diag(ℓ''). A piecewise linear loss (hinge,
    perceptron) has ℓ'' = 0 wherever it is differentiable, and G = 0: all eigenvalues are then exactly 0.

    x (m, ...) examples, y (m,) labels; ``kernel`` (m, m), where `tangent_kernel` is known already. Raises `ValueError`
    for an unknown loss and for arrays that do not fit the network. `HessianOperator(part="gauss_newton")` gives
    products with G.

    >>> import numpy as np
    >>> from simulator import gauss_newton_spectrum, mlp
    >>> x, y = np.array([[2.0, 0.0], [0.0, 4.0]]), [1.0, -1.0]
    >>> gauss_newton_spectrum(mlp([2, 1]), [np.ones((2, 1))], x, y, "squared", backend="numpy").eigenvalues
    array([8., 2.])
    >>> gauss_newton_spectrum(mlp([2, 1]), [np.ones((2, 1))], x, y, "hinge", backend="numpy").rank
    0
    """
    chosen, ops = get_loss(loss), get_backend(backend)
    t = output(network, weights, x, ops).astype(np.float64)
    d = chosen.curvature(np, check_labels(y, t.size) * t) / t.size
    return _spectrum(network, weights, x, d, kernel, ops)


def fisher_spectrum(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    *,
    kernel: Any = None,
    backend: str | Backend | None = None,
) -> GramSpectrum:
    """The spectrum of the Fisher information of the output law P(y = +1 | x) = σ(T(x)), over the examples x.

        F = (1/m) Σ_i E_{y ~ P(y|x_i)} [∇ log P(y|x_i) ∇ log P(y|x_i)^T] = (1/m) Σ_i p_i (1 - p_i) ∇T_i ∇T_i^T,

    p_i = σ(T_i) [Amari1998]. For the logistic loss, which is -log P(y|x), F = G whatever the labels. A network trained
    with another loss has the same output law, but was not fitted by its likelihood: F then says how the outputs' law
    turns with the weights, and is no part of its Hessian.

    x (m, ...) examples; ``kernel`` (m, m), where `tangent_kernel` is known already.

    >>> import numpy as np
    >>> from simulator import fisher_spectrum, mlp
    >>> x = np.array([[2.0, 0.0], [0.0, 4.0]])
    >>> fisher_spectrum(mlp([2, 1]), [np.zeros((2, 1))], x, backend="numpy").eigenvalues
    array([2. , 0.5])
    """
    ops = get_backend(backend)
    t = output(network, weights, x, ops).astype(np.float64)
    return _spectrum(network, weights, x, get_loss("logistic").curvature(np, t) / t.size, kernel, ops)


def _spectrum(
    network: Network, weights: Sequence[Any], x: Any, d: HostArray, kernel: Any, ops: Backend
) -> GramSpectrum:
    known = tangent_kernel(network, weights, x, backend=ops) if kernel is None else kernel
    return gram_spectrum(known, d, network.n_weights, float(np.finfo(ops.dtype).eps))
