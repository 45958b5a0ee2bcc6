"""How far the circuits of a network lean to the labels, weighted by their magnitude: the broken share of all of them.

Circuits drawn uniformly show one circuit like any other, and examples of both classes in one heap: a circuit that
pushes positive examples up and negative ones down looks symmetric there. Here a circuit counts by its size, and for the
label of its example.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend
from simulator import Network, output, path_magnitudes
from simulator.circuits.magnitudes import last_neuron_sums
from validation.statistics.estimate import ratio

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
CLASSES = {"negative": -1.0, "positive": 1.0}


def aligned_share(network: Network, weights: Sequence[Array], x: Array, y: Array, backend: Backend) -> Record:
    """Σ_e y_e T(x_e) / Σ_e Σ_i |x_{e,i_0} Ψ_i| of the given examples, exactly: in [-1, 1], 0 where circuits balance.

    ``value``, of all examples, and by class in ``classes``. ``standard_error``: of a ratio estimator over the examples,
    the network as it is. ``chance``: the standard deviation of the share over independent fair signs of the last
    layer's weights, exactly, all else as it is (S1); at initialisation the share is a draw of that law, whatever the
    number of examples. ``unsigned``: Σ|T| over the same sum, how one-signed the circuits of one example are; it is
    above 0 for any weights. ``dead_examples``: at how many no circuit is live. There T, ∇T and ∇²T are exactly 0, and
    stay so near these weights: the example is lost to training. null where no circuit is live at all. Three forward
    passes.
    """
    t = output(network, weights, x, backend).astype(np.float64)
    magnitudes = path_magnitudes(network, weights, x, backend)
    of_class = {name: np.flatnonzero(y == label) for name, label in CLASSES.items()}
    sums = {name: last_neuron_sums(network, weights, x[i], y[i], backend) for name, i in of_class.items() if i.size}
    return {
        "examples": len(y),
        "dead_examples": int(np.count_nonzero(magnitudes == 0.0)),
        **_share(y * t, magnitudes, sum(sums.values(), np.zeros(1))),
        "classes": {
            name: _share((y * t)[i], magnitudes[i], sums.get(name, np.zeros(1))) for name, i in of_class.items()
        },
        "unsigned": ratio(np.abs(t), magnitudes),
    }


def unknown_share(y: Array) -> Record:
    """The record of examples with labels y (m,) whose circuits are not looked at: every share is null."""
    nothing, none = np.zeros(len(y)), np.zeros(1)
    share = _share(nothing, nothing, none)
    return {
        "examples": len(y),
        "dead_examples": 0,
        **share,
        "classes": dict.fromkeys(CLASSES, share),
        "unsigned": ratio(nothing, nothing),
    }


def _share(aligned: Array, magnitudes: Array, sums: Array) -> Record:
    whole = float(magnitudes.sum())
    return ratio(aligned, magnitudes) | {"chance": math.sqrt(float(np.sum(sums**2))) / whole if whole > 0 else None}
