"""The words that go with the figures of Hessian entries, with the report's own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]
PAPER_RATIO = 3.39e-4  # share of the other entries that an entry is correlated with, at the end of training

SHOWN_AVERAGE = 10  # the B whose fractions the caption of fig. 7b gives

ENTRY_CAPTIONS = {
    "entry_laws": (
        "Laws of single Hessian entries (fig. 6a). Three of {sampled} sampled entries, from those that are not 0 at "
        "most examples, each in its own standard deviations, by epoch. Above: over single examples; middle: "
        "bootstrap averages of 100; lowest row: ∂²T itself, which has no label in it, in the same unit. Solid: "
        "positive values, dotted: negative ones; a law is symmetric where the two meet. Examples at which an entry "
        "is exactly 0 (a gate is off, or the example inactive) are drawn nowhere. Over the examples at which it is "
        "not 0 the mean broken part of all entries that vary is {broken_first} above chance at the first and "
        "{broken_last} at the last epoch; that of ∂²T itself {own_broken_first} and {own_broken_last}; with labels "
        "permuted among the active examples {null_broken_first} and {null_broken_last}. For the hinge h = -y ∂²T, so "
        "that labels in equal numbers that know nothing of ∂²T make any law symmetric. Sampled: {sampled} entries in "
        "{layer_pairs} pairs of layers, through {first_parameters} first parameters (entries that share one are more "
        "correlated), on {examples} examples. Left out as 0 by construction: {excluded}. {dead}"
    ),
    "entry_correlations": (
        "Correlation matrices of 100 entries (figs. 6b, 6c) over the examples, at the first and the last epoch. Over "
        "all pairs that share no parameter the root mean square correlation, free of chance, goes from {rms_first} "
        "to {rms_last}, and the share above 0.1 in absolute value from {large_first} to {large_last}."
    ),
    "entry_means": (
        "Means of Hessian entries (fig. 7a): the law over entries of mean over standard deviation (over examples), "
        "dotted its mirror image; on the right that of ∂²T itself, without the labels. Dashed: 0.15 standard "
        "deviations of an average of B examples, 0.15/√B."
    ),
    "entry_concentration": (
        "Concentration of the means (fig. 7b): the fraction of entries with √B|µ|/σ < 0.15. The paper reports at least "
        "95 % rising to about 98 % and does not say the standard deviation of what; here B examples are averaged. "
        "Right: ∂²T itself. Crosses: labels permuted among the active examples. At B = 10 the fraction is "
        "{close_first} at the first epoch ({own_close_first} of ∂²T itself, {null_close_first} with permuted labels) "
        "and {close_last} at the last ({own_close_last}, {null_close_last}). "
        "Bands: bootstrap error over {resamples} resamples of the examples and error over first parameters, in "
        "quadrature. Dotted: means of exactly 0 would give this, since they are known from {examples} examples only. "
        "The fraction is 95 % up to B = {reach_first} at the first and {reach_last} at the last epoch."
    ),
    "coupling_sets": (
        "Coupling sets (fig. 7c): with how many other entries of the N×N Hessian an entry has a significantly "
        "non-zero covariance, third or fourth cross-cumulant, as exponent of N = {n_weights}; numbers: ratio to N² "
        "at the end. Tested on all pairs of sampled entries from {examples} examples at a false discovery rate of 5 "
        "% (Benjamini-Hochberg; self-normalised statistics against random signs and against permuted examples), so a "
        "lower bound that grows with the examples, {active_first} and {active_last} of which are active at the first "
        "and the last epoch: a pair is found from a correlation of about {detectable_first} and {detectable_last} on "
        "(median entry). Extrapolated by the sizes of the pairs of layers; bands: error over first parameters. "
        "Covariance: {covariance_first} of N² at the first, {covariance_last} at the last epoch (paper: 3.4e-4 at "
        "the end). Black, dotted: N^(1/2), below which the theorem on the spectrum wants the sets. As no correlation "
        "exceeds 1, the mean square correlation bounds this from below: {least_first} and {least_last}."
    ),
}


def with_entries(report: Report) -> list[Report]:
    """The recorded epochs at which entries were measured."""
    return [e for e in report["epochs"] if e.get("entries")]


def entry_facts(report: Report) -> dict[str, str]:
    """The numbers that captions of entries mention, as text; at least one epoch must have entries."""
    epochs = with_entries(report)
    ends = {"first": epochs[0]["entries"], "last": epochs[-1]["entries"]}
    one = ends["first"]
    found = {key: f"{one[key]:,}" for key in ("sampled", "layer_pairs", "first_parameters", "examples", "resamples")}
    found |= {
        "n_weights": f"{report['network']['n_weights']:,}",
        "excluded": ", ".join(f"{count:.3g} pairs ({why})" for why, count in one["excluded"].items()),
        "dead": _dead(epochs),
    }
    for when, entries in ends.items():
        symmetry, means = entries["symmetry"], entries["concentration"]
        found |= {f"{key}_{when}": text for key, text in _labels(entries).items()}
        correlation, coupling = entries["correlation"], entries["coupling"]
        found |= {
            f"broken_{when}": _number(symmetry and symmetry["value"]),
            f"rms_{when}": _root(correlation and correlation["mean_square"]["value"]),
            f"large_{when}": _number(correlation and correlation["large"]["value"]),
            f"reach_{when}": "any" if means and means["reach"] is None else _number(means and means["reach"]),
            f"covariance_{when}": _number(coupling and coupling["covariance"]["ratio"]),
            f"detectable_{when}": _number(coupling and coupling["covariance"]["detectable"]),
            f"least_{when}": _number(coupling and coupling["least_ratio"]),
            f"active_{when}": f"{entries['active']:,}",
        }
    return found


def _labels(entries: Mapping[str, Any]) -> dict[str, str]:
    """The broken part, and the fraction of means near 0 at B = 10, beside those of ∂²T itself and of random labels."""
    found = {}
    for name, law in (("", entries), ("own_", entries["second_derivative"]), ("null_", entries["random_labels"])):
        means = law["concentration"]["averages"] if law and law["concentration"] else []
        row = next((B for B in means if B["average"] == SHOWN_AVERAGE), None)
        found[f"{name}broken"] = _number(law["symmetry"]["value"] if law and law["symmetry"] else None)
        found[f"{name}close"] = _number(row and row.get("fraction", row.get("value")))
    return found


def _dead(epochs: Sequence[Report]) -> str:
    counts = [e["entries"]["sampled"] - e["entries"]["live"] for e in epochs]
    span = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"{span} sampled entries are 0 on every example besides, and are left out too."


def _root(square: float | None) -> str:
    """The root of an unbiased estimate of a mean square, which may be negative."""
    return "not defined" if square is None else f"{max(square, 0.0) ** 0.5:.2g}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2g}"
