"""The answer of the exact report in one sentence, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation.report.text import facts_in_words, verdicts_in_words

from .cases import select

Record = Mapping[str, Any]
NAMES = {
    ("exact", "line search"): "exact with line search",
    ("exact", "fixed step"): "exact with fixed step",
    ("monte_carlo", "fixed step"): "Monte Carlo",
    ("zero_temperature", "fixed step"): "zero temperature",
}


def medians(data: Record) -> dict[str, float]:
    """The divergence, in nats, that every E-step leaves at the end: the median over starts."""
    found = {}
    for (e_step, rule), name in NAMES.items():
        t = 0.0 if e_step == "zero_temperature" else data["learning"]["temperature"]
        ends = sorted(run["kl"][-1] for run in select(data["runs"], e_step=e_step, rule=rule, temperature=t))
        found[name] = max((ends[(len(ends) - 1) // 2] + ends[len(ends) // 2]) / 2, 0.0)
    return found


def answer(data: Record) -> str:
    """One sentence, without its stop: which E-step learns best, whether all exact facts hold, and the other claims."""
    (best, nats), *others = sorted(medians(data).items(), key=lambda pair: pair[1])
    beside = ", ".join(f"{value:.2g} ({name})" for name, value in others)
    run = select(data["runs"], e_step="exact", rule="line search", temperature=data["learning"]["temperature"])[0]
    claims = data["checks"]
    tested = verdicts_in_words([c for c in claims if not c["exact"]])
    return (
        f"After {len(run['kl']) - 1} iterations the E-step nearest to the law of the labels is {best}: a median of "
        f"{nats:.2g} nats, beside {beside}; {facts_in_words(claims)}; claims on Monte Carlo estimates: {tested}"
    )
