"""The hierarchical parameterisation (4)-(6): multipliers that are products of weights along a chain of layers.

    λ_{i_0 ... i_l} = Π_{s=1}^{l} w^s_{i_{s-1} i_s}   (4)

makes of the maximum-entropy law (2) the law (5), in matrices (6), with the exponent x^T Π_{s<=l} W_s diag(h_s) 1. The
logits of layer l are those of a deep network, z_l = W_l^T x_{l-1} with x_s = D_s W_s^T x_{s-1}. Both forms are here,
the tensor for small cases and the chain, and the chain closest to a given tensor.

Each neuron b below layer l can be rescaled without changing λ: column b of W_s by r, row b of W_{s+1} by 1/r, for any
r ≠ 0 (a negative r is no symmetry of a ReLU network, whose gates it would change, but it is one of λ).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from backends import HostArray
from simulator.streams import Seed, Streams

from .law import MAX_ENTRIES, check_observed

EXACT = 1e-13  # a fit this close needs no further starts
BALANCED, MAX_PASSES = 1e-13, 10_000  # the gauge: relative norms, and passes over the layers that they may take


def expand_multipliers(weights: Sequence[Any], layer: int | None = None) -> HostArray:
    """λ (n_0, ..., n_l), the tensor (4) of the first `layer` weights W_s (n_{s-1}, n_s); None: all of them.

    Raises `MemoryError` beyond 2^27 entries, `ValueError` for weights that form no chain.
    """
    chain = _check_chain(weights)
    if layer is None:
        layer = len(chain)
    if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)) or not 1 <= layer <= len(chain):
        raise ValueError(f"layer {layer!r} is not one of the weights: use an integer from 1 to {len(chain)}")
    chain = chain[:layer]
    size = len(chain[0]) * math.prod(w.shape[1] for w in chain)
    if size > MAX_ENTRIES:
        raise MemoryError(
            f"the multipliers of layer {layer} have {size:.2g} entries: at most {MAX_ENTRIES:.2g} are formed; "
            "use hierarchical_logits, which never forms them"
        )
    tensor = chain[0]
    for w in chain[1:]:
        tensor = tensor[..., None] * w
    return tensor


def hierarchical_logits(weights: Sequence[Any], observed: Sequence[Any]) -> HostArray:
    """z_l = W_l^T D_{l-1} W_{l-1}^T ... D_1 W_1^T x, the logits of the law (5), (m, n_l), without forming λ.

    `observed` is [x (m, n_0), h_1 (m, n_1), ..., h_{l-1}], any gates; the first l weights act.
    """
    chain = _check_chain(weights)
    if len(observed) > len(chain):
        raise ValueError(f"observed has {len(observed)} layers: expected [x, h_1, ...], at most {len(chain)} of them")
    signals, *gates = check_observed(observed, [len(w) for w in chain[: len(observed)]])
    for w, h in zip(chain, gates, strict=False):
        signals = h * (signals @ w)
    return signals @ chain[len(gates)]


def hierarchical_exponent(weights: Sequence[Any], observed: Sequence[Any]) -> HostArray:
    """x^T Π_{s<=l} W_s diag(h_s) 1, the exponent of (6), (m,); `observed` is [x, h_1, ..., h_l]."""
    if len(observed) < 2:
        raise ValueError(f"observed has {len(observed)} layers: expected [x, h_1, ..., h_l], at least two")
    z, h = hierarchical_logits(weights, observed[:-1]), check_observed(observed)[-1]
    if z.shape != h.shape:
        raise ValueError(f"the last gates have shape {h.shape}: expected {z.shape}, one for every logit")
    exponent: HostArray = (z * h).sum(axis=1)
    return exponent


def tensor_logits(multipliers: Any, observed: Sequence[Any]) -> HostArray:
    """a_j = Σ_i λ_{i j} x_{i_0} Π h_{i_s} of (2), (m, n_l), from any tensor λ (n_0, ..., n_l); observed as above."""
    tensor = _check_tensor(multipliers, "multipliers")
    if tensor.ndim != len(observed) + 1:
        raise ValueError(f"multipliers have shape {tensor.shape}: expected {len(observed) + 1} axes, as observed has")
    x, *gates = check_observed(observed, tensor.shape[:-1])
    if len(x) * tensor[0].size > MAX_ENTRIES:
        raise MemoryError(
            f"{len(x)} examples meet {tensor[0].size} multipliers each: at most {MAX_ENTRIES:.2g} numbers are formed; "
            "use fewer examples at a time"
        )
    logits = np.tensordot(x, tensor, axes=1)
    for h in gates:
        logits = np.einsum("ma,ma...->m...", h, logits)
    return logits


@dataclass(frozen=True)
class HierarchyFit:
    """A chain of weights near a tensor λ: ``weights`` W_s (n_{s-1}, n_s), ``residual`` ||λ - Π w||_F / ||λ||_F.

    Gauge: every neuron below the last layer has incoming and outgoing weights of equal norm (so all ||W_s||_F are
    equal), and its largest incoming weight is positive; neurons that carry nothing are 0. ``residuals`` are those of
    all starts that ran, ``sweeps`` belongs to the best. ``converged``: its last sweep moved Π w by at most
    ``tolerance`` ||λ||_F, which makes it stationary; with three layers or more it may be a local minimum. The
    other fields are the settings.
    """

    weights: list[HostArray]
    residual: float
    converged: bool
    status: str
    sweeps: int
    residuals: HostArray
    n_starts: int
    seed: Seed
    max_sweeps: int
    tolerance: float


def fit_hierarchy(
    tensor: Any, n_starts: int = 5, seed: Seed = 0, max_sweeps: int = 1000, tolerance: float = 1e-12
) -> HierarchyFit:
    """The chain (4) closest to a tensor λ (n_0, ..., n_l): min ||λ - Π_s w^s||_F, by alternating least squares.

    Given the other layers, every entry has its own least-squares problem, w_ab = <λ_ab, rest>/<rest, rest>. The first
    start peels off layer after layer by singular vectors: exact for a tensor that is a chain, the global minimum for
    two layers. Up to `n_starts` - 1 Gaussian starts from `seed` follow, none once the fit is exact or global.
    A fit that did not settle in `max_sweeps` is returned with ``converged`` False and says so.
    """
    target = _check_tensor(tensor, "tensor")
    if target.ndim < 2:
        raise ValueError(f"tensor has shape {target.shape}: expected (n_0, ..., n_l), two axes or more")
    for value, what in ((n_starts, "n_starts"), (max_sweeps, "max_sweeps")):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{what} {value!r} is not usable: use an integer >= 1")
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance {tolerance!r} is not usable: use a number > 0, such as 1e-12")
    fits: list[_Descent] = []
    for start, rng in enumerate(Streams(seed).spawn("hierarchy", n_starts if target.ndim > 3 else 1)):
        weights = _random_chain(target, rng) if start else _peel(target)
        fits.append(_descend(target, weights, max_sweeps, tolerance))
        if fits[-1].residual <= EXACT:
            break
    best = min(fits, key=lambda fit: fit.residual)
    status = f"converged in {best.sweeps} sweeps" if best.moved <= tolerance else _unfinished(best, max_sweeps)
    return HierarchyFit(
        weights=_fix_gauge(best.weights),
        residual=best.residual,
        converged=best.moved <= tolerance,
        status=f"{status}; starts: {len(fits)}",
        sweeps=best.sweeps,
        residuals=np.array([fit.residual for fit in fits]),
        n_starts=n_starts,
        seed=seed,
        max_sweeps=max_sweeps,
        tolerance=tolerance,
    )


@dataclass(frozen=True)
class _Descent:
    """One start: ``moved`` is how far its last sweep moved the product, over ||λ||."""

    weights: list[HostArray]
    residual: float
    moved: float
    sweeps: int


def _unfinished(best: _Descent, max_sweeps: int) -> str:
    return f"not converged: sweep {best.sweeps} still moved the fit by {best.moved:.1e}; raise max_sweeps {max_sweeps}"


def _descend(target: HostArray, weights: list[HostArray], max_sweeps: int, tolerance: float) -> _Descent:
    norm = float(np.linalg.norm(target)) or 1.0
    moved, sweep = np.inf, 0
    while moved > tolerance and sweep < max_sweeps:
        weights, distance = _sweep(target, weights)
        moved, sweep = distance / norm, sweep + 1
    return _Descent(weights, float(np.linalg.norm(target - expand_multipliers(weights))) / norm, moved, sweep)


def _sweep(target: HostArray, weights: list[HostArray]) -> tuple[list[HostArray], float]:
    """Every layer once, first to last, and how far the product moved (the square root of the drop in squares)."""
    after = [np.ones(weights[-1].shape[1])]  # Σ of squares over the chain behind neuron b
    for w in weights[::-1]:
        after.insert(0, w**2 @ after[0])
    before, folded, new, drop = np.ones(len(weights[0])), target, list[HostArray](), 0.0
    for s, w in enumerate(weights):
        overlap = folded  # <λ_ab, rest>: the layers below are folded into λ already
        for later in weights[:s:-1]:
            overlap = np.einsum("...ab,ab->...a", overlap, later)
        size = np.outer(before, after[s + 1])
        # An entry whose rest vanishes has no say in the product: 0 keeps it out of the gauge.
        best = np.divide(overlap, size, out=np.zeros_like(w), where=size > 0)
        drop += float(((best - w) ** 2 * size).sum())
        new.append(best)
        before, folded = before @ best**2, np.einsum("ab...,ab->b...", folded, best)
    return new, math.sqrt(drop)


def _peel(target: HostArray) -> list[HostArray]:
    """W_1 from the best rank-one approximation of λ[:, b, ...] for each b, the rest from what remains."""
    weights, rest = [], target
    while rest.ndim > 2:
        slices = np.moveaxis(rest, 1, 0).reshape(rest.shape[1], rest.shape[0], -1)
        u, s, vt = np.linalg.svd(slices, full_matrices=False)
        weights.append(u[:, :, 0].T)
        rest = (s[:, :1] * vt[:, 0, :]).reshape(rest.shape[1:])  # unit columns: later layers see errors unweighted
    return [*weights, rest]


def _random_chain(target: HostArray, rng: np.random.Generator) -> list[HostArray]:
    return [rng.standard_normal(shape) for shape in pairwise(target.shape)]


def _fix_gauge(weights: list[HostArray]) -> list[HostArray]:
    """The same product with balanced neurons (see `HierarchyFit`), by rescaling layer after layer until all agree."""
    weights = [w.copy() for w in weights]
    hidden = list(pairwise(weights))
    for _ in range(MAX_PASSES):
        unbalanced = False
        for into, out in hidden:
            incoming, outgoing = np.linalg.norm(into, axis=0), np.linalg.norm(out, axis=1)
            live = (incoming > 0) & (outgoing > 0)
            factor = np.sqrt(np.divide(outgoing, incoming, out=np.zeros_like(incoming), where=live))
            unbalanced |= bool(np.any(np.abs(factor[live] - 1) > BALANCED) or into[:, ~live].any() or out[~live].any())
            into *= factor
            out *= np.divide(1.0, factor, out=np.zeros_like(factor), where=live)[:, None]
        if not unbalanced:
            break
    for into, out in hidden:
        sign = np.where(np.take_along_axis(into, np.abs(into).argmax(axis=0)[None], axis=0)[0] < 0, -1.0, 1.0)
        into *= sign
        out *= sign[:, None]
    return weights


def _check_chain(weights: Sequence[Any]) -> list[HostArray]:
    """Dense weights in float64, each as wide as the next one expects."""
    if len(weights) == 0:
        raise ValueError("weights is empty: expected [W_1 (n_0, n_1), ...], at least one layer")
    chain = [_check_tensor(w, f"weights[{s}]") for s, w in enumerate(weights)]
    for s, w in enumerate(chain):
        if w.ndim != 2 or (s and len(w) != chain[s - 1].shape[1]):
            before = f"{chain[s - 1].shape[1]}" if s and chain[s - 1].ndim == 2 else "n_0"
            raise ValueError(f"weights[{s}] has shape {w.shape}: expected ({before}, n), a dense layer")
    return chain


def _check_tensor(values: Any, what: str) -> HostArray:
    tensor = np.asarray(values)
    if tensor.dtype.kind not in "fiub" or 0 in tensor.shape or not np.isfinite(tensor).all():
        raise ValueError(f"{what} ({tensor.dtype}, {tensor.shape}) is not a finite real array: expected finite numbers")
    return np.ascontiguousarray(tensor, dtype=np.float64)
