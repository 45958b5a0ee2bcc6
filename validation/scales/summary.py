"""What the laws of several networks say together: distances between scales, their null, and the claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from validation.measurements.scales import SCALES
from validation.statistics.claim import Claim
from validation.statistics.decide import Held, all_of, at_most
from validation.statistics.estimate import combined, estimate, written
from validation.statistics.sizes import size_distance

Record = dict[str, Any]
Mean = dict[str, Any]

TOLERANCE = 0.1
"""Nats by which laws may differ beyond what two networks differ by: a tenth of a size."""
SIGNED = 0.1
"""How much of Σ|v| the sum Σv may be for a law that counts as symmetric."""
PAIRS = list(combinations(SCALES, 2))


def summary(cells: Sequence[Record]) -> Record:
    """Means over networks, epoch by epoch, and the claims."""
    used = [cell for cell in cells if cell["diverged"] is None]
    epochs = [_epoch(records) for records in zip(*(cell["records"] for cell in used), strict=True)]
    through = {name: estimate([d for cell in used if (d := _through(cell, name)) is not None]) for name in SCALES}
    products = [_products(cell) for cell in used]
    signed = {name: estimate([s for cell in used if (s := _signed(cell, name)) is not None]) for name in SCALES}
    found = {
        "diverged": ", ".join(f"seed {c['seed']} ({c['diverged']})" for c in cells if c["diverged"] is not None),
        "epochs": epochs,
        "through_training": through,
        "signed": signed,
        "products": {
            name: {key: estimate([p[name][key] for p in products if name in p]) for key in ("distance", "chance")}
            for name in SCALES
        },
    }
    return found | {"checks": [claim.record() for claim in claims(found)]}


def _epoch(records: Sequence[Record]) -> Record:
    """One epoch: means over networks of every number, and the distances between scales and between networks."""
    laws = [record["laws"] for record in records]
    found: Record = {"epoch": records[0]["epoch"]}
    for key in ("risk", "accuracy", "active", "eigenvalue_error"):
        found[key] = estimate([r[key] for r in records if r[key] is not None])
    found["scales"] = {
        name: {key: estimate([law[name][key] for law in laws if law[name]]) for key in
               ("spread", "factors", "signed", "zeros")} for name in SCALES
    }  # fmt: skip
    found["distances"] = [
        {"between": list(pair), "distance": estimate([d for law in laws if (d := _between(law, *pair)) is not None])}
        for pair in PAIRS
    ]
    found["null"] = {name: _null([law[name] for law in laws if law[name]]) for name in SCALES}
    return found


def _between(laws: Record, first: str, second: str) -> float | None:
    """W1 of two scales of one network."""
    if laws[first] is None or laws[second] is None:
        return None
    return size_distance(laws[first]["quantiles"], laws[second]["quantiles"])


def _null(laws: Sequence[Record]) -> float | None:
    """The mean W1 of one scale of two networks; None for a single one."""
    apart = [size_distance(a["quantiles"], b["quantiles"]) for a, b in combinations(laws, 2)]
    return float(np.mean(apart)) if apart else None


def _through(cell: Record, name: str) -> float | None:
    """W1 of one scale between the first and the last record where it is not 0."""
    laws = [record["laws"][name] for record in cell["records"] if record["laws"][name]]
    return size_distance(laws[0]["quantiles"], laws[-1]["quantiles"]) if len(laws) > 1 else None


def _signed(cell: Record, name: str) -> float | None:
    """Σv / Σ|v| of one scale, its mean over the records where it is not 0."""
    found = [record["laws"][name]["signed"] for record in cell["records"] if record["laws"][name]]
    return float(np.mean(found)) if found else None


def _products(cell: Record) -> Mapping[str, Mapping[str, float]]:
    """W1 of the circuits at initialisation to products of Gaussians; empty where the first record is later."""
    start = cell["records"][0]
    return start["products"] if start["epoch"] == 0 else {}


def claims(found: Record) -> Iterator[Claim]:
    """Are the laws alike, are they symmetric, do they stay; and is the measurement right where the law is known?"""
    yield _alike(found["epochs"])
    yield _symmetric(found["signed"])
    yield _stable(found)
    yield _known(found["products"])


def _excess(distance: Mean | None, null: float | None, names: Sequence[str], epochs: Sequence[Record]) -> Held:
    """Whether a distance is at most the null's and the tolerance; its error includes that of Lanczos quadrature."""
    if distance is None:
        return None
    steps = [e["eigenvalue_error"]["value"] for e in epochs if "eigenvalues" in names and e["eigenvalue_error"]]
    error = combined(distance["standard_error"], max(steps, default=0.0))
    return at_most(distance["value"], (null or 0.0) + TOLERANCE, error)


def _apart(epochs: Sequence[Record]) -> list[tuple[Record, Record, float | None]]:
    """(epoch, its row of two scales, their null) of every distance that is known."""
    return [(e, row, _pair_null(e, row["between"])) for e in epochs for row in e["distances"] if row["distance"]]


