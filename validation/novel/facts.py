"""What holds to rounding, whatever the examples: a fact that fails is a bug."""

from __future__ import annotations

from collections.abc import Sequence

from validation.measurements.facts import TOLERANCES
from validation.statistics.claim import Claim

from .cell import CONTROL, Record
from .summary import rounds_of

Cells = Sequence[Record]


def exact_facts(cells: Cells, rested: Cells, dtype: str) -> list[Claim]:
    """The exact facts of all cells; the control's of those that were at risk 0 before."""
    return [_direct(cells, dtype), _still(rested), _both_zero(cells)]


def _all_rounds(cells: Cells) -> list[Record]:
    """From rest or not."""
    return [shown for cell in cells for rounds in cell["kinds"].values() for shown in rounds]


def _direct(cells: Cells, dtype: str) -> Claim:
    """What is put together from old and novel examples is what their union gives."""
    worst = 0.0
    for shown in _all_rounds(cells):
        for key, direct in shown["direct"].items():
            if shown["points"]:
                worst = max(worst, abs(shown["points"][0][key] - direct) / (abs(direct) or 1.0))
    tolerance = TOLERANCES[dtype]
    return Claim(
        "novel.direct", "(12), (15)", "risk and ||∇R||² at the jump, from the parts, are those of all examples",
        f"relative error {worst:.2g}", f"≤ {tolerance:g}", worst <= tolerance, exact=True,
    )  # fmt: skip


def _still(cells: Cells) -> Claim:
    """At risk 0 the same examples again have no error, and nothing moves."""
    shown = rounds_of(cells, CONTROL)
    worst = max((p[k] for s in shown for p in s["points"] for k in ("risk", "order_parameter", "active")), default=0.0)
    moved = any(s["moments"][0]["aligned"] != s["moments"][-1]["aligned"] for s in shown)
    looks = sum(len(s["points"]) for s in shown)
    return Claim(
        "novel.again", "sec. II E 2", "the same examples again are no perturbation at risk 0",
        f"risk, ||∇R||² and active examples at most {worst:g} at {looks} looks, circuits "
        f"{'moved' if moved else 'unmoved'}" if shown else None,
        "exactly 0, nothing moves", worst == 0.0 and not moved if shown else None, exact=True,
    )  # fmt: skip


def _both_zero(cells: Cells) -> Claim:
    """The hinge has no slope where it is 0."""
    points = [p for s in _all_rounds(cells) for p in s["points"] if p["risk"] == 0.0]
    worst = max((max(p["order_parameter"], p["active"]) for p in points), default=0.0)
    return Claim(
        "novel.zero", "fig. 4b", "the order parameter is 0 when the risk is",
        f"||∇R||² and active examples at most {worst:g} at {len(points)} looks of risk 0" if points else None,
        "exactly 0", worst == 0.0 if points else None, exact=True,
    )  # fmt: skip
