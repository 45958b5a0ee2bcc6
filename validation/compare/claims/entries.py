"""Verdicts on the paper's claims about Hessian entries (figs. 6 and 7), from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from validation.compare.captions.entries import PAPER_RATIO
from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, Held, all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

BROKEN = 0.1  # broken part above chance up to which a law counts as symmetric
SPARSE_SHARE = 0.1  # of pairs with a large correlation
ERRORS = ("standard_error", "example_standard_error", "entry_standard_error")
NONE: Record = {"value": 0.0, "standard_error": 0.0}  # every mean is 0: nothing is broken

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
        _labels(known),
        _sparse(known),
        _increase(known),
        _means(known),
        *_concentration(known),
        *(_coupling(known, kind) for kind in NAMES),
    ]


def _claim(name: str, text: str, measured: str | None, expected: str, held: Held) -> Claim:
    return Claim(name, f"fig. {name[3:5]}", text, measured, expected, held)


def _value(row: Record) -> float:
    return float(row["value"])


def error_of(row: Record) -> float | None:
    """The errors over first parameters and over examples that a row has, in quadrature; None where one is unknown."""
    parts = [row[key] for key in ERRORS if key in row]
    return None if None in parts else math.hypot(*parts)


def number(row: Record) -> str:
    """A row's value (or fraction) with its whole error, to that error's second digit."""
    value, error = row.get("value", row.get("fraction")), error_of(row)
    return f"{value:z.3g} ± unknown" if error is None else plus_minus({"value": value, "standard_error": error})


def _through(rows: Sequence[Record]) -> str:
    """The numbers at the first and the last of the epochs."""
    return " → ".join(number(row) for row in (*rows[:1], *rows[1:][-1:]))


def _beside(known: Sequence[Record], place: Callable[[Record], Record]) -> str:
    """The same number of ∂²T itself and with random labels, at the first and the last epoch."""
    own, null = ([place(r["entries"][key]) for r in known] for key in ("second_derivative", "random_labels"))
    return f"; ∂²T itself {_through(own)}, random labels {_through(null)}"


def _symmetric(rows: Sequence[Record]) -> Held:
    """Broken parts of all epochs against the bound, each with its error."""
    return all_of(at_most(row["value"], BROKEN, error_of(row)) for row in rows)


def _laws(known: Sequence[Record]) -> Claim:
    """Laws of single entries over the examples at which they are not 0."""
    laws, tests = ([r["entries"][key] for r in known] for key in ("symmetry", "symmetry_tests"))
    return _claim(
        "fig6a.symmetry", "the laws of single Hessian entries are symmetric through training",
        f"mean broken part above chance {_through(laws)}, at most {number(max(laws, key=_value))}"
        f"{_beside(known, lambda row: row['symmetry'])}; D rejects symmetry of "
        f"{' → '.join(str(t['rejected']) for t in tests[:1] + tests[1:][-1:])} of {tests[0]['tests']} entries"
        if laws else None,
        f"≤ {BROKEN} above chance at every epoch", _symmetric(laws),
    )  # fmt: skip


def _labels(known: Sequence[Record]) -> Claim:
    """∂²T has no labels in it: where it is broken, a symmetric law of h = c ∂²T comes from their balance."""
    own = [r["entries"]["second_derivative"]["symmetry"] for r in known]
    null = [r["entries"]["random_labels"] for r in known]
    shares = [row["negative"] for row in null]
    return _claim(
        "fig6a.labels", "entries are symmetric by themselves, and not through the balance of the labels",
        f"mean broken part of ∂²T itself {_through(own)}, at most {number(max(own, key=_value))}; "
        f"random labels on the same examples {_through([row['symmetry'] for row in null])}, "
        f"{min(shares):.2f} to {max(shares):.2f} of them on one side" if own else None,
        f"∂²T itself ≤ {BROKEN} above chance at every epoch", _symmetric(own),
    )  # fmt: skip


def _sparse(known: Sequence[Record]) -> Claim:
    shares = [r["entries"]["correlation"]["large"] for r in known]
    ends = shares[:1] + shares[1:][-1:]
    return _claim(
        "fig6b.sparse", "correlations between entries are sparse at the beginning and the end",
        " and ".join(f"{number(s)} of pairs" for s in ends) + " with |correlation| > 0.1" if ends else None,
        f"≤ {SPARSE_SHARE} of the pairs", all_of(at_most(s["value"], SPARSE_SHARE, error_of(s)) for s in ends),
    )  # fmt: skip


def _increase(known: Sequence[Record]) -> Claim:
    """Mean square correlations, free of chance, at the last epoch against the first."""
    ends = [r["entries"]["correlation"]["mean_square"] for r in (known[0], known[-1])] if len(known) > 1 else []
    errors = [error_of(end) for end in ends]
    error = None if None in errors else math.hypot(*(e for e in errors if e is not None))
    return _claim(
        "fig6c.increase", "correlations between entries increase through training",
        f"mean square correlation {number(ends[0])} → {number(ends[1])}" if ends else None,
        "larger at the last epoch by two standard errors",
        at_least(ends[1]["value"] - ends[0]["value"], 0.0, error) if ends else None,
    )  # fmt: skip


def _means(known: Sequence[Record]) -> Claim:
    seen = [r for r in known if r["entries"]["concentration"]["symmetry"]]
    laws = [r["entries"]["concentration"]["symmetry"] for r in seen]
    return _claim(
        "fig7a.symmetry", "the law of the normalised means of entries is symmetric about 0",
        f"broken part above chance {_through(laws)}, at most {number(max(laws, key=_value))}"
        f"{_beside(seen, lambda row: row['concentration']['symmetry'] or NONE)}" if laws else None,
        f"≤ {BROKEN} above chance at every epoch", _symmetric(laws),
    )  # fmt: skip


def _concentration(known: Sequence[Record]) -> list[Claim]:
    """One claim for every B, as the paper does not say of how many examples its standard deviation is."""
    if not known:
        return [_claim("fig7b.concentration", "means of entries concentrate on 0", None, _expected(), None)]
    claims = []
    for place, first in enumerate(known[0]["entries"]["concentration"]["averages"]):
        rows = [r["entries"]["concentration"]["averages"][place] for r in known]
        worst = min(rows, key=lambda row: row["fraction"])
        held = [at_least(row["fraction"], CLOSE, error_of(row)) for row in rows]
        claims.append(_claim(
            f"fig7b.B{first['average']}",
            f"means of entries lie within 0.15 standard deviations of an average of {first['average']:,} examples",
            f"{_through(rows)}, least {number(worst)}{_beside(known, partial(_average, place))}"
            f"; means of 0 would give {first['chance']:.3f}",
            _expected(), all_of([*held, at_least(rows[-1]["fraction"], CLOSE_LAST, error_of(rows[-1]))]),
        ))  # fmt: skip
    return claims


def _average(place: int, row: Record) -> Record:
    found: Record = row["concentration"]["averages"][place]
    return found


def _expected() -> str:
    return f"≥ {CLOSE} at every epoch, ≥ {CLOSE_LAST} at the last (paper: 95 % rising to about 98 %)"


def if_detectable(row: Record, held: Held) -> Held:
    """What was found is a lower bound: that it is small says something where a correlation of `DETECTABLE` is found."""
    return UNRESOLVED if held is True and row["detectable"] > DETECTABLE else held


def _coupling(known: Sequence[Record], kind: str) -> Claim:
    """Lower bounds: what is significant, and for the covariance the mean square correlation less two of its errors."""
    last = known[-1]["entries"]["coupling"] if known else None
    text = f"an entry has a non-zero {NAMES[kind]} with few others"
    expected = f"ratio ≤ {SPARSE:.1e} at the last epoch (paper, of correlations: {PAPER_RATIO:.1e})"
    if last is None:
        return _claim(f"fig7c.{kind}", text, None, expected, None)
    row, note, least = last[kind], "", 0.0
    if kind == "covariance":
        least, note = last["least_ratio"], f"; ≥ {last['least_ratio']:.1e} by the mean square"
    error = row["standard_error"]
    relative = error / row["share"] if error is not None and row["share"] > 0 else error
    counted = at_most(row["ratio"], SPARSE, None if relative is None else row["ratio"] * relative)
    measured = f"{_size(row)}; {_reach(row['detectable'], kind)}{note}"
    return _claim(
        f"fig7c.{kind}",
        text,
        measured,
        expected,
        all_of([if_detectable(row, counted), False if least > SPARSE else None]),
    )


def _reach(least: float, kind: str) -> str:
    """What could be found; no correlation exceeds 1, while other cross-cumulants may."""
    if kind == "covariance" and least > 1.0:
        return "with so few active examples not even a correlation of 1 is found"
    return f"found from a correlation of {least:.2g} on"


def _size(row: Record) -> str:
    if row["exponent"] is None:
        return f"none of {row['tests']:,} sampled pairs significant at the last epoch"
    return (
        f"N^({row['exponent']:z.3f} ± {row['exponent_standard_error'] or 0.0:.3f}), ratio to N² {row['ratio']:.1e}; "
        f"{row['found']:,} of {row['tests']:,} sampled pairs"
    )
