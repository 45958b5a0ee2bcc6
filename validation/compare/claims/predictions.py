"""Verdicts on the predictions of the Hessian spectrum, rung by rung, from recorded epochs."""

from __future__ import annotations

from collections.abc import Sequence

from validation.predictions.rung import MOMENT_RUNGS, RUNGS, in_order, title_of
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, all_of, l1_at_most

CLOSE = 0.1  # L1 up to which a prediction is supported


def judge_predictions(records: Sequence[Record]) -> list[Claim]:
    """Every rung but those made of moments of the Hessian itself: these are baselines, and no claims of the paper."""
    rungs = in_order({rung for r in records for rung in r["predictions"]} - set(MOMENT_RUNGS))
    return [_prediction(rung, [r["predictions"][rung] for r in records if rung in r["predictions"]]) for rung in rungs]


def _prediction(rung: str, made: Sequence[Record]) -> Claim:
    """One network cannot refute a law of the average network: it differs from the average by an unknown amount."""
    held = all_of(l1_at_most(p["l1"], CLOSE, p["l1_standard_error"]) for p in made)
    average = rung in RUNGS and RUNGS[rung].average
    if average and held is False:
        held = UNRESOLVED
    distances, errors = ([p[name] for p in made] for name in ("l1", "l1_standard_error"))
    known = all(error is not None for error in errors)
    return Claim(
        f"fig8a.prediction.{rung}", f"fig. 8a, {rung}",
        f"the Hessian spectrum follows from what {rung} knows" + (f": {title_of(rung)}" if title_of(rung) else ""),
        f"L1 {min(distances):.3f} to {max(distances):.3f}, standard error "
        + (f"up to {max(errors):.3f}" if known else "unknown")
        + ("; one network beside the average of many" if average else ""),
        f"L1 ≤ {CLOSE:g} at every epoch, by one standard error; refuted from two above it", held,
    )  # fmt: skip
