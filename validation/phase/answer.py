"""The answer of the phase diagram in one sentence, and where it fails: made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.statistics.asymmetry import SIGNIFICANCE

Record = Mapping[str, Any]


def counts(data: Record) -> dict[str, int]:
    """Cells in all, those where most networks reach risk 0, and those whose asymmetry is beyond its standard error."""
    found = data["diagram"]
    return {
        "cells": len(found),
        "zero": sum(r["reaches_zero"] for r in found),
        "plastic": sum(r["plastic"] for r in found),
        "asymmetric": sum(r["symmetric"] is False for r in found),
        "tested": sum(r["symmetric"] is not None for r in found),
    }


def answer(data: Record) -> str:
    """One sentence, without its stop: where most networks reach risk 0, whether R7 said so, and what symmetry does."""
    n, told = counts(data), data["agreement"]
    cells = f"{n['cells']} cell{'s' * (n['cells'] != 1)}"
    return (
        f"Most networks reach risk 0 in {n['zero']} of {cells}; before training R7 predicts this rightly in "
        f"{told['right']} and wrongly in {told['missed'] + told['false']}; {_symmetry(n)}"
    )


def _symmetry(n: Mapping[str, int]) -> str:
    if not n["tested"]:
        return "the symmetry of no spectrum could be tested"
    return (
        f"the spectrum is asymmetric beyond its standard error in {n['asymmetric']} of {n['tested']} tested, where "
        f"chance alone gives {SIGNIFICANCE * n['tested']:.1f}"
    )


def failures(data: Record) -> list[str]:
    """Cells that R7 foresees wrongly, cells that are asymmetric, and networks that ended flat: sentences."""
    found, flat = data["diagram"], sum(r["flat"] for r in data["diagram"])
    missed = [r for r in found if r["reaches_zero"] and not r["predicted_zero"]]
    wrong = [r for r in found if r["predicted_zero"] and not r["reaches_zero"]]
    asymmetric = [r for r in found if r["symmetric"] is False]
    texts = [
        f"{words}: {'; '.join(map(_cell, rows))}."
        for words, rows in (
            ("R7 does not foresee that most networks reach risk 0", missed),
            ("R7 foresees risk 0 that most networks do not reach", wrong),
            ("The spectrum is asymmetric beyond its standard error", asymmetric),
        )
        if rows
    ]
    networks = sum(r["networks"] for r in found)
    return [*texts, f"{flat} of {networks} networks ended at H = 0 with a risk above 0."] if flat else texts


def _cell(row: Record) -> str:
    return f"width {row['width']} on {row['examples']:,} examples"
