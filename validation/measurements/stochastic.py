"""The network with gates drawn at a temperature, as a record keeps it: averages over sets of draws, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import (
    Average,
    EnsembleLanczos,
    Evaluation,
    HessianScale,
    Network,
    SpectralDensity,
    StochasticEvaluation,
    StochasticNetwork,
    evaluate,
    evaluate_stochastic,
    hessian_scale,
    unit_weights,
)
from simulator.passes.drawn import DrawnGates
from simulator.stochastic.average import pooled
from simulator.streams import Streams
from validation.measurements.facts import FactCheck, drawn_facts
from validation.run.storage import finite_or_none

Array = np.ndarray[Any, Any]
Record = dict[str, Any]
SETS = 5  # of draws of the gates, behind averages over all training examples
SCALE_SETS, SCALE_PROBES = 4, 2  # behind the scale of the mean Hessian


@dataclass(frozen=True)
class Temperature:
    """At which temperature gates are drawn, by which law they are averaged, and how many draws make a set."""

    value: float
    law: str
    samples: int

    def network(
        self, network: Network, weights: Sequence[Array], x: Array, y: Array, loss: str, streams: Streams, epoch: int,
        ops: Backend,
    ) -> StochasticNetwork:  # fmt: skip
        """The network with its gates drawn, the same ones at every call; the residual part of its Hessian."""
        return StochasticNetwork(
            network, weights, x, y, self.value, loss=loss, law=self.law, samples=self.samples, part="residual",
            seed=streams("record gates", epoch), backend=ops,
        )  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """What a spectrum is measured on: examples ``x``, coefficients ``c`` = ∂ℓ/∂T/m, and the gates that they draw."""

    x: Array
    c: Array
    gates: DrawnGates | None = None

    @classmethod
    def of_set(cls, drawn: StochasticNetwork, index: int = 0) -> Rows:
        """One set of draws of every example."""
        return cls(drawn.rows, drawn.coefficients(index)[0], drawn.gates(index))


def evaluated(drawn: StochasticNetwork) -> tuple[Evaluation, StochasticEvaluation]:
    """(risk, accuracy, active share and gradient as numbers; the same with errors) over `SETS` sets of draws."""
    seen = evaluate_stochastic(drawn, SETS)
    plain = Evaluation(seen.risk.value, seen.accuracy.value, seen.active_fraction.value, seen.gradient)
    return plain, seen


def described(drawn: StochasticNetwork, seen: StochasticEvaluation, weights: Sequence[Array]) -> Record:
    """What a record keeps of the averages, beside the ReLU network of the same weights on the same examples."""
    relu = evaluate(drawn.network, weights, drawn.x, drawn.y, drawn.loss, drawn.backend)
    names = ("risk", "accuracy", "active_fraction", "log_likelihood", "order_parameter")
    return {
        "temperature": drawn.temperature,
        "law": drawn.law,
        "sets": seen.draws,
        "samples": drawn.samples,
        **{name: asdict(getattr(seen, name)) for name in names},
        "marginal_accuracy": seen.marginal_accuracy,
        "effective_samples": seen.effective_samples,
        "gradient_noise": seen.gradient_noise,
        "layer_temperatures": _layer_temperatures(weights, drawn.temperature),
        "relu": {
            "risk": relu.risk,
            "accuracy": relu.accuracy,
            "active_fraction": relu.active_fraction,
            "order_parameter": relu.order_parameter,
        },
    }


def _layer_temperatures(weights: Sequence[Array], temperature: float) -> list[float | None] | None:
    """T_l of the paper's W_l = Ŵ_l/T_l, None for a layer of zeros; None at temperature 0."""
    if temperature == 0.0:
        return None
    return [finite_or_none(float(t)) for t in unit_weights(weights, temperature).temperatures]


def scale_of(drawn: StochasticNetwork, seed: np.random.Generator) -> Record:
    """rms of the Hessian of a set and of the mean Hessian, with errors."""
    scale: HessianScale = hessian_scale(drawn, SCALE_SETS, SCALE_PROBES, seed)
    return {"of_a_set": asdict(scale.of_a_set), "of_the_mean": asdict(scale.of_the_mean)}


def facts(drawn: StochasticNetwork, weights: Sequence[Array], rng: np.random.Generator) -> dict[str, FactCheck]:
    """E1 to E4 for the first set of draws: they hold for any gates that are held fixed."""
    rows = Rows.of_set(drawn)
    return drawn_facts(drawn.network, weights, rows.x, rows.c, rows.gates, drawn.backend, rng)


def lanczos(drawn: StochasticNetwork, probes: int, steps: int, seed: np.random.Generator) -> EnsembleLanczos:
    """Lanczos recurrences of one probe in each of `probes` sets: their scatter holds that of the draws too."""
    return EnsembleLanczos(drawn, probes, 1, steps, seed)


def spectrum_of(run: EnsembleLanczos) -> SpectralDensity:
    """The mean spectrum over the sets, whose rows are independent."""
    found = run.result()
    return SpectralDensity.from_recurrence(found.alpha, found.beta, found.size, found.precision)


def accuracy(drawn: StochasticNetwork) -> Average:
    """The share of u > 0 over the draws of `SETS` sets, with its error."""
    return pooled(drawn.y * np.concatenate([drawn.outputs(k) for k in range(SETS)]) > 0)
