"""The one list of networks that the tests run on, random architectures, and the one comparison."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from simulator import AvgPool, Conv, Dense, MaxPool, Network, sequential
from support.oracles.network import Oracle, Step

Array = np.ndarray[Any, Any]
LOSSES = ("hinge", "perceptron", "logistic", "squared", "squared_hinge")
BACKENDS = ("numpy", "numba")
LAYERS = {"conv": Conv, "pool": MaxPool, "avg": AvgPool, "dense": Dense}


def he_weights(network: Network, seed: int) -> list[Array]:
    """Gaussian He weights of a numbered draw, whatever streams the library draws from.

    Tests that look at what one network does (which gates are open, how far a figure is off) are about these.
    """
    streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(network.depth))
    gains = [2.0] * (network.depth - 1) + [1.0]
    return [
        rng.standard_normal(layer.weight_shape) * np.sqrt(gain / layer.fan_in)
        for rng, layer, gain in zip(streams, network.layers, gains, strict=True)
    ]


@dataclass(frozen=True)
class Case:
    """A network by its steps (see `oracles.network.Step`) and a number of random examples."""

    name: str
    input_shape: tuple[int, ...]
    spec: tuple[Step, ...]
    examples: int = 6
    seed: int = 0

    @cached_property
    def network(self) -> Network:
        return sequential(self.input_shape, [LAYERS[kind](*sizes) for kind, *sizes in self.spec])

    @cached_property
    def weights(self) -> list[Array]:
        """He initialisation, the output scaled to mean |T| = 2: the hinge meets active and inactive examples."""
        *hidden, last = he_weights(self.network, self.seed)
        t = self.oracle().output(_flat([*hidden, last]))
        return [*hidden, last * (2 / np.abs(t).mean() if t.any() else 1)]

    @cached_property
    def theta(self) -> Array:
        return _flat(self.weights)

    @cached_property
    def x(self) -> Array:
        return np.random.default_rng([self.seed, 1]).standard_normal((self.examples, *self.input_shape))

    @cached_property
    def y(self) -> Array:
        return np.random.default_rng([self.seed, 2]).integers(0, 2, self.examples) * 2.0 - 1.0

    @property
    def problem(self) -> tuple[Network, list[Array], Array, Array]:
        """(network, weights, x, y): what every function of the simulator takes first."""
        return self.network, self.weights, self.x, self.y

    def oracle(self, loss: str = "hinge") -> Oracle:
        return Oracle(self.input_shape, self.spec, self.x, self.y, loss)

    def __str__(self) -> str:
        return self.name


def _flat(weights: list[Array]) -> Array:
    return np.concatenate([w.ravel() for w in weights])


def _dense(*widths: int) -> tuple[Step, ...]:
    return tuple(("dense", width) for width in widths)


def _conv(channels: int, kernel: int = 3) -> Step:
    return ("conv", channels, kernel)


def _pool(size: int = 2) -> Step:
    return ("pool", size)


def _avg(size: int = 2) -> Step:
    return ("avg", size)


def _vgg12() -> tuple[Step, ...]:
    """The paper's network at 1/16 of its width."""
    stages = [(_conv(c), _conv(c), _pool()) for c in (4, 8, 16, 32, 32)]
    return (*(step for stage in stages for step in stage), *_dense(32, 1))


