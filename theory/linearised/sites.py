"""Sites of a layer as the linearised equations use them: which of the layer below a kernel reads, which are on.

A matrix over the sites below is read at every kernel offset at once by `SiteMaps`; `OnSets` holds what the channels see
where they are on. Everything is prepared on the host and kept on the device.
"""

from __future__ import annotations

import numpy as np

from theory.arrays import Array, ArrayLibrary
from theory.signals import Index, LayerSignals, Real

ALONE = 16
"""Columns from which a channel is treated by itself."""
WHOLE = 0.9
"""Share of the sites that are on from which leaving out the others costs more than it saves."""


class WindowMeans:
    """Average pools below a layer: matrices over sites and over the means of windows of them."""

    def __init__(self, library: ArrayLibrary, windows: Index, n_sites: int, precision: str) -> None:
        self.xp, self.size = library.xp, windows.shape[1]
        owner, inside = np.zeros(n_sites, dtype=np.int64), np.zeros(n_sites)
        owner[windows] = np.arange(len(windows))[:, None]
        inside[windows] = 1.0
        self.members = [library.asarray(sites, "int64") for sites in windows.T]
        self.owner, self.inside = library.asarray(owner, "int64"), library.asarray(inside, precision)

    def gather(self, matrix: Array) -> Array:
        """P M P^T, P the means: (n_z, S', S') -> (n_z, n, n)."""
        for axis in (-2, -1):
            parts = [self.xp.take(matrix, sites, axis=axis) for sites in self.members]
            matrix = sum(parts[1:], parts[0])
        return matrix / self.size**2

    def scatter(self, matrix: Array) -> Array:
        """P^T M P, the adjoint of `gather`: (n_z, n, n) -> (n_z, S', S')."""
        for axis in (-2, -1):
            matrix = self.xp.take(matrix, self.owner, axis=axis)
        return matrix * (self.inside[:, None] * self.inside / self.size**2)


class SiteMaps:
    """φ_o of a layer: matrices over the S' sites below, read or written at every offset.

    Dense layers have one offset, the identity. Means of windows of sites come in between where there are any.
    """

    def __init__(self, library: ArrayLibrary, layer: LayerSignals, n_below: int, precision: str) -> None:
        self.library, self.n_sites, self.n_below = library, layer.n_sites, n_below
        self.means: WindowMeans | None = None
        if layer.windows is not None:
            self.means = WindowMeans(library, layer.windows, n_below, precision)
            self.n_below = len(layer.windows)
        self.pairs: list[tuple[Array, Array]] | None = None
        if layer.offsets is not None:
            inside = [np.flatnonzero(offset >= 0) for offset in layer.offsets]
            pairs = [(sites, offset[sites]) for sites, offset in zip(inside, layer.offsets, strict=True)]
            self.pairs = [(library.asarray(own, "int64"), library.asarray(below, "int64")) for own, below in pairs]

    def gather(self, matrix: Array) -> Array:
        """Σ_o gather_o(M), M[φ_o α, φ_o β] and 0 outside: (n_z, S', S') -> (n_z, S, S)."""
        if self.means is not None:
            matrix = self.means.gather(matrix)
        if self.pairs is None:
            return matrix
        total = self._zeros(matrix, self.n_sites)
        for own, below in self.pairs:
            total = self.library.add_block(total, own, self.library.block(matrix, below))
        return total

    def scatter(self, matrix: Array) -> Array:
        """Σ_o scatter_o(M), the adjoint of `gather`: (n_z, S, S) -> (n_z, S', S'). No two sites share a φ_o."""
        if self.pairs is None:
            return matrix
        total = self._zeros(matrix, self.n_below)
        for own, below in self.pairs:
            total = self.library.add_block(total, below, self.library.block(matrix, own))
        return total if self.means is None else self.means.scatter(total)

    def _zeros(self, like: Array, n: int) -> Array:
        return self.library.xp.zeros((like.shape[0], n, n), dtype=like.dtype, device=like.device)


