"""Compiled CPU twins of a perceptron's gates and of a step of descent: one pass in place of several, on one thread.

Signals of a batch are so small there that starting threads, or a second pass, costs more than the work itself. All
arrays are C-ordered; numbers that are off become +0 whatever stood there.
"""

from __future__ import annotations

from numba import prange

from .jit import njit

STRETCH = 1 << 13  # numbers of a weight array that a thread takes at once


@njit(cache=True)
def gate(z, x, mask):  # type: ignore[no-untyped-def]
    """Gates h = 1[z > 0]: z (m, n) -> x = h z and mask = h."""
    z, x, mask = z.reshape(-1), x.reshape(-1), mask.reshape(-1)
    zero = z.dtype.type(0)  # an integer would make the comparison one of doubles, which takes twice as long
    for i in range(z.size):
        on = z[i] > zero
        mask[i] = on
        x[i] = z[i] if on else zero


@njit(cache=True)
def apply_gates(mask, z, x):  # type: ignore[no-untyped-def]
    """x[k] = D z[k] for every probe: mask (m, n), z and x (K, m, n) or (m, n)."""
    mask = mask.reshape(-1)
    z, x, zero = z.reshape(-1, mask.size), x.reshape(-1, mask.size), z.dtype.type(0)
    for k in range(z.shape[0]):
        for i in range(mask.size):
            x[k, i] = z[k, i] if mask[i] else zero


@njit(cache=True)
def descend(w, v, g, momentum, scale, rate, new_w, new_v):  # type: ignore[no-untyped-def]
    """v' = momentum v + scale g and w' = w - rate v', into `new_v` and `new_w`, in the arrays' precision."""
    w, v, g, new_w, new_v = w.reshape(-1), v.reshape(-1), g.reshape(-1), new_w.reshape(-1), new_v.reshape(-1)
    a, b, c = w.dtype.type(momentum), w.dtype.type(scale), w.dtype.type(rate)
    for i in range(w.size):
        moved = a * v[i] + b * g[i]
        new_v[i] = moved
        new_w[i] = w[i] - c * moved


@njit(parallel=True, cache=True)
def descend_together(w, v, g, momentum, scale, rate, new_w, new_v):  # type: ignore[no-untyped-def]
    """The same on all threads, for arrays so long that memory is what it waits for."""
    w, v, g, new_w, new_v = w.reshape(-1), v.reshape(-1), g.reshape(-1), new_w.reshape(-1), new_v.reshape(-1)
    for part in prange((w.size + STRETCH - 1) // STRETCH):
        here = slice(part * STRETCH, (part + 1) * STRETCH)
        descend(w[here], v[here], g[here], momentum, scale, rate, new_w[here], new_v[here])
