"""Statistics of Hessian entries: cumulants and their errors, bootstrap, extrapolation, claims, figures, the job."""

from __future__ import annotations

import json
import math
import warnings
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal

import validation
from backends import get_backend
from simulator import EntryPairs, HessianOperator, hessian_entries, mlp, sample_pairs
from simulator.streams import spawn_streams
from support.cases import SMALL, assert_close
from support.strict_namespace import strict
from support.synthetic_report import report
from validation import figures
from validation.compare.captions.run import caption
from validation.compare.claims.entries import _reach, judge_entries
from validation.compare.claims.judge import judge
from validation.compare.figures.entries import ENTRY_FIGURES
from validation.compare.figures.structure import STRUCTURE_FIGURES
from validation.compare.figures.whole import WHOLE_FIGURES
from validation.measurements.entries.bootstrap import BOUND, averages, cluster_error, concentration, resampling_weights
from validation.measurements.entries.coupling import (
    SIGN_BOUND,
    cluster_share,
    coupling_size,
    find_coupling,
    pooled_p_value,
    share_parameter,
    sign_p_value,
    stratum_weights,
)
from validation.measurements.entries.cumulants import KINDS, cross_cumulants, resolutions, standardise
from validation.measurements.entries.record import MEASURED, describe_entries, entry_statistics

Array = np.ndarray[Any, Any]
EXPONENTS = {"covariance": (1, 1), "third": (2, 1), "fourth": (2, 2)}
values_of = st.builds(
    lambda seed, m, law: (
        np.random.default_rng(seed).standard_normal((m, 5)) ** law
        * (np.random.default_rng(seed + 1).random((m, 5)) < 0.8)
    ),
    st.integers(0, 2**31),
    st.integers(30, 80),
    st.sampled_from([1, 2, 3]),
)


def weighted_cumulant(a: Array, b: Array, weight: Array, kind: str) -> float:
    """The cumulant of a/σ_a, b/σ_b under the law that gives example i the mass weight_i, with σ of equal masses."""
    j, k = EXPONENTS[kind]
    weight = weight / weight.sum()
    x, y = ((v - weight @ v) / v.std() for v in (a, b))
    value = weight @ (x**j * y**k)
    if kind == "fourth":
        value -= (weight @ x**2) * (weight @ y**2) + 2 * (weight @ (x * y)) ** 2
    return float(value)


@given(values_of)
def test_cumulants_and_statistics_are_those_of_the_definition(values: Array) -> None:
    """d_i as the derivative of the cumulant in the mass of example i, numerically."""
    m = len(values)
    found = cross_cumulants(standardise(values), get_backend("numpy"))
    step = 1e-5
    for kind, (row, column) in ((kind, pair) for kind in KINDS for pair in ((0, 1), (3, 2))):
        a, b = values[:, row], values[:, column]
        value = weighted_cumulant(a, b, np.ones(m), kind)
        assert_allclose(found[kind].value[row, column], value, rtol=1e-9, atol=1e-11)
        influence = [
            (weighted_cumulant(a, b, (1 - s) / m + s * np.eye(m)[i], kind)
             - weighted_cumulant(a, b, (1 + s) / m - s * np.eye(m)[i], kind)) / (2 * s)
            for i, s in ((i, step) for i in range(m))
        ]  # fmt: skip
        d = value + np.array(influence)
        assert_allclose(d.mean(), value, rtol=1e-5, atol=1e-6)
        expected = d.sum() / np.sqrt(np.sum(d**2))
        assert_allclose(found[kind].statistic[row, column], expected, rtol=1e-4, atol=1e-4)


def test_symmetry_of_the_cumulants() -> None:
    values = np.random.default_rng(0).exponential(size=(50, 6))
    found = cross_cumulants(standardise(values), get_backend("numpy"))
    for kind in ("covariance", "fourth"):
        assert_allclose(found[kind].statistic, found[kind].statistic.T, rtol=1e-9, atol=1e-12)
    assert np.abs(found["third"].value - found["third"].value.T).max() > 0.1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_cumulants_on_every_backend(dtype: str) -> None:
    standard = standardise(np.random.default_rng(1).standard_t(3, (200, 8)))
    expected = cross_cumulants(standard, get_backend("numpy"))
    for ops in (get_backend("numba", dtype), strict(dtype)):
        found = cross_cumulants(standard, ops)
        for kind in KINDS:
            tolerance = 1e-10 if dtype == "float64" else 1e-3
            assert_close(found[kind].statistic, expected[kind].statistic, tolerance)


