"""The answer of the report on bounds in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.text import facts_in_words, verdicts_in_words

Record = Mapping[str, Any]
BRACKETS = {"eq20": "(20), on means", "eq21": "(21), on mean squares"}


def answer(data: Record) -> str:
    """One sentence, without its stop: whether theorems hold, in how many cases, and how the bounds (20), (21) fare."""
    claims, cases = data["checks"], sum(theorem["cases"] for theorem in data["theorems"])
    told = [
        f"{verdicts_in_words(found)} for {name}"
        for equation, name in BRACKETS.items()
        if (found := [c for c in claims if c["id"].startswith(equation)])
    ]
    facts = facts_in_words(claims)
    return (
        f"{facts[0].upper()}{facts[1:]}, with theorems tried in {cases:,} cases; verdicts on the paper's bounds: "
        f"{'; '.join(told)}"
    )
