"""The exact facts E1-E8 of the Hessian, checked on the run's own network: a failure is a bug, not a finding.

They hold for any data, so a few of the active examples are enough. Each check returns a relative error: the largest
violation over the natural size of what is compared. Where the terms of the examples cancel (a stationary point, equal
inputs with opposite labels) only rounding is left of their sum; so that size is also looked for in the same terms
summed with random signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import HessianOperator, Network, evaluate, output_gradient
from simulator.passes.drawn import DrawnGates

Array = np.ndarray[Any, Any]
FACT_EXAMPLES = 64
UNITS = 32  # unit vectors at a time
Pair = tuple[HessianOperator, HessianOperator]  # H, and the same terms summed with random signs
TOLERANCES = {"float64": 1e-10, "float32": 1e-3}
TF32_TOLERANCE = 5e-2  # a hundred times the rounding of a factor, 2^-11


@dataclass(frozen=True)
class FactCheck:
    """Relative error of an exact statement, and what rounding explains."""

    value: float
    tolerance: float

    @property
    def holds(self) -> bool:
        return self.value <= self.tolerance


def check_facts(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    c: Array,
    loss: str,
    backend: Backend,
    rng: np.random.Generator,
) -> dict[str, FactCheck]:
    """E1-E4, E6, E7 (two dense layers) and E8 for the residual Hessian of up to 64 examples with c ≠ 0.

    Empty when no example is active: the Hessian and the gradient are then 0 and there is nothing to check.
    """
    active = np.flatnonzero(c)[:FACT_EXAMPLES]
    if active.size == 0:
        return {}
    x, y = x[active], y[active]
    operator = HessianOperator(network, weights, x, y, loss, part="residual", backend=backend)
    signs = rng.integers(0, 2, active.size) * 2.0 - 1.0
    pair = operator, HessianOperator(network, weights, x, None, c=signs * operator.c, backend=backend)
    gradient = [g.astype(np.float64) for g in evaluate(network, weights, x, y, loss, backend).gradient]
    errors = _layer_probe_facts(pair, rng)
    errors |= _euler_facts(pair, [np.asarray(w, dtype=np.float64) for w in weights], gradient)
    errors["E6"] = _mirror_fact(pair, weights, x, rng)
    if network.depth == 2 and not network.layers[0].convolutional and not network.input_pools:
        errors["E7"] = _two_layer_fact(pair)
    if network.depth > 1:
        errors["E8"] = _rescaling_fact(pair, weights, gradient)
    return _checked(errors, backend)


def drawn_facts(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    c: Array,
    gates: DrawnGates | None,
    backend: Backend,
    rng: np.random.Generator,
) -> dict[str, FactCheck]:
    """E1-E4 for gates that are drawn and held fixed, of the first rows x (m, ...) with c ≠ 0 (m,).

    E6 and E8 compare networks of other weights, which would draw other gates.
    """
    few = np.flatnonzero(c)[:FACT_EXAMPLES]
    if few.size == 0:
        return {}
    signs = np.zeros(c.shape)
    signs[few] = rng.integers(0, 2, few.size) * 2.0 - 1.0
    own, mixed = (
        HessianOperator(network, weights, x, None, c=a, gates=gates, backend=backend)
        for a in (np.abs(signs) * c, signs * c)
    )
    slopes = output_gradient(network, weights, x, own.c, backend, gates)
    errors = _layer_probe_facts((own, mixed), rng)
    wide = ([np.asarray(a, dtype=np.float64) for a in arrays] for arrays in (weights, slopes))
    return _checked(errors | _euler_facts((own, mixed), *wide), backend)


def _checked(errors: dict[str, float], backend: Backend) -> dict[str, FactCheck]:
    tolerance = TF32_TOLERANCE if backend.tf32 else TOLERANCES[backend.dtype]
    return {name: FactCheck(float(value), tolerance) for name, value in sorted(errors.items())}


def _relative(violation: float, size: float) -> float:
    return violation / size if size > 0 else violation


def _apply(operator: HessianOperator, rows: Array) -> Array:
    ops = operator.backend
    product: Array = ops.to_numpy(operator.rows(ops.asarray(rows))).astype(np.float64)
    return product


def _apply_both(pair: Pair, rows: Array) -> tuple[Array, float]:
    """H applied to rows (K, N), and the natural length of a product: the longest, of either operator."""
    products = [_apply(operator, rows) for operator in pair]
    return products[0], float(np.linalg.norm(products, axis=-1).max())


def _layer_probe_facts(pair: Pair, rng: np.random.Generator) -> dict[str, float]:
    """E1: diagonal blocks vanish, seen by one random probe per layer; E2: so does the trace they estimate."""
    network = pair[0].network
    probes = np.zeros((network.depth, network.n_weights))
    for row, part in enumerate(network.slices):
        probes[row, part] = rng.integers(0, 2, part.stop - part.start) * 2.0 - 1.0
    products, size = _apply_both(pair, probes)
    own = [np.linalg.norm(products[row, part]) for row, part in enumerate(network.slices)]
    return {
        "E1": _relative(float(max(own)), size),
        "E2": _relative(abs(float(np.sum(probes * products))), size * float(np.sqrt(network.n_weights))),
    }


def _euler_facts(pair: Pair, weights: list[Array], gradient: list[Array]) -> dict[str, float]:
    """E3 (Euler): H θ_l = ∇R outside layer l, 0 inside. E4: ⟨W_l, ∇_l R⟩ = s, and θ_l^T H θ_l' = s off the diagonal."""
    network = pair[0].network
    theta = np.zeros((network.depth, network.n_weights))
    expected = np.zeros_like(theta)
    flat = network.flatten(gradient)
    for row, part in enumerate(network.slices):
        theta[row, part] = weights[row].reshape(-1)
        expected[row] = flat
        expected[row, part] = 0.0
    products, size = _apply_both(pair, theta)
    form = products @ theta.T
    s = np.array([np.sum(w * g) for w, g in zip(weights, gradient, strict=True)])
    wanted = s.mean() * (1.0 - np.eye(network.depth))
    spread = max(float(np.abs(form - wanted).max()), float(np.ptp(s)))
    return {
        "E3": _relative(float(np.linalg.norm(products - expected, axis=1).max()), size),
        "E4": _relative(spread, size * float(np.linalg.norm(theta, axis=1).max())),
    }


