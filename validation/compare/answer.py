"""The answer of a comparison in one sentence, and where the prediction fails: made from the numbers of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validation.compare.claims.predictions import CLOSE, within
from validation.predictions.rung import MOMENT_RUNGS, RUNGS, in_order, named
from validation.predictions.structure import CLOSE_LARGEST
from validation.statistics.decide import SIGMAS, UNRESOLVED, Held, at_most, l1_at_most
from validation.statistics.estimate import NEGLIGIBLE, combined, plus_minus
from validation.statistics.extremes import SIDES

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """How near one rung comes to the measured density: `distance` is its L1 with a standard error."""

    rung: str
    distance: Record

    @property
    def baseline(self) -> bool:
        """Whether it is made of moments of the Hessian itself: such a rung makes no claim."""
        return self.rung in MOMENT_RUNGS

    @property
    def held(self) -> Held:
        """Whether L1 ≤ `CLOSE`, as the claims decide it; None for a baseline."""
        if self.baseline:
            return None
        return within(self.rung, [(self.distance["value"], self.distance["standard_error"])])

    @property
    def verdict(self) -> str:
        if self.held is None:
            return "baseline"
        return "not resolved" if self.held is UNRESOLVED else "supported" if self.held else "not supported"

    def __str__(self) -> str:
        return f"{named(self.rung)}, L1 {written(self.distance)}"


def answered(data: Record) -> Record | None:
    """The last recorded epoch with a prediction, of which the answer speaks."""
    return next((epoch for epoch in reversed(data["epochs"]) if epoch["predictions"]), None)


def standings(epoch: Record) -> list[Standing]:
    """Every rung with a prediction at an epoch, the nearest first, baselines last."""
    made = [Standing(rung, _distance(epoch["predictions"][rung])) for rung in in_order(epoch["predictions"])]
    return sorted(made, key=lambda one: (one.baseline, one.distance["value"]))


def answer(data: Record) -> str:
    """One sentence, without its stop: which rung predicts the spectrum best, how well, and what a baseline does.

    At the last epoch with a prediction. Baselines, made of moments of H, are the best only where they are alone.
    """
    if not data["epochs"]:
        return "No epoch is recorded yet"
    epoch = answered(data)
    if epoch is None:
        zero = all(_rms(e) == 0 for e in data["epochs"])
        return "H = 0 at every recorded epoch" if zero else "No prediction was made at the recorded epochs"
    best, *others = standings(epoch)
    baseline = next((one for one in others if one.baseline), None)
    as_near = _as_near(best, others)
    beside = f"; the best baseline, {named(baseline.rung)}, has {written(baseline.distance)}" if baseline else ""
    return (
        f"At epoch {epoch['epoch']} the Hessian spectrum is predicted best by {best}, {_judged(best)}{as_near}{beside}"
    )


def _as_near(best: Standing, others: Sequence[Standing]) -> str:
    """Rungs that the measurement cannot tell from the best one."""
    reach = best.distance["value"] + (best.distance["standard_error"] or 0.0)
    count = sum(not one.baseline and one.distance["value"] <= reach for one in others)
    return f"; {count} other rung{'s are' if count > 1 else ' is'} as near, within that error" if count else ""


def _judged(best: Standing) -> str:
    if best.baseline:
        return "a baseline, which makes no claim"
    if best.held is True:
        return f"within the bound of {CLOSE:g}"
    if best.held is False:
        return f"which fails: the bound is {CLOSE:g}"
    if best.distance["standard_error"] is None:
        return f"of unknown standard error, so the bound of {CLOSE:g} decides nothing"
    if best.rung in RUNGS and RUNGS[best.rung].average and best.distance["value"] > CLOSE:
        return f"beyond the bound of {CLOSE:g}, as one network may be beside the average of many"
    return f"too near the bound of {CLOSE:g} to decide"


def failures(data: Record) -> list[str]:
    """Where the best rung of the answer fails, and which rungs do: sentences with numbers; none where nothing does."""
    epoch = answered(data)
    if epoch is None:
        return []
    best, *others = standings(epoch)
    made, law = epoch["predictions"][best.rung], epoch["spectrum"]
    far = [one for one in others if not one.baseline and one.distance["value"] > CLOSE]
    beyond = f"Beyond L1 {CLOSE:g} at epoch {epoch['epoch']}: {'; '.join(map(str, far))}." if far else ""
    found = [*_through_training(data, best), _bulk(best.rung, made, law), *_largest(best.rung, made, law), beyond]
    return [text for text in found if text]


def _through_training(data: Record, best: Standing) -> list[str]:
    """The recorded epochs at which the best rung is beyond the bound, and those at which it was not made."""
    every = [(e["epoch"], Standing(best.rung, _distance(e["predictions"][best.rung])))
             for e in data["epochs"] if best.rung in e["predictions"]]  # fmt: skip
    at = [f"{epoch} (L1 {written(one.distance)})" for epoch, one in every if one.held is False]
    absent = [str(e["epoch"]) for e in data["epochs"] if best.rung not in e["predictions"] and e["spectrum"]["rms"] > 0]
    return [
        f"{best.rung} is beyond L1 {CLOSE:g} at {len(at)} of {len(every)} epochs: {', '.join(at)}." if at else "",
        f"{best.rung} was not made at epoch{'s' * (len(absent) > 1)} {', '.join(absent)}." if absent else "",
    ]


def _bulk(rung: str, made: Record, law: Record) -> str:
    """The eigenvalues that the smoothing lays on the peak at 0."""
    value, error = made.get("log_distance"), law.get("bulk", {}).get("log_standard_error")
    if value is None or l1_at_most(value, CLOSE, error) is not False:
        return ""
    distance = plus_minus({"value": value, "standard_error": error})
    return f"Within the peak at 0, which L1 does not resolve, the laws of log |λ| are {distance} from {rung}'s."


def _largest(rung: str, made: Record, law: Record) -> list[str]:
    """The outermost eigenvalue on either side, where it is more than a tenth off: single networks differ."""
    found = []
    for side in SIDES:
        seen, told = (part.get("largest", {}).get(side, [])[:1] for part in (law, made.get("tails", {})))
        if not seen or not told:
            continue
        (one,), (other,) = seen, told
        error = combined(one["standard_error"], other["standard_error"] or 0.0)
        if at_most(abs(one["value"] - other["value"]), CLOSE_LARGEST * abs(one["value"]), error, SIGMAS) is False:
            found.append(
                f"The outermost {side} eigenvalue is {_rms_units(one)} rms; {rung} expects {_rms_units(other)}."
            )
    return found


def _rms_units(value: Record) -> str:
    """An eigenvalue; an error that does not show in its digits is left out."""
    error = value["standard_error"]
    return plus_minus(value) if error and error > abs(value["value"]) / NEGLIGIBLE else f"{value['value']:.3g}"


def written(distance: Record) -> str:
    """An L1 and its standard error."""
    return plus_minus(distance) if distance["standard_error"] else f"{distance['value']:.3g}"


def _distance(prediction: Record) -> dict[str, Any]:
    if isinstance(prediction["l1"], Mapping):  # a mean over seeds
        return dict(prediction["l1"])
    return {"value": prediction["l1"], "standard_error": prediction.get("l1_standard_error")}


def _rms(epoch: Record) -> float:
    if "spectrum" in epoch:
        return float(epoch["spectrum"]["rms"])
    return float((epoch["rms"] or {"value": 0.0})["value"])  # a mean over seeds
