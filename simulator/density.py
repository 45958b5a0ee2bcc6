"""What Lanczos recurrences say of a spectrum: moments, densities and shares of a symmetric operator.

Source: Golub and Welsch (1969) for the quadrature; Haydock, Heine and Kelly, J. Phys. C 5 (1972) 2845, for the
terminated continued fraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh_tridiagonal

from backends import HostArray

TERMINATOR_WINDOW = 8  # last coefficients averaged for the terminator


@dataclass(frozen=True)
class SpectralDensity:
    """Gauss rules of the spectral measures v^T δ(λ - H) v of unit random probes; their mean estimates the spectrum.

    ``nodes`` and ``weights`` (n_probes, n_steps): each row of weights sums to 1; after an early breakdown (an
    invariant subspace was found, the rule is exact) a row is padded with node 0 and weight 0. ``alpha`` and
    ``beta`` (n_probes, n_steps) are the recurrence coefficients behind them; the last β of a row couples to what
    was not explored, and is 0 where the rule is exact. Standard errors are over probes; they need at least two.
    """

    nodes: HostArray
    weights: HostArray
    alpha: HostArray
    beta: HostArray

    @classmethod
    def from_recurrence(cls, alpha: Any, beta: Any) -> SpectralDensity:
        """The rules of recurrence coefficients (n_probes, n_steps); a row ends at its first β = 0."""
        a, b = np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float)
        nodes, weights = np.zeros((2, *a.shape))
        for row in range(len(a)):
            ended = np.flatnonzero(b[row] == 0.0)
            k = int(ended[0]) + 1 if ended.size else a.shape[1]
            nodes[row, :k], weights[row, :k] = gauss_rule(a[row, :k], b[row, : k - 1])
        return cls(nodes, weights, a, b)

    def truncated(self, n_steps: int) -> SpectralDensity:
        """What the first `n_steps` steps alone would have given: recurrences are nested."""
        return SpectralDensity.from_recurrence(self.alpha[:, :n_steps], self.beta[:, :n_steps])

    def statistic(self, function: Callable[[HostArray], HostArray]) -> tuple[HostArray, HostArray]:
        """(1/N) tr f(H) with its standard error; `function` maps nodes to (..., n_probes, n_steps)."""
        return _mean_and_error(np.sum(self.weights * function(self.nodes), axis=-1))

    def moment(self, order: int) -> tuple[float, float]:
        """tr H^order / N with its standard error."""
        value, error = self.statistic(lambda nodes: nodes**order)
        return float(value), float(error)

    @property
    def rms(self) -> float:
        """sqrt(tr H² / N), the root mean square eigenvalue."""
        return float(np.sqrt(self.moment(2)[0]))

    def stieltjes(self, z: Any) -> HostArray:
        """g(z) = (1/N) Σ_k 1/(λ_k - z) for Im z > 0 from the Gauss rules, Σ_k τ_k/(θ_k - z); of z's shape."""
        points = _upper(z)
        return self.statistic(lambda nodes: 1.0 / (nodes - points[..., None, None]))[0]

    def density(self, energies: Any, eta: float) -> tuple[HostArray, HostArray]:
        """(ρ_η(E), standard error), ρ_η = Im g(E + iη)/π from the Gauss rules.

        The spectrum smoothed by a Lorentzian of half width η; resolved once η exceeds the spacing of the nodes,
        roughly the spectrum's width over n_steps. Below that use `terminated_density`.
        """
        z = _upper(np.asarray(energies, dtype=float) + 1j * eta)
        return self.statistic(lambda nodes: (1.0 / (nodes - z[..., None, None])).imag / np.pi)

    def terminated_density(self, energies: Any, eta: float, n_steps: int | None = None) -> tuple[HostArray, HostArray]:
        """(ρ_η(E), standard error) from the continued fraction of α, β closed by a square-root terminator.

        g = 1/(α_1 - z - β_1²/(α_2 - z - ... - β_k² t(z))), t = 1/(a - z - b² t): the unexplored rest is given the
        semicircle of the last few coefficients instead of nothing, which keeps total mass 1, Im g > 0 and the
        2k - 1 moments of the Gauss rule, and resolves a continuous spectrum far below the spacing of its nodes.
        Where a rule is exact both agree. `n_steps` uses fewer steps: the difference estimates the error.
        """
        return _mean_and_error(self.terminated_densities(energies, eta, n_steps))

    def terminated_densities(self, energies: Any, eta: float, n_steps: int | None = None) -> HostArray:
        """`terminated_density` of every probe by itself: (..., n_probes)."""
        g = self.terminated_stieltjes(np.asarray(energies, dtype=float) + 1j * eta, n_steps)
        density: HostArray = g.imag / np.pi
        return density

    def terminated_stieltjes(self, z: Any, n_steps: int | None = None) -> HostArray:
        """g(z) of every probe by itself, (..., n_probes), from the same continued fraction; Im z > 0."""
        z = _upper(z)[..., None]
        steps = self.alpha.shape[1] if n_steps is None else n_steps
        if not 1 <= steps <= self.alpha.shape[1]:
            raise ValueError(f"n_steps {steps} is not usable: this spectrum has {self.alpha.shape[1]} steps")
        alpha, beta = self.alpha[:, :steps], self.beta[:, :steps]
        last = slice(max(0, steps - TERMINATOR_WINDOW), steps)
        gap = alpha[:, last].mean(axis=1) - z
        root = np.sqrt(gap**2 - 4.0 * np.mean(beta[:, last] ** 2, axis=1))
        # Of the two roots t the one in the upper half plane is the smaller: no cancellation, and b = 0 is no case.
        g = 2.0 / (gap + np.where((root * gap.conj()).real < 0, -root, root))
        for k in range(steps - 1, -1, -1):
            g = 1.0 / (alpha[:, k] - z - beta[:, k] ** 2 * g)
        transform: HostArray = g
        return transform


def _upper(z: Any) -> HostArray:
    points = np.asarray(z, dtype=complex)
    if not np.all(points.imag > 0):
        raise ValueError("z must lie in the upper half plane: give every z an imaginary part (eta) > 0")
    return points


def _mean_and_error(values: HostArray) -> tuple[HostArray, HostArray]:
    """Mean over the last axis (probes) and its standard error."""
    return values.mean(axis=-1), _standard_error(values)


def _standard_error(values: HostArray) -> HostArray:
    n = values.shape[-1]
    if n < 2:
        return np.full(values.shape[:-1], np.nan)
    error: HostArray = values.std(axis=-1, ddof=1) / np.sqrt(n)
    return error


def gauss_rule(alpha: HostArray, beta: HostArray) -> tuple[HostArray, HostArray]:
    """Nodes and weights of the Jacobi matrix with diagonal `alpha` and off-diagonal `beta` (one shorter)."""
    nodes, vectors = eigh_tridiagonal(np.asarray(alpha), np.asarray(beta))
    weights = vectors[0] ** 2  # first *row*: the components along the starting vector
    return nodes, weights / weights.sum()
