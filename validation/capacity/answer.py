"""The answer of the search for the capacity in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from validation.report.text import verdict_of
from validation.statistics.estimate import written

from .claims import depth_ratios
from .summary import of_capacity
from .training import SMOOTH

Record = Mapping[str, Any]
Cells = Sequence[dict[str, Any]]


def answer(data: Record) -> str:
    """One sentence, without its stop: how the edge grows, whether it was predicted, and whether true labels fit."""
    claims = data["checks"]
    random = [r for r in data["rows"] if (r["loss"], r["labels"]) == (SMOOTH, "random") and of_capacity(r)]
    true = f"more examples fit with true labels: {verdict_of(claims, 'capacity.labels')}"
    if not random:
        return f"No edge of capacity of random labels is known; {true}"
    scaling = [s for s in data["scaling"] if (s["loss"], s["labels"]) == (SMOOTH, "random")]
    return f"{_growth(scaling, claims)}; {_predicted(random, claims)}; {true}"


def _growth(scaling: Sequence[Record], claims: Sequence[Record]) -> str:
    known = {s["depth"]: s["exponent"] for s in scaling if s["exponent"] is not None}
    if not known:
        return "How the edge of random labels grows is not known"
    beta = f"β = {_values(known)} at {_depths(known)}"
    return f"The edge of random labels grows as N^β, {beta} (β = 1: {verdict_of(claims, 'capacity.exponent')})"


def _predicted(rows: Cells, claims: Sequence[Record]) -> str:
    """The edge over twice the rank of the gradients, which was computed before training."""
    ratios = depth_ratios(rows, "counting")
    if not ratios:
        return "no rank of fresh gradients is known to predict it"
    times = f"{_values(ratios)} times twice the rank of fresh gradients"
    return f"at {_depths(ratios)} it is {times} (predicted: {verdict_of(claims, 'capacity.prediction.counting')})"


def _values(by_depth: Mapping[int, Record]) -> str:
    return " and ".join(map(written, by_depth.values()))


def _depths(by_depth: Mapping[int, Record]) -> str:
    return f"depth{'s' * (len(by_depth) > 1)} {' and '.join(map(str, by_depth))}"