def test_few_examples_cannot_make_a_statistic_large() -> None:
    rng = np.random.default_rng(2)
    values = np.zeros((500, 4))
    values[:7] = rng.standard_cauchy((7, 1)) * np.ones(4) + 1e-3 * rng.standard_normal((7, 4))
    found = cross_cumulants(standardise(values), get_backend("numpy"))
    assert max(np.abs(found[kind].statistic).max() for kind in KINDS) < math.sqrt(7) + 0.3


def test_resolution_is_one_over_the_statistic_of_an_entry_with_itself() -> None:
    values = np.random.default_rng(3).standard_normal((300, 1)) ** 3
    standard = standardise(values)
    found, seen = cross_cumulants(np.hstack([standard, standard]), get_backend("numpy")), resolutions(standard)
    assert_allclose(1 / found["covariance"].statistic[0, 1], seen["covariance"][0])


def test_sign_p_values_bound_every_rademacher_sum() -> None:
    """Exactly, over all 2^10 sign patterns of fixed sizes: no bound is broken at any threshold."""
    signs = 1 - 2.0 * ((np.arange(1 << 10)[:, None] >> np.arange(10)) & 1)
    for seed in range(8):
        sizes = np.random.default_rng(seed).pareto(1.0 + seed / 2, 10)
        v = np.sort(np.abs(signs @ sizes) / np.linalg.norm(sizes))[::-1]
        tail = np.arange(1, v.size + 1) / v.size
        distinct = np.append(v[:-1] - v[1:] > 1e-9, True)
        assert np.all(tail[distinct] <= sign_p_value(v[distinct]) + 1e-12)
    assert 3.17 < SIGN_BOUND < 3.18


def test_pooled_p_values_by_counting() -> None:
    null = np.sort(np.random.default_rng(4).standard_normal(99) + 0.3)
    for v in (-1.3, 0.2, 2.4, 0.0):
        beyond = np.sum(null >= v) if v >= 0 else np.sum(null <= v)
        assert_allclose(pooled_p_value(np.array([v, 9.0]), null), [min(1.0, 2 * (beyond + 1) / 100), 0.02])


