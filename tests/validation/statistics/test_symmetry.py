"""Tests and sizes of broken symmetry against brute force, closed forms and simulation; the laws that a record keeps."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom, norm

from backends import get_backend
from simulator import enumerate_circuits, mlp
from support.cases import IMAGES, SMALL, Array, Case
from validation.measurements.laws import (
    CIRCUIT_EDGES,
    GRADIENT_EDGES,
    WEIGHT_EDGES,
    circuit_laws,
    gradient_histograms,
    histogram,
    weight_histograms,
)
from validation.statistics import symmetry
from validation.statistics.symmetry import (
    broken_symmetry,
    crossing_probability,
    crossing_quantile,
    false_discoveries,
    symmetry_test,
)

NUMPY = get_backend("numpy")
levels = st.integers(-1000, 1000).map(lambda level: level / 64)
few_levels = st.integers(-3, 3).map(float)


def examine(sample: Array) -> Any:
    return symmetry_test(sample)


def broken(sample: Array) -> Any:
    return broken_symmetry(sample, np.random.default_rng(0))


@pytest.mark.parametrize("n", [1, 2, 3, 6, 12])
def test_the_null_law_of_all_walks(n: int) -> None:
    """The maximum of |S_k| over all 2^n walks."""
    heights = np.abs(np.cumsum(list(product((1, -1), repeat=n)), axis=1)).max(axis=1)
    for level in range(n + 2):
        assert crossing_probability(n, level) == pytest.approx(np.mean(heights >= level), abs=1e-14)
    quantile = crossing_quantile(n)
    assert np.mean(heights > quantile) <= 0.05 < np.mean(heights > quantile - 1)


@pytest.mark.parametrize("n", [100, 1000, 10_000])
def test_the_limit_is_reached_as_1_over_n(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = range(1, int(5 * np.sqrt(n)), max(1, n // 2000))
    exact = np.array([crossing_probability(n, a) for a in grid])
    monkeypatch.setattr(symmetry, "EXACT_UP_TO", 0)
    limit = np.array([crossing_probability(n, a) for a in grid])
    assert np.abs(limit - exact).max() < 0.6 / n


def test_the_limit_is_that_of_brownian_motion() -> None:
    """P(sup |W| < b) = (4/π) Σ_k (-1)^k/(2k+1) exp(-π²(2k+1)²/8b²), the other form of the series; 2.241 at 95 %."""
    n, k = 10**8, np.arange(60)
    for b in (0.3, 1.0, 2.0, 3.0):
        inside = np.sum((-1.0) ** k / (2 * k + 1) * np.exp(-((np.pi * (2 * k + 1)) ** 2) / (8 * b * b))) * 4 / np.pi
        assert crossing_probability(n, round(b * 10**4)) == pytest.approx(1 - inside, abs=1e-12)
    assert crossing_quantile(n) / 10**4 == pytest.approx(norm.isf(0.0125), abs=1e-3)
    assert crossing_probability(n, 100) == 1.0


@pytest.mark.parametrize("n", [300, 10_001])
def test_far_tails_keep_their_digits(n: int) -> None:
    """Twice the binomial tails, which no 1 - P would resolve."""
    level = int(12 * np.sqrt(n)) // 2 * 2 + n % 2
    tail = 2 * (binom.sf((n + level) // 2 - 1, n, 0.5) + binom.sf((n + level) // 2, n, 0.5))
    assert 0 < crossing_probability(n, level) < 1e-30
    assert crossing_probability(n, level) == pytest.approx(tail, rel=1e-9 if n == 300 else 0.5)


def distance(x: Array) -> float:
    """sup_t |F(t) - (1 - F(-t))| as it stands, atoms whole on either side: P(x ≤ -a) against P(x ≥ a)."""
    return max(abs(np.mean(x <= -a) - np.mean(x >= a)) for a in np.unique(np.abs(x[x != 0])))


@given(st.one_of(*(arrays(np.float64, st.integers(1, 40), elements=e) for e in (levels, few_levels))))
def test_the_statistic_is_the_supremum(sample: Array) -> None:
    found = examine(sample)
    if found is None:
        assert not sample.any()
        return
    assert found.statistic == pytest.approx(distance(sample), abs=1e-14)
    beyond = np.abs(sample) >= found.threshold
    assert abs(np.sign(sample[beyond]).sum()) / sample.size == pytest.approx(found.statistic, abs=1e-14)
    assert (found.n, found.n_signed) == (sample.size, np.count_nonzero(sample))
    assert found.p_value == crossing_probability(found.n_signed, round(found.statistic * found.n))
    assert found.null == "exact"


@given(arrays(np.float64, st.integers(1, 60), elements=levels), st.integers(-20, 20))
def test_the_tests_know_no_scale_and_mirror(sample: Array, power: int) -> None:
    found, scaled, mirrored = examine(sample), examine(2.0**power * sample), examine(-sample)
    if found is None:
        assert scaled is None
        assert mirrored is None
        return
    for other, sign in ((scaled, 1), (mirrored, -1)):
        assert (other.statistic, other.p_value) == (found.statistic, found.p_value)
        assert other.standard_error == found.standard_error
        assert other.sign_p_value == pytest.approx(found.sign_p_value)
        assert other.skewness == pytest.approx(sign * found.skewness, rel=1e-9, abs=1e-12)
        assert other.skewness_standard_error == pytest.approx(found.skewness_standard_error, rel=1e-9)
    assert mirrored.positive == pytest.approx(1 - found.positive)


def test_the_size_of_the_test_is_its_level() -> None:
    """Symmetric laws of any tail: p ≤ 0.05 in 5 of 100 samples (a little less on a lattice), and so for the others."""
    rng, shape = np.random.default_rng(0), (700, 200)
    samples = {"normal": rng.standard_normal(shape), "cauchy": rng.standard_cauchy(shape)}
    samples["zeros"] = samples["normal"] * (rng.random(shape) < 0.5)
    for name, rows in samples.items():
        found = [examine(row) for row in rows]
        assert 0.03 < np.mean([f.p_value <= 0.05 for f in found]) < 0.065, name
        assert np.mean([f.statistic > f.null_95 for f in found]) == np.mean([f.p_value <= 0.05 for f in found])
        assert 0.02 < np.mean([f.sign_p_value <= 0.05 for f in found]) < 0.065
        ratios = np.array([f.skewness / f.skewness_standard_error for f in found])
        assert 0.8 < np.mean(ratios**2) < 1.2, name
        assert np.abs(ratios).max() < 5


def test_ties_make_p_values_too_large_at_most_twofold() -> None:
    """All |x| equal: D is |S_n|/n, whose law is binomial."""
    for n, positive in ((30, 21), (200, 118), (200, 130)):
        found = examine(np.where(np.arange(n) < positive, 1.0, -1.0))
        exact = 2 * binom.sf(positive - 1, n, 0.5)
        assert found.statistic == pytest.approx((2 * positive - n) / n)
        assert exact <= found.p_value <= 2 * exact * (1 + 1e-12)
        assert found.sign_p_value == pytest.approx(exact)


def lopsided(rng: np.random.Generator, n: int) -> Array:
    """P(x > 0) = 0.7 for |x| > 1, 0.45 below: D is 0.4 P(|x| > 1), at 1, and the median of the law is not 0."""
    size = np.abs(rng.standard_normal(n))
    positive = rng.random(n) < np.where(size > 1, 0.7, 0.45)
    sample: Array = np.where(positive, size, -size)
    return sample


def test_standard_errors_cover() -> None:
    """Of D and of the share of positives: the truth within 1.96 of them in 95 of 100 samples."""
    found = [examine(lopsided(np.random.default_rng([2, s]), 4000)) for s in range(500)]
    beyond = 2 * norm.sf(1)
    truth = {"statistic": 0.4 * beyond, "positive": 0.7 * beyond + 0.45 * (1 - beyond)}
    for name, value in truth.items():
        error = "standard_error" if name == "statistic" else f"{name}_standard_error"
        z = np.array([(getattr(f, name) - value) / getattr(f, error) for f in found])
        assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.975, name
        assert abs(z.mean()) < 0.3, name  # the maximum over t has a positive bias of smaller order
    assert np.median([f.threshold for f in found]) == pytest.approx(1.0, abs=0.1)


def test_skewness_of_a_known_law() -> None:
    """Exponential: m_3/m_2^{3/2} = 6/2^{3/2}, about 0 and not about the mean."""
    found = examine(np.random.default_rng(0).exponential(size=200_000))
    assert found.skewness == pytest.approx(6 / 2**1.5, rel=0.02)
    assert found.skewness_standard_error == pytest.approx(np.sqrt(720 / 2**3 / 200_000), rel=0.2)
    assert (found.statistic, found.positive, found.standard_error) == (1.0, 1.0, 0.0)
    assert found.null == "asymptotic"


def test_a_sample_without_signs_has_no_test() -> None:
    for nothing in (np.zeros(10), np.zeros((0, 3))):
        assert symmetry_test(nothing) is None
        assert broken(nothing) is None
    assert examine(np.array([1e-320, 0.0, -1e300])).n_signed == 2


def test_a_symmetric_sample_lies_at_its_null() -> None:
    """Above the 95 % point in about 5 of 100 samples; the mean over samples is the null's mean."""
    found = [broken(np.random.default_rng([1, s]).standard_normal(3000)) for s in range(200)]
    beyond = np.mean([f.value > f.null_95 for f in found])
    assert 0.005 < beyond < 0.12
    values = [f.value for f in found]
    assert abs(np.mean(values) - found[0].null) < 4 * np.std(values) / np.sqrt(200) + 0.002


