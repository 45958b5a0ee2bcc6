"""The table of theorems and bounds: statement, cases tried, worst ratio measured/bound, verdict.

A theorem holds to rounding; one that does not is a bug. (20), (21) and exponents are claims under test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from validation.statistics.claim import Claim
from validation.statistics.decide import SIGMAS
from validation.statistics.estimate import Estimate
from validation.statistics.power_law import log_slope

from .assemblies import KINDS, AssemblyMoments
from .gates import LAYERS, CorrelationPoint, FlipPoint
from .slopes import ERRORS, GROWTH, Slopes, assembly_slopes, order_of, select_moments, within, worst_tightness
from .theorems import TOLERANCE, TheoremCheck

STATEMENTS = {
    "S1": "an intact last weight makes a circuit's law symmetric; W_L intact, so are T, ∇T, ∇²T below it, jointly",
    "S2": "d_TV(law Ψ, law -Ψ) ≤ ½ P(Ψ' ≠ -Ψ) ≤ ½ P(a gate of the path at or above the negated weight changes)",
    "S3": "a gate changes under w_ab → -w_ab with probability (2/π) arctan(|x_a|/||x without a||)",
    "M1": "E||x_l||² = (n_l s_l²/2) E||x_{l-1}||², E T² = s_L² ||x||² Π n_l s_l²/2",
    "M2": "0 ≤ E z_+ = E|z|/2 ≤ ½ √(E z²) for symmetric z",
    "M3": "E (z_+)² ≤ ½E z² + E|β||z_s| + ½E β² for z = z_s + β",
    "M4": "E T = Σ_j E w_j E x_j, |E T| ≤ Σ_j |E w_j| ½ √(E z_j²)",
}
EQUALITIES = {"S1", "S3", "M1"}
VIOLATED = 5.0  # standard errors above a theorem's bound that count as a violation
ASYMPTOTIC = 64  # widths from which on S3's exponent is fitted: below, 1/n corrections bend the line
EXPONENT, FLIP_TOLERANCE, CORRELATION_TOLERANCE = -0.5, 0.02, 0.05


def theorem_checks(theorems: Mapping[str, TheoremCheck]) -> list[Claim]:
    """S1-S3, M1-M4 in exact ensembles."""
    return [_theorem(found) for found in theorems.values()]


def _theorem(found: TheoremCheck) -> Claim:
    name = found.theorem
    if name == "S1":
        measured, expected = f"largest distance {found.violation:.1e}", "0"
    elif name in EQUALITIES:
        measured, expected = f"largest error {found.violation:.1e}", f"≤ {TOLERANCE:.0e}"
    else:
        measured, expected = f"worst measured/bound {found.ratio:.6f}", "≤ 1"
    where = "" if found.holds else f", violated at {found.where}"
    return Claim(
        name, f"theorem {name}", STATEMENTS[name], f"{measured} in {found.cases:,} cases{where}",
        expected, found.holds, exact=True,
    )  # fmt: skip


def planted_check(caught: int | None, most: int) -> Claim:
    """Proof that the check of S2 can fail."""
    measured = f"not caught in {most} ensembles" if caught is None else f"caught after {_count(caught, 'ensemble')}"
    return Claim(
        "S2.planted", "theorem S2", "planted: S2 with ¼ in place of ½, which is wrong, is found violated",
        measured, "caught", caught is not None, exact=True,
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def assembly_name(kind: str) -> str:
    """T, ∂T/∂W_1, ∂²T/∂W_1∂W_(L-1)..."""
    parts = KINDS[kind]
    if not parts:
        return "T"
    return f"∂{'' if len(parts) == 1 else '²'}T/{''.join(f'∂W_({p})' if '-' in p else f'∂W_{p}' for p in parts)}"


def mean_bound_check(moments: Sequence[AssemblyMoments]) -> Claim:
    """M4 for assemblies of every order, by Monte Carlo."""
    found = [(kind, worst_tightness([m for m in moments if m.kind == kind])) for kind in KINDS]
    seen = [(kind, *worst) for kind, worst in found if worst is not None]
    kind, worst, _ = max(seen, key=lambda row: row[1].value)
    excess = max(row[2] for row in seen)
    cases = sum(m.tightness is not None for m in moments)
    return Claim(
        "M4.assemblies", "theorem M4", "|E Σδ^kΨ| ≤ Σ_j |E w_j| ½ √(E Y_j²), without the sum where W_L is removed",
        f"worst measured/bound {number(worst)} ({assembly_name(kind)}) in {cases} cases",
        f"≤ 1 within {VIOLATED:g} standard errors", excess <= VIOLATED, exact=True,
    )  # fmt: skip


def flip_checks(flips: Sequence[FlipPoint]) -> list[Claim]:
    """S3 against Monte Carlo, and its exponent."""
    worst = max(abs(p.measured.value - p.formula) / p.measured.standard_error for p in flips)
    wide = [p for p in flips if p.n >= ASYMPTOTIC]
    slope, whole = (log_slope([p.n for p in part], [p.measured for p in part]) for part in (wide, flips))
    formula = log_slope([p.n for p in flips], [Estimate(p.formula, 0.0) for p in flips]).value
    span = f"{flips[0].n} to {flips[-1].n}"
    return [
        Claim(
            "S3.monte_carlo", "theorem S3", f"the mean flip probability is that of the formula, widths {span}",
            f"largest deviation {worst:.2f} standard errors", f"≤ {VIOLATED:g}", worst <= VIOLATED, exact=False,
        ),
        Claim(
            "S3.exponent", "theorem S3", "the flip probability falls as n^(-1/2) with the width below",
            f"slope {number(slope)} from n = {ASYMPTOTIC} on; {number(whole)} over {span}, where the formula's own is "
            f"{_signed(formula, 3)}",
            f"{_exponent(FLIP_TOLERANCE)}, from n = {ASYMPTOTIC} on",
            within(slope, EXPONENT, FLIP_TOLERANCE), exact=False,
        ),
    ]  # fmt: skip


def _exponent(tolerance: float) -> str:
    return f"{_signed(EXPONENT)} within {tolerance:g}, by {SIGMAS:g} standard errors"


def correlation_checks(points: Sequence[CorrelationPoint]) -> list[Claim]:
    """The exponent of the rms correlation of gates, layer by layer."""
    return [_correlation(layer, [p for p in points if p.layer == layer]) for layer in LAYERS]


def _correlation(layer: int, points: Sequence[CorrelationPoint]) -> Claim:
    slope = log_slope([p.n for p in points], [p.rms for p in points])
    return Claim(
        f"gates.layer{layer}", "fig. 3", f"the rms correlation of two gates of layer {layer} falls as n^(-1/2)",
        f"slope {number(slope)}; rms {points[-1].rms.value:.4f} at n = {points[-1].n}",
        _exponent(CORRELATION_TOLERANCE),
        within(slope, EXPONENT, CORRELATION_TOLERANCE), exact=False,
    )  # fmt: skip


def bracket_slopes(moments: Sequence[AssemblyMoments]) -> dict[str, Slopes | None]:
    """Slopes by check id: (20) for every kind, intact and broken apart; (21) for every kind, all µ together."""
    found = {}
    for kind in KINDS:
        for name, intact in (("intact", True), ("broken", False)):
            found[f"{_stem('eq20', kind)}.{name}"] = assembly_slopes(select_moments(moments, kind, intact), "eq20")
        found[_stem("eq21", kind)] = assembly_slopes([m for m in moments if m.kind == kind], "eq21")
    return dict(sorted(found.items(), key=lambda item: item[0][:7]))


def _stem(equation: str, kind: str) -> str:
    return f"{equation}.k{order_of(kind)}" + (f".{kind}" if KINDS[kind] else "")


def bracket_checks(slopes: Mapping[str, Slopes | None]) -> list[Claim]:
    """(20) and (21): bounded, or growing with depth or width."""
    return [_bracket(name, found) for name, found in slopes.items()]


def _bracket(name: str, found: Slopes | None) -> Claim:
    equation, _, *rest = name.split(".")
    case = rest.pop() if rest and rest[-1] in ("intact", "broken") else ""
    what = assembly_name(rest[0] if rest else "none")
    weights = {"intact": ", all weights intact", "broken": ", some weights of every layer broken", "": ""}[case]
    moment = "mean" if equation == "eq20" else "mean square"
    return Claim(
        name, f"eq. ({equation[2:]})", f"the {moment} of {what} is at most a constant times the bracket{weights}",
        slope_text(found), f"no slope above {GROWTH:g}, by {ERRORS:g} standard errors",
        True if found is None else found.bounded, exact=False,
    )  # fmt: skip


def slope_text(found: Slopes | None) -> str:
    """What was fitted."""
    if found is None:
        return "exactly 0: W_L is intact and not removed (M4)"
    left = f"; {found.left_out} points left out" if found.left_out else ""
    return (
        f"slope {number(found.per_layer)} per layer, {number(found.per_log_width)} per log n; constant "
        f"{found.constant:.3g} from the smallest (n, L), passed up to {found.worst:.3g}-fold{left}"
    )


def number(estimate: Estimate) -> str:
    """0.652 ± 0.020."""
    return f"{_signed(estimate.value, 3)} ± {estimate.standard_error:.3f}"


def _signed(value: float, digits: int | None = None) -> str:
    text = f"{abs(value):g}" if digits is None else f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text
