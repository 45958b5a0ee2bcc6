"""Verdicts on what the spectrum sees of a network's structure, from a run with --structure."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from validation.predictions.structure import (
    CLOSE_L1,
    CLOSE_LARGEST,
    described_by_directions,
    smallest_description,
    sufficient,
)
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import Held, all_of, any_of, l1_at_most
from validation.statistics.estimate import combined

SHARE = 0.1  # of the number of weights that a description may take
IN_SPAN = 0.5  # of an outlier's eigenvector in the span of weights and gradients of layers


def judge_structure(records: Sequence[Record], n_weights: int) -> list[Claim]:
    """How short a description suffices, where the structure sits, and what the far eigenvectors are."""
    seen = [r for r in records if r.get("structure", {}).get("directions")]
    if not seen:
        return []
    return [_description(seen, n_weights), _layers(seen), _outliers(seen)]


def _description(seen: Sequence[Record], n: int) -> Claim:
    """The fewest numbers at every epoch, whichever directions are given."""
    best = {r["epoch"]: smallest_description(described_by_directions(r), r["spectrum"]) for r in seen}
    shares = [made["known"] / n for made in best.values() if made is not None]
    none = [str(epoch) for epoch, made in best.items() if made is None]
    found = f"{min(shares):.3f} to {max(shares):.3f} of the number of weights" if shares else "no description tried"
    failed = f"; none tried suffices at epochs {', '.join(none)}" if none else ""
    return Claim(
        "structure.description", "fig. 8a, REp",
        f"norms of neurons and directions of the signals give the spectrum: L1 ≤ {CLOSE_L1:g} and the five largest "
        f"within {100 * CLOSE_LARGEST:g} %",
        found + failed, f"at most {SHARE:g} of the number of weights at every epoch",
        all_of(_short_enough(record, n) for record in seen),
    )  # fmt: skip


def _short_enough(record: Record, n: int) -> Held:
    """Whether some description of at most `SHARE` of the number of weights is sufficient."""
    short = [case for case in described_by_directions(record) if case["known"] <= SHARE * n]
    held = any_of(sufficient(case, record["spectrum"]) for case in short)
    return False if held is None else held


def _layers(seen: Sequence[Record]) -> Claim:
    """Whether the error of drawing all layers afresh comes from one layer."""
    worst: list[tuple[float, int, int, float, float | None]] = []
    for record in seen:
        cases = record["structure"]["layers"].get("RE", [])
        if cases:
            most: dict[str, Any] = max(cases, key=lambda case: case["l1"])
            every = record["predictions"]["RE"]
            error = combined(most["l1_standard_error"], every["l1_standard_error"])
            worst.append((most["l1"], most["layer"] + 1, record["epoch"], every["l1"], error))
    text = "no single layer's weights hold the structure that fresh weights miss (RE)"
    if not worst:
        return Claim("structure.layers", "fig. 8a, RE", text, None, "", None)
    l1, layer, epoch, whole, _ = max(worst, key=itemgetter(0))
    return Claim(
        "structure.layers", "fig. 8a, RE", text,
        f"largest L1 of one layer {l1:.3f} (layer {layer}, epoch {epoch}), of all layers there {whole:.3f}",
        "one layer's L1 at most that of all layers, by a standard error, at every epoch",
        all_of(l1_at_most(one - every, 0.0, error) for one, _, _, every, error in worst),
    )  # fmt: skip


def _outliers(seen: Sequence[Record]) -> Claim:
    """The leading eigenvector of either sign; what is known of the others is said beside."""
    leading, others = [], []
    for record in seen:
        for sign in (-1, 1):
            ranked = [one["span"] for one in record["structure"]["outliers"] if sign * one["eigenvalue"] > 0]
            leading += ranked[:1]
            others += ranked[1:]
    beside = f"; of the next ones {min(others):.2f} to {max(others):.2f}" if others else ""
    return Claim(
        "structure.outliers", "facts E3, E4",
        "the largest eigenvalue of either sign belongs to the weights and the gradients of single layers",
        f"share of its eigenvector in their span {min(leading):.2f} to {max(leading):.2f}{beside}" if leading else None,
        f"at least {IN_SPAN:g} at every epoch", min(leading) >= IN_SPAN if leading else None,
    )  # fmt: skip
