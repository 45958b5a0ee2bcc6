"""What a point that a search came to is: its index, its kind by fact E5, the kinks near it, and the way down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import lsmr

from backends import Backend
from simulator import (
    HessianOperator,
    Network,
    StationarySearch,
    evaluate,
    kink_distances,
    nearby_gradients,
    output,
    risk,
    spectral_density,
)
from simulator.streams import spawn_streams
from validation.measurements.spectrum import describe_spectrum
from validation.run.storage import finite_or_none
from validation.statistics.estimate import combined

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
DENSE = 2000  # weights up to which all eigenvalues are computed
ZERO = 1e-6  # eigenvalues below this share of the largest are counted as 0
PROBES, STEPS, ETA = 16, 80, 0.05
NEAR = 2.0  # last steps: a kink within so many is at the point
NO_RISK = 1e-15  # of a curved loss, which comes to 0 up to the tolerance only
LAST = 1000  # products of the last step
ROUNDING = 1e-12  # of the natural size of H, below which it is 0
ESCAPES = tuple(10.0**-k for k in range(1, 9))  # of ||θ||: steps along the most negative direction
FALL = 0.25  # of λ t²/2, λ < 0, that the risk must fall by at one of them
ZERO_RISK, FLAT, SADDLE, KINKED, MINIMUM, MAXIMUM = "risk 0", "flat", "saddle", "saddle at a kink", "minimum", "maximum"
KINK, OPEN = "kink", "not converged"  # of points that are not stationary
FOUND_KINDS = (ZERO_RISK, FLAT, SADDLE, KINKED, MINIMUM, MAXIMUM)


@dataclass(frozen=True)
class Index:
    """Of the Hessian: ``value``, the share of negative ones among its eigenvalues that are not 0, ± ``error``.

    None where H = 0. ``negative`` and ``positive`` are shares of all eigenvalues, ``minimum`` and ``maximum`` the
    extreme ones.
    """

    value: float | None
    error: float | None
    negative: float
    positive: float
    minimum: float
    maximum: float

    @property
    def both_signs(self) -> bool:
        """Whether the extreme eigenvalues are on both sides of 0, by more than `ZERO` of the larger one."""
        return min(-self.minimum, self.maximum) > ZERO * max(-self.minimum, self.maximum)


def index_of(operator: HessianOperator, seed: np.random.Generator) -> Index:
    """All eigenvalues where N ≤ `DENSE`; else stochastic Lanczos quadrature, with the errors of its shares.

    The error of an index from all eigenvalues is what it changes by where the threshold of 0 is ten times larger or
    smaller.
    """
    if operator.shape[0] > DENSE:
        return _sampled(operator, seed)
    values = np.linalg.eigvalsh(operator.dense().astype(np.float64))
    largest = float(np.abs(values).max())
    if largest == 0.0:
        return Index(None, None, 0.0, 0.0, 0.0, 0.0)
    negative, positive = _signs(values, ZERO * largest)
    value = negative / (negative + positive)
    others = [_signs(values, factor * ZERO * largest) for factor in (0.1, 10.0)]
    error = max(abs(low / (low + high) - value) for low, high in others)
    size = len(values)
    return Index(value, error, negative / size, positive / size, float(values[0]), float(values[-1]))


def _signs(values: Array, threshold: float) -> tuple[int, int]:
    """How many eigenvalues are below minus the threshold, and above it."""
    return int(np.sum(values < -threshold)), int(np.sum(values > threshold))


def _sampled(operator: HessianOperator, seed: np.random.Generator) -> Index:
    probes, mirrors = spawn_streams(seed, 2)
    spectrum = spectral_density(operator, PROBES, STEPS, probes)
    if spectrum.rms == 0.0:
        return Index(None, None, 0.0, 0.0, 0.0, 0.0)
    law = describe_spectrum(spectrum, ETA, mirrors)
    low, high = law["fraction_negative"], law["fraction_positive"]
    whole = low["value"] + high["value"]
    error = combined(low["standard_error"], high["standard_error"])
    return Index(
        low["value"] / whole, None if error is None else error / whole, low["value"], high["value"], law["minimum"],
        law["maximum"],
    )  # fmt: skip


def classify(
    network: Network, search: StationarySearch, x: Array, y: Array, loss: str, backend: Backend,
    seed: np.random.Generator,
) -> Record:  # fmt: skip
    """The record of the end of a search: plain numbers.

    ``kind`` of a point that was found: "risk 0"; "flat" (H = 0); "saddle" (H has both signs, and the point where the
    linearised gradient is 0 is nearer than half the way to the nearest kink, so that gates are the same there);
    "saddle at a kink" (both signs, a kink is nearer); "minimum", "maximum" (H ≠ 0 has one sign). Of any other end:
    "kink" (the search stopped) or "not converged". ``gate``, ``margin`` and ``newton``, the length of the last step,
    are shares of ||θ||.
    """
    probes, balls, signs = spawn_streams(seed, 3)
    weights = search.weights
    hessian = HessianOperator(network, weights, x, y, loss, backend=backend)
    index, kinks = index_of(hessian, probes), kink_distances(network, weights, x, y, loss, backend)
    found = search.status == "found"
    zero = not found or _is_zero(network, hessian, index, weights, x)
    newton = _last_step(network, hessian, search, x, y, loss)
    apart = kinks.nearest > NEAR * newton
    kind = _kind(search, index, zero, apart) if found else KINK if search.status == "stopped" else OPEN
    largest = max(-index.minimum, index.maximum)
    record: Record = {
        "status": search.status, "kind": kind, "steps": search.steps, "risk": search.risk,
        "active": search.active_fraction, "relative": search.relative, "order_parameter": search.order_parameter,
        "first_order_parameter": search.first_order_parameter,
        "flatness": search.flatness / largest if largest > 0 else 0.0,
        "index": index.value, "index_error": index.error, "negative": index.negative, "positive": index.positive,
        "minimum": index.minimum, "maximum": index.maximum,
        "newton": newton, "gate": finite_or_none(kinks.gate), "margin": finite_or_none(kinks.margin),
        "euler": euler_error(network, weights, x, y, loss, backend),
        "residual": None, "escape": None, "shortest": None,
    }  # fmt: skip
    if found and hessian.curved:
        record["residual"] = _residual(network, weights, x, y, loss, backend, signs)
    if kind in (SADDLE, KINKED) and network.n_weights <= DENSE:
        record["escape"] = escape(network, hessian, weights, x, y, loss)
    if kind == KINK:
        near = nearby_gradients(network, weights, x, y, loss, seed=balls, backend=backend)
        record["shortest"] = near.shortest / near.own if near.own > 0 else 0.0
    return record


def _last_step(
    network: Network, hessian: HessianOperator, search: StationarySearch, x: Array, y: Array, loss: str
) -> float:
    """||p||/||θ|| of the shortest p with H p = -∇R, what is singular to `ZERO` left out."""
    theta = network.flatten(search.weights)
    length = float(np.linalg.norm(theta))
    if search.order_parameter == 0.0 or length == 0.0:
        return 0.0
    g = network.flatten(evaluate(network, search.weights, x, y, loss, hessian.backend).gradient).astype(np.float64)
    p = lsmr(hessian, -g, atol=0.0, btol=1e-6, conlim=1.0 / ZERO, maxiter=LAST)[0]
    return float(np.linalg.norm(p)) / length


def _kind(search: StationarySearch, index: Index, zero: bool, apart: bool) -> str:
    if search.active_fraction == 0.0 or search.risk <= NO_RISK:
        return ZERO_RISK
    if zero:
        return FLAT
    if index.both_signs:
        return SADDLE if apart else KINKED
    return MINIMUM if index.maximum > -index.minimum else MAXIMUM


def _is_zero(network: Network, hessian: HessianOperator, index: Index, weights: Sequence[Array], x: Array) -> bool:
    """Whether H is 0 beside the Hessian of the same terms with other signs, as gates at 0 leave rounding only."""
    largest = max(-index.minimum, index.maximum)
    if largest == 0.0:
        return True
    signs = np.where(np.arange(hessian.c.size) % 2 == 0, 1.0, -1.0)
    other = HessianOperator(network, weights, x, None, c=signs * hessian.c, backend=hessian.backend)
    probe = np.ones(network.n_weights) / math.sqrt(network.n_weights)
    return bool(largest <= ROUNDING * float(np.linalg.norm(other @ probe)))


def _residual(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    loss: str,
    backend: Backend,
    seed: np.random.Generator,
) -> Record:
    """Of the residual part Σ c_i ∇²T_i, whose trace is 0 (E2): its extreme eigenvalues."""
    part = HessianOperator(network, weights, x, y, loss, part="residual", backend=backend)
    index = index_of(part, seed)
    return {"minimum": index.minimum, "maximum": index.maximum}


def euler_error(network: Network, weights: Sequence[Array], x: Array, y: Array, loss: str, backend: Backend) -> float:
    """E4 with the outputs: ⟨W_l, ∇_l R⟩ = Σ_i c_i T_i for every layer; the largest error over the natural size.

    For the hinge Σ_i c_i T_i is the risk less the share of active examples, so that these are equal where ∇R = 0.
    """
    hessian = HessianOperator(network, weights, x, y, loss, backend=backend)
    t = output(network, weights, x, backend).astype(np.float64)
    seen = evaluate(network, weights, x, y, loss, backend)
    s = float(np.sum(hessian.c * t))
    products = [float(np.sum(np.asarray(w) * g)) for w, g in zip(weights, seen.gradient, strict=True)]
    errors = [abs(p - s) for p in products]
    if loss == "hinge":
        errors.append(abs(seen.risk - seen.active_fraction - s))
    size = float(np.sum(np.abs(hessian.c * t))) + seen.active_fraction
    return max(errors) / size if size > 0 else max(errors)


def escape(
    network: Network, hessian: HessianOperator, weights: Sequence[Array], x: Array, y: Array, loss: str
) -> Record:
    """Whether the true risk falls from a saddle along ± the eigenvector of its smallest eigenvalue λ.

    ``step`` t (of ||θ||) with the largest fall beside λ t²/2, and ``share``, the one over the other: 1 where no gate
    flips. ``falls``: it reaches `FALL`.
    """
    values, vectors = np.linalg.eigh(hessian.dense().astype(np.float64))
    theta, way = network.flatten(weights), vectors[:, 0]
    length = float(np.linalg.norm(theta))
    here = risk(network, weights, x, y, loss, hessian.backend)
    best: Record = {"step": 0.0, "share": -math.inf, "falls": False}
    for size in ESCAPES:
        t = size * length
        expected = -0.5 * values[0] * t**2
        if expected < 1e-13 * max(here, 1.0):  # a fall that rounding hides
            break
        for sign in (1.0, -1.0):
            there = risk(network, network.unflatten(theta + sign * t * way), x, y, loss, hessian.backend)
            share = (here - there) / expected
            if share > best["share"]:
                best = {"step": size, "share": share, "falls": bool(share >= FALL)}
    return best | {"share": finite_or_none(best["share"])}
