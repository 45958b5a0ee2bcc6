"""The answer of a report: what is said of the best rung, by its number, its error and the baseline."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from support.synthetic_report import report
from validation.compare.answer import answer, failures, standings
from validation.compare.claims.predictions import judge_predictions


def with_distances(**distances: tuple[float, float | None]) -> dict[str, Any]:
    """The digits report with these rungs alone at its last epoch with a prediction, each with (L1, standard error)."""
    data = deepcopy(report("digits"))
    data["epochs"] = data["epochs"][:-1]
    last = data["epochs"][-1]
    made = {rung: {"l1": value, "l1_standard_error": error} for rung, (value, error) in distances.items()}
    last["predictions"] = {rung: last["predictions"].get(rung, {}) | one for rung, one in made.items()}
    return data


@pytest.mark.parametrize(
    ("distance", "said", "verdict"),
    [
        ((0.05, 0.01), "L1 0.050 ± 0.010, within the bound of 0.1", "supported"),
        ((0.3, 0.01), "L1 0.300 ± 0.010, which fails: the bound is 0.1", "not supported"),
        ((0.11, 0.01), "L1 0.110 ± 0.010, too near the bound of 0.1 to decide", "not resolved"),
        ((0.05, None), "L1 0.05, of unknown standard error, so the bound of 0.1 decides nothing", "not resolved"),
    ],
)
def test_the_best_rung_is_judged_as_its_claim_is(distance: tuple[float, float | None], said: str, verdict: str) -> None:
    data = with_distances(R5=distance, R2=(0.6, 0.02), R0=(0.9, 0.02))
    text = answer(data)
    assert text == (
        f"At epoch 20 the Hessian spectrum is predicted best by R5 (measured signals), {said}; "
        "the best baseline, R2 (separable profile), has 0.600 ± 0.020"
    )
    best, *rest = standings(data["epochs"][-1])
    (claim,) = judge_predictions(data["epochs"][-1:])[:1]
    assert best.verdict == claim.verdict == verdict
    assert [one.verdict for one in rest] == ["baseline", "baseline"]


def test_a_baseline_is_the_best_only_where_it_is_alone() -> None:
    assert "best by R5" in answer(with_distances(R5=(0.5, 0.01), R2=(0.1, 0.01)))
    assert "best by R2 (separable profile), L1 0.100 ± 0.010, a baseline, which makes no claim" in answer(
        with_distances(R2=(0.1, 0.01))
    )


def test_one_network_does_not_refute_an_average() -> None:
    assert "as one network may be beside the average of many" in answer(with_distances(R3=(0.6, 0.01)))


def test_rungs_within_the_error_are_counted() -> None:
    data = with_distances(R5=(0.05, 0.02), RE=(0.06, 0.02), RK=(0.065, 0.02), R6=(0.08, 0.02))
    assert "; 2 other rungs are as near, within that error" in answer(data)


def test_where_the_best_rung_fails() -> None:
    """Other epochs, far eigenvalues that are off by more than a tenth, the peak at 0, rungs beyond the bound."""
    data = with_distances(R5=(0.05, 0.01), RE=(0.4, 0.01), R0=(0.9, 0.01))
    last, first = data["epochs"][-1], data["epochs"][0]
    first["predictions"]["R5"] |= {"l1": 0.33, "l1_standard_error": 0.02}
    data["epochs"][1]["predictions"].pop("R5")
    law, made = last["spectrum"], last["predictions"]["R5"]
    law["largest"] = {
        "negative": [{"value": 20.0, "standard_error": 0.5}],
        "positive": [{"value": 10.0, "standard_error": 0.5}],
    }
    made["tails"]["largest"] = {side: [{"value": 10.5, "standard_error": None}] for side in ("negative", "positive")}
    law["bulk"]["log_standard_error"] = 0.02
    made["log_distance"] = 0.4
    found = failures(data)
    assert any("R5 is beyond L1 0.1 at" in text and "0 (L1 0.330 ± 0.020)" in text for text in found)
    assert "R5 was not made at epoch 1." in found
    assert "The outermost negative eigenvalue is 20.00 ± 0.50 rms; R5 expects 10.5." in found
    assert not any("positive" in text for text in found)
    assert any("0.400 ± 0.020" in text for text in found)
    assert "Beyond L1 0.1 at epoch 20: RE (fresh weights), L1 0.400 ± 0.010." in found
    assert failures(deepcopy(report("no predictions"))) == []
