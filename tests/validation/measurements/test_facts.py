"""The exact facts as the main job checks them: they hold on every network, and each fails for a broken Hessian."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import get_backend
from simulator import HessianOperator, evaluate
from support.cases import DENSE, IMAGES, LOSSES, SMALL, VGG12, Array, Case
from validation.compare.__main__ import main
from validation.compare.claims.facts import FACTS
from validation.measurements import facts
from validation.measurements.facts import FACT_EXAMPLES, TOLERANCES, FactCheck, check_facts

ALWAYS = {"E1", "E2", "E3", "E4", "E6"}
DEPTH2, DEPTH3, DEEP, CONV = DENSE[1], DENSE[2], DENSE[4], IMAGES[10]


def checked(case: Case, loss: str = "hinge", backend: str = "numpy", dtype: str = "float64") -> dict[str, FactCheck]:
    ops = get_backend(backend, dtype)
    c = HessianOperator(*case.problem, loss, "residual", backend=ops).c
    return check_facts(*case.problem, c, loss, ops, np.random.default_rng(0))


def failing(case: Case, **options: str) -> set[str]:
    return {name for name, check in checked(case, **options).items() if not check.holds}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_all_hold_to_rounding(case: Case, loss: str, backend: str) -> None:
    """Far inside the tolerances: 1e-13 in float64, 1e-5 in float32."""
    for dtype, rounding in (("float64", 1e-13), ("float32", 1e-5)):
        found = checked(case, loss, backend, dtype)
        expected = ALWAYS | ({"E7"} if case in (DEPTH2,) else set()) | ({"E8"} if case.network.depth > 1 else set())
        assert set(found) == expected
        assert max(check.value for check in found.values()) < rounding
        assert all(check.holds and check.tolerance == TOLERANCES[dtype] for check in found.values())


def test_they_hold_on_twelve_layers_in_float32() -> None:
    assert not failing(VGG12, dtype="float32")


def test_e7_is_for_two_dense_layers_only() -> None:
    """Behind a pool, or with a convolution below, ||v_b|| is another sum."""
    assert "E7" in checked(DEPTH2)
    for case in (DEPTH3, IMAGES[0], Case("pooled", (4, 4, 2), (("pool", 2), ("dense", 3), ("dense", 1)))):
        assert "E7" not in checked(case)


Rows = Callable[[HessianOperator, Array], Array]


def add_diagonal(rows: Rows) -> Rows:
    return lambda self, v: rows(self, v) + 1e-6 * v


def rescale(rows: Rows) -> Rows:
    return lambda self, v: (1 + 1e-6) * rows(self, v)


def add_even_part(rows: Rows, weight: int = 0) -> Rows:
    """A term between a weight of layer 1 and the first of layer 2: for L > 2, W_L → -W_L should negate it."""

    def broken(self: HessianOperator, v: Array) -> Array:
        first, second = self.network.slices[0].start + weight, self.network.slices[1].start
        product = rows(self, v)
        product[:, first] += 1e-6 * v[:, second]
        product[:, second] += 1e-6 * v[:, first]
        return product

    return broken


MUTATIONS = {
    "diagonal": (add_diagonal, {"E1", "E2", "E3", "E4", "E6"}),
    "scale": (rescale, {"E3", "E4"}),
    "even part": (add_even_part, {"E3", "E4", "E6"}),
}


@pytest.mark.parametrize("case", [DEPTH3, DEEP, CONV], ids=str)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_hessian_is_found(name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of a millionth of H's entries, in float64."""
    mutate, expected = MUTATIONS[name]
    monkeypatch.setattr(HessianOperator, "rows", mutate(HessianOperator.rows))
    assert failing(case) == expected


