"""Verdicts on what novel examples do to a trained network, decided by the standard error over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from validation.statistics.claim import Claim
from validation.statistics.decide import Held, all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

from .cell import Record
from .facts import exact_facts
from .summary import (
    Number,
    absorbed_after,
    by_seed,
    excited,
    from_rest,
    geometric,
    in_passes,
    in_stage,
    jump,
    passed,
    rested,
    rounds_of,
    share,
    twin_of,
    widths_of,
)

Cells = Sequence[Record]
FEWEST_SEEDS = 3  # below, a standard error is too rough to decide by
MOST = 0.95  # of the rounds, where all are claimed
FACTOR = 1.25  # of a time, up to which it counts as no longer
ALIKE = 0.5  # of log2, up to which two ends of a spectrum count as alike
HALF, RATE = -1.0, 1.0  # of log2


def judge(cells: Cells, most: int, batch_size: int, dtype: str) -> list[Claim]:
    """All claims of a run, at most `most` updates a round; all but the facts are of networks that came to risk 0."""
    seen = rested(cells)
    exact = exact_facts(cells, seen, dtype)
    jumps = [_jump(seen), _class(seen), _absorbed(seen), _flat(seen), _rate(seen)]
    inside = [_spectrum(seen), _mirror(seen), _circuits(seen)]
    return [*exact, *jumps, *inside, _wear(seen, most), _rounds(seen, most, batch_size), _size(seen, most)]


def largest(cells: Cells) -> list[Record]:
    """The cells of the largest width."""
    return [c for c in cells if c["width"] == max(widths_of(cells))]


def _decided(value: Record | None, how: Callable[[float, float, float | None], Any], bound: float) -> Held:
    """A verdict on a mean over seeds; not resolved below `FEWEST_SEEDS`."""
    if value is None:
        return None
    error = value["standard_error"] if value["networks"] >= FEWEST_SEEDS else None
    held: Held = how(value["value"], bound, error)
    return held


def _told(value: Record | None) -> str:
    """A mean ± its error."""
    return "–" if value is None else plus_minus(value)


def as_factor(log2: Record) -> Record:
    """2^mean, with its error, of a mean of log2."""
    middle, error = 2.0 ** log2["value"], log2["standard_error"]
    return log2 | {"value": middle, "standard_error": None if error is None else middle * math.log(2.0) * error}


def _factor(log2: Record | None) -> str:
    return _told(None if log2 is None else as_factor(log2))


def _per_width(
    cells: Cells, value: Callable[[list[Record]], float | None], words: Callable[[Record | None], str]
) -> str:
    parts = []
    for width in widths_of(cells):
        of_width = [c for c in cells if c["width"] == width]
        parts.append(f"{width:g}: {words(by_seed(of_width, value))}")
    return "; by width " + ", ".join(parts) if len(parts) > 1 else ""


def _share_of(kept: Callable[[Record], bool], *kinds: str) -> Callable[[list[Record]], float | None]:
    """The share of the rounds with errors of which something is true."""

    def value(cells: list[Record]) -> float | None:
        shown = [s for s in rounds_of(cells, *kinds) if excited(s)]
        return sum(map(kept, shown)) / len(shown) if shown else None

    return value


def _log2(number: Number, *kinds: str) -> Callable[[list[Record]], float | None]:
    """log2 of the geometric mean of a number over rounds."""

    def value(cells: list[Record]) -> float | None:
        found = geometric(number(s) for s in rounds_of(cells, *kinds))
        return None if found is None else math.log2(found)

    return value


def _ratio(top: Number, bottom: Number) -> Number:
    def value(shown: Record) -> float | None:
        a, b = top(shown), bottom(shown)
        return abs(a / b) if a and b else None

    return value


# The jump and the way back


def _jump(cells: Cells) -> Claim:
    value = by_seed(cells, _share_of(lambda s: s["points"][0]["order_parameter"] > 0.0))
    of_kinds = [
        f"{kind} {_factor(by_seed(cells, _log2(jump('order_parameter'), kind)))}"
        for kind in ("same", "new")
        if rounds_of(cells, kind)
    ]
    return Claim(
        "novel.jump", "sec. II F 5 a", "the order parameter is nonzero when novel examples have errors",
        f"in a share of {_told(value)} of the rounds; ||∇R||² jumps to {', '.join(of_kinds)}" if value else None,
        f"share ≥ {MOST:g}", _decided(value, at_least, MOST),
    )  # fmt: skip


def class_ratio(cells: Cells) -> Record | None:
    """log2 of the jump of the risk for a new class over that for known ones, in the first round; a mean over seeds."""

    def value(seen: list[Record]) -> float | None:
        ratios = []
        for cell in seen:
            first = [jump("risk")(s) for k in ("new", "same") for s in from_rest(cell, k) if s["round"] == 1]
            if len(first) == 2 and first[0] and first[1]:
                ratios.append(math.log2(first[0] / first[1]))
        return float(np.mean(ratios)) if ratios else None

    return by_seed(cells, value)


def _class(cells: Cells) -> Claim:
    found = class_ratio(cells)
    return Claim(
        "novel.class", "abstract, sec. II E 2", "examples of a new class perturb more than those of known classes",
        f"jump of the risk {_factor(found)} times as high" if found else None,
        "ratio > 1", _decided(found, at_least, 0.0),
    )  # fmt: skip


def _absorbed(cells: Cells) -> Claim:
    value = _share_of(lambda s: s["outcome"] == "zero")
    wide = largest(cells) if cells else []
    found = by_seed(wide, value)
    return Claim(
        "novel.absorbed", "abstract, sec. II F 5 c", "a large network absorbs all perturbations: the risk returns to 0",
        f"share {_told(found)} of the rounds at width {max(widths_of(cells)):g}{_per_width(cells, value, _told)}"
        if found else None,
        f"share ≥ {MOST:g} at the largest width", _decided(found, at_least, MOST),
    )  # fmt: skip


def _flat(cells: Cells) -> Claim:
    """A gradient of 0 at a risk above 0: dead examples, a stationary point that is no saddle."""
    value = _share_of(lambda s: s["outcome"] == "flat")
    found = by_seed(cells, value)
    widths = [by_seed([c for c in cells if c["width"] == width], value) for width in widths_of(cells)]
    return Claim(
        "novel.flat", "sec. II F 5 c", "descent is not trapped at a risk above 0 with ∇R = 0",
        f"trapped in a share of {_told(found)} of the rounds{_per_width(cells, value, _told)}" if found else None,
        f"share ≤ {1 - MOST:.2g} at every width", all_of(_decided(one, at_most, 1 - MOST) for one in widths),
    )  # fmt: skip


def _rate(cells: Cells) -> Claim:
    """By the times to a tenth, for which no law is assumed."""
    found = by_seed(cells, _log2(_ratio(passed("order_parameter", "tenth"), passed("risk", "tenth"))))
    r2 = [s["decay"]["risk"]["r2"] for s in rounds_of(cells) if s["decay"]["risk"] and s["decay"]["risk"]["tau"]]
    laws = f"; exp(-t/τ) explains {np.median(r2):.2f} of the risk's variance (median of {len(r2)})" if r2 else ""
    held = None if found is None else _decided(found | {"value": abs(found["value"])}, at_most, RATE)
    return Claim(
        "novel.decay", "fig. 4b", "the order parameter decays at roughly the rate of the risk",
        f"times to a tenth: ratio {_factor(found)}{laws}" if found else None, "ratio 0.5 to 2", held,
    )  # fmt: skip


# Spectrum and circuits


def _spectrum(cells: Cells) -> Claim:
    found = by_seed(cells, _log2(_ratio(in_stage("tenth", "rms"), in_stage("jump", "rms"))))
    return Claim(
        "novel.spectrum", "sec. II F 5 b", "the spectrum that novel examples excite converges to 0 as they are learned",
        f"rms at a tenth of the jump's risk over that at the jump: {_factor(found)}" if found else None,
        "≤ 0.5", _decided(found, at_most, HALF),
    )  # fmt: skip


def _mirror(cells: Cells) -> Claim:
    found = by_seed(cells, _log2(_ratio(in_stage("jump", "maximum"), in_stage("jump", "minimum"))))
    held = None if found is None else _decided(found | {"value": abs(found["value"])}, at_most, ALIKE)
    return Claim(
        "novel.mirror", "fig. 8a", "the ends of the spectrum that novel examples excite are alike",
        f"λ_max/|λ_min| {_factor(found)} at the jump" if found else None,
        f"{2**-ALIKE:.2f} to {2**ALIKE:.2f}", held,
    )  # fmt: skip


def _circuits(cells: Cells) -> Claim:
    """Circuits of the novel examples, weighted by their magnitude."""

    def change(part: str) -> Callable[[list[Record]], float | None]:
        def value(seen: list[Record]) -> float | None:
            pairs = [(share("before", part)(s), share("end", part)(s)) for s in rounds_of(seen) if excited(s)]
            known = [(b - a) for a, b in pairs if a is not None and b is not None]
            return float(np.mean(known)) if known else None

        return value

    novel, old = (by_seed(cells, change(part)) for part in ("novel", "old"))
    return Claim(
        "novel.circuits", "sec. II F 5 b", "circuits of the novel examples break their symmetry as these are learned",
        f"aligned share of novel examples rises by {_told(novel)}, of old ones by {_told(old)}" if novel else None,
        "> 0 for novel examples", _decided(novel, at_least, 0.0),
    )  # fmt: skip


# Wear and size


def wear_ratio(cells: Cells, most: int) -> Record | None:
    """log2 of the updates to risk 0 in the last round over those of a network that learned the same examples at once.

    Both from rest, at most `most` updates; a mean over seeds.
    """
    return by_seed(cells, _worn(most))


def _worn(most: int) -> Callable[[list[Record]], float | None]:

    def value(seen: list[Record]) -> float | None:
        logs = []
        for cell in seen:
            for kind in cell["twins"]:
                twin, rounds = twin_of(cell, kind), from_rest(cell, kind)
                if twin is not None and rounds and rounds[-1]["round"] == twin["round"]:
                    pair = [absorbed_after(most)(s) for s in (rounds[-1], twin)]
                    logs += [math.log2(pair[0] / pair[1])] if pair[0] and pair[1] else []
        return float(np.mean(logs)) if logs else None

    return value


def _wear(cells: Cells, most: int) -> Claim:
    found = wear_ratio(largest(cells), most) if cells else None
    return Claim(
        "novel.wear", "sec. II F 5 c, sec. III c", "earlier perturbations do not wear a large network's plasticity out",
        f"updates to risk 0 in the last round over those of a network that was never perturbed: {_factor(found)} at "
        f"width {max(widths_of(cells)):g}{_per_width(cells, _worn(most), _factor)}" if found else None,
        f"≤ {FACTOR:g} at the largest width", _decided(found, at_most, math.log2(FACTOR)),
    )  # fmt: skip


def _rounds(cells: Cells, most: int, batch_size: int) -> Claim:
    """Rounds of known classes alone: there every portion is drawn alike.

    In passes over the batch's examples, one visit of each: with more old examples an update sees fewer novel ones.
    """
    passes = in_passes(absorbed_after(most), batch_size)

    def trend(number: Number) -> Callable[[list[Record]], float | None]:
        def value(seen: list[Record]) -> float | None:
            slopes = [s for c in seen if (s := _slope(c, number)) is not None]
            return float(np.mean(slopes)) if slopes else None

        return value

    wide = largest(cells) if cells else []
    found, updates, jumps = (by_seed(wide, trend(n)) for n in (passes, absorbed_after(most), jump("risk")))
    return Claim(
        "novel.rounds", "sec. II F 5 c", "the time to absorb does not grow with the number of earlier perturbations",
        f"from the first round to the last passes to risk 0 change by {_factor(found)}, updates by {_factor(updates)}, "
        f"the jump of the risk by {_factor(jumps)}{_per_width(cells, trend(passes), _factor)}" if found else None,
        f"≤ {FACTOR:g} at the largest width", _decided(found, at_most, math.log2(FACTOR)),
    )  # fmt: skip


def _slope(cell: Record, number: Number) -> float | None:
    """log2 of a number against the round of known classes, least squares, from the first round to the last."""
    rounds = cell["kinds"].get("same", [])
    seen = [(s["round"], v) for s in from_rest(cell, "same") if (v := number(s))]
    if len(seen) < 2:
        return None
    at, values = np.array(seen, dtype=float).T
    return float(np.polyfit(at, np.log2(values), 1)[0] * (len(rounds) - 1))


def _size(cells: Cells, most: int) -> Claim:
    def against(number: Number) -> Callable[[list[Record]], float | None]:
        def value(seen: list[Record]) -> float | None:
            found = [(c["weights"], _log2(number)([c])) for c in seen]
            known = [(math.log2(n), v) for n, v in found if v is not None]
            if len({n for n, _ in known}) < 2:
                return None
            sizes, logs = np.array(known).T
            return float(np.polyfit(sizes, logs, 1)[0])

        return value

    found, jumps = by_seed(cells, against(absorbed_after(most))), by_seed(cells, against(jump("order_parameter")))
    return Claim(
        "novel.size", "abstract, sec. II G 2", "a larger network absorbs novel examples in fewer updates",
        f"exponent of updates to risk 0 against the number of weights {_told(found)}; of the jump of ||∇R||² "
        f"{_told(jumps)}" if found else None,
        "exponent < 0", _decided(found, at_most, 0.0),
    )  # fmt: skip
