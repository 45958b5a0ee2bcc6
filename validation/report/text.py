"""A report as plain text: what a command ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from validation.run.console import folded, terminal_width
from validation.statistics.claim import failed

Claims = Sequence[Mapping[str, Any]]
KINDS = {True: "exact facts", False: "claims under test"}


def outcome(claims: Claims, width: int = 0) -> str:
    """How many claims have each verdict, those that are not supported in full, the names of those not resolved.

    No line is wider than `width`, by default the terminal's, unless a single word is.
    """
    width = width or terminal_width()
    counted = [(KINDS[exact], [c for c in claims if c["exact"] is exact]) for exact in KINDS]
    lines = [line for kind, made in counted if made for line in folded(f"{kind}: {tally(made)}", width, "    ")]
    lost = [c for c in claims if c["verdict"] == "not supported"]
    for claim in lost:
        lines += ["", *folded(f"not supported: {claim['id']} ({claim['source']}), {claim['claim']}", width, "    ")]
        lines += folded(f"    measured: {claim['measured'] or '-'}", width, "        ")
        lines += folded(f"    expected: {claim['expected']}", width, "        ")
    unresolved = [c["id"] for c in claims if c["verdict"] == "not resolved"]
    if unresolved:
        lines += ["", *folded(f"not resolved: {', '.join(unresolved)}", width, "    ")]
    return "\n".join(lines)


def answered(answer: str, width: int = 0) -> str:
    """The sentence of an answer, which comes without its stop, in lines of the terminal's width."""
    return "\n".join(folded(f"{answer}.", width or terminal_width(), ""))


def facts_in_words(claims: Claims) -> str:
    """Whether every exact fact held: "all 9 exact facts hold", "2 of 9 exact facts fail: E1, E2"."""
    exact, wrong = [c for c in claims if c["exact"]], failed(claims)
    if wrong:
        return f"{len(wrong)} of {len(exact)} exact facts fail: {', '.join(wrong)}"
    return f"all {len(exact)} exact facts hold"


def verdicts_in_words(claims: Claims) -> str:
    """Numbers of claims and their verdicts, within a sentence: "2 supported, 1 not resolved"."""
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(c["verdict"] for c in claims).items())


def verdict_of(claims: Claims, name: str) -> str:
    """The verdict of the claim `name`; "not applicable" where no such claim was made."""
    return next((str(c["verdict"]) for c in claims if c["id"] == name), "not applicable")


def tally(claims: Iterable[Mapping[str, Any]]) -> str:
    """How many claims have each verdict, in words."""
    return ", ".join(f"{verdict}: {count}" for verdict, count in Counter(c["verdict"] for c in claims).items())