def test_e7_fails_for_a_term_between_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = 2: an entry between a weight into neuron 2 and the one out of neuron 1 couples eigenvectors of H²."""
    monkeypatch.setattr(HessianOperator, "rows", add_even_part(HessianOperator.rows, weight=1))
    assert failing(DEPTH2) == {"E3", "E4", "E7"}


@pytest.mark.parametrize("case", [DEPTH3, DEEP, CONV], ids=str)
def test_a_broken_gradient_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer's gradient off by a millionth: E3, the common ⟨W_l, ∇_l⟩ of E4, and the balance of E8."""

    def off(*arguments: Any, **options: Any) -> Any:
        whole = evaluate(*arguments, **options)
        return replace(whole, gradient=[*whole.gradient[:-1], whole.gradient[-1] * (1 + 1e-6)])

    monkeypatch.setattr(facts, "evaluate", off)
    assert failing(case) == {"E3", "E4", "E8"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", [DEPTH2, DEPTH3, DEEP], ids=str)
def test_terms_that_cancel_are_no_failure(case: Case, dtype: str) -> None:
    """Every input once with each label, |T| < 1: H and ∇R are 0 up to rounding, whose ratios mean nothing."""
    network, weights, x, _ = case.problem
    weights = [*weights[:-1], 0.1 * weights[-1]]
    order = np.random.default_rng(0).permutation(2 * len(x))
    x, y = np.concatenate([x, x])[order], np.repeat([1.0, -1.0], len(x))[order]
    ops = get_backend("numpy", dtype)
    operator = HessianOperator(network, weights, x, y, backend=ops)
    assert np.all(operator.c == -y / len(y))
    found = check_facts(network, weights, x, y, operator.c, "hinge", ops, np.random.default_rng(0))
    assert set(found) >= ALWAYS
    assert all(check.holds for check in found.values()), found


def test_no_active_example_leaves_nothing_to_check() -> None:
    network, weights, x, y = DEEP.problem
    ops = get_backend("numpy")
    assert check_facts(network, weights, x, y, np.zeros(len(y)), "hinge", ops, np.random.default_rng(0)) == {}


def test_a_dead_layer_is_no_failure() -> None:
    """W_2 < 0: all examples active, gradient and Hessian exactly 0."""
    network, weights, x, y = DEEP.problem
    dead = [weights[0], -np.abs(weights[1]), *weights[2:]]
    c = HessianOperator(network, dead, x, y).c
    assert np.count_nonzero(c) == len(y)
    found = check_facts(network, dead, x, y, c, "hinge", get_backend("numpy"), np.random.default_rng(0))
    assert {name: check.value for name, check in found.items()} == dict.fromkeys(ALWAYS | {"E8"}, 0.0)


def test_only_a_few_active_examples_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 64, all of them with c ≠ 0."""
    case = Case("many", (6,), (("dense", 5), ("dense", 4), ("dense", 1)), examples=300)
    c = HessianOperator(*case.problem).c
    seen: list[Array] = []

    def spy(network: Any, weights: Any, x: Array, *rest: Any) -> Any:
        seen.append(x)
        return evaluate(network, weights, x, *rest)

    monkeypatch.setattr(facts, "evaluate", spy)
    check_facts(*case.problem, c, "hinge", get_backend("numpy"), np.random.default_rng(0))
    assert FACT_EXAMPLES < np.count_nonzero(c) < 300
    assert np.array_equal(seen[0], case.x[np.flatnonzero(c)[:FACT_EXAMPLES]])


@pytest.mark.parametrize(("value", "holds"), [(0.0, True), (1e-10, True), (1.1e-10, False), (float("nan"), False)])
def test_a_check_holds_up_to_its_tolerance(value: float, holds: bool) -> None:
    assert FactCheck(value, 1e-10).holds is holds


def run(folder: Path, **options: Any) -> tuple[int, dict[str, str]]:
    """Exit status and verdicts of a short run of the main job."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    short = ["--backend", "numpy", "--epochs", "0", "--steps", "8", "--probes", "2", "--out", str(folder)]
    short += ["--prediction-seconds", "0.001"]
    status = main([*words, *short])
    claims = json.loads((folder / "report.json").read_text())["claims"]
    return status, {claim["id"]: claim["verdict"] for claim in claims if claim["id"] in FACTS}


@pytest.mark.usefixtures("plain")
def test_a_failed_fact_is_exit_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HessianOperator, "rows", rescale(HessianOperator.rows))
    status, verdicts = run(tmp_path / "run", data="digits", network="mlp:8x8", examples=24)
    assert status == 1
    assert {name for name, verdict in verdicts.items() if verdict == "not supported"} == {"E3", "E4"}
    assert capsys.readouterr().err == "validation.compare: exact facts failed, which is a bug: E3, E4\n"


@pytest.mark.usefixtures("plain")
def test_images_under_both_labels_are_exit_0(tmp_path: Path) -> None:
    """Every image in both classes: what cancels is the gradient and the Hessian of the run itself."""
    for kind in ("a", "b"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for seed in range(12):
            levels = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(levels).save(tmp_path / "train" / kind / f"{seed}.png")
    status, verdicts = run(tmp_path / "run", data=tmp_path, network="seq:conv4,pool,dense8", dtype="float64")
    assert status == 0
    assert {verdicts[name] for name in ALWAYS | {"E8"}} == {"holds"}
