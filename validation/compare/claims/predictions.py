"""Verdicts on the predictions of the Hessian spectrum, rung by rung, from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from validation.predictions.rung import MOMENT_RUNGS, RUNGS, in_order, title_of
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, Held, all_of, l1_at_most

FACTOR = 2.0  # between predicted and measured risk, up to which a forecast is supported
CLOSE = 0.1  # L1 up to which a prediction is supported


def judge_predictions(records: Sequence[Record]) -> list[Claim]:
    """Every rung but those made of moments of the Hessian itself: these are baselines, and no claims of the paper."""
    rungs = in_order({rung for r in records for rung in r["predictions"]} - set(MOMENT_RUNGS))
    found = [_prediction(rung, [r["predictions"][rung] for r in records if rung in r["predictions"]]) for rung in rungs]
    foretold = in_order({rung for r in records for rung in r.get("forecast") or {}})
    return found + [_forecast(rung, [r for r in records if r.get("forecast")]) for rung in foretold]


def _forecast(rung: str, records: Sequence[Record]) -> Claim:
    """The risk of one network beside that of fresh networks, which differ from one another as it does from them."""
    ratios = [_doublings(r["forecast"][rung]["risk"], r["risk"]) for r in records if r["risk"] > 0.0]
    factors = [2.0**value for value, _ in ratios]
    return Claim(
        f"fig8b.forecast.{rung}", f"fig. 8b, {rung}",
        "the risk through training follows from data, shape and schedule" + f": {title_of(rung)}",
        f"predicted over measured {min(factors):.3g} to {max(factors):.3g}" if factors else "no risk above 0",
        f"within a factor {FACTOR:g} at every epoch, by one standard deviation of a network; refuted from two beyond",
        all_of(l1_at_most(abs(value), math.log2(FACTOR), error) for value, error in ratios) if ratios else None,
    )  # fmt: skip


def _doublings(told: Sequence[float], measured: float) -> tuple[float, float]:
    """log₂ of the mean predicted risk over the measured one, and the standard deviation of single networks in it."""
    if min(told) <= 0.0:  # a network that is through: the others say how far off it may be
        return (math.inf, 0.0) if max(told) <= 0.0 else (math.log2(float(np.mean(told)) / measured), math.inf)
    return math.log2(float(np.mean(told)) / measured), float(np.std(np.log2(told), ddof=1))


def within(rung: str, distances: Iterable[tuple[float, float | None]]) -> Held:
    """Whether every L1, given with its standard error, is at most `CLOSE`.

    One network cannot refute a law of the average network: it differs from the average by an unknown amount.
    """
    held = all_of(l1_at_most(distance, CLOSE, error) for distance, error in distances)
    return UNRESOLVED if held is False and _average(rung) else held


def _average(rung: str) -> bool:
    return rung in RUNGS and RUNGS[rung].average


def _prediction(rung: str, made: Sequence[Record]) -> Claim:
    held, average = within(rung, [(p["l1"], p["l1_standard_error"]) for p in made]), _average(rung)
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
