"""The command that learns networks scale by scale: planted worlds, the digits, claims, files."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator import expand_multipliers
from support.places import ROOT
from validation.maxent import job
from validation.maxent.answer import answer
from validation.maxent.cases import Sizes, digit_events, every_event, planted_worlds
from validation.maxent.claims import check_all
from validation.maxent.job import MaxentReport, maxent
from validation.maxent.page import network_rows, render, scale_rows, text_table

TINY = Sizes(worlds=1, epochs=2, starts=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> MaxentReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "QUICK", TINY)
        patch.setattr("validation.report.write.draw", lambda figures, data: ({}, {}))
        return maxent(quick=True, backend="numpy", out=tmp_path_factory.mktemp("maxent") / "run")


def test_every_event_has_its_probability() -> None:
    rng = np.random.default_rng(0)
    chain = [rng.normal(size=(2, 2)), rng.normal(size=(2, 1))]
    observed, weight = every_event(rng.normal(size=(3, 2)), [expand_multipliers(chain, s) for s in (1, 2)])
    assert [a.shape for a in observed] == [(24, 2), (24, 2), (24, 1)]
    assert weight.sum() == pytest.approx(1.0)
    x, h, y = observed
    k = 13
    z = chain[0].T @ x[k]
    t = chain[1].T @ (h[k] * z)
    by_hand = np.prod(1 / (1 + np.exp(np.where(h[k] > 0, -z, z)))) / (1 + np.exp(-t[0] if y[k, 0] else t[0])) / 3
    assert weight[k] == pytest.approx(by_hand)


def test_the_loss_grows_with_the_square_of_what_is_no_chain() -> None:
    curve = planted_worlds(TINY, np.random.default_rng(1))["curves"][0]
    small, twice = (np.array(curve[k]["loss"][1:]) for k in (1, 2))
    assert np.allclose(twice / small, 4.0, rtol=0.25)
    assert all(row["loss"][0] == pytest.approx(0.0, abs=1e-10) for row in curve)


def test_events_of_the_digits() -> None:
    training, held = digit_events()
    assert [a.shape[1] for a in training] == [5, 8, 3, 1]
    assert [len(a) for a in (training[0], held[0])] == [1437, 360]
    assert np.abs(training[1].mean(axis=0) - 0.5).max() < 0.1
    assert training[3].mean() == pytest.approx(0.5, abs=0.02)


def test_a_run_and_its_page(finished: MaxentReport) -> None:
    data = json.loads((finished.path / "maxent.json").read_text())
    assert data == finished.data
    assert finished.failed_facts == []
    assert {c["id"]: c["verdict"] for c in data["checks"] if c["exact"]} == dict.fromkeys(
        ("eq1.couplings", "eq2.multipliers", "eq4.chain", "eq4.divergence"), "holds"
    )
    assert len(scale_rows(data)) == 3
    assert len(network_rows(data)) == 6
    page = render(data, {"maxent": b"png"})
    assert "From couplings to a network" in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [(("couplings",), 1e-3, "eq1.couplings"), (("multipliers",), 1e-3, "eq2.multipliers"),
     (("weights",), 1e-3, "eq4.chain"), (("divergence",), 1e-3, "eq4.divergence")],
)  # fmt: skip
def test_planted_errors_fail_their_fact(finished: MaxentReport, place: tuple[str], value: float, name: str) -> None:
    planted: dict[str, Any] = deepcopy(finished.data["planted"])
    planted["errors"][place[0]] = value
    verdicts = {c.id: c.verdict for c in check_all(planted, finished.data["digits"])}
    assert [k for k, v in verdicts.items() if v == "not supported" and k.startswith("eq") and k != "eq4.loss"] == [name]


def test_claims_follow_their_errors(finished: MaxentReport) -> None:
    digits = deepcopy(finished.data["digits"])
    digits["accuracy_gap"] = {"value": 0.03, "standard_error": 0.02}
    digits["likelihood_gain"] = {"value": -0.5, "standard_error": 0.1}
    verdicts = {c.id: c.verdict for c in check_all(finished.data["planted"], digits)}
    assert (verdicts["maxent.stack"], verdicts["maxent.modified"]) == ("not resolved", "not supported")


def test_the_answer_is_made_from_the_numbers(finished: MaxentReport) -> None:
    data = deepcopy(finished.data)
    digits = data["digits"]
    for scale, share in zip(digits["scales"][1:], (0.82, 0.05), strict=True):
        scale["share"] = {"value": share, "standard_error": 0.023}
    digits |= {"accuracy_gap": {"value": 0.074, "standard_error": 0.023},
               "likelihood_gain": {"value": 0.235, "standard_error": 0.037}}  # fmt: skip
    data["checks"] = [c.record() for c in check_all(data["planted"], digits)]
    text = (
        "The hierarchical form loses 0.820 ± 0.023 (loop, stem, bow) and 0.050 ± 0.023 (odd) of what couplings say of "
        "the digits (it keeps this: not supported); its accuracy is below that of back-propagation by 0.074 ± 0.023 "
        "(as good: not supported); modified for the label it gains 0.235 ± 0.037 nats an example (supported)"
    )
    assert answer(data) == text
    page = render(data, {"maxent": b"png"})
    assert page.index(text) < page.index('id="maxent"') < page.index("Verdicts")
    assert " ".join(text_table(data).split()).startswith(f"{text}.")
    assert finished.answer() in repr(finished)
    digits["scales"][1]["share"]["value"] = 0.03
    digits |= {"accuracy_gap": {"value": 0.01, "standard_error": 0.02},
               "likelihood_gain": {"value": -0.5, "standard_error": 0.1}}  # fmt: skip
    data["checks"] = [c.record() for c in check_all(data["planted"], digits)]
    said = answer(data)
    assert "0.030 ± 0.023 (loop, stem, bow)" in said
    assert "(it keeps this: supported)" in said
    assert "by 0.010 ± 0.020 (as good: not resolved)" in said
    assert said.endswith("gains −0.50 ± 0.10 nats an example (not supported)")
    assert "(as good: not applicable)" in answer(data | {"checks": []})


def test_bad_usage_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "validation.maxent", "--seed", "-1", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "validation.maxent: --seed -1: expected an integer >= 0\n"
