"""The laws of gates at a temperature, given the signals f that they see: exp(f · d / T) / Z(f), d the decisions.

Both kinds are Boltzmann laws with the energy E = -f · d, which is the exponent of (6) with the sign changed:

    gates    d in {0,1}^n, one gate h for each z:     Z = Π_j (1 + e^{z_j/T})
    choices  d selects one site of each pool window:  Z = Π_windows Σ_sites e^{x_s/T}

A choice is the law of largest entropy of one site among those of a window with a given mean of the chosen signal (1),
as a gate is among two states. As T → 0 it selects a largest signal, which is the max-pool. Among equal signals it
draws one; all choices then hand on the same value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends import Array, Backend
from simulator.streams import Numbers, uniform


def summed(ops: Backend, values: Array) -> Array:
    """Σ over all axes but that of the examples, in float64: (m, ...) -> (m,)."""
    xp = ops.xp
    return xp.sum(xp.reshape(values, (values.shape[0], -1)), axis=1, dtype=xp.float64)


def masked(ops: Backend, decisions: Array, values: Array) -> Array:
    """Values where the decisions are on, 0 elsewhere."""
    return ops.xp.where(decisions, values, ops.xp.zeros_like(values))


def softplus(ops: Backend, values: Array) -> Array:
    """log(1 + e^v)."""
    return positive(ops, values) + ops.xp.log1p(ops.xp.exp(-ops.xp.abs(values)))


def positive(ops: Backend, values: Array) -> Array:
    """max(0, v)."""
    return masked(ops, values > 0, values)


@dataclass(frozen=True)
class Gates:
    """Independent gates h of a layer, P(h = 1) = σ(z/T), z (m, *gate_shape)."""

    def log_normaliser(self, ops: Backend, z: Array, temperature: float) -> Array:
        """log Z = Σ log(1 + e^{z/T}), (m,)."""
        return summed(ops, softplus(ops, z / temperature))

    def means(self, ops: Backend, z: Array, temperature: float) -> Array:
        """σ(z/T)."""
        return (1 + ops.xp.tanh(z / (2 * temperature))) / 2

    def entropy(self, ops: Backend, z: Array, p: Array, temperature: float) -> Array:
        """-Σ [p log p + (1-p) log(1-p)], (m,), in nats, for their means p = σ(z/T)."""
        field = z / temperature
        certain = ops.xp.log1p(ops.xp.exp(-ops.xp.abs(field)))  # of both logarithms
        return summed(ops, p * positive(ops, -field) + (1 - p) * positive(ops, field) + certain)

    def draw(self, ops: Backend, z: Array, temperature: float, rng: Numbers) -> Array:
        """Gates drawn from their law; uniform numbers come from the host."""
        return ops.asarray(uniform(rng, tuple(z.shape), ops.dtype)) < self.means(ops, z, temperature)

    def likeliest(self, ops: Backend, z: Array) -> Array:
        """h = 1[z > 0] (7), most probable at every temperature."""
        return z > 0

    def hand_on(self, ops: Backend, h: Array, z: Array) -> Array:
        """x = D z."""
        return ops.apply_gates(h, z, 1)

    def to_sites(self, ops: Backend, above: Array, z: Array) -> Array:
        """Numbers of what is handed on, at the sites that they come from."""
        return above


@dataclass(frozen=True)
class Choices:
    """One site of each size×size window, with probability e^{x/T} over the sum of these; x (m, H, W, C).

    Sites of a ragged edge, which no whole window covers, are never chosen.
    """

    size: int

    def log_normaliser(self, ops: Backend, x: Array, temperature: float) -> Array:
        """log Z = Σ_windows log Σ_sites e^{x/T}, (m,)."""
        top, _, total = self._exponentials(ops, x, temperature)
        return summed(ops, top / temperature + ops.xp.log(total))

    def means(self, ops: Backend, x: Array, temperature: float) -> Array:
        """The probability of every site; 0 at a ragged edge."""
        _, each, total = self._exponentials(ops, x, temperature)
        whole = self._whole(ops, x)
        one = ops.xp.ones_like(x)
        return each / ops.xp.where(whole, self.to_sites(ops, total, x), one)

    def entropy(self, ops: Backend, x: Array, p: Array, temperature: float) -> Array:
        """-Σ p log p, (m,), in nats, for their means p."""
        log = ops.xp.log(ops.xp.where(p > 0, p, ops.xp.ones_like(p)))
        return -summed(ops, p * log)

    def draw(self, ops: Backend, x: Array, temperature: float, rng: Numbers) -> Array:
        """Sites drawn from their law: the largest x + T G of each window, G independent Gumbel numbers."""
        numbers = np.maximum(rng.random(tuple(x.shape)), np.finfo(np.float64).tiny)
        return ops.select_maximum(x + temperature * ops.asarray(-np.log(-np.log(numbers))), self.size)[1]

    def likeliest(self, ops: Backend, x: Array) -> Array:
        """The first largest signal of each window."""
        return ops.select_maximum(x, self.size)[1]

    def hand_on(self, ops: Backend, chosen: Array, x: Array) -> Array:
        """The chosen signal of each window."""
        return ops.apply_gates(chosen, x, self.size)

    def to_sites(self, ops: Backend, above: Array, x: Array) -> Array:
        """Numbers of windows at every one of their sites; 0 at a ragged edge."""
        return ops.spread_gates(ops.xp.ones_like(x, dtype=ops.xp.bool), above, self.size)

    def _whole(self, ops: Backend, x: Array) -> Array:
        """Which sites are in a whole window."""
        ones = ops.apply_gates(ops.xp.ones_like(x, dtype=ops.xp.bool), ops.xp.ones_like(x), self.size)
        return self.to_sites(ops, ones, x) > 0

    def _exponentials(self, ops: Backend, x: Array, temperature: float) -> tuple[Array, Array, Array]:
        """(largest x of each window, e^{(x - largest)/T} at its sites, their sum)."""
        top, _ = ops.select_maximum(x, self.size)
        whole = self._whole(ops, x)
        below = ops.xp.where(whole, x - self.to_sites(ops, top, x), ops.xp.zeros_like(x))
        each = ops.xp.where(whole, ops.xp.exp(below / temperature), ops.xp.zeros_like(x))
        return top, each, ops.apply_gates(whole, each, self.size)


Law = Gates | Choices
