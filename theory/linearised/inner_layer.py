"""The layers between the first and the last but one: the only ones whose answer needs matrices over sites.

A of such a layer is a sum of kernels of the signals below. Of a smooth input these have few directions that matter: for
the 1,024 sites of a photograph ten exceed a thousandth of the largest. On an orthonormal basis F of them, A = F M F^T,
with F_b the rows of F that channel b sees and G_b = B_b F_b,

    K_b = (1 - M F_b^T G_b)^{-1} M,   U_b = F_b K_b F_b^T,   T_b = B_b + G_b K_b G_b^T,

so that a neuron costs products of n × r instead of the inverse of n × n matrices. F is taken once from the kernels that
A has far from the spectrum, A^l = s_l² n_{l-1} Σ_o gather_o(E D_b A^{l-1} D_b) + K_{l-1}, in which every answer of the
layers above is left out. It is the equation of A projected onto F: exact symmetries, signs of Im and the trace survive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg.lapack import dpstrf

from theory.arrays import HOST, Array, ArrayLibrary, identity, inverse, solve
from theory.signals import LayerSignals, NetworkSignals, Real

from .equations import Field, Response, TopBasis, quadratic_forms, weighted
from .sites import OnSets, SiteMaps, on_below, seen_by

WORTH = 0.4
"""A basis pays while it has fewer columns than this share of the sites that are on."""


def forward_kernels(signals: NetworkSignals) -> list[Real]:
    """A^l, l = 1..L-2, up to the factor -1/z that they have far from the spectrum, each (S_l, S_l)."""
    kernels = list[Real]()
    for index, layer in enumerate(signals.layers[:-1]):
        kernel = layer.inputs @ layer.inputs.T
        if index > 0:
            under = signals.layers[index - 1]
            below = SiteMaps(HOST, layer, under.n_pooled, "float64").gather(_gated_mean(kernels[-1], under)[None])[0]
            kernel += layer.variance * layer.n_in * below
        kernels.append(kernel)
    return kernels


def _gated_mean(kernel: Real, layer: LayerSignals) -> Real:
    """E D_b A D_b behind the pools: (S, S) -> (S', S')."""
    channels = layer.source.shape[1]
    mean = np.zeros((layer.n_pooled, layer.n_pooled))
    for source in layer.source.T:
        above = np.flatnonzero(source >= 0)
        here = source[above]
        mean[above[:, None], above] += kernel[here[:, None], here] / channels
    return mean


def leading_directions(kernel: Real, cut: float) -> Real:
    """Orthonormal eigenvectors of a positive semidefinite matrix with eigenvalues above `cut` of the largest, (n, r).

    By pivoted Cholesky decomposition, which leaves out a tenth of `cut` of the trace at most.
    """
    n = len(kernel)
    factor, pivots, rank, _ = dpstrf(kernel, tol=max(0.1 * cut * np.trace(kernel) / n, np.finfo(float).tiny), lower=1)
    columns = np.empty((n, rank))
    columns[pivots - 1] = np.tril(factor)[:, :rank]
    directions, values, _ = np.linalg.svd(columns, full_matrices=False)
    kept: Real = directions[:, values**2 > cut * values.max(initial=0.0) ** 2]
    return kept


class InnerLayer:
    """A layer 2 ≤ l ≤ L-2: A and B are matrices over its sites, or B lives on the top basis, or A on `directions`.

    n_below  S'_{l-1}, sites that it reads;  errors  δ̂_{l+1} as it sees them, (S'_l, |O_{l+1}| q)
    """

    def __init__(
        self,
        library: ArrayLibrary,
        layer: LayerSignals,
        n_below: int,
        errors: Real,
        basis: TopBasis | None,
        directions: Real | None,
        mean_field: bool,
        precision: str,
    ) -> None:
        self.library, self.xp, self.layer, self.basis = library, library.xp, layer, basis
        self.strength = layer.variance * layer.n_in
        self.precision = precision
        self.above = [np.flatnonzero(source >= 0) for source in layer.source.T]
        self.kernels: tuple[Array, Array] | None = None
        self.directions: Array | None = None
        if basis is not None:
            gated = on_below(layer, basis.columns)
            self.gated = OnSets(library, gated, precision)
            self.seen = library.asarray(seen_by(gated, layer.inputs), precision)
            self.maps = SiteMaps(library, layer, n_below, precision)
            return
        on = max((sites.size for sites in self.above), default=0)
        kept = directions if directions is not None and directions.shape[1] < WORTH * on else None
        if mean_field:
            below = layer.inputs @ layer.inputs.T
            self.kernels = library.asarray(below, precision), library.asarray(errors @ errors.T, precision)
            self.inputs = library.asarray(below if kept is None else kept.T @ below @ kept, precision)
        if kept is None:
            self.maps = SiteMaps(library, layer, n_below, precision)
        else:
            self.directions = library.asarray(kept, precision)
            self.shifted = library.asarray(layer.sent_below(kept, n_below), precision)
        self._neurons_of(layer, errors, kept)

    def _neurons_of(self, layer: LayerSignals, errors: Real, kept: Real | None) -> None:
        """What each neuron with a site that is on sees: its sites above and below the pools, x, δ̂ and F there."""
        put = self.library.asarray
        self.neurons = []
        for b, above in enumerate(self.above):
            if above.size:
                here = layer.source[above, b]
                single = self.kernels is None  # else all neurons share the forms of their weights
                x, e = (put(a, self.precision) if single else None for a in (layer.inputs[here], errors[above]))
                own = None if kept is None else put(kept[here], self.precision)
                self.neurons.append((b, put(above, "int64"), put(here, "int64"), x, e, own))
        self.projected_inputs = None if kept is None else put(kept.T @ layer.inputs, self.precision)
        self.columns = errors.shape[1]

    def respond(self, u: Array, links: Array, field: Field) -> Response:
        """From U of the layer below, ν = links (n_z, k or 1, |O| p or 1) and the field B of this layer."""
        xp = self.xp
        if self.basis is not None:
            return self._on_basis(self.strength * self.maps.gather(u), links, field)
        common = self.strength * (self._projected(u) if self.directions is not None else self.maps.gather(u))
        assert field.common is not None
        if self.kernels is None:
            return self._neurons(common, field.common, links, field.links)
        below, above = self.kernels  # in the mean field all neurons have the same A and B
        answer = self._neurons(common + links * self.inputs, field.common + field.links * above, None, None)
        t, forms = xp.tensordot(answer.T, below, axes=2), xp.tensordot(answer.U, above, axes=2)
        return Response(forms[:, None, None], U=answer.U, T=answer.T, t=t[:, None, None])

    def _projected(self, u: Array) -> Array:
        """F^T Σ_o gather_o(U) F = Σ_o F_o^T U F_o, F_o being F scattered from offset o: (n_z, r, r)."""
        assert self.directions is not None
        times, turn, r = self.library.real_times, self.xp.matrix_transpose, self.directions.shape[1]
        seen = times(turn(self.shifted), u)  # F_o^T U, offset after offset
        total = 0.0
        for first in range(0, self.shifted.shape[1], r):
            own = turn(self.shifted[:, first : first + r])
            total = total + times(own, turn(seen[:, first : first + r, :]))  # U is symmetric
        return total

    def _on_basis(self, common: Array, links: Array, field: Field) -> Response:
        """With C_b = V_b^T A_b V_b and B = V β V^T: V^T U V = (I - Cβ)^{-1} C and T = V (β + β V^T U V β) V^T."""
        assert self.basis is not None
        xp = self.xp
        form = self.gated.sandwich(common) + weighted(self.library, self.seen, links)
        beta = self.basis.links(field)
        unit = identity(xp, form.shape[-1], form)
        inside = solve(xp, unit - form * beta[:, :, None, :], form)
        kernel = beta[..., None] * (unit + inside * beta[:, :, None, :])
        forms = xp.linalg.diagonal(inside)
        return Response(
            forms * self.basis.square,
            quadratic=xp.mean(forms, axis=1),
            T=self.gated.mean_outer(kernel),
            t=quadratic_forms(self.library, self.seen, kernel),
        )

    def _neurons(self, below: Array, above: Array, nu: Array | None, mu: Array | None) -> Response:
        """Means over neurons of U and T, from A = below + Σ ν x x^T and B = above + Σ µ δ̂ δ̂^T.

        `below` is M on the directions kept, where some are left out. With the forms t and u of every weight where there
        are ν and µ, 0 for a neuron that is on nowhere.
        """
        xp, layer, n_z, k = self.xp, self.layer, below.shape[0], len(self.above)
        add, device = self.library.add_block, below.device
        mean_u = xp.zeros((n_z, layer.n_pooled, layer.n_pooled), dtype=below.dtype, device=device)
        mean_t = xp.zeros((n_z, layer.n_sites, layer.n_sites), dtype=below.dtype, device=device)
        t = [xp.zeros((n_z, layer.inputs.shape[1]), dtype=below.dtype, device=device)] * k
        u = [xp.zeros((n_z, self.columns), dtype=below.dtype, device=device)] * k
        for b, sites, here, x, e, f in self.neurons:
            a = below if f is not None else self.library.block(below, here)
            field = self.library.block(above, sites)
            if nu is not None and mu is not None:
                reach = x if f is None else self.projected_inputs
                a = a + weighted(self.library, reach, nu[:, b, :])
                field = field + weighted(self.library, e, mu[:, b, :])
            answer_u, answer_t = _neuron(xp, a, field) if f is None else _projected_neuron(self.library, a, field, f)
            mean_u = add(mean_u, sites, answer_u / k)
            mean_t = add(mean_t, here, answer_t / k)
            if nu is not None:
                t[b], u[b] = quadratic_forms(self.library, x, answer_t), quadratic_forms(self.library, e, answer_u)
        return Response(xp.stack(u, axis=1), U=mean_u, T=mean_t, t=xp.stack(t, axis=1))

    def calls(self) -> float:
        """Calls of the array library in one sweep that come neuron by neuron."""
        return 0.0 if self.basis is not None else 25.0 * len(self.neurons)

    def operations(self) -> float:
        """Floating-point operations of one sweep at one z, roughly."""
        if self.basis is not None:
            k, r, q = self.seen.shape
            return self.gated.operations + 12.0 * float(k * r * r * (r + q))
        on = np.array([sites.size for sites in self.above], dtype=np.float64)
        columns = 0 if self.kernels is not None else self.layer.inputs.shape[1] + self.columns
        if self.directions is None:
            return float(np.sum(32.0 * on**3 + 8.0 * on**2 * columns))
        r = self.directions.shape[1]
        projection = 4.0 * float(self.shifted.shape[0] ** 2 * self.shifted.shape[1])
        return projection + float(np.sum(24.0 * on**2 * r + 24.0 * r**3 + 8.0 * on**2 * columns))


def _neuron(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """U = Q A and T = B Q, Q = (I - A B)^{-1}, on the on-set of a neuron."""
    q = inverse(xp, identity(xp, a.shape[-1], a) - xp.matmul(a, b))
    return xp.matmul(q, a), xp.matmul(b, q)


def _projected_neuron(library: ArrayLibrary, m: Array, b: Array, f: Array) -> tuple[Array, Array]:
    """The same for A = F M F^T, with G = B F and symmetric B, M, K."""
    xp, times, turn = library.xp, library.real_times, library.xp.matrix_transpose
    turned = times(turn(f), b)  # G^T
    inside = times(turn(f), turn(turned))  # F^T B F
    kernel = solve(xp, identity(xp, f.shape[1], b) - xp.matmul(m, inside), m)
    answer = times(f, turn(times(f, kernel)))
    return answer, b + xp.matmul(turn(turned), xp.matmul(kernel, turned))