def test_tests_of_one_family_and_its_diagonal() -> None:
    values = np.random.default_rng(5).standard_normal((300, 6))
    values[:, 1] = values[:, 0] + 0.1 * values[:, 1]
    found = find_coupling(values, get_backend("numpy"), 0)
    expected = np.zeros((6, 6), dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    assert_array_equal(found["covariance"].coupled, expected)
    assert_array_equal(found["covariance"].sizes, [1, 1, 0, 0, 0, 0])
    for coupling in found.values():
        assert not coupling.coupled.diagonal().any()
        assert coupling.p_value.diagonal().min() == 1.0
        assert coupling.p_value.min() > 0.0
    again = find_coupling(values, get_backend("numpy"), 0)
    assert_array_equal(again["third"].p_value, found["third"].p_value)
    with pytest.raises(ValueError, match="two entries at least"):
        find_coupling(values[:, :1], get_backend("numpy"), 0)


# Bootstrap.


def test_averages_are_means_over_drawn_examples(backend: str) -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal((40, 5))
    weights = resampling_weights(40, 25, 9, rng)
    counts = np.rint(25 * weights).astype(int)
    assert (counts.sum(axis=1) == 25).all()
    drawn = [values[np.repeat(np.arange(40), count)].mean(axis=0) for count in counts]
    assert_close(averages(values, weights, get_backend(backend)), drawn)


def test_concentration_of_known_ratios() -> None:
    """Two-valued entries with an exact mean µ and deviation 1: fractions and reach can be told beforehand."""
    m = 400
    signs = np.where(np.arange(m) % 2, 1.0, -1.0)
    ratios = np.array([0.0, 0.01, 0.02, 0.05, -0.1, 0.14, 0.2, -0.5] * 5)
    found = concentration(
        signs[:, None] + ratios, np.arange(40) % 10, (1, 4, 100), 300, get_backend("numpy"), np.random.default_rng(7)
    )
    assert_allclose(found.ratio, ratios, atol=1e-12)
    assert_array_equal(found.fraction, [np.mean(np.abs(ratios) * math.sqrt(b) < BOUND) for b in (1, 4, 100)])
    assert_allclose(found.reach, (0.15 / 0.5) ** 2)
    assert_allclose(found.chance[0], math.erf(0.15 * math.sqrt(m) / math.sqrt(2)))


def test_bootstrap_error_is_the_spread_over_data_sets() -> None:
    rng, m, mean = np.random.default_rng(8), 400, 0.03
    fractions = []
    for _ in range(60):
        values = rng.standard_normal((m, 30)) + mean
        found = concentration(values, np.arange(30), (10,), 100, get_backend("numpy"), rng)
        fractions.append((found.fraction[0], found.standard_error[0]))
    spread, error = np.std([f for f, _ in fractions]), np.mean([e for _, e in fractions])
    assert 0.6 < error / spread < 1.6


def test_chance_is_the_fraction_of_means_that_are_0() -> None:
    values = np.random.default_rng(9).standard_normal((500, 3000))
    found = concentration(values, np.arange(3000), (1, 100, 500), 2, get_backend("numpy"), np.random.default_rng(0))
    assert_allclose(found.fraction, found.chance, atol=4 * 0.5 / math.sqrt(3000))


def test_errors_of_clustered_means() -> None:
    """Copies of an entry are no more entries: the error is that of the clusters."""
    values = np.random.default_rng(10).standard_normal(50)
    error = cluster_error(values, np.arange(50))
    assert_allclose(error, values.std(ddof=1) / math.sqrt(50))
    assert_allclose(cluster_error(values.repeat(7), np.arange(50).repeat(7)), error)


# Extrapolation.


def made_up_pairs() -> EntryPairs:
    """Four entries of layers (0, 1), of 100, and two of layers (0, 2), of 300; entries 0 and 1 share a parameter."""
    layers = np.array([[0, 1]] * 4 + [[0, 2]] * 2)
    return EntryPairs(
        np.array([0, 0, 1, 2, 3, 4]), np.array([10, 11, 12, 13, 14, 15]), layers,
        np.array([[0, 1], [0, 2]]), np.array([100, 300]), {"same layer": 5},
    )  # fmt: skip


def test_coupling_sets_are_extrapolated_by_strata() -> None:
    pairs, live = made_up_pairs(), np.arange(6)
    assert_array_equal(stratum_weights(pairs), [25, 25, 25, 25, 150, 150])
    coupled = np.zeros((6, 6), dtype=bool)
    coupled[4, 5] = coupled[5, 4] = coupled[0, 1] = coupled[1, 0] = True
    size = coupling_size(coupled, pairs, live, 40)
    weights = np.array([25.0, 25, 25, 25, 150, 150])
    separate = np.outer(weights, weights)
    separate[np.arange(6), np.arange(6)] = separate[0, 1] = separate[1, 0] = 0.0
    assert_allclose(size.share, 2 * 150**2 / separate.sum())
    assert_allclose(size.even_share, 2 / 28)
    assert size.share_with_parameter == 1.0
    assert_allclose(size.size, size.share * 800)
    assert_allclose(size.ratio, size.size / 1600)
    assert size.exponent is not None
    assert_allclose(40**size.exponent, size.size)
    none = coupling_size(np.zeros((5, 5), dtype=bool), pairs, live[:5], 40)
    assert (none.share, none.size, none.exponent) == (0.0, 0.0, None)


def test_entries_share_a_parameter_in_either_place() -> None:
    pairs = sample_pairs(mlp([4, 3, 3, 1]), 60, 20)
    shared = share_parameter(pairs, np.arange(len(pairs.first)))
    sets = [{p, q} for p, q in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)]
    assert_array_equal(shared, [[bool(a & b) for b in sets] for a in sets])


def test_jackknife_over_clusters_by_leaving_out() -> None:
    rng = np.random.default_rng(11)
    coupled = rng.random((12, 12)) < 0.4
    coupled = coupled | coupled.T
    tested, weight, cluster = ~np.eye(12, dtype=bool), rng.uniform(1, 3, 12), np.arange(12) // 3
    share, error = cluster_share(coupled, tested, weight, cluster)

    def direct(keep: Array) -> float:
        mass = (np.outer(weight, weight) * tested)[np.ix_(keep, keep)]
        return float(np.sum(mass * coupled[np.ix_(keep, keep)]) / mass.sum())

    assert_allclose(share, direct(np.arange(12)))
    left = np.array([direct(np.flatnonzero(cluster != c)) for c in range(4)])
    assert_allclose(error, np.sqrt(3 / 4 * np.sum((left - left.mean()) ** 2)))


# Records, claims and figures.


