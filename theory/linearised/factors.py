"""What an equation factorises of its signals: once, for double and for single precision alike."""

from __future__ import annotations

from dataclasses import dataclass

from theory.signals import NetworkSignals, Real

from .equations import independent_columns
from .inner_layer import forward_kernels, leading_directions


@dataclass(frozen=True)
class Factors:
    """Singular value decompositions behind an equation of normalised signals, which do not depend on its precision.

    inputs      independent columns of the first layer's inputs, (S_1, rank)
    directions  what each layer 2..L-2 keeps of A; None: all of it
    """

    inputs: Real
    directions: list[Real | None]

    @classmethod
    def of(cls, signals: NetworkSignals, cut: float) -> Factors:
        return cls(independent_columns(signals.layers[0].inputs), _directions(signals, cut))


def _directions(signals: NetworkSignals, cut: float) -> list[Real | None]:
    count = len(signals.layers) - 2
    if cut == 0.0 or count <= 0:
        return [None] * max(count, 0)
    return [leading_directions(kernel, cut) for kernel in forward_kernels(signals)[1:]]
