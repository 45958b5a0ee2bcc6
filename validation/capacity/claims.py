"""What is claimed of the edge of capacity, each with a number, its error and a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from validation.statistics.claim import Claim
from validation.statistics.decide import Held, all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

from .summary import of_capacity, weighted
from .training import SMOOTH

Record = dict[str, Any]
Log = tuple[float, float | None, int]  # a logarithm, its error, the depth of its network
SOURCE = "global minima: capacity exceeds complexity"
THEORY = "hinge jamming"
PROPORTIONAL = 0.1  # how far an exponent may be from 1
QUARTER = math.log(1.25)  # how far a predicted edge may be from the measured one
FINITE = 0.05  # active constraints for each weight that count as a jump
GAUSSIAN = 8e-4  # the share of a Gaussian within 0.001 of 0
FLAT = 0.01  # the share of negative eigenvalues that a minimum may have


def check_all(cells: Sequence[Record], rows: Sequence[Record], scaling: Sequence[Record]) -> list[Claim]:
    """Every claim, the exact ones first."""
    random = [r for r in rows if (r["loss"], r["labels"]) == (SMOOTH, "random") and of_capacity(r)]
    smooth = [r for r in rows if r["loss"] == SMOOTH and r["active"] is not None and of_capacity(r)]
    return [
        _zero(cells),
        _inertia(cells),
        _exponent([s for s in scaling if (s["loss"], s["labels"]) == (SMOOTH, "random")]),
        _labels(rows),
        _losses(rows),
        _jump([r for r in random if r["active"] is not None]),
        _minima([r for r in smooth if r["index"] is not None]),
        _kinks([r for r in smooth if r["kinks"] is not None]),
        _stable([r for r in smooth if r["slack"] is not None]),
        _counted([r for r in smooth if r["counting"] is not None]),
        _bound([r for r in rows if r["loss"] == SMOOTH and of_capacity(r) and r["stability"] is not None]),
        _predicted("capacity.prediction.counting", "twice the rank of a fresh network's gradients", "counting", random),
        _predicted("capacity.prediction.marginal", "twice the stability edge of a fresh network", "stability", random),
    ]


def _zero(cells: Sequence[Record]) -> Claim:
    risks = [t["risk"] for c in cells for t in c["trials"] if t["outcome"] == "zero"]
    worst = max(risks, default=None)
    return Claim(
        "capacity.zero", SOURCE, "a network that has every example on its side, rescaled, has risk 0 exactly",
        None if worst is None else f"largest risk of {len(risks)} networks {worst:g}", "0",
        None if worst is None else worst == 0.0, exact=True,
    )  # fmt: skip


def _inertia(cells: Sequence[Record]) -> Claim:
    """Weyl's inequality at every state that was measured."""
    seen = [t for c in cells for t in c["trials"] if "negative" in t and c["loss"] == SMOOTH]
    excess = max((t["negative"] - t["index"] - t["active"] for t in seen), default=None)
    return Claim(
        "capacity.inertia", THEORY, "H has at most as many negative eigenvalues as H + G and active examples together",
        None if excess is None else f"largest excess of {len(seen)} networks {excess}", "≤ 0",
        None if excess is None else excess <= 0, exact=True,
    )  # fmt: skip


def _exponent(groups: Sequence[Record]) -> Claim:
    known = [s for s in groups if s["exponent"] is not None]
    values = [(s["exponent"]["value"], s["exponent"]["standard_error"]) for s in known]
    held = all_of(all_of([at_least(v, 1.0 - PROPORTIONAL, e), at_most(v, 1.0 + PROPORTIONAL, e)]) for v, e in values)
    said = "; ".join(f"depth {s['depth']}: {_signed(s['exponent'])}" for s in known)
    return Claim(
        "capacity.exponent", SOURCE, "random labels: the edge grows as the number of weights, P* ∝ N^β with β = 1",
        said or None, f"β within {PROPORTIONAL:g} of 1 at every depth", held,
    )  # fmt: skip