@cache
def record(active: bool = True) -> dict[str, Any]:
    case = SMALL[4]  # five dense layers
    rng = np.random.default_rng(12)
    x, y = rng.standard_normal((150, 6)), rng.choice([-1.0, 1.0], 150)
    weights = [*case.weights[:-1], case.weights[-1] * (1.0 if active else 0.0)]
    if not active:  # T = 0 is active for every example, but a layer of zeros leaves no entry below it
        weights = [0.0 * w for w in weights]
    return entry_statistics(case.network, weights, x, y, n=120, n_first=30, resamples=50, seed=3)


@cache
def with_entries(epochs: int = 3) -> dict[str, Any]:
    made = deepcopy(report("digits"))
    for epoch in made["epochs"][:epochs]:
        epoch["entries"] = deepcopy(record())
    made["epochs"][-1]["entries"] = deepcopy(record(active=False))
    return made


def test_a_record_is_json_and_says_what_was_sampled() -> None:
    found = record()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["examples"], found["layer_pairs"], found["sampled"]) == (150, 10, 120)
    assert found["live"] <= found["sampled"]
    assert found["existing"] + sum(found["excluded"].values()) == 131 * 132 // 2
    assert [b["average"] for b in found["concentration"]["averages"]] == [1, 10, 100, 150]
    assert set(found["coupling"]) == {*KINDS, "least_ratio", "least_exponent"}


def test_a_record_depends_on_its_seed_alone() -> None:
    case, x, y = SMALL[3], np.random.default_rng(0).standard_normal((40, 4)), np.tile([1.0, -1.0], 20)
    one, again, other = (
        entry_statistics(case.network, case.weights, x, y, n=40, resamples=20, seed=seed) for seed in (5, 5, 6)
    )
    assert one == again
    assert one != other


def test_a_network_without_entries_says_so() -> None:
    found = record(active=False)
    assert (found["live"], found["active"]) == (0, 0)
    assert {found[key] for key in MEASURED} == {None}
    assert not any(entry["laws"] for entry in found["laws"]["entries"])


def test_correlations_are_those_of_the_entries() -> None:
    case = SMALL[4]
    x, y = np.random.default_rng(1).standard_normal((80, 6)), np.tile([1.0, -1.0], 40)
    entries = hessian_entries(case.network, case.weights, x, y, n=60, seed=2)
    found = describe_entries(entries, case.network.n_weights, 10, get_backend("numpy"), spawn_streams(0, 8))
    chosen = found["correlation"]["entries"]
    assert_allclose(found["correlation"]["matrix"], np.corrcoef(entries.values[:, chosen].T), atol=6e-4)
    whole = HessianOperator(case.network, case.weights, x, y).dense()
    followed = found["laws"]["entries"]
    assert_allclose(
        [entries.values.mean(axis=0)[_column(entries, e)] for e in followed],
        [whole[e["first"], e["second"]] for e in followed], atol=1e-14,
    )  # fmt: skip


def _column(entries: Any, entry: dict[str, Any]) -> int:
    return int(np.flatnonzero((entries.first == entry["first"]) & (entries.second == entry["second"]))[0])


def test_independent_entries_have_no_mean_square_correlation() -> None:
    pairs = sample_pairs(mlp([20, 20, 20, 1]), 200, 50)
    values = np.random.default_rng(13).standard_t(4, (400, 200))
    live = np.arange(200)
    found = validation.measurements.entries.record.correlations(values, pairs, live, np.random.default_rng(0))
    assert abs(found["mean_square"]["value"]) < 4 * found["mean_square"]["standard_error"] + 1e-6
    assert found["mean_square"]["value"] < 0.1 * np.mean(np.square(found["matrix"]) - np.eye(100))


def verdicts(change: Any = None, epochs: int = 3) -> dict[str, str]:
    made = deepcopy(with_entries(epochs))
    made["epochs"] = made["epochs"][:epochs]
    if change:
        for epoch in made["epochs"]:
            change(epoch["entries"])
    return {c.id: c.verdict for c in judge_entries(made["epochs"])}


CLAIMS = [
    "fig6a.symmetry", "fig6a.labels", "fig6b.sparse", "fig6c.increase", "fig7a.symmetry", "fig7b.B1", "fig7b.B10",
    "fig7b.B100", "fig7b.B150", "fig7c.covariance", "fig7c.third", "fig7c.fourth",
]  # fmt: skip


