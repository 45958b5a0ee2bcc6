r"""The linearised self-consistent equations of the Hessian (R4, R5, R6): a spectrum from signals and no weights.

H is the Schur complement onto V (a direction in weight space) of the Hessian of

    Φ = Σ_i { Σ_{l<L} t_l^T (W_l^T u_{l-1} + V_l^T x_{l-1} - u_l) + Σ_{l≥2} u_{l-1}^T V_l δ̂_l },   u_0 = 0,

where the tangent signals t_l, u_l of a neuron live on the sites where it is on. A weight appears twice: as W it
couples t_b of the neuron it enters to u_a of the neuron it leaves, as V it couples to t_b through the input
x_a and to u_a through the back-propagated δ̂_b. Replacing W by symmetric randomness of variance s_l² gives, for
a neuron with on-set σ,

    Q = (I - A_σσ B_σσ)^{-1},   T = B_σσ Q,   U = Q A_σσ,
    A_b = s_l² n_{l-1} Σ_o gather_o(U^{l-1}) + Σ_{o,a} ν_{oab} x_{oa} x_{oa}^T,               A^1 = -K_0/z,
    B_a = s_{l+1}² n_{l+1} Σ_o scatter_o(T^{l+1}) + Σ_{o,b} µ_{oab} δ̂_{ob} δ̂_{ob}^T,          B^{L-1} = -c c^T/z,

U^l, T^l being means over the neurons of layer l. What a weight contributes as V depends on the closure:

*mean field* (R4, R5; theory page): ν = µ = g_l = -1/(z + ⟨t⟩ + ⟨u⟩), with t = x^T T_b x, u = δ̂^T U_a δ̂ of every weight
and ⟨·⟩ the mean over the layer's weights.

*cavity* (R6; ours): every weight for itself, and never reacting to itself. With t' = t/(1 + νt), u' = u/(1 + µu), the
same forms of a network in which this V is absent (Sherman-Morrison),

    µ = -1/(z + t'),   ν = -1/(z + u'),   g = -1/(z + t' + u').

The x_a and δ̂_b are known vectors, few of them, so a rank-one term is no small part of the sum it stands in: the mean
field is right for widths beyond the number of directions that the signals have, the cavity for any.

Cost: A^1 has the rank of the inputs and B^{L-1} that of the last layer's offsets, and where layer L-1 is dense
B^{L-2} has rank n_{L-1} only, so that L = 3 needs no matrix over sites at all and L = 4 needs a single one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .signals import Complex, Index, LayerSignals, NetworkSignals, Real, gather, scatter, scatter_columns

CLOSURES = ("mean_field", "cavity")
RANK_CUT = 1e-12
"""Singular values below this share of the largest are rounding."""


def times(matrix: Complex, real: Real) -> Complex:
    """Complex @ real without promoting the real factor."""
    product: Complex = np.matmul(matrix.real, real) + 1j * np.matmul(matrix.imag, real)
    return product


def real_times(real: Real, matrix: Complex) -> Complex:
    product: Complex = np.matmul(real, matrix.real) + 1j * np.matmul(real, matrix.imag)
    return product


def turn(columns: Real) -> Real:
    """(k, n, r) -> (k, r, n)."""
    return columns.transpose(0, 2, 1)


@dataclass(frozen=True)
class OnSets:
    """Columns seen by each channel where it is on: ``sites`` k index arrays, ``columns`` k arrays (sites on, r).

    Half of the sites are off as a rule; leaving them out saves three quarters of a product of two of them.
    """

    sites: tuple[Index, ...]
    columns: tuple[Real, ...]

    def sandwich(self, matrix: Complex) -> Complex:
        """V_b^T M V_b of every channel: M (n_z, n, n) -> (n_z, k, r, r)."""
        forms = np.empty((len(matrix), len(self.sites), *(2 * self.columns[0].shape[1:])), dtype=np.complex128)
        for b, (sites, v) in enumerate(zip(self.sites, self.columns, strict=True)):
            forms[:, b] = real_times(v.T, times(matrix[:, sites[:, None], sites], v))
        return forms

    def mean_outer(self, matrices: Complex, n: int) -> Complex:
        """(1/k) Σ_b V_b M_b V_b^T: M (n_z, k, r, r) -> (n_z, n, n)."""
        mean = np.zeros((len(matrices), n, n), dtype=np.complex128)
        for b, (sites, v) in enumerate(zip(self.sites, self.columns, strict=True)):
            mean[:, sites[:, None], sites] += times(real_times(v, matrices[:, b]), v.T) / len(self.sites)
        return mean

    def seen(self, columns: Real) -> Real:
        """V_b^T F of every channel: F (n, q) -> (k, r, q)."""
        return np.stack([v.T @ columns[sites] for sites, v in zip(self.sites, self.columns, strict=True)])

    @property
    def operations(self) -> float:
        """Of a sandwich and a mean outer product at one z."""
        return float(sum(8.0 * v.shape[0] * v.shape[1] * sum(v.shape) for v in self.columns))


def on_below(layer: LayerSignals, columns: Real) -> OnSets:
    """Columns (S'_l, r) behind the pools, where each channel's own sites S_l read them."""
    above = [np.flatnonzero(source >= 0) for source in layer.source.T]
    sites = tuple(source[a] for source, a in zip(layer.source.T, above, strict=True))
    return OnSets(sites, tuple(columns[a] for a in above))


def on_above(layer: LayerSignals, columns: Real) -> OnSets:
    """Columns (S_l, r) before the gates, where they come out behind each channel's pools on S'_l."""
    above = tuple(np.flatnonzero(source >= 0) for source in layer.source.T)
    return OnSets(above, tuple(columns[source[a]] for source, a in zip(layer.source.T, above, strict=True)))


def weighted(columns: Real, weights: Complex) -> Complex:
    """Σ_j w_bj v_bj v_bj^T: v (k, n, j), w (n_z, k or 1, j or 1) -> (n_z, k, n, n)."""
    if weights.shape[1:] == (1, 1):  # the mean field: one product serves every z
        shared: Complex = weights[:, :, :, None] * np.matmul(columns, turn(columns))
        return shared
    return times(columns * weights[:, :, None, :], turn(columns))


def quadratic_forms(columns: Real, matrices: Complex) -> Complex:
    """v_bj^T M_b v_bj: v (k, n, j), M (n_z, k, n, n) -> (n_z, k, j)."""
    found: Complex = (times(matrices, columns) * columns).sum(axis=-2)
    return found


def minus_inverse(z: Complex, field: Complex) -> Complex:
    """-(z + field)^{-1}, field (n_z, k, r, r)."""
    return np.asarray(-np.linalg.inv(z[:, None, None, None] * np.eye(field.shape[-1]) + field), dtype=np.complex128)


def independent_columns(columns: Real) -> Real:
    """F' with F' F'^T = F F^T and as many columns as F has rank, at most those of F: (n, p) -> (n, rank)."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    kept = values > RANK_CUT * values.max(initial=0.0)
    independent: Real = left[:, kept] * values[kept]
    return independent


@dataclass(frozen=True)
class Response:
    """What a hidden layer answers: ``U`` its mean over neurons (n_z, S', S'), or ``quadratic`` (n_z, r), the diagonal
    of V^T U V where nothing else of it is needed; ``T`` (n_z, S, S); ``t`` (n_z, k, |O_l| p) and ``u`` (n_z, k,
    |O_{l+1}| q), the forms of the weights that enter and leave; (n_z, 1, 1) where their sum over columns, averaged over
    neurons, is all that the mean field needs."""

    u: Complex
    U: Complex | None = None
    quadratic: Complex | None = None
    T: Complex | None = None
    t: Complex | None = None


@dataclass(frozen=True)
class Field:
    """B of a layer: the part that all its neurons share, dense ``common`` (n_z, S', S') or ``diagonal`` (n_z, r) in the
    basis V, and ``links`` µ (n_z, k or 1, |O_{l+1}| q or 1)."""

    links: Complex
    common: Complex | None = None
    diagonal: Complex | None = None


class TopBasis:
    """B^{L-2} on the columns v = scatter_o(D_b c) of the last hidden layer, where they are fewer than its sites.

    ``columns`` (S'_{L-2}, r), and ``ratio`` q (r,) with δ̂ = q v: a top layer with one offset has δ̂_b = w_b D_b c.
    """

    def __init__(self, columns: Real, errors: Real) -> None:
        size = np.sum(columns**2, axis=0)
        self.columns = columns
        self.ratio: Real = np.divide(np.sum(columns * errors, axis=0), size, out=np.zeros_like(size), where=size > 0)

    @classmethod
    def of(cls, signals: NetworkSignals) -> TopBasis | None:
        """The basis of a network where it pays: one offset in the last layer, fewer columns than sites."""
        top, below = signals.layers[-1], signals.layers[-2]
        channels = top.source.shape[1]
        if signals.top.shape[1] != 1 or top.errors is None or top.n_offsets * channels >= below.n_pooled:
            return None
        gated = np.zeros((top.n_sites, channels))
        above, channel = np.nonzero(top.source >= 0)
        gated[top.source[above, channel], channel] = signals.top[above, 0]
        columns = scatter_columns(gated, top.offsets, below.n_pooled)
        if columns.shape != top.errors.shape:
            return None
        basis = cls(columns, top.errors)
        exact = np.abs(top.errors - basis.ratio * columns).max() <= 1e-10 * np.abs(top.errors).max(initial=0.0)
        return basis if exact else None

    def links(self, field: Field) -> Complex:
        """β of every neuron, (n_z, k or 1, r)."""
        assert field.diagonal is not None
        total: Complex = field.diagonal[:, None, :] + field.links * self.ratio**2
        return total


class FirstLayer:
    """Layer 1, A = -F F^T/z: P_b = -(z + F_b^T B F_b)^{-1} is the resolvent on the weights into neuron b.

    On a basis V of fewer columns than F has, with Y_b = F_b^T V, B = V β V^T and G_b = Y_b^T Y_b, the smaller system
    K_b = -(z + β G_b)^{-1} says the same: V^T U V = Y^T P Y = G K and tr P = tr K - (p - r)/z.
    """

    def __init__(self, layer: LayerSignals, errors: Real, basis: TopBasis | None) -> None:
        inputs = independent_columns(layer.inputs)
        self.idle = layer.inputs.shape[1] - inputs.shape[1]  # directions of these weights that no input reaches
        self.n_pooled = layer.n_pooled
        self.gated = on_above(layer, inputs)
        self.basis = basis
        self.seen = self.gated.seen(errors if basis is None else basis.columns)
        self.gram = np.matmul(turn(self.seen), self.seen) if basis is not None else None

    def respond(self, z: Complex, field: Field) -> tuple[Response, Complex]:
        """(response, tr P averaged over neurons (n_z,))."""
        if self.basis is not None:
            return self._on_basis(z, self.basis, self.basis.links(field))
        assert field.common is not None
        resolvent = minus_inverse(z, self.gated.sandwich(field.common) + weighted(self.seen, field.links))
        response = Response(quadratic_forms(self.seen, resolvent), U=self.gated.mean_outer(resolvent, self.n_pooled))
        return response, np.trace(resolvent, axis1=2, axis2=3).mean(axis=1)

    def _on_basis(self, z: Complex, basis: TopBasis, beta: Complex) -> tuple[Response, Complex]:
        p, r = self.seen.shape[1:]
        if r < p:
            assert self.gram is not None
            kernel = minus_inverse(z, beta[..., None] * self.gram)
            forms: Complex = np.sum(self.gram * kernel.swapaxes(-1, -2), axis=-1)
            trace = np.trace(kernel, axis1=2, axis2=3).mean(axis=1) - (p - r) / z
        else:
            resolvent = minus_inverse(z, weighted(self.seen, beta))
            forms = quadratic_forms(self.seen, resolvent)
            trace = np.trace(resolvent, axis1=2, axis2=3).mean(axis=1)
        return Response(forms * basis.ratio**2, quadratic=forms.mean(axis=1)), trace


class TopLayer:
    """Layer L-1, B = -c c^T/z: R_b = -(z + c^T D_b A_b D_b c)^{-1} is the resolvent on the last weights of neuron b."""

    def __init__(self, layer: LayerSignals, top: Real) -> None:
        self.layer = layer
        self.gated = on_below(layer, top)
        self.seen = self.gated.seen(layer.inputs)

    def respond(self, z: Complex, below: Response, links: Complex) -> tuple[Complex, Complex]:
        """(R (n_z, k, r, r), t (n_z, k, |O| p)) from the layer below and ν of the weights that enter."""
        layer, k = self.layer, len(self.gated.sites)
        strength = layer.variance * layer.n_in
        if below.quadratic is not None:
            summed = below.quadratic.reshape(len(z), layer.n_offsets, k).sum(axis=1)
            form = (strength * summed)[:, :, None, None]
        else:
            assert below.U is not None
            form = self.gated.sandwich(strength * gather(below.U, layer.offsets))
        resolvent = minus_inverse(z, form + weighted(self.seen, links))
        return resolvent, quadratic_forms(self.seen, resolvent)

    def field(self, resolvent: Complex, links: Complex, basis: TopBasis | None, n_pooled: int) -> Field:
        """B^{L-2} that the resolvents R of the last weights and µ of this layer's weights make."""
        layer = self.layer
        if basis is not None:
            return Field(links, diagonal=layer.variance * np.tile(resolvent[:, :, 0, 0], (1, layer.n_offsets)))
        spread = scatter(self.gated.mean_outer(resolvent, layer.n_sites), layer.offsets, n_pooled)
        return Field(links, common=layer.variance * layer.n_out * spread)
