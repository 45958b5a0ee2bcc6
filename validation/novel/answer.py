"""The answer of the run with novel examples in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.text import verdict_of
from validation.statistics.estimate import written

from .claims import as_factor, class_ratio, largest, wear_ratio
from .summary import excited, rested, rounds_of

Record = Mapping[str, Any]


def answer(data: Record) -> str:
    """One sentence, without its stop: rounds that are absorbed, what a new class does, and what earlier rounds do."""
    cells, claims = rested(data["cells"]), data["checks"]
    rounds = [shown for shown in rounds_of(cells) if excited(shown)]
    if not rounds:
        return "No round of novel examples with errors began at risk 0, so that nothing could be judged"
    absorbed = sum(shown["outcome"] == "zero" for shown in rounds)
    told = [
        f"{absorbed:,} of {len(rounds):,} rounds of novel examples with errors return to risk 0 (all in a large "
        f"network: {verdict_of(claims, 'novel.absorbed')})"
    ]
    new, worn = class_ratio(cells), wear_ratio(largest(cells), data["options"]["updates"])
    if new is not None:
        verdict = verdict_of(claims, "novel.class")
        told.append(f"a new class raises the risk {written(as_factor(new))} times as far as a known one ({verdict})")
    if worn is not None:
        verdict = verdict_of(claims, "novel.wear")
        told.append(f"earlier rounds multiply the updates to risk 0 by {written(as_factor(worn))} (no wear: {verdict})")
    return "; ".join(told)
