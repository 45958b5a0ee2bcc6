"""What a page says of its claims: the answer that it begins with, counts of verdicts, failures, tables of claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from .markup import Section, badge, banner, code, fold, link, note, number, prose, table, titled
from .text import tally
from .theory import address

Claims = Sequence[Mapping[str, Any]]
ORDER = ("holds", "supported", "not supported", "not resolved", "not applicable")
MEANING = (
    "Exact facts hold to rounding or within their tolerance; one that fails is a bug. Not resolved: the standard error "
    "of what was measured is too large to decide."
)


def beginning(answer: str, wrong: Sequence[str]) -> list[Markup]:
    """The first blocks of a page: exact facts that failed, and the answer, a sentence without its stop."""
    failed = [banner("Exact facts failed.", f"This is a bug: {', '.join(wrong)}.")] if wrong else []
    return [*failed, note(prose(f"{answer}."), "answer")]


def judged(claims: Claims, words: str = "", *folds: Markup) -> Section:
    """The section of the verdicts: counts, what is not supported, and every claim behind a fold; `folds` come last."""
    if not claims:
        return Section("Verdicts", [note("No claim has been judged yet.", "")])
    groups = {
        "Exact facts": [c for c in claims if c["exact"]],
        "Claims under test": [c for c in claims if not c["exact"]],
    }
    lost, undecided = ([c for c in claims if c["verdict"] == verdict] for verdict in ("not supported", "not resolved"))
    every = fold(f"All {len(claims)} claims", *(verdicts(members, name) for name, members in groups.items()))
    parts = [_counts(groups), note(f"{MEANING} {words}".strip()), verdicts(lost, "Not supported")]
    if undecided:
        parts.append(fold(f"Not resolved: {len(undecided)}", verdicts(undecided, "Not resolved")))
    return Section("Verdicts", [*parts, every, *folds])


def verdicts(claims: Claims, name: str) -> Markup:
    """A titled table of claims with a badge for each verdict, and links to their theory; empty without claims."""
    if not claims:
        return Markup()
    head = ("id", "verdict", "claim", "measured", "expected", "source")
    return titled(name, tally(claims)) + table(head, map(_claim_row, claims), "words claims", name)


def _claim_row(claim: Mapping[str, Any]) -> list[Markup]:
    place, name = address(claim["id"]), code(claim["id"])
    rest = (prose(claim.get(key)) for key in ("claim", "measured", "expected", "source"))
    return [name if place is None else link(name, place), badge(claim["verdict"]), *rest]


def _counts(groups: Mapping[str, Claims]) -> Markup:
    """How many of each group have each verdict; a group without claims has no column."""
    shown = {name: Counter(c["verdict"] for c in members) for name, members in groups.items() if members}
    rows = [
        [badge(verdict), *(number(count[verdict] or None) for count in shown.values())]
        for verdict in ORDER
        if any(count[verdict] for count in shown.values())
    ]
    return table(("", *shown), rows, "counts", "Numbers of verdicts")
