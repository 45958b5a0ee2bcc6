"""What the temperature of the gates does to a network, with numbers, errors and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Claim
from validation.statistics.decide import Held, all_of, at_least, at_most, l1_at_most
from validation.statistics.estimate import Mean, combined, estimate, plus_minus

from .summary import KINDS, Cell, Record

NEAR = 0.05  # L1 of two spectra that count as one
BOUND = 0.1  # L1 of a prediction, as in the main job
FACTS = {
    "E1": "every diagonal block of the Hessian of drawn gates vanishes",
    "E2": "its trace vanishes",
    "E3": "Euler: H θ_l = ∇R outside layer l, for the gates that are drawn",
    "E4": "⟨W_l, ∇_l R⟩ is one number for every layer, for the gates that are drawn",
}


def judge(cells: Sequence[Cell], rows: Sequence[Record]) -> list[Claim]:
    """Every claim on the rows of all temperatures, then the exact facts."""
    hot = [row for row in rows if row["temperature"] > 0.0]
    return [
        _limit(hot),
        _smaller(hot),
        *(_predicted(rung, rows) for rung in ("RE", "RK")),
        _trained(cells),
        _bound(cells),
        *(_fact(name, cells) for name in FACTS),
    ]


def _limit(hot: Sequence[Record]) -> Claim:
    """At the lowest temperature above 0, the network trained with ReLU gates."""
    text = "as the temperature goes to 0 the spectrum of drawn gates becomes that of the ReLU network"
    row = next((r for r in hot if r["heated"] and r["heated"]["from_relu"]), None)
    if row is None:
        return Claim("temperature.limit", "sec. II B, (7)", text, None, f"L1 ≤ {NEAR:g}", None)
    found = row["heated"]["from_relu"]
    error = _error(found, row["heated"]["l1_standard_error"])
    said = {"value": found["value"], "standard_error": error}
    return Claim(
        "temperature.limit", "sec. II B, (7)", text, f"L1 {plus_minus(said)} at temperature {row['temperature']:g}",
        f"L1 ≤ {NEAR:g} at the lowest temperature", l1_at_most(found["value"], NEAR, error),
    )  # fmt: skip


def _error(distance: Mean, own: Mean | None) -> float | None:
    """The scatter of a distance over networks with the error of a measurement; of a single network the latter alone."""
    if distance["networks"] == 1:
        known: float | None = distance["standard_error"]
        return known
    return combined(distance["standard_error"], None if own is None else own["value"])


def _smaller(hot: Sequence[Record]) -> Claim:
    """The mean Hessian at a temperature against that of ReLU gates, at the weights trained with ReLU gates."""
    ratios = [(r["temperature"], r["heated"]["rms_ratio"]) for r in hot if r["heated"] and r["heated"]["rms_ratio"]]
    return Claim(
        "temperature.smaller", "sec. II B", "drawing the gates makes the mean Hessian of a trained network smaller",
        "; ".join(f"T = {t:g}: {plus_minus(m)}" for t, m in ratios) or None,
        "rms at T over rms at 0 below 1 at every temperature",
        all_of(at_most(m["value"], 1.0, m["standard_error"]) for _, m in ratios),
    )  # fmt: skip


def _predicted(rung: str, rows: Sequence[Record]) -> Claim:
    """A sampled rung at every temperature, for networks trained at it."""
    seen: list[tuple[float, Record, float | None]] = []
    for row in rows:
        made = (row["trained"] or row["heated"] or {"predictions": {}})["predictions"].get(rung)
        if made and made["l1"]:
            seen.append((row["temperature"], made["l1"], _error(made["l1"], made["l1_standard_error"])))
    worst = max(seen, key=lambda one: one[1]["value"], default=None)
    return Claim(
        f"temperature.prediction.{rung}", "sec. II E", f"{rung} predicts the spectrum at every temperature",
        None if worst is None
        else f"L1 at most {plus_minus({'value': worst[1]['value'], 'standard_error': worst[2]})}, at T = {worst[0]:g}",
        f"L1 ≤ {BOUND:g} at every temperature", all_of(l1_at_most(m["value"], BOUND, e) for _, m, e in seen),
    )  # fmt: skip


def _trained(cells: Sequence[Cell]) -> Claim:
    """Risk at T of networks trained at T, less that of their twins trained with ReLU gates, over networks."""
    by: dict[float, list[float]] = {}
    for cell in cells:
        if cell["trained"] is not None and cell["heated"] is not None:
            gain = cell["trained"]["risk"]["value"] - cell["heated"]["risk"]["value"]
            by.setdefault(cell["temperature"], []).append(gain)
    means = {t: m for t, values in sorted(by.items()) if (m := estimate(values)) is not None}
    return Claim(
        "temperature.training", "sec. II B", "training with drawn gates lowers the risk of drawn gates further than "
        "training with ReLU gates does",
        "; ".join(f"T = {t:g}: {plus_minus(m)}" for t, m in means.items()) or None, "difference of risks below 0",
        all_of(at_most(m["value"], 0.0, m["standard_error"]) for m in means.values()),
    )  # fmt: skip


def _bound(cells: Sequence[Cell]) -> Claim:
    """How much of a set of draws counts as a sample of the posterior of the gates, at the worst network."""
    seen = [
        (cell[kind]["effective_samples"] / cell[kind]["samples"], cell["temperature"])
        for cell in cells
        if cell["temperature"] > 0.0
        for kind in KINDS
        if cell[kind] is not None
    ]
    share = min(seen, default=None)
    held: Held = None if share is None else at_least(share[0], 0.5, 0.0)
    return Claim(
        "temperature.posterior", "sec. II B, EM", "draws of the forward law are a sample of the posterior of the gates",
        None if share is None else f"effective share of the draws at least {share[0]:.3f}, at T = {share[1]:g}",
        "at least half of the draws, mean over examples", held,
    )  # fmt: skip


def _fact(name: str, cells: Sequence[Cell]) -> Claim:
    checks = [
        cell[kind]["exact"][name]
        for cell in cells
        for kind in KINDS
        if cell[kind] is not None and name in cell[kind]["exact"]
    ]
    worst = max((c["value"] for c in checks), default=None)
    return Claim(
        f"temperature.{name}", f"fact {name}", FACTS[name],
        None if worst is None else f"relative error {worst:.1e}" if worst else "relative error 0",
        f"≤ {checks[0]['tolerance']:.0e}" if checks else "rounding",
        all(c["value"] <= c["tolerance"] for c in checks) if checks else None, exact=True,
    )  # fmt: skip