@pytest.mark.parametrize("n", [1000, 8000, 64_000, 512_000])
def test_the_null_shrinks_as_the_cube_root_of_the_size(n: int) -> None:
    """n^{1/3} bins of n^{2/3}: E|2B - k| ≈ √(2k/π) gives √(2/π) n^{-1/3}."""
    found = broken(np.random.default_rng(0).standard_normal(n))
    assert found.null * n ** (1 / 3) == pytest.approx(np.sqrt(2 / np.pi), rel=0.05)
    assert found.null < found.null_95 < 2 * found.null


def test_broken_laws_have_their_number() -> None:
    """½∫|p(w) - p(-w)|: 1 for |w|; ½ with half of the signs lost, anywhere; a shift μ: 2Φ(μ) - 1."""
    w = np.random.default_rng(0).standard_normal(200_000)
    assert broken(np.abs(w)).value == 1.0
    assert broken(-np.abs(w)).value == 1.0
    any_half = np.where(np.arange(w.size) % 2, np.abs(w), w)
    large_half = np.where(np.abs(w) > np.median(np.abs(w)), np.abs(w), w)
    shifted = w + 0.5
    noise = broken(w).null_95
    for sample, expected in ((any_half, 0.5), (large_half, 0.5), (shifted, 0.382925)):
        assert broken(sample).value == pytest.approx(expected, abs=noise)


