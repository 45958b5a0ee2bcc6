"""Whether a number with an error is on one side of a bound: yes, no, or not resolved."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Final, Literal

SIGMAS = 2.0  # standard errors that a decision takes
L1_SIGMAS = 1.0
"""The same to support a bound on L1: its standard error says what two equal laws are apart, and an integral of absolute
values over many energies varies little between measurements (95 % within one: benchmarks/results/calibration.json)."""


class Decision(enum.Enum):
    """What is neither yes nor no."""

    UNRESOLVED = enum.auto()


UNRESOLVED: Final = Decision.UNRESOLVED
Held = bool | Literal[Decision.UNRESOLVED] | None
"""Whether a claim holds; UNRESOLVED where its error cannot decide; None where there is nothing to decide."""


def at_most(
    value: float, bound: float, error: float | None, sigmas: float = SIGMAS
) -> bool | Literal[Decision.UNRESOLVED]:
    """value ≤ bound, by so many standard errors; 0 is the error of an exact number, None an unknown one.

    >>> at_most(0.05, 0.1, 0.01), at_most(0.2, 0.1, 0.01), at_most(0.09, 0.1, 0.01), at_most(0.05, 0.1, None)
    (True, False, <Decision.UNRESOLVED: 1>, <Decision.UNRESOLVED: 1>)
    """
    if error is None or not math.isfinite(error):
        return UNRESOLVED
    if value + sigmas * error <= bound:
        return True
    return False if value - sigmas * error > bound else UNRESOLVED


def l1_at_most(value: float, bound: float, error: float | None) -> bool | Literal[Decision.UNRESOLVED]:
    """L1 ≤ bound: supported by `L1_SIGMAS` standard errors, refuted by `SIGMAS`, so that no exact law is refuted.

    >>> l1_at_most(0.08, 0.1, 0.02), l1_at_most(0.13, 0.1, 0.02), l1_at_most(0.15, 0.1, 0.02)
    (True, <Decision.UNRESOLVED: 1>, False)
    """
    supported = at_most(value, bound, error, L1_SIGMAS)
    return supported if supported is True else at_most(value, bound, error)


def at_least(
    value: float, bound: float, error: float | None, sigmas: float = SIGMAS
) -> bool | Literal[Decision.UNRESOLVED]:
    """value ≥ bound, by so many standard errors, as `at_most`."""
    return at_most(-value, -bound, error, sigmas)


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


def any_of(decisions: Iterable[Held]) -> Held:
    """Yes where one is yes, else not resolved where one is; None counts for nothing.

    >>> any_of([False, UNRESOLVED]), any_of([True, UNRESOLVED]), any_of([False, None]), any_of([None])
    (<Decision.UNRESOLVED: 1>, True, False, None)
    """
    seen = [decision for decision in decisions if decision is not None]
    if not seen:
        return None
    if any(decision is True for decision in seen):
        return True
    return UNRESOLVED if any(decision is UNRESOLVED for decision in seen) else False


def most_of(decisions: Iterable[Held], share: float) -> Held:
    """Whether at least so large a share of them is yes; those that are None count for nothing.

    >>> most_of([True, True, UNRESOLVED], 0.6), most_of([True, UNRESOLVED], 0.6), most_of([False, UNRESOLVED], 0.6)
    (True, <Decision.UNRESOLVED: 1>, False)
    """
    seen = [decision for decision in decisions if decision is not None]
    if not seen:
        return None
    need = share * len(seen) - 1e-9
    if sum(decision is True for decision in seen) >= need:
        return True
    return UNRESOLVED if sum(decision is not False for decision in seen) >= need else False
