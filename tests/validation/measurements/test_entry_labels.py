"""Labels of Hessian entries: ∂²T without them, random ones, errors of broken parts, the theorem's hypotheses."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from backends import get_backend
from simulator import HessianEntries, hessian_entries, mlp, sample_pairs
from simulator.streams import spawn_streams
from support.cases import SMALL
from validation.compare.claims.hypotheses import judge_hypotheses
from validation.measurements.entries.labels import permuted_signs, random_labels
from validation.measurements.entries.record import describe_entries, entry_statistics
from validation.measurements.entries.symmetry import broken_excess, law_symmetry, mean_walk
from validation.statistics.symmetry import broken_symmetry

Array = np.ndarray[Any, Any]
M, E = 400, 40


def described(c: Array, output: Array) -> dict[str, Any]:
    """The record of made-up entries c_i ∂²T_i with ∂²T (m, E)."""
    pairs = sample_pairs(mlp([10, 8, 8, 1]), E, 20)
    entries = HessianEntries(c[:, None] * output[:, : len(pairs.first)], pairs, c)
    return describe_entries(entries, 152, 30, get_backend("numpy"), spawn_streams(0, 8))


def balanced(seed: int = 0) -> Array:
    signs: Array = np.random.default_rng(seed).permutation(np.tile([1.0, -1.0], M // 2))
    return signs


def one_signed() -> Array:
    sizes: Array = np.random.default_rng(1).exponential(size=(M, E))
    return sizes


def test_equal_labels_leave_a_one_signed_entry_one_signed() -> None:
    found = described(-np.ones(M), one_signed())
    chance = mean_walk(np.array([M // 8])) / (M // 8)  # 8 bins of 50
    for law in (found["symmetry"], found["second_derivative"]["symmetry"], found["random_labels"]["symmetry"]):
        assert_allclose(law["value"], 1 - chance)
    assert found["random_labels"]["negative"] == 1.0
    assert found["random_labels"]["symmetry"]["spread"] == 0.0


def test_balanced_random_labels_make_any_entry_symmetric() -> None:
    found = described(balanced(), one_signed())
    null = found["random_labels"]["symmetry"]
    # Labels in exactly equal numbers vary a little less in each of 8 bins than fair signs: sqrt(1 - 1/8).
    less = mean_walk(np.array([M // 8])) / (M // 8) * (np.sqrt(7 / 8) - 1)
    assert abs(null["value"] - less) < 4 * null["standard_error"]
    assert abs(found["symmetry"]["value"]) < 5 * null["spread"]
    assert found["second_derivative"]["symmetry"]["value"] > 0.8
    close, own, permuted = (
        found[name]["concentration"]["averages"] if name else found["concentration"]["averages"]
        for name in ("", "second_derivative", "random_labels")
    )
    assert (close[0]["fraction"], own[0]["fraction"], permuted[0]["value"]) == (1.0, 0.0, 1.0)


def test_second_derivatives_do_not_know_the_labels() -> None:
    """Two labellings of the same active examples, everything else the same."""
    output = np.random.default_rng(2).standard_normal((M, E)) + 0.3
    active = np.random.default_rng(3).random(M) < 0.7
    one, other = (described(balanced(seed) * active, output) for seed in (4, 5))
    assert one["second_derivative"] == other["second_derivative"]
    assert one["symmetry"] != other["symmetry"]


def test_second_derivatives_of_a_network_by_the_output_alone() -> None:
    """|c| ∂²T of the hinge is the entry with c = 1 on the active examples."""
    case = SMALL[4]
    x, y = np.random.default_rng(6).standard_normal((60, 6)), np.tile([1.0, -1.0], 30)
    entries = hessian_entries(case.network, case.weights, x, y, 60, seed=0)
    active = (entries.c != 0).astype(float)
    assert_array_equal(entries.c, -y * active)
    own = hessian_entries(case.network, case.weights, x, None, 60, seed=0, c=active)
    assert_allclose(entries.values * np.sign(entries.c)[:, None], own.values, rtol=1e-12, atol=1e-14)


def test_permuted_signs_keep_the_balance_and_the_active_examples() -> None:
    c = np.array([0.5, -0.1, 0.0, -2.0, -0.3, 0.0])
    signs = permuted_signs(c, 50, np.random.default_rng(0))
    assert_array_equal(signs[:, [2, 5]], 0.0)
    assert_array_equal(signs.sum(axis=1), -2.0)
    assert np.unique(signs, axis=0).shape[0] == 4


def test_random_labels_by_permuting_the_values_themselves() -> None:
    """Means and broken parts of the entries with each labelling, computed one by one."""
    rng = np.random.default_rng(7)
    c, output = rng.choice([1.0, -1.0, 0.0, 0.5], 90), rng.exponential(size=(90, 6))
    found = random_labels(c[:, None] * output, c, (1, 10), get_backend("numpy"), np.random.default_rng(8))
    laws, close = [], []
    for signs in permuted_signs(c, found["permutations"], np.random.default_rng(8)):
        h = (signs * np.abs(c))[:, None] * output
        laws.append(np.mean([broken_excess(column[:, None], np.ones((1, 90)))[0, 0] for column in h.T]))
        close.append(np.mean(np.sqrt(10) * np.abs(h.mean(axis=0)) / h.std(axis=0) < 0.15))
    assert_allclose(found["symmetry"]["value"], np.mean(laws))
    assert_allclose(found["symmetry"]["standard_error"], np.std(laws, ddof=1) / np.sqrt(len(laws)))
    assert_allclose(found["concentration"]["averages"][1]["value"], np.mean(close))


def test_broken_parts_are_those_of_one_law_at_a_time() -> None:
    rng = np.random.default_rng(9)
    values = (rng.standard_normal((300, 4)) + 0.5) * (rng.random((300, 4)) < 0.6)
    signs = rng.choice([-1.0, 1.0], (2, 300))
    found = broken_excess(values, signs)
    for k, e in np.ndindex(2, 4):
        law = broken_symmetry((signs[k] * values[:, e])[values[:, e] != 0], rng, draws=20_000)
        assert law is not None
        assert_allclose(found[k, e], law.value - law.null, atol=2e-3)


def test_mean_walk_by_enumeration() -> None:
    for n in range(1, 12):
        ends = [abs(2 * bin(k).count("1") - n) for k in range(1 << n)]
        assert_allclose(mean_walk(np.array([n])), np.mean(ends))


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_error_over_examples_is_the_spread_over_data_sets(shift: float) -> None:
    """Entries that share their examples' signs: with a broken law, and where only chance is broken."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        signs = np.where(rng.random((300, 1)) < 0.5 + shift / 2, 1.0, -1.0)
        law = law_symmetry(signs * rng.exponential(size=(300, 12)), np.arange(12), rng)
        found.append((law["value"], law["example_standard_error"]))
    spread, error = np.std([f for f, _ in found], ddof=1), np.sqrt(np.mean([e**2 for _, e in found]))
    assert 0.6 < error / spread < 1.6


