"""Verdicts on the paper's claims about Hessian entries (figs. 6 and 7), from recorded epochs."""

from __future__ import annotations

from collections.abc import Sequence

from validation.compare.captions.entries import PAPER_RATIO
from validation.statistics.claim import Claim, Record

CLOSE, CLOSE_LAST = 0.95, 0.97  # "at least 95 %, up to around 98 %"
SPARSE = 3.0 * PAPER_RATIO  # the paper's ratio within a factor of three, or less
DETECTABLE = 0.2  # a correlation that must be found for its absence to mean anything
NAMES = {"covariance": "covariance", "third": "third cross-cumulant", "fourth": "fourth cross-cumulant"}


def judge_entries(records: Sequence[Record]) -> list[Claim]:
    """The claims of figs. 6 and 7; none if no record has statistics of entries."""
    seen = [r for r in records if r.get("entries")]
    if not seen:
        return []
    known = [r for r in seen if r["entries"]["coupling"]]
    return [
        _laws(known),
        _sparse(known),
        _increase(known),
        _means(known),
        *_concentration(known),
        *(_coupling(known, kind) for kind in NAMES),
    ]


def _claim(name: str, text: str, measured: str | None, expected: str, supported: bool | None) -> Claim:
    return Claim(name, f"fig. {name[3:5]}", text, measured, expected, supported)


def _laws(known: Sequence[Record]) -> Claim:
    """Laws of single entries over the examples at which they are not 0."""
    laws = [r["entries"]["symmetry"] for r in known]
    ends = laws[:1] + laws[1:][-1:]
    return _claim(
        "fig6a.symmetry", "the laws of single Hessian entries are symmetric through training",
        f"mean broken part {' → '.join(map(_with_error, ends))} above chance, at most "
        f"{max(s['value'] for s in laws):.3f}; D rejects symmetry of "
        f"{' → '.join(str(s['rejected']) for s in ends)} of {laws[0]['tests']} entries"
        if laws else None,
        "≤ 0.1 above chance at every epoch", max(s["value"] for s in laws) <= 0.1 if laws else None,
    )  # fmt: skip


def _sparse(known: Sequence[Record]) -> Claim:
    shares = [r["entries"]["correlation"]["large"] for r in known]
    ends = shares[:1] + shares[1:][-1:]
    return _claim(
        "fig6b.sparse", "correlations between entries are sparse at the beginning and the end",
        " and ".join(f"{_with_error(s)} of pairs" for s in ends) + " with |correlation| > 0.1" if ends else None,
        "≤ 0.1 of the pairs", all(s["value"] <= 0.1 for s in ends) if ends else None,
    )  # fmt: skip


def _increase(known: Sequence[Record]) -> Claim:
    """Mean square correlations, free of chance, at the last epoch against the first, by two standard errors."""
    ends = [r["entries"]["correlation"]["mean_square"] for r in (known[0], known[-1])] if len(known) > 1 else []
    grows = None
    if ends:
        error = sum((e["standard_error"] or 0.0) ** 2 for e in ends) ** 0.5
        grows = ends[1]["value"] - ends[0]["value"] > 2.0 * error
    return _claim(
        "fig6c.increase", "correlations between entries increase through training",
        f"mean square correlation {_with_error(ends[0])} → {_with_error(ends[1])}" if ends else None,
        "larger at the last epoch by two standard errors", grows,
    )  # fmt: skip


def _means(known: Sequence[Record]) -> Claim:
    laws = [s for r in known if (s := r["entries"]["concentration"]["symmetry"])]
    excess = [s["value"] - s["null"] for s in laws]
    return _claim(
        "fig7a.symmetry", "the law of the normalised means of entries is symmetric about 0",
        f"broken part {min(excess):.3f} to {max(excess):.3f} above chance" if excess else None,
        "≤ 0.1 above chance at every epoch", max(excess) <= 0.1 if excess else None,
    )  # fmt: skip


def _concentration(known: Sequence[Record]) -> list[Claim]:
    """One claim for every B, as the paper does not say of how many examples its standard deviation is."""
    if not known:
        return [_claim("fig7b.concentration", "means of entries concentrate on 0", None, _expected(), None)]
    claims = []
    for place, first in enumerate(known[0]["entries"]["concentration"]["averages"]):
        rows = [r["entries"]["concentration"]["averages"][place] for r in known]
        values = [row["fraction"] for row in rows]
        supported = min(values) >= CLOSE and values[-1] >= CLOSE_LAST
        claims.append(_claim(
            f"fig7b.B{first['average']}",
            f"means of entries lie within 0.15 standard deviations of an average of {first['average']:,} examples",
            f"{rows[0]['fraction']:.3f} ± {rows[0]['standard_error'] or 0.0:.3f} at the first epoch, "
            f"{rows[-1]['fraction']:.3f} ± {rows[-1]['standard_error'] or 0.0:.3f} at the last, least {min(values):.3f}"
            f"; means of 0 would give {first['chance']:.3f}",
            _expected(), supported,
        ))  # fmt: skip
    return claims


def _expected() -> str:
    return f"≥ {CLOSE} at every epoch, ≥ {CLOSE_LAST} at the last (paper: 95 % rising to about 98 %)"


def _coupling(known: Sequence[Record], kind: str) -> Claim:
    """Not supported once a lower bound is too large; supported only where a correlation of `DETECTABLE` would be found.

    Lower bounds: what is significant, and for the covariance the mean square correlation.
    """
    last = known[-1]["entries"]["coupling"] if known else None
    text = f"an entry has a non-zero {NAMES[kind]} with few others"
    expected = f"ratio ≤ {SPARSE:.1e} at the last epoch (paper, of correlations: {PAPER_RATIO:.1e})"
    if last is None:
        return _claim(f"fig7c.{kind}", text, None, expected, None)
    row = last[kind]
    least, note = row["ratio"], f"; found from a correlation of {row['detectable']:.2g} on"
    if kind == "covariance":
        least, note = max(least, last["least_ratio"]), f"{note}; ≥ {last['least_ratio']:.1e} by the mean square"
    supported = False if least > SPARSE else True if row["detectable"] <= DETECTABLE else None
    return _claim(f"fig7c.{kind}", text, _size(row) + note, expected, supported)


def _size(row: Record) -> str:
    if row["exponent"] is None:
        return f"none of {row['tests']:,} sampled pairs significant at the last epoch"
    return (
        f"N^({row['exponent']:.3f} ± {row['exponent_standard_error'] or 0.0:.3f}), ratio to N² {row['ratio']:.1e}; "
        f"{row['found']:,} of {row['tests']:,} sampled pairs"
    )


def _with_error(row: Record) -> str:
    error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.2g}"
    return f"{row['value']:.3g}{error}"
