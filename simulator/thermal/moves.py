"""Other decisions of a stage, and what they promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backends import Array, Backend, HostArray
from simulator.network.network import Network
from simulator.passes.laws import Choices, Law

from .walk import Decide, Walk, slopes


def followed(ops: Backend, decisions: Sequence[Array], origin: HostArray) -> Decide:
    """Decisions up to the stage `origin` (m,) of each example, and forward propagation above it."""

    def decide(stage: int, law: Law, f: Array) -> Array:
        below = ops.asarray((origin >= stage).reshape(-1, *[1] * (f.ndim - 1)), "bool")
        return ops.xp.where(below, decisions[stage], law.likeliest(ops, f))

    return decide


def promises(
    network: Network, weights: Sequence[Array], ops: Backend, passed: Walk, y: Array, temperature: float
) -> list[Array]:
    """`promise` of every site of every stage."""
    above = slopes(network, weights, ops, passed, y, temperature)
    stages = zip(passed.stages(), above, strict=True)
    return [promise(ops, law, f, d, 1 / temperature + slope) for (law, f, d), slope in stages]


def promise(ops: Backend, law: Law, f: Array, d: Array, worth: Array) -> Array:
    """What each move may raise log µ(y, d|x) by: a gate flips, a window chooses another site; -inf for no move.

    It is (1 - 2h) z · worth, and (x_new - x_now) · worth for a window, ``worth`` being 1/T plus the slope: the rise to
    first order, and an upper bound of it (F5). Of a window only the site that promises most is a move.
    """
    xp = ops.xp
    signs = 1 - 2 * xp.astype(d, f.dtype)
    if not isinstance(law, Choices):
        return signs * f * worth
    now = law.to_sites(ops, law.hand_on(ops, d, f), f)
    nothing = xp.full_like(f, -np.inf)
    gain = xp.where(d, nothing, (f - now) * worth)
    return xp.where(law.likeliest(ops, gain), gain, nothing)


def moved(ops: Backend, law: Law, d: Array, moves: Array) -> Array:
    """Decisions after moves: gates flip where `moves` is on, windows with a move choose that site."""
    if not isinstance(law, Choices):
        return ops.xp.logical_xor(d, moves)
    numbers = ops.xp.astype(moves, getattr(ops.xp, ops.dtype))
    window = law.to_sites(ops, ops.apply_gates(moves, numbers, law.size), numbers) > 0
    return ops.xp.where(window, moves, d)
