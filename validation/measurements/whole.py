"""The spectrum of the whole Hessian, H + G: its Gauss-Newton part from the Gram matrix, its outliers, exact facts.

H = Σ c_i ∇²T_i is the residual part, which the paper calls the Hessian in a decomposed form; G = (1/m) Σ ℓ''_i ∇T_i
∇T_i^T. For the hinge and the perceptron ℓ'' = 0 wherever they are differentiable: G = 0 and H is the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from backends import Backend
from simulator import (
    GramSpectrum,
    HessianOperator,
    Network,
    SpectralDensity,
    fisher_spectrum,
    gauss_newton_spectrum,
    kernel_spectrum,
    output,
    output_gradient,
    tangent_kernel,
)
from simulator.passes.losses import get_loss
from theory import isotropic_spikes
from validation.statistics.estimate import combined

from .facts import TF32_TOLERANCE, TOLERANCES

Array = np.ndarray[Any, Any]
RANDOM = 8  # random combinations of the other eigenvectors of G behind tr HG
COUNT = 5
"""Largest eigenvalues of H + G whose eigenvectors are looked at, and eigenvectors of G beside them."""
BASIS, ACCURACY, RESTARTS = 60, 1e-6, 30
VECTORS = BASIS + 4 * (COUNT + RANDOM)
"""Vectors of N numbers that the search for them and what is made of them hold at a time."""


@dataclass(frozen=True)
class Gradients:
    """Everything that the Gram matrix K of the gradients gives at one moment: ``kernel`` (m, m), and three spectra.

    ``gauss_newton`` G, ``tangent`` K/m, ``fisher`` that of the output law σ(T); ``curvature`` ℓ''/m (m,).
    """

    kernel: Array
    gauss_newton: GramSpectrum
    tangent: GramSpectrum
    fisher: GramSpectrum

    @property
    def curvature(self) -> Array:
        return self.gauss_newton.coefficients


def gradients(network: Network, weights: Sequence[Array], x: Array, y: Array, loss: str, backend: Backend) -> Gradients:
    """K, and the spectra that follow from it; x (m, ...), y (m,)."""
    kernel = tangent_kernel(network, weights, x, backend=backend)
    return Gradients(
        kernel,
        gauss_newton_spectrum(network, weights, x, y, loss, kernel=kernel, backend=backend),
        kernel_spectrum(network, weights, x, kernel=kernel, backend=backend),
        fisher_spectrum(network, weights, x, kernel=kernel, backend=backend),
    )


def describe_gradients(found: Gradients) -> dict[str, Any]:
    """The three spectra as a record keeps them, and the curvature of the loss behind G."""
    bent = found.curvature
    return {
        "curvature": {"mean": float(bent.sum()), "share": float(np.mean(bent != 0.0))},
        "gauss_newton": _described(found.gauss_newton),
        "tangent": _described(found.tangent),
        "fisher": _described(found.fisher),
    }


def _described(spectrum: GramSpectrum) -> dict[str, Any]:
    return {
        "eigenvalues": spectrum.eigenvalues.tolist(),
        "rank": spectrum.rank,
        "trace": spectrum.trace,
        "rms": spectrum.rms,
        "participation": spectrum.participation,
    }


def whole_facts(
    network: Network, weights: Sequence[Array], x: Array, y: Array, loss: str, found: Gradients, backend: Backend
) -> dict[str, dict[str, float]]:
    """Relative errors of what is exact of H + G, each by two ways that share little; by name, with the tolerance.

    trace            tr(H + G) = tr G (E2), by the operator's diagonal, and by the Gram matrix
    eigenvector      G u = θ u, products of the operator on the eigenvector that the Gram matrix gives
    order_parameter  ||∇R||² = c^T K c, by the gradient, and by the Gram matrix
    euler            (H + G) θ = Σ_i ((L - 1) c_i + L ℓ''_i T_i/m) ∇T_i

    Each is relative to the sum of the sizes of its terms, so that cancellation between examples counts for nothing.
    """
    whole = HessianOperator(network, weights, x, y, loss, backend=backend)
    length, c, bent = np.sqrt(np.diag(found.kernel)), whole.c, found.curvature
    t = output(network, weights, x, backend).astype(np.float64)
    depth, theta = network.depth, network.flatten(weights).astype(np.float64)
    terms = (depth - 1) * c + depth * bent * t
    euler = whole @ theta.astype(whole.dtype) - _gradient_sum(network, weights, x, terms, backend)
    slope = _gradient_sum(network, weights, x, c, backend)
    sizes = (depth - 1) * np.abs(c) + depth * np.abs(bent * t)
    errors = {
        "trace": _over(whole.trace() - found.gauss_newton.trace, found.gauss_newton.trace),
        "eigenvector": _eigenvector_error(network, weights, x, y, loss, found, backend),
        "order_parameter": _over(
            float(slope @ slope - c @ found.kernel @ c), float(np.abs(c) @ np.abs(found.kernel) @ np.abs(c))
        ),
        "euler": _over(float(np.linalg.norm(euler)), float(sizes @ length)),
    }
    tolerance = TF32_TOLERANCE if backend.tf32 else TOLERANCES[backend.dtype]
    return {name: {"value": float(value), "tolerance": tolerance} for name, value in errors.items()}


def _over(error: float, size: float) -> float:
    return abs(error) / size if size > 0.0 else abs(error)


def _gradient_sum(network: Network, weights: Sequence[Array], x: Array, c: Array, backend: Backend) -> Array:
    """Σ c_i ∇T_i, flat, float64."""
    made: Array = network.flatten(output_gradient(network, weights, x, c, backend)).astype(np.float64)
    return made


def _eigenvector_error(
    network: Network, weights: Sequence[Array], x: Array, y: Array, loss: str, found: Gradients, backend: Backend
) -> float:
    law = found.gauss_newton
    operator = HessianOperator(network, weights, x, y, loss, part="gauss_newton", backend=backend)
    if law.rank == 0:  # G = 0: no product may give anything
        return float(np.abs(operator @ np.ones(network.n_weights, dtype=operator.dtype)).max())
    u = _gradient_sum(network, weights, x, law.loadings[:, 0], backend)
    top = float(law.eigenvalues[0])
    return float(np.linalg.norm(operator @ u.astype(operator.dtype) - top * u)) / top


def describe_largest(
    operators: tuple[HessianOperator, HessianOperator],
    weights: Sequence[Array],
    x: Array,
    y: Array,
    found: Gradients,
    residual: SpectralDensity,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The largest eigenvalues of H + G beside those of G, and how much of their eigenvectors is the same.

    operators  H + G and H; ``residual`` the measured spectrum of H

    ``largest``: of every rank, ``whole`` λ_k of H + G; ``gauss_newton`` θ_k of G; ``shift`` u_k^T H u_k; ``action``
    ||H u_k|| over the rms of H, 1 for a direction that knows nothing of H, give or take ``action_chance``, the
    standard deviation over random directions; ``overlap`` (v_k·u_k)² of the eigenvectors of equal rank, ``span`` the
    share of v_k in the leading eigenvectors of G together; ``classes``: the share of u_k in the span of the two
    classes' means of √ℓ'' ∇T [Papyan2019]; ``gradient`` (v_k·∇R)²/||∇R||²; ``spiked`` and ``spiked_overlap``: λ_k and
    (v_k·u_k)² for directions that know nothing of H (`theory.isotropic_spikes`). ``error``: ||(H + G)v - λv||/λ.
    Where ARPACK does not converge ``left_out`` says so and ``largest`` is empty.
    """
    whole, bare = operators
    law, n = found.gauss_newton, whole.shape[0]
    count = min(COUNT, law.rank, n - 2)
    if count < 1:
        return {"largest": [], "error": 0.0, "left_out": "G = 0: the loss has no curvature"}
    start = rng.standard_normal(n).astype(whole.dtype)
    try:
        values, vectors = eigsh(
            whole, k=count, which="LA", v0=start, ncv=min(BASIS, n - 1), tol=ACCURACY, maxiter=RESTARTS
        )
    except ArpackNoConvergence:
        return {"largest": [], "error": 0.0, "left_out": f"ARPACK did not converge in {RESTARTS} restarts"}
    order = np.argsort(-values)
    values, v = values[order].astype(np.float64), vectors[:, order].astype(np.float64)
    rest = np.linalg.norm((whole @ v.astype(whole.dtype)).astype(np.float64) - v * values, axis=0)
    u = np.stack([_gradient_sum(whole.network, weights, x, b, whole.backend) for b in law.loadings[:, :count].T], 1)
    squares = np.square(u.T @ v)  # (of G, of H + G)
    moved = (bare @ u.astype(bare.dtype)).astype(np.float64)
    slope = _gradient_sum(whole.network, weights, x, whole.c, whole.backend)
    power = float(slope @ slope)
    spikes = isotropic_spikes(law.eigenvalues[:count], *_rule(residual))
    classes = class_shares(found, y)[:count]
    columns = {
        "whole": values,
        "gauss_newton": law.eigenvalues[:count],
        "shift": np.sum(u * moved, axis=0),
        "action": np.linalg.norm(moved, axis=0) / residual.rms if residual.rms > 0.0 else np.zeros(count),
        "action_chance": np.full(count, _chance(*_rule(residual), n)),
        "overlap": np.diag(squares),
        "span": squares.sum(axis=0),
        "classes": classes,
        "gradient": np.square(slope @ v) / power if power > 0.0 else np.zeros(count),
        "spiked": spikes.positions,
        "spiked_overlap": spikes.overlaps,
    }
    rows = [{name: float(column[k]) for name, column in columns.items()} for k in range(count)]
    return {"largest": rows, "error": float(np.max(rest / np.abs(values))), "left_out": None}