def _paired(rows: Sequence[Record], key: str, one: str, other: str) -> list[tuple[Record, Record]]:
    """Rows alike but for `key`."""
    rest = [k for k in ("loss", "labels", "depth", "width") if k != key]
    found = {tuple(r[k] for k in (*rest, key)): r for r in rows}
    places = sorted({place[:-1] for place in found})
    pairs = [(found.get((*p, one)), found.get((*p, other))) for p in places]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _labels(rows: Sequence[Record]) -> Claim:
    """Where true labels are fitted to the last example their edge is beyond all of them."""
    decided, said = [], []
    for true, random in _paired([r for r in rows if r["loss"] == SMOOTH], "labels", "true", "random"):
        if not of_capacity(random):
            continue
        place = f"depth {true['depth']}, width {true['width']}"
        low = random["edge"]
        if 2 * true["not_reached"] >= true["networks"]:
            log = math.log(true["most"] / low["value"])
            decided.append(at_least(log, 0.0, low["log_error"]))
            said.append(f"{place}: > {math.exp(log):.2f}")
        elif of_capacity(true):
            log, error = _log_ratio(true["edge"], low)
            decided.append(at_least(log, 0.0, error))
            said.append(f"{place}: {_factor(log, error)}")
    return Claim(
        "capacity.labels", SOURCE, "true labels are less complex: more examples of them are fitted than of random ones",
        f"ratio of the edges: {'; '.join(said)}" if said else None, "> 1 for every network", all_of(decided),
    )  # fmt: skip


def _losses(rows: Sequence[Record]) -> Claim:
    pairs = [(a, b) for a, b in _paired(rows, "loss", "hinge", SMOOTH) if of_capacity(a) and of_capacity(b)]
    return _close(
        "capacity.losses", THEORY, "the hinge by stochastic descent fits as much as the squared hinge by L-BFGS",
        [(*_log_ratio(a["edge"], b["edge"]), a["depth"]) for a, b in pairs],
    )  # fmt: skip


def _jump(rows: Sequence[Record]) -> Claim:
    return _means(
        "capacity.jump", "random labels: active constraints over weights jump at the edge, from 0 to a finite value",
        rows, "active", f"≥ {FINITE:g} at every depth", lambda v, e: at_least(v, FINITE, e),
    )  # fmt: skip


def _minima(rows: Sequence[Record]) -> Claim:
    return _means(
        "capacity.minima", "beyond the edge training ends in minima: H + G has no negative eigenvalue",
        rows, "index", f"share ≤ {FLAT:g} at every depth", lambda v, e: at_most(v, FLAT, e),
    )  # fmt: skip


def _kinks(rows: Sequence[Record]) -> Claim:
    return _means(
        "capacity.kinks", "beyond the edge training ends at kinks: gates of active examples gather where they switch",
        rows, "kinks", f"share ≥ {2 * GAUSSIAN:g} at every depth, twice a Gaussian's",
        lambda v, e: at_least(v, 2 * GAUSSIAN, e),
    )  # fmt: skip


def _stable(rows: Sequence[Record]) -> Claim:
    return _means(
        "capacity.constraints", "at the edge at least as many examples are active as H has negative eigenvalues",
        rows, "slack", "(N_active − N_-)/N ≥ 0 at every depth", lambda v, e: at_least(v, 0.0, e),
    )  # fmt: skip


def _counted(rows: Sequence[Record]) -> Claim:
    decided = [
        at_most(r["active"]["value"], r["counting"]["value"] / r["weights"], r["active"]["standard_error"])
        for r in rows
    ]
    worst = max((r["active"]["value"] * r["weights"] / r["counting"]["value"] for r in rows), default=None)
    return Claim(
        "capacity.counting", THEORY, "at the edge no more examples are active than a fresh network's gradients span",
        None if worst is None else f"largest ratio of {len(rows)} rows {worst:.2f}", "≤ 1 for every network",
        all_of(decided),
    )  # fmt: skip