DENSE = [
    Case("linear", (5,), _dense(1)),
    Case("depth2", (6,), _dense(5, 1)),
    Case("depth3", (7,), _dense(6, 5, 1)),
    Case("depth4", (4,), _dense(7, 3, 6, 1), examples=9, seed=4),
    Case("depth5", (6,), _dense(6, 5, 6, 5, 1), examples=8),
    Case("flattened", (2, 3, 2), _dense(5, 4, 1)),
]
IMAGES = [
    Case("conv3-ragged", (7, 5, 2), (_conv(3), *_dense(1))),
    Case("conv5-pool", (7, 5, 2), (_conv(3, 5), _pool(), *_dense(4, 1))),
    Case("conv1-conv3", (4, 4, 3), (_conv(4, 1), _conv(3), _pool(), *_dense(1))),
    Case("pool-first", (8, 7, 2), (_pool(), _conv(3), *_dense(1))),
    Case("pools-first", (9, 8, 2), (_pool(), _pool(2), _conv(3), _conv(2), *_dense(3, 1)), seed=4),
    Case("two-pools", (9, 10, 2), (_conv(3), _pool(), _pool(), _conv(3), *_dense(4, 1)), seed=2),
    Case("pools-2-3", (13, 12, 1), (_conv(3), _pool(), _pool(3), _conv(3, 1), *_dense(1))),
    Case("pool3", (7, 8, 1), (_conv(4), _pool(3), _conv(3, 1), *_dense(1))),
    Case("one-pixel", (1, 1, 3), (_conv(6), _conv(5, 5), *_dense(1))),
    Case("pool-to-pixel", (2, 3, 2), (_conv(4), _pool(), _conv(4), *_dense(3, 1))),
    Case("four-convs", (6, 6, 1), (_conv(3), _conv(4), _pool(), _conv(3), _conv(4, 1), *_dense(1)), examples=11),
    Case("avg", (6, 5, 2), (_conv(3), _avg(), _conv(4), *_dense(3, 1))),
    Case("avg-first", (7, 6, 2), (_avg(), _conv(3), _avg(3), *_dense(3, 1)), seed=1),
    Case("max-then-avg", (9, 8, 1), (_conv(3), _pool(), _avg(), _conv(3), *_dense(1)), seed=2),
]
VGG12 = Case("vgg12", (32, 32, 3), _vgg12(), examples=4)
CASES = [*DENSE, *IMAGES, VGG12]
SMALL = [*DENSE, *IMAGES]


@st.composite
def dense_cases(draw: st.DrawFn, min_depth: int = 1, max_depth: int = 5) -> Case:
    depth = draw(st.integers(min_depth, max_depth))
    widths = draw(st.lists(st.integers(1, 5), min_size=depth - 1, max_size=depth - 1))
    return _drawn(draw, (draw(st.integers(1, 5)),), _dense(*widths, 1))


@st.composite
def image_cases(draw: st.DrawFn) -> Case:
    sides = [draw(st.integers(1, 6)), draw(st.integers(1, 6))]
    shape = (*sides, draw(st.integers(1, 2)))
    spec: list[Step] = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.sampled_from([2, 3]))
        if min(sides) >= size and draw(st.booleans()):
            spec.append(draw(st.sampled_from([_pool, _avg]))(size))
            sides = [side // size for side in sides]
        else:
            spec.append(_conv(draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 5]))))
    widths = draw(st.lists(st.integers(1, 4), max_size=1))
    return _drawn(draw, shape, (*spec, *_dense(*widths, 1)))


def _drawn(draw: st.DrawFn, shape: tuple[int, ...], spec: tuple[Step, ...]) -> Case:
    return Case("drawn", shape, spec, draw(st.integers(1, 6)), draw(st.integers(0, 2**32 - 1)))


any_case = st.one_of(dense_cases(), image_cases().filter(lambda case: case.network.n_weights <= 150))


def relative_error(actual: Any, expected: Any, scale: float | None = None) -> float:
    """||actual - expected|| over `scale` (||expected|| unless given); 0/0 counts as 0, so 0 must be met exactly."""
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape, f"expected shape {expected.shape}, got {actual.shape}"
    size = float(np.linalg.norm(expected)) if scale is None else scale
    difference = float(np.linalg.norm(actual - expected))
    return 0.0 if difference == 0.0 else difference / size if size else np.inf


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-10, scale: float | None = None) -> None:
    error = relative_error(actual, expected, scale)
    assert error <= tolerance, f"relative error {error:.3g} exceeds {tolerance:g}"


def rotated(eigenvalues: Array, seed: int = 0) -> Array:
    """A matrix with these eigenvalues whose random probes see different measures, unlike a diagonal one's."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues))))
    matrix: Array = (q * eigenvalues) @ q.T
    return matrix
