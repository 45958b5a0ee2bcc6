"""Verdicts on the laws of weights and circuits (figs. 3a, 3b), from recorded epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.statistics.claim import Claim, Record

from .law import excess_of, rejected

BROKEN = 0.05  # broken symmetry above chance from which a layer counts as broken


def judge_weights(records: Sequence[Record], found: Record) -> list[Claim]:
    """Laws of weights and of circuits; `found`: counts of rejected tests of symmetry by kind."""
    return [_weight_symmetry(records, found), _weight_layers(records), _circuit_symmetry(records, found)]


def _weight_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Most layers' weight laws stay symmetric: broken part at most 0.1 above chance in more than half of the layers."""
    last = records[-1]
    excess = excess_of(last, "weight_symmetry")
    worst = max(max(excess_of(r, "weight_symmetry")) for r in records)
    intact = sum(e <= 0.1 for e in excess)
    return Claim(
        "fig3a.symmetry", "fig. 3a", "most weight laws stay symmetric through training",
        f"{intact} of {len(excess)} layers intact at epoch {last['epoch']}; worst ever {worst:.3f} above chance"
        + rejected(found, "weights"),
        "broken part ≤ 0.1 above chance in most layers", intact > len(excess) / 2,
    )  # fmt: skip


def _weight_layers(records: Sequence[Record]) -> Claim:
    """Heterogeneous breaking: the most broken layer at least twice the median one; silent while no layer is broken."""
    last, first = records[-1], dict[int, int]()
    for record in records:
        for layer, s in enumerate(record["weight_symmetry"], 1):
            if s["value"] is not None and s["value"] > s["null_95"] and s["value"] - s["null"] > BROKEN:
                first.setdefault(layer, record["epoch"])
    excess = {i: s["value"] - s["null"] for i, s in enumerate(last["weight_symmetry"], 1) if s["value"] is not None}
    most, middle = max(excess, key=lambda i: excess[i]), float(np.median(list(excess.values())))
    shown = f"most at epoch {last['epoch']}: layer {most} ({excess[most]:.3f} above chance), median {middle:.3f}"
    if not first:
        measured = f"no layer was ever broken by more than {BROKEN:g}; {shown}"
    else:
        soonest = min(first.values())
        layers = ", ".join(str(i) for i in sorted(first) if first[i] == soonest)
        measured = f"first above {BROKEN:g}: layer {layers} at epoch {soonest}; {shown}"
    return Claim(
        "fig3a.layers", "fig. 3a", "the symmetry of the weights breaks unevenly over the layers", measured,
        "most broken layer ≥ 2 × median layer", excess[most] >= 2 * middle if first else None,
    )  # fmt: skip


def _circuit_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Circuits of every order at initialisation; those without their last weight are only symmetric by S2, S3."""
    record = records[0]
    orders = record["circuits"]["orders"] if record["fresh"] and record["circuits"] else []
    sizes = [f"order {o['order']}: {o['symmetry']['value'] - o['symmetry']['null']:.3f}" for o in orders]
    bare = [o["last_removed"] for o in orders if o["last_removed"]]
    worst = max((s["value"] - s["null"] for s in bare), default=None)
    note = f"; without the last weight up to {worst:.3f}" if worst is not None else ""
    return Claim(
        "fig3b.symmetry", "fig. 3b", "circuits of order 0, 1 and 2 are symmetric at initialisation",
        f"broken part above chance {', '.join(sizes)}{note}" + rejected(found, "circuits") if sizes else None,
        "≤ 0.1 above chance at every order",
        all(o["symmetry"]["value"] - o["symmetry"]["null"] <= 0.1 for o in orders) if orders else None,
    )  # fmt: skip
