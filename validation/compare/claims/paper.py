"""From recorded epochs to verdicts: the paper's claims, each with a number, and the exact facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import linregress

from validation.statistics.symmetry import false_discoveries

from .entries import judge_entries

Record = dict[str, Any]
Claim = dict[str, Any]
CLOSE = 0.1  # L1 up to which a prediction is supported
BROKEN = 0.05  # broken symmetry above chance from which a layer counts as broken

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


def judge(records: Sequence[Record], learning_rate: float) -> list[Claim]:
    """Every claim that the recorded epochs can speak of, in the order of the paper, then the exact facts."""
    found = false_discoveries(records)["kinds"]
    claims = [
        _weight_symmetry(records, found),
        _weight_layers(records),
        _circuit_symmetry(records, found),
        _gradient_symmetry(records, found),
        _gradient_layers(records),
        _proportional(records),
        _decade(records, learning_rate),
        *judge_entries(records),
        _spectrum_symmetry(records),
        _both_signs(records),
        _shares(records),
        _collapse(records),
        *_predictions(records),
        _risk_to_zero(records),
        _accuracy_to_one(records),
        _growth(records),
    ]
    return claims + [_fact(name, records) for name in FACTS]


def failed_facts(claims: Sequence[Claim]) -> list[str]:
    """Names of exact facts that did not hold: bugs."""
    return [c["id"] for c in claims if c["id"] in FACTS and c["verdict"] == "not supported"]


def _claim(name: str, source: str, text: str, measured: str | None, expected: str, supported: bool | None) -> Claim:
    verdict = "not applicable" if supported is None else "supported" if supported else "not supported"
    return {"id": name, "source": source, "claim": text, "measured": measured, "expected": expected, "verdict": verdict}


def _excess(record: Record, key: str) -> list[float]:
    return [s["value"] - s["null"] for s in record[key] if s["value"] is not None]


def _rejected(found: Record, kind: str) -> str:
    """How many tests rejected symmetry: beside the size, which the verdict is on, because large samples always do."""
    counts = found.get(kind)
    return f"; D rejects symmetry in {counts['rejected']} of {counts['tests']} tests" if counts else ""


def _weight_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Most layers' weight laws stay symmetric: broken part at most 0.1 above chance in more than half of the layers."""
    last = records[-1]
    excess = _excess(last, "weight_symmetry")
    worst = max(max(_excess(r, "weight_symmetry")) for r in records)
    intact = sum(e <= 0.1 for e in excess)
    return _claim(
        "fig3a.symmetry", "fig. 3a", "most weight laws stay symmetric through training",
        f"{intact} of {len(excess)} layers intact at epoch {last['epoch']}; worst ever {worst:.3f} above chance"
        + _rejected(found, "weights"),
        "broken part ≤ 0.1 above chance in most layers", intact > len(excess) / 2,
    )  # fmt: skip


def _weight_layers(records: Sequence[Record]) -> Claim:
    """Heterogeneous breaking: the most broken layer at least twice the median one; silent while no layer is broken."""
    last, first = records[-1], dict[int, int]()
    for record in records:
        for layer, s in enumerate(record["weight_symmetry"], 1):
            if s["value"] is not None and s["value"] > s["null_95"] and s["value"] - s["null"] > BROKEN:
                first.setdefault(layer, record["epoch"])
    excess = {i: s["value"] - s["null"] for i, s in enumerate(last["weight_symmetry"], 1) if s["value"] is not None}
    most, middle = max(excess, key=lambda i: excess[i]), float(np.median(list(excess.values())))
    shown = f"most at epoch {last['epoch']}: layer {most} ({excess[most]:.3f} above chance), median {middle:.3f}"
    if not first:
        measured = f"no layer was ever broken by more than {BROKEN:g}; {shown}"
    else:
        soonest = min(first.values())
        layers = ", ".join(str(i) for i in sorted(first) if first[i] == soonest)
        measured = f"first above {BROKEN:g}: layer {layers} at epoch {soonest}; {shown}"
    return _claim(
        "fig3a.layers", "fig. 3a", "the symmetry of the weights breaks unevenly over the layers", measured,
        "most broken layer ≥ 2 × median layer", excess[most] >= 2 * middle if first else None,
    )  # fmt: skip


