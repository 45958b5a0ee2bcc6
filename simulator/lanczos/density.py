"""What Lanczos recurrences say of a spectrum: moments, densities and shares of a symmetric operator.

Source: [Golub1969] for the quadrature, [Haydock1972] for the terminated continued fraction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid, trapezoid
from scipy.linalg import eigh_tridiagonal

from backends import HostArray
from simulator.shown import shown

from .plot import html_of, plot_density

EPSILON = float(np.finfo(np.float64).eps)
TERMINATOR_WINDOW = 8  # last coefficients averaged for the terminator
KNOWN_PROBES = 2  # so many probes more does the known bound on the variance count as


@shown
@dataclass(frozen=True)
class SpectralDensity:
    """Gauss rules of the spectral measures v^T δ(λ - H) v of unit random probes; their mean estimates the spectrum.

    ``nodes`` and ``weights`` (n_probes, n_steps): each row of weights sums to 1; after an early breakdown (an
    invariant subspace was found, the rule is exact) a row is padded with node 0 and weight 0. ``alpha`` and
    ``beta`` (n_probes, n_steps) are the recurrence coefficients behind them; the last β of a row couples to what
    was not explored, and is 0 where the rule is exact. ``size``: the number of eigenvalues N, where it is known.
    ``precision`` is the relative rounding error of the products: nodes lie within the spectrum up to about the
    precision times the largest |eigenvalue|.

    Standard errors of moments and densities are those of the probes (`probe_variance`) and know nothing of steps not
    made. `l1_standard_error` and `share_error` know of both.
    """

    nodes: HostArray
    weights: HostArray
    alpha: HostArray
    beta: HostArray
    size: int | None = None
    precision: float = EPSILON

    @classmethod
    def from_recurrence(
        cls, alpha: Any, beta: Any, size: int | None = None, precision: float = EPSILON
    ) -> SpectralDensity:
        """The rules of recurrence coefficients (n_probes, n_steps); a row ends at its first β = 0."""
        a, b = np.asarray(alpha, dtype=float), np.asarray(beta, dtype=float)
        nodes, weights = np.zeros((2, *a.shape))
        for row in range(len(a)):
            ended = np.flatnonzero(b[row] == 0.0)
            k = int(ended[0]) + 1 if ended.size else a.shape[1]
            nodes[row, :k], weights[row, :k] = gauss_rule(a[row, :k], b[row, : k - 1])
        return cls(nodes, weights, a, b, size, precision)

    def truncated(self, n_steps: int) -> SpectralDensity:
        """What the first `n_steps` steps alone would have given: recurrences are nested."""
        alpha, beta = self.alpha[:, :n_steps], self.beta[:, :n_steps]
        return SpectralDensity.from_recurrence(alpha, beta, self.size, self.precision)

    def statistic(self, function: Callable[[HostArray], HostArray]) -> tuple[HostArray, HostArray]:
        """(1/N) tr f(H) with its standard error; `function` maps nodes to (..., n_probes, n_steps)."""
        values = function(self.nodes)
        first, second = (np.sum(self.weights * values**power, axis=-1) for power in (1, 2))
        mean = first.mean(axis=-1)
        return mean, np.sqrt(self.probe_variance(first, second.mean(axis=-1) - mean**2))

    def moment(self, order: int) -> tuple[float, float]:
        """tr H^order / N with its standard error."""
        value, error = self.statistic(lambda nodes: nodes**order)
        return float(value), float(error)

    @property
    def rms(self) -> float:
        """sqrt(tr H² / N), the root mean square eigenvalue."""
        scale = 2.0 ** math.frexp(float(np.max(np.abs(self.nodes))))[1]  # squares of tiny eigenvalues would vanish
        return scale * float(np.sqrt(self.statistic(lambda nodes: (nodes / scale) ** 2)[0]))

    def summary(self) -> str:
        """Probes and steps, the rms eigenvalue with its standard error, and how far the nodes reach."""
        rms = self.rms
        square, error = self.moment(2) if rms > 0 else (0.0, 0.0)
        known = "" if self.size is None else f", N = {self.size:,}"
        return (
            f"{self.nodes.shape[0]} probes of {self.nodes.shape[1]} steps{known}; rms {rms:.4g} ± "
            f"{rms * error / (2.0 * square) if square > 0 else 0.0:.1g}, "
            f"nodes from {self.nodes.min():.4g} to {self.nodes.max():.4g}"
        )

    def plot(self, ax: Any = None, eta: float = 0.05) -> Any:
        """Draw `terminated_density` with its standard error on matplotlib axes, which are returned.

        `ax` None: axes of a new figure of pyplot. `eta` is the half width of the smoothing, in units of the rms
        eigenvalue, as are energies. The energy axis is linear within 0.2 rms and logarithmic beyond: ReLU Hessians are
        a narrow bulk with far outliers. Raises `ValueError` unless eta > 0.
        """
        return plot_density(self, ax, eta)

    def _repr_html_(self) -> str:
        return html_of(self)

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

    def terminated_density(self, energies: Any, eta: Any, n_steps: int | None = None) -> tuple[HostArray, HostArray]:
        """(ρ_η(E), standard error) from the continued fraction of α, β closed by a square-root terminator.

        g = 1/(α_1 - z - β_1²/(α_2 - z - ... - β_k² t(z))), t = 1/(a - z - b² t): the unexplored rest is given the
        semicircle of the last few coefficients instead of nothing, which keeps total mass 1, Im g > 0 and the
        2k - 1 moments of the Gauss rule, and resolves a continuous spectrum far below the spacing of its nodes.
        Where a rule is exact both agree. `n_steps` uses fewer steps: the difference estimates the error. `eta` may be
        different at every energy.
        """
        z = np.asarray(energies, dtype=float) + 1j * eta
        g, slope = self._terminated(z, n_steps)
        density, mean = g.imag / np.pi, g.imag.mean(axis=-1) / np.pi
        # The square of a Lorentzian of width η is (1/2π) (1/η - ∂/∂η) of the Lorentzian, and ∂/∂η of Im g is Re g'.
        square = (mean / eta - slope.real.mean(axis=-1) / np.pi) / (2.0 * np.pi)
        return mean, np.sqrt(self.probe_variance(density, square - mean**2))

    def terminated_densities(self, energies: Any, eta: float, n_steps: int | None = None) -> HostArray:
        """`terminated_density` of every probe by itself: (..., n_probes)."""
        g = self.terminated_stieltjes(np.asarray(energies, dtype=float) + 1j * eta, n_steps)
        density: HostArray = g.imag / np.pi
        return density

    def terminated_stieltjes(self, z: Any, n_steps: int | None = None, mirrored: bool = False) -> HostArray:
        """g(z) of every probe by itself, (..., n_probes), from the same continued fraction; Im z > 0.

        `mirrored`: before the terminator the fraction goes once more through its own coefficients, in reverse order.
        Then the unexplored rest has as much structure as the explored part, instead of none.
        """
        return self._terminated(z, n_steps, mirrored)[0]

    def _terminated(self, z: Any, n_steps: int | None, mirrored: bool = False) -> tuple[HostArray, HostArray]:
        """g(z) of every probe and its derivative."""
        z = _upper(z)[..., None]
        steps = self.alpha.shape[1] if n_steps is None else n_steps
        if not 1 <= steps <= self.alpha.shape[1]:
            raise ValueError(f"n_steps {steps} is not usable: this spectrum has {self.alpha.shape[1]} steps")
        alpha, beta = self.alpha[:, :steps], self.beta[:, :steps]
        tail = _terminator(alpha[:, -TERMINATOR_WINDOW:], beta[:, -TERMINATOR_WINDOW:], z)
        if mirrored:
            back = np.concatenate([beta[:, -2::-1], beta[:, :1]], axis=1)
            tail = _continued_fraction(alpha[:, ::-1], back, z, *tail)
        return _continued_fraction(alpha, beta, z, *tail)

    def share_error(self, values: HostArray, *others: HostArray) -> HostArray:
        """Standard error of the mean over probes of a share of the spectrum, from probes and from steps.

        ``values`` (..., n_probes): the share in each probe's measure; `others`: the same with other assumptions on what
        is not known, such as the steps not made. Squares add up: the variance of the mean, as `probe_variance` has it,
        and the change that every other assumption makes.
        """
        mean = values.mean(axis=-1)
        share = np.clip(mean, 0.0, 1.0)
        variance = self.probe_variance(values, share - share**2)
        error: HostArray = np.sqrt(sum((np.square(other.mean(axis=-1) - mean) for other in others), start=variance))
        return error

    def probe_variance(self, values: HostArray, spread: HostArray) -> HostArray:
        """Variance of the mean over probes of v^T f(H) v, given (..., n_probes) of them; NaN where nothing tells.

        A probe of random signs has Var v^T f v = (2/N²) (||f||² - Σ f_ii²) ≤ (2/N) (tr f²/N - (tr f/N)²), where the
        bracket is the `spread` of f over the spectrum. The scatter of few probes is a poor estimate: the bound counts
        as `KNOWN_PROBES` further ones, and alone where there is one probe. Without `size` the scatter stands alone.
        """
        n = values.shape[-1]
        known = 0 if self.size is None else KNOWN_PROBES
        if n + known < 2:
            return np.full(values.shape[:-1], np.nan)
        bound = 0.0 if self.size is None else known * 2.0 / self.size * np.maximum(spread, 0.0)
        squares = np.sum(np.square(values - values.mean(axis=-1, keepdims=True)), axis=-1)
        variance: HostArray = (squares + bound) / ((n - 1 + known) * n)
        return variance

    def l1_standard_error(self, energies: Any, eta: float) -> float:
        """What two measurements like this one differ by: L1 = ∫ |ρ_η - ρ'_η| dE of `terminated_density` on `energies`.

        √2 times the error that is expected of one, from two independent sources whose squares add up. Probes:
        √(2/π) ∫ σ(E) dE, σ² the `probe_variance` of the density at E. Steps: the root mean square of two L1 changes.
        One is made by leaving out a quarter of the steps; it falls short where convergence has not begun. The other is
        made by going through the fraction's own coefficients once more before it is closed (`terminated_stieltjes`,
        `mirrored`); it falls short where the coefficients are regular.
        Energies increase and have the unit of η and of the spectrum. NaN for a single probe of unknown `size`.
        """
        energies = np.asarray(energies, dtype=float)
        mean, deviation = self.terminated_density(energies, eta)
        changes = [other - mean for other in self._other_densities(energies, eta)]
        return _distance_error(energies, deviation, changes)

    def w1_standard_error(self, energies: Any, eta: float) -> float:
        """The same for W1 = ∫ |F_η - F'_η| dE, F_η the integral of the density from the first of the energies."""
        energies = np.asarray(energies, dtype=float)
        mean, deviation = self.terminated_law(energies, eta)
        laws = (cumulative_trapezoid(other, energies, initial=0.0) for other in self._other_densities(energies, eta))
        return _distance_error(energies, deviation, [law - mean for law in laws])

    def terminated_law(self, energies: Any, eta: float, n_steps: int | None = None) -> tuple[HostArray, HostArray]:
        """(F_η(E), standard error from probes), F_η the integral of the density from the first of the energies."""
        energies = np.asarray(energies, dtype=float)
        each = cumulative_trapezoid(self.terminated_densities(energies, eta, n_steps), energies, axis=0, initial=0.0)
        mean = each.mean(axis=-1)
        share = np.clip(mean, 0.0, 1.0)  # the function of λ behind it lies between 0 and 1
        return mean, np.sqrt(self.probe_variance(each, share - share**2))

    def _other_densities(self, energies: HostArray, eta: float) -> tuple[HostArray, HostArray]:
        """The density with a quarter of the steps left out, and with the steps not made taken for those made."""
        fewer = self.terminated_densities(energies, eta, max(1, self.alpha.shape[1] * 3 // 4))
        mirrored = self.terminated_stieltjes(energies + 1j * eta, mirrored=True).imag / np.pi
        return fewer.mean(axis=-1), mirrored.mean(axis=-1)


def _distance_error(energies: HostArray, deviation: HostArray, changes: Sequence[HostArray]) -> float:
    """√2 times the root of the sum of squares: of √(2/π) ∫ σ dE, and of the root mean square of the ∫ |change| dE."""
    probes = math.sqrt(2.0 / math.pi) * float(trapezoid(deviation, energies))
    sizes = [float(trapezoid(np.abs(change), energies)) for change in changes]
    return math.sqrt(2.0 * probes**2 + sum(size**2 for size in sizes))


def _terminator(alpha: HostArray, beta: HostArray, z: HostArray) -> tuple[HostArray, HostArray]:
    """t = 1/(a - z - b² t), a semicircle's transform, and t'; a and b² are the means of α and β² over the last axis."""
    gap, square = alpha.mean(axis=1) - z, np.mean(beta**2, axis=1)
    root = np.sqrt(gap**2 - 4.0 * square)
    # Of the two roots t the one in the upper half plane is the smaller: no cancellation, and b = 0 is no case.
    t = 2.0 / (gap + np.where((root * gap.conj()).real < 0, -root, root))
    return t, t**2 / (1.0 - square * t**2)


def _continued_fraction(
    alpha: HostArray, beta: HostArray, z: HostArray, g: HostArray, slope: HostArray
) -> tuple[HostArray, HostArray]:
    """1/(α_1 - z - β_1²/(... - β_k² g)) and its derivative, given g and g'; coefficients (n_probes, k)."""
    for k in range(alpha.shape[1] - 1, -1, -1):
        square = beta[:, k] ** 2
        g, slope = 1.0 / (alpha[:, k] - z - square * g), 1.0 + square * slope
        slope = slope * g**2
    return g, slope


def _upper(z: Any) -> HostArray:
    points = np.asarray(z, dtype=complex)
    if not np.all(points.imag > 0):
        raise ValueError("z must lie in the upper half plane: give every z an imaginary part (eta) > 0")
    return points


def gauss_rule(alpha: HostArray, beta: HostArray) -> tuple[HostArray, HostArray]:
    """Nodes and weights of the Jacobi matrix with diagonal `alpha` and off-diagonal `beta` (one shorter)."""
    nodes, vectors = eigh_tridiagonal(np.asarray(alpha), np.asarray(beta))
    weights = vectors[0] ** 2  # first *row*: the components along the starting vector
    return nodes, weights / weights.sum()
