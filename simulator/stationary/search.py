"""The search for stationary points: ½||∇R||² is minimised by damped Gauss-Newton steps with a line search.

While gates are frozen the gradient of ½||∇R||² is H ∇R. A step p is the least-squares solution of H p = -∇R, damped as
by Levenberg and Marquardt, from Hessian products [Fong2011] or, where weights are few, from all eigenvectors. It is cut
until the true ||∇R|| falls, gates and active examples being what they are at the end of the step. Methods of this kind,
and how they fail, are in [Frye2021].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import lsmr

from backends import Backend, HostArray, get_backend
from simulator.hessian.operator import HessianOperator
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.network.network import Network
from simulator.passes.losses import get_loss
from simulator.passes.risk import Evaluation, evaluate, output
from simulator.shown import shown

FOUND, STOPPED, STEPS, VANISHING = "found", "stopped", "steps", "vanishing"
HALVINGS, RAISES = 10, 6  # of a step, and of the damping, before the search stops
DAMPING, RAISED, LOWERED, LEAST = 0.1, 10.0, 0.2, 1e-12  # over the curvature along the gradient
ENOUGH = 1e-4  # of the fall of ||∇R||² that a linear gradient would have
PRODUCTS = 1000  # of one least-squares solution
DENSE = 1000  # weights up to which all eigenvectors take less time than these products
VANISHED, CANCELLING = 1e-10, 1e-3  # of the first ||∇R||, and ``relative`` below which its terms cancel


@shown
@dataclass(frozen=True)
class StationarySearch:
    """Where a search came to.

    ``status``: "found" (``relative`` ≤ the tolerance, or the gradient is 0); "stopped" (no step lowers ||∇R||: a kink
    is in the way, or H ∇R = 0); "vanishing" (||∇R|| fell by 1e10 without cancellation: neurons, or the slopes of a
    loss, go to 0, and no point was reached); "steps" (``steps`` were not enough).
    ``relative``: ||∇R||/(Σ_i c_i² ||∇T_i||²)^½, what is left of the gradient over its length if the terms of the
    examples were orthogonal: it does not change where all signals are scaled. Examples whose margin is within the
    tolerance of the minimum of the loss (|ℓ'| ≤ tolerance · ℓ'') are not counted; 0 where no term is left.
    ``order_parameter`` ||∇R||² here and ``first_order_parameter`` at the start. ``flatness``: ||H ∇R||/||∇R||.
    ``risk`` and ``active_fraction`` as in `Evaluation`. ``weights`` are host arrays.
    """

    weights: list[HostArray]
    status: str
    steps: int
    relative: float
    order_parameter: float
    first_order_parameter: float
    flatness: float
    risk: float
    active_fraction: float


@dataclass(frozen=True)
class _Point:
    """Weights (N,) with ∇R (N,) there, its length over that of orthogonal terms, and the rest of one evaluation."""

    theta: HostArray
    gradient: HostArray
    seen: Evaluation

    @property
    def square(self) -> float:
        return float(self.gradient @ self.gradient)


class _Problem:
    """R and its derivatives at flat weights."""

    def __init__(self, network: Network, x: Any, y: Any, loss: str, backend: Backend) -> None:
        self.network, self.loss, self.backend = network, loss, backend
        self.x = check_examples(network, x, backend.dtype)
        self.y = check_labels(y, self.x.shape[0])

    def at(self, theta: HostArray) -> _Point:
        weights = self.network.unflatten(theta)
        seen = evaluate(self.network, weights, self.x, self.y, self.loss, self.backend)
        return _Point(theta, self.network.flatten(seen.gradient).astype(np.float64), seen)

    def hessian(self, point: _Point) -> HessianOperator:
        weights = self.network.unflatten(point.theta)
        return HessianOperator(self.network, weights, self.x, self.y, self.loss, backend=self.backend)

    def relative(self, point: _Point, hessian: HessianOperator, tolerance: float) -> float:
        weights = self.network.unflatten(point.theta)
        u = self.y * output(self.network, weights, self.x, self.backend).astype(np.float64)
        loss = get_loss(self.loss)
        fitted = np.abs(loss.slope(np, u)) <= tolerance * loss.curvature(np, u)
        size = orthogonal_length(hessian, weights, self.x, ~fitted)
        return math.sqrt(point.square) / size if size > 0.0 else 0.0


def orthogonal_length(hessian: HessianOperator, weights: Sequence[Any], x: Any, counted: Any = True) -> float:
    """(Σ_i c_i² ||∇T_i||²)^½: the length that ∇R would have if the terms of the examples were orthogonal.

    The trace of Σ_i c_i² ∇T_i ∇T_i^T, exactly, over the examples that are `counted` (m,).

    >>> from simulator import HessianOperator, mlp
    >>> from simulator.stationary.search import orthogonal_length
    >>> network, x = mlp([2, 1]), [[3.0, 0.0], [0.0, 4.0]]
    >>> orthogonal_length(HessianOperator(network, [[[0.0], [0.0]]], x, [1, 1]), [[[0.0], [0.0]]], x)
    2.5
    """
    c = np.where(counted, np.asarray(hessian.c, dtype=np.float64), 0.0)
    largest = float(np.max(np.abs(c), initial=0.0))
    if largest == 0.0:
        return 0.0
    squares = HessianOperator(
        hessian.network, weights, x, None, c=np.zeros_like(c), curvature=(c / largest) ** 2, backend=hessian.backend
    )
    return largest * math.sqrt(squares.trace())


def find_stationary(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    loss: str = "hinge",
    *,
    tolerance: float = 1e-8,
    max_steps: int = 60,
    backend: str | Backend | None = None,
) -> StationarySearch:
    """Search for a stationary point of the risk from `weights`: see `StationarySearch` for what comes back.

    Each step solves min_p ||H p + ∇R||² + µ² ||p||², H the whole Hessian with frozen gates, and is halved until the
    true ||∇R||² falls by a share of what it would fall by if the gradient were linear. Where no halving does, µ is
    raised: the step turns towards -H ∇R. A step may leap into a region of risk 0 or of dead gates; both are stationary.

    Parameters
    ----------
    tolerance : of ``relative``, > 0
    max_steps : accepted steps

    Raises `ValueError` for arrays that do not fit the network, and for a tolerance that is not positive.

    >>> import numpy as np
    >>> from simulator import find_stationary, mlp
    >>> weights = [np.array([[1.2]]), np.array([[1.0]])]
    >>> point = find_stationary(mlp([1, 1, 1]), weights, [[1.0]], [1.0], "squared")  # R = (1 - w_1 w_2)²/2
    >>> point.status, round(float(point.weights[0][0, 0] * point.weights[1][0, 0]), 6)
    ('found', 1.0)
    """
    ops = get_backend(backend)
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance {tolerance!r} is not usable: use a number > 0")
    most = check_count(max_steps, "max_steps", least=0)
    given = [ops.to_numpy(w).astype(np.float64) for w in check_weights(network, weights, ops)]
    problem = _Problem(network, x, y, loss, ops)
    point = problem.at(network.flatten(given))
    first, damping, steps, status = point.square, DAMPING, 0, STEPS
    while True:
        hessian = problem.hessian(point)
        relative = problem.relative(point, hessian, tolerance)
        if relative <= tolerance:
            status = FOUND
            break
        if point.square <= VANISHED**2 * first and relative > CANCELLING:
            status = VANISHING
            break
        if steps == most:
            break
        moved = _step(problem, point, hessian, damping)
        if moved is None:
            status = STOPPED
            break
        (point, damping), steps = moved, steps + 1
    length = math.sqrt(point.square)
    bent = float(np.linalg.norm(hessian @ point.gradient)) / length if length > 0.0 else 0.0
    return StationarySearch(
        network.unflatten(point.theta), status, steps, relative, point.square, first, bent, point.seen.risk,
        point.seen.active_fraction,
    )  # fmt: skip


def _step(problem: _Problem, point: _Point, hessian: HessianOperator, damping: float) -> tuple[_Point, float] | None:
    """The next point and damping; None where no step lowers ||∇R||."""
    g, square = point.gradient, point.square
    curvature = float(np.linalg.norm(hessian @ g)) / math.sqrt(square)
    if curvature == 0.0:
        return None
    solve = _least_squares(hessian, g)
    for _ in range(RAISES):
        p = solve(damping * curvature)
        rest = g + hessian @ p
        fall = square - float(rest @ rest)
        for halving in range(HALVINGS if fall > 0.0 else 0):
            share = 0.5**halving
            with np.errstate(over="ignore", invalid="ignore"):
                reached = problem.at(point.theta + share * p)
            if reached.square <= square - ENOUGH * share * fall:
                factor = LOWERED if halving == 0 else 1.0 if halving < 3 else RAISED
                return reached, max(LEAST, damping * factor)
        damping *= RAISED
    return None


def _least_squares(hessian: HessianOperator, g: HostArray) -> Callable[[float], HostArray]:
    """µ -> the p of least ||H p + g||² + µ² ||p||²: from all eigenvectors where they are few, else from products."""
    if hessian.shape[0] > DENSE:
        return lambda mu: lsmr(hessian, -g, damp=mu, atol=1e-13, btol=1e-13, conlim=0, maxiter=PRODUCTS)[0]
    values, vectors = np.linalg.eigh(hessian.dense().astype(np.float64))
    along = values * (vectors.T @ g)
    return lambda mu: -vectors @ (along / (values**2 + mu**2))
