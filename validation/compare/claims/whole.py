"""Verdicts on the spectrum of the whole, H + G, from a run with --whole and a loss that has a curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from validation.predictions.rung import title_of
from validation.predictions.whole import WHOLE_RUNGS
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, Held, all_of, at_least, at_most, l1_at_most
from validation.statistics.estimate import combined, told

from .predictions import CLOSE

NEAR = 0.1  # of the largest eigenvalue, up to which a prediction of it is supported
SAME = 0.9  # squared overlap from which on two eigenvectors are one and the same
SPIKED = 0.05  # of position and of overlap, up to which the law of isotropic directions is supported
CLASSES = 0.5  # of an eigenvector of G, in the means of the classes
STRETCH = 2.0  # rms of H by which it may move a direction that it does not know
SKEWED = 0.5  # of tr λ³/tr |λ|³ in H + G beyond what it is in H

FACTS = {
    "trace": "tr(H + G) = tr G, by the diagonal of the operator and by the Gram matrix of gradients",
    "eigenvector": "G u = θ u: products of the operator, the eigenvector from the Gram matrix",
    "order_parameter": "‖∇R‖² = c^T K c with the Gram matrix K of gradients",
    "euler": "(H + G) θ = (L-1) ∇R + (L/m) Σ ℓ''_i T_i ∇T_i",
}


def judge_whole(records: Sequence[Record]) -> list[Claim]:
    """Predictions of H + G, its outliers beside those of G, its symmetry, and exact facts; nothing without --whole."""
    seen = [r for r in records if r.get("whole")]
    if not seen:
        return []
    bent = [r for r in seen if r["whole"]["spectrum"]]
    claims = [_fact(name, seen) for name in FACTS]
    if not bent:  # G = 0: there is no second part to speak of
        return claims
    return [
        *(_prediction(rung, bent) for rung in WHOLE_RUNGS),
        *(_largest(rung, bent) for rung in WHOLE_RUNGS),
        _free(bent),
        _outliers(bent),
        _further(bent),
        _spiked(bent),
        _alignment(bent),
        _classes(bent),
        _symmetry(bent),
        *claims,
    ]


def _range(values: Sequence[float], digits: str = ".3g") -> str:
    """The least and the largest."""
    return f"{min(values):{digits}} to {max(values):{digits}}"


def _worst(errors: Sequence[float | None]) -> float | None:
    """The largest standard error; None where one is not known."""
    known = [error for error in errors if error is not None]
    return max(known) if known and len(known) == len(errors) else None


def _distances(name: str, bent: Sequence[Record]) -> list[Record]:
    made = [r["whole"]["predictions"].get(name, {}) for r in bent]
    return [p for p in made if "l1" in p]


def _l1(made: Sequence[Record]) -> tuple[str, Held]:
    errors = [p["l1_standard_error"] for p in made]
    said = f"L1 {_range([p['l1'] for p in made], '.3f')}, standard error up to {told(_worst(errors), '.3f')}"
    return said, all_of(l1_at_most(p["l1"], CLOSE, p["l1_standard_error"]) for p in made)


def _tested(held: Held, bent: Sequence[Record]) -> Held:
    """A distance that H without G keeps as well does not test a law of H + G: not resolved."""
    passed = all(p["l1"] <= CLOSE for p in _distances("H", bent))
    return UNRESOLVED if held is True and passed else held


def _prediction(rung: str, bent: Sequence[Record]) -> Claim:
    made, alone = (_distances(name, bent) for name in (rung, "H"))
    said, held = _l1(made)
    logged = [r["whole"]["spectrum"]["bulk"]["log_standard_error"] for r in bent]
    logs, without = (_range([p["log_distance"] for p in part], ".3f") for part in (made, alone))
    return Claim(
        f"whole.prediction.{rung}", f"fig. 8a, {rung}",
        f"the spectrum of H + G follows from what {rung} knows and G from the same signals: {title_of(rung)}",
        f"{said}, of H without G {_range([p['l1'] for p in alone], '.3f')}; log distance {logs}, of H without G "
        f"{without}, error up to {told(_worst(logged))}",
        f"L1 ≤ {CLOSE:g} at every epoch, by one standard error, and more without G", _tested(held, bent),
    )  # fmt: skip


def _largest(rung: str, bent: Sequence[Record]) -> Claim:
    """The far eigenvalues, which no distance of densities sees: judged on the largest, said of the others."""
    ratios = [_drawn_ratios(r["whole"], rung) for r in bent if r["whole"]["largest"]]
    first = [row[0] for row in ratios if row]
    others = [value for row in ratios for value, _ in row[1:]]
    worst, values = max((error for _, error in first), default=0.0), [value for value, _ in first]
    beside = f"; of the next {_range(others)}" if others else ""
    return Claim(
        f"whole.largest.{rung}", f"fig. 8a, {rung}",
        f"the largest eigenvalue of H + G follows from what {rung} knows",
        f"predicted over measured {_range(values)}, standard error up to {worst:.2g}{beside}" if first else None,
        f"within {100 * NEAR:g} % at every epoch, by two standard errors",
        all_of(at_most(abs(value - 1.0), NEAR, error) for value, error in first),
    )  # fmt: skip


def _drawn_ratios(made: Record, rung: str) -> list[tuple[float, float]]:
    """Drawn over measured eigenvalues of equal rank, with standard errors over draws."""
    drawn = made["predictions"][rung]["tails"]["largest"]["positive"]
    scales = [made["spectrum"]["rms"] / row["whole"] for row in made["largest"]]
    return [(one["value"] * s, one["standard_error"] * s) for one, s in zip(drawn, scales, strict=False)]


def _free(bent: Sequence[Record]) -> Claim:
    """No draw: the null that knows both spectra, and nothing of how the eigenvectors lie to one another."""
    made = _distances("free", bent)
    said, held = _l1(made) if made else (None, None)
    return Claim(
        "whole.free", "fig. 8a, H + G",
        "eigenvectors of H and of G know nothing of one another: the spectrum of H + G is their free sum",
        said, f"L1 ≤ {CLOSE:g} at every epoch, by one standard error, and more for H alone", _tested(held, bent),
    )  # fmt: skip


def _leading(bent: Sequence[Record], value: Callable[[Record], float]) -> list[float]:
    return [value(r["whole"]["largest"][0]) for r in bent if r["whole"]["largest"]]


def _outliers(bent: Sequence[Record]) -> Claim:
    """What is often said of trained networks: the far eigenvalues of the Hessian are those of its Gauss-Newton part."""
    ratios = _leading(bent, lambda row: row["whole"] / row["gauss_newton"])
    overlaps = _leading(bent, lambda row: row["overlap"])
    return Claim(
        "whole.outliers", "H + G", "the largest eigenvalue of H + G is that of G",
        f"ratio {_range(ratios)}, squared overlap of the eigenvectors {_range(overlaps)}" if ratios else None,
        f"ratio within {100 * NEAR:g} % and overlap ≥ {SAME:g} at every epoch",
        all_of([*(at_most(abs(v - 1.0), NEAR, 0.0) for v in ratios), *(at_least(v, SAME, 0.0) for v in overlaps)]),
    )  # fmt: skip


def _further(bent: Sequence[Record]) -> Claim:
    """The same of all that were looked at: how far the worst of them is off, epoch by epoch."""
    worst = {
        r["epoch"]: max(abs(row["whole"] / row["gauss_newton"] - 1.0) for row in r["whole"]["largest"])
        for r in bent if r["whole"]["largest"]
    }  # fmt: skip
    said = ", ".join(f"{100 * value:.3g} % at epoch {epoch}" for epoch, value in worst.items())
    return Claim(
        "whole.outliers.five", "H + G", "the five largest eigenvalues of H + G are those of G, rank by rank",
        f"the worst is off by {said}" if worst else None, f"each within {100 * NEAR:g} % at every epoch",
        all_of(at_most(value, NEAR, 0.0) for value in worst.values()),
    )  # fmt: skip


def _spiked(bent: Sequence[Record]) -> Claim:
    """A direction far beyond all of H stays where it is whatever H does: see `_alignment` for what H does to it."""
    ratios = _leading(bent, lambda row: row["whole"] / row["spiked"])
    gaps = _leading(bent, lambda row: row["overlap"] - row["spiked_overlap"])
    return Claim(
        "whole.spiked", "H + G", "the outlier lies where the law of spikes in random directions puts it",
        f"position over that of the law {_range(ratios)}, overlap less that of the law {_range(gaps)}"
        if ratios else None,
        f"both within {SPIKED:g} at every epoch",
        all_of([*(at_most(abs(v - 1.0), SPIKED, 0.0) for v in ratios), *(at_most(abs(v), SPIKED, 0.0) for v in gaps)]),
    )  # fmt: skip


def _alignment(bent: Sequence[Record]) -> Claim:
    """Whether G's largest direction is a random one to H, by the length of H u."""
    rows = [r["whole"]["largest"][0] for r in bent if r["whole"]["largest"]]
    actions, chances = ([row[name] for row in rows] for name in ("action", "action_chance"))
    return Claim(
        "whole.alignment", "H + G", "H does not know G's largest direction u: it moves u as any other",
        f"‖Hu‖ over the rms of H {_range(actions)}; of random directions 1 ± {max(chances):.2g} at most"
        if rows else None,
        f"‖Hu‖ at most {STRETCH:g} rms at every epoch, by two standard deviations of random directions",
        all_of(at_most(value, STRETCH, chance) for value, chance in zip(actions, chances, strict=True)),
    )  # fmt: skip


