"""What must hold on the small cases, each with a number and a verdict.

An exact statement holds to rounding: one that does not is a bug. A statistical one is a test of a random estimate and
may fail by chance, rarely; the seed makes it repeatable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from backends import Backend, get_backend
from simulator import circuit_moments, exact_marginal, gate_law, gradient, log_marginals, output
from simulator.enumeration.gates import iterate_leaves, layer_matrices, n_gates, state_bits
from simulator.streams import spawn_streams
from simulator.training.e_step import GateSample, expect
from simulator.training.em import complete_likelihood
from validation.statistics.claim import Claim

from .cases import DRAWS, TEMPERATURE, Array, LearningCase, MarginalCase, Record, Run, Sizes

ROUNDING, DIFFERENCES = 1e-11, 1e-6  # nats or relative errors: of sums, and of central differences
STEP = 1e-5
COLD = 1e-6
CHECK_TEMPERATURES = (0.05, 0.3, 1.0, 5.0)
Weights = Sequence[Array]


def check_all(
    marginals: Record,
    marginal: MarginalCase,
    runs: Sequence[Run],
    learning: LearningCase,
    sizes: Sizes,
    seed: np.random.Generator,
    ops: Backend,
) -> list[Claim]:
    """Every claim, the exact ones first."""
    directions, draws = spawn_streams(seed, 2)
    trained = [run.weights for run in runs if run.rule == "line search"]
    return [
        _bound(runs),
        _monotone(runs),
        _tight([*learning.starts, *trained], learning, ops),
        _fisher(learning, directions, ops),
        _free_energy(runs),
        _back_propagation([*learning.starts, *trained], learning, ops),
        _cold(marginal, ops),
        _circuits(marginal, ops),
        _twins(marginal, ops),
        _unbiased(learning, sizes.gradients, draws, ops),
        _calibrated(marginals),
    ]


def _exact(name: str, source: str, claim: str, what: str, value: float, tolerance: float = ROUNDING) -> Claim:
    """An error that must stay below a tolerance."""
    return Claim(name, source, claim, f"{what} {value:.1e}", f"≤ {tolerance:.0e}", value <= tolerance, exact=True)


def _bound(runs: Sequence[Run]) -> Claim:
    """At temperature 0 the two are one number: nothing to compare."""
    warm = [run.history for run in runs if "bound" in run.history and run.temperature > 0]
    slack = min(float(np.min(h["log_likelihood"] - h["bound"])) for h in warm)
    return Claim(
        "EM.bound", "EM", "the evidence bound is never above the log-likelihood, in any run",
        f"smallest likelihood less bound {_signed(slack)}", f"≥ {_signed(-ROUNDING)}", slack >= -ROUNDING, exact=True,
    )  # fmt: skip


def _monotone(runs: Sequence[Run]) -> Claim:
    least = min(float(np.diff(run.history["log_likelihood"]).min()) for run in runs if run.rule == "line search")
    return Claim(
        "EM.monotone", "EM", "exact EM never decreases the log-likelihood, from any start at any temperature",
        f"smallest step {_signed(least)}", f"≥ {_signed(-ROUNDING)}", least >= -ROUNDING, exact=True,
    )  # fmt: skip


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else ''}{abs(value):.1e}".replace(".0e", "e")


def _posterior(case: LearningCase, weights: Weights, ops: Backend) -> GateSample:
    return expect(case.network, weights, case.x, case.y, "exact", TEMPERATURE, ops, np.random.default_rng(0))


def _complete(
    case: LearningCase, weights: Weights, sample: GateSample, ops: Backend, temperature: float = TEMPERATURE
) -> tuple[float, Array]:
    """Q and its gradient, flat, on the host."""
    on_device = [ops.asarray(w) for w in weights]
    value, ascent = complete_likelihood(
        case.network, on_device, ops.asarray(case.x), ops.asarray(case.y), sample, temperature, ops
    )
    return value, case.network.flatten([ops.to_numpy(a) for a in ascent])


def _likelihood(case: LearningCase, weights: Weights, ops: Backend) -> float:
    log = log_marginals(case.network, weights, case.x, TEMPERATURE, ops)
    return float(np.where(case.y > 0, log[:, 1], log[:, 0]).sum())


def _tight(places: Sequence[Weights], case: LearningCase, ops: Backend) -> Claim:
    """E_q log µ(y,h|x) + entropy of q = log µ(y|x) at q = µ(h|x,y)."""
    gaps = []
    for weights in places:
        sample = _posterior(case, weights, ops)
        q = ops.to_numpy(sample.q)
        bound = _complete(case, weights, sample, ops)[0] - np.sum(q * np.log(q, out=np.zeros_like(q), where=q > 0))
        gaps.append(abs(bound - _likelihood(case, weights, ops)) / case.y.size)
    return _exact(
        "EM.tight", "EM", "at the exact posterior the bound equals the log-likelihood, before and after training",
        "largest difference", max(gaps),
    )  # fmt: skip


def _fisher(case: LearningCase, rng: np.random.Generator, ops: Backend) -> Claim:
    """⟨E_q ∇log µ(y,h|x), v⟩ against [log µ(W + εv) - log µ(W - εv)] / 2ε along random unit vectors v."""
    errors = []
    for weights in case.starts:
        ascent = _complete(case, weights, _posterior(case, weights, ops), ops)[1]
        v = rng.standard_normal(ascent.size)
        v /= np.linalg.norm(v)
        flat = case.network.flatten(weights)
        ends = [_likelihood(case, case.network.unflatten(flat + sign * STEP * v), ops) for sign in (1, -1)]
        errors.append(abs((ends[0] - ends[1]) / (2 * STEP) - ascent @ v) / np.linalg.norm(ascent))
    return _exact(
        "EM.fisher", "EM", "Fisher: the posterior mean of ∇log µ(y,h|x) is the gradient of the log-likelihood",
        "relative error of central differences", float(max(errors)), DIFFERENCES,
    )  # fmt: skip


def _free_energy(runs: Sequence[Run]) -> Claim:
    splits = [run.history for run in runs if "bound" in run.history]
    errors = [np.abs(h["entropy"] + h["kl"] + h["log_likelihood"]).max() for h in splits]
    return _exact(
        "split", "sec. II C 2", "entropy of the data plus divergence of the model from them is the logistic risk",
        "largest difference", float(max(errors)),
    )  # fmt: skip


def _back_propagation(places: Sequence[Weights], case: LearningCase, ops: Backend) -> Claim:
    errors = []
    for weights in places:
        sample = expect(case.network, weights, case.x, case.y, "zero_temperature", 0.0, ops, np.random.default_rng(0))
        step = _complete(case, weights, sample, ops, temperature=0.0)[1] / case.y.size
        descent = case.network.flatten(gradient(case.network, weights, case.x, case.y, "logistic", ops))
        errors.append(np.abs(step + descent).max())
    return _exact(
        "EM.cold", "EM", "the M-step at temperature 0 is back-propagation through the ReLU network",
        "largest difference of the gradients", float(max(errors)),
    )  # fmt: skip


def _cold(case: MarginalCase, ops: Backend) -> Claim:
    relu = 1 / (1 + np.exp(-output(case.network, case.weights, case.x, ops).astype(np.float64)))
    cold = exact_marginal(case.network, case.weights, case.x, COLD, ops)
    return _exact(
        "eq8", "eqs. (7), (8)", f"the marginal at temperature {COLD:g} is that of the ReLU network",
        "largest difference", float(np.abs(cold - relu).max()),
    )  # fmt: skip


def _circuits(case: MarginalCase, ops: Backend) -> Claim:
    paths = np.array(list(itertools.product(*(range(n) for n in (case.x.shape[1], *_widths(case))))))
    errors = []
    for t in CHECK_TEMPERATURES:
        (first,) = circuit_moments(case.network, case.weights, case.x, paths, t, orders=[1], backend=ops)
        mean = gate_law(case.network, case.weights, case.x, t, ops).mean_output
        errors.append(np.abs(first.sum(axis=1) - mean).max())
    return _exact(
        "eq10", "eqs. (10), (11)", f"the means of all {len(paths)} circuits sum to the mean output",
        "largest difference", float(max(errors)),
    )  # fmt: skip


def _widths(case: MarginalCase) -> list[int]:
    return [int(w.shape[1]) for w in case.weights]


def _twins(case: MarginalCase, ops: Backend) -> Claim:
    """Every kernel that may have been used, against the reference."""
    names = sorted({get_backend().name, ops.name} - {"numpy"})
    kernels = {name: ops if name == ops.name else get_backend(name) for name in names}
    errors = []
    for t in CHECK_TEMPERATURES:
        reference = log_marginals(case.network, case.weights, case.x, t, "numpy")
        for kernel in kernels.values():
            own = log_marginals(case.network, case.weights, case.x, t, kernel)
            errors.append(np.abs(own - reference).max())
    return _exact(
        "backends", "kernels", f"{' and '.join(names)} and numpy agree on log µ(y|x)", "largest difference", max(errors)
    )


def _unbiased(case: LearningCase, count: int, rng: np.random.Generator, ops: Backend) -> Claim:
    """The gradient of Q for gates drawn from the forward law, against its mean by enumeration."""
    weights = case.starts[0]
    expected = _complete(case, weights, _forward(case, weights, ops), ops)[1]
    problem = case.network, weights, case.x, case.y, "monte_carlo", TEMPERATURE, ops, rng, DRAWS
    draws = np.array([_complete(case, weights, expect(*problem), ops)[1] for _ in range(count)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(count)
    z = float(np.max(np.abs(draws.mean(axis=0) - expected) / error))
    return Claim(
        "MC.gradient", "EM", f"the Monte Carlo gradient is unbiased ({count} draws, {expected.size} weights)",
        f"largest deviation {z:.2f} standard errors", "≤ 4", z <= 4, exact=False,
    )  # fmt: skip


def _forward(case: LearningCase, weights: Weights, ops: Backend) -> GateSample:
    """All configurations with their prior µ(h|x)."""
    gates, matrices = n_gates(case.network), layer_matrices(case.network, weights, ops)
    q = np.empty((case.y.size, 1 << gates))
    for leaves in iterate_leaves(ops, matrices, ops.asarray(case.x), TEMPERATURE):
        q[:, leaves.states] = np.exp(ops.to_numpy(leaves.log_prior))
    return GateSample(ops.asarray(state_bits(np.arange(1 << gates), gates)[None]), ops.asarray(q))


def _calibrated(marginals: Record) -> Claim:
    """The share may miss 95.4 % by three of its own standard errors."""
    share, count = marginals["within_two"], marginals["counted"]
    nominal = 0.9545
    least = nominal - 3 * np.sqrt(nominal * (1 - nominal) / max(count, 1))
    return Claim(
        "MC.marginal", "sec. II B",
        "Monte Carlo marginals lie within two of their standard errors, where the law of the mean is not skewed",
        "no estimate counts" if share is None else f"{100 * share:.1f} % of {count} estimates",
        f"95.4 %, at least {100 * least:.1f} %", share is not None and share >= least,
        exact=False,
    )  # fmt: skip
