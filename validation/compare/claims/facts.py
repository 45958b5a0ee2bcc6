"""The exact facts E1-E8 at every recorded epoch."""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, Held, all_of

FACTS = {
    "E1": "every diagonal block of the Hessian vanishes",
    "E2": "the trace of the Hessian vanishes",
    "E3": "Euler: H θ = (L-1) ∇R, and layer by layer",
    "E4": "⟨W_l, ∇_l R⟩ is one number s for every layer, and H is s(11ᵀ - I) on the span of the θ_l",
    "E5": "a stationary point is a strict saddle, unless the Hessian is 0",
    "E6": "W_L → -W_L turns the spectrum into its negative (c fixed)",
    "E7": "two layers: the eigenvalues are ±||v_b||",
    "E8": "the generator of neuron rescaling is orthogonal to ∇R",
}


def judge_facts(records: Sequence[Record]) -> list[Claim]:
    """Every exact fact that a recorded epoch can speak of."""
    return [_fact(name, records) for name in FACTS]


def _fact(name: str, records: Sequence[Record]) -> Claim:
    if name == "E5":
        return _stationary(records)
    checks = [r["exact"][name] for r in records if name in r["exact"]]
    worst = max((c["value"] for c in checks), default=None)
    return Claim(
        name, f"fact {name}", FACTS[name],
        None if worst is None else f"relative error ≤ {worst:.1e}" if worst else "relative error 0",
        f"≤ {checks[0]['tolerance']:.0e}" if checks else "rounding",
        all(c["value"] <= c["tolerance"] for c in checks) if checks else None, exact=True,
    )  # fmt: skip


def _stationary(records: Sequence[Record]) -> Claim:
    """A recorded point with ∇R = 0 must have no active example, H = 0 (as with a dead layer), or H with both signs.

    The gradient is that of all training examples, the spectrum that of a subset: a subset on which H is 0 says nothing
    of the others, unless no circuit is live at any active example.
    """
    still = [(r, *_kind(r)) for r in records if r["order_parameter"] == 0.0]
    named = ", ".join(f"epoch {r['epoch']}: {kind}" for r, kind, _ in still)
    return Claim(
        "E5", "fact E5", FACTS["E5"], named or "no recorded epoch is stationary (`validation.stationary` looks)",
        "a saddle or H = 0",
        all_of(held for *_, held in still), exact=True,
    )  # fmt: skip


def _kind(r: Record) -> tuple[str, Held]:
    """What a stationary point is, and whether that is what E5 allows."""
    active = round(r["active_fraction"] * r["aligned"]["examples"])
    if active == 0:
        return "global minimum", True
    if r["dead_layers"]:
        return "flat, a layer is dead", True
    if active == r["aligned"]["dead_examples"]:
        return f"flat, risk {r['risk']:.2g}: no circuit is live at any of the {active:,} active examples", True
    if r["spectrum"]["rms"] == 0.0:
        return "H = 0 on the examples of the spectrum, not known on the others", UNRESOLVED
    saddle = r["spectrum"]["minimum"] < 0 < r["spectrum"]["maximum"]
    return ("strict saddle", True) if saddle else ("unexplained", False)