def _rule(spectrum: SpectralDensity) -> tuple[Array, Array]:
    """The mean of all probes' Gauss rules: (nodes, weights with sum 1)."""
    return spectrum.nodes.ravel(), spectrum.weights.ravel() / len(spectrum.weights)


def _chance(nodes: Array, weights: Array, n: int) -> float:
    """Standard deviation of ||H u||/rms over random u: Var u^T H² u ≤ (2/N) (tr H⁴/N - (tr H²/N)²), to first order."""
    top = float(np.abs(nodes).max())
    if top == 0.0:
        return 0.0
    second, fourth = (float(weights @ (nodes / top) ** power) for power in (2, 4))
    return math.sqrt(max(fourth / second**2 - 1.0, 0.0) / (2.0 * n))


def class_shares(found: Gradients, y: Array) -> Array:
    """The share of every eigenvector u_k of G in the span of the classes' means of g_i = √ℓ''_i ∇T_i; (k,).

    All from the Gram matrix: u_k = Σ_i b_i ∇T_i has the product Σ_i b_i K_ij √ℓ''_j with g_j. 0 where the eigenvalue
    is 0.
    """
    root = np.sqrt(found.curvature)
    of_class = np.stack([root * (y == label) / max(int(np.sum(y == label)), 1) for label in (-1.0, 1.0)], axis=1)
    products = of_class.T @ found.kernel @ found.gauss_newton.loadings  # (2, k)
    gram = of_class.T @ found.kernel @ of_class
    shares: Array = np.sum(products * (np.linalg.pinv(gram, rcond=1e-12, hermitian=True) @ products), axis=0)
    return np.clip(shares, 0.0, 1.0)


