"""Energies and entropies of the gates of any network, from gates drawn by their forward law."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray, get_backend
from simulator.enumeration.gates import check_temperature
from simulator.inputs import check_count, check_examples, check_weights
from simulator.memory import device_memory
from simulator.network.network import Network
from simulator.passes.laws import masked, summed
from simulator.passes.risk import batches
from simulator.shown import shown
from simulator.streams import Seed, Streams

from .walk import Walk, drawn, stage_names, walk


@shown
@dataclass(frozen=True)
class SampledThermodynamics:
    """Energies, entropies and free energies of the stages of a network, each given the gates drawn below it.

    A stage is a layer of gates or a pool that chooses, named in ``stages``; shapes are (draws, m, stages) but for
    ``output`` T(x, h), (draws, m). ``energy`` is the mean of E = -f·d over the law of a stage (F1), ``drawn_energy``
    its value at the decisions that were drawn, ``entropy`` that of the law in nats, ``log_normaliser`` log Z.
    Means over the draws estimate those of the whole law (F2). ``temperature`` is that of the gates.
    """

    energy: HostArray
    drawn_energy: HostArray
    entropy: HostArray
    log_normaliser: HostArray
    output: HostArray
    stages: tuple[str, ...]
    temperature: float

    @property
    def free_energy(self) -> HostArray:
        """F = U - T S (9) of every stage, which is -T log Z (F1)."""
        return self.energy - self.temperature * self.entropy


def sample_thermodynamics(
    network: Network,
    weights: Sequence[Any],
    x: Any,
    temperature: float,
    draws: int = 10,
    seed: Seed = 0,
    backend: str | Backend | None = None,
) -> SampledThermodynamics:
    """Energy, entropy and free energy (9) of the gates, `draws` times for every example.

    Gates follow P(h = 1) = σ(z/T). A max-pool chooses a site of each window with probability e^{x/T} over the sum of
    these (F4). Raises `ValueError` for a temperature that is not above 0.

    >>> import numpy as np
    >>> from simulator import mlp, sample_thermodynamics
    >>> seen = sample_thermodynamics(mlp([1, 1, 1]), [np.zeros((1, 1)), np.ones((1, 1))], [[1.0]], 2.0, draws=1)
    >>> bool(np.isclose(seen.entropy[0, 0, 0], np.log(2))), bool(np.isclose(seen.free_energy[0, 0, 0], -2 * np.log(2)))
    (True, True)
    """
    ops = get_backend(backend)
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 leaves no entropy to sample: use a temperature > 0")
    w, x = check_weights(network, weights, ops), check_examples(network, x, ops.dtype)
    count, rng = check_count(draws, "draws"), Streams(seed)("thermal gates")
    parts = []
    with device_memory(network, ops, min(ops.batch_size, x.shape[0])), ops.computing():
        for part in batches(x.shape[0], ops.batch_size):
            rows = ops.asarray(x[part])
            parts.append([_measured(network, w, rows, ops, temperature, rng) for _ in range(count)])
    energy, own, entropy, normaliser, output = (
        np.concatenate([np.stack([draw[k] for draw in part]) for part in parts], axis=1) for k in range(5)
    )
    names = tuple(stage_names(network))
    return SampledThermodynamics(energy, own, entropy, normaliser, output, names, float(temperature))


def _measured(
    network: Network, w: list[Array], x: Array, ops: Backend, temperature: float, rng: np.random.Generator
) -> tuple[HostArray, ...]:
    """(energy, drawn energy, entropy, log Z) of one draw, (m, stages), and its output (m,)."""
    passed = walk(network, w, x, ops, drawn(ops, temperature, rng))
    rows = [[ops.to_numpy(a) for a in stage] for stage in statistics(ops, passed, temperature)]
    columns = [np.stack(column, axis=1) for column in zip(*rows, strict=True)]
    return *columns, ops.to_numpy(passed.output).astype(np.float64)


def statistics(ops: Backend, passed: Walk, temperature: float) -> Iterator[tuple[Array, Array, Array, Array]]:
    """(mean energy, energy of the decisions, entropy, log Z), (m,) each, of every stage given the decisions below."""
    for law, f, d in passed.stages():
        means = law.means(ops, f, temperature)
        yield (
            -summed(ops, means * f),
            -summed(ops, masked(ops, d, f)),
            law.entropy(ops, f, means, temperature),
            law.log_normaliser(ops, f, temperature),
        )
