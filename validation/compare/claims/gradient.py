"""Verdicts on the gradient: symmetry of its entries, and the order parameter (figs. 4a, 4b)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import linregress
from scipy.stats import t as student

from validation.statistics.claim import Claim, Record
from validation.statistics.decide import SIGMAS, all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

from .law import BROKEN, excess, excess_of, mean_excess, rejected, span, symmetric

SLOPE, CORRELATION = 0.5, 0.8  # how far from slope 1, and how tightly, "in proportion" may be


def judge_gradient(records: Sequence[Record], found: Record, momentum: float) -> list[Claim]:
    """Laws of gradient entries, and the order parameter beside the risk."""
    return [
        _gradient_symmetry(records, found),
        _gradient_layers(records),
        _proportional(records),
        _decade(records, momentum),
    ]


def _gradient_symmetry(records: Sequence[Record], found: Record) -> Claim:
    """The law of all gradient entries stays symmetric; epochs without gradient say nothing."""
    laws = [excess(law) for r in records if (law := r["gradient_symmetry_all"])["value"] is not None]
    return Claim(
        "fig4a.symmetry", "fig. 4a", "the law of all gradient entries is symmetric through training",
        f"broken part {span(laws)}" + rejected(found, "whole gradient")
        if laws else None,
        f"≤ {BROKEN:g} above chance at every epoch", symmetric(laws),
    )  # fmt: skip


def _gradient_layers(records: Sequence[Record]) -> Claim:
    """Layer by layer, which the law of all entries may hide: the mean over layers of the broken part."""
    laws = [mean_excess(layers) for r in records if (layers := excess_of(r, "gradient_symmetry"))]
    return Claim(
        "fig4a.layers", "fig. 4a", "gradient entries are symmetric in every layer through training",
        f"mean broken part of a layer {span(laws)}" if laws else None,
        f"≤ {BROKEN:g} above chance at every epoch", symmetric(laws),
    )  # fmt: skip


def _proportional(records: Sequence[Record]) -> Claim:
    """Slope and correlation of the logarithms, each with its error, as if recorded epochs were independent points.

    The slope's error is widened so that twice it is the half width of Student's 95 % interval, the correlation's is
    that of Fisher's transform: a few points seldom decide.
    """
    points = _points(records)
    text, expected = (
        "the order parameter ||∇R||² decreases in proportion to the risk",
        (f"slope 1 within {SLOPE:g}, correlation ≥ {CORRELATION:g}, each by two standard errors"),
    )
    if len(points) < 3 or len({p[0] for p in points}) < 3:
        return Claim("fig4b.proportional", "fig. 4b", text, None, expected, None)
    n, fit = len(points), linregress(*np.log(np.array(points)).T)
    error = float(fit.stderr * student.ppf(0.975, n - 2) / SIGMAS)
    certain = min(abs(float(fit.rvalue)), 1.0 - 1e-12) * math.copysign(1.0, fit.rvalue)
    return Claim(
        "fig4b.proportional", "fig. 4b", text,
        f"log-log slope {fit.slope:z.2f} ± {fit.stderr:.2f}, correlation {fit.rvalue:z.2f}, of {n} epochs", expected,
        all_of([
            at_most(abs(float(fit.slope) - 1.0), SLOPE, error),
            at_least(math.atanh(certain), math.atanh(CORRELATION), 1.0 / math.sqrt(n - 3) if n > 3 else None),
        ]),
    )  # fmt: skip


def _decade(records: Sequence[Record], momentum: float) -> Claim:
    """Momentum β makes of a gradient that stays the same a step of η/(1 - β) times it: the rate that is judged.

    The rate η is that of the epoch before the record. The median's error is that of normal points, sqrt(π/2) times the
    mean's.
    """
    rates = [r["learning_rate"] / (1.0 - momentum) for r in _moving(records)]
    logs = [math.log10(risk / (rate * order)) for rate, (risk, order) in zip(rates, _points(records), strict=True)]
    text = "effective learning rate η/(1 - momentum) times the order parameter lies about one decade below the risk"
    expected = "0.5 to 1.5 decades, by two standard errors"
    if not logs:
        return Claim("fig4b.decade", "fig. 4b", text, None, expected, None)
    middle = float(np.median(logs))
    error = math.sqrt(math.pi / 2 / len(logs)) * float(np.std(logs, ddof=1)) if len(logs) > 1 else None
    return Claim(
        "fig4b.decade", "fig. 4b", text,
        f"median {plus_minus({'value': middle, 'standard_error': error})} decades at η/(1 - momentum) = "
        f"{_spread(rates)}, from {min(logs):z.2f} to {max(logs):z.2f}; median "
        f"{middle - math.log10(1.0 - momentum):z.2f} decades at η alone",
        expected, all_of([at_least(middle, 0.5, error), at_most(middle, 1.5, error)]),
    )  # fmt: skip


def _moving(records: Sequence[Record]) -> list[Record]:
    """The recorded epochs at which neither the risk nor the order parameter is 0."""
    return [r for r in records if r["risk"] > 0 and r["order_parameter"] > 0]


def _points(records: Sequence[Record]) -> list[tuple[float, float]]:
    """(risk, order parameter) of these."""
    return [(r["risk"], r["order_parameter"]) for r in _moving(records)]


def _spread(rates: Sequence[float]) -> str:
    return " to ".join(f"{rate:g}" for rate in sorted({min(rates), max(rates)}))
