"""Novel examples shown to a trained network: jumps against direct computation, descent against its definition, the
control, decay times against known laws, and cells that come again bit for bit."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator, evaluate, gradient, mlp, train
from validation.data import Examples, load_portions
from validation.novel import training
from validation.novel.cell import CellOptions, Record, Showing, cell_name, measure_cell
from validation.novel.decay import decay, passage
from validation.novel.moments import share_record, spectrum_record
from validation.novel.training import Batch, Descent, State, looks, point

NUMPY = get_backend("numpy")
SMALL: dict[str, Any] = {"network": "mlp:{}x{}", "examples": 40, "novel": 10, "rounds": 2, "updates": 600, "probes": 2,
                         "steps": 12, "backend": "numpy"}  # fmt: skip


def problem(m: int, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    return Examples(rng.standard_normal((m, 5)), rng.choice([-1.0, 1.0], m))


def descent(**options: Any) -> Descent:
    chosen = {"batch_size": 4, "learning_rate": 0.05, "momentum": 0.9, "updates": 50} | options
    return Descent(mlp([5, 8, 6, 1]), NUMPY, **chosen)


def at_rest(m: int = 12) -> tuple[Descent, Examples, list[Any]]:
    """A network at a risk of exactly 0 on m examples."""
    made, old = descent(), problem(m)
    weights = train(made.network, made.network.init(1), old.x, old.y, epochs=400, batch_size=4, learning_rate=0.05,
                    momentum=0.9, backend=NUMPY).weights  # fmt: skip
    assert evaluate(made.network, weights, old.x, old.y, "hinge", NUMPY).risk == 0.0
    return made, old, weights


# Training


def test_looks_are_close_at_first_and_never_more_than_a_tenth_apart() -> None:
    found = looks(5000)
    assert (found[0], found[-1]) == (1, 5000)
    assert all(a < b <= max(a + 1, int(np.ceil(training.GROWTH * a))) for a, b in itertools.pairwise(found))
    assert len(found) < 90
    assert looks(1) == [1]


def test_descent_on_whole_batches_is_the_written_recursion() -> None:
    made, examples = descent(batch_size=12, updates=7), problem(12)
    w = made.network.init(2)
    v = [np.zeros_like(a) for a in w]
    states = list(made.states(w, examples, np.random.default_rng(0)))
    assert [s.updates for s in states] == list(range(8))
    for state in states:
        for a, b in zip(state.weights, w, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        slope = gradient(made.network, w, examples.x, examples.y, "hinge", NUMPY)
        v = [0.9 * a + g for a, g in zip(v, slope, strict=True)]
        w = [a - 0.05 * b for a, b in zip(w, v, strict=True)]


def test_batches_visit_every_example_once_before_any_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the looks, and also where the last batch of an order reaches into the next order."""
    visited: list[float] = []
    original = training.train_epochs

    def spied(network: Any, weights: Any, x: Any, y: Any, **options: Any) -> Any:
        visited.extend(x[:, 0].tolist())
        return original(network, weights, x, y, **options)

    monkeypatch.setattr(training, "train_epochs", spied)
    examples = problem(10)
    list(descent(batch_size=4, updates=25).states(mlp([5, 8, 6, 1]).init(0), examples, np.random.default_rng(0)))
    orders = np.array(visited).reshape(10, 10)
    assert (np.sort(orders, axis=1) == np.sort(examples.x[:, 0])).all()
    assert len({tuple(order) for order in orders}) > 1


def test_a_batch_is_never_larger_than_the_examples() -> None:
    states = list(
        descent(batch_size=64, updates=3).states(mlp([5, 8, 6, 1]).init(0), problem(3), np.random.default_rng(0))
    )
    assert len(states) == 4


# The jump


