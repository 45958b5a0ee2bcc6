"""Compiled enumeration of gate configurations: the twin of `simulator.enumeration.gates._log_marginals`.

The last hidden layer holds most of the leaves. Given its prefix its gates are independent, so its 2^n states are
products of two tables, one over the low bits and one over the high bits: P = P_hi P_lo for the probability and
u = e^{-T} = u_hi u_lo for the output. A leaf then costs one division and three multiply-adds, without an exponential:

    µ(+1) += P / (1 + u),   µ(-1) += P u / (1 + u).

Layers before the last are walked as a tree, parallel over subtrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .jit import njit
from .sums import leaf_sums

Array = np.ndarray[Any, Any]
LOW_BITS = 8
RANGE = 300.0  # largest |T| of a table entry: u_hi u_lo stays finite, and so does u/(1 + u)
SMALLEST = 1e-250  # a marginal below it has lost terms to underflow


@njit(cache=True)
def _tables(z, w, first, count, temperature, probability, decay):  # type: ignore[no-untyped-def]
    """P and u of all states of gates first..first+count, by doubling; the largest |T| among them."""
    probability[0] = 1.0
    decay[0] = 1.0
    high, low = 0.0, 0.0
    for j in range(count):
        field = z[first + j] / temperature
        on = 1.0 / (1.0 + np.exp(-field)) if field > -700.0 else 0.0
        off = 1.0 / (1.0 + np.exp(field)) if field < 700.0 else 0.0
        t = z[first + j] * w[first + j]
        high += max(t, 0.0)
        low -= min(t, 0.0)
        step = np.exp(-min(max(t, -RANGE), RANGE))
        size = 1 << j
        for s in range(size):
            probability[size + s] = probability[s] * on
            decay[size + s] = decay[s] * step
            probability[s] *= off
    return max(high, low)


@njit(cache=True)
def _sum_leaves(p_low, u_low, p_high, u_high, low, high):  # type: ignore[no-untyped-def]
    """(Σ P/(1 + u), Σ P u/(1 + u)) over all pairs of states."""
    plus, minus = 0.0, 0.0
    sums = np.empty(2)
    for i in range(1 << high):
        leaf_sums(p_low, u_low, u_high[i : i + 1], 1 << low, sums)
        plus += p_high[i] * sums[0]
        minus += p_high[i] * sums[1]
    return plus, minus


@njit(cache=True)
def _subtree(x, flat, offsets, widths, prefix, bits, temperature, tables, signals):  # type: ignore[no-untyped-def]
    """Both marginal sums below one configuration `prefix` of the first `bits` gates, and the largest |T| met.

    The remaining gates before the last hidden layer are enumerated here; `signals` (depth, widest) is scratch.
    """
    depth = offsets.size
    hidden = widths.size - 2  # hidden layers; widths has the input and the output besides
    inner = 0
    for layer in range(1, hidden):
        inner += widths[layer]
    plus, minus, reach = 0.0, 0.0, 0.0
    for rest in range(1 << (inner - bits)):
        state = prefix + (rest << bits)
        weight = 1.0
        for a in range(widths[0]):
            signals[0, a] = x[a]
        for layer in range(hidden):
            n, k = widths[layer], widths[layer + 1]
            for b in range(k):
                z = 0.0
                for a in range(n):
                    z += signals[layer, a] * flat[offsets[layer] + a * k + b]
                signals[layer + 1, b] = z
            if layer == hidden - 1:
                break
            for b in range(k):
                field = signals[layer + 1, b] / temperature
                if state & 1:
                    weight *= 1.0 / (1.0 + np.exp(-field)) if field > -700.0 else 0.0
                else:
                    weight *= 1.0 / (1.0 + np.exp(field)) if field < 700.0 else 0.0
                    signals[layer + 1, b] = 0.0
                state >>= 1
        if weight == 0.0:
            continue
        n = widths[hidden]
        low = min(n, LOW_BITS)
        w = flat[offsets[depth - 1] : offsets[depth - 1] + n]
        z = signals[hidden]
        reach = max(reach, _tables(z, w, 0, low, temperature, tables[0], tables[1]))
        reach = max(reach, _tables(z, w, low, n - low, temperature, tables[2], tables[3]))
        a, b = _sum_leaves(tables[0], tables[1], tables[2], tables[3], low, n - low)
        plus += weight * a
        minus += weight * b
    return plus, minus, reach


@njit(parallel=True, cache=True)
def marginal_sums(x, flat, offsets, widths, bits, temperature, sums):  # type: ignore[no-untyped-def]
    """Sums (m, 2^bits, 3) of (µ(-1), µ(+1), largest |T|) over the subtrees below each state of the first gates."""
    m = x.shape[0]
    largest = max(LOW_BITS, widths[widths.size - 2] - LOW_BITS)
    for task in prange(m << bits):
        row, prefix = task >> bits, task & ((1 << bits) - 1)
        tables = np.empty((4, 1 << largest))
        signals = np.empty((widths.size, widths.max()))
        plus, minus, reach = _subtree(x[row], flat, offsets, widths, prefix, bits, temperature, tables, signals)
        sums[row, prefix, 0] = minus
        sums[row, prefix, 1] = plus
        sums[row, prefix, 2] = reach


def log_marginals(matrices: list[Array], x: Array, temperature: float) -> Array | None:
    """log µ(y|x), (m, 2), in float64; None where the products of tables would leave the range of a double."""
    if len(matrices) < 2 or matrices[-2].shape[1] > 26:
        return None
    widths = np.array([w.shape[0] for w in matrices] + [1], dtype=np.int64)
    offsets = np.cumsum([0, *(w.size for w in matrices[:-1])]).astype(np.int64)
    flat = np.concatenate([np.asarray(w, dtype=np.float64).reshape(-1) for w in matrices])
    bits = int(min(widths[1:-2].sum(), 8))
    sums = np.empty((x.shape[0], 1 << bits, 3))
    rows = np.ascontiguousarray(x, dtype=np.float64)
    marginal_sums(rows, flat, offsets, widths, bits, temperature, sums)
    marginals = sums[:, :, :2].sum(axis=1)
    if sums[:, :, 2].max() > RANGE or marginals.min() < SMALLEST:
        return None
    log: Array = np.log(marginals)
    return log
