"""A network with gates drawn at a temperature: its outputs, gradient and Hessian, one set of draws after another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import check_temperature, log_label
from simulator.hessian.operator import HessianOperator
from simulator.inputs import check_count, check_examples, check_labels, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.drawn import DrawnGates
from simulator.passes.losses import get_loss
from simulator.passes.propagation import propagate_output
from simulator.passes.risk import batches, output_gradient, summed_gradients
from simulator.streams import RowStreams, Seed, Streams
from simulator.thermal.walk import Shares, drawn, joint_gradient, walk

LAWS = ("forward", "posterior")


class StochasticNetwork:
    """A network at a temperature T: sets of gates drawn for every example, and averages over a set.

    Set number k has `samples` draws h_s of the gates of each of the m examples, P(h = 1) = σ(z/T), and of the sites
    that max-pools choose (F4). They are the same ones whenever they are asked for, so that outputs, gradient and
    Hessian belong together. With shares q_si that sum to 1 over the draws of an example,

        R = Σ_si q_si ℓ(y_i T(x_i, h_s)) / m,   H = Σ_si q_si [ℓ' y ∇²T + ℓ'' ∇T ∇T^T](x_i, h_s) / m,

    gates held fixed. The law "forward" has q = 1/samples: R, ∇R and H are unbiased for the means over µ(h|x). The law
    "posterior" has q ∝ µ(y|x, h_s), the importance sample of µ(h|x,y): means over it, up to a bias of order 1/samples.

    Parameters
    ----------
    x : (m, *input_shape); ``y`` (m,) labels; ``temperature`` >= 0, where 0 is the ReLU network
    law : "forward", or "posterior", which needs the logistic loss, a likelihood
    samples : draws of a set; ``part``: of the Hessian, as in `HessianOperator`

    >>> import numpy as np
    >>> from simulator import StochasticNetwork, mlp
    >>> network = mlp([2, 4, 1])
    >>> drawn = StochasticNetwork(network, network.init(0), np.eye(2), [1.0, -1.0], 0.5, samples=3, backend="numpy")
    >>> drawn.outputs(0).shape, drawn.draw(0).shape
    ((3, 2), (12, 12))
    """

    def __init__(
        self,
        network: Network,
        weights: Sequence[Any],
        x: Any,
        y: Any,
        temperature: float,
        *,
        loss: str = "hinge",
        law: str = "forward",
        samples: int = 1,
        part: str = "full",
        seed: Seed = 0,
        backend: str | Backend | None = None,
    ) -> None:
        if law not in LAWS:
            raise ValueError(f"law {law!r} of the gates is unknown: use one of {', '.join(LAWS)}")
        if law == "posterior" and loss != "logistic":
            raise ValueError(f"loss {loss!r} is not a likelihood: the posterior law needs 'logistic'")
        self.network, self.backend, self.law, self.loss = network, get_backend(backend), law, loss
        self.temperature, self.samples = check_temperature(temperature), check_count(samples, "samples")
        self.x = check_examples(network, x, self.backend.dtype)
        self.y, self.part = check_labels(y, self.x.shape[0]), part
        self._weights = check_weights(network, weights, self.backend)
        self._root = int(Streams(seed)("stochastic gates").integers(2**63))  # the same gates at every call
        self._outputs = lru_cache(maxsize=None)(self._pass)

    def gates(self, index: int) -> DrawnGates:
        """Which gates the rows of set number `index` draw: row s·m + i is draw s of example i."""
        return DrawnGates(self.temperature, len(self.x), self._root, index)

    @property
    def rows(self) -> HostArray:
        """The examples of a set, (samples · m, *input_shape): x, once for every draw."""
        return np.concatenate([self.x] * self.samples)

    def outputs(self, index: int) -> HostArray:
        """T(x_i, h_s) of set number `index`, (samples, m), in float64."""
        return self._outputs(index)

    def _pass(self, index: int) -> HostArray:
        ops, m, gates, found = self.backend, len(self.x), self.gates(index), []
        with device_memory(self.network, ops, min(ops.batch_size, m)), ops.computing():
            for draw in range(self.samples):
                for part in batches(m, ops.batch_size):
                    numbers = gates.numbers(range(draw * m + part.start, draw * m + part.stop))
                    x = ops.asarray(self.x[part])
                    out = propagate_output(self.network, self._weights, x, ops, self.temperature, numbers)
                    found.append(ops.to_numpy(out).astype(np.float64))
        return np.concatenate(found).reshape(self.samples, m)

    def shares(self, index: int) -> HostArray:
        """q (samples, m), the weight of every draw of an example; they sum to 1 over the draws."""
        if self.law == "forward":
            return np.full((self.samples, len(self.x)), 1.0 / self.samples)
        log = log_label(np, self.y * self.outputs(index))[1]
        found: HostArray = np.exp(log - np.logaddexp.reduce(log, axis=0))
        return found

    def coefficients(self, index: int) -> tuple[HostArray, HostArray]:
        """(q ∂ℓ/∂T/m, q ℓ''/m) of every row, (samples · m,) each: what the Hessian of the set is made of."""
        loss, u = get_loss(self.loss), self.y * self.outputs(index)
        q = self.shares(index) / len(self.x)
        return (q * loss.slope(np, u) * self.y).ravel(), (q * loss.curvature(np, u)).ravel()

    def draw(self, index: int, seed: Seed = 0) -> HessianOperator:
        """The Hessian of set number `index`, gates held fixed; `EnsembleLanczos` takes its means over sets."""
        c, bent = self.coefficients(index)
        if self.part == "gauss_newton":
            c = np.zeros_like(c)
        elif self.part == "residual":
            bent = np.zeros_like(bent)
        return HessianOperator(
            self.network, self._weights, self.rows, None, c=c, curvature=bent, gates=self.gates(index),
            backend=self.backend,
        )  # fmt: skip

    def output_gradient(self, index: int) -> list[HostArray]:
        """∇R of set number `index` with its gates held fixed, an array for each layer: what E3 and E4 speak of."""
        c, _ = self.coefficients(index)
        return output_gradient(self.network, self._weights, self.rows, c, self.backend, self.gates(index))

    def gradient(self, index: int) -> list[HostArray]:
        """What learning descends along, from set number `index`, an array for each layer.

        Of the forward law it is `output_gradient`: the terms of the gates' own laws have mean 0 and are left out. Of
        the posterior it is Fisher's -∇ (1/m) Σ log µ(y_i|x_i) = -(1/m) Σ_si q_si ∇ log µ(y_i, h_s|x_i), where these
        terms stay, with q - 1/samples in place of q: the same mean, and far less noise.
        """
        if self.law == "forward" or self.temperature == 0.0:
            return self.output_gradient(index)
        ops, gates, q = self.backend, self.gates(index), self.shares(index).ravel() / len(self.x)

        def part(rows: HostArray) -> list[Array]:
            x = ops.asarray(self.x[rows % len(self.x)])
            decide = drawn(ops, self.temperature, _numbers(gates, rows))
            passed = walk(self.network, self._weights, x, ops, decide)
            away = 1.0 / q.size - q[rows]
            y, label, laws = (ops.asarray(a) for a in (self.y[rows % len(self.x)], -q[rows], away))
            shares = Shares(label, laws)
            return joint_gradient(self.network, self._weights, ops, passed, y, self.temperature, shares)

        return summed_gradients(self.network, np.arange(q.size), part, ops)


def _numbers(gates: DrawnGates, rows: HostArray) -> RowStreams:
    numbers = gates.numbers(rows)
    if numbers is None:
        raise ValueError("temperature 0 draws nothing: use a temperature > 0")
    return numbers