def test_the_jump_equals_direct_computation() -> None:
    """One novel example: the risk jumps to ℓ/(m + 1), ∇R to ∇ℓ/(m + 1), whatever the old ones."""
    made, old, weights = at_rest()
    for seed in range(5):
        novel = problem(1, seed + 10)
        found = point(made, State(0, weights), old, novel, Batch(old, novel))
        alone = evaluate(made.network, weights, novel.x, novel.y, "hinge", NUMPY)
        assert found["risk"] == pytest.approx(alone.risk / 13, rel=1e-14)
        assert found["order_parameter"] == pytest.approx(alone.order_parameter / 169, rel=1e-14)
        assert (found["old"], found["novel"]) == (0.0, alone.risk)
        assert found["active"] == (alone.risk > 0)


def test_a_point_is_that_of_all_examples_at_once() -> None:
    made, old, novel = descent(), problem(12), problem(7, 5)
    weights = made.network.init(3)
    found = point(made, State(0, weights), old, novel, Batch(old, novel))
    both = Batch(old, novel).examples
    whole = evaluate(made.network, weights, both.x, both.y, "hinge", NUMPY)
    assert len(both.y) == 19
    assert found["risk"] == pytest.approx(whole.risk, rel=1e-13)
    assert found["order_parameter"] == pytest.approx(whole.order_parameter, rel=1e-12)
    assert found["active"] == round(19 * whole.active_fraction)
    alone = point(made, State(0, weights), old, novel, Batch(None, novel))
    assert alone["risk"] == alone["novel"] == found["novel"]
    assert alone["old"] == found["old"]
    assert alone["order_parameter"] != found["order_parameter"]


def test_a_repeated_example_gives_no_jump_and_moves_nothing() -> None:
    made, old, weights = at_rest()
    again = Examples(old.x[:4], old.y[:4])
    batch = Batch(old, again)
    for state in made.states(weights, batch.examples, np.random.default_rng(0)):
        found = point(made, state, old, again, batch)
        assert [found[k] for k in ("risk", "order_parameter", "active", "novel")] == [0.0, 0.0, 0, 0.0]
        assert all((a == b).all() for a, b in zip(state.weights, weights, strict=True))
    before = spectrum_record(made.network, weights, batch.examples, 2, 10, NUMPY, np.random.default_rng(0))
    assert before["rms"] == before["minimum"] == before["maximum"] == {"value": 0.0, "standard_error": 0.0}


def test_a_spectrum_against_dense_eigenvalues() -> None:
    made, examples = descent(), problem(20)
    weights = made.network.init(4)
    found = spectrum_record(made.network, weights, examples, 400, 60, NUMPY, np.random.default_rng(0))
    values = np.linalg.eigvalsh(HessianOperator(made.network, weights, examples.x, examples.y, backend=NUMPY).dense())
    rms = np.sqrt(np.mean(values**2))
    assert abs(found["rms"]["value"] - rms) < 4 * found["rms"]["standard_error"]
    assert [found["minimum"]["value"], found["maximum"]["value"]] == pytest.approx([values[0], values[-1]], rel=1e-8)
    third = np.mean(values**3) / rms**3
    assert abs(found["m3"]["value"] - third) < 4 * found["m3"]["standard_error"]
    few = spectrum_record(made.network, weights, examples, 2, 4, NUMPY, np.random.default_rng(0))
    for key, exact in (("minimum", values[0]), ("maximum", values[-1])):
        assert abs(few[key]["value"]) <= abs(exact) * (1 + 1e-12)
        assert few[key]["standard_error"] > 0


def test_the_aligned_share_of_one_example_is_its_margin_over_its_circuits() -> None:
    made, one = descent(), problem(1, 3)
    weights = made.network.init(4)
    found = share_record(made.network, weights, one, NUMPY)
    h1 = np.maximum(one.x @ weights[0], 0)
    h2 = np.maximum(h1 @ weights[1], 0)
    reached = np.abs(one.x) @ (np.abs(weights[0]) * (h1 > 0)) @ (np.abs(weights[1]) * (h2 > 0)) @ np.abs(weights[2])
    assert found["value"] == pytest.approx((one.y[0] * (h2 @ weights[2]) / reached).item(), rel=1e-12)


# Decay times


