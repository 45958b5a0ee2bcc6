"""Verdicts on the laws of weights and circuits (figs. 3a, 3b), from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import at_least, most_of

from .law import BROKEN, Excess, excess, excess_of, rejected, symmetric, written

CLEAR = 0.05  # broken symmetry above chance from which a layer counts as broken


def judge_weights(records: Sequence[Record], found: Record) -> list[Claim]:
    """Laws of weights and of circuits; `found`: counts of rejected tests of symmetry by kind."""
    return [_weight_symmetry(records, found), _weight_layers(records), _circuit_symmetry(records, found)]


def _weight_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Most layers: more than half of them. A histogram shows a law, not whether weights are independent ("intact")."""
    last = records[-1]
    layers = excess_of(last, "weight_symmetry")
    decided = [symmetric([layer]) for layer in layers]
    worst = max((law for r in records for law in excess_of(r, "weight_symmetry")), key=itemgetter(0))
    return Claim(
        "fig3a.symmetry", "fig. 3a", "the laws of the weights of most layers stay symmetric about 0 through training",
        f"symmetric in {sum(d is True for d in decided)} of {len(layers)} layers at epoch {last['epoch']}; worst ever "
        f"{written(worst)} above chance" + rejected(found, "weights"),
        f"broken part ≤ {BROKEN:g} above chance in most layers", most_of(decided, (len(layers) // 2 + 1) / len(layers)),
    )  # fmt: skip


def _weight_layers(records: Sequence[Record]) -> Claim:
    """Heterogeneous breaking: the most broken layer at least twice the median one; silent while no layer is broken."""
    last, first = records[-1], dict[int, int]()
    for record in records:
        for layer, s in enumerate(record["weight_symmetry"], 1):
            if s["value"] is not None and s["value"] > s["null_95"] and s["value"] - s["null"] > CLEAR:
                first.setdefault(layer, record["epoch"])
    laws = {i: excess(law) for i, law in enumerate(last["weight_symmetry"], 1) if law["value"] is not None}
    most, middle = max(laws, key=lambda i: laws[i][0]), float(np.median([value for value, _ in laws.values()]))
    shown = f"most at epoch {last['epoch']}: layer {most} ({written(laws[most])} above chance), median {middle:.3f}"
    if not first:
        measured = f"no layer was ever broken by more than {CLEAR:g}; {shown}"
    else:
        soonest = min(first.values())
        layers = ", ".join(str(i) for i in sorted(first) if first[i] == soonest)
        measured = f"first above {CLEAR:g}: layer {layers} at epoch {soonest}; {shown}"
    return Claim(
        "fig3a.layers", "fig. 3a", "the symmetry of the weights breaks unevenly over the layers", measured,
        "most broken layer ≥ 2 × median layer",
        at_least(laws[most][0], 2 * middle, _uneven_error(list(laws.values()), laws[most])) if first else None,
    )  # fmt: skip


def _uneven_error(laws: Sequence[Excess], most: Excess) -> float | None:
    """Of the most broken part less twice the median, whose error is at most the largest of all."""
    errors = [error for _, error in laws if error is not None]
    return None if most[1] is None or len(errors) < len(laws) else math.hypot(most[1], 2.0 * max(errors))


def _circuit_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Circuits of every order at initialisation; those without their last weight are only symmetric by S2, S3."""
    record = records[0]
    orders = record["circuits"]["orders"] if record["fresh"] and record["circuits"] else []
    laws = [excess(o["symmetry"]) for o in orders]
    sizes = [f"order {o['order']}: {written(law)}" for o, law in zip(orders, laws, strict=True)]
    bare = [excess(o["last_removed"]) for o in orders if o["last_removed"]]
    note = f"; without the last weight up to {written(max(bare, key=itemgetter(0)))}" if bare else ""
    return Claim(
        "fig3b.symmetry", "fig. 3b", "circuits of order 0, 1 and 2 are symmetric at initialisation",
        f"broken part above chance {', '.join(sizes)}{note}" + rejected(found, "circuits") if sizes else None,
        f"≤ {BROKEN:g} above chance at every order", symmetric(laws),
    )  # fmt: skip
