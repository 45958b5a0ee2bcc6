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

*mean field* (R4w, R5): ν = µ = g_l = -1/(z + ⟨t⟩ + ⟨u⟩), with t = x^T T_b x, u = δ̂^T U_a δ̂ of every weight
and ⟨·⟩ the mean over the layer's weights.

*cavity* (R4, R6; ours): every weight for itself, never reacting to itself. With t' = t/(1 + νt), u' = u/(1 + µu), the
same forms of a network in which this V is absent (Sherman-Morrison; the cavity method [Rogers2008]),

    µ = -1/(z + t'),   ν = -1/(z + u'),   g = -1/(z + t' + u').

The x_a and δ̂_b are known vectors, few of them, so a rank-one term is no small part of the sum it stands in: the mean
field is right for widths beyond the number of directions that the signals have, the cavity for any.

Cost: A^1 has the rank of the inputs and B^{L-1} that of the last layer's offsets, and where layer L-1 is dense
B^{L-2} has rank n_{L-1} only, so that L = 3 needs no matrix over sites at all and L = 4 needs a single one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from theory.arrays import Array, ArrayLibrary, identity, inverse
from theory.shown import shown
from theory.signals import LayerSignals, NetworkSignals, Real

from .sites import OnSets, SiteMaps, on_above, on_below, seen_by, turn

CLOSURES = ("mean_field", "cavity")
RANK_CUT = 1e-12
"""Singular values below this share of the largest are rounding."""


def weighted(library: ArrayLibrary, columns: Array, weights: Array) -> Array:
    """Σ_j w_bj v_bj v_bj^T: v (k, n, j), w (n_z, k or 1, j or 1) -> (n_z, k, n, n)."""
    turned = library.xp.matrix_transpose(columns)
    if weights.shape[1:] == (1, 1):  # the mean field: one product serves every z
        return weights[:, :, :, None] * library.xp.matmul(columns, turned)
    return library.real_times(columns, weights[..., None] * turned)


def quadratic_forms(library: ArrayLibrary, columns: Array, matrices: Array) -> Array:
    """v_bj^T M_b v_bj: v (k, n, j), M (n_z, k, n, n) -> (n_z, k, j)."""
    turned = library.xp.matrix_transpose(columns)
    return library.xp.sum(library.real_times(turned, matrices) * turned, axis=-1)


def minus_inverse(xp: Any, z: Array, field: Array) -> Array:
    """-(z + field)^{-1}, field (n_z, k, r, r)."""
    point = xp.reshape(z, (-1, 1, 1, 1))
    return -inverse(xp, point * identity(xp, field.shape[-1], field) + field)


