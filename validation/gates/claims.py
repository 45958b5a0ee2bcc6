"""What the paper says of forward propagation and of (9), with verdicts; and the identities behind the numbers.

A claim is made of every temperature by itself. Ids of the network that is summed over all gates end in ".exact".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from validation.statistics.claim import Claim
from validation.statistics.decide import UNRESOLVED, Held, all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

Record = Mapping[str, Any]
ROUNDING = {"float64": 1e-11, "float32": 1e-5}  # relative, of sums of many terms in this precision
CALIBRATED = 4.0  # standard errors that an estimate may be off
FORWARD, ENERGY = "sec. II B", "eq. (9)"


def claims_of(role: str, cells: Sequence[Record], summary: Record, dtype: str) -> list[Claim]:
    """Every claim on one network, the exact facts first; `summary` is what `summarise` made of its cells."""
    exact = role == "small"
    end = ".exact" if exact else ""
    return [
        *_facts(cells, exact, end, dtype),
        *_estimates(cells, exact, end),
        *(claim for k in range(len(summary["training"])) for claim in _at(summary, k, exact, end)),
    ]


def _fact(name: str, source: str, text: str, what: str, value: float, bound: float) -> Claim:
    told = f"{what} {value:.1e}".replace("-", "−")
    return Claim(name, source, text, told, f"≤ {bound:.0e}".replace("-", "−"), value <= bound, exact=True)


def _facts(cells: Sequence[Record], exact: bool, end: str, dtype: str) -> Iterator[Claim]:
    entries = [entry for cell in cells for entry in cell["temperatures"]]
    rise = max(entry["largest_rise"] for entry in entries)
    yield _fact(
        f"eq7.layer{end}", "eqs. (6), (7)", "the ReLU gates maximise the law of each layer given the gates below",
        "largest rise of log µ by one other decision", rise, 0.0,
    )  # fmt: skip
    yield _fact(
        f"eq9.layer{end}", ENERGY, "U - T S = -T log Z of every layer and pool, given the gates below",
        "largest relative error", max(entry["identity"] for entry in entries), ROUNDING[dtype],
    )  # fmt: skip
    if not exact:
        return
    summed = [entry["exact"] for entry in entries]
    small = ROUNDING["float64"]
    yield _fact(
        f"eq9.chain{end}", ENERGY, "energy and entropy of all gates are the mean sums of those of each layer's own law",
        "largest relative error", max(one["chain"] for one in summed), small,
    )  # fmt: skip
    yield _fact(
        f"eq9.gibbs{end}", ENERGY, "no law of the gates has less free energy than the Boltzmann law of the same energy",
        "most that the free energy is below it", max(one["below_gibbs"] for one in summed), small,
    )  # fmt: skip
    yield _fact(
        f"gates.order{end}", FORWARD, "bound at the ReLU gates ≤ at the most probable gates ≤ log µ(y|x), as at the "
        "forward law", "largest violation", max(one["order"] for one in summed), small,
    )  # fmt: skip
    yield _fact(
        f"gates.search{end}", FORWARD, "a search finds no gates more probable than the most probable ones",
        "largest excess", max(entry["search"]["above_best"] for entry in entries), small,
    )  # fmt: skip


def _estimates(cells: Sequence[Record], exact: bool, end: str) -> Iterator[Claim]:
    """Tests of estimates, which may fail by chance, rarely."""
    entries = [entry for cell in cells for entry in cell["temperatures"]]
    yield _calibrated(
        f"eq9.drawn{end}", "energies of drawn gates have the mean that their laws say", [e["drift"] for e in entries]
    )
    if exact:
        away = [one for entry in entries for one in entry["deviations"].values()]
        yield _calibrated(f"gates.sampled{end}", "sampled energies, entropies and bounds are those of the sums", away)


def _calibrated(name: str, text: str, estimates: Sequence[Record]) -> Claim:
    """The largest deviation in standard errors; those whose draws all agree, to rounding, have no error to judge by."""
    known = [e for e in estimates if e["standard_error"] and e["standard_error"] > 1e-9]
    if not known:
        return Claim(name, ENERGY, text, None, f"≤ {CALIBRATED:g} standard errors", None)
    worst = max(abs(e["value"]) / e["standard_error"] for e in known)
    told = f"largest of {len(known)} deviations {worst:.2f} standard errors"
    return Claim(name, ENERGY, text, told, f"≤ {CALIBRATED:g} standard errors", worst <= CALIBRATED)


def _at(summary: Record, k: int, exact: bool, end: str) -> Iterator[Claim]:
    """The claims at one temperature."""
    epochs = [(epoch["epoch"], epoch["temperatures"][k]) for epoch in summary["epochs"]]
    trained = summary["training"][k]
    t = f"T{trained['temperature']:g}{end}"
    yield _most_probable(f"gates.most_probable.{t}", epochs, exact)
    yield _bound(f"gates.bound.{t}", epochs)
    yield _grown(
        f"gates.rise.{t}", FORWARD, "training raises the bound at the ReLU gates", trained, epochs, "relu", True
    )
    risk = "log_marginal" if exact else "forward_bound"
    law = "log µ(y|x)" if exact else "the bound at the forward law"
    yield _grown(
        f"gates.likelihood.{t}", FORWARD, f"training raises {law}: it lowers a variational free energy", trained,
        epochs, risk, True,
    )  # fmt: skip
    for name, text in (
        ("energy", "training dissipates energy: the mean energy of the gates falls"),
        ("entropy", "training reduces the entropy of the gates"),
        ("free_energy", "training lowers the free energy of the gates"),
    ):
        yield _grown(f"gates.{name}.{t}", ENERGY, text, trained, epochs, name, False)


def _most_probable(name: str, epochs: Sequence[tuple[int, Record]], exact: bool) -> Claim:
    """By sums: a share of the examples. By a search: an upper bound of that share, which supports nothing."""
    text = "the ReLU gates are the most probable ones given (x, y), for most examples at every epoch"
    if exact:
        seen = [(epoch, entry["most_probable"]) for epoch, entry in epochs]
        held: Held = all_of(at_least(s["value"], 0.5, s["standard_error"]) for _, s in seen)
        return Claim(name, FORWARD, text, _course(seen, "share"), "share ≥ 0.5", held)
    seen = [(epoch, entry["refuted"]) for epoch, entry in epochs]
    refuted = [at_least(s["value"], 0.5, s["standard_error"]) for _, s in seen]
    held = False if any(one is True for one in refuted) else UNRESOLVED
    told = _course(seen, "share for which a search found more probable gates")
    stable = _course(
        [(epoch, entry["stable"]) for epoch, entry in epochs], "share where no other gates of one layer are"
    )
    told = f"{told}; {stable}"
    return Claim(name, FORWARD, text, told, "share ≤ 0.5; a search can only refute", held)


def _bound(name: str, epochs: Sequence[tuple[int, Record]]) -> Claim:
    """The bound at a law certain of the ReLU gates, less that at the forward law."""
    seen = [(epoch, entry["relu_less_forward"]) for epoch, entry in epochs]
    held = all_of(at_least(s["value"], 0.0, s["standard_error"]) for _, s in seen)
    gaps = _course([(epoch, entry["relu_gap"]) for epoch, entry in epochs], "below log µ(y|x) by")
    return Claim(
        name, FORWARD, "the bound at the ReLU gates is at least that of the forward law, at every epoch",
        f"{_course(seen, 'less that of the forward law')}; {gaps} nats", "≥ 0 by two standard errors", held,
    )  # fmt: skip


def _grown(
    name: str, source: str, text: str, trained: Record, epochs: Sequence[tuple[int, Record]], key: str, up: bool
) -> Claim:
    """A paired change from the first record to the last; that since the second record is told beside it."""
    change, since = trained[key], trained["since"][key]
    expected = "change ≥ 0" if up else "change ≤ 0"
    if change is None:
        return Claim(name, source, text, None, expected, None)
    decide = at_least if up else at_most
    held = decide(change["value"], 0.0, change["standard_error"])
    told = f"{_course([(epoch, entry[key]) for epoch, entry in epochs], 'mean')}; change {_signed(change)}"
    told += "" if since is None else f", since epoch {trained['since_epoch']} {_signed(since)}"
    return Claim(name, source, text, told, expected, held)


def _course(seen: Sequence[tuple[int, Record]], what: str) -> str:
    """First and last value, and the range between."""
    values = [s["value"] for _, s in seen]
    first, last = seen[0], seen[-1]
    told = f"{what} {_signed(first[1])} at epoch {first[0]}"
    if len(seen) > 1:
        told += f" → {_signed(last[1])} at epoch {last[0]}, from {_short(min(values))} to {_short(max(values))}"
    return told


def _signed(estimate: Record) -> str:
    return plus_minus(estimate).replace("-", "−")


def _short(value: float) -> str:
    return (f"{value:z.3g}" if np.isfinite(value) else "–").replace("-", "−")
