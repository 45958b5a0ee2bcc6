"""Decisions with an error: yes, no, or not resolved."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.statistics.claim import Claim
from validation.statistics.decide import UNRESOLVED, Held, all_of, any_of, at_least, at_most, most_of

DECISIONS: tuple[Held, ...] = (True, False, UNRESOLVED, None)
NUMBERS = st.floats(-10, 10)


@given(NUMBERS, NUMBERS, st.floats(0, 5))
def test_at_most_is_at_least_seen_from_the_other_side(value: float, bound: float, error: float) -> None:
    found = at_most(value, bound, error)
    assert found is at_least(-value, -bound, error)
    assert (found is True) == (value + 2 * error <= bound)
    assert (found is False) == (value - 2 * error > bound)


@pytest.mark.parametrize("error", [None, math.nan, math.inf])
def test_an_unknown_error_decides_nothing(error: float | None) -> None:
    assert at_most(0.0, 1e9, error) is UNRESOLVED
    assert at_least(0.0, 1e9, error) is UNRESOLVED


def test_an_exact_number_always_decides() -> None:
    assert [at_most(v, 1.0, 0.0) for v in (0.9, 1.0, 1.1)] == [True, True, False]


def test_all_any_and_most_over_every_triple() -> None:
    """Replacing what is not resolved by yes and by no gives the same answer, or the answer is not resolved."""
    for triple in product(DECISIONS, repeat=3):
        seen = [d for d in triple if d is not None]
        optimist, pessimist = ([fill if d is UNRESOLVED else d for d in seen] for fill in (True, False))
        for choose, plain in (
            (all_of, all),
            (any_of, any),
            (lambda d: most_of(d, 0.5), lambda d: sum(d) >= 0.5 * len(d)),
        ):
            best, worst = plain(optimist), plain(pessimist)
            expected = None if not seen else best if best == worst else UNRESOLVED
            assert choose(triple) is expected


@pytest.mark.parametrize(
    ("held", "exact", "verdict"),
    [
        (True, False, "supported"), (True, True, "holds"), (False, False, "not supported"),
        (UNRESOLVED, False, "not resolved"), (UNRESOLVED, True, "not resolved"), (None, True, "not applicable"),
    ],
)  # fmt: skip
def test_the_five_verdicts(held: Held, exact: bool, verdict: str) -> None:
    assert Claim("a", "b", "c", "d", "e", held, exact).verdict == verdict
