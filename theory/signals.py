"""What the linearised equations know of a network: the signals of every neuron, and no weight by itself.

That is no coarse description: where examples are as many as inputs, most weights could be solved for from signals and
gates. What the equations leave out is the *use* of these weights in tangent passes, where others may take their place.

A *site* is an (example, position) pair, an example where the layer is dense. Layer l reads its input on the S'_{l-1}
sites behind the pools of layer l-1 through the maps φ_o of its kernel offsets o, has its gates on S_l sites and hands
on, behind its own pools, S'_l sites. Everything is a plain array, so that the equations do not know an architecture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theory.shown import shown

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]
Index = NDArray[np.int64]

OFF = -1
"""In a map of sites: outside the image; no site that is on."""


@shown
@dataclass(frozen=True)
class LayerSignals:
    """Signals at hidden layer l, 1 ≤ l ≤ L-1.

    inputs    (S_l, |O_l| p) x_{l-1} gathered at every offset, columns (o, a): column (o, a) is what the weight of
              offset o from channel a multiplies. p = n_{l-1} for measured signals; any factor of the kernel
              K_{l-1} = inputs @ inputs.T will do for the mean-field closure
    errors    (S'_{l-1}, |O_l| q) δ̂_l scattered from every offset, columns (o, b), q = n_l for measured signals;
              Σ_o scatter_o(Δ_l) = errors @ errors.T. None for layer 1, whose weights are eliminated exactly
    source    (S'_l, k) the S_l site that each S'_l site of a channel reads (on and, under a pool, selected), or `OFF`;
              k = n_l for a network's own gates, any number for sampled ones
    n_sites   S_l
    n_in      n_{l-1}, channels below;  n_out  n_l, channels here
    variance  s_l², the mean square weight
    offsets   (|O_l|, S_l) φ_o as indices of S'_{l-1} sites, or `OFF`; None: one offset, the identity (dense layers)
    windows   (n, a) where average pools stand between layer l-1 and this one: the a sites of S'_{l-1} whose mean is
              one of the n sites that ``offsets`` names; None: these are the S'_{l-1} sites themselves
    """

    inputs: Real
    errors: Real | None
    source: Index
    n_sites: int
    n_in: int
    n_out: int
    variance: float
    offsets: Index | None
    windows: Index | None = None

    @property
    def n_offsets(self) -> int:
        """|O_l|."""
        return 1 if self.offsets is None else len(self.offsets)

    def sent_below(self, columns: Real, n_below: int) -> Real:
        """Columns (S_l, q) sent back through every offset, and the means below it: (S'_{l-1}, |O_l| q)."""
        if self.windows is None:
            return scatter_columns(columns, self.offsets, n_below)
        means = scatter_columns(columns, self.offsets, len(self.windows))
        sent = np.zeros((n_below, means.shape[1]))
        sent[self.windows] = means[:, None] / self.windows.shape[1]
        return sent

    @property
    def n_pooled(self) -> int:
        """S'_l."""
        return int(self.source.shape[0])


@shown
@dataclass(frozen=True)
class NetworkSignals:
    """Signals of a network of L weight layers.

    layers  (L-1) of them, l = 1..L-1
    top     (S'_{L-1}, |O_L|) c = ∂ℓ/∂T/m scattered from every offset of the last layer: the factor of -z B^{L-1}
    sizes   (L) N_l, numbers of weights
    """

    layers: tuple[LayerSignals, ...]
    top: Real
    sizes: tuple[int, ...]

    @property
    def n_weights(self) -> int:
        """N = Σ N_l."""
        return sum(self.sizes)

    @property
    def silent(self) -> bool:
        """Whether H = 0: one linear layer, or no active example."""
        return not self.layers or not np.any(self.top)

    def normalised(self) -> tuple[NetworkSignals, float]:
        """Signals of the same law in other units, all of order one, and κ: g(z) = κ g'(κ z), rms = rms'/κ, exactly.

        Inputs of layer l times a_l, back-propagated signals that layer l sees times κ/a_l and s_l² times (a_l/a_{l-1})²
        multiply A^l by a_l², B^l by (κ/a_l)² and z by κ, which leaves every equation as it stands. a_l and κ are powers
        of 2, so that no digit changes; squares of signals of 1e-200 are no longer 0.
        """
        if self.silent:
            return self, 1.0
        units = list[float]()
        for layer in self.layers:
            size = float(np.abs(layer.inputs).max(initial=0.0))
            units.append(_inverse_power(size) if size > 0.0 else (units[-1] if units else 1.0))
        kappa = units[-1] * _inverse_power(float(np.abs(self.top).max()))
        before = [units[0], *units[:-1]]
        layers = [
            replace(
                layer,
                inputs=layer.inputs * unit,
                errors=None if layer.errors is None else layer.errors * (kappa / below),
                variance=layer.variance * (unit / below) ** 2,
            )
            for layer, unit, below in zip(self.layers, units, before, strict=True)
        ]
        return NetworkSignals(tuple(layers), self.top * (kappa / units[-1]), self.sizes), kappa


def _inverse_power(size: float) -> float:
    """The power of 2 that brings a positive number into [1/2, 1)."""
    return math.ldexp(1.0, -math.frexp(size)[1])


def gather_columns(columns: Real, offsets: Index | None) -> Real:
    """Columns seen at every offset, (S', p) -> (S, |O| p), offset after offset."""
    if offsets is None:
        return columns
    seen = np.where(offsets[..., None] >= 0, columns[np.maximum(offsets, 0)], 0.0)
    return np.concatenate(list(seen), axis=1)


def scatter_columns(columns: Real, offsets: Index | None, n_pooled: int) -> Real:
    """Columns sent back through every offset, (S, q) -> (S', |O| q), offset after offset."""
    if offsets is None:
        return columns
    sent = np.zeros((len(offsets), n_pooled, columns.shape[1]))
    for part, offset in zip(sent, offsets, strict=True):
        inside = np.flatnonzero(offset >= 0)
        part[offset[inside]] = columns[inside]
    return np.concatenate(list(sent), axis=1)
