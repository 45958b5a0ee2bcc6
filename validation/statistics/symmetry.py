"""How symmetric about 0 the law behind a sample is: tests, their null laws, and the size of what is broken.

The p-values take the entries for independent. Circuits drawn from one network are; trained weights and gradient
entries are not, and at 10^6 of them an asymmetry of no importance is rejected all the same. So claims are judged on a
*size*, ½ ∫ |p(w) - p(-w)| dw less its null (docs/theory/estimators.md); the tests say whether it can be told from
chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom, binomtest, false_discovery_control, norm

Array = np.ndarray[Any, Any]
EXACT_UP_TO = 10_000  # signs; the limit is off by O(1/n)
LEVEL = 0.05
MOST_BINS = 200


@dataclass(frozen=True)
class SymmetryTest:
    """Tests of symmetry about 0 of one sample.

    ``statistic`` D = sup_t |F(t) - (1 - F(-t))| with its ``standard_error``, ``null_95`` (its 95 % point under
    symmetry) and ``p_value`` from the ``null`` law, "exact" or "asymptotic"; ``threshold``, the |x| down to which the
    signs that make D were counted. ``positive``, the share of positive values among the n_signed non-zero ones of n,
    with ``positive_standard_error`` and ``sign_p_value`` (the sign test). ``skewness`` m_3/m_2^{3/2} from moments
    about 0, and ``skewness_standard_error`` under symmetry.
    """

    n: int
    n_signed: int
    statistic: float
    standard_error: float
    threshold: float
    null_95: float
    p_value: float
    null: str
    positive: float
    positive_standard_error: float
    sign_p_value: float
    skewness: float
    skewness_standard_error: float


def symmetry_test(sample: Array) -> SymmetryTest | None:
    """The tests of `SymmetryTest`; None for a sample without a value other than 0.

    n D is the largest absolute partial sum of the signs taken by decreasing |x|, at the ends of blocks of equal |x|
    (at an atom of both signs F's jump counts on both sides); zeros are symmetric and stay in the denominator. Given
    |x|, a symmetric law makes the signs fair coins: n D is the maximum of a walk (`crossing_probability`). With ties
    fewer of its times are looked at, so that the p-value is an upper bound, by Lévy's inequality at most twice too
    large.

    Where D is not chance it is |mean ξ| of ξ_i = sign(x_i) 1[|x_i| ≥ threshold] up to smaller order, because the
    threshold stands at a maximum: its standard error is that of a mean, sqrt((mean ξ² - D²)/n). Under symmetry
    it is only the scale of D, which has the null law instead of a normal one.

    That of the skewness is its standard deviation given |x| under symmetry, sqrt(Σ x^6)/(n m_2^{3/2}): the ratio is a
    self-normalised sum of fair signs, of mean 0 and variance 1, sub-Gaussian however heavy the tails. (The delta method
    is not used: where one value dominates the moments it is several times too small.)

    Sources: [Smirnov1947], [Butler1969].
    """
    x = np.asarray(sample, dtype=np.float64).reshape(-1)
    size, signs = _by_size(x)
    if size.size == 0:
        return None
    n, m = x.size, size.size
    ends = np.append(np.flatnonzero(size[:-1] != size[1:]), m - 1)
    walk = np.abs(np.cumsum(signs))[ends]
    where = int(np.argmax(walk))
    height, steps = int(walk[where]), int(ends[where]) + 1
    positive = int(np.count_nonzero(signs > 0))
    share = positive / m
    skewness, skewness_error = _skewness(x / size[0])
    return SymmetryTest(
        n=n,
        n_signed=m,
        statistic=height / n,
        standard_error=math.sqrt(max(steps / n - (height / n) ** 2, 0.0) / n),
        threshold=float(size[ends[where]]),
        null_95=crossing_quantile(m) / n,
        p_value=crossing_probability(m, height),
        null="exact" if m <= EXACT_UP_TO else "asymptotic",
        positive=share,
        positive_standard_error=math.sqrt(share * (1.0 - share) / m),
        sign_p_value=float(binomtest(positive, m).pvalue),
        skewness=skewness,
        skewness_standard_error=skewness_error,
    )


def _by_size(x: Array) -> tuple[Array, Array]:
    """|x| of the values other than 0, largest first, and their signs."""
    signed = x[x != 0.0]
    order = np.argsort(-np.abs(signed), kind="stable")
    return np.abs(signed[order]), np.sign(signed[order]).astype(np.int64)


def _skewness(x: Array) -> tuple[float, float]:
    """m_3/m_2^{3/2} about 0 and its standard deviation under random signs; |x| ≤ 1."""
    cube, scale = x**3, float(np.mean(x**2)) ** 1.5 * x.size
    return float(np.sum(cube)) / scale, float(np.sqrt(np.sum(cube**2))) / scale


def crossing_probability(steps: int, level: int) -> float:
    """P(max_{k ≤ n} |S_k| ≥ a) of a walk of n fair ±1 steps, a ≥ 0.

    By reflection, twice over: P = 2 Σ_j (-1)^j P(max_k S_k ≥ (2j+1)a) and P(max_k S_k ≥ b) = P(S_n ≥ b) + P(S_n > b),
    from the binomial law up to `EXACT_UP_TO` steps. Beyond, the limit: sup |W| of Brownian motion on [0, 1] at
    a/√n, the same series with normal tails (its lattice correction vanishes at first order because P(S_n = b) is
    split between the two terms).
    """
    if level <= 0:
        return 1.0
    count = int(min(steps, 10.0 * math.sqrt(steps)) / (2 * level)) + 1  # tails beyond 10 √n are below 1e-22
    levels = (2 * np.arange(count) + 1) * level
    if steps <= EXACT_UP_TO:
        # S_n ≥ b: at least (n + b)/2 of the steps go up.
        tails = binom.sf(np.ceil((steps + levels) / 2) - 1, steps, 0.5) + binom.sf((steps + levels) // 2, steps, 0.5)
    else:
        tails = 2.0 * norm.sf(levels / math.sqrt(steps))
    total = 2.0 * float(np.sum(tails * (-1.0) ** np.arange(count)))
    return min(max(total, 0.0), 1.0)


def crossing_quantile(steps: int, level: float = LEVEL) -> int:
    """The smallest a with P(max_{k ≤ n} |S_k| > a) ≤ `level`: the (1 - level) point of the maximum."""
    low, high = 0, steps
    while low < high:
        middle = (low + high) // 2
        if crossing_probability(steps, middle + 1) <= level:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class BrokenSymmetry:
    """½ ∫ |p(w) - p(-w)| dw of an empirical law: 0 symmetric, 1 one-signed.

    ``value`` with its ``standard_error``; ``null``, its mean for a symmetrised sample of the same size; ``null_95``,
    the 95 % point.
    """

    value: float
    standard_error: float
    null: float
    null_95: float


def broken_symmetry(sample: Array, rng: np.random.Generator, draws: int = 200) -> BrokenSymmetry | None:
    """How far the law of a sample is from its mirror image, on bins of equal mass in |w|.

    n^{1/3} bins (at most `MOST_BINS`): few enough that the null, which grows as sqrt(bins/n), stays small. Exact zeros
    are symmetric and count as such. None when every value is 0.

    The standard error is that of the mean of ±1, 0, with the majority sign of each bin held: exact where every bin's
    majority is sure, too large where it is chance (the null says what that is).
    """
    w = np.asarray(sample, dtype=np.float64).reshape(-1)
    size, signs = _by_size(w)
    if size.size == 0:
        return None
    bins = np.array_split(signs[::-1], min(MOST_BINS, int(np.ceil(size.size ** (1 / 3)))))
    sizes = np.array([b.size for b in bins])
    value = sum(abs(int(b.sum())) for b in bins) / w.size
    null = np.abs(2 * rng.binomial(sizes, 0.5, (draws, sizes.size)) - sizes).sum(axis=1) / w.size
    error = math.sqrt(max(size.size / w.size - value**2, 0.0) / w.size)
    return BrokenSymmetry(value, error, float(null.mean()), float(np.quantile(null, 1.0 - LEVEL)))


def false_discoveries(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The p-values of D of every law that recorded epochs tested, adjusted for their number.

    One family over kinds (weights and gradient by layer, all of the gradient, circuits by order) and epochs. Epochs
    see the same weights and layers the same signals, so the adjustment is Benjamini and Yekutieli's
    [Benjamini2001], which holds for any dependence *between* tests; none mends dependence within a sample. ``tests``:
    each with its ``kind``, ``epoch``, ``place`` (layer or order), ``p_value`` and ``adjusted``. ``kinds``: for each
    kind the numbers of ``tests`` and of those ``rejected`` at false discovery rate ``level``, ``smallest_adjusted``,
    and the least and the largest ``statistic`` and ``excess`` (broken symmetry less its null).
    """
    laws = [found for record in records for found in _tested(record)]
    tests = [{"kind": kind, "epoch": e, "place": p, "p_value": law["test"]["p_value"]} for kind, e, p, law in laws]
    adjusted = false_discovery_control([t["p_value"] for t in tests], method="by").tolist() if tests else []
    tests = [test | {"adjusted": p} for test, p in zip(tests, adjusted, strict=True)]
    kinds = {}
    for name in dict.fromkeys(kind for kind, *_ in laws):
        own = [p for test, p in zip(tests, adjusted, strict=True) if test["kind"] == name]
        kinds[name] = {
            "tests": len(own),
            "rejected": sum(p <= LEVEL for p in own),
            "smallest_adjusted": min(own),
            "statistic": _span([law["test"]["statistic"] for kind, _, _, law in laws if kind == name]),
            "excess": _span([law["value"] - law["null"] for kind, _, _, law in laws if kind == name]),
        }
    return {"method": "Benjamini-Yekutieli", "level": LEVEL, "kinds": kinds, "tests": tests}


def _span(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def _tested(record: Mapping[str, Any]) -> Iterator[tuple[str, int, int | None, Mapping[str, Any]]]:
    """(kind, epoch, layer or order, law) of every law of a record that is not all 0."""
    circuits = record["circuits"]["orders"] if record["circuits"] else []
    laws: list[tuple[str, int | None, Mapping[str, Any]]] = [
        *(("weights", layer, law) for layer, law in enumerate(record["weight_symmetry"], 1)),
        *(("gradient", layer, law) for layer, law in enumerate(record["gradient_symmetry"], 1)),
        ("whole gradient", None, record["gradient_symmetry_all"]),
        *(("circuits", law["order"], law["symmetry"]) for law in circuits),
    ]
    for kind, place, law in laws:
        if law["test"] is not None:
            yield kind, record["epoch"], place, law
