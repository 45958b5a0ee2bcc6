"""Verdicts on the laws of weights and circuits (figs. 3a, 3b), from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import Held, all_of, at_least, at_most, most_of
from validation.statistics.estimate import combined, plus_minus

from .law import BROKEN, Excess, excess, excess_of, rejected, symmetric, written

CLEAR = 0.05  # broken symmetry above chance from which a layer counts as broken
SMALL = 0.1  # broken share of the circuits, in magnitude, up to which the rest is a reservoir


def judge_weights(records: Sequence[Record], found: Record) -> list[Claim]:
    """Laws of weights and of circuits; `found`: counts of rejected tests of symmetry by kind."""
    return [
        _weight_symmetry(records, found),
        _weight_layers(records),
        _circuit_symmetry(records, found),
        _aligned(records),
    ]


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
    shown = f"most at epoch {last['epoch']}: layer {most} ({written(laws[most])} above chance), median {middle:z.3f}"
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
    """Circuits of every order at initialisation; those without their last weight are only symmetric by S2, S3.

    Drawn uniformly, small ones and large ones alike, at examples of both classes in one heap: what leans to the labels
    cancels there, and `_aligned` measures it.
    """
    record = records[0]
    orders = record["circuits"]["orders"] if record["fresh"] and record["circuits"] else []
    laws = [excess(o["symmetry"]) for o in orders]
    sizes = [f"order {o['order']}: {written(law)}" for o, law in zip(orders, laws, strict=True)]
    bare = [excess(o["last_removed"]) for o in orders if o["last_removed"]]
    note = f"; without the last weight up to {written(max(bare, key=itemgetter(0)))}" if bare else ""
    return Claim(
        "fig3b.symmetry", "fig. 3b",
        "circuits of order 0, 1 and 2, drawn uniformly, classes pooled, are symmetric at initialisation",
        f"broken part above chance {', '.join(sizes)}{note}" + rejected(found, "circuits") if sizes else None,
        f"≤ {BROKEN:g} above chance at every order", symmetric(laws),
    )  # fmt: skip


def _aligned(records: Sequence[Record]) -> Claim:
    """The broken share Σ_e y_e T(x_e) / Σ_e Σ_i |x_{e,i_0} Ψ_i|: larger at the last epoch, small at every one.

    Errors are over the examples. The start is not judged: at initialisation the share is one draw of a law that is
    symmetric about 0 exactly (S1), whose standard deviation (``chance``) is told beside it.
    """
    seen = [(r["epoch"], r["aligned"]) for r in records if r["aligned"]["value"] is not None]
    grows = _growth(seen[0][1], seen[-1][1]) if len(seen) > 1 else None
    small = all_of(at_most(share["value"], SMALL, share["standard_error"]) for _, share in seen)
    return Claim(
        "fig3b.aligned", "fig. 3b, sec. II D",
        "the broken share of the circuits, weighted by magnitude and aligned with the labels, grows through training "
        "and stays small",
        _told(seen) if seen else None,
        f"larger at the last epoch than at the first, ≤ {SMALL:g} at every epoch, each by two standard errors",
        all_of([grows, small]),
    )  # fmt: skip


def _growth(first: Record, last: Record) -> Held:
    """The same examples are in both, mostly to the same side, so that the error of a difference is rather too large."""
    error = combined(first["standard_error"], last["standard_error"])
    return at_least(last["value"] - first["value"], 0.0, error)


def _told(seen: Sequence[tuple[int, Record]]) -> str:
    ends = [*seen[:1], *seen[1:][-1:]]
    shares = " → ".join(f"{plus_minus(share)} at epoch {epoch}" for epoch, share in ends)
    chance = " → ".join(f"{share['chance']:.2g}" for _, share in ends)
    classes = [
        f"{name} examples {' → '.join(plus_minus(share['classes'][name]) for _, share in ends)}"
        for name in ("negative", "positive")
        if all(share["classes"][name]["value"] is not None for _, share in ends)
    ]
    return "; ".join([shares, f"random signs of W_L give ± {chance}", *classes])
