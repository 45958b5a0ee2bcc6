"""The gates of forward propagation in the law of the network at a temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import check_temperature
from simulator.inputs import check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.risk import batches
from simulator.shown import shown

from .moves import promise, promises
from .walk import likeliest, log_joint, walk


@shown
@dataclass(frozen=True)
class ReluGates:
    """The gates of forward propagation: ``log_joint`` log µ(y, h|x), (m,), and what they are a maximum of.

    ``stable`` (m,): whether (F5) shows that no other decisions of one layer, or of one pool, raise it.
    ``largest_rise`` is the most that another decision of one gate, or of one window, would raise the log-probability of
    its own stage given the stages below. It is never above 0: forward propagation maximises the law of every layer (7).
    """

    log_joint: HostArray
    stable: HostArray
    largest_rise: float


def relu_gates(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    temperature: float,
    backend: str | Backend | None = None,
) -> ReluGates:
    """log µ(y, h|x) at the ReLU gates: the evidence bound at a law that is certain of them (temperature > 0).

    >>> import numpy as np
    >>> from simulator import mlp, relu_gates
    >>> seen = relu_gates(mlp([1, 1, 1]), [np.array([[2.0]]), np.array([[0.0]])], [[1.0]], [1.0], 1.0)
    >>> bool(np.isclose(seen.log_joint[0], -np.log1p(np.exp(-2.0)) - np.log(2.0))), seen.largest_rise
    (True, -2.0)
    """
    ops = get_backend(backend)
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves one configuration, the ReLU gates: use a temperature > 0")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    labels, largest, values, stable = check_labels(y, x.shape[0]), -np.inf, [], []
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            passed, label = walk(network, w, ops.asarray(x[part]), ops, likeliest(ops)), ops.asarray(labels[part])
            values.append(ops.to_numpy(log_joint(ops, passed, label, temperature)))
            own = [promise(ops, law, f, d, ops.xp.full_like(f, 1 / temperature)) for law, f, d in passed.stages()]
            largest = max([largest, *(float(ops.xp.max(gain)) for gain in own)])
            most = [_most(ops, gain) for gain in promises(network, w, ops, passed, label, temperature)]
            stable.append(np.max(most, axis=0, initial=-np.inf) <= 0.0 if most else np.ones(label.shape[0], bool))
    return ReluGates(np.concatenate(values), np.concatenate(stable), largest)


def _most(ops: Backend, gain: Array) -> HostArray:
    """The largest number of every example, (m,)."""
    return ops.to_numpy(ops.xp.max(ops.xp.reshape(gain, (gain.shape[0], -1)), axis=1))
