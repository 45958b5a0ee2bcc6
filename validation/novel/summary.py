"""From single networks to means over seeds with standard errors, by width, kind and round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from validation.statistics.estimate import estimate

from .cell import CONTROL, Record

Number = Callable[[Record], float | None]
OUTCOMES = ("zero", "flat", "above", "diverged")


def rested(cells: Sequence[Record]) -> list[Record]:
    """Those whose first training ended at a risk of exactly 0, so that a jump is the novel examples' own."""
    return [c for c in cells if c["first"]["outcome"] == "zero"]


def widths_of(cells: Sequence[Record]) -> list[float]:
    return sorted({c["width"] for c in cells})


def kinds_of(cells: Sequence[Record]) -> list[str]:
    """In the order of the run."""
    return list(dict.fromkeys(kind for c in cells for kind in c["kinds"]))


def moment(shown: Record, stage: str) -> Record | None:
    """The measured moment of a round; None where it was passed between two looks, or never reached."""
    return next((m for m in shown["moments"] if m["stage"] == stage), None)


def jump(key: str) -> Number:
    """Of risk, order parameter or active examples of the batch, as the novel ones are added.

    Against the old examples before; at risk 0 that is 0. With a batch of novel examples alone it is their own number.
    """
    return lambda shown: shown["points"][0][key] if shown["points"] else None


def novel_active(shown: Record) -> float | None:
    """The share of the novel examples with a nonzero error at first sight; the old ones were at rest before."""
    return float(shown["points"][0]["active"] / shown["examples"]["novel"]) if shown["points"] else None


def excited(shown: Record) -> bool:
    """Whether the novel examples have any nonzero error: the paper's perturbation."""
    return bool(shown["points"] and (shown["points"][0]["novel"] or 0.0) > 0.0)


def fitted(key: str) -> Number:
    """The fitted decay time of risk or order parameter, in updates."""
    return lambda shown: shown["decay"][key] and shown["decay"][key]["tau"]


def passed(key: str, share: str) -> Number:
    """When risk or order parameter was first at a half or a tenth of its jump."""
    return lambda shown: shown["decay"][key] and shown["decay"][key][share]


def absorbed_after(most: int) -> Number:
    """The first look at which the risk is exactly 0; `most` where there is none, a lower bound."""

    def updates(shown: Record) -> float | None:
        if not excited(shown):
            return None
        zero = shown["decay"]["risk"]["zero"]
        return float(most if zero is None else zero)

    return updates


def in_passes(number: Number, batch_size: int) -> Number:
    """A number of updates as passes over the batch's examples: visits of each of them."""

    def passes(shown: Record) -> float | None:
        found, m = number(shown), shown["examples"]["batch"]
        return None if found is None else found * min(batch_size, m) / m

    return passes


def in_stage(stage: str, key: str) -> Number:
    """rms, minimum or maximum of the Hessian at a stage."""

    def value(shown: Record) -> float | None:
        found = moment(shown, stage)
        return None if found is None else found[key]["value"]

    return value


def share(stage: str, part: str) -> Number:
    """The aligned share of circuits, of old or novel examples, at a stage."""

    def value(shown: Record) -> float | None:
        found = moment(shown, stage)
        return None if found is None else found["aligned"][part]["value"]

    return value


def mean(rounds: Iterable[Record], number: Number) -> Record | None:
    """Over networks; of rounds that have the number."""
    return estimate([v for v in map(number, rounds) if v is not None])


def geometric(values: Iterable[float | None]) -> float | None:
    """The geometric mean of positive numbers; None without any."""
    logs = [math.log(v) for v in values if v]
    return math.exp(float(np.mean(logs))) if logs else None


def table(cells: Sequence[Record], most: int) -> list[Record]:
    """One row for every width, kind and round: means over the networks that were at rest before it."""
    rows = []
    for width in widths_of(cells):
        of_width = rested([c for c in cells if c["width"] == width])
        for kind in kinds_of(cells):
            seen = rounds_of(of_width, kind)
            for k in sorted({s["round"] for s in seen}):
                rows.append(
                    {"width": width, "kind": kind, "round": k, **_row([s for s in seen if s["round"] == k], most)}
                )
            twins = [t for c in of_width if (t := twin_of(c, kind)) is not None]
            if twins:
                rows.append({"width": width, "kind": kind, "round": "twin", **_row(twins, most)})
    return rows


def _row(shown: Sequence[Record], most: int) -> Record:
    hit = [s for s in shown if excited(s)]
    return {
        "networks": len(shown),
        "excited": len(hit),
        **{o: sum(s["outcome"] == o for s in shown) for o in OUTCOMES},
        "novel_active": mean(shown, novel_active),
        "risk": mean(shown, jump("risk")),
        "order_parameter": mean(shown, jump("order_parameter")),
        "rms": mean(shown, in_stage("jump", "rms")),
        "minimum": mean(shown, in_stage("jump", "minimum")),
        "maximum": mean(shown, in_stage("jump", "maximum")),
        "tau": mean(hit, fitted("risk")),
        "tau_order": mean(hit, fitted("order_parameter")),
        "tenth": mean(hit, passed("risk", "tenth")),
        "zero_after": mean(hit, absorbed_after(most)),
        "aligned_before": mean(shown, share("before", "novel")),
        "aligned_after": mean(shown, share("end", "novel")),
        "aligned_old_before": mean(shown, share("before", "old")),
        "aligned_old_after": mean(shown, share("end", "old")),
    }


def rounds_of(cells: Sequence[Record], *kinds: str) -> list[Record]:
    """The rounds from rest of some kinds, by default of all but the control."""
    return [s for c in cells for k in (kinds or [k for k in c["kinds"] if k != CONTROL]) for s in from_rest(c, k)]


def from_rest(cell: Record, kind: str) -> list[Record]:
    """The rounds of a kind before which the risk was exactly 0 on what the network was trained on.

    After a round that does not come back to 0 the next one does not begin at rest: its jump is not that of the novel
    examples alone, and what is lost would count again and again.
    """
    rounds = cell["kinds"].get(kind, [])
    first = cell["first"]["outcome"]
    ended = [first, *([first] * len(rounds) if kind == CONTROL else [s["outcome"] for s in rounds])]
    return [s for s, before in zip(rounds, ended, strict=False) if before == "zero"]


def twin_of(cell: Record, kind: str) -> Record | None:
    """The twin's round, where the twin was at rest before it."""
    twin: Record = cell["twins"].get(kind, {})
    return twin if "points" in twin and twin["first"]["outcome"] == "zero" else None


def by_seed(cells: Sequence[Record], value: Callable[[list[Record]], float | None]) -> Record | None:
    """The mean over seeds of a number of all cells of a seed, its standard error, and the number of seeds."""
    seeds = sorted({c["seed"] for c in cells})
    found = [value([c for c in cells if c["seed"] == seed]) for seed in seeds]
    return estimate([v for v in found if v is not None])