def test_the_standard_error_of_what_is_broken() -> None:
    """A shift that no bin's majority leaves to chance: the standard deviation over samples. Symmetry: above it."""
    for shift, low, high in ((1.0, 0.85, 1.2), (0.0, 1.2, 4.0)):
        found = [broken(np.random.default_rng([3, s]).standard_normal(2000) + shift) for s in range(400)]
        ratio = np.mean([f.standard_error for f in found]) / np.std([f.value for f in found])
        assert low < ratio < high


def test_exact_zeros_count_as_symmetric() -> None:
    w = np.abs(np.random.default_rng(0).standard_normal(1000))
    assert broken(np.concatenate([w, np.zeros(3000)])).value == 0.25


@given(arrays(np.float64, st.integers(1, 60), elements=levels), st.integers(-20, 20))
def test_broken_symmetry_knows_no_side_and_no_scale(sample: Array, power: int) -> None:
    """Powers of two, so that scaling merges no values and changes no order."""
    found = broken(sample)
    if found is None:
        assert not sample.any()
        return
    assert 0 <= found.value <= 1
    assert broken(-sample) == broken(2.0**power * sample) == found


def law(p: float | None, value: float = 0.1) -> dict[str, Any]:
    test = None if p is None else {"p_value": p, "statistic": value / 2}
    return {"value": None if p is None else value, "null": 0.05, "test": test}


def record(epoch: int, weights: list[float | None], gradient: list[float | None], whole: float | None) -> Any:
    circuits = {"orders": [{"order": k, "symmetry": law(0.5)} for k in (0, 1, 2)]} if epoch == 0 else None
    return {
        "epoch": epoch,
        "weight_symmetry": [law(p) for p in weights],
        "gradient_symmetry": [law(p, 0.3) for p in gradient],
        "gradient_symmetry_all": law(whole),
        "circuits": circuits,
    }


def test_p_values_are_adjusted_over_all_laws_and_epochs() -> None:
    """Benjamini and Yekutieli by hand: min over j ≥ i of p_(j) n H_n / j, H_n = Σ 1/k."""
    records = [record(0, [0.01, 0.9], [1e-6, None], 0.02), record(5, [0.03, 1e-9], [None, None], None)]
    found = false_discoveries(records)
    p = np.array([t["p_value"] for t in found["tests"]])
    assert len(p) == 9
    order, n = np.argsort(p), len(p)
    factor = n * np.sum(1 / np.arange(1, n + 1)) / np.arange(1, n + 1)
    expected = np.minimum(np.minimum.accumulate((p[order] * factor)[::-1])[::-1], 1)
    assert_allclose([found["tests"][i]["adjusted"] for i in order], expected, rtol=1e-12)
    where = [(t["kind"], t["epoch"], t["place"]) for t in found["tests"] if t["adjusted"] <= 0.05]
    assert where == [("gradient", 0, 1), ("weights", 5, 2)]
    assert found["kinds"]["weights"] == {
        "tests": 4, "rejected": 1, "smallest_adjusted": pytest.approx(9 * 1e-9 * np.sum(1 / np.arange(1, 10))),
        "statistic": [0.05, 0.05], "excess": [0.05, 0.05],
    }  # fmt: skip
    assert found["kinds"]["circuits"]["tests"] == 3
    assert false_discoveries([]) == {"method": "Benjamini-Yekutieli", "level": 0.05, "kinds": {}, "tests": []}


