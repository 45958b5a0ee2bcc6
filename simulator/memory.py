"""Memory of the device: what a batch takes, and one sentence when it does not fit."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from backends import Backend
from simulator.network.network import Network

USABLE = 0.8  # of the free memory: the rest is lost between blocks


def example_bytes(network: Network, itemsize: int, vectors: int = 0) -> int:
    """Memory that one example takes in flight: x, z, δ and masks of every layer, and tangents of `vectors` vectors."""
    gates = sum(math.prod(layer.gate_shape) for layer in network.layers)
    inputs = sum(math.prod(layer.input_shape) for layer in network.layers)
    return itemsize * (1 + vectors) * (2 * gates + 2 * inputs) + gates


@contextmanager
def device_memory(network: Network, ops: Backend, batch_size: int, vectors: int = 0) -> Iterator[None]:
    """Around work on batches: a `MemoryError` of the device becomes one that says which batch size would fit."""
    try:
        yield
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)  # what the work had made is free again
        free = ops.free_bytes()
        if free is None:
            raise
        each = example_bytes(network, np.dtype(ops.dtype).itemsize, vectors)
        fits = min(int(USABLE * free / each), batch_size // 2)
        advice = f"use a batch size of at most {fits}" if fits > 0 else "use a smaller network"
        raise MemoryError(
            f"{batch_size} examples at a time take about {batch_size * each / 1e9:.2g} GB and do not fit into the "
            f"{free / 1e9:.2g} GB that the device has free: {advice}"
        ) from None
