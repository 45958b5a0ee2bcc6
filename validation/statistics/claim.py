"""A claim: what was measured beside what is expected, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .decide import UNRESOLVED, Held

Record = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """One row of the table that a run ends with.

    id        the name of a figure, fact or equation, such as fig8a.symmetry, E1 or eq20.k0
    source    its place in the paper;  text  the claim in words
    measured  what was found, in words; None where there was nothing to measure
    expected  what decides, in words
    held      whether it did; UNRESOLVED where the error of what was measured cannot decide, None where nothing was
    exact     a fact that holds to rounding: one that does not is a bug, and the run says so by its exit status

    >>> Claim("E2", "fact E2", "the trace of the Hessian vanishes", "1e-17", "≤ 1e-12", held=True, exact=True).verdict
    'holds'
    """

    id: str
    source: str
    text: str
    measured: str | None
    expected: str
    held: Held
    exact: bool = False

    @property
    def verdict(self) -> str:
        """ "holds" (exact facts), "supported", "not supported", "not resolved" or "not applicable"."""
        if self.held is None:
            return "not applicable"
        if self.held is UNRESOLVED:
            return "not resolved"
        return ("holds" if self.exact else "supported") if self.held else "not supported"

    def record(self) -> Record:
        """As a report keeps it."""
        return {
            "id": self.id, "source": self.source, "claim": self.text, "measured": self.measured,
            "expected": self.expected, "verdict": self.verdict, "exact": self.exact,
        }  # fmt: skip


def failed(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of exact facts among the claims of a report that did not hold: bugs."""
    return [c["id"] for c in claims if c["exact"] and c["verdict"] == "not supported"]
