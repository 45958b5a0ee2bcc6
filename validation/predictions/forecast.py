"""Predictions of the training, made before it began, as arrays that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Forecast:
    """Predictions of every recorded epoch by freshly drawn networks, before a single step is taken.

    ``epochs`` (records,); ``c`` (records, networks, spectrum examples): ∂ℓ/∂T over the number of these examples;
    ``columns``: arrays (records, networks) by name, "test_accuracy" among them where there is a test set.
    """

    epochs: Array
    c: Array
    columns: Mapping[str, Array]

    def coefficients(self, epoch: int) -> Array:
        """c (networks, spectrum examples) of a recorded epoch."""
        coefficients: Array = self.c[self._row(epoch)]
        return coefficients

    def described(self, epoch: int) -> dict[str, list[float]]:
        """What a record keeps: a number for each of the networks."""
        return {name: values[self._row(epoch)].tolist() for name, values in self.columns.items()}

    def _row(self, epoch: int) -> int:
        return int(np.flatnonzero(self.epochs == epoch)[0])

    def arrays(self) -> dict[str, Array]:
        """As they are kept."""
        return {"epochs": self.epochs, "c": self.c, **self.columns}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> Forecast:
        """What was kept."""
        columns = {name: values for name, values in arrays.items() if name not in ("epochs", "c")}
        return cls(arrays["epochs"], arrays["c"], columns)
