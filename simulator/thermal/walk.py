"""A pass from layer to layer in which every gate and every choice of a pool is decided, and what it says of them.

The decisions d of all stages, gates and choices, have the joint law Π_stages exp(f·d/T)/Z(f), where the signals f of
a stage follow from the decisions below it; the label adds σ(y T(x, d)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from backends import Array, Backend
from simulator.network.layers import AvgPool, Pool, Shape, pooled_shape
from simulator.network.network import Network
from simulator.passes.laws import Choices, Gates, Law, masked, softplus, summed
from simulator.passes.propagation import linear, linear_adjoint, linear_gradient
from simulator.streams import Numbers

Decide = Callable[[int, Law, Array], Array]  # (stage, its law, the signals f) -> decisions of f's shape


@dataclass(frozen=True)
class Walk:
    """A pass over m examples: of every stage its ``laws``, ``signals`` f and ``decisions`` d; ``output`` T (m,).

    ``inputs`` x_0..x_{L-1} of the layers of weights.
    """

    laws: tuple[Law, ...]
    signals: tuple[Array, ...]
    decisions: tuple[Array, ...]
    inputs: tuple[Array, ...]
    output: Array

    def stages(self) -> Iterator[tuple[Law, Array, Array]]:
        """(law, signals, decisions) of every stage."""
        return zip(self.laws, self.signals, self.decisions, strict=True)


@dataclass(frozen=True)
class Means:
    """An average pool of images (m, *shape), which decides nothing."""

    pool: AvgPool
    shape: Shape

    def hand_on(self, ops: Backend, x: Array) -> Array:
        return self.pool.scale * self.pool.select(ops, x)[0]

    def to_sites(self, ops: Backend, above: Array) -> Array:
        """The adjoint of `hand_on`."""
        every = ops.xp.ones_like(ops.zeros((above.shape[0], *self.shape)), dtype=ops.xp.bool)
        return self.pool.scale * ops.spread_gates(every, above, self.pool.size)


def steps(network: Network) -> Iterator[int | Law | Means]:
    """The steps of a pass in their order: the number of a layer of weights, gates, choices, or means of windows."""
    yield from _pooling(network.input_pools, network.input_shape)
    for index, layer in enumerate(network.layers):
        yield index
        if index < network.depth - 1:
            yield Gates()
            yield from _pooling(layer.pools, layer.gate_shape)


def _pooling(pools: Sequence[Pool], shape: Shape) -> Iterator[Choices | Means]:
    for pool in pools:
        yield Means(pool, shape) if isinstance(pool, AvgPool) else Choices(pool.size)
        shape = pooled_shape(shape, [pool])


def stage_names(network: Network) -> list[str]:
    """A name for every stage: "gates 1", "pool 1", in order; "pool 0" chooses among the inputs."""
    names, layer = [], 0
    for step in steps(network):
        if isinstance(step, int):
            layer = step + 1
        elif not isinstance(step, Means):
            names.append(f"{'gates' if isinstance(step, Gates) else 'pool'} {layer}")
    return names


def largest_entropy(network: Network) -> float:
    """The entropy of fair coins and dice, in nats: log 2 for every gate, log size² for every window that chooses."""
    total, shape = 0.0, network.input_shape
    for step in steps(network):
        if isinstance(step, int):
            shape = network.layers[step].gate_shape
        elif isinstance(step, Gates):
            total += math.prod(shape) * math.log(2.0)
        else:
            size = step.size if isinstance(step, Choices) else step.pool.size
            shape = (shape[0] // size, shape[1] // size, shape[2])
            total += math.prod(shape) * math.log(size**2) if isinstance(step, Choices) else 0.0
    return total


def walk(network: Network, weights: Sequence[Array], x: Array, ops: Backend, decide: Decide) -> Walk:
    """The pass of device examples x (m, *input_shape) with decisions by `decide`."""
    laws: list[Law] = []
    signals: list[Array] = []
    decisions: list[Array] = []
    inputs: list[Array] = []
    for step in steps(network):
        if isinstance(step, int):
            inputs.append(x)
            x = linear(ops, network.layers[step], (x, weights[step]))
        elif isinstance(step, Means):
            x = step.hand_on(ops, x)
        else:
            chosen = decide(len(laws), step, x)
            laws.append(step)
            signals.append(x)
            decisions.append(chosen)
            x = step.hand_on(ops, chosen, x)
    return Walk(tuple(laws), tuple(signals), tuple(decisions), tuple(inputs), x[:, 0])


def likeliest(ops: Backend) -> Decide:
    """Every stage its own most probable decisions: the ReLU network."""
    return lambda _, law, f: law.likeliest(ops, f)


def drawn(ops: Backend, temperature: float, rng: Numbers) -> Decide:
    """Every stage drawn from its law at a temperature > 0."""
    return lambda _, law, f: law.draw(ops, f, temperature, rng)


def given(decisions: Sequence[Array]) -> Decide:
    """Decisions that are known already."""
    return lambda stage, law, f: decisions[stage]


def log_label(ops: Backend, output: Array, y: Array) -> Array:
    """log σ(y T), (m,), in float64."""
    return -softplus(ops, -ops.xp.astype(y * output, ops.xp.float64))


def log_law(ops: Backend, passed: Walk, temperature: float) -> Array:
    """log µ(d|x) = Σ_stages [f·d/T - log Z(f)], (m,), in float64."""
    total = 0.0
    for law, f, d in passed.stages():
        weight = summed(ops, masked(ops, d, f)) / temperature
        total = total + weight - law.log_normaliser(ops, f, temperature)
    return total


def log_joint(ops: Backend, passed: Walk, y: Array, temperature: float) -> Array:
    """log µ(y, d|x), (m,): the evidence bound at a law that is certain of the decisions d."""
    return log_law(ops, passed, temperature) + log_label(ops, passed.output, y)


@dataclass(frozen=True)
class Shares:
    """What the rows count, (m,) each: in the term of the label, and in those of the laws of the decisions."""

    label: Array
    laws: Array


def descend(
    network: Network,
    weights: Sequence[Array],
    ops: Backend,
    passed: Walk,
    y: Array,
    temperature: float,
    shares: Shares | None = None,
) -> Iterator[tuple[int | Law | Means, Array]]:
    """(step, ∂ log µ(y, d|x) / ∂(what it hands on)) of every step, last to first, all decisions held fixed.

    With `shares` the derivative of share_label · log µ(y|x, d) + share_laws · log µ(d|x).
    """
    slope = (y * (1 - ops.xp.tanh(y * passed.output / 2)) / 2)[:, None]
    if shares is not None:
        slope = shares.label[:, None] * slope
    stage = len(passed.laws)
    for step in reversed(list(steps(network))):
        yield step, slope
        if isinstance(step, int):
            slope = linear_adjoint(ops, network.layers[step], (slope, weights[step]))
        elif isinstance(step, Means):
            slope = step.to_sites(ops, slope)
        else:
            stage -= 1
            f, d = passed.signals[stage], passed.decisions[stage]
            own = (ops.xp.astype(d, f.dtype) - step.means(ops, f, temperature)) / temperature
            if shares is not None:
                own = ops.xp.reshape(shares.laws, (-1, *(1,) * (f.ndim - 1))) * own
            slope = own + masked(ops, d, step.to_sites(ops, slope, f))


def slopes(
    network: Network, weights: Sequence[Array], ops: Backend, passed: Walk, y: Array, temperature: float
) -> list[Array]:
    """∂ log µ(y, d|x) / ∂(what each stage hands on), at its sites, decisions above held fixed: shapes of the signals.

    With s the slope, a small change of a decision d_j changes log µ(y, d|x) by f_j (1/T + s_j): the first term is that
    of its own law, the second what the stages above and the label make of the signal.
    """
    signals = list(passed.signals)
    found: list[Array] = []
    for step, slope in descend(network, weights, ops, passed, y, temperature):
        if not isinstance(step, int | Means):
            found.insert(0, step.to_sites(ops, slope, signals.pop()))
    return found


def joint_gradient(
    network: Network,
    weights: Sequence[Array],
    ops: Backend,
    passed: Walk,
    y: Array,
    temperature: float,
    shares: Shares,
) -> list[Array]:
    """Σ_i ∇[share_label log µ(y_i|x_i, d_i) + share_laws log µ(d_i|x_i)], decisions fixed; an array for each layer.

    With draws of the posterior in place of the examples, and equal shares, this is Fisher's ∇ Σ_i log µ(y_i|x_i).
    """
    found: list[Array] = []
    for step, slope in descend(network, weights, ops, passed, y, temperature, shares):
        if isinstance(step, int):
            found.insert(0, linear_gradient(ops, network.layers[step], (passed.inputs[step], slope)))
    return found
