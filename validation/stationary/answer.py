"""The answer of the search for stationary points in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from validation.measurements.stationary import FOUND_KINDS, ZERO_RISK
from validation.report.text import verdicts_in_words
from validation.statistics.estimate import written

from .claims import mean_index
from .summary import SADDLES

Record = Mapping[str, Any]
Cells = Sequence[dict[str, Any]]


def answer(data: Record) -> str:
    """One sentence, without its stop: how many of the points found are saddles, and their index."""
    rows = data["table"]
    kinds = {kind: sum(row["kinds"][kind] for row in rows) for kind in FOUND_KINDS if kind != ZERO_RISK}
    whole, saddles = sum(kinds.values()), sum(kinds[kind] for kind in SADDLES)
    if not whole:
        searches = sum(row["searches"] for row in rows)
        return f"None of {searches:,} searches found a stationary point of risk > 0"
    others = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count and kind not in SADDLES)
    verdicts = verdicts_in_words([c for c in data["checks"] if c["id"].startswith("stationary.saddles.")])
    told = (
        f"{saddles} of {whole} stationary points of risk > 0 are saddle points{f', beside {others}' if others else ''}"
    )
    told += f" (all: {verdicts})"
    index = _index(data["cells"], data["checks"])
    return f"{told}; {index}" if index else told


def _index(cells: Cells, claims: Sequence[Record]) -> str:
    """The share of negative eigenvalues at saddles of every loss, and the verdicts on one half."""
    losses = dict.fromkeys(cell["loss"] for cell in cells)
    means = {loss: mean_index([cell for cell in cells if cell["loss"] == loss]) for loss in losses}
    told = ", ".join(f"{written(mean)} ({loss})" for loss, mean in means.items() if mean is not None)
    verdicts = verdicts_in_words([c for c in claims if c["id"].startswith("stationary.index.")])
    return f"a share of {told} of their eigenvalues other than 0 is negative (one half: {verdicts})" if told else ""
