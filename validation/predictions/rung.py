"""The rungs of the ladder of predictions by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RUNG_NAMES = {
    "R0": "semicircle",
    "R1": "layer blocks",
    "R2": "separable profile",
    "R3": "arc-cosine kernels",
    "R4w": "wide perceptron",
    "R4": "fresh networks",
    "R5": "measured signals",
    "R6": "every weight for itself",
}


def rungs_of(report: Mapping[str, Any]) -> list[str]:
    """Every rung with a prediction at some recorded epoch, in order."""
    return sorted({rung for epoch in report.get("epochs", []) for rung in epoch["predictions"]})


def named(rung: str) -> str:
    """A rung with its name in brackets, where it has one."""
    return f"{rung} ({RUNG_NAMES[rung]})" if rung in RUNG_NAMES else rung
