"""The gradient of a batch's likelihood from an importance sample of the gates' posterior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backends import Array, Backend
from simulator.network.network import Network
from simulator.passes.laws import softplus
from simulator.passes.risk import BatchGradient
from simulator.thermal.walk import Shares, drawn, joint_gradient, walk


def posterior_gradient(
    network: Network,
    weights: Sequence[Array],
    x: Array,
    y: Array,
    temperature: float,
    samples: int,
    ops: Backend,
    rng: np.random.Generator,
) -> BatchGradient:
    """Gradient of -Σ_i log µ(y_i|x_i) over a device batch x (m, ...), y (m,), from `samples` draws of every example.

    By Fisher's identity it is the posterior mean of -∇ log µ(y_i, h|x_i). Draws of the forward law, with shares in
    proportion to µ(y|x,h), stand for the posterior: a bias of order 1/samples. In the terms of the gates' laws, which
    are of size 1/T and have mean 0 over the forward law, a share less 1/samples has the same mean and far less noise.
    The loss is -Σ log of the mean of
    µ(y|x,h); an example is correct where that mean is above 1/2.
    """
    xp, m = ops.xp, x.shape[0]
    with ops.computing(reuse=False):
        rows, labels = xp.concat([x] * samples, axis=0), xp.concat([y] * samples, axis=0)
        passed = walk(network, weights, rows, ops, drawn(ops, temperature, rng))
        log = -softplus(ops, -xp.astype(xp.reshape(labels * passed.output, (samples, m)), xp.float64))
        top = xp.max(log, axis=0)
        each = xp.exp(log - top)
        total = xp.sum(each, axis=0)
        mean = top + xp.log(total) - math.log(samples)
        share = xp.astype(xp.reshape(each / total, (-1,)), x.dtype)
        shares = Shares(share, share - 1.0 / samples)
        ascent = joint_gradient(network, weights, ops, passed, labels, temperature, shares)
    value = xp.sum(xp.where(xp.isfinite(mean), -mean, math.inf))
    counts = (xp.count_nonzero(mean > -math.log(2.0)), xp.asarray(m, dtype=xp.int64))
    return BatchGradient([-g for g in ascent], value, *counts)
