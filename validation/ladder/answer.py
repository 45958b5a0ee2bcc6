"""The answer of the ladder in one sentence, and every rung beside the best baseline: made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from validation.predictions.rung import MOMENT_RUNGS, RUNGS, named
from validation.statistics.decide import SIGMAS, UNRESOLVED, at_most
from validation.statistics.estimate import combined, plus_minus

from .cases import rung_error

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """A rung over the shapes that it was predicted for: ``errors``, L1 with standard errors, by the shape's name.

    ``nearer``, ``further``, ``undecided``: numbers of these shapes in which it is so much nearer to the measured
    spectrum than the best baseline, by two standard errors; all 0 for a baseline, and where there is none.
    """

    rung: str
    errors: Mapping[str, Record]
    nearer: int = 0
    further: int = 0
    undecided: int = 0

    @property
    def mean(self) -> float:
        return float(np.mean([e["l1"] for e in self.errors.values()]))

    @property
    def reach(self) -> str:
        """The smallest and the largest L1."""
        least, most = (chosen(self.errors.values(), key=lambda e: e["l1"]) for chosen in (min, max))
        return _written(least) if least is most else f"{_written(least)} to {_written(most)}"


def _written(error: Record) -> str:
    return plus_minus({"value": error["l1"], "standard_error": error["standard_error"]})


def standings(data: Record) -> list[Standing]:
    """Every rung that was predicted, by its mean L1, those of most shapes first; baselines last."""
    shapes = {case["name"]: case for case in data["cases"]}
    every = {rung: {n: e for n, c in shapes.items() if (e := rung_error(c, rung)) is not None} for rung in RUNGS}
    made = {rung: errors for rung, errors in every.items() if errors}
    baselines = _sorted([Standing(rung, errors) for rung, errors in made.items() if rung in MOMENT_RUNGS])
    against = baselines[0].errors if baselines else {}
    others = [_compared(rung, errors, against) for rung, errors in made.items() if rung not in MOMENT_RUNGS]
    return [*_sorted(others), *baselines]


def _sorted(rungs: Sequence[Standing]) -> list[Standing]:
    return sorted(rungs, key=lambda one: (-len(one.errors), one.mean))


def _compared(rung: str, errors: Mapping[str, Record], against: Mapping[str, Record]) -> Standing:
    held = []
    for name in errors.keys() & against.keys():
        one, other = errors[name], against[name]
        error = combined(one["standard_error"], other["standard_error"])
        held.append(at_most(one["l1"] - other["l1"], 0.0, error, SIGMAS))
    counts = (sum(h is verdict for h in held) for verdict in (True, False, UNRESOLVED))
    return Standing(rung, errors, *counts)


def answer(data: Record) -> str:
    """One sentence, without its stop: the rung that is nearest to the measured spectra, how near, and the baseline."""
    found = standings(data)
    if not found:
        return "No rung was predicted"
    best, baseline = found[0], next((one for one in found if one.rung in MOMENT_RUNGS), None)
    count = len(data["cases"])
    shapes = f"{count} network shape{'s' * (count != 1)}"
    text = f"At initialisation {named(best.rung)} is nearest to the measured spectra of {shapes}: L1 {best.reach}"
    if len(best.errors) < count:
        text += f" in the {len(best.errors)} with a prediction"
    if baseline is None or baseline is best:
        return text + (", a baseline, which makes no claim" if baseline is best else "")
    return (
        f"{text}; it is nearer than the best baseline, {named(baseline.rung)}, in {best.nearer} of them, further in "
        f"{best.further} and not resolved in {best.undecided}{_trained(data, best.rung)}"
    )


def _trained(data: Record, rung: str) -> str:
    """Its largest L1 through training, where it sees a network."""
    seen = [
        (record["rungs"][rung], record["step"])
        for case in data["training"]
        for record in case["records"]
        if record["rungs"].get(rung)
    ]
    if not seen:
        return ""
    worst, step = max(seen, key=lambda pair: float(pair[0]["l1"]))
    return f"; through training its largest L1 is {_written(worst)}, at step {step}"


def failures(data: Record) -> list[str]:
    """Rungs that are not nearer than the best baseline everywhere, and those without a number: sentences."""
    found = standings(data)
    baseline = next((one.rung for one in found if one.rung in MOMENT_RUNGS), None)
    texts = []
    for one in found:
        if one.further or one.undecided:
            undecided = f", and not resolved in {one.undecided}" if one.undecided else ""
            texts.append(f"{named(one.rung)} is further than {baseline} in {one.further} of {len(one.errors)} "
                         f"shapes{undecided}: L1 {one.reach}.")  # fmt: skip
        if absent := len(data["cases"]) - len(one.errors):
            texts.append(f"{named(one.rung)} was not predicted in {absent} of {len(data['cases'])} shapes.")
    return texts
