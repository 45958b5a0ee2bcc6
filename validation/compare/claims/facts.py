"""The exact facts E1-E8 at every recorded epoch."""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Claim, Record

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
    return Claim(
        name, f"fact {name}", FACTS[name],
        f"relative error ≤ {max(c['value'] for c in checks):.1e}" if checks else None,
        f"≤ {checks[0]['tolerance']:.0e}" if checks else "rounding",
        all(c["value"] <= c["tolerance"] for c in checks) if checks else None, exact=True,
    )  # fmt: skip


def _stationary(records: Sequence[Record]) -> Claim:
    """A recorded point with ∇R = 0 must have no active example, H = 0 (as with a dead layer), or H with both signs."""
    still = [r for r in records if r["order_parameter"] == 0.0]
    kinds = []
    for r in still:
        saddle = r["spectrum"]["minimum"] < 0 < r["spectrum"]["maximum"]
        flat = r["spectrum"]["rms"] == 0.0
        if r["active_fraction"] == 0:
            kinds.append("global minimum")
        elif flat:
            kinds.append("flat, a layer is dead" if r["dead_layers"] else "flat, H = 0")
        else:
            kinds.append("strict saddle" if saddle else "unexplained")
    named = ", ".join(f"epoch {r['epoch']}: {kind}" for r, kind in zip(still, kinds, strict=True))
    return Claim(
        "E5", "fact E5", FACTS["E5"], named or "no recorded epoch is stationary", "a saddle or H = 0",
        "unexplained" not in kinds if kinds else None, exact=True,
    )  # fmt: skip
