"""The small cases of the exact report: marginals against temperature, and EM with its three E-steps.

Everything here is a sum over all gate configurations, or a Monte Carlo estimate of one. The learning problem is
XOR with mixed labels: each of the four inputs occurs eight times, some of them with the wrong label, so that the
entropy S(µ(y|x)) in the split of the risk, entropy and divergence, is above 0 and no model can go below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import Backend
from simulator import (
    Network,
    exact_marginal,
    expectation_maximization,
    free_energy,
    log_marginals,
    mlp,
    monte_carlo_marginal,
    output,
    train_epochs,
)
from simulator.enumeration.gates import iterate_leaves, layer_matrices, log_label
from simulator.streams import spawn_streams
from validation.report.source import Report

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

MARGINAL_WIDTHS, INPUTS, INPUT_SCALE = (2, 6, 5, 1), 6, 2.0
COLDEST, HOTTEST, COIN = 0.03, 100.0, 1e9  # at COIN every gate is a fair coin, to nine digits
ROUNDING = 1e-12  # standard deviations that rounding can make
SKEWED = 0.25  # skewness of a mean beyond which two standard errors are not 95.4 %

LEARNING_WIDTHS, REPEATS, WRONG_LABELS = (2, 4, 3, 1), 8, (1, 2, 0, 1)
TEMPERATURE, OTHER_TEMPERATURES = 0.5, (0.2, 1.0)
RATE, DRAWS = 0.5, 20  # fixed step of the approximate E-steps, gate draws per example of Monte Carlo EM


@dataclass(frozen=True)
class Sizes:
    """How much is computed: ``temperatures`` and ``samples`` of the marginals, ``iterations`` and ``starts`` of EM,
    ``gradients`` drawn to test the Monte Carlo gradient."""

    temperatures: int = 31
    samples: int = 400
    iterations: int = 200
    starts: int = 5
    gradients: int = 400


QUICK = Sizes(temperatures=13, samples=200, iterations=40, starts=3, gradients=100)


@dataclass(frozen=True)
class MarginalCase:
    """A random network of 11 gates and inputs in order of their output at temperature 0."""

    network: Network
    weights: list[Array]
    x: Array


def marginal_case(seed: np.random.Generator) -> MarginalCase:
    """Inputs are normal with standard deviation 2, which spreads the outputs."""
    init, data = spawn_streams(seed, 2)
    network = mlp(MARGINAL_WIDTHS)
    weights = network.init(init)
    x = INPUT_SCALE * data.standard_normal((INPUTS, MARGINAL_WIDTHS[0]))
    return MarginalCase(network, weights, x[np.argsort(output(network, weights, x, "numpy"))])


def measure_marginals(case: MarginalCase, sizes: Sizes, seed: np.random.Generator, ops: Backend) -> Record:
    """µ(y = +1|x) over a grid of temperatures, exactly and by Monte Carlo, with the limits T → 0 and T → ∞.

    ``exact``, ``estimate``, ``standard_error`` and ``trusted`` have a row per temperature and a column per input.
    """
    problem = case.network, case.weights, case.x
    temperatures = np.geomspace(COLDEST, HOTTEST, sizes.temperatures)
    exact = np.array([exact_marginal(*problem, float(t), ops) for t in temperatures])
    draws = [
        monte_carlo_marginal(*problem, float(t), sizes.samples, stream, ops)
        for t, stream in zip(temperatures, spawn_streams(seed, temperatures.size), strict=True)
    ]
    estimate, error = np.array([d.value for d in draws]), np.array([d.standard_error for d in draws])
    trusted = np.array(
        [near_normal(case, float(t), p, sizes.samples, ops) for t, p in zip(temperatures, exact, strict=True)]
    )
    return {
        "widths": list(MARGINAL_WIDTHS),
        "inputs": case.x.tolist(),
        "temperatures": temperatures.tolist(),
        "exact": exact.tolist(),
        "cold_limit": exact_marginal(*problem, 0.0, ops).tolist(),
        "hot_limit": exact_marginal(*problem, COIN, ops).tolist(),
        "samples": sizes.samples,
        "estimate": estimate.tolist(),
        "standard_error": error.tolist(),
        "trusted": trusted.tolist(),
        "counted": int(trusted.sum()),
        "within_two": calibration((estimate - exact)[trusted], error[trusted]),
    }


def near_normal(case: MarginalCase, temperature: float, marginal: Array, samples: int, ops: Backend) -> Array:
    """Where the mean of so many draws of σ(T(x, h)) has a law whose standard error may be trusted, (m,) of bool.

    The skewness of that mean, by enumeration, must be small. It is not at low temperature, where almost all draws agree
    and what moves the mean is flips rarer than one draw in `samples`.
    """
    matrices = layer_matrices(case.network, case.weights, ops)
    variance, third = np.zeros(marginal.size), np.zeros(marginal.size)
    for leaves in iterate_leaves(ops, matrices, ops.asarray(case.x), temperature):
        prior, t = (ops.to_numpy(a).astype(np.float64) for a in (ops.xp.exp(leaves.log_prior), leaves.output))
        away = np.exp(log_label(np, t)[1]) - marginal[:, None]
        variance += np.sum(prior * away**2, axis=1)
        third += np.sum(prior * away**3, axis=1)
    trusted: Array = np.abs(third) <= SKEWED * np.sqrt(samples) * variance**1.5
    return trusted & (variance > ROUNDING**2)


def calibration(deviation: Array, error: Array) -> float | None:
    """Share of estimates within two of their own standard errors: 95.4 % if they are normal and unbiased."""
    return float(np.mean(np.abs(deviation) <= 2 * error)) if error.size else None


@dataclass(frozen=True)
class Run:
    """One training: ``rule`` is "line search" or "fixed step", ``history`` as in `simulator.EMResult` (a key that
    the trainer does not record is absent), ``weights`` the final ones."""

    e_step: str
    temperature: float
    rule: str
    start: int
    history: dict[str, Array]
    weights: list[Array]

    def record(self) -> Record:
        settings = {key: getattr(self, key) for key in ("e_step", "temperature", "rule", "start")}
        return settings | {key: values.tolist() for key, values in self.history.items()}


@dataclass(frozen=True)
class LearningCase:
    """XOR with mixed labels, a network of 7 gates and the weights that the runs start from."""

    network: Network
    starts: list[list[Array]]
    x: Array
    y: Array


def mixed_xor() -> tuple[Array, Array]:
    """(x, y): the corners (±1, ±1) eight times each with y = -x_1 x_2, of which 1, 2, 0 and 1 have the wrong sign."""
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    y = np.repeat(-corners.prod(axis=1), REPEATS)
    for corner, wrong in enumerate(WRONG_LABELS):
        y[corner * REPEATS : corner * REPEATS + wrong] *= -1
    return np.repeat(corners, REPEATS, axis=0), y


def learning_case(sizes: Sizes, seed: np.random.Generator) -> LearningCase:
    network = mlp(LEARNING_WIDTHS)
    return LearningCase(network, [network.init(s) for s in spawn_streams(seed, sizes.starts)], *mixed_xor())


def learn(case: LearningCase, sizes: Sizes, seed: np.random.Generator, ops: Backend) -> list[Run]:
    """Every start with every E-step at one temperature; the first start at the other temperatures too."""
    streams, runs = spawn_streams(seed, len(case.starts)), []
    for start, stream in enumerate(streams):
        plan = [("exact", TEMPERATURE), ("monte_carlo", TEMPERATURE), ("zero_temperature", 0.0)]
        if start == 0:
            plan += [(e_step, t) for t in OTHER_TEMPERATURES for e_step in ("exact", "monte_carlo")]
        for (e_step, t), own in zip(plan, spawn_streams(stream, len(plan)), strict=True):
            runs.append(_maximise(case, start, e_step, t, sizes, own, ops))
        runs.append(_ascend(case, start, sizes, ops))
    return runs


def _maximise(
    case: LearningCase, start: int, e_step: str, temperature: float, sizes: Sizes, seed: np.random.Generator,
    ops: Backend,
) -> Run:  # fmt: skip
    """Generalised EM: a line search where the E-step is exact, steps of `RATE` where it is not."""
    exact = e_step == "exact"
    result = expectation_maximization(
        case.network, case.starts[start], case.x, case.y, temperature=temperature, e_step=e_step,
        iterations=sizes.iterations, learning_rate=1.0 if exact else RATE, samples=DRAWS, seed=seed, backend=ops,
    )  # fmt: skip
    rule = "line search" if exact else "fixed step"
    return Run(e_step, temperature, rule, start, result.history, result.weights)


def _ascend(case: LearningCase, start: int, sizes: Sizes, ops: Backend) -> Run:
    """The exact E-step with steps of `RATE`: gradient ascent on the likelihood, to tell E-step from step size."""
    history, weights = [], case.starts[start]
    for epoch in train_epochs(
        case.network, weights, case.x, case.y, epochs=sizes.iterations, batch_size=case.y.size, learning_rate=RATE,
        loss="logistic", temperature=TEMPERATURE, e_step="exact", backend=ops,
    ):  # fmt: skip
        history.append(-epoch.risk)  # of the only batch, before its update
        weights = epoch.weights
    split = free_energy(case.x, case.y, log_marginals(case.network, weights, case.x, TEMPERATURE, ops))
    likelihood = np.array([*history, -split.risk])
    floor = np.full_like(likelihood, split.entropy)
    series = {"log_likelihood": likelihood, "entropy": floor, "kl": -likelihood - floor}
    return Run("exact", TEMPERATURE, "fixed step", start, series, weights)


def select(runs: Sequence[Report], **wanted: Any) -> list[Report]:
    """The runs of a report whose settings are the ones given."""
    return [run for run in runs if all(run[key] == value for key, value in wanted.items())]