def turn(columns: Real) -> Real:
    """(k, n, r) -> (k, r, n)."""
    return columns.transpose(0, 2, 1)


class OnSets:
    """Columns seen by each channel where it is on, 0 elsewhere: (k, n, r).

    A channel is on at about half of the sites: a product with its rows alone is a quarter of the work. Channels of few
    columns are taken together, as many as make products of about n × n.
    """

    def __init__(self, library: ArrayLibrary, columns: Real, precision: str) -> None:
        self.library, self.xp, self.shape = library, library.xp, columns.shape
        k, n, r = columns.shape
        step = 1 if r >= ALONE else max(1, n // max(r, 1))
        self.parts = []
        for first in range(0, k, step):
            part = columns[first : first + step]
            on = np.flatnonzero(np.any(part != 0.0, axis=(0, 2)))
            on = on if on.size else np.zeros(1, dtype=np.int64)  # channels on nowhere see zeros at any site
            rows = None if on.size > WHOLE * n else library.asarray(on, "int64")
            own = part if rows is None else part[:, on]
            flat = library.asarray(own.transpose(1, 0, 2).reshape(own.shape[1], -1), precision)
            self.parts.append((rows, library.asarray(own, precision), flat))

    def sandwich(self, matrix: Array) -> Array:
        """V_b^T M V_b of every channel: symmetric M (n_z, n, n) -> (n_z, k, r, r)."""
        xp, times, r = self.xp, self.library.real_times, self.shape[2]
        forms = []
        for rows, own, flat in self.parts:
            block = matrix if rows is None else self.library.block(matrix, rows)
            seen = xp.reshape(times(xp.matrix_transpose(flat), block), (matrix.shape[0], own.shape[0], r, -1))
            forms.append(times(xp.matrix_transpose(own), xp.matrix_transpose(seen)))
        return xp.concat(forms, axis=1)

    def mean_outer(self, matrices: Array) -> Array:
        """(1/k) Σ_b V_b M_b V_b^T: symmetric M (n_z, k, r, r) -> (n_z, n, n)."""
        xp, times, (k, n, r) = self.xp, self.library.real_times, self.shape
        total = xp.zeros((matrices.shape[0], n, n), dtype=matrices.dtype, device=matrices.device)
        first = 0
        for rows, own, flat in self.parts:
            left = xp.matrix_transpose(times(own, matrices[:, first : first + own.shape[0], :, :]))
            outer = times(flat, xp.reshape(left, (matrices.shape[0], own.shape[0] * r, -1)))
            total = total + outer if rows is None else self.library.add_block(total, rows, outer)
            first += own.shape[0]
        return total / k

    @property
    def operations(self) -> float:
        """Of a sandwich and a mean outer product at one z."""
        r = self.shape[2]
        each = (8.0 * own.shape[0] * own.shape[1] * r * (own.shape[1] + r) for _, own, _ in self.parts)
        return float(sum(each))


def seen_by(columns: Real, signals: Real) -> Real:
    """V_b^T F of every channel: V (k, n, r), F (n, q) -> (k, r, q)."""
    seen: Real = np.matmul(turn(columns), signals)
    return seen


def on_below(layer: LayerSignals, columns: Real) -> Real:
    """Columns (S'_l, r) behind the pools, where each channel's own sites S_l read them: (k, S_l, r)."""
    placed = np.zeros((layer.source.shape[1], layer.n_sites, columns.shape[1]))
    above, channel = np.nonzero(layer.source >= 0)
    placed[channel, layer.source[above, channel]] = columns[above]
    return placed


def on_above(layer: LayerSignals, columns: Real) -> Real:
    """Columns (S_l, r) before the gates, where they come out behind each channel's pools on S'_l: (k, S'_l, r)."""
    source = layer.source.T[..., None]
    read: Real = np.where(source >= 0, columns[np.maximum(layer.source.T, 0)], 0.0)
    return read