def test_claims_only_where_entries_were_measured() -> None:
    assert list(verdicts()) == CLAIMS
    assert judge_entries(report("digits")["epochs"]) == []
    assert {c.source for c in judge_entries(with_entries()["epochs"])} == {
        "fig. 6a", "fig. 6b", "fig. 6c", "fig. 7a", "fig. 7b", "fig. 7c"}  # fmt: skip
    nothing = judge_entries([{"entries": record(active=False)}])
    assert {c.verdict for c in nothing} == {"not applicable"}


BROKEN = ("standard_error", "example_standard_error")
FRACTION = ("standard_error", "entry_standard_error")


@pytest.mark.parametrize(
    ("claim", "path", "name", "errors", "value", "error", "verdict"),
    [
        ("fig6a.symmetry", ("symmetry",), "value", BROKEN, 0.05, 0.01, "supported"),
        ("fig6a.symmetry", ("symmetry",), "value", BROKEN, 0.2, 0.01, "not supported"),
        ("fig6a.symmetry", ("symmetry",), "value", BROKEN, 0.09, 0.01, "not resolved"),
        ("fig6a.symmetry", ("symmetry",), "value", BROKEN, 0.2, None, "not resolved"),
        ("fig6a.labels", ("second_derivative", "symmetry"), "value", BROKEN, 0.05, 0.01, "supported"),
        ("fig6a.labels", ("second_derivative", "symmetry"), "value", BROKEN, 0.57, 0.01, "not supported"),
        ("fig6a.labels", ("second_derivative", "symmetry"), "value", BROKEN, 0.11, 0.01, "not resolved"),
        ("fig6b.sparse", ("correlation", "large"), "value", BROKEN[:1], 0.02, 0.01, "supported"),
        ("fig6b.sparse", ("correlation", "large"), "value", BROKEN[:1], 0.3, 0.01, "not supported"),
        ("fig6b.sparse", ("correlation", "large"), "value", BROKEN[:1], 0.11, 0.01, "not resolved"),
        ("fig7a.symmetry", ("concentration", "symmetry"), "value", BROKEN, 0.01, 0.02, "supported"),
        ("fig7a.symmetry", ("concentration", "symmetry"), "value", BROKEN, 0.01, 0.05, "not resolved"),
        ("fig7b.B10", ("concentration", "averages", 1), "fraction", FRACTION, 0.98, 0.003, "supported"),
        ("fig7b.B10", ("concentration", "averages", 1), "fraction", FRACTION, 0.96, 0.002, "not supported"),
        ("fig7b.B10", ("concentration", "averages", 1), "fraction", FRACTION, 0.9, 0.01, "not supported"),
        ("fig7b.B10", ("concentration", "averages", 1), "fraction", FRACTION, 0.975, 0.01, "not resolved"),
    ],
)
def test_verdicts_have_their_errors(
    claim: str, path: tuple[Any, ...], name: str, errors: tuple[str, ...], value: float, error: float, verdict: str
) -> None:
    def change(entries: Any) -> None:
        for key in path:
            entries = entries[key]
        entries |= {name: value, **dict.fromkeys(errors, error)}

    assert verdicts(change)[claim] == verdict


def test_what_could_be_found_is_no_correlation_above_1() -> None:
    assert _reach(0.3, "covariance") == _reach(0.3, "third") == "found from a correlation of 0.3 on"
    assert "not even a correlation of 1" in _reach(4.9, "covariance")


@pytest.mark.parametrize(
    ("ratio", "least", "detectable", "verdict"),
    [
        (5e-4, 0.0, 0.1, "supported"),
        (5e-4, 0.0, 0.5, "not resolved"),  # few examples find nothing: that is no support
        (0.01, 0.0, 0.5, "not supported"),
        (5e-4, 0.01, 0.1, "not supported"),
    ],
)
def test_verdicts_of_coupling_sets(ratio: float, least: float, detectable: float, verdict: str) -> None:
    def change(entries: Any) -> None:
        entries["coupling"]["least_ratio"] = least
        entries["coupling"]["covariance"] |= {
            "ratio": ratio, "detectable": detectable, "share": 1.0, "standard_error": 0.1
        }  # fmt: skip

    assert verdicts(change)["fig7c.covariance"] == verdict


def test_correlations_increase_by_more_than_their_errors() -> None:
    made = deepcopy(with_entries(2)["epochs"][:2])
    for epoch, value in zip(made, (0.01, 0.02), strict=True):
        epoch["entries"]["correlation"]["mean_square"] = {"value": value, "standard_error": 0.002}
    found = {c.id: c.verdict for c in judge_entries(made)}
    assert found["fig6c.increase"] == "supported"
    made[1]["entries"]["correlation"]["mean_square"]["standard_error"] = 0.01
    assert {c.id: c.verdict for c in judge_entries(made)}["fig6c.increase"] == "not resolved"
    made[1]["entries"]["correlation"]["mean_square"] = {"value": 0.001, "standard_error": 0.001}
    assert {c.id: c.verdict for c in judge_entries(made)}["fig6c.increase"] == "not supported"
    assert {c.id: c.verdict for c in judge_entries(made[:1])}["fig6c.increase"] == "not applicable"


