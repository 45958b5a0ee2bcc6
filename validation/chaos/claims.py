"""What the correlation map of two inputs says of the edge of chaos, with numbers, errors and verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from validation.statistics.claim import Claim
from validation.statistics.decide import Held, all_of, at_least, at_most
from validation.statistics.estimate import Mean, estimate, plus_minus

from .cell import Record
from .summary import phase

NEAR = 0.1  # of a logarithm or a slope
TWICE = math.log(2.0)


def judge(cells: Sequence[Record], rows: Sequence[Record]) -> list[Claim]:
    """Every claim on the cells of all gains."""
    gains = [row["gain"] for row in rows]
    of_gain = {gain: [c for c in cells if c["gain"] == gain] for gain in gains}
    edge = min(gains, key=lambda g: abs(math.log(g)))
    return [
        _stretch(of_gain),
        _at_one(of_gain),
        _pairs(of_gain),
        _training(edge, of_gain[edge]),
        _drawn(of_gain),
        _plasticity(edge, rows),
    ]


def _over_gains(of_gain: dict[float, list[Record]], value: Callable[[Record], float | None]) -> tuple[Held, str | None]:
    """Whether |mean over networks| ≤ `NEAR` at every gain, and the largest of them in words."""
    means: list[tuple[float, Mean]] = []
    for gain, cells in of_gain.items():
        known = [v for v in map(value, cells) if v is not None]
        mean = estimate(known)
        if mean is not None:
            means.append((gain, mean))
    if not means:
        return None, None
    worst_gain, worst = max(means, key=lambda pair: abs(pair[1]["value"]))
    held = all_of(at_most(abs(m["value"]), NEAR, m["standard_error"]) for _, m in means)
    return held, f"furthest at gain {worst_gain:g}: {plus_minus(worst)}"


def _first_layers(cell: Record, key: str) -> list[Record] | None:
    """Layers of the first record, where all have the number `key`."""
    layers: list[Record] = cell["records"][0]["layers"] if cell["records"] else []
    return layers if layers and all(layer[key] is not None for layer in layers) else None


def _stretch(of_gain: dict[float, list[Record]]) -> Claim:
    def off(cell: Record) -> float | None:
        chi = cell["records"][0]["chi_mean"] if cell["records"] else None
        return None if not chi else math.log(chi) - 2.0 * math.log(cell["gain"])

    held, measured = _over_gains(of_gain, off)
    return Claim(
        "chaos.stretch", "sec. II F 4, M1", "before training χ = n s²/2 = gain² at every gain", measured,
        f"|ln χ - ln gain²| ≤ {NEAR:g}", held,
    )  # fmt: skip


def _at_one(of_gain: dict[float, list[Record]]) -> Claim:
    def off(cell: Record) -> float | None:
        layers = _first_layers(cell, "slope_at_one")
        return None if layers is None else sum(layer["slope_at_one"] for layer in layers) / len(layers) - 1.0

    held, measured = _over_gains(of_gain, off)
    return Claim(
        "chaos.slope", "sec. II F 4", "before training the correlation map has slope 1 at ρ = 1, whatever the gain",
        measured, f"|slope - 1| ≤ {NEAR:g}", held,
    )  # fmt: skip


def _pairs(of_gain: dict[float, list[Record]]) -> Claim:
    def off(cell: Record) -> float | None:
        layers = _first_layers(cell, "slope")
        return None if layers is None else sum(a["slope"] - a["slope_kappa"] for a in layers) / len(layers)

    held, measured = _over_gains(of_gain, off)
    return Claim(
        "chaos.map", "sec. II F 4", "before training correlations of pairs of data follow the arc-cosine map κ",
        measured, f"|slope - slope of κ| ≤ {NEAR:g}", held,
    )  # fmt: skip


def _training(edge: float, cells: Sequence[Record]) -> Claim:
    """The furthest that ln χ goes in each network, so that networks scatter."""
    reach = [max(abs(math.log(r["chi_mean"])) for r in c["records"] if r["chi_mean"]) for c in cells if c["records"]]
    mean = estimate(reach)
    return Claim(
        "chaos.training", "sec. II F 4", f"from gain {edge:g} χ stays within a factor of 2 of 1 through training",
        None if mean is None else f"largest |ln χ| {plus_minus(mean)}", f"≤ {TWICE:.2f}",
        None if mean is None else at_most(mean["value"], TWICE, mean["standard_error"]),
    )  # fmt: skip


def _drawn(of_gain: dict[float, list[Record]]) -> Claim:
    """Of networks that reach risk 0 from another gain than 1, how much nearer χ is to 1 at the end."""
    steps = []
    for gain, cells in of_gain.items():
        for c in cells:
            ends = [c["records"][k]["chi_mean"] for k in (0, -1)] if c["records"] else []
            if c["outcome"] == "zero" and abs(math.log(gain)) > NEAR and all(ends):
                steps.append(abs(math.log(ends[0])) - abs(math.log(ends[1])))
    mean = estimate(steps)
    return Claim(
        "chaos.drawn", "sec. II F 4", "networks that reach risk 0 from other gains come nearer to χ = 1",
        None if mean is None else f"fall of |ln χ| {plus_minus(mean)} ({len(steps)} networks)", "> 0",
        None if mean is None else at_least(mean["value"], 0.0, mean["standard_error"]),
    )  # fmt: skip


def _plasticity(edge: float, rows: Sequence[Record]) -> Claim:
    found, gains = phase(rows), [row["gain"] for row in rows]
    inside, ends = edge in found, gains[0] not in found and gains[-1] not in found
    return Claim(
        "chaos.plasticity", "sec. III", "the plasticity phase is around the edge of chaos, and ends on both sides",
        f"plastic at gains {', '.join(f'{g:g}' for g in found)}" if found else "plastic at no gain",
        f"at {edge:g}, not at {gains[0]:g} and {gains[-1]:g}", inside and ends,
    )  # fmt: skip
