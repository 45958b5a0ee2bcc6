"""Energies of the gates and their most probable configuration, exactly: sums and maxima over all 2^G of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend, HostArray
from simulator.inputs import check_labels
from simulator.network.network import Network
from simulator.shown import shown

from .gates import (
    MAX_CONFIGURATIONS,
    Leaves,
    check_size,
    check_temperature,
    iterate_leaves,
    log_label,
    log_sum_exp,
    prepare,
    relu_states,
)

Sums = dict[str, Any]


@shown
@dataclass(frozen=True)
class ExactThermodynamics:
    """Exact statistics of the gates of each example at a temperature T, host arrays (m,), natural logarithms.

    Of the forward law µ(h|x): ``energy`` U = E[-Σ_l z_l·h_l], ``entropy`` S, ``free_energy`` U - T S (9), ``gibbs``
    = -T log Σ_h e^{-E(h)/T}, the least free energy that any law of the gates has with this energy (F3).

    Of the label: ``log_marginal`` log µ(y|x), ``forward_bound`` E_{µ(h|x)} log µ(y|x, h), ``relu`` = log µ(y, h|x) at
    the ReLU gates, which is the bound at a law that is certain of them, and ``best`` its maximum over h. ``relu_state``
    and ``best_state`` are the indices Σ 2^k h_k, ``prior_state`` that of the largest µ(h|x).
    """

    temperature: float
    energy: HostArray
    entropy: HostArray
    gibbs: HostArray
    log_marginal: HostArray
    forward_bound: HostArray
    relu: HostArray
    best: HostArray
    relu_state: HostArray
    best_state: HostArray
    prior_state: HostArray

    @property
    def free_energy(self) -> HostArray:
        """F = U - T S (9)."""
        value: HostArray = self.energy - self.temperature * self.entropy
        return value

    @property
    def most_probable(self) -> HostArray:
        """Where the ReLU gates are the most probable ones given (x, y), ties to rounding included, (m,) of bool."""
        at: HostArray = self.relu >= self.best - 1e-12 * np.abs(self.best)
        return at


def exact_thermodynamics(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    y: Any,
    temperature: float,
    backend: str | Backend | None = None,
    max_configurations: int = MAX_CONFIGURATIONS,
) -> ExactThermodynamics:
    """Energy, entropy, free energy, evidence bounds and the most probable gates, by enumeration.

    Raises `EnumerationError` beyond `max_configurations` = 2^G m; `ValueError` for pools and for a temperature that is
    not above 0.

    >>> import numpy as np
    >>> from simulator import exact_thermodynamics, mlp
    >>> network, weights = mlp([1, 1, 1]), [np.array([[1.0]]), np.array([[-9.0]])]
    >>> seen = exact_thermodynamics(network, weights, [[1.0]], [1.0], 1.0, backend="numpy")
    >>> seen.relu_state.tolist(), seen.best_state.tolist(), seen.most_probable.tolist()
    ([1], [0], [False])
    """
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves one configuration and no entropy: use a temperature > 0")
    ops, matrices, rows = prepare(network, weights, x, backend)
    m = rows.shape[0]
    labels = check_labels(y, m)
    check_size(network, m, max_configurations)
    relu = relu_states(ops, matrices, rows)
    found = _nothing(m)
    for leaves in iterate_leaves(ops, matrices, rows, temperature):
        _add(found, *_on_host(ops, leaves, labels), leaves.states, relu, temperature)
    return ExactThermodynamics(
        temperature=float(temperature),
        energy=found["energy"],
        entropy=found["entropy"],
        gibbs=-temperature * found["gibbs"],
        log_marginal=found["log_marginal"],
        forward_bound=found["forward_bound"],
        relu=found["relu"],
        best=found["best"],
        relu_state=relu,
        best_state=found["best_state"],
        prior_state=found["prior_state"],
    )


def _nothing(m: int) -> Sums:
    """Sums before the first block."""
    sums: Sums = {name: np.zeros(m) for name in ("energy", "entropy", "forward_bound", "relu")}
    sums |= {name: np.full(m, -np.inf) for name in ("gibbs", "log_marginal", "best", "prior")}
    return sums | {name: np.zeros(m, dtype=np.int64) for name in ("best_state", "prior_state")}


def _on_host(ops: Backend, leaves: Leaves, y: HostArray) -> tuple[HostArray, HostArray, HostArray]:
    """(log µ(h|x), E(h), log µ(y|x, h)), (m, S) each, in float64."""
    prior, energy, output = (
        ops.to_numpy(a).astype(np.float64) for a in (leaves.log_prior, leaves.energy, leaves.output)
    )
    return prior, energy, log_label(np, y[:, None] * output)[1]


def _add(
    sums: Sums,
    log_prior: HostArray,
    energy: HostArray,
    label: HostArray,
    states: HostArray,
    relu: HostArray,
    temperature: float,
) -> None:
    """Add a block of configurations to the sums."""
    prior, joint = np.exp(log_prior), log_prior + label
    sums["energy"] += np.sum(prior * energy, axis=1)
    sums["entropy"] -= np.sum(prior * log_prior, axis=1)
    sums["forward_bound"] += np.sum(prior * label, axis=1)
    for name, terms in (("gibbs", -energy / temperature), ("log_marginal", joint)):
        sums[name] = np.logaddexp(sums[name], log_sum_exp(np, terms))
    for name, terms in (("best", joint), ("prior", log_prior)):
        at = terms.argmax(axis=1)
        value = np.take_along_axis(terms, at[:, None], axis=1)[:, 0]
        better = value > sums[name]
        sums[name] = np.where(better, value, sums[name])
        sums[f"{name}_state"] = np.where(better, states[at], sums[f"{name}_state"])
    rows, columns = np.nonzero(states[None, :] == relu[:, None])
    sums["relu"][rows] = joint[rows, columns]