def furthest(epochs: Sequence[Record]) -> tuple[Record, Record, float | None] | None:
    """The epoch and the row of the two scales furthest apart beyond what two networks differ by, and that null."""
    return max(_apart(epochs), key=lambda r: float(r[1]["distance"]["value"] - (r[2] or 0.0)), default=None)


def _through_training(found: Mapping[str, Any]) -> list[tuple[str, Mean, float]]:
    """(scale, its W1 from the first record to the last, the largest null of the scale) where it is known."""
    nulls = {name: max((e["null"][name] or 0.0 for e in found["epochs"]), default=0.0) for name in SCALES}
    return [(name, mean, nulls[name]) for name, mean in found["through_training"].items() if mean is not None]


def moved(found: Mapping[str, Any]) -> tuple[str, Mean, float] | None:
    """The scale whose law training moves furthest beyond what two networks differ by, its W1, and that null."""
    return max(_through_training(found), key=lambda r: float(r[1]["value"] - r[2]), default=None)


def _alike(epochs: Sequence[Record]) -> Claim:
    rows, most = _apart(epochs), furthest(epochs)
    measured = None
    if most is not None:
        epoch, row, null = most
        first, second = row["between"]
        numbers = [float(mean["value"]) for e in epochs for name in SCALES if (mean := e["scales"][name]["factors"])]
        measured = (
            f"largest excess: W1 {written(row['distance'])} nats, between {SCALES[first]} and {SCALES[second]} at "
            f"epoch {epoch['epoch']}, where two networks differ by {'–' if null is None else format(null, '.2g')}; "
            f"{min(numbers):.1f} to {max(numbers):.1f} Gaussian factors{_steps(epochs)}"
        )
    return Claim(
        "scales.alike", "Section III, figs. 4a, 6a, 8a",
        "circuits, entries of the gradient and of the Hessian, and eigenvalues have one law, up to a factor",
        measured, f"≤ {TOLERANCE} nats more than one scale of two networks",
        all_of(_excess(row["distance"], null, row["between"], [e]) for e, row, null in rows),
    )  # fmt: skip


def _steps(epochs: Sequence[Record]) -> str:
    """What a quarter fewer Lanczos steps change, where eigenvalues are nodes."""
    most = max((e["eigenvalue_error"]["value"] for e in epochs if e["eigenvalue_error"]), default=0.0)
    return f"; fewer Lanczos steps change the law of the eigenvalues by up to {most:.2g} nats" if most > 0 else ""


def _pair_null(epoch: Record, pair: Sequence[str]) -> float | None:
    """The larger null of the two scales."""
    return max((n for name in pair if (n := epoch["null"][name]) is not None), default=None)


def _symmetric(signed: Mapping[str, Mean | None]) -> Claim:
    rows = {name: mean for name, mean in signed.items() if mean is not None}
    measured = None
    if rows:
        name = max(rows, key=lambda n: abs(rows[n]["value"]))
        measured = f"mean of Σv / Σ|v| over the records up to {written(rows[name])} in size, {SCALES[name]}"
    return Claim(
        "scales.symmetric", "Section III, figs. 4a, 6a, 8a", "every scale is symmetric about 0 through training",
        measured, f"at most {SIGNED} in size at every scale",
        all_of(at_most(abs(mean["value"]), SIGNED, mean["standard_error"]) for mean in rows.values()),
    )  # fmt: skip


def _stable(found: Record) -> Claim:
    measured, most = None, moved(found)
    if most is not None:
        name, mean, null = most
        measured = f"largest excess: W1 {written(mean)} nats, {SCALES[name]}; two networks differ by up to {null:.2g}"
    return Claim(
        "scales.stable", "Section III, figs. 4a, 6a, 8a", "the law of every scale stays the same through training",
        measured, f"first to last record ≤ {TOLERANCE} nats more than two networks",
        all_of(_excess(d, null, [name], found["epochs"]) for name, d, null in _through_training(found)),
    )  # fmt: skip


def _known(products: Mapping[str, Mapping[str, Mean | None]]) -> Claim:
    kept = ((name, made["distance"], made["chance"]) for name, made in products.items())
    rows = [(name, far, near) for name, far, near in kept if far is not None and near is not None]
    said = ", ".join(f"{SCALES[name]}: {written(far)} (a sample {written(near)})" for name, far, near in rows)
    return Claim(
        "scales.product", "eq. (14), fig. 3b",
        "at initialisation a live circuit of order k is a product of an input and L - k independent Gaussians",
        said or None, f"W1 ≤ {TOLERANCE} nats more than that of as many draws",
        all_of(
            at_most(far["value"] - near["value"], TOLERANCE, combined(far["standard_error"], near["standard_error"]))
            for _, far, near in rows
        ),
    )  # fmt: skip
