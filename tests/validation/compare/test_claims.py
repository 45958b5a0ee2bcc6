"""Verdicts of the claims on made-up records: each one supported, not supported and not applicable."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from validation.compare.claims.facts import FACTS
from validation.compare.claims.gradient import judge_gradient
from validation.compare.claims.judge import judge
from validation.statistics.claim import failed

Record = dict[str, Any]
VERDICTS = {"holds", "supported", "not supported", "not resolved", "not applicable"}
N_WEIGHTS = 1000
ERROR = 0.002  # of a broken part
LEARNING_RATE, MOMENTUM = 0.001, 0.9


def symmetry(excess: float | None) -> Record:
    """What is left of symmetry of one law; None: its values are all 0."""
    if excess is None:
        return {"value": None, "standard_error": None, "null": None, "null_95": None, "test": None}
    test = {"p_value": 0.5 if excess < 0.1 else 1e-9, "statistic": abs(excess)}
    return {"value": 0.05 + excess, "standard_error": ERROR, "null": 0.05, "null_95": 0.07, "test": test}


def symmetries(*excess: float | None) -> list[Record]:
    """One entry per layer."""
    return [symmetry(e) for e in excess]


def circuits(*excess: float, last_removed: float | None = 0.02) -> Record:
    """Circuits by order."""
    return {
        "orders": [
            {"order": k, "symmetry": symmetry(e), "last_removed": symmetry(last_removed) if k else None}
            for k, e in enumerate(excess)
        ]
    }


def aligned(value: float | None, error: float | None = 0.001) -> Record:
    """The broken share of the circuits; None: none is live."""
    share = {
        "value": value,
        "standard_error": None if value is None else error,
        "chance": None if value is None else 0.002,
    }
    return {
        "examples": 400,
        "dead_examples": 3,
        **share,
        "classes": {"negative": share, "positive": share},
        "unsigned": share,
    }


def made(l1: float, error: float | None = 0.004) -> Record:
    return {"l1": l1, "l1_standard_error": error}


def mirror(value: float, error: float = 0.004, **changed: float) -> Record:
    """The symmetry of a spectrum."""
    found = {"p_value": 0.25, "patterns": 8, "skew": 0.01, "skew_standard_error": 0.02}
    return {"value": value, "standard_error": error} | found | changed


def record(epoch: int = 0, risk: float = 1.0, **changed: Any) -> Record:
    """A record at which every claim is supported, with the order parameter 10 x risk."""
    spectrum = {
        "rms": 0.1 * risk, "minimum": -risk, "maximum": risk,
        "rms_standard_error": 0.002 * risk, "symmetry": mirror(0.01),
        "largest": {side: [{"value": 10.0, "standard_error": 0.1}] for side in ("negative", "positive")},
        "fraction_negative": {"value": 0.3, "standard_error": 0.01},
        "fraction_positive": {"value": 0.31, "standard_error": 0.01},
    }  # fmt: skip
    exact = {name: {"value": 1e-15, "tolerance": 1e-10} for name in FACTS if name != "E5"}
    known: Record = {
        "epoch": epoch, "fresh": epoch == 0, "learning_rate": LEARNING_RATE, "risk": risk, "accuracy": 1 - risk / 2,
        "order_parameter": 10 * risk,
        "active_fraction": min(1.0, risk), "dead_layers": 0, "growth": [1.1, 0.9, 1.0],
        "weight_symmetry": symmetries(0.0, -0.01, 0.06), "gradient_symmetry": symmetries(0.0, 0.02, 0.01),
        "gradient_symmetry_all": symmetry(0.03), "circuits": None if epoch else circuits(0.0, 0.01, -0.01),
        "aligned": aligned(0.05 * (1 - risk)),
        "exact": exact, "spectrum": spectrum, "predictions": {"R0": made(0.9), "R5": made(0.02), "R6": made(0.09)},
    }  # fmt: skip
    of_spectrum = {k: v for k, v in changed.items() if k in spectrum}
    assert set(changed) <= set(known) | set(spectrum)
    return known | {k: v for k, v in changed.items() if k not in spectrum} | {"spectrum": spectrum | of_spectrum}


def at_rest(epoch: int = 40, **changed: Any) -> Record:
    """No example is active: risk, gradient and Hessian are 0, and nothing was checked or predicted."""
    empty: Record = {
        "risk": 0.0, "order_parameter": 0.0, "active_fraction": 0.0, "exact": {}, "predictions": {}, "rms": 0.0,
        "minimum": 0.0, "maximum": 0.0, "gradient_symmetry": symmetries(None, None, None),
        "gradient_symmetry_all": symmetry(None),
        "rms_standard_error": 0.0, "fraction_negative": {"value": 0.0, "standard_error": 0.0},
        "fraction_positive": {"value": 0.0, "standard_error": 0.0},
        "symmetry": mirror(0.0, 0.0, p_value=1.0, patterns=0), "largest": {"negative": [], "positive": []},
    }  # fmt: skip
    return record(epoch, **(empty | changed))


GOOD = [record(0, 1.0), record(1, 0.1), record(2, 1e-2), record(3, 1e-3), at_rest()]


def verdicts(records: list[Record]) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in judge(records, MOMENTUM, N_WEIGHTS)}


def test_a_run_at_which_everything_is_as_claimed() -> None:
    found = verdicts(GOOD)
    assert {k: v for k, v in found.items() if k not in FACTS and v != "supported"} == {}
    assert {k: v for k, v in found.items() if k in FACTS and v != "holds"} == {}
    assert [k for k in found if k in FACTS] == [f"E{i}" for i in range(1, 9)]


def test_the_form_of_a_claim() -> None:
    """Ids are figures, facts and equations; text for people; verdicts from the four; nothing that JSON cannot say."""
    claims = judge(GOOD, MOMENTUM, N_WEIGHTS)
    assert len({c["id"] for c in claims}) == len(claims)
    for claim in claims:
        assert set(claim) == {"id", "source", "claim", "measured", "expected", "verdict", "exact"}
        assert re.fullmatch(r"(fig[3-8][abc]|E[1-8]|S[1-3]|M[1-4]|eq2[01])(\.\w+)*", claim["id"])
        assert claim["verdict"] in VERDICTS
        assert isinstance(claim["measured"], str | None)
        assert all(isinstance(claim[key], str) and claim[key] for key in ("source", "claim", "expected"))
    json.dumps(claims, allow_nan=False)


def changed(**changes: Any) -> list[Record]:
    """The good run with every record before the last changed."""
    return [record(r["epoch"], r["risk"], **changes) for r in GOOD[:-1]] + GOOD[-1:]


def share(value: float, error: float = 0.01) -> Record:
    return {"value": value, "standard_error": error}


def edges(low: float, high: float, error: float = 0.1) -> Record:
    """The largest eigenvalue of either sign, in rms."""
    return {"negative": [share(low, error)], "positive": [share(high, error)]}


NOT_SUPPORTED: dict[str, Callable[[], list[Record]]] = {
    "fig3a.symmetry": lambda: [*GOOD[:-1], at_rest(weight_symmetry=symmetries(0.2, 0.3, 0.0))],
    "fig3a.layers": lambda: [*GOOD[:-1], at_rest(weight_symmetry=symmetries(0.1, 0.09, 0.08))],
    "fig3b.symmetry": lambda: [record(circuits=circuits(0.0, 0.11, 0.0)), *GOOD[1:]],
    "fig3b.aligned": lambda: [*GOOD[:2], record(2, 1e-2, aligned=aligned(0.103)), *GOOD[3:]],
    "fig4a.symmetry": lambda: [*GOOD[:1], record(1, 0.1, gradient_symmetry_all=symmetry(0.11)), *GOOD[2:]],
    "fig4a.layers": lambda: [*GOOD[:1], record(1, 0.1, gradient_symmetry=symmetries(0.0, 0.4, 0.1)), *GOOD[2:]],
    "fig4b.proportional": lambda: [record(e, 0.1**e, order_parameter=10 * 0.01**e) for e in range(5)],
    "fig4b.decade": lambda: [record(e, 0.1**e, order_parameter=0.1 * 0.1**e) for e in range(5)],
    "fig8a.symmetry": lambda: changed(symmetry=mirror(0.05)),
    "fig8a.skew": lambda: [record(symmetry=mirror(0.01, skew=-0.2)), *GOOD[1:]],
    "fig8a.edges": lambda: [record(largest=edges(10.0, 15.0)), *GOOD[1:]],
    "fig8a.index": lambda: [record(e, 0.1**e, fraction_negative=share(0.3 - 0.1 * e)) for e in range(4)],
    "fig8a.signs": lambda: [record(0, 1.0, minimum=0.0), *GOOD[1:]],
    "fig8a.shares": lambda: [record(0, 1.0, fraction_negative=share(0.2)), *GOOD[1:]],
    "fig8a.collapse": lambda: [record(0, 1.0), record(1, 0.01, rms=0.05)],
    "fig8a.prediction.R6": lambda: changed(predictions={"R6": made(0.11)}),
    "fig8a.prediction.R5": lambda: [record(0, predictions={"R5": made(0.4), "R6": made(0.0)}), *GOOD[1:]],
    "fig8b.risk": lambda: [record(0, 1.0), record(1, 0.0011)],
    "fig8b.accuracy": lambda: [record(0, 1.0), record(1, 1e-4, accuracy=0.9989)],
    "M1.growth": lambda: [*GOOD[:2], record(2, 0.01, growth=[2.1, 2.0, 2.0]), *GOOD[3:]],
}


@pytest.mark.parametrize("name", NOT_SUPPORTED)
def test_not_supported(name: str) -> None:
    records = NOT_SUPPORTED[name]()
    assert verdicts(records)[name] == "not supported"
    assert failed(judge(records, MOMENTUM, N_WEIGHTS)) == []


NOT_APPLICABLE: dict[str, list[Record]] = {
    "fig3a.layers": [record(weight_symmetry=symmetries(0.01, 0.0, 0.04))],
    "fig3b.symmetry": GOOD[1:],
    "fig3b.aligned": [record(aligned=aligned(None)), record(1, 0.1, aligned=aligned(None))],
    "fig4a.symmetry": [at_rest(0)],
    "fig4a.layers": [at_rest(0)],
    "fig4b.proportional": GOOD[:2],
    "fig4b.decade": [at_rest(0)],
    "fig8a.symmetry": [at_rest(0)],
    "fig8a.skew": [at_rest(0)],
    "fig8a.edges": [at_rest(0)],
    "fig8a.index": GOOD[:2],
    "fig8a.signs": [at_rest(0)],
    "fig8a.shares": [at_rest(0)],
    "fig8a.collapse": [record(0, 1.0), record(1, 0.2)],
    "M1.growth": [record(growth=[]), record(growth=[None]), record(growth=[0.0, None])],
    **{name: [at_rest(0)] for name in FACTS if name != "E5"},
    "E5": GOOD[:-1],
}


@pytest.mark.parametrize("name", NOT_APPLICABLE)
def test_not_applicable(name: str) -> None:
    claim = next(c for c in judge(NOT_APPLICABLE[name], MOMENTUM, N_WEIGHTS) if c["id"] == name)
    assert claim["verdict"] == "not applicable"


NOT_RESOLVED: dict[str, Callable[[], list[Record]]] = {
    "fig3a.symmetry": lambda: [*GOOD[:-1], at_rest(weight_symmetry=symmetries(0.099, 0.101, 0.0))],
    "fig3a.layers": lambda: [*GOOD[:-1], at_rest(weight_symmetry=symmetries(0.1, 0.05, 0.0))],
    "fig3b.symmetry": lambda: [record(circuits=circuits(0.0, 0.099, 0.0)), *GOOD[1:]],
    "fig4a.symmetry": lambda: [*GOOD[:1], record(1, 0.1, gradient_symmetry_all=symmetry(0.103)), *GOOD[2:]],
    "fig4a.layers": lambda: [*GOOD[:1], record(1, 0.1, gradient_symmetry=symmetries(0.1, 0.1, 0.1)), *GOOD[2:]],
    "fig8a.symmetry": lambda: changed(symmetry=mirror(0.018)),
    "fig8a.skew": lambda: [record(symmetry=mirror(0.01, skew=0.9, skew_standard_error=0.5)), *GOOD[1:]],
    "fig8a.edges": lambda: [record(largest=edges(10.0, 15.0, 3.0)), *GOOD[1:]],
    "fig8a.shares": lambda: [record(0, 1.0, fraction_negative=share(0.28, 0.1)), *GOOD[1:]],
    "fig8a.index": lambda: [record(e, 0.1**e, fraction_negative=share(0.3, 0.3)) for e in range(4)],
    "fig8a.collapse": lambda: [record(0, 1.0), record(1, 0.01, rms=0.0098, rms_standard_error=0.001)],
    "fig8a.prediction.R5": lambda: changed(predictions={"R5": made(0.09, 0.02)}),
}


@pytest.mark.parametrize("name", NOT_RESOLVED)
def test_not_resolved(name: str) -> None:
    records = NOT_RESOLVED[name]()
    assert verdicts(records)[name] == "not resolved"
    assert failed(judge(records, MOMENTUM, N_WEIGHTS)) == []


@pytest.mark.parametrize(
    ("laws", "verdict"),
    [
        ([made(0.09, 0.3), made(0.1, 0.0)], "not resolved"),
        ([made(0.09, 0.01), made(0.1, 0.0)], "supported"),
        ([made(0.02, 0.01), made(0.15, 0.02)], "not supported"),
        ([made(0.11, 0.02), made(0.02, 0.01)], "not resolved"),
        ([made(0.13, 0.02), made(0.15, 0.02)], "not supported"),
        ([made(0.13, 0.02), made(0.02, 0.01)], "not resolved"),
        ([made(0.5, None)], "not resolved"),
        ([made(0.05, None)], "not resolved"),
    ],
)
def test_a_prediction_is_not_judged_by_what_the_measurement_may_be_off(laws: list[Record], verdict: str) -> None:
    records = [record(epoch, predictions={"R5": law}) for epoch, law in enumerate(laws)]
    assert verdicts(records)["fig8a.prediction.R5"] == verdict


def test_one_network_does_not_refute_a_law_of_the_average_network() -> None:
    found = verdicts([record(predictions={"R3": made(0.5), "R5": made(0.5)})])
    assert found["fig8a.prediction.R3"] == "not resolved"
    assert found["fig8a.prediction.R5"] == "not supported"


def test_rungs_without_a_prediction_make_no_claim() -> None:
    assert not [name for name in verdicts([at_rest(0)]) if "prediction" in name]
    some = [record(predictions={"R4": made(0.3)}), record(1, predictions={})]
    assert [name for name in verdicts(some) if "prediction" in name] == ["fig8a.prediction.R4"]


def test_baselines_from_moments_of_the_hessian_make_no_claim() -> None:
    some = [record(predictions={"R0": made(1.4), "R1": made(0.3), "R2": made(0.2)})]
    assert not [name for name in verdicts(some) if "prediction" in name]


def test_one_record_and_records_where_the_risk_stayed() -> None:
    """A single epoch, or a risk that never changed, has no slope and no collapse; nothing is divided by 0."""
    for records in ([record()], [record(e) for e in range(4)], [at_rest(0), at_rest(1)]):
        found = verdicts(records)
        assert found["fig4b.proportional"] == "not applicable"
        assert set(found.values()) <= VERDICTS
    assert verdicts([at_rest(0), at_rest(1)])["fig8a.collapse"] == "not applicable"


def test_one_epoch_of_five_may_be_asymmetric() -> None:
    four = [record(e, symmetry=mirror(0.01)) for e in range(4)]
    assert verdicts([*four, record(4, symmetry=mirror(0.05))])["fig8a.symmetry"] == "supported"
    assert verdicts([*four[1:], record(4, symmetry=mirror(0.05))])["fig8a.symmetry"] == "not supported"


def test_an_epoch_whose_subset_says_nothing_is_named() -> None:
    """Risk above 0 but no active example among those of the spectrum: not counted against the claim, but said."""
    claim = next(c for c in judge([record(), at_rest(1, risk=0.1)], MOMENTUM, N_WEIGHTS) if c["id"] == "fig8a.signs")
    assert claim["verdict"] == "supported"
    assert "both signs at 1 of 1 epochs; 1 with risk > 0 but H = 0" in claim["measured"]


@pytest.mark.parametrize("name", [name for name in FACTS if name != "E5"])
def test_a_fact_that_fails_once_has_failed(name: str) -> None:
    bad = record(1, 0.1)
    bad["exact"] = bad["exact"] | {name: {"value": 1.1e-10, "tolerance": 1e-10}}
    claims = judge([GOOD[0], bad, *GOOD[2:]], MOMENTUM, N_WEIGHTS)
    assert failed(claims) == [name]
    assert next(c for c in claims if c["id"] == name)["verdict"] == "not supported"
    assert "1.1e-10" in next(c for c in claims if c["id"] == name)["measured"]


@pytest.mark.parametrize(
    ("changes", "kind", "verdict"),
    [
        ({"rms": 0.0, "active_fraction": 0.0}, "global minimum", "holds"),
        ({"rms": 0.0, "active_fraction": 1.0, "dead_layers": 1}, "flat, a layer is dead", "holds"),
        (
            {"rms": 0.0, "active_fraction": 3 / 400},
            "flat, risk 0.5: no circuit is live at any of the 3 active examples",
            "holds",
        ),
        (
            {"rms": 0.0, "active_fraction": 4 / 400},
            "H = 0 on the examples of the spectrum, not known on the others",
            "not resolved",
        ),
        ({"active_fraction": 1.0}, "strict saddle", "holds"),
        ({"active_fraction": 1.0, "minimum": 0.0}, "unexplained", "not supported"),
        ({"active_fraction": 1.0, "maximum": -1e-3}, "unexplained", "not supported"),
    ],
)
def test_e5_names_the_kind_of_a_stationary_point(changes: Record, kind: str, verdict: str) -> None:
    claims = judge([record(), record(7, 0.5, order_parameter=0.0, **changes)], MOMENTUM, N_WEIGHTS)
    claim = next(c for c in claims if c["id"] == "E5")
    assert claim["measured"] == f"epoch 7: {kind}"
    assert claim["verdict"] == verdict
    assert failed(claims) == (["E5"] if verdict == "not supported" else [])


def test_the_numbers_that_are_shown() -> None:
    shown = {c["id"]: c["measured"] for c in judge(GOOD, MOMENTUM, N_WEIGHTS)}
    assert shown["fig8a.prediction.R5"] == "L1 0.020 to 0.020, standard error up to 0.004"
    assert shown["fig8a.shares"] == f"|f₋ - f₊|/(f₋ + f₊) up to {0.01 / 0.61:.3g} ± {0.02 / 0.61:.2g}"
    assert shown["fig8a.edges"] == "λ_max/|λ_min| 1 ± 0.014 at epoch 0, where it is furthest from 1"
    assert shown["fig8a.symmetry"] == (
        "W1 to the mirror image up to 0.0100 ± 0.004 rms; randomisation test: least p = 0.25 of 4 epochs (no less than "
        "0.125 with so many probes)"
    )
    assert re.match(r"median 1(\.0+)? ± ", shown["fig4b.decade"])
    assert shown["fig4b.decade"].endswith(
        "at η/(1 - momentum) = 0.01, from 1.00 to 1.00; median 2.00 decades at η alone"
    )
    assert shown["fig4b.proportional"] == "log-log slope 1.00 ± 0.00, correlation 1.00, of 4 epochs"
    assert shown["fig3b.aligned"] == (
        "0.0000 ± 0.0010 at epoch 0 → 0.0500 ± 0.0010 at epoch 40; random signs of W_L give ± 0.002 → 0.002; "
        "negative examples 0.0000 ± 0.0010 → 0.0500 ± 0.0010; positive examples 0.0000 ± 0.0010 → 0.0500 ± 0.0010"
    )
    geometric = math.exp(np.mean(np.log([1.1, 0.9, 1.0])))
    assert shown["M1.growth"] == f"c from {geometric:.2f} to {geometric:.2f}"
    assert shown["E3"] == "relative error ≤ 1.0e-15"
    assert shown["fig4a.symmetry"] == (
        "broken part 0.0300 ± 0.0020 to 0.0300 ± 0.0020 above chance; D rejects symmetry in 0 of 4 tests"
    )
    assert shown["fig3b.symmetry"] == (
        "broken part above chance order 0: 0.0000 ± 0.0020, order 1: 0.0100 ± 0.0020, order 2: -0.0100 ± 0.0020; "
        "without the last weight up to 0.0200 ± 0.0020; D rejects symmetry in 0 of 3 tests"
    )


def test_the_layers_that_broke_are_named() -> None:
    """First by epoch, most at the last epoch; a layer within the 95 % point of its null is not broken."""
    records = [
        record(0, weight_symmetry=symmetries(0.0, 0.0, 0.0, 0.0)),
        record(5, 0.1, weight_symmetry=symmetries(0.06, 0.01, 0.0, 0.07)),
        record(9, 0.1, weight_symmetry=symmetries(0.3, 0.2, 0.01, 0.07)),
    ]
    records[1]["weight_symmetry"][3]["null_95"] = records[2]["weight_symmetry"][3]["null_95"] = 0.13
    claim = next(c for c in judge(records, MOMENTUM, N_WEIGHTS) if c["id"] == "fig3a.layers")
    assert claim["measured"] == (
        "first above 0.05: layer 1 at epoch 5; most at epoch 9: layer 1 (0.3000 ± 0.0020 above chance), median 0.135"
    )
    assert claim["verdict"] == "supported"
    rejecting = next(c for c in judge(records, MOMENTUM, N_WEIGHTS) if c["id"] == "fig3a.symmetry")
    assert rejecting["measured"].endswith("D rejects symmetry in 2 of 12 tests")


def test_circuits_are_judged_at_initialisation_only() -> None:
    """The first record is no initialisation, or nothing is live there: not applicable, and no test is counted."""
    for first in (record(1, circuits=circuits(0.0, 0.0, 0.0)), record(circuits=circuits()), record(circuits=None)):
        claim = next(c for c in judge([first], MOMENTUM, N_WEIGHTS) if c["id"] == "fig3b.symmetry")
        assert (claim["verdict"], claim["measured"]) == ("not applicable", None)


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([aligned(0.0), aligned(0.05)], "supported"),
        ([aligned(0.0, 0.02), aligned(0.03, 0.02)], "not resolved"),  # growth of 0.03 ± 0.028
        ([aligned(0.05), aligned(0.0)], "not supported"),
        ([aligned(0.05), aligned(0.05)], "not resolved"),
        ([aligned(0.0), aligned(0.099)], "not resolved"),
        ([aligned(0.0), aligned(0.103), aligned(0.05)], "not supported"),
        ([aligned(0.0, None), aligned(0.05, None)], "not resolved"),
        ([aligned(0.05)], "supported"),
        ([aligned(None), aligned(0.05)], "supported"),
    ],
)
def test_the_broken_share_grows_and_stays_small_beyond_its_error(shares: list[Record], verdict: str) -> None:
    records = [record(epoch, 0.1**epoch, aligned=share) for epoch, share in enumerate(shares)]
    assert verdicts(records)["fig3b.aligned"] == verdict


@pytest.mark.parametrize(
    ("momentum", "factor", "verdict"),
    [(0.0, 0.01, "supported"), (0.9, 0.001, "supported"), (0.9, 0.01, "not supported"), (0.0, 0.001, "not supported")],
)
def test_the_decade_is_that_of_the_effective_rate(momentum: float, factor: float, verdict: str) -> None:
    """The order parameter is 10 x risk: a rate of 0.01 puts it one decade below."""
    records = [r | {"learning_rate": factor} for r in GOOD]
    (claim,) = [c for c in judge(records, momentum, N_WEIGHTS) if c["id"] == "fig4b.decade"]
    assert claim["verdict"] == verdict
    assert f"{factor / (1 - momentum):g}" in claim["measured"]


def decades_below(*decades: float) -> list[Record]:
    return [record(e, 0.1**e, order_parameter=100 * 0.1 ** (e + d)) for e, d in enumerate(decades)]


@pytest.mark.parametrize(
    ("decades", "verdict"),
    [
        ((1.0, 1.1, 0.9, 1.0), "supported"),
        ((0.0, 2.0, 1.0, 1.0), "not resolved"),
        ((2.0, 2.1, 1.9, 2.0), "not supported"),
        ((0.1, 0.0, 0.1, 0.0), "not supported"),
        ((1.0,), "not resolved"),
    ],
)
def test_the_decade_has_an_error(decades: tuple[float, ...], verdict: str) -> None:
    assert verdicts(decades_below(*decades))["fig4b.decade"] == verdict


@pytest.mark.parametrize(
    ("orders", "verdict"),
    [
        ([1.0, 0.1, 0.01, 0.001], "supported"),
        ([1.0, 0.1, 0.01], "not resolved"),  # a line through three points has no error of its correlation
        ([1.0, 0.05, 0.02, 0.001], "not resolved"),
        ([1.0, 1e-2, 1e-4, 1e-6, 1e-8], "not supported"),
        ([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0], "not supported"),
    ],
)
def test_few_points_do_not_decide_on_proportion(orders: list[float], verdict: str) -> None:
    records = [record(e, 0.1**e, order_parameter=order) for e, order in enumerate(orders)]
    assert verdicts(records)["fig4b.proportional"] == verdict


def test_a_slope_that_is_off_by_chance_is_not_condemned_more_often_than_said() -> None:
    """Points in exact proportion but for noise, 3 to 7 of them: condemned in at most 5 % of 400 runs."""
    rng = np.random.default_rng(0)
    condemned = 0
    for _ in range(400):
        risks = 10.0 ** -np.arange(rng.integers(3, 8))
        records = [record(e, r, order_parameter=r * 10 ** rng.normal()) for e, r in enumerate(risks)]
        (claim,) = [c for c in judge_gradient(records, {}, 0.9) if c.id == "fig4b.proportional"]
        condemned += claim.held is False
    assert condemned <= 20


def foretold(records: list[Record], *risks: list[float]) -> dict[str, Any]:
    """The claim on the risk predicted before training, fresh networks at the records with these risks."""
    told = [r | {"forecast": {"R7": {"risk": values}}} for r, values in zip(records, risks, strict=True)]
    (claim,) = (c for c in judge(told, MOMENTUM, N_WEIGHTS) if c["id"] == "fig8b.forecast.R7")
    return claim


def test_the_risk_foretold_before_training() -> None:
    """Within a factor two by the spread of single networks; nothing is judged where the risk is 0."""
    two = [record(0, 1.0), record(1, 0.1)]
    assert foretold(two, [1.0, 1.1, 0.9], [0.1, 0.11, 0.1])["verdict"] == "supported"
    assert foretold(two, [1.0, 1.1, 0.9], [0.1, 0.25, 0.15])["verdict"] == "not resolved"
    assert foretold(two, [1.0, 1.1, 0.9], [0.5, 0.51, 0.49])["verdict"] == "not supported"
    assert foretold(two, [1.0, 1.1, 0.9], [0.0, 0.0, 0.0])["verdict"] == "not supported"  # it goes on
    assert foretold(two, [1.0, 1.1, 0.9], [0.0, 0.1, 0.2])["verdict"] == "not resolved"
    assert foretold([record(0, 1.0), at_rest()], [1.0, 1.1, 0.9], [0.3, 0.2, 0.3])["verdict"] == "supported"
    assert "predicted over measured 1 to 1.5" in foretold(two, [1.0, 1.0, 1.0], [0.15, 0.15, 0.15])["measured"]
