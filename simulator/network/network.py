"""The description of a ReLU network as a chain of weight layers with gates, and its random initialisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backends import HostArray
from simulator.streams import Seed, Streams

from .layers import Conv, Dense, Layer, MaxPool, Pool, Shape, pooled_shape, scale_of

INIT_LAWS = ("gaussian", "uniform", "rademacher")


@dataclass(frozen=True)
class Network:
    """An immutable ReLU network without biases and with one output, T(x) = x^T [Π_{l<L} W_l D_l] W_L (10).

    Attributes: ``input_shape`` of one example, ``layers`` (L of them), ``input_pools`` (pools before layer 1).
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    input_pools: tuple[Pool, ...] = ()

    @property
    def depth(self) -> int:
        """L, the number of weight layers."""
        return len(self.layers)

    @property
    def scale(self) -> float:
        """What the sums over windows of all pools are multiplied by: of every path, hence of T."""
        return scale_of(self.input_pools) * math.prod(layer.scale for layer in self.layers)

    @property
    def has_maxima(self) -> bool:
        """Whether some pool chooses, which no law at a temperature does."""
        pools = [*self.input_pools, *(pool for layer in self.layers for pool in layer.pools)]
        return any(pool.chooses for pool in pools)

    @property
    def weight_shapes(self) -> list[Shape]:
        """Per layer (n_in, n_out), or (k, k, C_in, C_out) for a convolution."""
        return [layer.weight_shape for layer in self.layers]

    @property
    def layer_sizes(self) -> list[int]:
        """N_l, the number of weights of each layer."""
        return [layer.n_weights for layer in self.layers]

    @property
    def n_weights(self) -> int:
        """N = Σ N_l."""
        return sum(self.layer_sizes)

    @property
    def slices(self) -> list[slice]:
        """The place of each layer in the flat parameter vector."""
        ends = np.cumsum(self.layer_sizes).tolist()
        return [slice(end - size, end) for end, size in zip(ends, self.layer_sizes, strict=True)]

    def init(self, seed: Seed, law: str = "gaussian") -> list[HostArray]:
        """Random weights: mean 0, variance 2/fan-in [He2015] (1/fan-in in the last layer); float64, drawn on the host.

        `law` is "gaussian", "uniform" or "rademacher". One independent stream per layer.
        """
        if law not in INIT_LAWS:
            raise ValueError(f"init law {law!r} is unknown: use one of {', '.join(INIT_LAWS)}")
        weights, streams = [], Streams(seed).spawn("weights", self.depth)
        for index, (layer, rng) in enumerate(zip(self.layers, streams, strict=True)):
            gain = 1.0 if index == self.depth - 1 else 2.0
            weights.append(_draw(rng, law, layer.weight_shape) * math.sqrt(gain / layer.fan_in))
        return weights

    def flatten(self, weights: Sequence[HostArray]) -> HostArray:
        """The flat parameter vector (N,): the concatenation of the raveled layers."""
        return np.concatenate([np.asarray(w).reshape(-1) for w in weights])

    def unflatten(self, vector: HostArray) -> list[HostArray]:
        """The inverse of `flatten`."""
        parts = zip(self.slices, self.weight_shapes, strict=True)
        return [np.asarray(vector)[part].reshape(shape) for part, shape in parts]


def _draw(rng: np.random.Generator, law: str, shape: Shape) -> HostArray:
    """Independent entries of mean 0 and variance 1."""
    if law == "gaussian":
        return rng.standard_normal(shape)
    if law == "uniform":
        return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape)
    return rng.integers(0, 2, shape) * 2.0 - 1.0


def _positive(value: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{what} {value!r} is not a size: use an integer >= 1")
    return int(value)


def sequential(input_shape: Sequence[int], layers: Sequence[Conv | Pool | Dense]) -> Network:
    """A network from its layers, ending in ``Dense(1)``.

    `input_shape` is (H, W, C) or (n,). Raises `ValueError` for a layer that the signals' shape does not allow.
    """
    shape: Shape = tuple(_positive(size, "input size") for size in input_shape)
    if len(shape) not in (1, 3):
        raise ValueError(f"input shape {shape} is not usable: use (height, width, channels) or (n,)")
    start = shape
    built: list[Layer] = []
    input_pools: list[Pool] = []
    for spec in layers:
        if isinstance(spec, Pool):
            pool = _check_pool(spec, shape)
            if built:
                built[-1] = replace(built[-1], pools=(*built[-1].pools, pool))
            else:
                input_pools.append(pool)
            shape = pooled_shape(shape, [pool])
        else:
            built.append(_weight_layer(spec, shape))
            shape = built[-1].gate_shape
    if not built or built[-1].gate_shape != (1,):
        raise ValueError(f"the network ends in {layers[-1] if layers else 'nothing'}: its last layer must be Dense(1)")
    return Network(start, tuple(built), tuple(input_pools))


def _check_pool(spec: Pool, shape: Shape) -> Pool:
    size = _positive(spec.size, "pooling size")
    if len(shape) != 3:
        raise ValueError(f"{spec} follows a dense layer: pool images, before the first Dense layer")
    if min(shape[:2]) < size:
        raise ValueError(
            f"{spec} meets images of {shape[0]}×{shape[1]}: the network is too deep for the image; "
            "use larger images or fewer pools"
        )
    return replace(spec, size=size)


def _weight_layer(spec: Conv | Dense, shape: Shape) -> Layer:
    if isinstance(spec, Dense):
        width = _positive(spec.width, "width")
        return Layer((math.prod(shape), width), shape, (width,))
    if not isinstance(spec, Conv):
        raise ValueError(f"layer {spec!r} is unknown: use Conv, MaxPool, AvgPool or Dense")
    channels, kernel = _positive(spec.channels, "number of channels"), _positive(spec.kernel, "kernel")
    if len(shape) != 3:
        raise ValueError(f"{spec} follows a dense layer: put convolutions before the first Dense layer")
    if kernel % 2 == 0:
        raise ValueError(f'kernel {kernel} is even: "same" padding needs an odd kernel')
    return Layer((kernel, kernel, shape[2], channels), shape, (*shape[:2], channels))


def mlp(widths: Sequence[int]) -> Network:
    """A multilayer perceptron from [n_0, n_1, ..., n_{L-1}, 1]."""
    sizes = list(widths)
    if len(sizes) < 2:
        raise ValueError(f"widths {sizes} name no weight layer: use [n_0, n_1, ..., 1]")
    return sequential((sizes[0],), [Dense(n) for n in sizes[1:]])


def vgg12(width: float = 1.0, input_shape: Sequence[int] = (32, 32, 3)) -> Network:
    """The paper's 12-layer VGG: 3×3 convolutions 64,64,M,128,128,M,256,256,M,512,512,M,512,512,M, then 512, 1.

    Channels are max(1, round(64·width)) and so on; 9.66 M weights at width 1.
    """
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width {width!r} is not a multiplier: use a number > 0, such as 0.25")
    scaled = [max(1, round(base * width)) for base in (64, 128, 256, 512, 512)]
    layers: list[Conv | Pool | Dense] = []
    for channels in scaled:
        layers += [Conv(channels), Conv(channels), MaxPool(2)]
    return sequential(input_shape, [*layers, Dense(scaled[-1]), Dense(1)])
