"""The paper's convention for the temperature, W = Ŵ/T with ||Ŵ|| = 1, beside ours, P(h = 1) = σ(z/T)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import HostArray
from simulator.enumeration.gates import check_temperature
from simulator.inputs import real_array
from simulator.shown import shown


@shown
@dataclass(frozen=True)
class UnitWeights:
    """Weights Ŵ_l of Frobenius norm 1 and a temperature T_l of every layer: the paper's W_l = Ŵ_l/T_l.

    ``weights``: Ŵ_l, one array for each layer; ``temperatures`` (L,), infinite for a layer of zeros. Gates then have
    P(h_l = 1) = σ(z_l) with z_l made of W = Ŵ/T, and the label σ(T(x)).
    """

    weights: list[HostArray]
    temperatures: HostArray

    @property
    def scaled(self) -> list[HostArray]:
        """W_l = Ŵ_l/T_l, the weights that gates at temperature 1 see."""
        return [w / t for w, t in zip(self.weights, self.temperatures, strict=True)]


def unit_weights(weights: Sequence[Any], temperature: float = 1.0) -> UnitWeights:
    """The paper's unit weights and temperatures of a network whose gates have the temperature T > 0 in our convention.

    Gates with P(h = 1) = σ(z/T) are gates at temperature 1 of the network with W_1/T in place of W_1 and T·W_L in
    place of W_L: all signals between are divided by T, and the output, and so the law of the label, stays. Then
    T_l = 1/||W_l||_F of these weights. A network of one layer has no gates, and its temperature is that of the label.

    >>> import numpy as np
    >>> from simulator import unit_weights
    >>> paper = unit_weights([np.array([[3.0, 4.0]]), np.array([[2.0], [0.0]])], temperature=0.5)
    >>> paper.temperatures.tolist(), paper.weights[0].tolist()
    ([0.1, 1.0], [[0.6, 0.8]])
    """
    if check_temperature(temperature) == 0.0:
        raise ValueError("temperature 0 has no finite weights Ŵ/T: use a temperature > 0")
    arrays = [np.asarray(real_array(w, "weights"), dtype=np.float64) for w in weights]
    if len(arrays) > 1:
        arrays = [arrays[0] / temperature, *arrays[1:-1], arrays[-1] * temperature]
    norms = [float(np.linalg.norm(w)) for w in arrays]
    temperatures = np.array([1.0 / n if n > 0.0 else math.inf for n in norms])
    return UnitWeights([w / n if n > 0.0 else w for w, n in zip(arrays, norms, strict=True)], temperatures)
