"""Network and theory brought together: what the ladder of self-consistent equations says of a spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from backends import Backend, get_backend
from simulator import Ensemble, EnsembleDensity, HessianOperator, Network
from simulator.hessian.frozen import NetworkFreeze
from simulator.inputs import check_examples, check_weights
from simulator.passes.drawn import DrawnGates
from simulator.streams import Seed, Streams
from theory import arc_cosine_law, block_law, population_signals, semicircle, separable_law
from theory.linearised.law import estimate_seconds, law_of
from theory.linearised.sweep import LinearisedEquation, bytes_per_point
from theory.signals import NetworkSignals
from validation.measurements.moments import HessianMoments, hessian_moments
from validation.measurements.signals import measure_signals

from .fresh import fresh_density
from .rung import RUNGS, SAMPLED_RUNGS, SIGNAL_RUNGS
from .sampled import ensemble_density

Array = np.ndarray[Any, Any]
ON_SETS = 128  # sampled by R4w for every layer
FRESH_NETWORKS = 8  # that R4 averages over
KERNEL_DRAWS = 4  # of the signals, that RK6 averages over
MEMORY = 8e9  # bytes that one energy may take
A_ROUND = 10  # energies that a continuation asks for together, on average
MOST_POINTS = 1000  # at which a law is solved, however quick it is
MOMENT_CUT = 1e-2  # for the second moment of many examples: right to a percent


def predict_from_moments(moments: HessianMoments, z: Array, rung: str) -> Array:
    """g(z) of R0 (semicircle), R1 (layer blocks) or R2 (separable profile in each block)."""
    if rung == "R0":
        return semicircle(z, moments.rms)
    if rung == "R1":
        return block_law(z, moments.block_mean_square, np.array(moments.sizes)).g
    return separable_law(z, moments.rows, np.array(moments.sizes)).g


def initial_variances(network: Network) -> list[float]:
    """s_l² of `Network.init`: 2/fan-in, 1/fan-in in the last layer."""
    gains = [2.0] * (network.depth - 1) + [1.0]
    return [gain / layer.fan_in for gain, layer in zip(gains, network.layers, strict=True)]


def perceptron_case(network: Network, x: Any, c: Any, rung: str) -> tuple[Array, Array, list[int], list[float]]:
    """(x, c) of the examples with c_i ≠ 0, widths [n_0, ..., 1] and s_1²..s_L² of a perceptron at initialisation."""
    if any(layer.convolutional for layer in network.layers) or network.input_pools:
        raise ValueError(f"rung {rung} treats multilayer perceptrons only: use R5 or R6 with weights= for this network")
    weight = np.asarray(c, dtype=np.float64)
    active = np.flatnonzero(weight)
    rows = (
        check_examples(network, x, "float64")[active].reshape(active.size, network.layers[0].fan_in).astype(np.float64)
    )
    widths = [layer.fan_in for layer in network.layers] + [1]
    return rows, weight[active], widths, initial_variances(network)


def rung_signals(
    network: Network,
    x: Any,
    c: Any,
    rung: str,
    weights: Sequence[Any] | None,
    seed: Seed = 0,
    backend: str | Backend | None = None,
    gates: DrawnGates | None = None,
) -> list[NetworkSignals]:
    """What the laws that a rung averages start from.

    R4w: population kernels, the limit of wide layers. R4: the signals of freshly drawn networks of the same widths.
    R5 and R6: the signals that `weights` make, with drawn `gates` where they are given. RK6: signals drawn again from
    the Gram matrices of those.
    """
    if rung in ("R4", "R4w"):
        rows, weight, widths, variances = perceptron_case(network, x, c, rung)
        streams = Streams(seed).spawn("fresh networks", FRESH_NETWORKS)
        if rung == "R4":
            return [measure_signals(network, network.init(rng), x, c, backend) for rng in streams]
        if weight.size == 0:
            return [NetworkSignals((), np.zeros((0, 1)), tuple(network.layer_sizes))]
        return [population_signals(rows, weight, widths, variances, ON_SETS, streams[0])]
    if weights is None:
        raise ValueError(f"rung {rung} needs the network's weights: pass weights=")
    if not RUNGS[rung].ensemble:
        ops = get_backend(backend)
        freeze = NetworkFreeze(network, check_weights(network, weights, ops), ops, gates)
        return [measure_signals(network, weights, x, c, ops, freeze)]
    ensemble = Ensemble(network, weights, x, c, gates=gates, backend=backend, **RUNGS[rung].ensemble)
    root = _integer(seed)
    drawn = (ensemble.signals(k, root) for k in range(KERNEL_DRAWS))
    return [measure_signals(network, weights, x, c, backend, freeze) for freeze in drawn]


def _integer(seed: Seed) -> int:
    """One integer from a seed, so that draws of it are the same at every call."""
    return int(Streams(seed)("sampled rungs").integers(2**63))


class SignalLaw:
    """A rung that starts from signals: the mean of the laws of `signals`, with its cost said in advance.

    The equations are built when they are first needed, once: `memory` needs shapes only, so that a case too large is
    found out before.

    cut      directions of the inner layers left out (`theory.linearised.inner_layer`); 0: none
    stretch  rms of each law over that of the law it stands for: 1, but for subsampled examples
    """

    def __init__(
        self,
        signals: Sequence[NetworkSignals],
        closure: str,
        backend: Backend,
        cut: float = 0.0,
        stretch: Sequence[float] = (),
    ) -> None:
        self.signals, self.closure, self.backend, self.cut = list(signals), closure, backend, cut
        self.stretch = tuple(stretch)

    @cached_property
    def equations(self) -> list[LinearisedEquation | None]:
        """One for each of the signals, None where H = 0."""
        return [
            None if one.silent else LinearisedEquation(one, self.closure, self.cut, self.backend)
            for one in self.signals
        ]

    def __call__(self, z: Array) -> Array:
        """g(z)."""
        stretch = self.stretch or (1.0,) * len(self.signals)
        laws = [
            -1.0 / z if equation is None else s * law_of(equation, s * z).g
            for equation, s in zip(self.equations, stretch, strict=True)
        ]
        mean: Array = np.mean(laws, axis=0)
        return mean

    def coarser(self, cut: float) -> SignalLaw:
        """The same with directions of the inner layers left out."""
        return SignalLaw(self.signals, self.closure, self.backend, cut, self.stretch)

    def seconds(self, n_points: int) -> float:
        """About how long n_points will take that are no mirror images of one another, asked for `A_ROUND` at a time."""
        rounds = math.ceil(n_points / A_ROUND)
        return sum(estimate_seconds(one, n_points, rounds) for one in self.equations if one is not None)

    def affordable(self, budget: float) -> int:
        """At how many points it can be solved in so many seconds."""
        each = self.seconds(1)
        return int(min(budget / each, MOST_POINTS)) if each > 0.0 else MOST_POINTS

    @property
    def memory(self) -> float:
        """Bytes that one energy takes."""
        return max((bytes_per_point(one, self.closure) for one in self.signals if not one.silent), default=0.0)

    @property
    def sites(self) -> int:
        """Of the largest layer."""
        return max((layer.n_sites for one in self.signals for layer in one.layers), default=0)

    @property
    def too_large(self) -> str | None:
        """Why memory will not hold the equations, None where it will."""
        if self.memory <= MEMORY:
            return None
        return (
            f"{self.sites:,} sites in a layer take {self.memory / 1e9:.3g} GB for each energy: "
            "use fewer --spectrum-examples or --prediction-examples"
        )


def rung_law(
    network: Network,
    x: Any,
    c: Any,
    rung: str,
    weights: Sequence[Any] | None,
    seed: Seed = 0,
    backend: str | Backend | None = None,
    *,
    examples: int | None = None,
    cut: float = 0.0,
    gates: DrawnGates | None = None,
) -> SignalLaw:
    """The law of R4w, R4, R5 or R6, on `examples` of those with c_i ≠ 0 where they are more.

    A sample of m' out of m examples, its c_i times m/m', has a wider law: its second moment has the same products of
    two different examples on average, but m/m' times the squares of one. Energies are therefore stretched to the
    second moment that the equation gives for all m, which costs a single point far from the spectrum.
    """
    if gates is not None and examples is not None:
        raise ValueError(f"{examples} prediction examples of rows with drawn gates: predict from all of them")
    streams = Streams(seed)
    # An integer: R4 and R4w must draw the same networks and on-sets for a sample as for the whole.
    fresh = int(streams("fresh networks").integers(2**63))
    closure, weight, ops = SIGNAL_RUNGS[rung], np.asarray(c, dtype=np.float64), get_backend(backend)
    active = np.flatnonzero(weight)
    whole = rung_signals(network, x, weight, rung, weights, fresh, ops, gates)
    if examples is None or active.size <= examples:
        return SignalLaw(whole, closure, ops, cut)
    chosen = np.sort(streams("prediction examples").choice(active, examples, replace=False))
    part = rung_signals(network, x[chosen], weight[chosen] * active.size / examples, rung, weights, fresh, ops)
    law, reference = SignalLaw(part, closure, ops, cut), SignalLaw(whole, closure, ops, MOMENT_CUT)
    if reference.too_large:
        raise ValueError(f"the second moment of all active examples is out of reach: {reference.too_large}")
    law.stretch = tuple(
        _stretch(one, of_all, rung) for one, of_all in zip(law.equations, reference.equations, strict=True)
    )
    return law


def _stretch(part: LinearisedEquation | None, whole: LinearisedEquation | None, rung: str) -> float:
    """rms of the law of a sample over that of all examples; 1 where H = 0 for both."""
    own, right = (0.0 if one is None else one.rms for one in (part, whole))
    if own == right == 0.0:
        return 1.0
    if own == 0.0 or right == 0.0:
        raise ValueError(
            f"{rung} has H = 0 on the sampled examples and rms {right:.3g} on all active ones, so that no stretch "
            "leads from one to the other: use more --prediction-examples"
        )
    return own / right


def predict_spectrum(
    network: Network,
    x: Any,
    c: Any,
    z: Any,
    rung: str = "R5",
    weights: Sequence[Any] | None = None,
    seed: Seed = 0,
    backend: str | Backend | None = None,
    *,
    draws: int = 4,
    gates: DrawnGates | None = None,
) -> Array:
    """Predicted Stieltjes transform g(z) of H = Σ_i c_i ∇²T(x_i), without diagonalising or fitting anything.

    x (m, ...), c (m,), z complex with Im z > 0, any shape. R0, R1 and R2 see the second moments of the Hessian of
    `weights` through products with random vectors drawn from `seed`. R3, R4 and R4w see no weights, but the widths of
    a multilayer perceptron at initialisation: R3 and R4w through population kernels (the limit of wide layers), R4
    through the signals of a few networks of these widths freshly drawn from `seed`. R5 and R6 see the signals that
    `weights` make and of the weights themselves the mean square of each layer; any network will do. RK6 sees the Gram
    matrices of those signals, and solves R6's equation for signals drawn again from them. RE, REp,
    REp8 and RK are means over `draws` of an ensemble, for any network: `validation.ensemble_density`. R7 sees no
    weights, but c (networks, m) of the fresh networks of `seed` as `validation.predict_training` predicts them:
    `validation.fresh_density`. `gates`: those that the rows x draw at a temperature, as a
    `simulator.StochasticNetwork` has them with its ``rows`` and ``coefficients``; not for rungs that see no weights.
    Raises `ValueError` for a rung not known or one that cannot treat the case, `theory.ConvergenceError` for equations
    not solved.
    """
    if rung not in RUNGS:
        raise ValueError(f"rung {rung!r} is not available: use one of {', '.join(RUNGS)}")
    points = np.asarray(z, dtype=complex)
    if gates is not None and (RUNGS[rung].needs == "data" or rung in ("R3", "R4", "R4w")):
        raise ValueError(f"rung {rung} describes ReLU gates: leave gates out, or use a rung that sees the weights")
    if rung == "R3":
        return arc_cosine_law(*perceptron_case(network, x, c, rung), points).g
    if rung in SIGNAL_RUNGS:
        return rung_law(network, x, c, rung, weights, seed, backend, gates=gates)(points)
    if RUNGS[rung].moves:
        raise ValueError(
            f"rung {rung} needs networks that have moved: use rung='R7', or `simulator.FreshNetworks` with weights"
        )
    if RUNGS[rung].needs == "data":
        return _mean_stieltjes(fresh_density(network, x, c, seed=seed, backend=backend), points)
    if weights is None:
        raise ValueError(f"rung {rung} needs the network's weights: pass weights=")
    if rung in SAMPLED_RUNGS:
        drawn = ensemble_density(
            network, weights, x, c, rung=rung, draws=draws, seed=seed, gates=gates, backend=backend
        )
        return _mean_stieltjes(drawn, points)
    operator = HessianOperator(network, weights, x, None, c=c, gates=gates, backend=backend)
    moments = hessian_moments(operator, seed=seed)
    return predict_from_moments(moments, points.reshape(-1), rung).reshape(points.shape)


def _mean_stieltjes(drawn: EnsembleDensity, points: Array) -> Array:
    mean: Array = drawn.terminated_stieltjes(points).mean(axis=-1)
    return mean
