"""Leading directions of a network's signals: of what every layer reads, and of the errors at what it hands on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from backends import Array, Backend, HostArray
from simulator.hessian.frozen import Frozen, per_example
from simulator.network.layers import Layer
from simulator.network.network import Network
from simulator.passes.propagation import patches
from simulator.passes.risk import batches

PATCH_BYTES = 1 << 26  # of gathered inputs in flight
NEGLIGIBLE = 1e-12  # of the largest eigenvalue: no direction that signals have


class SignalGrams:
    """Gram matrices Σ_i c_i² Σ_sites over neurons of the signals of every layer, summed over batches in float64.

    ``inputs`` (fan_in, fan_in) of the patches of x_{l-1} that layer l reads, ``errors`` (n_l, n_l) of δ̂_l = c ∂T/∂z_l.
    Inputs are weighted as errors are: an example with c_i near 0 says little of the Hessian. Only the kinds that are
    asked for: matrices of inputs are large.
    """

    def __init__(
        self, network: Network, layers: Sequence[int], ops: Backend, inputs: bool = True, errors: bool = True
    ) -> None:
        self._network, self._ops = network, ops
        shapes = {index: network.layers[index] for index in layers}
        self.inputs = {i: np.zeros((layer.fan_in, layer.fan_in)) for i, layer in shapes.items() if inputs}
        self.errors = {i: np.zeros((layer.weight_shape[-1],) * 2) for i, layer in shapes.items() if errors}

    def add(self, chunk: Frozen, c: Array) -> None:
        """Another batch, with its coefficients (m,)."""
        for index, gram in self.inputs.items():
            x = chunk.signals.inputs[index]
            gram += self._of_inputs(self._network.layers[index], per_example(c, x, self._ops) * x)
        for index, gram in self.errors.items():
            gram += self._gram(chunk.errors[index])

    def _of_inputs(self, layer: Layer, x: Array) -> HostArray:
        total = np.zeros((layer.fan_in, layer.fan_in))
        each = max(1, int(np.prod(layer.gate_shape[:-1])) * layer.fan_in * np.dtype(self._ops.dtype).itemsize)
        for part in batches(x.shape[0], max(1, PATCH_BYTES // each)):
            total += self._gram(patches(self._ops, layer, x[part, ...]))
        return total

    def _gram(self, signals: Array) -> HostArray:
        """Σ over all axes but the last; scaled to 1 first, so that squares of small numbers do not vanish."""
        xp = self._ops.xp
        rows = xp.reshape(signals, (-1, signals.shape[-1]))
        largest = float(xp.max(xp.abs(rows))) if rows.shape[0] else 0.0
        if largest == 0.0:
            return np.zeros((rows.shape[-1],) * 2)
        rows = rows / largest
        gram = self._ops.to_numpy(self._ops.matmul(xp.matrix_transpose(rows), rows))
        return np.asarray(gram, dtype=np.float64) * largest**2

    def leading(self, index: int, of_inputs: int, of_errors: int) -> tuple[HostArray, HostArray]:
        """(U (fan_in, r), V (n_l, r)) of a layer, r of each as asked for, or as many as there are."""
        shape = self._network.layers[index].fan_in, self._network.weight_shapes[index][-1]
        parts = zip((self.inputs, self.errors), shape, (of_inputs, of_errors), strict=True)
        u, v = (_leading(grams[index], count) if count else np.zeros((n, 0)) for grams, n, count in parts)
        return u, v


def _leading(gram: HostArray, count: int) -> HostArray:
    """Eigenvectors (n, r) of the largest eigenvalues of a Gram matrix, none of those that are 0; all n: every one."""
    n, size = gram.shape[0], float(np.trace(gram))
    if count >= n:
        return np.eye(n)
    if size <= 0.0:
        return np.zeros((n, 0))
    values, vectors = eigh(gram / size, subset_by_index=[max(0, n - count), n - 1])
    kept: HostArray = vectors[:, values > NEGLIGIBLE * values[-1]]
    return kept