def independent_columns(columns: Real) -> Real:
    """F' with F' F'^T = F F^T and as many columns as F has rank, at most those of F: (n, p) -> (n, rank)."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    kept = values > RANK_CUT * values.max(initial=0.0)
    independent: Real = left[:, kept] * values[kept]
    return independent


@shown
@dataclass(frozen=True)
class Response:
    """What a hidden layer answers: ``U`` its mean over neurons (n_z, S', S'), or ``quadratic`` (n_z, r), the diagonal
    of V^T U V where nothing else of it is needed; ``T`` (n_z, S, S); ``t`` (n_z, k, |O_l| p) and ``u`` (n_z, k,
    |O_{l+1}| q), the forms of the weights that enter and leave; (n_z, 1, 1) where their sum over columns, averaged over
    neurons, is all that the mean field needs."""

    u: Array
    U: Array | None = None
    quadratic: Array | None = None
    T: Array | None = None
    t: Array | None = None


@shown
@dataclass(frozen=True)
class Field:
    """B of a layer: the part that all its neurons share, dense ``common`` (n_z, S', S') or ``diagonal`` (n_z, r) in the
    basis V, and ``links`` µ (n_z, k or 1, |O_{l+1}| q or 1)."""

    links: Array
    common: Array | None = None
    diagonal: Array | None = None


class TopBasis:
    """B^{L-2} on the columns v = scatter_o(D_b c) of the last hidden layer, where they are fewer than its sites.

    ``columns`` (S'_{L-2}, r), and ``ratio`` q (r,) with δ̂ = q v: a top layer with one offset has δ̂_b = w_b D_b c.
    """

    def __init__(self, library: ArrayLibrary, columns: Real, errors: Real, precision: str) -> None:
        size = np.sum(columns**2, axis=0)
        self.columns = columns
        self.ratio: Real = np.divide(np.sum(columns * errors, axis=0), size, out=np.zeros_like(size), where=size > 0)
        self.square = library.asarray(self.ratio**2, precision)

    @classmethod
    def of(cls, signals: NetworkSignals, library: ArrayLibrary, precision: str) -> TopBasis | None:
        """The basis of a network where it pays: one offset in the last layer, fewer columns than sites."""
        top, below = signals.layers[-1], signals.layers[-2]
        channels = top.source.shape[1]
        if signals.top.shape[1] != 1 or top.errors is None or top.n_offsets * channels >= below.n_pooled:
            return None
        gated = on_below(top, signals.top)[:, :, 0].T
        columns = top.sent_below(gated, below.n_pooled)
        if columns.shape != top.errors.shape:
            return None
        basis = cls(library, columns, top.errors, precision)
        exact = np.abs(top.errors - basis.ratio * columns).max() <= 1e-10 * np.abs(top.errors).max(initial=0.0)
        return basis if exact else None

    def links(self, field: Field) -> Array:
        """β of every neuron, (n_z, k or 1, r)."""
        assert field.diagonal is not None
        return field.diagonal[:, None, :] + field.links * self.square


class FirstLayer:
    """Layer 1, A = -F F^T/z: P_b = -(z + F_b^T B F_b)^{-1} is the resolvent on the weights into neuron b.

    On a basis V of fewer columns than F has, with Y_b = F_b^T V, B = V β V^T and G_b = Y_b^T Y_b, the smaller system
    K_b = -(z + β G_b)^{-1} says the same: V^T U V = Y^T P Y = G K and tr P = tr K - (p - r)/z.

    inputs  `independent_columns` of the layer's own
    """

    def __init__(
        self,
        library: ArrayLibrary,
        layer: LayerSignals,
        inputs: Real,
        errors: Real,
        basis: TopBasis | None,
        precision: str,
    ) -> None:
        self.library, self.xp = library, library.xp
        self.idle = layer.inputs.shape[1] - inputs.shape[1]  # directions of these weights that no input reaches
        gated = on_above(layer, inputs)
        self.basis = basis
        seen = seen_by(gated, errors if basis is None else basis.columns)
        self.seen = library.asarray(seen, precision)
        self.gated = OnSets(library, gated, precision) if basis is None else None
        self.gram = library.asarray(np.matmul(turn(seen), seen), precision) if basis is not None else None

    def respond(self, z: Array, field: Field) -> tuple[Response, Array]:
        """(response, tr P averaged over neurons (n_z,))."""
        xp = self.xp
        if self.basis is not None:
            return self._on_basis(z, self.basis, self.basis.links(field))
        assert field.common is not None
        assert self.gated is not None
        resolvent = minus_inverse(
            xp, z, self.gated.sandwich(field.common) + weighted(self.library, self.seen, field.links)
        )
        response = Response(quadratic_forms(self.library, self.seen, resolvent), U=self.gated.mean_outer(resolvent))
        return response, xp.mean(xp.linalg.trace(resolvent), axis=1)

    def _on_basis(self, z: Array, basis: TopBasis, beta: Array) -> tuple[Response, Array]:
        xp, (p, r) = self.xp, self.seen.shape[1:]
        if r < p:
            assert self.gram is not None
            kernel = minus_inverse(xp, z, beta[..., None] * self.gram)
            forms = xp.sum(self.gram * xp.matrix_transpose(kernel), axis=-1)
            trace = xp.mean(xp.linalg.trace(kernel), axis=1) - (p - r) / z
        else:
            resolvent = minus_inverse(xp, z, weighted(self.library, self.seen, beta))
            forms = quadratic_forms(self.library, self.seen, resolvent)
            trace = xp.mean(xp.linalg.trace(resolvent), axis=1)
        return Response(forms * basis.square, quadratic=xp.mean(forms, axis=1)), trace


class TopLayer:
    """Layer L-1, B = -c c^T/z: R_b = -(z + c^T D_b A_b D_b c)^{-1} is the resolvent on the last weights of neuron b."""

    def __init__(self, library: ArrayLibrary, layer: LayerSignals, n_below: int, top: Real, precision: str) -> None:
        self.library, self.xp, self.layer = library, library.xp, layer
        self.maps = SiteMaps(library, layer, n_below, precision)
        gated = on_below(layer, top)
        self.gated = OnSets(library, gated, precision)
        self.seen = library.asarray(seen_by(gated, layer.inputs), precision)

    def respond(self, z: Array, below: Response, links: Array) -> tuple[Array, Array]:
        """(R (n_z, k, r, r), t (n_z, k, |O| p)) from the layer below and ν of the weights that enter."""
        xp, layer, k = self.xp, self.layer, self.layer.source.shape[1]
        strength = layer.variance * layer.n_in
        if below.quadratic is not None:
            summed = xp.sum(xp.reshape(below.quadratic, (z.shape[0], layer.n_offsets, k)), axis=1)
            form = (strength * summed)[:, :, None, None]
        else:
            assert below.U is not None
            form = self.gated.sandwich(strength * self.maps.gather(below.U))
        resolvent = minus_inverse(xp, z, form + weighted(self.library, self.seen, links))
        return resolvent, quadratic_forms(self.library, self.seen, resolvent)

    def field(self, resolvent: Array, links: Array, basis: TopBasis | None) -> Field:
        """B^{L-2} that the resolvents R of the last weights and µ of this layer's weights make."""
        layer = self.layer
        if basis is not None:
            diagonal = self.xp.tile(resolvent[:, :, 0, 0], (1, layer.n_offsets))
            return Field(links, diagonal=layer.variance * diagonal)
        spread = self.maps.scatter(self.gated.mean_outer(resolvent))
        return Field(links, common=layer.variance * layer.n_out * spread)
