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
    gains, of_gain = [row["gain"] for row in rows], by_gain(cells)
    edge = min(gains, key=lambda g: abs(math.log(g)))
    return [
        _stretch(of_gain),
        _at_one(of_gain),
        _pairs(of_gain),
        _training(edge, of_gain[edge]),
        _drawn(cells),
        _plasticity(edge, rows),
    ]


def by_gain(cells: Sequence[Record]) -> dict[float, list[Record]]:
    """The cells of every gain, in increasing order."""
    return {gain: [c for c in cells if c["gain"] == gain] for gain in sorted({c["gain"] for c in cells})}


def _means(of_gain: dict[float, list[Record]], value: Callable[[Record], float | None]) -> list[tuple[float, Mean]]:
    """Means over networks, at every gain where the value is known."""
    known = ((gain, estimate([v for v in map(value, cells) if v is not None])) for gain, cells in of_gain.items())
    return [(gain, mean) for gain, mean in known if mean is not None]


def _furthest(means: Sequence[tuple[float, Mean]]) -> tuple[float, Mean]:
    return max(means, key=lambda pair: abs(pair[1]["value"]))


def _over_gains(of_gain: dict[float, list[Record]], value: Callable[[Record], float | None]) -> tuple[Held, str | None]:
    """Whether |mean over networks| ≤ `NEAR` at every gain, and the largest of them in words."""
    means = _means(of_gain, value)
    if not means:
        return None, None
    worst_gain, worst = _furthest(means)
    held = all_of(at_most(abs(m["value"]), NEAR, m["standard_error"]) for _, m in means)
    return held, f"furthest at gain {worst_gain:g}: {plus_minus(worst)}"


def _first_layers(cell: Record, key: str) -> list[Record] | None:
    """Layers of the first record, where all have the number `key`."""
    layers: list[Record] = cell["records"][0]["layers"] if cell["records"] else []
    return layers if layers and all(layer[key] is not None for layer in layers) else None


def off_square(cells: Sequence[Record]) -> tuple[float, Mean] | None:
    """The gain at which ln χ - ln gain² is furthest from 0 before training, and its mean over networks there."""
    means = _means(by_gain(cells), _off)
    return _furthest(means) if means else None


def _off(cell: Record) -> float | None:
    """ln χ - ln gain² before training; None where χ is not known."""
    chi = cell["records"][0]["chi_mean"] if cell["records"] else None
    return None if not chi else math.log(chi) - 2.0 * math.log(cell["gain"])


def _stretch(of_gain: dict[float, list[Record]]) -> Claim:
    held, measured = _over_gains(of_gain, _off)
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


def falls_of(cells: Sequence[Record]) -> Mean | None:
    """Of networks that reach risk 0 from another gain than 1, how much nearer ln χ is to 0 at the end; their mean."""
    steps = []
    for c in cells:
        ends = [c["records"][k]["chi_mean"] for k in (0, -1)] if c["records"] else []
        if c["outcome"] == "zero" and abs(math.log(c["gain"])) > NEAR and all(ends):
            steps.append(abs(math.log(ends[0])) - abs(math.log(ends[1])))
    return estimate(steps)


def _drawn(cells: Sequence[Record]) -> Claim:
    mean = falls_of(cells)
    return Claim(
        "chaos.drawn", "sec. II F 4", "networks that reach risk 0 from other gains come nearer to χ = 1",
        None if mean is None else f"fall of |ln χ| {plus_minus(mean)} ({mean['networks']} networks)", "> 0",
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
