"""Sites of a layer as the linearised equations use them: which of the layer below a kernel reads, which are on.

A matrix over the sites below is read at every kernel offset at once by `SiteMaps`; `OnSets` holds what the channels see
where they are on. Everything is prepared on the host and kept on the device.
"""

from __future__ import annotations

import numpy as np

from theory.arrays import Array, ArrayLibrary, block_of, real_times, times
from theory.signals import Index, LayerSignals, Real


class WindowMeans:
    """Average pools below a layer: matrices over sites and over the means of windows of them."""

    def __init__(self, library: ArrayLibrary, windows: Index, n_sites: int) -> None:
        self.xp, self.size = library.xp, windows.shape[1]
        owner, inside = np.zeros(n_sites, dtype=np.int64), np.zeros(n_sites)
        owner[windows] = np.arange(len(windows))[:, None]
        inside[windows] = 1.0
        self.members = [library.asarray(sites, "int64") for sites in windows.T]
        self.owner, self.inside = library.asarray(owner, "int64"), library.asarray(inside, "float64")

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

    def __init__(self, library: ArrayLibrary, layer: LayerSignals, n_below: int) -> None:
        self.library, self.n_sites, self.n_below = library, layer.n_sites, n_below
        self.means: WindowMeans | None = None
        if layer.windows is not None:
            self.means = WindowMeans(library, layer.windows, n_below)
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
            total = self.library.add_block(total, own, block_of(self.library.xp, matrix, below))
        return total

    def scatter(self, matrix: Array) -> Array:
        """Σ_o scatter_o(M), the adjoint of `gather`: (n_z, S, S) -> (n_z, S', S'). No two sites share a φ_o."""
        if self.pairs is None:
            return matrix
        total = self._zeros(matrix, self.n_below)
        for own, below in self.pairs:
            total = self.library.add_block(total, below, block_of(self.library.xp, matrix, own))
        return total if self.means is None else self.means.scatter(total)

    def _zeros(self, like: Array, n: int) -> Array:
        return self.library.xp.zeros((like.shape[0], n, n), dtype=like.dtype, device=like.device)


def turn(columns: Real) -> Real:
    """(k, n, r) -> (k, r, n)."""
    return columns.transpose(0, 2, 1)


class OnSets:
    """Columns seen by each channel where it is on, 0 elsewhere: (k, n, r).

    Channels are taken together, as many as make products of about n × n: half of the sites are off, but one large
    product costs less than many small ones of a quarter of its operations.
    """

    def __init__(self, library: ArrayLibrary, columns: Real) -> None:
        self.xp, self.shape = library.xp, columns.shape
        k, n, r = columns.shape
        step = max(1, n // max(r, 1))
        parts = [columns[first : first + step] for first in range(0, k, step)]
        self.parts = [library.asarray(part, "float64") for part in parts]
        self.flat = [library.asarray(part.transpose(1, 0, 2).reshape(n, -1), "float64") for part in parts]

    def sandwich(self, matrix: Array) -> Array:
        """V_b^T M V_b of every channel: M (n_z, n, n) -> (n_z, k, r, r)."""
        xp, (_, n, r) = self.xp, self.shape
        forms = []
        for part, flat in zip(self.parts, self.flat, strict=True):
            seen = xp.reshape(times(xp, matrix, flat), (matrix.shape[0], n, part.shape[0], r))
            forms.append(real_times(xp, xp.matrix_transpose(part), xp.permute_dims(seen, (0, 2, 1, 3))))
        return xp.concat(forms, axis=1)

    def mean_outer(self, matrices: Array) -> Array:
        """(1/k) Σ_b V_b M_b V_b^T: M (n_z, k, r, r) -> (n_z, n, n)."""
        xp, (k, n, _) = self.xp, self.shape
        mean, first = None, 0
        for part, flat in zip(self.parts, self.flat, strict=True):
            left = real_times(xp, part, matrices[:, first : first + part.shape[0], :, :])
            rows = xp.reshape(xp.permute_dims(left, (0, 2, 1, 3)), (matrices.shape[0], n, flat.shape[1]))
            outer = times(xp, rows, xp.matrix_transpose(flat))
            mean, first = outer if mean is None else mean + outer, first + part.shape[0]
        return mean / k

    @property
    def operations(self) -> float:
        """Of a sandwich and a mean outer product at one z, at half: large products run twice as fast as others."""
        k, n, r = self.shape
        return float(4 * k * n * r * (n + r))


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
