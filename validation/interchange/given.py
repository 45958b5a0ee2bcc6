"""What is given to a job as objects and not by name: a network, and its weights in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from simulator import Conv, Dense, Network
from simulator.network.layers import Layer
from validation.errors import OptionError, WeightsError
from validation.run.storage import arrays_checksum

from .layout import Layout
from .live import live_content
from .weights import LoadedWeights, loaded


class GivenNetwork:
    """A network described in Python, with a line of text that tells it from every other."""

    EXPECTED: ClassVar[str] = "a network of `simulator.sequential` or `validation.from_torch`"

    def __init__(self, network: Network) -> None:
        self.network = network

    def __str__(self) -> str:
        """Its layers as ``--network`` names them, with what that leaves out: sides of kernels and pools."""
        pools = [_pool(pool) for pool in self.network.input_pools]
        words = [*pools, *(word for layer in self.network.layers for word in _words(layer))]
        return f"given: {','.join(words)} on {'x'.join(map(str, self.network.input_shape))}"

    def on(self, shape: tuple[int, ...]) -> Network:
        """The network, for examples of a shape; `OptionError` where they are not its inputs."""
        if self.network.input_shape not in (shape, (int(np.prod(shape)),)):
            raise OptionError(
                f"--network takes examples of shape {self.network.input_shape}, and these are of shape {shape}: "
                "give data of that shape, or another input_shape"
            )
        return self.network


def _words(layer: Layer) -> list[str]:
    *sides, _, width = layer.weight_shape
    side = f"({sides[0]}x{sides[0]})" if layer.convolutional else ""
    word = Conv if layer.convolutional else Dense
    return [f"{word.__name__.lower()}{width}{side}", *map(_pool, layer.pools)]


def _pool(pool: Any) -> str:
    return f"{'pool' if pool.chooses else 'avg'}{pool.size}"


class GivenWeights:
    """Weights in memory: the arrays of a network's layers in order, or what `load_weights` takes."""

    EXPECTED: ClassVar[str] = "the path of a file, a list of arrays, a state dictionary or a mapping of arrays"

    def __init__(self, source: Any) -> None:
        self._in_order = isinstance(source, (list, tuple)) and all(isinstance(w, np.ndarray) for w in source)
        self._where, self._layout, content = live_content(source)
        # Read at once: parameters can be listed only once, and training changes what a module holds.
        arrays = [entry.read() for entry in content.entries]
        kept = [replace(e, read=partial(np.copy, a)) for e, a in zip(content.entries, arrays, strict=True)]
        self._content = replace(content, entries=kept)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all arrays and their names, in hexadecimal."""
        return arrays_checksum((entry.name, entry.read()) for entry in self._content.entries).hex()

    def __str__(self) -> str:
        return f"{self._where} in memory"

    def load(self, network: Network, image_shape: Sequence[int] | None, names: Sequence[str] | None) -> LoadedWeights:
        """The weights of a network; `WeightsError` where they are not."""
        if not self._in_order:
            return loaded(self._where, self._content, Layout(network, self._layout, None, image_shape), names)
        weights = [entry.read() for entry in self._content.entries]
        if [w.shape for w in weights] != network.weight_shapes or not all(np.isfinite(w).all() for w in weights):
            raise WeightsError(
                f"weights of shapes {', '.join(str(w.shape) for w in weights) or 'nothing'} were given: "
                f"expected {', '.join(map(str, network.weight_shapes))}, all of them finite"
            )
        places = tuple(str(layer) for layer in range(1, len(weights) + 1))
        return LoadedWeights(weights, places, "as given")
