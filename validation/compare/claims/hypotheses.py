"""Verdicts on what the paper's theorem on the spectrum assumes of the Hessian's entries, where they were measured.

Section II F 5 rests on matrix Dyson equations for correlated entries (Erdős, Krüger and Schröder, Forum Math. Sigma 7
(2019) e8; Ajanki, Erdős and Krüger, Probab. Theory Relat. Fields 173 (2019) 293). Of a matrix of size N they want

- *neighbourhoods*: an entry depends on fewer than N^{1/2} of the N² others, and hardly on those outside;
- *flatness*: c tr(R)/N ≤ S[R] ≤ C tr(R)/N for R ≥ 0 and S[R] = E W R W, W = H - E H, so that E|W_ij|² ≥ c/N everywhere.

The first is measured over the examples, as the paper does. The second is refuted exactly by E1.
"""

from __future__ import annotations

from collections.abc import Sequence

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import UNRESOLVED, Held, all_of, at_most
from validation.statistics.estimate import told

from .entries import DETECTABLE, if_detectable

SOURCE = "section II F 5"
HALF = 0.5  # the exponent of N below which the theorem wants neighbourhoods


def judge_hypotheses(records: Sequence[Record]) -> list[Claim]:
    """The two hypotheses; none if no record has statistics of entries."""
    seen = [r for r in records if r.get("entries")]
    if not seen:
        return []
    known = [r for r in seen if r["entries"]["coupling"]]
    return [_neighbourhoods(known), _flatness(known)]


def _neighbourhoods(known: Sequence[Record]) -> Claim:
    rows = [r["entries"]["coupling"] for r in known]
    return Claim(
        "theorem.neighbourhoods", SOURCE,
        "the theorem's hypothesis: an entry depends on fewer than √N of the N² others",
        f"significant covariances with {' → '.join(_exponent(row) for row in (*rows[:1], *rows[1:][-1:]))} others"
        f"{_conclusion(known)}" if rows else None,
        f"exponent of N below {HALF:g} at every epoch, where a correlation of {DETECTABLE:g} is found",
        all_of(map(_below_half, rows)),
    )  # fmt: skip


def _below_half(coupling: Record) -> Held:
    """Both the significant covariances and the mean square correlation are lower bounds."""
    row, least = coupling["covariance"], coupling["least_exponent"]
    counted: Held = True
    if row["exponent"] is not None:
        counted = at_most(row["exponent"], HALF, row["exponent_standard_error"])
    return all_of([if_detectable(row, counted), False if least is not None and least > HALF else None])


def _exponent(coupling: Record) -> str:
    row, least = coupling["covariance"], coupling["least_exponent"]
    found = "none"
    if row["exponent"] is not None:
        error = row["exponent_standard_error"]
        found = f"N^({row['exponent']:z.3f} ± {told(error, '.3f')})"
    return found + (f" (at least N^{least:.2f} by the mean square)" if least is not None else "")


def _flatness(known: Sequence[Record]) -> Claim:
    """0 is below any c/N: that the diagonal blocks are 0 refutes it, whatever stands elsewhere."""
    checks = [r["exact"]["E1"] for r in known if "E1" in r["exact"]]
    held: Held = None
    if checks:
        held = False if all(c["value"] <= c["tolerance"] for c in checks) else UNRESOLVED
    return Claim(
        "theorem.flatness", SOURCE,
        "the theorem's hypothesis of flatness: no entry has a variance below c/N",
        f"mean square within a layer 0 by E1 (relative to a row's, {max(c['value'] for c in checks) ** 2:.1e}); "
        f"{_zeros(known[0]['entries'])}; {_spread(known[-1]['entries']['blocks'])}{_conclusion(known)}"
        if checks else None,
        "above 0 in every block", held,
    )  # fmt: skip


def _zeros(entries: Record) -> str:
    excluded = sum(entries["excluded"].values())
    return f"{excluded / (excluded + entries['existing']):.1%} of the pairs of weights are 0 by construction"


def _spread(blocks: Record) -> str:
    rows = [(s, n) for s, n in zip(blocks["mean_square"], blocks["existing"], strict=True) if s is not None]
    mean = sum(s * n for s, n in rows) / sum(n for _, n in rows)
    squares = [s / mean for s, _ in rows]
    return f"of the others, pairs of layers have {min(squares):.1e} to {max(squares):.1e} of their mean square"


def _conclusion(known: Sequence[Record]) -> str:
    """How far a matrix drawn from the network's coarse-grained signals is from the spectrum all the same."""
    made = [r["predictions"]["RE"] for r in known if "RE" in r["predictions"]]
    if not made:
        return ""
    worst = max(made, key=lambda p: float(p["l1"]))
    error = worst["l1_standard_error"]
    return (
        f"; the ensemble of the network's signals (RE) gives the spectrum all the same to L1 "
        f"{min(p['l1'] for p in made):.3f} to {worst['l1']:.3f} ± {told(error, '.3f')}"
    )
