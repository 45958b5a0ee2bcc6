"""Averages of a stochastic network over its sets of draws: risk, gradient, likelihood, and the scale of its Hessian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backends import HostArray
from simulator.inputs import check_count
from simulator.passes.losses import get_loss
from simulator.passes.risk import margin_loss
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .average import Average, gram_of, pooled, squared_mean
from .marginal import MarginalSums
from .network import StochasticNetwork


@shown
@dataclass(frozen=True)
class StochasticEvaluation:
    """Averages over ``draws`` sets of gates of a `StochasticNetwork`, each with the standard error of the draws.

    ``risk``: of the drawn network, the mean of ℓ(y T(x, h)) over the forward law; ``accuracy`` the share of u > 0 and
    ``active_fraction`` that of ℓ' ≠ 0, in the same way. ``marginal_accuracy``: the share of labels that
    µ(y|x), the mean over the draws, finds. ``log_likelihood``: (1/m) Σ log µ(y_i|x_i) in nats an example.
    ``effective_samples``: how many draws of the posterior the draws of a set are worth, the mean over examples.
    ``order_parameter``: ||E ∇R||² (15) without bias, of the gradient that learning descends along (`gradient`, the mean
    over the sets); ``gradient_noise``: E||∇R - E ∇R||², the variance of one set's gradient.
    """

    risk: Average
    accuracy: Average
    active_fraction: Average
    marginal_accuracy: float
    log_likelihood: Average
    effective_samples: float
    order_parameter: Average
    gradient_noise: float
    gradient: list[HostArray]
    draws: int


def evaluate_stochastic(drawn: StochasticNetwork, draws: int = 10) -> StochasticEvaluation:
    """Risk, accuracy, likelihood and gradient over so many sets of draws, at least 2.

    >>> import numpy as np
    >>> from simulator import StochasticNetwork, evaluate_stochastic, mlp
    >>> network = mlp([2, 4, 1])
    >>> drawn = StochasticNetwork(network, network.init(0), np.eye(2), [1.0, -1.0], 0.5, backend="numpy")
    >>> seen = evaluate_stochastic(drawn, draws=5)
    >>> bool(seen.risk.standard_error > 0), seen.draws
    (True, 5)
    """
    count = check_count(draws, "draws", least=2)
    loss, outputs = get_loss(drawn.loss), [drawn.outputs(k) for k in range(count)]
    t = np.concatenate(outputs)
    sums = MarginalSums(t.shape[1])
    sums.add(t)
    marginal = sums.result()
    gradients = [drawn.network.flatten(drawn.gradient(k)) for k in range(count)]
    gram = gram_of(gradients)
    order = squared_mean(gram)
    mean = np.asarray(np.sum(gradients, axis=0, dtype=np.float64)) / count
    u = drawn.y * t
    return StochasticEvaluation(
        pooled(margin_loss(loss, t, drawn.y)),
        pooled(u > 0),
        pooled(loss.slope(np, u) != 0),
        float(np.mean(np.where(drawn.y > 0, marginal.value > 0.5, marginal.value < 0.5))),
        marginal.log_likelihood(drawn.y),
        float(np.mean([effective_samples(drawn, k).mean() for k in range(count)])),
        order,
        max(float(np.mean(np.diagonal(gram))) - order.value, 0.0),
        drawn.network.unflatten(mean),
        count,
    )


def effective_samples(drawn: StochasticNetwork, index: int) -> HostArray:
    """1/Σ_s q² of every example for shares q ∝ µ(y|x, h_s) of a set, (m,): between 1 and the number of draws."""
    u = drawn.y * drawn.outputs(index)
    log = -np.logaddexp(0.0, -u)
    found: HostArray = np.exp(2.0 * np.logaddexp.reduce(log, axis=0) - np.logaddexp.reduce(2.0 * log, axis=0))
    return found


@shown
@dataclass(frozen=True)
class HessianScale:
    """Root mean squares of eigenvalues: ``of_a_set`` of the Hessian of one set of draws, ``of_the_mean`` of E H.

    The second is smaller: what differs from set to set has no part in it. Where noise hides it, it is 0.
    """

    of_a_set: Average
    of_the_mean: Average


def hessian_scale(drawn: StochasticNetwork, draws: int = 4, n_probes: int = 2, seed: Seed = 0) -> HessianScale:
    """rms of H and of E H, from products H_k v of Rademacher probes v with the Hessians of at least two sets.

    tr (E H)²/N = E (H_k v)·(H_l v)/N for k ≠ l, which no noise of the draws enters; draws · n_probes products. The
    standard errors are the jackknife's over sets, and the scatter of the probes.
    """
    count, probes = check_count(draws, "draws", least=2), check_count(n_probes, "n_probes")
    n, rng = drawn.network.n_weights, Streams(seed)("stochastic probes")
    signs = rng.integers(0, 2, (probes, n)) * 2.0 - 1.0
    ops = drawn.backend
    products = [ops.to_numpy(drawn.draw(k).rows(ops.asarray(signs))).astype(np.float64) for k in range(count)]
    grams = [gram_of([p[j] for p in products]) / n for j in range(probes)]
    own = [np.diagonal(g) for g in grams]
    across = [squared_mean(g) for g in grams]
    return HessianScale(
        _root(_over_probes([Average(float(o.mean()), _error(o)) for o in own])), _root(_over_probes(across))
    )


def _error(values: HostArray) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else None


def _over_probes(values: list[Average]) -> Average:
    """The mean over probes; its variance is their scatter where there are several, and that of the draws."""
    mean = float(np.mean([v.value for v in values]))
    errors = [v.standard_error for v in values]
    if any(e is None for e in errors):
        return Average(mean, None)
    inside = float(np.mean(np.square(np.array(errors, dtype=float)))) / len(values)
    between = float(np.var([v.value for v in values], ddof=1)) / len(values) if len(values) > 1 else 0.0
    return Average(mean, math.sqrt(inside + between))


def _root(square: Average) -> Average:
    """The root of a mean square."""
    if square.value <= 0.0:
        return Average(0.0, None if square.standard_error is None else math.sqrt(square.standard_error))
    root = math.sqrt(square.value)
    return Average(root, None if square.standard_error is None else square.standard_error / (2.0 * root))
