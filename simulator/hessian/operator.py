"""The Hessian of the empirical risk as a linear operator, for frozen gates."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, Step, get_backend
from simulator.inputs import (
    check_coefficients,
    check_count,
    check_examples,
    check_labels,
    check_weights,
    in_range,
)
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.drawn import DrawnGates
from simulator.passes.losses import get_loss
from simulator.passes.propagation import Signals, linear, linear_adjoint_gated, linear_gated, linear_gradient
from simulator.passes.risk import batches, output

from .block import HessianBlock
from .diagonal import squared_gradients
from .frozen import Freeze, Frozen, NetworkFreeze, per_example, signal_sizes
from .products import SymmetricProducts

PARTS = ("full", "gauss_newton", "residual")


class HessianOperator(SymmetricProducts):
    """H = G + Σ_i c_i ∇²T_i with frozen gates, as products with vectors; symmetric.

    c_i = ∂ℓ/∂T_i / m (the *residual* part, the paper's "matrix in a decomposed form"), and
    G = (1/m) Σ_i ℓ''_i ∇T_i ∇T_i^T (*gauss_newton*). For the hinge G = 0, so that "full" equals "residual".

    One product is a tangent pass and its adjoint (ẋ_0 = 0, δ̇_L = (ℓ''/m) ẋ_L)::

        ẋ_l = D_l (W_l^T ẋ_{l-1} + V_l^T x_{l-1}),   δ̇_l = D_l (W_{l+1} δ̇_{l+1} + V_{l+1} δ̂_{l+1}),
        (HV)_l = Σ_i ( ẋ_{l-1,i} δ̂_{l,i}^T + x_{l-1,i} δ̇_{l,i}^T ).

    Gates, x and δ̂ are computed once (and kept up to the backend's `kept_bytes`); examples with c_i = 0 and ℓ''_i = 0
    take no part; several vectors share one pass. The order of the examples is fixed, so products are reproducible.

    Parameters: `part` is "full", "gauss_newton" or "residual"; `c` (m,) overrides ∂ℓ/∂T/m: the operator is then
    Σ c_i ∇²T_i, and `y`, `loss` and `part` are ignored. With `c`, `curvature` (m,) stands for ℓ''/m, and G is added,
    and `gates` may say which gates the examples draw at a temperature (`StochasticNetwork` makes it).
    `batch_size` examples are in flight at a time.
    Attributes: ``network``, ``backend``, ``c`` (m,), ``active`` (indices of the examples that take part).
    """

    def __init__(
        self,
        network: Network,
        weights: Sequence[Any],
        x: Any,
        y: Any,
        loss: str = "hinge",
        part: str = "full",
        c: Any = None,
        backend: str | Backend | None = None,
        batch_size: int | None = None,
        curvature: Any = None,
        gates: DrawnGates | None = None,
    ) -> None:
        if part not in PARTS:
            raise ValueError(f"part {part!r} is unknown: use one of {', '.join(PARTS)}")
        self.network, self.backend = network, get_backend(backend)
        self.part = part if c is None else "residual" if curvature is None else "full"
        super().__init__(np.dtype(self.backend.dtype), (network.n_weights, network.n_weights))
        self._weights = [self.backend.constant(w) for w in check_weights(network, weights, self.backend)]
        self._batch_size = check_count(self.backend.batch_size if batch_size is None else batch_size, "batch_size")
        x = check_examples(network, x, self.backend.dtype)
        if c is None and gates is not None:
            raise ValueError("gates are drawn, but c is not given: pass ∂ℓ/∂T/m of the outputs with these gates")
        if c is None:
            self.c, bent = self._coefficients(x, y, loss)
        else:
            given = (c, np.zeros(x.shape[0]) if curvature is None else curvature)
            self.c, bent = (check_coefficients(a, x.shape[0], self.backend.dtype) for a in given)
        on, curved = (a.astype(self.backend.dtype) != 0 for a in (self.c, bent))  # what the backend sees of them
        self._has_curvature = self.part != "residual" and bool(np.any(curved))
        self._has_residual = self.part != "gauss_newton" and bool(np.any(on))
        self.active: HostArray = np.flatnonzero((self._has_residual & on) | (self._has_curvature & curved))
        self._x = self.backend.asarray(x[self.active])
        self._c, self._curvature = (self.backend.asarray(a[self.active]) for a in (self.c, bent))
        self.frozen_weights = self._weights  # those behind the frozen signals
        self._freeze: Freeze = NetworkFreeze(network, self._weights, self.backend, gates)
        self._curved_by_signals = False  # whether G is made of signals alone, and not of tangents
        self._kept: list[Frozen] | None = None
        self._replayed: dict[int, Step] = {}  # products of so many vectors, where a device can record them

    def _coefficients(self, x: HostArray, y: Any, loss: str) -> tuple[HostArray, HostArray]:
        """(c, ℓ''/m) of every example."""
        chosen, m = get_loss(loss), x.shape[0]
        y = check_labels(y, m)
        t = output(self.network, self._weights, x, self.backend, batch_size=self._batch_size)
        u = y * t.astype(np.float64)
        slope, curvature = chosen.slope(np, u) * y / m, chosen.curvature(np, u) / m
        names = (("∂ℓ/∂T/m", slope, "gauss_newton"), ("ℓ''/m", curvature, "residual"))
        for name, values, without in names:
            if self.part != without:
                in_range(values, name, self.backend.dtype)
        return slope, curvature

    def _chunk(self, part: slice) -> Frozen:
        ops, x, c, rows = self.backend, self._x[part, ...], self._c[part], self.active[part]
        if not self._curved_by_signals:
            return Frozen(*self._freeze(x, c, rows), self._curvature[part])
        signals, slopes = self._freeze(x, ops.xp.ones_like(c), rows)
        errors = [per_example(c, d, ops) * d for d in slopes]
        return Frozen(signals, errors, self._curvature[part], slopes)

    def _chunks(self) -> Iterator[Frozen]:
        parts = list(batches(self.active.size, self._batch_size))
        if self._kept is None and self.signal_bytes <= self.backend.kept_bytes:
            self._kept = [self._chunk(part) for part in parts]
        yield from self._kept if self._kept is not None else map(self._chunk, parts)

    @property
    def curved(self) -> bool:
        """Whether a Gauss-Newton part takes part."""
        return self._has_curvature

    def examples(self) -> Iterator[tuple[Array, Array, HostArray]]:
        """(x, c) of the active examples on the device, and their rows among all, a batch at a time."""
        for part in batches(self.active.size, self._batch_size):
            yield self._x[part, ...], self._c[part], self.active[part]

    def frozen(self) -> Iterator[tuple[Frozen, Array]]:
        """(frozen signals, c) of the active examples, a batch at a time."""
        for chunk, (_, c, _) in zip(self._chunks(), self.examples(), strict=True):
            yield chunk, c

    @property
    def precision(self) -> float:
        """Relative rounding error of a product: that of the backend's dtype, or of TF32 where convolutions use it."""
        coarse = self.backend.tf32 and any(layer.convolutional for layer in self.network.layers)
        return 2.0**-10 if coarse else float(np.finfo(self.backend.dtype).eps)

    def underflows(self) -> bool:
        """Whether a layer's frozen signals, x or δ̂, are too small to be normal numbers of the backend's dtype.

        Signals of 0 count where all terms behind them are as small; not those of a layer whose gates are off.
        """
        least, weights = float(np.finfo(self.backend.dtype).smallest_normal), list(map(self._largest, self._weights))
        for chunk in self._chunks():
            x, d = ([self._largest(a) for a in arrays] for arrays in (chunk.signals.inputs, chunk.errors))
            rising = list(zip(x[1:], (a * w for a, w in zip(x, weights, strict=False)), strict=False))
            falling = list(zip(d[-2::-1], (a * w for a, w in zip(d[:0:-1], weights[::-1], strict=False)), strict=False))
            if any(0.0 < (signal or term) < least for signal, term in rising + falling):
                return True
        return False

    def _largest(self, a: Array) -> float:
        return float(self.backend.xp.max(self.backend.xp.abs(a)))

    @property
    def signal_bytes(self) -> int:
        """Memory that the frozen signals of all active examples take."""
        sizes, inputs = signal_sizes(self.network)
        item, errors = np.dtype(self.backend.dtype).itemsize, 2 if self._curved_by_signals else 1
        return self.active.size * (item * (errors * sum(sizes) + sum(inputs)) + sum(sizes[:-1]))

    @property
    def tangent_bytes(self) -> int:
        """Memory that the tangents of one vector take in a product: of a batch, all layers up and two layers down."""
        sizes, inputs = signal_sizes(self.network)
        batch = min(self._batch_size, self.active.size)
        return batch * np.dtype(self.backend.dtype).itemsize * (sum(inputs[1:]) + 2 * max(sizes))

    def with_weights(self, weights: Sequence[Any], freeze: Freeze | None = None) -> HessianOperator:
        """The operator of other weights in the tangent passes, with this one's frozen x, gates, δ̂ and ℓ''.

        Not a Hessian of any network but the ensemble in which, given the signals, the weights are random: fresh
        weights of the same mean square make a draw of it. The Gauss-Newton part, whose ∇T_i consist of signals
        x_{l-1} δ_l^T, is exact. Symmetric; `c` and `active` stay. With `freeze` the signals are others too. Signals
        that do not fit into the backend's `kept_bytes` are made again for every product.
        """
        other = copy.copy(self)
        other._weights = [self.backend.constant(w) for w in check_weights(self.network, weights, self.backend)]
        other._curved_by_signals, other._kept, other._replayed = self._has_curvature, None, {}
        if freeze is not None:
            other._freeze = freeze
        elif other._curved_by_signals == self._curved_by_signals and self.signal_bytes <= self.backend.kept_bytes:
            list(self._chunks())
            other._kept = self._kept
        return other

    def rows(self, v: Array) -> Array:
        """H applied to each row of a device array v (K, N) -> (K, N)."""
        ops, count = self.backend, int(v.shape[0])
        if not ops.asynchronous or self.signal_bytes > ops.kept_bytes:
            return self._all_rows(v)
        if count not in self._replayed:
            own = weakref.proxy(self)  # not kept alive by its own record: signals take gigabytes
            self._replayed[count] = ops.replay(lambda state, _: [own._all_rows(state[0])])
        return ops.xp.asarray(self._replayed[count]([v], [])[0], copy=True)

    def _all_rows(self, v: Array) -> Array:
        parts = zip(self.network.slices, self.network.weight_shapes, strict=True)
        return self.directed_rows(
            [self.backend.xp.reshape(v[:, p], (v.shape[0], *shape)) for p, shape in parts], v.shape[0]
        )

    def layer_rows(self, layer: int, v: Array) -> Array:
        """H applied to vectors supported on one layer (0 for the first): v (K, N_l) -> (K, N).

        A third of the work of `rows`: tangents start at the layer, their errors end there.
        """
        directions: list[Array | None] = [None] * self.network.depth
        shape = self.network.weight_shapes[layer]
        directions[layer] = self.backend.xp.reshape(v, (v.shape[0], *shape))
        return self.directed_rows(directions, v.shape[0])

    def block(self, layers: Sequence[int]) -> HessianBlock:
        """The block H_{ll'} of some layers (0 for the first), for the spectrum of a part of the network.

        Diagonal blocks of the residual part are 0 by E1: ``block([l])`` of a hinge risk is the zero matrix, and the
        block of two layers has a spectrum symmetric about 0.

        >>> from simulator import HessianOperator, mlp
        >>> network = mlp([2, 2, 1])
        >>> hessian = HessianOperator(network, network.init(0), [[1.0, 2.0]], [1.0])
        >>> hessian.block([0, 1]).shape, bool(hessian.block([1]).dense().any())
        ((6, 6), False)
        """
        chosen = [check_count(layer, "layer", 0) for layer in layers]
        if not chosen or chosen != sorted(set(chosen)) or chosen[-1] >= self.network.depth:
            raise ValueError(
                f"layers {list(layers)} are not usable: give increasing numbers from 0 to {self.network.depth - 1}"
            )
        return HessianBlock(self, chosen)

    def diagonal(self) -> HostArray:
        """The diagonal of H (N,), exactly; what a LinearOperator does not give by itself.

        T is linear in every single weight while gates are frozen, so the residual part has no diagonal (E1), and what
        is left is that of the Gauss-Newton part, (1/m) Σ_i ℓ''_i (∂T_i/∂w)². For the hinge, whose ℓ'' is 0, it is 0.
        """
        if not self._has_curvature:
            return np.zeros(self.shape[0], dtype=self.dtype)
        found = squared_gradients(self.network, self.backend, self._slopes())
        return self.network.flatten([self.backend.to_numpy(part) for part in found])

    def trace(self) -> float:
        """tr H, exactly: 0 for the residual part (E2), and (1/m) Σ_i ℓ''_i ||∇T_i||² for the Gauss-Newton part.

        >>> from simulator import HessianOperator, mlp
        >>> network = mlp([2, 2, 1])
        >>> weights = [[[1.0, 0.0], [0.0, 1.0]], [[1.0], [1.0]]]
        >>> HessianOperator(network, weights, [[1.0, 2.0]], [1.0]).trace()
        0.0
        >>> HessianOperator(network, weights, [[1.0, 2.0]], [1.0], loss="squared").trace()
        15.0
        """
        return float(np.sum(self.diagonal(), dtype=np.float64))

    def _slopes(self) -> Iterator[tuple[Signals, list[Array], Array]]:
        """(signals, ∂T/∂z_l, ℓ''/m) of the active examples, a batch at a time."""
        for part in batches(self.active.size, self._batch_size):
            top = self.backend.xp.ones_like(self._c[part])
            signals, slopes = self._freeze(self._x[part, ...], top, self.active[part])
            yield signals, slopes, self._curvature[part]

    def directed_rows(self, directions: list[Array | None], count: int) -> Array:
        """H applied to `count` vectors by layers, ([K,] *weight_shape), None for a layer where they are 0 -> (K, N)."""
        ops = self.backend
        size = min(self._batch_size, self.active.size)
        with ops.computing(reuse=self.active.size > size), device_memory(self.network, ops, size, vectors=count):
            total: list[Array | None] = [None] * self.network.depth
            for chunk in self._chunks():
                product = self._chunk_product(chunk, directions)
                total = [a if b is None else b if a is None else a + b for a, b in zip(total, product, strict=True)]
        sizes = self.network.layer_sizes
        parts = [
            ops.zeros((count, n)) if t is None else ops.xp.reshape(t, (count, n))
            for t, n in zip(total, sizes, strict=True)
        ]
        return ops.xp.concat(parts, axis=1)

    def _chunk_product(self, chunk: Frozen, v: list[Array | None]) -> list[Array | None]:
        """(HV)_l of one chunk; None stands for what vanishes identically, here and below.

        Downwards a layer's δ̇ and the ẋ below it are let go once both have been used: half the memory of keeping all.
        """
        tangents = self._tangents(chunk.signals, v)
        top, pull = tangents.pop(), self._pull(chunk, v)
        error = chunk.curvature[:, None] * top if top is not None else None
        product: list[Array | None] = [None] * self.network.depth
        for index in range(self.network.depth - 1, -1, -1):
            tangent = tangents.pop() if index > 0 else None
            pairs = []
            if self._has_residual and tangent is not None:
                pairs.append((tangent, chunk.errors[index]))
            if error is not None:
                pairs.append((chunk.signals.inputs[index], error))
            if pull is not None and chunk.slopes is not None:
                slope = chunk.slopes[index]
                pairs.append((chunk.signals.inputs[index], per_example(pull, slope, self.backend) * slope))
            if pairs:
                product[index] = linear_gradient(self.backend, self.network.layers[index], *pairs)
            del tangent, pairs
            if index > 0:
                error = self._error_below(chunk, index, error, v[index])
        return product

    def _pull(self, chunk: Frozen, v: list[Array | None]) -> Array | None:
        """(ℓ''/m) ∇T · V of every example, ([K,] m), where G is made of signals: ∇_l T = Σ x_{l-1} δ_l^T."""
        if chunk.slopes is None or not self._has_curvature:
            return None
        ops, total = self.backend, None
        for layer, x, slope, direction in zip(self.network.layers, chunk.signals.inputs, chunk.slopes, v, strict=True):
            if direction is not None:
                terms = linear(ops, layer, (x, direction)) * slope
                part = ops.xp.sum(terms, axis=tuple(range(-len(layer.gate_shape), 0)))
                total = part if total is None else total + part
        return None if total is None else chunk.curvature * total

    def _tangents(self, signals: Signals, v: list[Array | None]) -> list[Array | None]:
        """ẋ_1..ẋ_{L-1}, and ẋ_L where the loss is curved."""
        tangents: list[Array | None] = []
        for index, layer in enumerate(self.network.layers):
            last = index == self.network.depth - 1
            pairs = []
            if index > 0 and tangents[-1] is not None:
                pairs.append((tangents[-1], self._weights[index]))
            if v[index] is not None:
                pairs.append((signals.inputs[index], v[index]))
            if not pairs or (last and (self._curved_by_signals or not self._has_curvature)):
                tangents.append(None)
                continue
            if last:
                tangents.append(linear(self.backend, layer, *pairs))
            else:
                tangents.append(linear_gated(self.backend, layer, signals.gates[index], *pairs))
        return tangents

    def _error_below(self, chunk: Frozen, index: int, error: Array | None, v: Array | None) -> Array | None:
        """δ̇ of the layer below `index` from its own `error`."""
        pairs = [(error, self._weights[index])] if error is not None else []
        if self._has_residual and v is not None:
            pairs.append((chunk.errors[index], v))
        if not pairs:
            return None
        layer, below = self.network.layers[index], self.network.layers[index - 1]
        return linear_adjoint_gated(self.backend, layer, below, chunk.signals.gates[index - 1], *pairs)
