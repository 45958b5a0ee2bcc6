"""Which gates the rows of a batch draw, so that every pass over them meets the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simulator.streams import RowStreams, Streams


@dataclass(frozen=True)
class DrawnGates:
    """Gates of ``examples`` m inputs at a temperature, drawn several times: row r is draw r // m of example r % m.

    Random numbers of a row depend on ``seed``, ``index``, the draw and the example alone: not on the batch, nor on how
    many draws there are. ``index`` numbers independent sets of draws.
    """

    temperature: float
    examples: int
    seed: int
    index: int = 0

    def numbers(self, rows: Iterable[int], again: int = 0) -> RowStreams | None:
        """Random numbers of these rows for one pass; `again` > 0: independent ones, for gates drawn once more.

        None at temperature 0, where nothing is drawn.
        """
        if self.temperature == 0.0:
            return None
        key = Streams(self.seed)("stochastic gates", self.index, again).integers(2**63, size=2, dtype=np.uint64)
        return RowStreams(np.random.Philox(key=key), [divmod(int(row), self.examples) for row in rows])


def drawing(gates: DrawnGates | None, rows: Iterable[int], again: int = 0) -> tuple[float, RowStreams | None]:
    """(temperature, random numbers) of one pass over these rows; of the ReLU network where `gates` is None."""
    return (0.0, None) if gates is None else (gates.temperature, gates.numbers(rows, again))
