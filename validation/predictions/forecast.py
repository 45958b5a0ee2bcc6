"""Predictions of the training, made before it began, as arrays that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from simulator import Network, fresh_weights
from simulator.streams import Seed, Streams

from .linearised import Motion, moved

Array = np.ndarray[Any, Any]
COLUMNS = ("risk", "accuracy", "test_accuracy", "active_fraction", "order_parameter")
MOTION = ("steps", "velocity", "drift")


def motions(kept: Sequence[Motion]) -> dict[str, Array]:
    """The motions before every reading, as they are kept."""
    return {
        "steps": np.stack([one.steps for one in kept]),
        "velocity": np.stack([one.velocity for one in kept]),
        "drift": np.array([[one.drift, one.left] for one in kept]),
    }


@dataclass(frozen=True)
class Forecast:
    """Predictions of every recorded epoch by freshly drawn networks, before a single step is taken.

    ``epochs`` (records,). Of every rung ``RUNG/NAME``: ``c`` (records, networks, spectrum examples), ∂ℓ/∂T over the
    number of these examples; `COLUMNS` (records, networks), of which the accuracy on a test may be absent. Where
    kernels were read again: ``reads``, the epochs after which, and the `Motion` before each: ``steps`` and
    ``velocity`` (reads, networks, m), ``drift`` (reads, 2), a and g.
    """

    epochs: Array
    columns: Mapping[str, Array]

    @property
    def rungs(self) -> list[str]:
        """The rungs that were predicted."""
        return sorted({name.partition("/")[0] for name in self.columns})

    @property
    def networks(self) -> int:
        """How many fresh networks there are."""
        return int(self.columns[f"{self.rungs[0]}/risk"].shape[1])

    def coefficients(self, rung: str, epoch: int) -> Array:
        """c (networks, spectrum examples) of a recorded epoch."""
        coefficients: Array = self.columns[f"{rung}/c"][self._row(epoch)]
        return coefficients

    def weights(self, rung: str, epoch: int, network: Network, index: int, x: Any, seed: Seed, ops: Any) -> list[Array]:
        """The weights of fresh network number `index`, moved along the training examples x where the rung says so."""
        weights, velocity = fresh_weights(network, Streams(seed), index), None
        reads = self.columns.get(f"{rung}/reads", np.zeros(0))
        for row in np.flatnonzero(reads <= epoch).tolist():
            weights, velocity = moved(network, weights, velocity, x, self._motion(rung, row), index, ops)
        return weights

    def _motion(self, rung: str, row: int) -> Motion:
        steps, velocity, drift = (self.columns[f"{rung}/{name}"][row] for name in MOTION)
        return Motion(steps, velocity, float(drift[0]), float(drift[1]))

    def described(self, epoch: int) -> dict[str, dict[str, list[float]]]:
        """What a record keeps: a number of every rung for each of the networks."""
        found: dict[str, dict[str, list[float]]] = {rung: {} for rung in self.rungs}
        for rung, name in product(self.rungs, COLUMNS):
            if f"{rung}/{name}" in self.columns:
                found[rung][name] = self.columns[f"{rung}/{name}"][self._row(epoch)].tolist()
        return found

    def _row(self, epoch: int) -> int:
        return int(np.flatnonzero(self.epochs == epoch)[0])

    def arrays(self) -> dict[str, Array]:
        """As they are kept."""
        return {"epochs": self.epochs, **self.columns}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Forecast:
        """What was kept."""
        return cls(arrays["epochs"], {name: values for name, values in arrays.items() if name != "epochs"})
