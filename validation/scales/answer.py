"""The answer of the scales in one sentence, made from their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.measurements.scales import SCALES
from validation.report.text import verdict_of
from validation.statistics.estimate import written

from .summary import furthest, moved

Record = Mapping[str, Any]


def answer(data: Record) -> str:
    """One sentence, without its stop: how far the laws of two scales are apart, and how far training moves one."""
    claims, apart, through = data["checks"], furthest(data["epochs"]), moved(data)
    told = []
    if apart is not None:
        epoch, row, null = apart
        first, second = (SCALES[name] for name in row["between"])
        told.append(
            f"the laws of {first} and of {second} are {written(row['distance'])} nats apart at epoch {epoch['epoch']}"
            f"{_chance(null)} (one law: {verdict_of(claims, 'scales.alike')})"
        )
    if through is not None:
        name, mean, null = through
        told.append(
            f"training moves the law of {SCALES[name]} by {written(mean)} nats{_chance(null)} (the same law: "
            f"{verdict_of(claims, 'scales.stable')})"
        )
    if not told:
        return "No laws of two scales could be compared"
    sentence = "; ".join([*told, f"symmetry about 0 is {verdict_of(claims, 'scales.symmetric')}"])
    return f"{sentence[0].upper()}{sentence[1:]}"


def _chance(null: float | None) -> str:
    return f", {null:.2g} by chance" if null else ""