def _circuit_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """Circuits of every order at initialisation; those without their last weight are only symmetric by S2, S3."""
    record = records[0]
    orders = record["circuits"]["orders"] if record["fresh"] and record["circuits"] else []
    sizes = [f"order {o['order']}: {o['symmetry']['value'] - o['symmetry']['null']:.3f}" for o in orders]
    bare = [o["last_removed"] for o in orders if o["last_removed"]]
    worst = max((s["value"] - s["null"] for s in bare), default=None)
    note = f"; without the last weight up to {worst:.3f}" if worst is not None else ""
    return _claim(
        "fig3b.symmetry", "fig. 3b", "circuits of order 0, 1 and 2 are symmetric at initialisation",
        f"broken part above chance {', '.join(sizes)}{note}" + _rejected(found, "circuits") if sizes else None,
        "≤ 0.1 above chance at every order",
        all(o["symmetry"]["value"] - o["symmetry"]["null"] <= 0.1 for o in orders) if orders else None,
    )  # fmt: skip


def _gradient_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """The law of all gradient entries stays symmetric; epochs without gradient say nothing."""
    laws = [r["gradient_symmetry_all"] for r in records]
    values = [s["value"] - s["null"] for s in laws if s["value"] is not None]
    return _claim(
        "fig4a.symmetry", "fig. 4a", "the law of all gradient entries is symmetric through training",
        f"broken part {min(values):.3f} to {max(values):.3f} above chance" + _rejected(found, "whole gradient")
        if values else None,
        "≤ 0.1 above chance at every epoch", max(values) <= 0.1 if values else None,
    )  # fmt: skip


def _gradient_layers(records: Sequence[Record]) -> Claim:
    """Layer by layer, which the law of all entries may hide: the mean over layers of the broken part."""
    values = [float(np.mean(e)) for r in records if (e := _excess(r, "gradient_symmetry"))]
    return _claim(
        "fig4a.layers", "fig. 4a", "gradient entries are symmetric in every layer through training",
        f"mean broken part of a layer {min(values):.3f} to {max(values):.3f} above chance" if values else None,
        "≤ 0.1 above chance at every epoch", max(values) <= 0.1 if values else None,
    )  # fmt: skip


def _proportional(records: Sequence[Record]) -> Claim:
    points = [(r["risk"], r["order_parameter"]) for r in records if r["risk"] > 0 and r["order_parameter"] > 0]
    text = "the order parameter ||∇R||² decreases as the risk does"
    if len(points) < 3 or len({p[0] for p in points}) < 3:
        return _claim("fig4b.proportional", "fig. 4b", text, None, "slope 1 of log-log", None)
    fit = linregress(*np.log(np.array(points)).T)
    return _claim(
        "fig4b.proportional", "fig. 4b", text,
        f"log-log slope {fit.slope:.2f} ± {fit.stderr:.2f}, correlation {fit.rvalue:.2f}",
        "slope 1 within 0.5, correlation ≥ 0.8", bool(abs(fit.slope - 1) <= 0.5 and fit.rvalue >= 0.8),
    )  # fmt: skip


def _decade(records: Sequence[Record], learning_rate: float) -> Claim:
    logs = [
        np.log10(r["risk"] / (learning_rate * r["order_parameter"]))
        for r in records
        if r["risk"] > 0 and r["order_parameter"] > 0
    ]
    middle = float(np.median(logs)) if logs else None
    return _claim(
        "fig4b.decade", "fig. 4b", "learning rate × order parameter lies about one decade below the risk",
        f"median {middle:.2f} decades, from {min(logs):.2f} to {max(logs):.2f}" if logs else None,
        "0.5 to 1.5 decades", None if middle is None else 0.5 <= middle <= 1.5,
    )  # fmt: skip


def _with_spectrum(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if r["spectrum"]["rms"] > 0]


