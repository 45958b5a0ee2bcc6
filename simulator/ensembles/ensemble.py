"""Ensembles of Hessians that share signals, or their Gram matrices, with a network: the sampled rungs of the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Backend, HostArray
from simulator.hessian.frozen import Freeze
from simulator.hessian.operator import HessianOperator
from simulator.inputs import check_count
from simulator.network.network import Network
from simulator.passes.drawn import DrawnGates
from simulator.streams import Seed, Streams

from .directions import SignalGrams
from .fields import FieldFreeze, FieldPowers, FieldScales, draw_mixing
from .weights import WeightLaw, weight_law


class Ensemble:
    """Random Hessians Σ c_i ∇²T_i with what is known of a network kept, and the rest drawn afresh.

    Frozen gates, x and δ̂ enter a Hessian product beside the weights of the tangent passes. Those weights are drawn
    from the law of every layer (`WeightLaw`): Gaussian, of the layer's mean square (rung RE). With ``fields`` the
    signals are drawn again too, from the Gram matrices of every layer's preactivations and unmasked errors over sites
    (RK).

    Parameters
    ----------
    c : (m,), ∂ℓ/∂T/m of every example; ``curvature`` (m,): ℓ''/m, to add the Gauss-Newton part, which signals give
    profile : every weight's variance is the product of the mean squares of its input and its output neuron; with
        ``fields``, every neuron keeps the scales of its fields
    directions : W acts as it does on so many leading directions of the layer's inputs and of the errors at its outputs;
        a pair: on so many of the inputs, and on so many of the errors
    layers : the layers (0 for the first) that are drawn afresh; the others stay as they are. By default all of them
    joint : with ``fields``, the Gram matrix between preactivations and errors is kept too
    gates : the gates that the examples draw, at a temperature (`StochasticNetwork`); new fields draw theirs at it too

    The weights of the first and of the last layer have no part in the products and stay as they are. Raises
    `ValueError` for layers that the network does not have, and for ``directions`` with ``fields``: weights do not carry
    drawn signals.

    >>> import numpy as np
    >>> from simulator import Ensemble, mlp
    >>> network, x = mlp([3, 8, 8, 1]), np.eye(3)
    >>> ensemble = Ensemble(network, network.init(0), x, np.ones(3) / 3, backend="numpy")
    >>> ensemble.draw(0, seed=1).dense().shape
    (96, 96)
    """

    def __init__(
        self,
        network: Network,
        weights: Sequence[Any],
        x: Any,
        c: Any,
        *,
        fields: bool = False,
        profile: bool = False,
        directions: int | tuple[int, int] = 0,
        layers: Sequence[int] | None = None,
        curvature: Any = None,
        joint: bool = False,
        gates: DrawnGates | None = None,
        backend: str | Backend | None = None,
    ) -> None:
        self.network, self.fields, self.joint, self.gates = network, fields, joint, gates
        self.layers = _check_layers(network, layers)
        count = _check_directions(directions)
        if fields and any(count):
            raise ValueError(
                f"directions {count} with fields drawn again: weights do not carry drawn signals; use directions=0, or "
                "fields=False"
            )
        operator = HessianOperator(network, weights, x, None, c=c, curvature=curvature, gates=gates, backend=backend)
        self._weights = [np.asarray(w) for w in weights]
        # Where G is made of signals, the true weights' own operator already takes it from there, and its signals serve.
        self.operator = operator.with_weights(self._weights) if operator.curved else operator
        drawn = [index for index in self.layers if 0 < index < network.depth - 1]
        grams = self._grams(drawn, *map(bool, count)) if any(count) else None
        self.laws: dict[int, WeightLaw] = {}
        for index in drawn:
            u, v = (None, None) if grams is None else grams.leading(index, *count)
            self.laws[index] = weight_law(network.layers[index], self._weights[index], profile, u, v)
        self._scales = self._field_scales() if fields and profile else {}

    def _grams(self, layers: Sequence[int], inputs: bool, errors: bool) -> SignalGrams:
        ops = self.operator.backend
        grams = SignalGrams(self.network, layers, ops, inputs, errors)
        with ops.computing():
            for chunk, c in self.operator.frozen():
                grams.add(chunk, c)
        return grams

    def _field_scales(self) -> dict[int, FieldScales]:
        powers = FieldPowers(self.network, self.operator.frozen_weights, self.operator.backend, self.gates)
        with self.operator.backend.computing():
            for x, c, rows in self.operator.examples():
                powers.add(x, c, rows)
        return {index: powers.scales(index) for index in self._hidden}

    @property
    def _hidden(self) -> list[int]:
        """The layers with gates among those that are drawn."""
        return [index for index in self.layers if index < self.network.depth - 1]

    @property
    def n_known(self) -> int:
        """Numbers that describe the laws of the weights, beside the signals."""
        return sum(law.n_given for law in self.laws.values())

    def draw(self, index: int, seed: Seed) -> HessianOperator:
        """Draw number `index`: the same one whenever it is asked for with the same `seed`."""
        streams = Streams(seed)
        fresh: list[HostArray] = list(self._weights)
        for layer, law in self.laws.items():
            fresh[layer] = law.draw(streams("ensemble weights", index, layer))
        return self.operator.with_weights(fresh, self.signals(index, seed) if self.fields else None)

    def signals(self, index: int, seed: Seed) -> Freeze:
        """The signals of draw number `index`: (x, top) -> gates and signals, and their errors for δ_L = top."""
        ops, streams = self.operator.backend, Streams(seed)
        mixings = {
            layer: draw_mixing(
                self.network.layers[layer].gate_shape[-1],
                streams("ensemble fields", index, layer),
                self._scales.get(layer),
                self.joint,
            ).on_device(ops)
            for layer in self._hidden
            if self.fields
        }
        return FieldFreeze(self.network, self.operator.frozen_weights, mixings, ops, self.gates, index)


def _check_directions(directions: int | tuple[int, int]) -> tuple[int, int]:
    """(of the inputs, of the errors)."""
    pair = directions if isinstance(directions, tuple) else (directions, directions)
    if len(pair) != 2:
        raise ValueError(f"directions {directions!r} are not usable: give a number, or a pair of inputs and errors")
    return check_count(pair[0], "directions", least=0), check_count(pair[1], "directions", least=0)


def _check_layers(network: Network, layers: Sequence[int] | None) -> list[int]:
    if layers is None:
        return list(range(network.depth))
    chosen = sorted({check_count(layer, "a layer", least=0) for layer in layers})
    if not chosen or chosen[-1] >= network.depth:
        raise ValueError(f"layers {list(layers)} are not usable: name some of 0 to {network.depth - 1}")
    return chosen
