"""A network learned scale by scale from observed events: maximum entropy (1)-(3), and its hierarchical form (4)-(6).

Where the gates of every scale are observed, a scale is learned by itself. Its couplings E[x Π h] are measured, and two
laws of maximum entropy are found:

- the unfactored law (2), with a multiplier for every coupling,
- the chain (5), with the multipliers Π w of (4): those of the scales below are kept, W_s has the maximal likelihood.

With the chain below fixed the logits of scale s are W_s^T x_{s-1}, x_{s-1} = D_{s-1} W_{s-1}^T ... D_1 W_1^T x. So the
chain is itself a law of maximum entropy: its couplings are E[x_{s-1,b} h_j], sums of those of the unfactored law with
the multipliers below. It knows less, so that its entropy is not smaller. The likelihood of such a law at its own
couplings is minus its entropy, and what the chain loses is

    (1/m) Σ log µ_s(h_s|O) - log µ̂_s(h_s|O) = H(µ̂_s) - H(µ_s) ≥ 0   nats an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import HostArray
from simulator.network.network import Network, mlp
from simulator.shown import shown

from .hierarchy import hierarchical_logits
from .law import MaxEntropyLaw, check_observed, observed_features, solve_maxent


@shown
@dataclass(frozen=True)
class LearnedScale:
    """One scale: the ``unfactored`` law with all couplings, and the ``chain`` whose multipliers are W_s.

    ``unfactored`` is None where it was not asked for. ``chain.converged`` is True: where no finite W_s has the
    couplings `learn_scales` raises.
    """

    chain: MaxEntropyLaw
    unfactored: MaxEntropyLaw | None

    @property
    def weights(self) -> HostArray:
        """W_s, (n_{s-1}, n_s)."""
        return self.chain.multipliers

    @property
    def loss(self) -> float | None:
        """H(µ̂_s) - H(µ_s), nats an example: what the chain form loses."""
        return None if self.unfactored is None else self.chain.entropy - self.unfactored.entropy


def learn_scales(
    observed: Sequence[Any], sample_weight: Any = None, *, unfactored: bool = True
) -> tuple[Network, list[LearnedScale]]:
    """The network of a chain of observed events [x (m, n_0), h_1 (m, n_1), ..., h_S (m, n_S)], learned from below.

    Layer s of the network has the weights of scale s, ``[scale.weights for scale in scales]``; the last one is its
    output, whose law at temperature 1 is σ(T). Everything is float64. Expectations are over the examples, of weight
    `sample_weight`. Raises `InfeasibleError` as `solve_maxent`, and `ValueError` for a scale whose events the signals
    below separate, so that no finite weights have their couplings.

    >>> import numpy as np
    >>> from simulator import learn_scales
    >>> x = np.repeat(np.eye(2), 6, axis=0)
    >>> h = np.array([1.0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0])[:, None]
    >>> y = np.array([1.0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1])[:, None]
    >>> network, scales = learn_scales([x, h, y])
    >>> np.round(scales[0].weights.T, 3).tolist(), bool(scales[1].loss >= 0)  # log-odds of h, 4:2 and 2:4
    ([[0.693, -0.693]], True)
    """
    arrays = check_observed(observed)
    if len(arrays) < 2:
        raise ValueError(f"observed has {len(arrays)} layers: expected [x, h_1, ...], at least two")
    scales: list[LearnedScale] = []
    for s, events in enumerate(arrays[1:], start=1):
        below = arrays[:s]
        signals = chain_signals([scale.weights for scale in scales], below)
        chain = solve_maxent([signals], couplings([signals], events, sample_weight), sample_weight)
        if not chain.converged:
            raise ValueError(
                f"scale {s} has no finite weights ({chain.status}): use more examples, or events that the signals "
                "below do not separate"
            )
        full = solve_maxent(below, couplings(below, events, sample_weight), sample_weight) if unfactored else None
        scales.append(LearnedScale(chain, full))
    return mlp([arrays[0].shape[1], *(a.shape[1] for a in arrays[1:])]), scales


def chain_signals(weights: Sequence[HostArray], observed: Sequence[Any]) -> HostArray:
    """x_s = D_s W_s^T ... D_1 W_1^T x for observed [x, h_1, ..., h_s] and the weights of s scales, (m, n_s)."""
    arrays = check_observed(observed)
    if not weights:
        return arrays[0]
    signals: HostArray = arrays[-1] * hierarchical_logits(weights, arrays[:-1])
    return signals


def couplings(observed: Sequence[Any], events: Any, sample_weight: Any = None) -> HostArray:
    """E[x_{i_0} Π h_{i_s'} h_j] over the examples, (n_0, ..., n_{s-1}, n_s): what (1) asks of the law of the events."""
    arrays = check_observed([*observed, events])
    phi = observed_features(arrays[:-1])
    weight = np.ones(len(phi)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    tau: HostArray = (weight[:, None] * phi).T @ arrays[-1] / weight.sum()
    return tau.reshape(*(a.shape[1] for a in arrays))
