"""The likelihood of a network of any size at a temperature, from gates drawn by their forward law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, HostArray, get_backend
from simulator.enumeration.gates import check_temperature, log_label
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.propagation import propagate_output
from simulator.passes.risk import batches
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .average import Average


@shown
@dataclass(frozen=True)
class MarginalEstimate:
    """Monte Carlo µ(y=+1|x): ``value`` (m,) with its ``standard_error`` (m,), from ``samples`` draws of the gates.

    ``log_marginal`` (m, 2): log µ(y|x) for y = -1, +1, with ``log_standard_error`` (m, 2). The logarithm of a mean of
    samples is too low by var/(2 samples µ²) to first order, which is added. ``effective_samples`` (m, 2): how many
    draws of the posterior µ(h|x,y) the draws are worth as its importance sample, (Σw)²/Σw² with w = µ(y|x,h).

    The standard errors are those of the draws that were made. A configuration of a probability below 1/samples may
    never be drawn, and they do not know of it: at low temperatures they are too small where it matters.
    """

    value: HostArray
    standard_error: HostArray
    samples: int
    log_marginal: HostArray
    log_standard_error: HostArray
    effective_samples: HostArray

    def log_likelihood(self, y: Any) -> Average:
        """(1/m) Σ_i log µ(y_i|x_i) for labels y (m,), nats an example, with the standard error of the draws."""
        m = self.value.size
        side = (check_labels(y, m) > 0).astype(np.int64)[:, None]
        value, error = (np.take_along_axis(a, side, axis=1) for a in (self.log_marginal, self.log_standard_error))
        return Average(float(value.mean()), float(np.sqrt(np.sum(error**2)) / m))

    def effective_for(self, y: Any) -> HostArray:
        """The effective sample size (m,) of the posterior given labels y (m,)."""
        side = (check_labels(y, self.value.size) > 0).astype(np.int64)[:, None]
        found: HostArray = np.take_along_axis(self.effective_samples, side, axis=1)[:, 0]
        return found


class MarginalSums:
    """log Σ_s µ(y|x,h_s) and log Σ_s µ(y|x,h_s)² for both labels, over draws that come in blocks."""

    def __init__(self, m: int) -> None:
        self._first, self._second = np.full((m, 2), -np.inf), np.full((m, 2), -np.inf)
        self._samples = 0

    def add(self, outputs: HostArray) -> None:
        """Outputs T (draws, m) of more draws."""
        log = np.stack(log_label(np, outputs.astype(np.float64)), axis=2)
        self._first = np.logaddexp(self._first, np.logaddexp.reduce(log, axis=0))
        self._second = np.logaddexp(self._second, np.logaddexp.reduce(2.0 * log, axis=0))
        self._samples += len(outputs)

    def result(self) -> MarginalEstimate:
        """The estimate from at least two draws."""
        count = self._samples
        log = self._first - np.log(count)
        spread = np.maximum(count * np.exp(self._second - 2.0 * self._first) - 1.0, 0.0) * count / (count - 1)
        relative = np.sqrt(spread / count)
        value = np.exp(log[:, 1])
        return MarginalEstimate(
            value,
            value * relative[:, 1],
            count,
            log + spread / (2.0 * count),
            relative,
            np.exp(2.0 * self._first - self._second),
        )


def monte_carlo_marginal(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    samples: int = 1000,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> MarginalEstimate:
    """µ(y|x) = E_h σ(y T(x, h)) over draws h ~ µ(h|x), for networks too large to enumerate.

    x (m, *input_shape); temperature > 0; at least 2 `samples`. Dense and convolutional layers and pools alike:
    a max-pool draws a site of each window (F4). `exact_marginal` is the sum over all gates of a small network.

    >>> import numpy as np
    >>> from simulator import exact_marginal, mlp, monte_carlo_marginal
    >>> network, weights = mlp([1, 1, 1]), [np.array([[1.0]]), np.array([[2.0]])]
    >>> drawn = monte_carlo_marginal(network, weights, [[1.0]], 1.0, samples=1000)
    >>> bool(abs(drawn.value - exact_marginal(network, weights, [[1.0]], 1.0)) < 4 * drawn.standard_error)
    True
    """
    ops = get_backend(backend)
    x = check_examples(network, x, ops.dtype)
    if samples < 2 or check_temperature(temperature) == 0.0:
        raise ValueError(f"{samples} samples at temperature {temperature:g}: expected at least 2, at a temperature > 0")
    count, rng = check_count(samples, "samples"), Streams(seed)("marginal gates")
    w, sums = check_weights(network, weights, ops), MarginalSums(x.shape[0])
    block = max(1, ops.batch_size // x.shape[0])
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for start in range(0, count, block):
            rows = np.tile(np.arange(x.shape[0]), min(block, count - start))
            parts = [
                ops.to_numpy(propagate_output(network, w, ops.asarray(x[rows[part]]), ops, temperature, rng))
                for part in batches(rows.size, ops.batch_size)
            ]
            sums.add(np.concatenate(parts).reshape(-1, x.shape[0]))
    return sums.result()
