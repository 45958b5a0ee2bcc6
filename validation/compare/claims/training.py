"""Verdicts on the training itself: risk, accuracy and the growth of signals (fig. 8b, M1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.statistics.claim import Claim, Record


def judge_training(records: Sequence[Record]) -> list[Claim]:
    """Where the training ends, and how signals grow from layer to layer."""
    return [_risk_to_zero(records), _accuracy_to_one(records), _growth(records)]


def _risk_to_zero(records: Sequence[Record]) -> Claim:
    last = records[-1]
    return Claim(
        "fig8b.risk", "fig. 8b", "the training risk reaches 0",
        f"risk {last['risk']:.3g} at epoch {last['epoch']}", "≤ 0.001", last["risk"] <= 1e-3,
    )  # fmt: skip


def _accuracy_to_one(records: Sequence[Record]) -> Claim:
    last = records[-1]
    return Claim(
        "fig8b.accuracy", "fig. 8b", "the training accuracy reaches 1",
        f"accuracy {last['accuracy']:.4f} at epoch {last['epoch']}", "≥ 0.999", last["accuracy"] >= 0.999,
    )  # fmt: skip


def _growth(records: Sequence[Record]) -> Claim:
    """Geometric mean over hidden layers of the growth factor c of mean squares, at every recorded epoch."""
    means = [
        float(np.exp(np.mean(np.log(r["growth"]))))
        for r in records
        if r["growth"] and None not in r["growth"] and min(r["growth"]) > 0
    ]
    return Claim(
        "M1.growth", "sec. II F 4, M1", "the growth factor c of signals per layer stays near 1",
        f"c from {min(means):.2f} to {max(means):.2f}" if means else None,
        "0.5 to 2 at every epoch", min(means) >= 0.5 and max(means) <= 2 if means else None,
    )  # fmt: skip
