"""Solving the linearised equations: the sweep through the layers, its fixed point, the trace.

The unknowns of one z are the resolvents R of the last layer's weights, the shared part of B^l for 1 ≤ l ≤ L-3, and µ of
every weight of layers 2..L-1 (one number per layer in the mean field). One sweep goes up through the layers, where
each answers to the A made below it and to the B it was handed, then down again. It maps the set Im R, Im B, Im µ ≥ 0
into itself; its fixed point there is unique and is found by `solve_fixed_point`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dyson import ConvergenceError
from .fixed_point import FixedPoint, solve_fixed_point
from .inner_layer import InnerLayer, forward_kernels, leading_directions
from .laws import upper_half_plane
from .linearised import (
    CLOSURES,
    Field,
    FirstLayer,
    Response,
    TopBasis,
    TopLayer,
    independent_columns,
    minus_inverse,
    on_above,
)
from .signals import Complex, NetworkSignals, Real, scatter

SWEEPS = 12
"""Sweeps that a point of a spectrum typically takes, for estimates made in advance."""
RATE = 1.5e10
"""Floating-point operations a second assumed in such estimates: two cores on matrices of a hundred rows."""
WORKING_SET = 1 << 29
"""Bytes that the points solved together may take."""
DESCENT = 4.0
"""Ratio of successive Im z when a point is approached from above."""
ROUGH = 0.05
"""Tolerance of the points on that approach."""


@dataclass(frozen=True)
class LinearisedLaw:
    """Spectral law of the linearised equations at the requested z.

    g           shape of z: g(z) = (1/N) Σ 1/(λ - z), Im g > 0; density smoothed at Im z: Im g/π
    residual    largest change, over all z, that one more sweep makes to an unknown, relative to the largest of its kind
    iterations  most sweeps that any z took
    """

    g: Complex
    residual: float
    iterations: int


class LinearisedEquation:
    """The map of one network's signals under one closure; see `theory.linearised` for the equations.

    cut  inner layers keep those directions of their forward kernels that exceed this share of the largest; 0: all
    """

    def __init__(self, signals: NetworkSignals, closure: str, cut: float = 0.0) -> None:
        _check(signals, closure, cut)
        self.signals, self.closure = signals, closure
        layers = signals.layers
        self.depth = len(layers) + 1
        self.top = TopLayer(layers[-1], signals.top)
        self.basis = TopBasis.of(signals) if self.depth > 2 else None
        self.first = FirstLayer(layers[0], _errors(signals, 1), self.basis if self.depth == 3 else None)
        one = closure == "mean_field"
        self.inner = []
        for i, kept in zip(range(1, self.depth - 2), _directions(signals, cut), strict=True):
            basis, errors = self.basis if i == self.depth - 3 else None, _errors(signals, i + 1)
            self.inner.append(InnerLayer(layers[i], layers[i - 1].n_pooled, errors, basis, kept, one))
        k, r = layers[-1].source.shape[1], signals.top.shape[1]
        self.shapes: list[tuple[int, ...]] = [(k, r, r)]
        self.shapes += [(layer.n_pooled, layer.n_pooled) for layer in layers[: self.depth - 3]]
        self.shapes += [(1, 1) if one else (y.n_out, y.inputs.shape[1]) for y in layers[1:]]
        self.ends = np.cumsum([math.prod(shape) for shape in self.shapes])

    @property
    def n_unknowns(self) -> int:
        """Numbers iterated at one z."""
        return int(self.ends[-1])

    def split(self, state: Complex) -> list[Complex]:
        """The blocks R, B^1.., µ_2.. of states (n_z, n_unknowns)."""
        parts = np.split(state, self.ends[:-1], axis=1)
        return [part.reshape(len(state), *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _join(self, blocks: Sequence[Complex]) -> Complex:
        return np.concatenate([block.reshape(len(block), -1) for block in blocks], axis=1)

    def start(self, z: Complex) -> Complex:
        """Unknowns of a network that answers -1/z everywhere, far from the spectrum."""
        far = -1.0 / z
        blocks = []
        for index, shape in enumerate(self.shapes):
            like = np.eye(shape[-1]) if index == 0 else np.zeros(shape) if self._is_field(index) else np.ones(shape)
            blocks.append(far.reshape(-1, *(1,) * len(shape)) * np.broadcast_to(like, shape))
        return self._join(blocks)

    def _is_field(self, index: int) -> bool:
        return 1 <= index <= max(self.depth - 3, 0)

    def admissible(self, state: Complex) -> NDArray[np.bool_]:
        """Whether each state has Im R, Im B and Im µ ≥ 0 on their diagonals."""
        inside = np.ones(len(state), dtype=np.bool_)
        for index, block in enumerate(self.split(state)):
            diagonal = np.diagonal(block, axis1=-2, axis2=-1) if index == 0 or self._is_field(index) else block
            inside &= (diagonal.imag >= 0.0).reshape(len(state), -1).all(axis=1)
        return inside

    def sweep(self, z: Complex, state: Complex) -> tuple[Complex, Complex]:
        """(unknowns after one sweep, N g(z))."""
        blocks = self.split(state)
        resolvent, fields = blocks[0], blocks[1 : 1 + max(self.depth - 3, 0)]
        links = blocks[1 + len(fields) :]
        if self.depth == 2:
            return self._two_layers(z)
        below = self.signals.layers[-2].n_pooled
        top_field = self.top.field(resolvent, self._seen_below(self.depth - 2, links[-1]), self.basis, below)
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

    def _two_layers(self, z: Complex) -> tuple[Complex, Complex]:
        """L = 2, exact: both layers of weights are eliminated, P and R are functions of z."""
        layer, top = self.signals.layers[0], self.signals.top
        seen = on_above(layer, independent_columns(layer.inputs)).seen(top)
        turned, point = seen.transpose(0, 2, 1), z[:, None, None, None]
        sides: list[Complex] = [minus_inverse(z, -form / point) for form in (turned @ seen, seen @ turned)]
        first = np.trace(sides[1], axis1=2, axis2=3).mean(axis=1)
        return sides[0].reshape(len(z), -1), self._ends_trace(z, first, sides[0])

    def _ends_trace(self, z: Complex, first: Complex, last: Complex) -> Complex:
        """N_1 g_1 + N_L g_L from tr P (n_z,) of a neuron of layer 1 and the resolvents R of the last weights."""
        layers = self.signals.layers
        top = np.trace(last, axis1=2, axis2=3).mean(axis=1)
        total: Complex = layers[0].n_out * (first - self.first.idle / z) + layers[-1].n_out * top
        return total

    def _fields(self, responses: Sequence[Response]) -> list[Complex]:
        """Shared parts of B^1..B^{L-3} from T of the layers above them."""
        layers, fields = self.signals.layers, []
        for index in range(1, self.depth - 2):
            y, t = layers[index], responses[index].T
            assert t is not None
            fields.append(y.variance * y.n_out * scatter(t, y.offsets, layers[index - 1].n_pooled))
        return fields

    def _incoming(self, z: Complex, index: int, mu: Complex, below: Response) -> Complex:
        """ν of the weights of layer `index`: g in the mean field, -1/(z + u') in the cavity."""
        if self.closure == "mean_field":
            return mu
        u = self._seen_above(index, below.u)
        nu: Complex = -1.0 / (z[:, None, None] + u / (1.0 + mu * u))
        return nu

    def _close(
        self, z: Complex, index: int, t: Complex, u: Complex, mu: Complex, nu: Complex
    ) -> tuple[Complex, Complex]:
        """(new µ of the weights of layer `index`, their part of N g) from the forms t and u."""
        point = z[:, None, None]
        if self.closure == "mean_field":
            y = self.signals.layers[index]
            # Sampled on-sets and factored kernels differ from the network in number: sums over columns, means over
            # neurons.
            of_t = t.sum(axis=2).mean(axis=1) / (y.n_offsets * y.n_in)
            of_u = u.sum(axis=2).mean(axis=1) / (y.n_offsets * y.n_out)
            g = -1.0 / (z + of_t + of_u)
            return g[:, None, None], self.signals.sizes[index] * g
        own_t, own_u = t / (1.0 + nu * t), u / (1.0 + mu * u)
        return -1.0 / (point + own_t), np.sum(-1.0 / (point + own_t + own_u), axis=(1, 2))

    def _seen_below(self, index: int, links: Complex) -> Complex:
        """Links (n_z, b, (o, a)) of layer `index` as its lower neurons see them, (n_z, a, (o, b))."""
        return links if links.shape[1:] == (1, 1) else self._reorder(index, links, down=True)

    def _seen_above(self, index: int, forms: Complex) -> Complex:
        return forms if self.closure == "mean_field" else self._reorder(index, forms, down=False)

    def _reorder(self, index: int, values: Complex, down: bool) -> Complex:
        y = self.signals.layers[index]
        first, second = (y.n_out, y.n_in) if down else (y.n_in, y.n_out)
        split = values.reshape(len(values), first, y.n_offsets, second)
        return split.transpose(0, 3, 2, 1).reshape(len(values), second, y.n_offsets * first)

    def operations(self) -> float:
        """Floating-point operations of one sweep at one z, roughly."""
        k, p, r = self.first.seen.shape
        size = min(p, r) if self.first.basis is not None else p
        total = 12.0 * k * size * size * (r + size)
        if self.first.basis is None and self.depth > 2:
            total += self.first.gated.operations
        total += sum(layer.operations() for layer in self.inner)
        return float(total + 4.0 * self.n_unknowns)

    def bytes_per_point(self) -> float:
        """Working memory of one z: the secants of its unknowns and the largest arrays of a sweep."""
        arrays = [self.first.seen.size, *(y.seen.size for y in self.inner if y.basis is not None)]
        arrays += [layer.n_sites**2 for layer in self.signals.layers[1:-1]]
        return float(16.0 * (2.5 * self._memory() * self.n_unknowns + 4.0 * max(arrays)))

    def _memory(self) -> int:
        return 8 if self.n_unknowns < 200_000 else 4

    def rms(self) -> float:
        """√(tr H²/N) of the law, to a relative 1e-5: g(z) = -1/z - rms²/z³ - ... far from the spectrum."""
        height = 1e4
        for _ in range(8):
            z = np.array([1j * height])
            state = self.start(z)
            for _ in range(self.depth):  # every field has then seen the ends of the network
                state, trace = self.sweep(z, state)
            # |1 + z g| = rms²/|z|²: near enough to stand above rounding, far enough for the next term not to matter.
            ratio = abs(1.0 + z[0] * trace[0] / self.signals.n_weights)
            if ratio == 0.0 or 1e-10 < ratio < 1e-6:
                break
            height *= 1e4 * math.sqrt(ratio)
        return height * math.sqrt(ratio)

    def solve(self, z: Complex, start: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
        """The fixed point at each z from `start`, in units of the largest unknown of each kind."""
        scale = self._join([np.broadcast_to(np.abs(b).max(axis=tuple(range(1, b.ndim)), keepdims=True), b.shape)
                            for b in self.split(start)])  # fmt: skip
        scale = np.where(scale > 0.0, scale, 1.0)

        def step(w: Complex, index: NDArray[np.intp]) -> Complex:
            return self.sweep(z[index], w * scale[index])[0] / scale[index]

        found = solve_fixed_point(
            step,
            start / scale,
            admissible=lambda w, index: self.admissible(w),
            tolerance=tolerance,
            max_iterations=max_iterations,
            memory=self._memory(),
        )
        return FixedPoint(found.value * scale, found.residual, found.iterations, found.converged)

    def follow(self, z: Complex, rms: float, tolerance: float, max_iterations: int) -> FixedPoint:
        """The fixed point at each z, approached from Im z above the rms: slow, for points that resist `solve`."""
        stages = max(1, math.ceil(math.log(max(rms / float(z.imag.min()), DESCENT)) / math.log(DESCENT)))
        high = z.real + 1j * z.imag * DESCENT**stages
        state = self.sweep(high, self.sweep(high, self.start(high))[0])[0]
        spent = np.zeros(len(z), dtype=np.int64)
        for stage in range(stages, -1, -1):
            point = z.real + 1j * z.imag * DESCENT**stage
            found = self.solve(point, state, tolerance if stage == 0 else ROUGH, max_iterations)
            state, spent = found.value, spent + found.iterations
        return FixedPoint(state, found.residual, spent, found.converged)


def _directions(signals: NetworkSignals, cut: float) -> list[Real | None]:
    """What each layer 2..L-2 keeps of A."""
    count = len(signals.layers) - 2
    if cut == 0.0 or count <= 0:
        return [None] * max(count, 0)
    return [leading_directions(kernel, cut) for kernel in forward_kernels(signals)[1:]]


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


def _points(equation: LinearisedEquation, z: Complex, tolerance: float, max_iterations: int) -> FixedPoint:
    """The unknowns at z: in groups that fit into memory, each started from its neighbour's outermost solution."""
    rms = equation.rms()
    group = max(1, int(WORKING_SET // equation.bytes_per_point()))
    order = np.argsort(-np.abs(z))
    found = FixedPoint(
        np.empty((len(z), equation.n_unknowns), dtype=np.complex128),
        np.empty(len(z)),
        np.empty(len(z), dtype=np.int64),
        np.empty(len(z), dtype=np.bool_),
    )
    state = None
    for first in range(0, len(z), group):
        rows = order[first : first + group]
        lifted = z[rows] + 1j * rms
        begin = equation.start(lifted) if state is None else np.repeat(state, len(rows), axis=0)
        if state is None:
            begin = equation.sweep(lifted, equation.sweep(lifted, begin)[0])[0]
        part = equation.solve(z[rows], begin, tolerance, max_iterations)
        rest = np.flatnonzero(~part.converged)
        if rest.size:
            again = equation.follow(z[rows[rest]], rms, tolerance, max_iterations)
            part.value[rest], part.residual[rest], part.converged[rest] = again.value, again.residual, again.converged
            part.iterations[rest] += again.iterations
        for name in ("value", "residual", "iterations", "converged"):
            getattr(found, name)[rows] = getattr(part, name)
        state = part.value[-1:]
    return found


def linearised_law(
    signals: NetworkSignals,
    z: ArrayLike,
    closure: str = "mean_field",
    *,
    cut: float = 0.0,
    tolerance: float = 1e-5,
    max_iterations: int = 300,
) -> LinearisedLaw:
    """Solves the linearised equations at every z (any shape, Im z > 0): R4 and R5 ("mean_field"), R6 ("cavity").

    cut             inner layers keep the directions of their forward kernels above this share of the largest (see
                    `theory.inner_layer`); 0: all of them, the equations as they stand
    tolerance       on the relative change of every unknown by one more sweep
    max_iterations  sweeps allowed for each z, and again for each stage of the approach from above to a stubborn one

    Mirror images z and -z̄ are solved once: g(-z̄) = -conj g(z). Raises ValueError for z or signals that cannot be used
    and ConvergenceError when the tolerance is not met.
    """
    points = upper_half_plane(z)
    flat = points.ravel()
    if not signals.layers or not np.any(signals.top):  # one linear layer, or no active example: H = 0
        return LinearisedLaw(-1.0 / points, 0.0, 0)
    folded, place = np.unique(np.abs(flat.real) + 1j * flat.imag, return_inverse=True)
    equation = LinearisedEquation(signals, closure, cut)
    found = _points(equation, folded, tolerance, max_iterations)
    if not found.converged.all():
        worst = int(np.argmax(found.residual))
        raise ConvergenceError(
            f"the linearised equations have residual {found.residual[worst]:.3g} at z = {folded[worst]:.6g} after "
            f"{found.iterations[worst]} sweeps, expected at most {tolerance:.3g}; raise Im z or max_iterations"
        )
    g = _traces(equation, folded, found.value)[place]
    g = np.where(flat.real < 0.0, -g.conj(), g)
    return LinearisedLaw(g.reshape(points.shape), float(found.residual.max()), int(found.iterations.max()))


def _traces(equation: LinearisedEquation, z: Complex, state: Complex) -> Complex:
    """g at solved points, a few at a time."""
    group = max(1, int(WORKING_SET // equation.bytes_per_point()))
    parts = [equation.sweep(z[i : i + group], state[i : i + group])[1] for i in range(0, len(z), group)]
    return np.concatenate(parts) / equation.signals.n_weights


def estimate_seconds(signals: NetworkSignals, n_points: int, closure: str = "mean_field", cut: float = 0.0) -> float:
    """About how long `linearised_law` will take at n_points energies symmetric about 0, said in advance."""
    if not signals.layers or not np.any(signals.top):
        return 0.0
    return SWEEPS * (n_points / 2 + 1) * LinearisedEquation(signals, closure, cut).operations() / RATE


def memory_per_point(signals: NetworkSignals, closure: str = "mean_field") -> float:
    """Bytes that one energy takes while it is solved."""
    if not signals.layers or not np.any(signals.top):
        return 0.0
    return LinearisedEquation(signals, closure).bytes_per_point()
