"""What verdicts on the symmetry of laws share."""

from __future__ import annotations

from validation.statistics.claim import Record


def excess_of(record: Record, key: str) -> list[float]:
    """Broken parts of the laws of all layers that have one, above chance."""
    return [s["value"] - s["null"] for s in record[key] if s["value"] is not None]


def rejected(found: Record, kind: str) -> str:
    """How many tests rejected symmetry: beside the size, which the verdict is on, because large samples always do."""
    counts = found.get(kind)
    return f"; D rejects symmetry in {counts['rejected']} of {counts['tests']} tests" if counts else ""
