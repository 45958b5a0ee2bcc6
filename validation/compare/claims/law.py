"""What verdicts on the symmetry of laws share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

import numpy as np

from validation.statistics.claim import Record
from validation.statistics.decide import Held, all_of, at_most
from validation.statistics.estimate import combined, plus_minus

BROKEN = 0.1  # broken part above chance up to which a law counts as symmetric

Excess = tuple[float, float | None]
"""A broken part less its value by chance, and its standard error."""


def excess(law: Record) -> Excess:
    """Of one law that is not all 0."""
    return law["value"] - law["null"], law["standard_error"]


def symmetric(laws: Iterable[Excess]) -> Held:
    """Whether every broken part is at most `BROKEN`."""
    return all_of(at_most(value, BROKEN, error) for value, error in laws)


def mean_excess(laws: Sequence[Excess]) -> Excess:
    """The mean over layers, whose laws have independent errors."""
    error = combined(*(error for _, error in laws))
    return float(np.mean([value for value, _ in laws])), None if error is None else error / len(laws)


def written(law: Excess) -> str:
    """A broken part ± its standard error."""
    value, error = law
    return plus_minus({"value": value, "standard_error": error}) if error else f"{value:z.3f}"


def span(laws: Sequence[Excess]) -> str:
    """The least and the largest broken part."""
    least, most = (choose(laws, key=itemgetter(0)) for choose in (min, max))
    return f"{written(least)} to {written(most)} above chance"


def excess_of(record: Record, key: str) -> list[Excess]:
    """Of the laws of all layers that are not all 0."""
    return [excess(law) for law in record[key] if law["value"] is not None]


def rejected(found: Record, kind: str) -> str:
    """How many tests rejected symmetry: beside the size, which the verdict is on, because large samples always do."""
    counts = found.get(kind)
    return f"; D rejects symmetry in {counts['rejected']} of {counts['tests']} tests" if counts else ""
