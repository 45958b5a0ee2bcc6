"""What the small worlds and the digits say of (1) to (6): exact statements, and claims with an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from validation.statistics.claim import Claim
from validation.statistics.decide import all_of, at_least, at_most
from validation.statistics.estimate import plus_minus

Record = dict[str, Any]
ROUNDING = 1e-8  # relative errors of multipliers, whose dual is solved to 1e-11
COUPLINGS = 1e-10
LOST, GAP = 0.1, 0.02


def check_all(planted: Record, digits: Record) -> Iterator[Claim]:
    """Every claim of the command."""
    yield from _exact(planted, digits)
    yield _loss(digits)
    yield _stack(digits)
    yield _modified(digits)


def _exact(planted: Record, digits: Record) -> Iterator[Claim]:
    errors = planted["errors"]
    residual = max(errors["couplings"], digits["residual"])
    yield Claim(
        "eq1.couplings", "eq. (1)", "laws of maximum entropy have the couplings that they were asked for",
        f"largest difference {residual:.1e}", f"≤ {COUPLINGS:.0e}", residual <= COUPLINGS, exact=True,
    )  # fmt: skip
    yield Claim(
        "eq2.multipliers", "eq. (2), (3)", "exact couplings of a planted law give its multipliers back",
        f"largest relative error {errors['multipliers']:.1e}", f"≤ {ROUNDING:.0e}", errors["multipliers"] <= ROUNDING,
        exact=True,
    )  # fmt: skip
    yield Claim(
        "eq4.chain", "eq. (4) to (6)",
        "where the planted multipliers form a chain, its weights are found scale by scale",
        f"largest relative error {errors['weights']:.1e}", f"≤ {ROUNDING:.0e}", errors["weights"] <= ROUNDING,
        exact=True,
    )  # fmt: skip
    yield Claim(
        "eq4.divergence", "eq. (4) to (6)",
        "what the chain loses, a difference of entropies, is the divergence from the unfactored law",
        f"largest difference {errors['divergence']:.1e} nats", f"≤ {ROUNDING:.0e}", errors["divergence"] <= ROUNDING,
        exact=True,
    )  # fmt: skip


def _loss(digits: Record) -> Claim:
    """Scale 1 is the same in both forms."""
    scales = [s for s in digits["scales"] if s["weights"] < s["multipliers"]]
    said = "; ".join(f"{s['events']}: {plus_minus(s['share'])} ({plus_minus(s['loss'])} nats)" for s in scales)
    return Claim(
        "eq4.loss", "eq. (4) to (6)",
        "the hierarchical form keeps what the couplings say of the events (digits)",
        f"share of the gain over independent events that is lost: {said}", f"≤ {LOST} at every scale",
        all_of(at_most(s["share"]["value"], LOST, s["share"]["standard_error"]) for s in scales),
    )  # fmt: skip


def _stack(digits: Record) -> Claim:
    gap, trained = digits["accuracy_gap"], digits["back_propagation"]
    best = trained[digits["best"]]["accuracy"]["value"]
    return Claim(
        "maxent.stack", "Section II B",
        "a network learned scale by scale from observed events predicts the label as back-propagation does (digits)",
        f"accuracy {digits['marginal']['stack']['accuracy']['value']:.3f}; back-propagation, the most likely of "
        f"{len(trained)} networks, {best:.3f}; difference {plus_minus(gap)}", f"difference ≤ {GAP}",
        at_most(gap["value"], GAP, gap["standard_error"]),
    )  # fmt: skip


def _modified(digits: Record) -> Claim:
    gain = digits["likelihood_gain"]
    kept = "; ".join(f"{e['events']} {plus_minus(e)}" for e in digits["events_kept"])
    return Claim(
        "maxent.modified", "Section II B",
        "the lower scales are to be modified for the label: this raises its likelihood on new examples (digits)",
        f"{plus_minus(gain)} nats an example; it costs the events of the lower scales, in nats: {kept}", "> 0",
        at_least(gain["value"], 0.0, gain["standard_error"]),
    )  # fmt: skip
