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

import numpy as np
from scipy.linalg.lapack import dpstrf

from .linearised import (
    Field,
    Response,
    TopBasis,
    on_below,
    quadratic_forms,
    real_times,
    times,
    weighted,
)
from .signals import Complex, LayerSignals, NetworkSignals, Real, gather, scatter_columns

WORTH = 0.4
"""A basis pays while it has fewer columns than this share of the sites that are on."""


def forward_kernels(signals: NetworkSignals) -> list[Real]:
    """A^l, l = 1..L-2, up to the factor -1/z that they have far from the spectrum, each (S_l, S_l)."""
    kernels = list[Real]()
    for index, layer in enumerate(signals.layers[:-1]):
        kernel = layer.inputs @ layer.inputs.T
        if index > 0:
            below = gather(_gated_mean(kernels[-1], signals.layers[index - 1]), layer.offsets)
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
        layer: LayerSignals,
        n_below: int,
        errors: Real,
        basis: TopBasis | None,
        directions: Real | None,
        mean_field: bool,
    ) -> None:
        self.layer, self.errors, self.basis = layer, errors, basis
        self.above = [np.flatnonzero(source >= 0) for source in layer.source.T]
        on = max((sites.size for sites in self.above), default=0)
        pays = basis is None and directions is not None and directions.shape[1] < WORTH * on
        self.directions = directions if pays else None
        self.kernels = (layer.inputs @ layer.inputs.T, errors @ errors.T) if mean_field and basis is None else None
        if self.directions is not None:
            self.shifted = scatter_columns(self.directions, layer.offsets, n_below)
        if basis is not None:
            self.gated = on_below(layer, basis.columns)
            self.seen = self.gated.seen(layer.inputs)

    def respond(self, u: Complex, links: Complex, field: Field) -> Response:
        """From U of the layer below, ν = links (n_z, k or 1, |O| p or 1) and the field B of this layer."""
        layer, f = self.layer, self.directions
        strength = layer.variance * layer.n_in
        if self.basis is not None:
            return self._on_basis(strength * gather(u, layer.offsets), links, field)
        common = strength * (gather(u, layer.offsets) if f is None else self._projected(u))
        assert field.common is not None
        if self.kernels is None:
            return self._neurons(common, field.common, links, field.links)
        below, above = self.kernels  # in the mean field all neurons have the same A and B
        inputs = below if f is None else f.T @ below @ f
        answer = self._neurons(common + links * inputs, field.common + field.links * above, None, None)
        assert answer.U is not None
        assert answer.T is not None
        t, u_sum = np.tensordot(answer.T, below, axes=2), np.tensordot(answer.U, above, axes=2)
        return Response(u_sum[:, None, None], U=answer.U, T=answer.T, t=t[:, None, None])

    def _projected(self, u: Complex) -> Complex:
        """F^T Σ_o gather_o(U) F = Σ_o F_o^T U F_o, F_o being F scattered from offset o: (n_z, r, r)."""
        assert self.directions is not None
        r = self.directions.shape[1]
        seen = times(u, self.shifted)
        total = np.zeros((len(u), r, r), dtype=np.complex128)
        for first in range(0, self.shifted.shape[1], r):
            total += real_times(self.shifted[:, first : first + r].T, seen[:, :, first : first + r])
        return total

    def _on_basis(self, common: Complex, links: Complex, field: Field) -> Response:
        """With C_b = V_b^T A_b V_b and B = V β V^T: V^T U V = (I - Cβ)^{-1} C and T = V (β + β V^T U V β) V^T."""
        assert self.basis is not None
        form = self.gated.sandwich(common) + weighted(self.seen, links)
        beta = self.basis.links(field)
        identity = np.eye(form.shape[-1])
        inside = np.linalg.solve(identity - form * beta[:, :, None, :], form)
        kernel = beta[..., None] * (identity + inside * beta[:, :, None, :])
        forms: Complex = np.diagonal(inside, axis1=-2, axis2=-1)
        return Response(
            forms * self.basis.ratio**2,
            quadratic=forms.mean(axis=1),
            T=self.gated.mean_outer(kernel, self.layer.n_sites),
            t=quadratic_forms(self.seen, kernel),
        )

    def _neurons(self, below: Complex, above: Complex, nu: Complex | None, mu: Complex | None) -> Response:
        """Means over neurons of U and T, from A = below + Σ ν x x^T and B = above + Σ µ δ̂ δ̂^T.

        `below` is M on the directions kept, where some are left out. With the forms t and u of every weight where there
        are ν and µ.
        """
        layer, n_z, k = self.layer, len(below), len(self.above)
        mean_u = np.zeros((n_z, layer.n_pooled, layer.n_pooled), dtype=np.complex128)
        mean_t = np.zeros((n_z, layer.n_sites, layer.n_sites), dtype=np.complex128)
        t = np.zeros((n_z, k, layer.inputs.shape[1]), dtype=np.complex128)
        u = np.zeros((n_z, k, self.errors.shape[1]), dtype=np.complex128)
        f = self.directions
        for b, sites in enumerate(self.above):
            if sites.size == 0:
                continue
            here = layer.source[sites, b]
            e = self.errors[sites]
            a, field = below if f is not None else below[:, here[:, None], here], above[:, sites[:, None], sites]
            if nu is not None and mu is not None:
                x = layer.inputs[here] if f is None else f.T @ layer.inputs
                a = a + times(x * nu[:, b, None, :], x.T)
                field += times(e * mu[:, b, None, :], e.T)
            answer_u, answer_t = _neuron(a, field) if f is None else _projected_neuron(a, field, f[here])
            mean_u[:, sites[:, None], sites] += answer_u / k
            mean_t[:, here[:, None], here] += answer_t / k
            if nu is not None:
                t[:, b] = quadratic_forms(layer.inputs[here], answer_t)
                u[:, b] = quadratic_forms(e, answer_u)
        return Response(u, U=mean_u, T=mean_t, t=t)

    def operations(self) -> float:
        """Floating-point operations of one sweep at one z, roughly."""
        if self.basis is not None:
            k, r, q = self.seen.shape
            return self.gated.operations + 12.0 * float(k * r * r * (r + q))
        on = np.array([sites.size for sites in self.above], dtype=np.float64)
        columns = 0 if self.kernels is not None else self.layer.inputs.shape[1] + self.errors.shape[1]
        if self.directions is None:
            return float(np.sum(32.0 * on**3 + 8.0 * on**2 * columns))
        r = self.directions.shape[1]
        projection = 4.0 * float(len(self.shifted) ** 2 * self.shifted.shape[1])
        return projection + float(np.sum(24.0 * on**2 * r + 24.0 * r**3 + 8.0 * on**2 * columns))


def _neuron(a: Complex, b: Complex) -> tuple[Complex, Complex]:
    """U = Q A and T = B Q, Q = (I - A B)^{-1}, on the on-set of a neuron."""
    q = np.linalg.inv(np.eye(a.shape[-1]) - a @ b)
    return q @ a, b @ q


def _projected_neuron(m: Complex, b: Complex, f: Real) -> tuple[Complex, Complex]:
    """The same for A = F M F^T."""
    g = times(b, f)
    kernel = np.asarray(np.linalg.solve(np.eye(f.shape[1]) - m @ real_times(f.T, g), m), dtype=np.complex128)
    return times(real_times(f, kernel), f.T), b + (g @ kernel) @ g.swapaxes(-1, -2)
