"""A report as plain text: the table of claims that a command ends with."""

from __future__ import annotations

import math
from typing import Any


def table(claims: list[dict[str, Any]], width: int = 0) -> str:
    """The final table: claim, place in the paper, measured, predicted or bound, verdict; cells wrap to fit `width`."""
    import shutil
    import textwrap

    width = width or max(100, shutil.get_terminal_size((140, 40)).columns)
    head = ("claim", "place", "measured", "expected", "verdict")
    rows = [
        (f"{c['id']}: {c['claim']}", c["source"], str(c["measured"] or "-"), c["expected"], c["verdict"])
        for c in claims
    ]
    fixed = [max(len(r[i]) for r in (head, *rows)) for i in (1, 4)]
    free = width - sum(fixed) - 8
    shares = [math.floor(free * part) for part in (0.38, 0.36, 0.26)]
    widths = [shares[0], fixed[0], shares[1], shares[2], fixed[1]]
    lines = []
    for row in (head, *rows):
        cells = [textwrap.wrap(text, w) or [""] for text, w in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = (c[i] if i < len(c) else "" for c in cells)
            lines.append("  ".join(p.ljust(w) for p, w in zip(parts, widths, strict=True)).rstrip())
        if row is head:
            lines.append("-" * width)
    return "\n".join(lines)
