"""The eigenvectors of the far eigenvalues, beside the directions that exact facts name: ∇R and the layers' weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from simulator import HessianOperator

Array = np.ndarray[Any, Any]
COUNT = 5  # eigenvectors on either side
BASIS = 60  # Lanczos vectors between restarts
TOLERANCE = 1e-4
RESTARTS = 20


def describe_outliers(
    operator: HessianOperator, weights: Sequence[Array], gradient: Sequence[Array], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The largest eigenvalues on either side, and how much of each unit eigenvector v lies where.

    ``eigenvalue``; ``gradient`` (v·∇R)²/||∇R||²; ``span``, the square of v's part in the span of the weights θ_l and
    the gradients ∇_l R of single layers, where H θ_l = ∇R - ∇_l R (E3) and the curvature has both signs (E4);
    ``layers``: the share of |v|² in every layer. Largest |eigenvalue| first. Empty where ARPACK does not converge or
    H = 0.
    """
    network, n = operator.network, operator.shape[0]
    if operator.active.size == 0 or n <= 2 * COUNT + 1:
        return []
    start = rng.standard_normal(n).astype(operator.dtype)
    try:
        values, vectors = eigsh(
            operator, k=2 * COUNT, which="BE", v0=start, ncv=min(BASIS, n - 1), tol=TOLERANCE, maxiter=RESTARTS
        )
    except ArpackNoConvergence:
        return []
    whole = network.flatten(gradient).astype(np.float64)
    norm = float(np.linalg.norm(whole))
    basis = _span(network.slices, [*weights], [*gradient])
    described = []
    for value, column in sorted(zip(values, vectors.T, strict=True), key=lambda pair: -abs(pair[0])):
        v = column.astype(np.float64) / np.linalg.norm(column.astype(np.float64))
        described.append({
            "eigenvalue": float(value),
            "gradient": float((v @ whole / norm) ** 2) if norm > 0.0 else 0.0,
            "span": float(np.sum(np.square(basis.T @ v))),
            "layers": [float(np.sum(np.square(v[part]))) for part in network.slices],
        })  # fmt: skip
    return described


def _span(slices: Sequence[slice], *kinds: Sequence[Array]) -> Array:
    """An orthonormal basis (N, k) of the vectors that have one layer of one kind, and 0 elsewhere."""
    n, columns = slices[-1].stop, []
    for layer, part in enumerate(slices):
        own = np.stack([np.asarray(kind[layer], dtype=np.float64).ravel() for kind in kinds], axis=1)
        left, values, _ = np.linalg.svd(own, full_matrices=False)
        for column in left[:, values > 1e-12 * max(values[0], np.finfo(float).tiny)].T:
            placed = np.zeros(n)
            placed[part] = column
            columns.append(placed)
    return np.stack(columns, axis=1)
