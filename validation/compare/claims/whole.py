"""Verdicts on the spectrum of the whole, H + G, from a run with --whole and a loss that has a curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from validation.predictions.rung import title_of
from validation.predictions.whole import WHOLE_RUNGS
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import Held, all_of, at_least, at_most, l1_at_most

from .predictions import CLOSE

NEAR = 0.1  # of the largest eigenvalue, up to which a prediction of it is supported
SAME = 0.9  # squared overlap from which on two eigenvectors are one and the same
SPIKED = 0.05  # of position and of overlap, up to which the law of isotropic directions is supported
CLASSES = 0.5  # of an eigenvector of G, in the means of the classes
SYMMETRIC, SKEWED = 0.2, 0.5  # |tr λ³|/tr |λ|³ of a symmetric spectrum at most, of one that is not at least

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
        _spiked(bent),
        _classes(bent),
        _symmetry(bent),
        *claims,
    ]


def _range(values: Sequence[float], digits: str = ".3g") -> str:
    """The least and the largest."""
    return f"{min(values):{digits}} to {max(values):{digits}}"


def _distances(name: str, bent: Sequence[Record]) -> list[Record]:
    made = [r["whole"]["predictions"].get(name, {}) for r in bent]
    return [p for p in made if "l1" in p]


def _l1(made: Sequence[Record]) -> tuple[str, Held]:
    errors = [p["l1_standard_error"] for p in made]
    known = max(errors) if errors and None not in errors else None
    said = f"L1 {_range([p['l1'] for p in made], '.3f')}, standard error " + (
        "unknown" if known is None else f"up to {known:.3f}"
    )
    return said, all_of(l1_at_most(p["l1"], CLOSE, p["l1_standard_error"]) for p in made)


def _prediction(rung: str, bent: Sequence[Record]) -> Claim:
    """Beside the distance of H alone: where G is small against H, every law of H is near that of H + G."""
    said, held = _l1(_distances(rung, bent))
    alone = _range([p["l1"] for p in _distances("H", bent)], ".3f")
    return Claim(
        f"whole.prediction.{rung}", f"fig. 8a, {rung}",
        f"the spectrum of H + G follows from what {rung} knows, with G from the same signals: {title_of(rung)}",
        f"{said}; H without G {alone}", f"L1 ≤ {CLOSE:g} at every epoch, by one standard error", held,
    )  # fmt: skip


def _largest(rung: str, bent: Sequence[Record]) -> Claim:
    """The largest eigenvalue, which no distance of densities sees."""
    ratios = []
    for r in bent:
        drawn, rms = r["whole"]["predictions"][rung]["tails"]["largest"]["positive"], r["whole"]["spectrum"]["rms"]
        if drawn and r["whole"]["largest"]:
            scale = rms / r["whole"]["largest"][0]["whole"]
            ratios.append((drawn[0]["value"] * scale, drawn[0]["standard_error"] * scale))
    worst, values = max((error for _, error in ratios), default=0.0), [value for value, _ in ratios]
    return Claim(
        f"whole.largest.{rung}", f"fig. 8a, {rung}",
        f"the largest eigenvalue of H + G follows from what {rung} knows",
        f"predicted over measured {_range(values)}, standard error up to {worst:.2g}" if ratios else None,
        f"within {100 * NEAR:g} % at every epoch, by two standard errors",
        all_of(at_most(abs(value - 1.0), NEAR, error) for value, error in ratios),
    )  # fmt: skip


def _free(bent: Sequence[Record]) -> Claim:
    """No draw: the null that knows both spectra, and nothing of how the eigenvectors lie to one another."""
    made = _distances("free", bent)
    said, held = _l1(made) if made else (None, None)
    return Claim(
        "whole.free", "fig. 8a, H + G",
        "eigenvectors of H and of G know nothing of one another: the spectrum of H + G is their free sum",
        said, f"L1 ≤ {CLOSE:g} at every epoch, by one standard error", held,
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


def _spiked(bent: Sequence[Record]) -> Claim:
    """Whether H moves the outlier as it would one in a direction drawn at random."""
    ratios = _leading(bent, lambda row: row["whole"] / row["spiked"])
    gaps = _leading(bent, lambda row: row["overlap"] - row["spiked_overlap"])
    actions = _leading(bent, lambda row: row["action"])
    return Claim(
        "whole.spiked", "H + G", "G's largest direction knows nothing of H: the outlier follows the law of spikes",
        f"position over that of the law {_range(ratios)}, overlap less that of the law {_range(gaps)}; H moves the "
        f"direction by {_range(actions)} rms" if ratios else None,
        f"both within {SPIKED:g} at every epoch",
        all_of([*(at_most(abs(v - 1.0), SPIKED, 0.0) for v in ratios), *(at_most(abs(v), SPIKED, 0.0) for v in gaps)]),
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
    sides = [[r[part]["symmetry"] for part in ("residual", "whole")] for r in map(_parts, bent)]
    own, whole = ([side[k]["skew"] for side in sides] for k in (0, 1))
    errors = [side[k]["skew_standard_error"] for side in sides for k in (0, 1)]
    known = max(errors) if None not in errors else None
    return Claim(
        "whole.symmetry", "caption of fig. 8",
        "the spectrum is symmetric for the decomposed part H alone, not for H + G",
        f"tr λ³/tr |λ|³ of H {_range(own)}, of H + G {_range(whole)}, standard error "
        + ("unknown" if known is None else f"up to {known:.2g}"),
        f"of H at most {SYMMETRIC:g}, of H + G at least {SKEWED:g}, at every epoch, by two standard errors",
        all_of([
            *(at_most(abs(s[0]["skew"]), SYMMETRIC, s[0]["skew_standard_error"]) for s in sides),
            *(at_least(s[1]["skew"], SKEWED, s[1]["skew_standard_error"]) for s in sides),
        ]),
    )  # fmt: skip


def _parts(record: Record) -> Record:
    return {"residual": record["spectrum"], "whole": record["whole"]["spectrum"]}


def _fact(name: str, seen: Sequence[Record]) -> Claim:
    checks = [r["whole"]["exact"][name] for r in seen]
    return Claim(
        f"whole.fact.{name}", "H + G", FACTS[name], f"relative error ≤ {max(c['value'] for c in checks):.1e}",
        f"≤ {checks[0]['tolerance']:.0e}", all(c["value"] <= c["tolerance"] for c in checks), exact=True,
    )  # fmt: skip