def test_exact_laws() -> None:
    t = [0, *looks(300)]
    found = decay(t, [0.2 * np.exp(-s / 17) for s in t])
    assert found is not None
    assert found["tau"] == pytest.approx(17, rel=1e-9)
    assert found["tau_standard_error"] < 1e-6
    assert found["r2"] == pytest.approx(1.0)
    assert (found["initial"], found["zero"]) == (0.2, None)
    straight = decay([0, 10, 20, 30, 40, 50], [1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    assert straight is not None
    assert (straight["half"], straight["tenth"], straight["zero"]) == (20.0, 36.0, 40)
    assert straight["tau"] > 0


def test_errors_of_fitted_times_cover_the_time() -> None:
    """Independent noise: about 95 % of the fits are within two of their errors."""
    rng, t, within = np.random.default_rng(0), np.array([0, *looks(200)]), 0
    for _ in range(200):
        v = np.exp(-t / 30) + 0.02 * rng.standard_normal(len(t)) * (t > 0)
        found = decay(t.tolist(), v.clip(1e-9).tolist())
        assert found is not None
        within += abs(found["tau"] - 30) < 2 * found["tau_standard_error"]
    assert 0.88 < within / 200 <= 1.0


def test_what_does_not_decay_has_no_time() -> None:
    assert decay([0, 1, 2], [0.0, 0.0, 0.0]) is None
    still = decay(list(range(10)), [1.0] * 10)
    assert still is not None
    assert [still[k] for k in ("tau", "half", "tenth", "zero", "r2")] == [None] * 5
    half = decay(list(range(10)), [1.0] + [0.4] * 9)
    assert half is not None
    assert half["half"] == pytest.approx(0.5 / 0.6)
    assert half["tau"] is None
    late = decay([*range(20), 100], [1.0] * 20 + [0.0])  # no exponential: nothing at first, everything at the end
    assert late is not None
    assert late["zero"] == 100
    assert late["tau"] is None or late["tau_standard_error"] <= 0.5 * late["tau"]
    assert passage(np.array([0.0, 1.0]), np.array([0.05, 0.0]), 0.1) == 0.0


# Cells


def timeless(cell: Record) -> Record:
    kept: Record = json.loads(json.dumps(cell, allow_nan=False))
    assert kept.pop("cpu_seconds") >= 0
    return kept


@pytest.fixture(scope="module")
def cell() -> Record:
    return measure_cell(SMALL, 16, 1)


def test_a_cell_is_a_function_of_its_arguments(cell: Record) -> None:
    assert timeless(measure_cell(SMALL, 16, 1)) == timeless(cell)
    others = [measure_cell(SMALL | {"rounds": 1, "kinds": ("same",)}, *place) for place in ((16, 2), (12, 1))]
    starts = {c["first"]["points"][0]["risk"] for c in (cell, *others)}
    assert len(starts) == 3
    assert cell_name(16, 1) != cell_name(16.5, 1)


def test_widths_of_a_seed_see_the_same_examples() -> None:
    shown = [Showing(CellOptions(**SMALL), width, 3).portions.later["same"][0].x for width in (8, 16)]
    assert (shown[0] == shown[1]).all()
    assert (shown[0] != Showing(CellOptions(**SMALL), 8, 4).portions.later["same"][0].x).any()


def test_rounds_follow_each_other(cell: Record) -> None:
    assert cell["first"]["outcome"] == "zero"
    assert cell["first"]["points"][-1]["risk"] == 0.0
    for kind in ("same", "new"):
        first, second = cell["kinds"][kind]
        assert [r["examples"] for r in (first, second)] == [
            {"old": 40, "novel": 10, "batch": 50}, {"old": 50, "novel": 10, "batch": 60},
        ]  # fmt: skip
        assert first["outcome"] == second["outcome"] == "zero"
        assert second["points"][0]["old"] == 0.0  # where the first round ended
        for shown in (first, second):
            jump = shown["points"][0]
            assert jump["risk"] == pytest.approx(jump["novel"] * 10 / shown["examples"]["batch"])
            assert shown["direct"] == pytest.approx({k: jump[k] for k in ("risk", "order_parameter")}, rel=1e-12)
            stages = [m["stage"] for m in shown["moments"]]
            assert stages[0] == "before"
            assert stages[-1] == "end"
            assert shown["moments"][0]["rms"]["value"] == shown["moments"][-1]["rms"]["value"] == 0.0
            if jump["risk"] > 0:
                assert stages[1] == "jump"
                assert shown["moments"][1]["minimum"]["value"] < 0 < shown["moments"][1]["maximum"]["value"]
                assert shown["decay"]["risk"]["zero"] == shown["points"][-1]["updates"]
    assert any(r["points"][0]["novel"] > 0 for r in cell["kinds"]["new"])


def test_the_control_of_a_cell_is_still(cell: Record) -> None:
    for shown in cell["kinds"]["again"]:
        assert shown["examples"] == {"old": 40, "novel": 10, "batch": 50}
        assert len(shown["points"]) > 1
        assert all(p["risk"] == p["order_parameter"] == p["active"] == 0 for p in shown["points"])
        assert shown["decay"] == {"risk": None, "order_parameter": None}
        assert shown["moments"][0]["aligned"] == shown["moments"][-1]["aligned"]


def test_a_twin_has_seen_what_the_perturbed_network_has(cell: Record) -> None:
    assert set(cell["twins"]) == {"same", "new"}
    for kind, twin in cell["twins"].items():
        assert twin["round"] == 2
        assert twin["examples"] == cell["kinds"][kind][1]["examples"]
        assert twin["first"]["outcome"] == "zero"
        start = twin["first"]["points"][0]["risk"]
        shown = Showing(CellOptions(**SMALL), 16, 1)
        old = shown.portions.first.with_more(shown.portions.later[kind][:1])
        assert start == pytest.approx(evaluate(shown.network, shown.start, old.x, old.y, "hinge", NUMPY).risk)
    assert measure_cell(SMALL | {"twins": False, "rounds": 2, "kinds": ("same",)}, 8, 0)["twins"] == {}


def test_old_examples_can_leave_the_batch() -> None:
    cell = measure_cell(SMALL | {"batch": "novel", "kinds": ("new", "again"), "twins": False}, 16, 1)
    shown = cell["kinds"]["new"][0]
    assert shown["examples"] == {"old": 40, "novel": 10, "batch": 10}
    assert all(p["risk"] == p["novel"] for p in shown["points"])
    assert shown["points"][-1]["risk"] == 0.0
    assert shown["points"][0]["old"] == 0.0
    assert shown["points"][-1]["old"] > 0.0  # forgotten
    assert cell["kinds"]["again"][0]["points"][-1]["old"] == 0.0


def test_what_does_not_come_to_risk_0_is_said() -> None:
    short = measure_cell(SMALL | {"updates": 2, "kinds": ("new",), "rounds": 1}, 16, 1)
    assert short["first"]["outcome"] == "above"
    assert short["kinds"]["new"][0]["outcome"] == "above"
    assert short["kinds"]["new"][0]["points"][-1]["updates"] == 2
    wild = measure_cell(SMALL | {"learning_rate": 1e30, "kinds": ("new",), "rounds": 2}, 16, 1)
    assert wild["first"]["outcome"] == "diverged"
    assert json.dumps(wild, allow_nan=False)


def test_a_dead_network_ends_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a live gate T = 0: the risk is 1, its gradient 0."""
    shown = Showing(CellOptions(**SMALL | {"updates": 5}), 4, 0)
    dead = [np.asarray(w) for w in shown.start]
    dead[1] = -np.abs(dead[1])
    found, _ = shown.round(shown.portions.first, shown.portions.later["new"][0], dead, "new", (0, 0))
    assert found["outcome"] == "flat"
    assert {p["risk"] for p in found["points"]} == {1.0}
    assert found["moments"][1]["active"] == 50
    assert found["moments"][1]["rms"]["value"] == 0.0


def test_the_same_data_with_more_rounds_begin_alike() -> None:
    """A longer run says the same of its first rounds."""
    short, long = (measure_cell(SMALL | {"rounds": r, "twins": False, "kinds": ("same",)}, 8, 0) for r in (1, 2))
    assert short["first"] == long["first"]
    assert short["kinds"]["same"][0] == long["kinds"]["same"][0]
    assert load_portions("digits", rounds=1).held_out == ("8", "9")
