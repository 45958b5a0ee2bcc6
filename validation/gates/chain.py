"""The chain rule of the gates' entropy, by a second road: every configuration walked, every layer's own law summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import ExactThermodynamics, Network
from simulator.enumeration.gates import n_gates, state_bits
from simulator.thermal.sampling import statistics
from simulator.thermal.walk import given, log_law, walk

Array = np.ndarray[Any, Any]
ROWS = 1 << 15  # configurations in memory at a time


def chain_error(
    network: Network, weights: Sequence[Array], x: Array, temperature: float, exact: ExactThermodynamics, ops: Backend
) -> float:
    """The largest of two differences over these examples: of S and of U, relative to S + |U|/T.

    ``exact`` has them as sums over configurations, S = -Σ µ(h|x) log µ(h|x) and U = Σ µ(h|x) E(h). Here they are means
    over the gates below of the entropy and the mean energy of each layer's own law (F2), x (m, n_0) of a dense network.
    """
    gates, w = n_gates(network), [ops.asarray(a) for a in weights]
    sizes = np.cumsum([layer.gate_shape[0] for layer in network.layers[:-1]])[:-1]
    worst = 0.0
    for i in range(x.shape[0]):
        energy = entropy = 0.0
        for first in range(0, 1 << gates, ROWS):
            states = np.arange(first, min(first + ROWS, 1 << gates), dtype=np.int64)
            bits = [ops.asarray(part, "bool") for part in np.split(state_bits(states, gates) > 0, sizes, axis=1)]
            rows = ops.asarray(np.repeat(x[i].reshape(1, -1), states.size, axis=0))
            passed = walk(network, w, rows, ops, given(bits))
            law = np.exp(ops.to_numpy(log_law(ops, passed, temperature)))
            for mean, _, own, _ in statistics(ops, passed, temperature):
                energy += float(law @ ops.to_numpy(mean))
                entropy += float(law @ ops.to_numpy(own))
        scale = float(exact.entropy[i] + abs(exact.energy[i]) / temperature)
        away = max(abs(entropy - exact.entropy[i]), abs(energy - exact.energy[i]) / temperature)
        worst = max(worst, float(away) / scale if scale > 0 else 0.0)
    return worst