def _classes(bent: Sequence[Record]) -> Claim:
    shares = _leading(bent, lambda row: row["classes"])
    return Claim(
        "whole.classes", "H + G", "the largest eigenvector of G lies in the span of the classes' mean gradients",
        f"share {_range(shares)}" if shares else None, f"≥ {CLASSES:g} at every epoch",
        all_of(at_least(v, CLASSES, 0.0) for v in shares),
    )  # fmt: skip


def _symmetry(bent: Sequence[Record]) -> Claim:
    """The paper's reservation, put as a test: the matrix in a decomposed form is symmetric where the whole is not."""
    sides = [(r["spectrum"]["symmetry"], r["whole"]["spectrum"]["symmetry"]) for r in bent]
    own, both = ([side[k]["skew"] for side in sides] for k in (0, 1))
    errors = [combined(*(one["skew_standard_error"] for one in side)) for side in sides]
    return Claim(
        "whole.symmetry", "caption of fig. 8",
        "the spectrum is symmetric for the decomposed part H alone, not for H + G",
        f"tr λ³/tr |λ|³ of H {_range(own)}, of H + G {_range(both)}, standard error of the difference up to "
        + told(_worst(errors)),
        f"of H + G more than |that of H| by {SKEWED:g} at every epoch, by two standard errors",
        all_of(at_least(b - abs(a), SKEWED, error) for a, b, error in zip(own, both, errors, strict=True)),
    )  # fmt: skip


def _fact(name: str, seen: Sequence[Record]) -> Claim:
    checks = [r["whole"]["exact"][name] for r in seen]
    return Claim(
        f"whole.fact.{name}", "H + G", FACTS[name], f"relative error ≤ {max(c['value'] for c in checks):.1e}",
        f"≤ {checks[0]['tolerance']:.0e}", all(c["value"] <= c["tolerance"] for c in checks), exact=True,
    )  # fmt: skip