def _spectrum_symmetry(records: Sequence[Record]) -> Claim:
    """Symmetric up to its null at random mirroring, or to 2 % of the rms."""
    seen = _with_spectrum(records)
    values = [r["spectrum"]["symmetry"] for r in seen]
    even = [s["value"] <= max(s["null_95"], 0.02) for s in values]
    worst = max(values, key=lambda s: s["value"]) if values else None
    return _claim(
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
    return _claim(
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
    return _claim(
        "fig8a.shares", "fig. 8a", "as many negative as positive eigenvalues",
        f"|f₋ - f₊|/(f₋ + f₊) up to {max(imbalance):.3f}" if imbalance else None,
        "≤ 0.1 at every epoch", max(imbalance) <= 0.1 if imbalance else None,
    )  # fmt: skip


def _collapse(records: Sequence[Record]) -> Claim:
    first, last = records[0], records[-1]
    text = "the spectrum collapses to 0 as the risk does"
    if len(records) < 2 or first["spectrum"]["rms"] == 0 or last["risk"] > 0.1 * first["risk"]:
        return _claim("fig8a.collapse", "fig. 8a", text, None, "rms falls tenfold once the risk has", None)
    ratio = last["spectrum"]["rms"] / max(r["spectrum"]["rms"] for r in records)
    return _claim(
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
        claims.append(_claim(
            f"fig8a.prediction.{rung}", f"fig. 8a, {rung}",
            "the spectrum follows from the coarse-grained statistics of this rung",
            f"L1 {min(distances):.3f} to {max(distances):.3f}, standard error "
            + (f"up to {max(errors):.3f}" if known else "unknown"),
            f"L1 ≤ {CLOSE:g} at every epoch; refuted from two standard errors above it",
            False if far else True if max(distances) <= CLOSE else None,
        ))  # fmt: skip
    return claims


def _risk_to_zero(records: Sequence[Record]) -> Claim:
    last = records[-1]
    return _claim(
        "fig8b.risk", "fig. 8b", "the training risk reaches 0",
        f"risk {last['risk']:.3g} at epoch {last['epoch']}", "≤ 0.001", last["risk"] <= 1e-3,
    )  # fmt: skip


def _accuracy_to_one(records: Sequence[Record]) -> Claim:
    last = records[-1]
    return _claim(
        "fig8b.accuracy", "fig. 8b", "the training accuracy reaches 1",
        f"accuracy {last['accuracy']:.4f} at epoch {last['epoch']}", "≥ 0.999", last["accuracy"] >= 0.999,
    )  # fmt: skip


def _growth(records: Sequence[Record]) -> Claim:
    """Geometric mean over hidden layers of the growth factor c of mean squares, at every recorded epoch."""
    means = [
        float(np.exp(np.mean(np.log(r["growth"]))))
        for r in records
        if r["growth"] and None not in r["growth"] and min(r["growth"]) > 0
    ]
    return _claim(
        "M1.growth", "sec. 9, M1", "the growth factor c of signals per layer stays near 1",
        f"c from {min(means):.2f} to {max(means):.2f}" if means else None,
        "0.5 to 2 at every epoch", min(means) >= 0.5 and max(means) <= 2 if means else None,
    )  # fmt: skip


def _fact(name: str, records: Sequence[Record]) -> Claim:
    if name == "E5":
        return _stationary(records)
    checks = [r["exact"][name] for r in records if name in r["exact"]]
    claim = _claim(
        name, f"fact {name}", FACTS[name],
        f"relative error ≤ {max(c['value'] for c in checks):.1e}" if checks else None,
        f"≤ {checks[0]['tolerance']:.0e}" if checks else "rounding",
        all(c["value"] <= c["tolerance"] for c in checks) if checks else None,
    )  # fmt: skip
    return claim | ({"verdict": "holds"} if claim["verdict"] == "supported" else {})


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
    claim = _claim("E5", "fact E5", FACTS["E5"], named or "no recorded epoch is stationary", "a saddle or H = 0",
                   "unexplained" not in kinds if kinds else None)  # fmt: skip
    return claim | ({"verdict": "holds"} if claim["verdict"] == "supported" else {})