def describe_squares(
    residual: dict[str, Any],
    bare: HessianOperator,
    weights: Sequence[Array],
    x: Array,
    found: Gradients,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """tr H²/N, tr G²/N, 2 tr HG/N and their sum tr(H + G)²/N, with standard errors.

    ``residual`` is the record of H's measured spectrum, ``bare`` its operator. tr G² is exact. tr HG = Σ_k θ_k
    u_k^T H u_k: the leading `COUNT` terms are exact, the others the mean of w^T H w over w = Σ_k ±√θ_k u_k with random
    signs. The few far eigenvalues of G hold most of tr(H + G)², which random probes in all directions hardly ever meet.
    """
    law = found.gauss_newton
    roots = np.sqrt(law.eigenvalues)
    rows = [law.loadings[:, k] * roots[k] for k in range(min(COUNT, law.rank))]
    rest = (law.loadings * roots)[:, len(rows) : law.rank]
    n_random = RANDOM if rest.shape[1] else 0
    rows += list((rest @ (rng.integers(0, 2, (rest.shape[1], n_random)) * 2.0 - 1.0)).T)
    w = np.stack([_gradient_sum(bare.network, weights, x, row, bare.backend) for row in rows], axis=1)
    forms = np.sum(w * (bare @ w.astype(bare.dtype)).astype(np.float64), axis=0)
    first, drawn = forms[: len(rows) - n_random], forms[len(rows) - n_random :]
    n = law.size
    spread = float(drawn.std(ddof=1)) / np.sqrt(n_random) if n_random else 0.0
    cross = 2.0 * (float(first.sum()) + (float(drawn.mean()) if n_random else 0.0)) / n
    square, error = _square(residual)
    parts: dict[str, tuple[float, float | None]] = {
        "residual": (square, error), "gauss_newton": (law.rms**2, 0.0), "cross": (cross, 2.0 * spread / n),
    }  # fmt: skip
    total = sum(value for value, _ in parts.values())
    parts["whole"] = total, combined(*(error for _, error in parts.values()))
    return {name: {"value": value, "standard_error": error} for name, (value, error) in parts.items()}


def _square(law: dict[str, Any]) -> tuple[float, float | None]:
    error = law["rms_standard_error"]
    return law["rms"] ** 2, None if error is None else 2.0 * law["rms"] * error


def has_curvature(loss: str) -> bool:
    """Whether ℓ'' ≠ 0 somewhere that the loss is differentiable: for the hinge and the perceptron it is not."""
    return bool(np.any(get_loss(loss).curvature(np, np.linspace(-8.0, 8.0, 33)) != 0.0))
