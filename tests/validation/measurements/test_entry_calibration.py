"""Coupling sets of synthetic entries: the planted ones are found, and false discoveries stay at their rate.

Entries come in independent groups, so that a pair is coupled exactly when it is of one group. Their laws are those that
Hessian entries have: products with heavy tails, one-sided ones, zeros on most examples, shared or each its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from validation.measurements.entries.coupling import LEVEL, find_coupling
from validation.measurements.entries.cumulants import KINDS

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
GROUPS, SIZE = 12, 6
REPEATS = 12

LAWS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "product": lambda rng, shape: np.prod(rng.standard_normal((4, *shape)), axis=0),
    "student": lambda rng, shape: rng.standard_t(3, shape),
    "one-sided": lambda rng, shape: rng.exponential(size=shape),
    "log-normal": lambda rng, shape: np.exp(1.5 * rng.standard_normal(shape)),
}


@dataclass(frozen=True)
class Planted:
    """Groups of entries, factor × loading + own part of one law; with ``on`` < 1, 0 on all other examples.

    ``shared`` zeros are the same for a group, otherwise each entry has its own. ``loading`` 0: no group is coupled.
    """

    law: str
    loading: float = 0.8
    on: float = 1.0
    shared: bool = True
    examples: int = 800

    def __str__(self) -> str:
        zeros = "" if self.on == 1 else f"-on{self.on:g}{'-shared' if self.shared else ''}"
        return f"{self.law}-{self.loading:g}{zeros}-{self.examples}"

    def draw(self, rng: np.random.Generator) -> Array:
        draw, m = LAWS[self.law], self.examples
        factor = draw(rng, (m, GROUPS)).repeat(SIZE, axis=1)
        values = self.loading * factor + math.sqrt(1 - self.loading**2) * draw(rng, (m, GROUPS * SIZE))
        if self.on < 1:
            on = rng.random((m, GROUPS if self.shared else GROUPS * SIZE)) < self.on
            values = values * (on.repeat(SIZE, axis=1) if self.shared else on)
        return values


def same_group() -> Array:
    group = np.arange(GROUPS * SIZE) // SIZE
    return (group[:, None] == group) & ~np.eye(group.size, dtype=bool)


def measure(case: Planted, repeats: int = REPEATS) -> dict[str, Array]:
    """By kind: false discovery proportion and mean coupling-set size within the own group, (repeats, 2)."""
    ops, truth, found = get_backend("numpy"), same_group(), []
    for repeat in range(repeats):
        coupling = find_coupling(case.draw(np.random.default_rng([repeat, 1])), ops, repeat, rounds=2)
        found.append([
            [np.sum(c.coupled & ~truth) / max(np.sum(c.coupled), 1), np.sum(c.coupled & truth) / truth.shape[0]]
            for c in (coupling[kind] for kind in KINDS)
        ])  # fmt: skip
    return {kind: np.array(found)[:, k] for k, kind in enumerate(KINDS)}


def assert_rate(proportions: Array) -> None:
    """The measured false discovery rate is at most `LEVEL`, up to two standard errors."""
    error = proportions.std(ddof=1) / math.sqrt(len(proportions))
    assert proportions.mean() <= LEVEL + 2 * error, f"{proportions.mean():.3f} ± {error:.3f}"


COUPLED = [Planted(law, 0.8, on) for law in LAWS for on in (1.0, 0.3)]
NULLS = [
    Planted("product", 0.0, 0.1, shared=False),
    Planted("one-sided", 0.0, 0.02, shared=False),
    Planted("log-normal", 0.0),
]


@pytest.mark.parametrize("case", COUPLED, ids=str)
def test_false_discoveries_keep_their_rate(case: Planted) -> None:
    for found in measure(case).values():
        assert_rate(found[:, 0])


def discoveries_of_nothing(case: Planted, repeats: int, kept: int = 36) -> Array:
    """How often independent entries have any discovery, by kind; with permutations enough for a single one."""
    found = []
    for repeat in range(repeats):
        values = case.draw(np.random.default_rng([repeat, 3]))[:, :kept]
        coupling = find_coupling(values[:, values.any(axis=0)], get_backend("numpy"), repeat)
        found.append([coupling[kind].coupled.any() for kind in KINDS])
    return np.mean(found, axis=0)


@pytest.mark.parametrize("case", NULLS, ids=str)
def test_independent_entries_are_not_coupled(case: Planted) -> None:
    repeats = 12
    assert np.all(discoveries_of_nothing(case, repeats) <= LEVEL + 2 * math.sqrt(LEVEL / repeats))


@pytest.mark.parametrize(
    ("case", "kind", "at_least"),
    [
        (Planted("normal"), "covariance", 0.99),
        (Planted("normal", on=0.3), "covariance", 0.99),
        (Planted("student", examples=2000), "covariance", 0.85),
        (Planted("product", examples=3000), "covariance", 0.9),
        (Planted("one-sided", examples=1000), "covariance", 0.95),
        (Planted("one-sided", loading=0.95, examples=3000), "third", 0.9),
        (Planted("normal", on=0.3, examples=2000), "fourth", 0.95),
    ],
    ids=str,
)
def test_planted_coupling_sets_are_found(case: Planted, kind: str, at_least: float) -> None:
    sizes = measure(case, repeats=4)[kind][:, 1]
    assert sizes.min() >= at_least * (SIZE - 1)


@pytest.mark.parametrize("on", [0.02, 0.1, 0.4])
def test_entries_of_the_same_examples_with_random_signs_have_no_covariance(on: float) -> None:
    """Uncorrelated but dependent: permutations alone, which know no shared zeros, would not do."""
    for repeat in range(REPEATS // 2):
        values = Planted("product", 0.0, on).draw(np.random.default_rng([repeat, 2]))
        found = find_coupling(values[:, values.any(axis=0)][:, :30], get_backend("numpy"), repeat)
        assert not found["covariance"].coupled.any()
        assert not found["third"].coupled.any()


def test_a_normal_law_has_covariances_only() -> None:
    found = measure(Planted("normal"))
    assert found["covariance"][:, 1].min() > 4.9
    for kind in ("third", "fourth"):
        assert found[kind][:, 1].mean() < 0.01


def test_shared_zeros_make_a_fourth_cumulant_of_uncorrelated_entries() -> None:
    found = measure(Planted("normal", 0.0, on=0.3, examples=2000), repeats=3)
    assert found["fourth"][:, 1].min() > 4.9
    assert found["covariance"][:, 1].max() == 0.0
    assert_rate(found["fourth"][:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("case", [*COUPLED, *NULLS], ids=str)
def test_false_discoveries_keep_their_rate_over_many_repeats(case: Planted) -> None:
    repeats = 20 if os.environ.get("UMWELT_REDUCED") else 200
    if case.loading == 0.0:
        assert np.all(discoveries_of_nothing(case, repeats) <= LEVEL + 2 * math.sqrt(LEVEL / repeats))
    else:
        for found in measure(case, repeats).values():
            assert_rate(found[:, 0])


def test_found_sets_grow_with_the_examples() -> None:
    few, many = (measure(Planted("product", examples=m), repeats=3)["covariance"][:, 1].mean() for m in (300, 3000))
    assert few < 0.6 * many
