"""Whether a number with an error is on one side of a bound: yes, no, or not resolved."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Final, Literal

SIGMAS = 2.0  # standard errors that a decision takes


class Decision(enum.Enum):
    """What is neither yes nor no."""

    UNRESOLVED = enum.auto()


UNRESOLVED: Final = Decision.UNRESOLVED
Held = bool | Literal[Decision.UNRESOLVED] | None
"""Whether a claim holds; UNRESOLVED where its error cannot decide; None where there is nothing to decide."""


def at_most(value: float, bound: float, error: float | None) -> bool | Literal[Decision.UNRESOLVED]:
    """value ≤ bound, by `SIGMAS` standard errors; 0 is the error of an exact number, None an unknown one.

    >>> at_most(0.05, 0.1, 0.01), at_most(0.2, 0.1, 0.01), at_most(0.09, 0.1, 0.01), at_most(0.05, 0.1, None)
    (True, False, <Decision.UNRESOLVED: 1>, <Decision.UNRESOLVED: 1>)
    """
    if error is None or not math.isfinite(error):
        return UNRESOLVED
    if value + SIGMAS * error <= bound:
        return True
    return False if value - SIGMAS * error > bound else UNRESOLVED


def at_least(value: float, bound: float, error: float | None) -> bool | Literal[Decision.UNRESOLVED]:
    """value ≥ bound, by `SIGMAS` standard errors, as `at_most`."""
    return at_most(-value, -bound, error)


def all_of(decisions: Iterable[Held]) -> Held:
    """No where one is no, else not resolved where one is; None among them is nothing to decide and counts for nothing.

    >>> all_of([True, UNRESOLVED]), all_of([True, UNRESOLVED, False]), all_of([None, True]), all_of([])
    (<Decision.UNRESOLVED: 1>, False, True, None)
    """
    seen = [decision for decision in decisions if decision is not None]
    if not seen:
        return None
    if any(decision is False for decision in seen):
        return False
    return UNRESOLVED if any(decision is UNRESOLVED for decision in seen) else True