@pytest.mark.parametrize("name", ENTRY_FIGURES)
@pytest.mark.parametrize("epochs", [1, 3])
def test_figures(name: str, epochs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = ENTRY_FIGURES[name](with_entries(epochs))
        FigureCanvasAgg(fig).draw()  # type: ignore[no-untyped-call]
    assert fig.axes[0].get_ylabel()
    text = caption(name, with_entries(epochs))
    assert "{" not in text
    assert "None" not in text


@pytest.mark.parametrize("name", ENTRY_FIGURES)
def test_figures_of_a_network_without_entries(name: str) -> None:
    made = deepcopy(report("first epoch only"))
    made["epochs"][0]["entries"] = record(active=False)
    FigureCanvasAgg(ENTRY_FIGURES[name](made)).draw()  # type: ignore[no-untyped-call]
    assert caption(name, made)
    with pytest.raises(ValueError, match="run with --entries"):
        ENTRY_FIGURES[name](report("digits"))


def test_figures_show_the_report() -> None:
    made = with_entries()
    entries = made["epochs"][0]["entries"]
    for ax, of in zip(
        ENTRY_FIGURES["entry_concentration"](made).axes, (entries, entries["second_derivative"]), strict=True
    ):
        first = {str(line.get_label()): line.get_ydata()[0] for line in ax.lines if len(line.get_ydata())}
        assert_allclose(first["B = 10"], of["concentration"]["averages"][1]["fraction"])
    null = [line.get_ydata()[0] for line in ENTRY_FIGURES["entry_concentration"](made).axes[0].lines
            if line.get_marker() == "x" and len(line.get_ydata())]  # fmt: skip
    assert_allclose(null, [B["value"] for B in entries["random_labels"]["concentration"]["averages"]])
    laws = ENTRY_FIGURES["entry_laws"](made).axes
    assert [ax.get_ylabel() for ax in laws[::3]][2] == r"density: $\partial^2 T$ itself"
    image = ENTRY_FIGURES["entry_correlations"](made).axes[0].images[0].get_array()
    assert_allclose(image, entries["correlation"]["matrix"])
    (ax,) = ENTRY_FIGURES["coupling_sets"](made).axes
    curves = {str(line.get_label()): line.get_ydata() for line in ax.lines}
    exponent = entries["coupling"]["covariance"]["exponent"]
    shown = next(y for label, y in curves.items() if label.startswith("covariance"))[0]
    assert_allclose(shown, np.nan if exponent is None else _of_report(exponent, made))


def _of_report(exponent: float, made: dict[str, Any]) -> float:
    """The synthetic report's network has another N than that of the entries: the same ratio to N²."""
    n, own = made["network"]["n_weights"], SMALL[4].network.n_weights
    return 2 + (exponent - 2) * math.log(own) / math.log(n)


def test_the_job_measures_entries_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = validation.compare(
        data="digits", network="mlp:8x6", examples=60, spectrum_examples=3, epochs=1, record=(0, 1), quick=True,
        entries=True, probes=1, steps=3, out=str(tmp_path / "run"),
    )  # fmt: skip
    first, last = (e["entries"] for e in done.data["epochs"])
    assert first["sampled"] == last["sampled"] <= 400
    assert [e["second"] for e in first["laws"]["entries"]] == [e["second"] for e in last["laws"]["entries"]]
    assert {"fig6a.labels", "fig7c.covariance", "theorem.flatness"} <= {c["id"] for c in done.data["claims"]}
    saved = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert saved == set(figures.FIGURES) - set(STRUCTURE_FIGURES) - set(WHOLE_FIGURES)
    html = (tmp_path / "run" / "report.html").read_text()
    assert html.count("data:image/svg+xml;base64,") == len(saved)
    assert "Coupling sets (fig. 7c)" in html
    capsys.readouterr()


def test_the_job_leaves_entries_out_otherwise() -> None:
    assert not [c for c in judge(report("digits")["epochs"][:1], 0.9, 1000) if c["id"].startswith(("fig6", "fig7"))]
