"""Verdicts on the gradient: symmetry of its entries, and the order parameter (figs. 4a, 4b)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import linregress

from validation.statistics.claim import Claim, Record

from .law import BROKEN, excess, excess_of, mean_excess, rejected, span, symmetric


def judge_gradient(records: Sequence[Record], found: Record, learning_rate: float) -> list[Claim]:
    """Laws of gradient entries, and the order parameter beside the risk."""
    return [
        _gradient_symmetry(records, found),
        _gradient_layers(records),
        _proportional(records),
        _decade(records, learning_rate),
    ]


def _gradient_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """The law of all gradient entries stays symmetric; epochs without gradient say nothing."""
    laws = [excess(law) for r in records if (law := r["gradient_symmetry_all"])["value"] is not None]
    return Claim(
        "fig4a.symmetry", "fig. 4a", "the law of all gradient entries is symmetric through training",
        f"broken part {span(laws)}" + rejected(found, "whole gradient")
        if laws else None,
        f"≤ {BROKEN:g} above chance at every epoch", symmetric(laws),
    )  # fmt: skip


def _gradient_layers(records: Sequence[Record]) -> Claim:
    """Layer by layer, which the law of all entries may hide: the mean over layers of the broken part."""
    laws = [mean_excess(layers) for r in records if (layers := excess_of(r, "gradient_symmetry"))]
    return Claim(
        "fig4a.layers", "fig. 4a", "gradient entries are symmetric in every layer through training",
        f"mean broken part of a layer {span(laws)}" if laws else None,
        f"≤ {BROKEN:g} above chance at every epoch", symmetric(laws),
    )  # fmt: skip


def _proportional(records: Sequence[Record]) -> Claim:
    points = [(r["risk"], r["order_parameter"]) for r in records if r["risk"] > 0 and r["order_parameter"] > 0]
    text = "the order parameter ||∇R||² decreases as the risk does"
    if len(points) < 3 or len({p[0] for p in points}) < 3:
        return Claim("fig4b.proportional", "fig. 4b", text, None, "slope 1 of log-log", None)
    fit = linregress(*np.log(np.array(points)).T)
    return Claim(
        "fig4b.proportional", "fig. 4b", text,
        f"log-log slope {fit.slope:.2f} ± {fit.stderr:.2f}, correlation {fit.rvalue:.2f}",
        "slope 1 within 0.5, correlation ≥ 0.8", bool(abs(fit.slope - 1) <= 0.5 and fit.rvalue >= 0.8),
    )  # fmt: skip


def _decade(records: Sequence[Record], learning_rate: float) -> Claim:
    logs = [
        np.log10(r["risk"] / (learning_rate * r["order_parameter"]))
        for r in records
        if r["risk"] > 0 and r["order_parameter"] > 0
    ]
    middle = float(np.median(logs)) if logs else None
    return Claim(
        "fig4b.decade", "fig. 4b", "learning rate × order parameter lies about one decade below the risk",
        f"median {middle:.2f} decades, from {min(logs):.2f} to {max(logs):.2f}" if logs else None,
        "0.5 to 1.5 decades", None if middle is None else 0.5 <= middle <= 1.5,
    )  # fmt: skip
