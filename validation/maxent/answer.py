"""The answer of the network that is learned scale by scale in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.text import verdict_of
from validation.statistics.estimate import written

Record = Mapping[str, Any]


def answer(data: Record) -> str:
    """One sentence, without its stop: what the chain form loses, and how the stack predicts the label of new digits."""
    digits, claims = data["digits"], data["checks"]
    scales = [s for s in digits["scales"] if s["weights"] < s["multipliers"]]
    lost = " and ".join(f"{written(s['share'])} ({s['events']})" for s in scales)
    return (
        f"The hierarchical form loses {lost} of what couplings say of the digits (it keeps this: "
        f"{verdict_of(claims, 'eq4.loss')}); its accuracy is below that of back-propagation by "
        f"{written(digits['accuracy_gap'])} (as good: {verdict_of(claims, 'maxent.stack')}); modified for the label it "
        f"gains {written(digits['likelihood_gain'])} nats an example ({verdict_of(claims, 'maxent.modified')})"
    )
