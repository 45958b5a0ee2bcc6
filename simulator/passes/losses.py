"""Losses of the margin u = y T(x), with their first two derivatives.

Hinge and perceptron are of the paper's class: piecewise linear in the margin, so that the Hessian of the risk is its
residual part alone. A loss is one entry of `LOSSES`; kernels that do not know it leave it to the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Array = Any
Function = Callable[[Any, Array], Array]


@dataclass(frozen=True)
class Loss:
    """ℓ(u), ℓ'(u), ℓ''(u), each a function of (xp, u), elementwise."""

    name: str
    value: Function
    slope: Function
    curvature: Function


def _hinge(xp: Any, u: Array) -> Array:
    return xp.where(u >= 1, xp.zeros_like(u), 1 - u)  # so that NaN stays NaN


def _hinge_slope(xp: Any, u: Array) -> Array:
    return xp.where(u < 1, -xp.ones_like(u), xp.zeros_like(u))


def _no_curvature(xp: Any, u: Array) -> Array:
    return xp.zeros_like(u)


def _perceptron(xp: Any, u: Array) -> Array:
    return xp.where(u >= 0, xp.zeros_like(u), -u)


def _perceptron_slope(xp: Any, u: Array) -> Array:
    return xp.where(u < 0, -xp.ones_like(u), xp.zeros_like(u))


def _squared_hinge(xp: Any, u: Array) -> Array:
    return _hinge(xp, u) ** 2 / 2


def _squared_hinge_slope(xp: Any, u: Array) -> Array:
    return -_hinge(xp, u)


def _squared_hinge_curvature(xp: Any, u: Array) -> Array:
    return xp.where(u < 1, xp.ones_like(u), xp.zeros_like(u))


def _logistic(xp: Any, u: Array) -> Array:
    return xp.log1p(xp.exp(-xp.abs(u))) + xp.where(u < 0, -u, xp.zeros_like(u))


def _logistic_slope(xp: Any, u: Array) -> Array:
    decay = xp.exp(-xp.abs(u))  # never overflows
    return -xp.where(u > 0, decay, xp.ones_like(u)) / (1 + decay)


def _logistic_curvature(xp: Any, u: Array) -> Array:
    decay = xp.exp(-xp.abs(u))
    return decay / (1 + decay) ** 2


def _squared(xp: Any, u: Array) -> Array:
    return (1 - u) ** 2 / 2


def _squared_slope(xp: Any, u: Array) -> Array:
    return u - 1


def _squared_curvature(xp: Any, u: Array) -> Array:
    return xp.ones_like(u)


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("hinge", _hinge, _hinge_slope, _no_curvature),
        Loss("perceptron", _perceptron, _perceptron_slope, _no_curvature),
        Loss("logistic", _logistic, _logistic_slope, _logistic_curvature),
        Loss("squared", _squared, _squared_slope, _squared_curvature),
        Loss("squared_hinge", _squared_hinge, _squared_hinge_slope, _squared_hinge_curvature),
    )
}


def get_loss(name: str) -> Loss:
    """The loss of that name.

    hinge max(0, 1-u), perceptron max(0, -u), logistic log(1+e^{-u}), squared ½(1-u)², squared_hinge ½ max(0, 1-u)².
    """
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown: use one of {', '.join(LOSSES)}")
    return LOSSES[name]
