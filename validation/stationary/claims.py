"""What must hold at stationary points, and what the paper says of them, each with a number and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from validation.measurements.stationary import FLAT, KINK, ZERO, ZERO_RISK
from validation.statistics.claim import Claim
from validation.statistics.decide import Held, at_most
from validation.statistics.estimate import Mean, combined, estimate, plus_minus

from .cell import Record
from .summary import SADDLES, fall, found, found_in, middle, nearest

ROUNDING = 1e-9  # relative
HALF = 0.05  # that an index may differ from one half
AT = 1e-6  # of ||θ||: a kink within this distance is where the search stopped


def judge(cells: Sequence[Record], tolerance: float, wanted: int) -> list[Claim]:
    """Every claim, the exact ones first; `wanted` points of each network were looked for."""
    losses = list(dict.fromkeys(c["loss"] for c in cells))
    of_loss = {loss: [c for c in cells if c["loss"] == loss] for loss in losses}
    return [
        _strict_saddles(of_loss.get("hinge", [])),
        _euler(cells),
        _share(of_loss.get("hinge", []), tolerance),
        _residual([c for c in cells if c["loss"] != "hinge"]),
        *(_saddles(loss, of_loss[loss]) for loss in losses),
        *(_index(loss, of_loss[loss]) for loss in losses),
        _escape(cells),
        *(_reach(loss, of_loss[loss], wanted) for loss in losses),
        _kinks(cells),
    ]


def _strict_saddles(cells: Sequence[Record]) -> Claim:
    """E5 at points that were looked for: found ones have no active example, H = 0, or H with both signs."""
    kinds = Counter(s["kind"] for _, s in found(cells))
    allowed = sum(kinds[kind] for kind in (ZERO_RISK, FLAT, *SADDLES))
    return Claim(
        "E5", "fact E5", "hinge: a stationary point where the Hessian is not 0 has eigenvalues of both signs",
        _counts(kinds) if kinds else None, "risk 0, flat or both signs at every point found",
        allowed == sum(kinds.values()) if kinds else None, exact=True,
    )  # fmt: skip


def _euler(cells: Sequence[Record]) -> Claim:
    worst = max((s["euler"] for c in cells for s in c["searches"]), default=None)
    return Claim(
        "stationary.euler", "fact E4", "⟨W_l, ∇_l R⟩ = Σ c_i T_i in every layer, wherever a search ended",
        None if worst is None else f"relative error ≤ {worst:.1e}", f"≤ {ROUNDING:.0e}",
        None if worst is None else worst <= ROUNDING, exact=True,
    )  # fmt: skip


def _share(cells: Sequence[Record], tolerance: float) -> Claim:
    """R - a = Σ c_i T_i = ⟨W_l, ∇_l R⟩, which vanishes with ∇R: |.| ≤ ||θ|| ||∇R||, here with the tolerance."""
    errors = [abs(s["risk"] - s["active"]) for _, s in found(cells)]
    bound = 1e3 * tolerance
    return Claim(
        "stationary.share", "facts E4, E5", "hinge: at a stationary point the risk is the share of active examples",
        f"largest difference {max(errors):.1e} at {len(errors)} points" if errors else None, f"≤ {bound:.0e}",
        max(errors) <= bound if errors else None, exact=True,
    )  # fmt: skip


def _residual(cells: Sequence[Record]) -> Claim:
    """E2: the residual part has no trace, so that it is 0 or has both signs."""
    pairs = [(s["residual"]["minimum"], s["residual"]["maximum"]) for _, s in found(cells) if s["residual"] is not None]
    held = [max(-low, high) == 0.0 or min(-low, high) > ZERO * max(-low, high) for low, high in pairs]
    return Claim(
        "stationary.residual", "fact E2", "curved losses: the residual part has eigenvalues of both signs, or is 0",
        f"at {sum(held)} of {len(held)} points" if held else None, "all", all(held) if held else None, exact=True,
    )  # fmt: skip


def _saddles(loss: str, cells: Sequence[Record]) -> Claim:
    """The paper: all stationary points are saddles; those of risk 0, global minima, set apart."""
    kinds = Counter(s["kind"] for _, s in found(cells) if s["kind"] != ZERO_RISK)
    whole, saddles = sum(kinds.values()), sum(kinds[kind] for kind in SADDLES)
    return Claim(
        f"stationary.saddles.{loss}", "fig. 5", f"{loss}: all stationary points of risk > 0 are saddle points",
        f"{saddles} of {whole}: {_counts(kinds)}" if whole else None, "all", saddles == whole if whole else None,
    )  # fmt: skip


def mean_index(cells: Sequence[Record]) -> Mean | None:
    """The share of negative eigenvalues at saddles of one loss: the mean over networks, with their scatter as error.

    The doubt in counting eigenvalues is added to the error. None where no saddle has an index.
    """
    means, doubts = [], []
    for cell in cells:
        points = [s for s in found_in(cell, SADDLES) if s["index"] is not None]
        if points:
            means.append(float(np.mean([s["index"] for s in points])))
            doubts += [s["index_error"] for s in points]
    mean = estimate(means)
    if mean is None:
        return None
    known = [d for d in doubts if d is not None]
    return mean | {"standard_error": combined(mean["standard_error"], float(np.mean(known)) if known else 0.0)}


def _index(loss: str, cells: Sequence[Record]) -> Claim:
    mean = mean_index(cells)
    held: Held = None if mean is None else at_most(abs(mean["value"] - 0.5), HALF, mean["standard_error"])
    measured = None if mean is None else plus_minus(mean)
    return Claim(
        f"stationary.index.{loss}", "fig. 8a, sec. III",
        f"{loss}: at saddles half of the eigenvalues that are not 0 are negative", measured, f"0.5 ± {HALF:g}", held,
    )  # fmt: skip


def _escape(cells: Sequence[Record]) -> Claim:
    falls = [s["escape"]["falls"] for _, s in found(cells, SADDLES) if s["escape"] is not None]
    return Claim(
        "stationary.escape", "fig. 5", "the true risk falls from every saddle along the most negative direction",
        f"from {sum(falls)} of {len(falls)}" if falls else None, "all", all(falls) if falls else None,
    )  # fmt: skip


def _reach(loss: str, cells: Sequence[Record], wanted: int) -> Claim:
    """Whether enough was found for the other claims to rest on."""
    counts = [len(found_in(c)) for c in cells]
    return Claim(
        f"stationary.found.{loss}", "fact E5", f"{loss}: at least {wanted} stationary points of each network are found",
        f"{', '.join(map(str, counts))} of {', '.join(str(len(c['searches'])) for c in cells)} searches",
        f"≥ {wanted}", min(counts) >= wanted,
    )  # fmt: skip


def _kinks(cells: Sequence[Record]) -> Claim:
    """Searches that stopped: whether a kink is there. The combination is an upper bound, and decides nothing."""
    stopped = [s for _, s in found(cells, (KINK,))]
    distances = [nearest(s) for s in stopped]
    at = sum(distance <= AT for distance in distances)
    measured = (
        f"at {at} of {len(stopped)}; medians: kink at {np.median(distances):.1e} ||θ||, ||∇R||² "
        f"{middle([fall(s) for s in stopped]):.2g} of the start, shortest combination of nearby gradients "
        f"{middle([s['shortest'] for s in stopped]):.2g} ||∇R||"
        if stopped
        else None
    )
    return Claim(
        "stationary.kinks", "fact E5", "a search that stops is at a kink", measured,
        f"a kink within {AT:.0e} ||θ||, at all", at == len(stopped) if stopped else None,
    )  # fmt: skip


def _counts(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
