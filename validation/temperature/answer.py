"""The answer of the temperatures in one sentence, made from their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.statistics.estimate import plus_minus

Record = Mapping[str, Any]


def answer(data: Record) -> str:
    """One sentence, without its stop: how far heating takes the spectrum, and how well RE predicts it at every T."""
    rows = [row for row in data["rows"] if row["heated"] is not None and row["heated"]["from_relu"] is not None]
    hot = [row for row in rows if row["temperature"] > 0.0]
    if not hot:
        return "No spectrum at a temperature above 0 could be compared with that of the ReLU network"
    first, last = hot[0], hot[-1]
    seen = [(made, row["temperature"]) for row in rows if (made := _predicted(row)) is not None]
    told = f"Drawing the gates moves the spectrum of a trained network by L1 {_at(first)}"
    if last is not first:
        told += f" and {_at(last)}"
    if not seen:
        return told
    worst, where = max(seen, key=lambda pair: pair[0]["value"])
    return f"{told}; RE predicts it at every temperature to L1 {plus_minus(worst)} (the largest, at T = {where:g})"


def _at(row: Record) -> str:
    return f"{plus_minus(row['heated']['from_relu'])} at T = {row['temperature']:g}"


def _predicted(row: Record) -> Record | None:
    """L1 of RE for the network trained at T; at 0 for the ReLU network."""
    found: Record | None = (row["trained"] or row["heated"])["predictions"]["RE"]["l1"]
    return found