def _bound(rows: Sequence[Record]) -> Claim:
    logs = [(_log_ratio(r["edge"], r["stability"]), r) for r in rows]
    said = [f"{r['labels']}, depth {r['depth']}, width {r['width']}: {_factor(*log)}" for log, r in logs]
    return Claim(
        "capacity.prediction.bound", THEORY, "predicted before training: no edge is below the stability edge, P* ≥ k*",
        f"P*/k*: {'; '.join(said)}" if said else None, "≥ 1 for every network",
        all_of(at_least(log, 0.0, error) for (log, error), _ in logs),
    )  # fmt: skip


def _predicted(name: str, what: str, key: str, rows: Sequence[Record]) -> Claim:
    return _close(
        name, THEORY, f"random labels, predicted before training: the edge is at {what}", _doubled(rows, key)
    )  # fmt: skip


def _doubled(rows: Sequence[Record], key: str) -> list[Log]:
    """The edges over twice a number of the forecast, as logarithms."""
    logs = [(_log_ratio(r["edge"], r[key]), r["depth"]) for r in rows if r[key] is not None]
    return [(log - math.log(2.0), error, depth) for (log, error), depth in logs]


def depth_ratios(rows: Sequence[Record], key: str) -> dict[int, Record]:
    """The edge over twice a number of the forecast, such as "counting": means over widths with errors, by depth."""
    return {depth: _as_factor(mean) for depth, mean in _by_depth(_doubled(rows, key)).items()}


def _by_depth(logs: Sequence[Log]) -> dict[int, Record]:
    """Means of logarithms whose errors are known."""
    found = {}
    for depth in sorted({d for _, _, d in logs}):
        here = [(v, e) for v, e, d in logs if d == depth and e is not None]
        if here:
            found[depth] = weighted([v for v, _ in here], [e for _, e in here])
    return found


def _close(name: str, source: str, text: str, logs: Sequence[Log]) -> Claim:
    """Whether ratios are within a quarter of 1, their mean at every depth."""
    decided: list[Held] = []
    said = []
    for depth, mean in _by_depth(logs).items():
        value, error = mean["value"], mean["standard_error"]
        decided.append(all_of([at_least(value, -QUARTER, error), at_most(value, QUARTER, error)]))
        said.append(f"depth {depth}: {_factor(value, error)}")
    return Claim(
        name, source, text, f"ratio {'; '.join(said)}" if said else None, "within a quarter of 1 at every depth",
        all_of(decided),
    )  # fmt: skip


def _means(
    name: str, text: str, rows: Sequence[Record], key: str, expected: str, decide: Callable[[float, float | None], Held]
) -> Claim:
    """Means over the networks of a depth."""
    decided, said = [], []
    for labels, depth in sorted({(r["labels"], r["depth"]) for r in rows}):
        here = [r[key] for r in rows if (r["labels"], r["depth"]) == (labels, depth)]
        known = [m for m in here if m["standard_error"] is not None]
        if known:
            mean = weighted([m["value"] for m in known], [m["standard_error"] for m in known])
            decided.append(decide(mean["value"], mean["standard_error"]))
            said.append(f"{labels}, depth {depth}: {_signed(mean)}")
    return Claim(name, THEORY, text, "; ".join(said) or None, expected, all_of(decided))


def _log_ratio(edge: Record, other: Record) -> tuple[float, float | None]:
    """ln(edge/other) and its error; `other` an edge, or a mean over networks."""
    error = other.get("log_error", None)
    if "log_error" not in other and other["standard_error"] is not None:
        error = other["standard_error"] / other["value"]
    if edge["log_error"] is None or error is None:
        return math.log(edge["value"] / other["value"]), None
    return math.log(edge["value"] / other["value"]), math.hypot(edge["log_error"], error)


def _factor(log: float, error: float | None) -> str:
    return plus_minus(_as_factor({"value": log, "standard_error": error}))


def _as_factor(log: Record) -> Record:
    """e^log with its error."""
    value, error = math.exp(log["value"]), log["standard_error"]
    return {"value": value, "standard_error": None if error is None else value * error}


def _signed(mean: Record) -> str:
    return plus_minus(mean).replace("-", "−")
