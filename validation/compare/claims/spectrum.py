"""Verdicts on the Hessian spectrum and its predictions (fig. 8a), from recorded epochs."""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Claim, Record

CLOSE = 0.1  # L1 up to which a prediction is supported


def judge_spectrum(records: Sequence[Record]) -> list[Claim]:
    """Symmetry, signs, shares, collapse, and every rung's prediction."""
    return [
        _spectrum_symmetry(records),
        _both_signs(records),
        _shares(records),
        _collapse(records),
        *_predictions(records),
    ]


def _spectrum_symmetry(records: Sequence[Record]) -> Claim:
    """Symmetric up to its null at random mirroring, or to 2 % of the rms."""
    seen = _with_spectrum(records)
    values = [r["spectrum"]["symmetry"] for r in seen]
    even = [s["value"] <= max(s["null_95"], 0.02) for s in values]
    worst = max(values, key=lambda s: s["value"]) if values else None
    return Claim(
        "fig8a.symmetry", "fig. 8a", "the Hessian spectrum is symmetric about 0 through training",
        f"W1 to the mirror image ≤ {worst['value']:.4f} rms (null there {worst['null_95']:.4f}); "
        f"{sum(even)} of {len(even)} epochs symmetric" if worst else None,
        "within the 95 % point of random mirroring, or 0.02 rms, in 4 of 5 epochs",
        sum(even) >= 0.8 * len(even) if even else None,
    )  # fmt: skip


def _both_signs(records: Sequence[Record]) -> Claim:
    seen = [r for r in records if r["risk"] > 0]
    signs = [r["spectrum"]["minimum"] < 0 < r["spectrum"]["maximum"] for r in _with_spectrum(seen)]
    empty = len(seen) - len(signs)
    note = f"; {empty} with risk > 0 but H = 0 on the spectrum's subset" if empty else ""
    return Claim(
        "fig8a.signs", "fig. 8a", "λ_min < 0 < λ_max wherever the risk is above 0",
        f"both signs at {sum(signs)} of {len(signs)} epochs{note}" if signs else None,
        "at every epoch", all(signs) if signs else None,
    )  # fmt: skip


def _shares(records: Sequence[Record]) -> Claim:
    imbalance = []
    for record in _with_spectrum(records):
        low, high = (record["spectrum"][f"fraction_{s}"]["value"] for s in ("negative", "positive"))
        if low + high > 0:
            imbalance.append(abs(low - high) / (low + high))
    return Claim(
        "fig8a.shares", "fig. 8a", "as many negative as positive eigenvalues",
        f"|f₋ - f₊|/(f₋ + f₊) up to {max(imbalance):.3f}" if imbalance else None,
        "≤ 0.1 at every epoch", max(imbalance) <= 0.1 if imbalance else None,
    )  # fmt: skip


def _collapse(records: Sequence[Record]) -> Claim:
    first, last = records[0], records[-1]
    text = "the spectrum collapses to 0 as the risk does"
    if len(records) < 2 or first["spectrum"]["rms"] == 0 or last["risk"] > 0.1 * first["risk"]:
        return Claim("fig8a.collapse", "fig. 8a", text, None, "rms falls tenfold once the risk has", None)
    ratio = last["spectrum"]["rms"] / max(r["spectrum"]["rms"] for r in records)
    return Claim(
        "fig8a.collapse", "fig. 8a", text,
        f"rms at epoch {last['epoch']} is {ratio:.3g} of its largest; risk is {last['risk'] / first['risk']:.3g} "
        "of its first",
        "rms falls tenfold once the risk has", ratio <= 0.1,
    )  # fmt: skip


def _predictions(records: Sequence[Record]) -> list[Claim]:
    """Close, or further than twice the measurement's standard error can explain; in between it decides nothing."""
    claims = []
    for rung in sorted({rung for r in records for rung in r["predictions"]}):
        made = [r["predictions"][rung] for r in records if rung in r["predictions"]]
        distances, errors = ([p[name] for p in made] for name in ("l1", "l1_standard_error"))
        known = all(error is not None for error in errors)
        far = known and any(d - 2.0 * e > CLOSE for d, e in zip(distances, errors, strict=True))
        claims.append(Claim(
            f"fig8a.prediction.{rung}", f"fig. 8a, {rung}",
            "the spectrum follows from the coarse-grained statistics of this rung",
            f"L1 {min(distances):.3f} to {max(distances):.3f}, standard error "
            + (f"up to {max(errors):.3f}" if known else "unknown"),
            f"L1 ≤ {CLOSE:g} at every epoch; refuted from two standard errors above it",
            False if far else True if max(distances) <= CLOSE else None,
        ))  # fmt: skip
    return claims


def _with_spectrum(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if r["spectrum"]["rms"] > 0]
