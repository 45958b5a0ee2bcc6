"""The rungs through training, and the ensemble that they claim to describe: the signals frozen, the weights fresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator import HessianOperator, Network, train_epochs
from simulator.streams import Seed, spawn_streams
from theory import ConvergenceError
from validation.predictions.rung import SOLVED_RUNGS
from validation.statistics.estimate import mean_and_error

from .cases import Problem, against_own, estimate_record
from .spectra import (
    Array,
    eigenvalues,
    l1,
    measured_density,
    noise_of_mean,
    others_means,
    predicted_density,
    rms,
    spread,
)

MOMENTUM = 0.9
FEWEST = 2  # active examples of a network whose spectrum is compared


def measure_training(
    problem: Problem,
    hidden: Sequence[int],
    weights: Sequence[list[Array]],
    steps: Sequence[int],
    learning_rate: float,
    draws: int,
    seed: Seed,
) -> dict[str, Any]:
    """Records after `steps` full-batch steps of v ← 0.9 v + ∇R, w ← w - rate v, each network against its own spectrum.

    c is the hinge's. A network with fewer than 2 active examples, or with H = 0 (dead), is left out of a record and
    counted (``too_few``).
    Raises `simulator.TrainingDivergedError`.
    """
    network = problem.network(hidden)
    trained = [_states(problem, network, w, steps, learning_rate) for w in weights]
    streams = spawn_streams(seed, len(steps))
    records = [
        _record(problem, network, step, [states[step] for states in trained], draws, stream)
        for step, stream in zip(steps, streams, strict=True)
    ]
    return {"hidden": list(hidden), "depth": network.depth, "weights": network.n_weights, "records": records}


def _states(
    problem: Problem, network: Network, weights: list[Array], steps: Sequence[int], learning_rate: float
) -> dict[int, list[Array]]:
    """Weights after each of the steps."""
    states = {0: weights}
    for state in train_epochs(
        network, weights, problem.x, problem.y, epochs=max(steps), batch_size=problem.y.size,
        learning_rate=learning_rate, momentum=MOMENTUM, backend=problem.backend,
    ):  # fmt: skip
        if state.epoch in steps:
            states[state.epoch] = state.weights
    return states


def _record(
    problem: Problem, network: Network, step: int, weights: Sequence[list[Array]], draws: int, seed: Seed
) -> dict[str, Any]:
    own, surrogate = spawn_streams(seed, 2)
    operators = [HessianOperator(network, w, problem.x, problem.y, backend=problem.backend) for w in weights]
    share = [op.active.size / problem.y.size for op in operators]
    every = {i: eigenvalues(op) for i, op in enumerate(operators) if op.active.size >= FEWEST}
    used = [i for i, values in every.items() if rms(values) > 0.0]
    record: dict[str, Any] = {
        "step": step,
        "active_fraction": float(np.mean(share)),
        "networks": len(used),
        "too_few": len(weights) - len(used),
        "asymmetry": None,
        "rungs": {},
        "left_out": {},
        "surrogate": None,
    }
    if len(used) < 2:  # no standard error without two
        return record
    spectra = [every[i] for i in used]
    seen, c = [weights[i] for i in used], [operators[i].c for i in used]
    record |= against_own(problem, network, seen, c, spectra, own)
    if draws:
        record["surrogate"] = _surrogate(problem, [operators[i] for i in used], seen, spectra, draws, surrogate)
    return record


def fresh_weights(weights: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Gaussian weights of the same mean square in every layer."""
    return [rng.standard_normal(w.shape) * np.sqrt(np.mean(w**2)) for w in weights]


def _surrogate(
    problem: Problem,
    operators: Sequence[HessianOperator],
    weights: Sequence[list[Array]],
    spectra: Sequence[Array],
    draws: int,
    seed: Seed,
) -> dict[str, Any]:
    """Distances within the ensemble of fresh weights at frozen signals, averaged over networks.

    ``own``  a network's own spectrum off the means of all draws but one; ``draw``  one draw off the mean of the others:
    alike where a network's weights are no different from fresh ones. ``noise``  what the exact mean would show
    against the mean of the draws. R5, R6: off the mean of the draws.
    """
    rows: dict[str, list[float]] = {key: [] for key in ("own", "draw", "noise", *SOLVED_RUNGS)}
    left_out: dict[str, str] = {}
    for operator, w, values, rng in zip(operators, weights, spectra, spawn_streams(seed, len(operators)), strict=True):
        scale = rms(values)
        sampled = [eigenvalues(operator.with_weights(fresh_weights(w, rng))) for _ in range(draws)]
        densities = np.stack([measured_density(drawn, scale) for drawn in sampled])
        own = measured_density(values, scale)
        rows["own"].append(float(np.mean([l1(own, others) for others in others_means(densities)])))
        rows["draw"].append(spread(densities))
        rows["noise"].append(noise_of_mean(densities))
        for rung in (r for r in SOLVED_RUNGS if r in problem.rungs):
            try:
                rho = predicted_density(operator.network, problem.x, operator.c, scale, rung, w, 0, problem.backend)
            except ConvergenceError as error:
                left_out[rung] = str(error)
                continue
            rows[rung].append(l1(densities.mean(axis=0), rho))
    complete = {key: values for key, values in rows.items() if len(values) == len(operators)}
    return {"draws": draws, "left_out": left_out} | {k: estimate_record(mean_and_error(v)) for k, v in complete.items()}
