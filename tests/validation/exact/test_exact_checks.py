"""The checks of the exact report: every one can fail, and an estimate that is off is no bug."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import skew

from backends import get_backend
from simulator import exact_marginal, free_energy
from simulator.streams import spawn_streams
from simulator.training.e_step import GateSample, draw_gates
from support.places import ROOT
from validation.exact import claims as exact_checks
from validation.exact.cases import (
    SKEWED,
    LearningCase,
    MarginalCase,
    Run,
    Sizes,
    calibration,
    learn,
    learning_case,
    marginal_case,
    measure_marginals,
    mixed_xor,
    near_normal,
)
from validation.exact.claims import check_all
from validation.statistics.claim import failed

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")
TINY = Sizes(temperatures=5, samples=60, iterations=6, starts=2, gradients=60)


@pytest.fixture(scope="module")
def cases() -> tuple[MarginalCase, dict[str, Any], LearningCase, list[Run]]:
    first, second, third, fourth = spawn_streams(1, 4)
    marginal, learning = marginal_case(first), learning_case(TINY, second)
    return marginal, measure_marginals(marginal, TINY, third, OPS), learning, learn(learning, TINY, fourth, OPS)


def check(cases: tuple[MarginalCase, dict[str, Any], LearningCase, list[Run]], **changed: Any) -> list[dict[str, Any]]:
    marginal, marginals, learning, runs = cases
    given = {"marginals": marginals, "runs": runs} | changed
    rng = np.random.default_rng(0)
    found = check_all(given["marginals"], marginal, given["runs"], learning, TINY, rng, OPS)
    return [claim.record() for claim in found]


def test_honest_cases_pass(cases: Any) -> None:
    assert failed(check(cases)) == []


def test_entropy_of_the_mixed_labels() -> None:
    x, y = mixed_xor()
    shares = np.array([1, 2, 0, 1]) / 8
    terms = [p * np.log(p) for p in (*shares, *(1 - shares)) if p > 0]
    split = free_energy(x, y, np.log(np.full((32, 2), 0.5)))
    assert split.entropy == pytest.approx(-sum(terms) / 4)
    assert split.risk == pytest.approx(np.log(2))
    assert np.sum(y != -x[:, 0] * x[:, 1]) == 4


def test_calibration() -> None:
    rng = np.random.default_rng(0)
    error = rng.uniform(0.01, 0.1, 2000)
    deviation = error * rng.standard_normal(2000)
    assert calibration(deviation, error) == pytest.approx(0.9545, abs=0.015)
    assert calibration(deviation, error / 2) == pytest.approx(0.683, abs=0.03)
    assert calibration(np.empty(0), np.empty(0)) is None


@pytest.mark.parametrize("temperature", [0.1, 0.5, 3.0])
def test_estimates_are_trusted_where_their_law_is_not_skewed(cases: Any, temperature: float) -> None:
    """Skewness of the mean of n draws = skewness of one draw / √n, seen in 200,000 of them."""
    case = cases[0]
    marginal = exact_marginal(case.network, case.weights, case.x, temperature, OPS)
    for samples in (10, 1000):
        trusted = near_normal(case, temperature, marginal, samples, OPS)
        for i, x in enumerate(case.x):
            bits = draw_gates(case.weights, x[None], temperature, 200_000, OPS, np.random.default_rng(i))[0]
            draws = 1 / (1 + np.exp(-outputs(case.weights, x, bits)))
            skewness = abs(skew(draws)) / np.sqrt(samples) if np.ptp(draws) > 0 else np.inf
            if abs(np.log(skewness / SKEWED)) > 0.2:  # else the draws cannot tell
                assert trusted[i] == (skewness < SKEWED)


def outputs(weights: list[Array], x: Array, bits: Array) -> Array:
    """T(x, h) of every row of gates."""
    first = bits[:, : weights[0].shape[1]]
    return np.asarray((bits[:, first.shape[1] :] * ((first * (x @ weights[0])) @ weights[1])) @ weights[2])[:, 0]


def worse(history: dict[str, Array], key: str, by: float) -> dict[str, Array]:
    """The history with one number in the middle moved."""
    values = history[key].copy()
    values[3] += by
    return {**history, key: values}


@pytest.mark.parametrize(
    ("key", "by", "name"),
    [
        ("bound", 1.0, "EM.bound"),
        ("log_likelihood", 1.0, "EM.monotone"),
        ("kl", 1e-9, "split"),
        ("entropy", 1e-9, "split"),
    ],
)
def test_checks_of_the_runs_can_fail(cases: Any, key: str, by: float, name: str) -> None:
    runs = [Run(**{**vars(run), "history": worse(run.history, key, by)}) for run in cases[3][:1]]
    assert name in failed(check(cases, runs=runs))


def shifted(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **options: function(*args, **options) + 1e-6


def skewed(function: Callable[..., Any]) -> Callable[..., Any]:
    """complete_likelihood with a gradient that is a little too long."""

    def wrong(*args: Any) -> Any:
        value, ascent = function(*args)
        return value, [1.0001 * a for a in ascent]

    return wrong


def lopsided(function: Callable[..., Any]) -> Callable[..., Any]:
    """expect with a law that is not the posterior."""

    def wrong(*args: Any) -> Any:
        sample = function(*args)
        q = sample.q + 0.01 * (sample.q.shape[1] > 20) * (np.arange(sample.q.shape[1]) == 0)
        return GateSample(sample.bits, q / q.sum(axis=1, keepdims=True))

    return wrong


@pytest.mark.parametrize(
    ("name", "wrong", "broken"),
    [
        ("exact_marginal", shifted, {"eq8"}),
        ("circuit_moments", shifted, {"eq10"}),
        ("complete_likelihood", skewed, {"EM.fisher", "EM.cold"}),
        ("expect", lopsided, {"EM.tight", "EM.fisher"}),
    ],
)
def test_checks_of_the_simulator_can_fail(
    cases: Any, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any, broken: set[str]
) -> None:
    monkeypatch.setattr(exact_checks, name, wrong(getattr(exact_checks, name)))
    assert set(failed(check(cases))) == broken


def test_kernels_that_differ_are_seen(cases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = exact_checks.log_marginals
    monkeypatch.setattr(
        exact_checks, "log_marginals", lambda *args: honest(*args) + 1e-9 * (getattr(args[4], "name", "") == "numba")
    )
    assert failed(check(cases)) == ["backends"]


def test_tests_of_estimates_can_fail_and_are_no_bugs(cases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = exact_checks.expect

    def biased(*args: Any) -> GateSample:
        sample = honest(*args)
        return GateSample(sample.bits * 0.9, sample.q) if args[4] == "monte_carlo" else sample

    monkeypatch.setattr(exact_checks, "expect", biased)
    checks = check(cases, marginals={**cases[1], "within_two": 0.5})
    verdicts = {c["id"]: c["verdict"] for c in checks if not c["exact"]}
    assert verdicts == {"MC.gradient": "not supported", "MC.marginal": "not supported"}
    assert failed(checks) == []


def test_the_benchmark_compares_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "enumeration.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(benchmark, "WIDTHS", (3, 4, 5, 1))
    found = benchmark.compare(2)
    assert found["largest_disagreement"] < 1e-13
    assert {"numba", "numpy", "plain NumPy"} <= set(found["seconds"])
    rows = benchmark.summary({"a": [1.0, 4.0, 2.0]})
    assert rows["a"]["configurations_per_second"] == 2**9 / 2
    monkeypatch.setattr(benchmark, "plain", lambda *_: 0.0)
    with pytest.raises(SystemExit, match="that is a bug"):
        benchmark.compare(1)