# The theorem's hypotheses.


@cache
def measured() -> dict[str, Any]:
    case = SMALL[4]
    x, y = np.random.default_rng(12).standard_normal((150, 6)), np.tile([1.0, -1.0], 75)
    return entry_statistics(case.network, case.weights, x, y, n=80, n_first=20, resamples=10)


def hypotheses(predictions: Any = None, e1: float = 0.0, **covariance: Any) -> dict[str, tuple[str, str | None]]:
    entries = deepcopy(measured())
    entries["coupling"]["least_exponent"] = covariance.pop("least_exponent", None)
    entries["coupling"]["covariance"] |= covariance
    exact = {"E1": {"value": e1, "tolerance": 1e-10}}
    claims = judge_hypotheses([{"entries": entries, "exact": exact, "predictions": predictions or {}}])
    return {claim.id: (claim.verdict, claim.measured) for claim in claims}


@pytest.mark.parametrize(
    ("exponent", "error", "detectable", "least", "verdict"),
    [
        (0.3, 0.05, 0.1, None, "supported"),
        (0.3, 0.05, 0.5, None, "not resolved"),  # few examples find few
        (0.3, None, 0.1, None, "not resolved"),
        (0.45, 0.05, 0.1, None, "not resolved"),
        (1.78, 0.016, 0.5, None, "not supported"),
        (0.3, 0.05, 0.1, 1.2, "not supported"),
        (None, None, 0.1, None, "supported"),
        (None, None, 2.0, None, "not resolved"),
    ],
)
def test_neighbourhoods(
    exponent: float | None, error: float | None, detectable: float, least: float | None, verdict: str
) -> None:
    found = hypotheses(exponent=exponent, exponent_standard_error=error, detectable=detectable, least_exponent=least)
    assert found["theorem.neighbourhoods"][0] == verdict


def test_flatness_fails_by_E1() -> None:
    verdict, words = hypotheses()["theorem.flatness"]
    assert verdict == "not supported"
    assert words is not None
    assert "% of the pairs of weights are 0 by construction" in words
    assert hypotheses(e1=1e-3)["theorem.flatness"][0] == "not resolved"  # a bug elsewhere


def test_what_the_conclusion_still_gives_is_said() -> None:
    without, made = hypotheses(), hypotheses({"RE": {"l1": 0.02, "l1_standard_error": 0.01}})
    for name in ("theorem.neighbourhoods", "theorem.flatness"):
        assert "RE" not in str(without[name][1])
        assert "0.020 ± 0.010" in str(made[name][1])


def test_no_hypotheses_without_entries() -> None:
    assert judge_hypotheses([{"entries": None}]) == []
    assert {c.verdict for c in judge_hypotheses([{"entries": {"coupling": None}}])} == {"not applicable"}


def test_blocks_are_mean_squares_of_the_hessian() -> None:
    blocks = measured()["blocks"]
    assert [s > 0 for s in blocks["mean_square"]] == [True] * 10
    assert all(low < high for low, high in blocks["layers"])
