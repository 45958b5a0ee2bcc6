"""Verdicts on the symmetry of the Hessian spectrum about 0 (fig. 8a), from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import all_of, at_most, most_of
from validation.statistics.estimate import told

from .spectrum import with_spectrum

MIRROR = 0.02  # rms: W1 up to which a spectrum counts as symmetric
MOST = 0.8  # of the epochs
SKEW = 0.1  # tr H³/tr |H|³
NEGLIGIBLE = 1e-4  # relative error that is not told
EDGES = 1.25  # between the largest eigenvalues of either sign


def judge_mirror(records: Sequence[Record]) -> list[Claim]:
    """The spectrum as a whole, its third moment, and its edges: W1 hardly sees outliers."""
    seen = with_spectrum(records)
    return [_whole(seen), _skew(seen), _edges(seen)]


def _whole(seen: Sequence[Record]) -> Claim:
    """W1 with its error decides; the randomisation test stands beside, as few probes cannot give small p-values."""
    laws = [r["spectrum"]["symmetry"] for r in seen]
    worst = max(laws, key=lambda s: s["value"]) if laws else None
    return Claim(
        "fig8a.symmetry", "fig. 8a", "the Hessian spectrum is symmetric about 0 through training",
        f"W1 to the mirror image up to {worst['value']:.4f} ± {told(worst['standard_error'])} rms; randomisation "
        f"test: least p = {min(s['p_value'] for s in laws):.3g} of {len(laws)} epochs (no less than "
        f"{1.0 / max(s['patterns'] for s in laws):.3g} with so many probes)" if worst else None,
        f"W1 ≤ {MIRROR:g} rms in {100 * MOST:g} % of the epochs",
        most_of((at_most(s["value"], MIRROR, s["standard_error"]) for s in laws), MOST),
    )  # fmt: skip


def _skew(seen: Sequence[Record]) -> Claim:
    laws = [r["spectrum"]["symmetry"] for r in seen]
    worst = max(laws, key=lambda s: abs(s["skew"])) if laws else None
    return Claim(
        "fig8a.skew", "fig. 8a", "the third moment of the spectrum is 0: outliers of both signs are balanced",
        f"tr H³/tr |H|³ up to {worst['skew']:z.3f} ± {told(worst['skew_standard_error'])} in size" if worst else None,
        f"at most {SKEW:g} in size at every epoch",
        all_of(at_most(abs(s["skew"]), SKEW, s["skew_standard_error"]) for s in laws),
    )  # fmt: skip


def _edges(seen: Sequence[Record]) -> Claim:
    """Compared as |log(λ_max/|λ_min|)|, where either sign may be the larger."""
    rows = []
    for record in seen:
        low, high = (record["spectrum"]["largest"][side][:1] for side in ("negative", "positive"))
        if low and high:
            relative = [e["standard_error"] / e["value"] for e in (low[0], high[0])]
            rows.append((high[0]["value"] / low[0]["value"], math.hypot(*relative), record["epoch"]))
    worst = max(rows, key=lambda row: abs(math.log(row[0]))) if rows else None
    return Claim(
        "fig8a.edges", "fig. 8a", "the largest eigenvalues of either sign are equally far from 0",
        f"λ_max/|λ_min| {_ratio(*worst[:2])} at epoch {worst[2]}, where it is furthest from 1" if worst else None,
        f"within a factor of {EDGES:g} at every epoch",
        all_of(at_most(abs(math.log(ratio)), math.log(EDGES), error) for ratio, error, _ in rows),
    )  # fmt: skip


def _ratio(ratio: float, relative: float) -> str:
    """With its error, unless that does not show in the digits: extreme eigenvalues often converge to rounding."""
    return f"{ratio:.3g}" + (f" ± {ratio * relative:.2g}" if relative > NEGLIGIBLE else "")
