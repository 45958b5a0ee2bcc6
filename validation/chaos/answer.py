"""The answer of the edge of chaos in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from validation.report.text import verdict_of
from validation.statistics.estimate import written

from .claims import falls_of, off_square
from .summary import phase

Record = Mapping[str, Any]
Cells = Sequence[dict[str, Any]]


def answer(data: Record) -> str:
    """One sentence, without its stop: where networks are plastic, and χ before training and at its end."""
    rows, cells, claims = data["rows"], data["cells"], data["checks"]
    gains, found = [row["gain"] for row in rows], phase(rows)
    plastic = ", ".join(f"{gain:g}" for gain in found)
    where = f"at gain{'s' * (len(found) > 1)} {plastic}" if found else "at no gain"
    return (
        f"Networks are plastic {where} of {gains[0]:g} to {gains[-1]:g} (around the edge of chaos: "
        f"{verdict_of(claims, 'chaos.plasticity')}); {_start(cells, claims)}; {_end(cells, claims)}"
    )


def _start(cells: Cells, claims: Sequence[Record]) -> str:
    found = off_square(cells)
    if found is None:
        return "χ before training is not known"
    gain, off = found
    verdict = verdict_of(claims, "chaos.stretch")
    return f"before training ln(χ/gain²) is furthest from 0 at gain {gain:g}, {written(off)} (χ = gain²: {verdict})"


def _end(cells: Cells, claims: Sequence[Record]) -> str:
    fall = falls_of(cells)
    if fall is None:
        return "no network reached risk 0 from another gain than 1"
    return (
        f"in training to risk 0 from other gains |ln χ| falls by {written(fall)} ({verdict_of(claims, 'chaos.drawn')})"
    )