def _mirror_fact(pair: Pair, weights: Sequence[Array], x: Array, rng: np.random.Generator) -> float:
    """E6: with c fixed, W_L → -W_L turns H into -S H S, S = -1 on the last layer: the spectrum changes sign."""
    operator, network = pair[0], pair[0].network
    negated = [*weights[:-1], -np.asarray(weights[-1])]
    mirrored = HessianOperator(network, negated, x, None, c=operator.c, backend=operator.backend)
    flip = np.ones(network.n_weights)
    flip[network.slices[-1]] = -1.0
    v = rng.standard_normal(network.n_weights)
    product, size = _apply_both(pair, (flip * v)[None])
    return _relative(float(np.linalg.norm(_apply(mirrored, v[None])[0] + flip * product[0])), size)


def _two_layer_fact(pair: Pair) -> float:
    """E7 (L = 2): H² e_b = ||v_b||² e_b for every weight b of layer 2, v_b = Σ_i c_i h_{1,i}^b x_i."""
    network = pair[0].network
    last = network.slices[1]
    worst = longest = 0.0
    for first in range(last.start, last.stop, UNITS):
        units = np.zeros((min(UNITS, last.stop - first), network.n_weights))
        units[:, first : first + len(units)] = np.eye(len(units))
        columns, size = _apply_both(pair, units)
        lengths = np.sum(columns**2, axis=1)
        twice = _apply(pair[0], columns)
        worst, longest = max(worst, float(np.abs(twice - lengths[:, None] * units).max())), max(longest, size)
    return _relative(worst, longest**2)


def _rescaling_fact(pair: Pair, weights: Sequence[Array], gradient: list[Array]) -> float:
    """E8: for every hidden neuron, ⟨incoming W, ∇⟩ - ⟨outgoing W, ∇⟩ = 0: rescaling leaves the risk unchanged."""
    network = pair[0].network
    theta = [np.asarray(w, dtype=np.float64) for w in weights]
    # By Euler (E3) this is the gradient of the terms with random signs.
    mixed = network.unflatten(_apply(pair[1], network.flatten(theta)[None])[0] / (network.depth - 1))
    worst = 0.0
    for below in range(len(theta) - 1):
        products = [theta[i] * gradient[i] for i in (below, below + 1)]
        channels = products[0].shape[-1]
        incoming = products[0].reshape(-1, channels).sum(axis=0)
        # Rows of a dense layer behind images run over positions, channels last.
        outgoing = products[1].reshape(-1, channels, products[1].shape[-1]).sum(axis=(0, 2))
        size = max(sum(np.abs(theta[i] * g[i]).sum() for i in (below, below + 1)) for g in (gradient, mixed))
        worst = max(worst, _relative(float(np.abs(incoming - outgoing).max()), float(size)))
    return worst