@given(
    arrays(np.float32, st.integers(1, 80), elements=st.floats(-50, 50, width=32)),
    st.sampled_from([WEIGHT_EDGES, GRADIENT_EDGES, CIRCUIT_EDGES]),
)
def test_a_histogram_counts_every_value_once_and_mirrors(sample: Array, edges: Array) -> None:
    found, mirrored = (histogram(s, edges, 1.7) for s in (sample, -sample))
    assert found["zeros"] + sum(map(sum, (found[k] for k in ("positive", "negative", "below", "above")))) == sample.size
    assert found["positive"] == mirrored["negative"]
    assert found["above"] == mirrored["above"][::-1]
    low, high = edges[3], edges[20]
    inside = (sample / np.float64(1.7) >= low) & (sample / np.float64(1.7) < high)
    assert sum(found["positive"][3:20]) == np.count_nonzero(inside)


def test_weights_are_counted_in_units_of_their_initial_law() -> None:
    network = mlp([50, 200, 1])
    laws = weight_histograms(network, network.init(0, law="rademacher"))
    assert laws["edges"] == WEIGHT_EDGES.tolist()
    for layer, n in zip(laws["layers"], (10_000, 200), strict=True):
        near_one = [i for i, e in enumerate(WEIGHT_EDGES[:-1]) if 0.85 < e < 1.05]
        assert sum(layer[side][i] for side in ("positive", "negative") for i in near_one) == n
    assert laws["layers"][0]["scale"] == pytest.approx(np.sqrt(2 / 50))


def test_gradients_are_counted_in_units_of_their_rms() -> None:
    gradient = [np.array([[3.0, -4.0, 0.0]]), np.zeros((2, 1))]
    laws = gradient_histograms(gradient)
    assert laws["layers"][0]["scale"] == pytest.approx(np.sqrt(25 / 3))
    assert [layer["zeros"] for layer in laws["layers"]] == [1, 2]
    assert (laws["all"]["scale"], laws["all"]["zeros"]) == (pytest.approx(np.sqrt(5)), 3)
    json.dumps(laws, allow_nan=False)


@pytest.mark.parametrize("case", [SMALL[0], SMALL[1], SMALL[3], IMAGES[5]], ids=str)
def test_laws_of_circuits_are_those_of_all_circuits(case: Case) -> None:
    """Mean square and share of positive values of every order, over all live circuits and all choices of weights."""
    network, count = case.network, 4000
    laws = circuit_laws(network, case.weights, case.x, count, NUMPY, np.random.default_rng(0))
    json.dumps(laws, allow_nan=False)
    every = enumerate_circuits(network, case.weights, case.x, backend="numpy").values
    shares = np.mean(every != 0, axis=1)
    assert laws["live"]["value"] == pytest.approx(shares.mean())
    assert laws["live"]["standard_error"] == pytest.approx(shares.std(ddof=1) / np.sqrt(shares.size))
    assert [o["order"] for o in laws["orders"]] == [k for k in (0, 1, 2) if k <= network.depth]
    for found in laws["orders"]:
        values = enumerate_circuits(network, case.weights, case.x, found["order"], "numpy").values.reshape(
            every.size, -1
        )
        values = values[every.reshape(-1) != 0]
        square = values**2
        error = square.std() / np.sqrt(count)
        assert abs(found["histogram"]["scale"] ** 2 - square.mean()) < 5 * error + 1e-12
        test, expected = found["symmetry"]["test"], np.mean(values > 0)
        assert abs(test["positive"] - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-12
        assert (found["last_removed"] is None) == (found["order"] == 0)
        bare = found["last_removed"]
        if found["order"] == 1 and bare is not None:
            expected = np.mean(values[:, -1] > 0)
            assert abs(bare["test"]["positive"] - expected) < 5 * np.sqrt(expected * (1 - expected) / count) + 1e-12


def test_circuits_of_a_dead_network() -> None:
    dead = [-np.ones((3, 2)), np.ones((2, 1))]
    laws = circuit_laws(mlp([3, 2, 1]), dead, np.ones((1, 3)), 10, NUMPY, np.random.default_rng(0))
    assert (laws["count"], laws["orders"]) == (0, [])
    assert laws["live"] == {"value": 0.0, "standard_error": None}


def test_bins_are_as_their_names_say() -> None:
    assert_array_equal(WEIGHT_EDGES[[0, 1, -1]], [0.0, 0.1, 5.0])
    assert_allclose(np.diff(np.log10(CIRCUIT_EDGES)), 1 / 6, rtol=1e-12)
    assert_allclose(np.diff(np.arcsinh(GRADIENT_EDGES / 0.1)), np.arcsinh(1000) / 40, rtol=1e-9)
