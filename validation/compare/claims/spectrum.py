"""Verdicts on the signs, the numbers and the size of the eigenvalues (fig. 8a), from recorded epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import all_of, at_most
from validation.statistics.estimate import told

IMBALANCE = 0.1  # |f₋ - f₊|/(f₋ + f₊) up to which both signs count as equally many
DRIFT = 0.05  # of f₋/(f₋ + f₊) in a decade of risk, up to which it does not depend on the risk
LEAST_POINTS = 3  # of a slope
COLLAPSE = 0.1  # of its largest rms, at the last epoch, and of the first risk


def judge_spectrum(records: Sequence[Record]) -> list[Claim]:
    """Signs, shares, index against risk, and collapse."""
    return [_both_signs(records), _shares(records), _index(records), _collapse(records)]


def with_spectrum(records: Sequence[Record]) -> list[Record]:
    """Records whose Hessian is not 0."""
    return [r for r in records if r["spectrum"]["rms"] > 0]


def _both_signs(records: Sequence[Record]) -> Claim:
    """E2 in other words: a symmetric matrix of trace 0 that is not 0 has eigenvalues of both signs."""
    seen = [r for r in records if r["risk"] > 0]
    signs = [r["spectrum"]["minimum"] < 0 < r["spectrum"]["maximum"] for r in with_spectrum(seen)]
    empty = len(seen) - len(signs)
    note = f"; {empty} with risk > 0 but H = 0 on the spectrum's subset" if empty else ""
    return Claim(
        "fig8a.signs", "fig. 8a", "λ_min < 0 < λ_max wherever H is not 0: fact E2 (tr H = 0) in other words",
        f"both signs at {sum(signs)} of {len(signs)} epochs{note}" if signs else None,
        "at every epoch", all(signs) if signs else None,
    )  # fmt: skip


def _balance(record: Record) -> tuple[float, float, float | None]:
    """f₋, f₊ and the standard error of their difference, None where one is not known.

    What one share has too much the other often lacks, so that errors add up in the difference.
    """
    low, high = (record["spectrum"][f"fraction_{side}"] for side in ("negative", "positive"))
    errors = [low["standard_error"], high["standard_error"]]
    error = None if None in errors else sum(errors)
    return low["value"], high["value"], error


def _shares(records: Sequence[Record]) -> Claim:
    """Not implied by E2: few large eigenvalues of one sign may stand against many small ones of the other."""
    rows = []
    for record in with_spectrum(records):
        low, high, error = _balance(record)
        if low + high > 0:
            rows.append((abs(low - high) / (low + high), None if error is None else error / (low + high)))
    worst = max(rows, key=lambda row: row[0]) if rows else None
    return Claim(
        "fig8a.shares", "fig. 8a", "as many negative as positive eigenvalues",
        f"|f₋ - f₊|/(f₋ + f₊) up to {_with_error(*worst)}" if worst else None,
        f"≤ {IMBALANCE:g} at every epoch", all_of(at_most(value, IMBALANCE, error) for value, error in rows),
    )  # fmt: skip


def _index(records: Sequence[Record]) -> Claim:
    """The slope of f₋/(f₋ + f₊) on log10 of the risk, weighted by the standard errors.

    Where the index of a critical point falls with the risk, as in spherical spin glasses, the slope is positive.
    """
    points = []
    for record in with_spectrum(records):
        low, high, error = _balance(record)
        if record["risk"] > 0 and low + high > 0 and error:
            points.append((math.log10(record["risk"]), low / (low + high), 0.5 * error / (low + high)))
    text = "the share of negative among the eigenvalues that are not 0 does not depend on the risk"
    expected = f"slope within {DRIFT:g} per decade of risk"
    if len({x for x, *_ in points}) < LEAST_POINTS:
        return Claim("fig8a.index", "fig. 8a", text, None, expected, None)
    x, y, error = np.array(points).T
    (slope, _), covariance = np.polyfit(x, y, 1, w=1.0 / error, cov="unscaled")
    deviation = float(np.sqrt(covariance[0, 0]))
    return Claim(
        "fig8a.index", "fig. 8a", text,
        f"slope {slope:z.3f} ± {deviation:.3f} per decade; share {y.min():.3f} to {y.max():.3f}",
        expected, at_most(abs(float(slope)), DRIFT, deviation),
    )  # fmt: skip


def _collapse(records: Sequence[Record]) -> Claim:
    first, last = records[0], records[-1]
    text = "the spectrum collapses to 0 as the risk does"
    expected = "rms falls tenfold once the risk has"
    if len(records) < 2 or first["spectrum"]["rms"] == 0 or last["risk"] > COLLAPSE * first["risk"]:
        return Claim("fig8a.collapse", "fig. 8a", text, None, expected, None)
    largest = max((r["spectrum"] for r in records), key=lambda s: s["rms"])
    ratio, error = last["spectrum"]["rms"] / largest["rms"], _ratio_error(last["spectrum"], largest)
    return Claim(
        "fig8a.collapse", "fig. 8a", text,
        f"rms at epoch {last['epoch']} is {_with_error(ratio, error)} of its largest; risk is "
        f"{last['risk'] / first['risk']:.3g} of its first",
        expected, at_most(ratio, COLLAPSE, error),
    )  # fmt: skip


def _ratio_error(above: Record, below: Record) -> float | None:
    if above["rms_standard_error"] is None or below["rms_standard_error"] is None:
        return None
    scale, ratio = float(below["rms"]), above["rms"] / below["rms"]
    return math.hypot(above["rms_standard_error"], ratio * below["rms_standard_error"]) / scale


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.3g} ± {told(error)}"
