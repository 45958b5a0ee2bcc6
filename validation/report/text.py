"""A report as plain text: what a command ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from validation.run.console import folded, terminal_width

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


def tally(claims: Iterable[Mapping[str, Any]]) -> str:
    """How many claims have each verdict, in words."""
    return ", ".join(f"{verdict}: {count}" for verdict, count in Counter(c["verdict"] for c in claims).items())
