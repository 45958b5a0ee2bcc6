"""One network's signals under one closure as a map on its unknowns: a sweep through the layers, and its fixed point.

The unknowns of one z are the resolvents R of the last layer's weights, the shared part of B^l for 1 ≤ l ≤ L-3, and µ of
every weight of layers 2..L-1 (one number per layer in the mean field). One sweep goes up through the layers, where
each answers to the A made below it and to the B it was handed, then down again. It maps the set Im R, Im B, Im µ ≥ 0
into itself. Its fixed points there form a connected manifold [Vigue1985]; that they are a single point is observed and
not proved. It is found by `solve_fixed_point`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from theory.arrays import HOST, Array, ArrayLibrary, identity
from theory.signals import Complex, NetworkSignals
from theory.solvers.fixed_point import FixedPoint, solve_fixed_point

from .equations import CLOSURES, Field, FirstLayer, Response, TopBasis, TopLayer, minus_inverse
from .factors import Factors
from .inner_layer import InnerLayer
from .sites import SiteMaps

COMPLEX = {"float64": "complex128", "float32": "complex64"}
DESCENT = 4.0
"""Ratio of successive Im z when a point is approached from above."""
ROUGH = 0.05
"""Tolerance of the points on that approach."""
NOTHING = 1e-40
"""An rms below this, with signals of order one, is rounding of H = 0."""


def unknown_shapes(signals: NetworkSignals, closure: str) -> list[tuple[int, ...]]:
    """Shapes of the blocks R, B^1.., µ_2.. that are iterated at one z."""
    layers, one = signals.layers, closure == "mean_field"
    k, r = layers[-1].source.shape[1], signals.top.shape[1]
    shapes: list[tuple[int, ...]] = [(k, r, r)]
    shapes += [(layer.n_pooled, layer.n_pooled) for layer in layers[: max(len(layers) - 2, 0)]]
    return shapes + [(1, 1) if one else (y.n_out, y.inputs.shape[1]) for y in layers[1:]]


def secants(n_unknowns: int) -> int:
    """That the fixed point keeps: half as many where they are long."""
    return 8 if n_unknowns < 200_000 else 4


def bytes_per_point(signals: NetworkSignals, closure: str) -> float:
    """Working memory of one z, from shapes alone: the secants of its unknowns and the largest arrays of a sweep.

    The factors are fitted to measured peaks: it is 0.8 to 1.6 times those (`benchmarks/memory.py`).
    """
    layers = signals.layers
    unknowns = sum(math.prod(shape) for shape in unknown_shapes(signals, closure))
    first = layers[0].source.shape[1] * min(layers[0].inputs.shape) * _errors(signals, 1).shape[1]
    arrays = [first, *(layer.n_sites**2 for layer in layers[1:-1]), *(layer.n_pooled**2 for layer in layers[:-2])]
    return float(16.0 * (6.0 * secants(unknowns) * unknowns + 8.0 * max(arrays)))


class LinearisedEquation:
    """The map of one network's signals under one closure; see `theory.linearised.equations` for the equations.

    Everything inside is in units in which the signals are of order one (`NetworkSignals.normalised`): ``unit`` is κ,
    and a point z of the spectrum is κ z here. `signals` are those normalised ones. `rms` alone is in the units of z.

    cut        inner layers keep those directions of their forward kernels that exceed this share of the largest; 0: all
    library    where the equation is swept: its operands are moved there once, states stay there
    precision  of the operands and states: "float64" or "float32"
    factors    those of another equation of the same normalised signals and cut
    """

    def __init__(
        self,
        signals: NetworkSignals,
        closure: str,
        cut: float = 0.0,
        library: ArrayLibrary = HOST,
        precision: str = "float64",
        factors: Factors | None = None,
    ) -> None:
        _check(signals, closure, cut)
        signals, self.unit = signals.normalised()
        self.signals, self.closure, self.library, self.xp = signals, closure, library, library.xp
        self.cut, self.precision = cut, precision
        self.factors = Factors.of(signals, cut) if factors is None else factors
        layers = signals.layers
        self.depth = len(layers) + 1
        self.basis = TopBasis.of(signals, library, precision) if self.depth > 2 else None
        below = layers[-2].n_pooled if self.depth > 2 else 0
        self.top = TopLayer(library, layers[-1], below, signals.top, precision)
        self.first = FirstLayer(
            library, layers[0], self.factors.inputs, _errors(signals, 1),
            self.basis if self.depth == 3 else None, precision,
        )  # fmt: skip
        one = closure == "mean_field"
        self.inner = []
        for i, kept in zip(range(1, self.depth - 2), self.factors.directions, strict=True):
            basis, errors = self.basis if i == self.depth - 3 else None, _errors(signals, i + 1)
            self.inner.append(
                InnerLayer(library, layers[i], layers[i - 1].n_pooled, errors, basis, kept, one, precision)
            )
        # The fields B^1..B^{L-3} are those that inner layers send down.
        self.maps = [SiteMaps(library, layers[i], layers[i - 1].n_pooled, precision) for i in range(1, self.depth - 2)]
        self.shapes = unknown_shapes(signals, closure)
        self.ends = np.cumsum([math.prod(shape) for shape in self.shapes])

    @cached_property
    def single(self) -> LinearisedEquation:
        """The same equation in single precision: half the time and memory of a sweep."""
        return LinearisedEquation(self.signals, self.closure, self.cut, self.library, "float32", self.factors)

    def doubled(self, state: Array, z: Complex) -> Array:
        """States of `single` in this precision; where they are of no use, those of `start`."""
        xp = self.xp
        wide = xp.astype(state, xp.complex128)
        usable = self.library.to_numpy(xp.all(xp.isfinite(wide), axis=1))
        if usable.all():
            return wide
        return xp.where(self.library.asarray(usable[:, None], "bool"), wide, self.start(z))

    @property
    def n_unknowns(self) -> int:
        """Numbers iterated at one z."""
        return int(self.ends[-1])

    def split(self, state: Array) -> list[Array]:
        """The blocks R, B^1.., µ_2.. of states (n_z, n_unknowns)."""
        starts = [0, *self.ends[:-1]]
        parts = [state[:, int(first) : int(end)] for first, end in zip(starts, self.ends, strict=True)]
        return [self.xp.reshape(p, (state.shape[0], *shape)) for p, shape in zip(parts, self.shapes, strict=True)]

    def _join(self, blocks: Sequence[Array]) -> Array:
        return self.xp.concat([self.xp.reshape(block, (block.shape[0], -1)) for block in blocks], axis=1)

    def start(self, z: Complex) -> Array:
        """Unknowns of a network that answers -1/z everywhere, far from the spectrum: z (n_z,) on the host."""
        xp, far = self.xp, -1.0 / self._point(z)
        blocks = []
        for index, shape in enumerate(self.shapes):
            constant = xp.zeros_like if self._is_field(index) else xp.ones_like
            like = identity(xp, shape[-1], far) if index == 0 else constant(far[:1])
            block = xp.reshape(far, (-1, *(1,) * len(shape))) * like
            blocks.append(xp.broadcast_to(block, (len(z), *shape)))
        return self._join(blocks)

    def _point(self, z: Complex) -> Array:
        return self.library.asarray(z, COMPLEX[self.precision])

    def _is_field(self, index: int) -> bool:
        return 1 <= index <= max(self.depth - 3, 0)

    def admissible(self, state: Array) -> NDArray[np.bool_]:
        """Whether each state has Im R, Im B and Im µ ≥ 0 on their diagonals."""
        xp, inside = self.xp, np.ones(state.shape[0], dtype=np.bool_)
        for index, block in enumerate(self.split(state)):
            diagonal = xp.linalg.diagonal(block) if index == 0 or self._is_field(index) else block
            least = xp.min(xp.reshape(xp.imag(diagonal), (state.shape[0], -1)), axis=1)
            inside &= self.library.to_numpy(least) >= 0.0
        return inside

    def sweep(self, points: Complex, state: Array) -> tuple[Array, Array]:
        """(unknowns after one sweep, N g(z)), on the device, at points z (n_z,) given on the host."""
        z = self._point(points)
        blocks = self.split(state)
        resolvent, fields = blocks[0], blocks[1 : 1 + max(self.depth - 3, 0)]
        links = blocks[1 + len(fields) :]
        if self.depth == 2:
            return self._two_layers(z)
        top_field = self.top.field(resolvent, self._seen_below(self.depth - 2, links[-1]), self.basis)
        made = [Field(self._seen_below(i + 1, links[i]), common=field) for i, field in enumerate(fields)]
        made.append(top_field)
        response, first = self.first.respond(z, made[0])
        responses, incoming = [response], [self._incoming(z, 1, links[0], response)]
        for index, layer in enumerate(self.inner, start=1):
            u = responses[-1].U
            assert u is not None
            responses.append(layer.respond(u, incoming[-1], made[index]))
            incoming.append(self._incoming(z, index + 1, links[index], responses[-1]))
        resolvent, t_top = self.top.respond(z, responses[-1], incoming[-1])
        ts = [r.t for r in responses[1:]] + [t_top]
        new_links, total = [], self._ends_trace(z, first, resolvent)
        for index, t in enumerate(ts, start=1):
            assert t is not None
            u = self._seen_above(index, responses[index - 1].u)
            link, part = self._close(z, index, t, u, links[index - 1], incoming[index - 1])
            new_links.append(link)
            total = total + part
        return self._join([resolvent, *self._fields(responses), *new_links]), total

    @cached_property
    def _two_layer_form(self) -> Array:
        """S_b^T S_b (k, r, r) of the inputs S_b = F_b^T D_b c that each neuron sees of a network of two layers."""
        seen = self.first.seen
        return self.xp.matmul(self.xp.matrix_transpose(seen), seen)

    def _two_layers(self, z: Array) -> tuple[Array, Array]:
        """L = 2, exact: both layers of weights are eliminated, P and R are functions of z.

        P = -(z - S S^T/z)^{-1} has the eigenvalues of R = -(z - S^T S/z)^{-1} and -1/z for the p - r others.
        """
        xp = self.xp
        resolvent = minus_inverse(xp, z, -self._two_layer_form / xp.reshape(z, (-1, 1, 1, 1)))
        p, r = self.first.seen.shape[1:]
        first = xp.mean(xp.linalg.trace(resolvent), axis=1) - (p - r) / z
        return xp.reshape(resolvent, (z.shape[0], -1)), self._ends_trace(z, first, resolvent)

    def _ends_trace(self, z: Array, first: Array, last: Array) -> Array:
        """N_1 g_1 + N_L g_L from tr P (n_z,) of a neuron of layer 1 and the resolvents R of the last weights."""
        layers, xp = self.signals.layers, self.xp
        top = xp.mean(xp.linalg.trace(last), axis=1)
        return layers[0].n_out * (first - self.first.idle / z) + layers[-1].n_out * top

    def _fields(self, responses: Sequence[Response]) -> list[Array]:
        """Shared parts of B^1..B^{L-3} from T of the layers above them."""
        layers = self.signals.layers[1:]
        return [
            layer.variance * layer.n_out * maps.scatter(response.T)
            for layer, maps, response in zip(layers, self.maps, responses[1:], strict=False)
        ]

    def _incoming(self, z: Array, index: int, mu: Array, below: Response) -> Array:
        """ν of the weights of layer `index`: g in the mean field, -1/(z + u') in the cavity."""
        if self.closure == "mean_field":
            return mu
        u = self._seen_above(index, below.u)
        return -1.0 / (z[:, None, None] + u / (1.0 + mu * u))

    def _close(self, z: Array, index: int, t: Array, u: Array, mu: Array, nu: Array) -> tuple[Array, Array]:
        """(new µ of the weights of layer `index`, their part of N g) from the forms t and u."""
        point, xp = z[:, None, None], self.xp
        if self.closure == "mean_field":
            y = self.signals.layers[index]
            # Sampled on-sets and factored kernels differ from the network in number: sums over columns, means over
            # neurons.
            of_t = xp.mean(xp.sum(t, axis=2), axis=1) / (y.n_offsets * y.n_in)
            of_u = xp.mean(xp.sum(u, axis=2), axis=1) / (y.n_offsets * y.n_out)
            g = -1.0 / (z + of_t + of_u)
            return g[:, None, None], self.signals.sizes[index] * g
        own_t, own_u = t / (1.0 + nu * t), u / (1.0 + mu * u)
        return -1.0 / (point + own_t), xp.sum(-1.0 / (point + own_t + own_u), axis=(1, 2))

    def _seen_below(self, index: int, links: Array) -> Array:
        """Links (n_z, b, (o, a)) of layer `index` as its lower neurons see them, (n_z, a, (o, b))."""
        return links if links.shape[1:] == (1, 1) else self._reorder(index, links, down=True)

    def _seen_above(self, index: int, forms: Array) -> Array:
        return forms if self.closure == "mean_field" else self._reorder(index, forms, down=False)

    def _reorder(self, index: int, values: Array, down: bool) -> Array:
        y, xp, n_z = self.signals.layers[index], self.xp, values.shape[0]
        first, second = (y.n_out, y.n_in) if down else (y.n_in, y.n_out)
        split = xp.reshape(values, (n_z, first, y.n_offsets, second))
        return xp.reshape(xp.permute_dims(split, (0, 3, 2, 1)), (n_z, second, y.n_offsets * first))

    def operations(self) -> float:
        """Floating-point operations of one sweep at one z, roughly."""
        k, p, r = self.first.seen.shape
        if self.depth == 2:
            return float(40.0 * k * r**3)
        size = min(p, r) if self.first.basis is not None else p
        total = 12.0 * k * size * size * (r + size)
        if self.first.gated is not None:
            total += self.first.gated.operations
        total += sum(layer.operations() for layer in self.inner)
        return float(total + 4.0 * self.n_unknowns)

    def calls(self) -> float:
        """Calls of the array library in one sweep and the step that follows it, roughly, whatever the sizes are."""
        if self.depth == 2:  # no iteration: the second sweep finds what the first one did
            return 20.0
        return 60.0 + 60.0 * self.depth + sum(layer.calls() for layer in self.inner)

    @cached_property
    def rms(self) -> float:
        """√(tr H²/N) of the law, to a relative 1e-5; 0 where H = 0."""
        return self.own_rms / self.unit

    @cached_property
    def own_rms(self) -> float:
        """The rms in the units of the equation: g(z) = -1/z - rms²/z³ - ... far from the spectrum."""
        height = 1e4
        while height > NOTHING:
            z = np.array([1j * height])
            state = self.start(z)
            for _ in range(self.depth):  # every field has then seen the ends of the network
                state, trace = self.sweep(z, state)
            # |1 + z g| = rms²/|z|²: near enough to stand above rounding, far enough for the next term not to matter.
            ratio = float(abs(1.0 + z[0] * self.library.to_numpy(trace)[0] / self.signals.n_weights))
            if 1e-10 < ratio < 1e-6:
                return height * math.sqrt(ratio)
            # Of a ratio that is all rounding only so much is known: the rms is at most 1e-4 of this height.
            height *= max(1e4 * math.sqrt(ratio), 1e-4)
        return 0.0

    def _scale(self, state: Array) -> Array:
        """The largest unknown of each kind, at every z, in the place of all of that kind; 1 where they are 0."""
        xp, blocks = self.xp, []
        for block in self.split(state):
            largest = xp.max(xp.abs(block), axis=tuple(range(1, block.ndim)), keepdims=True)
            blocks.append(xp.broadcast_to(largest, block.shape))
        scale = self._join(blocks)
        return xp.where(scale > 0.0, scale, xp.ones_like(scale))

    def solve(self, z: Complex, start: Array, tolerance: float, max_iterations: int) -> tuple[FixedPoint, Complex]:
        """The fixed point at each z from `start`, in units of the largest unknown of each kind, and N g(z) there.

        Where a point has not converged its N g is that of the last sweep.
        """
        scale, take = self._scale(start), self.xp.take
        traces = np.zeros(len(z), dtype=np.complex128)

        def step(w: Array, index: NDArray[np.intp]) -> Array:
            own = scale if len(index) == len(z) else take(scale, self.library.asarray(index, "int64"), axis=0)
            state, trace = self.sweep(z[index], w * own)
            traces[index] = self.library.to_numpy(trace)
            return state / own

        found = solve_fixed_point(
            step,
            start / scale,
            admissible=lambda w, index: self.admissible(w),
            tolerance=tolerance,
            max_iterations=max_iterations,
            memory=secants(self.n_unknowns),
            library=self.library,
        )
        return FixedPoint(found.value * scale, found.residual, found.iterations, found.converged), traces

    def follow(self, z: Complex, rms: float, tolerance: float, max_iterations: int) -> tuple[FixedPoint, Complex]:
        """`solve` at each z, approached from Im z above the rms: slow, for points that resist `solve`."""
        stages = max(1, math.ceil(math.log(max(rms / float(z.imag.min()), DESCENT)) / math.log(DESCENT)))
        high = z.real + 1j * z.imag * DESCENT**stages
        state = self.sweep(high, self.sweep(high, self.start(high))[0])[0]
        spent = np.zeros(len(z), dtype=np.int64)
        for stage in range(stages, -1, -1):
            point = z.real + 1j * z.imag * DESCENT**stage
            found, traces = self.solve(point, state, tolerance if stage == 0 else ROUGH, max_iterations)
            state, spent = found.value, spent + found.iterations
        return FixedPoint(state, found.residual, spent, found.converged), traces


def _check(signals: NetworkSignals, closure: str, cut: float) -> None:
    if not 0.0 <= cut < 1.0:
        raise ValueError(f"cut is {cut:g}, expected 0 <= cut < 1; pass 0 to keep every direction")
    if closure not in CLOSURES:
        raise ValueError(f"closure {closure!r} is unknown: use one of {', '.join(CLOSURES)}")
    for number, layer in enumerate(signals.layers, start=1):
        own = layer.source.shape[1] == layer.n_out and layer.inputs.shape[1] == layer.n_offsets * layer.n_in
        if closure == "cavity" and not own:
            raise ValueError(
                f"layer {number} has kernels or sampled on-sets: the cavity needs the signals of every neuron, "
                "use closure='mean_field'"
            )


def _errors(signals: NetworkSignals, index: int) -> NDArray[np.float64]:
    """δ̂ of the layer above hidden layer `index` (counted from 1) as this layer sees it; c itself at the top."""
    if index == len(signals.layers):
        return signals.top
    errors = signals.layers[index].errors
    if errors is None:
        raise ValueError(f"layer {index + 1} has no back-propagated signals: only layer 1 goes without")
    return errors
