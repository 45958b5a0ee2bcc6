"""The search for the capacity: cases whose capacity is known, exact predictions, planted edges, the command."""

from __future__ import annotations

import copy
import io
import json
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import get_backend
from simulator import HessianOperator, evaluate, mlp, output, output_gradient
from simulator.streams import Streams
from support.bad_input import check_refused
from theory import inertia
from validation.capacity import cell as capacity_cell
from validation.capacity.__main__ import main
from validation.capacity.answer import answer
from validation.capacity.cell import CellOptions, Record, measure_cell, search
from validation.capacity.claims import check_all
from validation.capacity.figures import FIGURES
from validation.capacity.forecast import forecast
from validation.capacity.job import CapacityOptions, CapacityReport
from validation.capacity.page import render, rows, scaling_rows, text_table
from validation.capacity.summary import of_capacity, rows_of, scaling_of
from validation.capacity.training import LOSSES, SMOOTH, Schedule, rescaled, train_once
from validation.run.cells import CellStore
from validation.run.plain_options import OptionError
from validation.statistics.estimate import written

NUMPY = get_backend("numpy", "float64")
SCHEDULE = Schedule(400, 800, 8, 0.05, 0.9)
SMALL: Record = {"inputs": 5, "examples": 100, "starts": 2, "iterations": 100, "updates": 60, "backend": "numpy"}


# Searches


@given(st.integers(0, 90), st.integers(2, 90), st.integers(2, 90))
def test_a_search_finds_every_threshold_exactly(capacity: int, first: int, most: int) -> None:
    """Resolution 0: the largest number fitted and the next one, whatever the search begins at."""

    def attempt(m: int) -> Record:
        return {"examples": m, "outcome": "zero" if m <= capacity else "stuck"}

    trials, fitted, unfitted = search(attempt, first, most, 0.0)
    assert len({t["examples"] for t in trials}) == len(trials) <= 16
    if capacity >= most:
        assert (fitted, unfitted) == (most, None)
    elif capacity < 2:
        assert (fitted, unfitted) == (0, 2)
    else:
        assert (fitted, unfitted) == (capacity, capacity + 1)


def known_case(repeated: int) -> tuple[Any, Any]:
    """Orthogonal inputs, which two hidden neurons fit whatever the labels; then one again with the other label."""
    y = np.random.default_rng(3).choice([-1.0, 1.0], 12)
    return np.vstack([np.eye(12), np.eye(12)[repeated]]), np.append(y, -y[repeated])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_network_whose_capacity_is_known(loss: str) -> None:
    """12 orthogonal examples are fitted; the 13th contradicts one of them and never is."""
    (x, y), network, options = known_case(5), mlp([12, 16, 1]), CellOptions(iterations=300, updates=600)

    def attempt(m: int) -> Record:
        return capacity_cell._trial(options, network, x[:m], y[:m], loss, Streams(0), (2, 16), NUMPY)

    trials, fitted, unfitted = search(attempt, 13, 13, 0.0)
    assert (fitted, unfitted) == (12, 13)
    last = next(t for t in trials if t["examples"] == 13)
    assert last["outcome"] == "stuck"
    assert last["active"] >= 2
    assert last["risk"] > 0
    assert next(t for t in trials if t["examples"] == 12)["risk"] == 0.0


def test_at_the_minimum_of_a_contradiction_the_constraints_are_those_two() -> None:
    """The two cancel in the gradient at T = 0 for them, where the squared hinge has the risk 1/m."""
    (x, y), network = known_case(5), mlp([12, 16, 1])
    made = train_once(network, network.init(1), x, y, SMOOTH, SCHEDULE, np.random.default_rng(0), NUMPY)
    assert not made.fitted
    now = evaluate(network, made.weights, x, y, SMOOTH, NUMPY)
    assert now.risk == pytest.approx(1.0 / 13, rel=1e-6)
    assert made.margins[[5, 12]] == pytest.approx([0.0, 0.0], abs=1e-3)
    found = capacity_cell._state(network, made, x, y, SMOOTH, NUMPY)
    dense = np.linalg.eigvalsh(HessianOperator(network, made.weights, x, y, SMOOTH, "residual").dense())
    assert found["negative"] <= found["index"] + found["active"]
    assert found["negative"] == int(np.sum(dense < -1e-10 * np.abs(dense).max()))


def test_the_inertia_of_a_residual_part_within_the_rounding_of_the_whole_is_zero() -> None:
    """A constraint that is violated by 1e-14 alone: H has eigenvalues of that size, and G of 1."""
    rng, network = np.random.default_rng(5), mlp([6, 8, 1])
    weights, x = network.init(2), rng.standard_normal((20, 6))
    t = output(network, weights, x, NUMPY)
    weights[-1] /= np.abs(t[0])
    x[1:] *= 2 * np.abs(t[0] / t[1:])[:, None]
    weights[-1] *= 1.0 - 1e-14
    y = np.sign(t)
    found = capacity_cell._indices(network, weights, x, y, SMOOTH, NUMPY)
    assert int(np.sum(y * output(network, weights, x, NUMPY) < 1.0)) == 1
    assert found == {"negative": 0, "positive": 0, "index": 0}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fitted_network_rescaled_has_risk_zero(loss: str) -> None:
    rng = np.random.default_rng(2)
    x, y, network = rng.standard_normal((20, 6)), rng.choice([-1.0, 1.0], 20), mlp([6, 12, 12, 1])
    made = train_once(network, network.init(4), x, y, loss, SCHEDULE, rng, NUMPY)
    assert made.fitted
    assert made.lost == 0
    for other in LOSSES:
        assert evaluate(network, rescaled(network, made), x, y, other, NUMPY).risk == 0.0


def test_dead_gates_lose_examples_and_another_start_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x, y = mlp([3, 4, 1]), np.abs(np.random.default_rng(0).standard_normal((6, 3))), np.ones(6)
    dead = [-np.ones((3, 4)), np.ones((4, 1))]
    made = train_once(network, dead, x, y, SMOOTH, SCHEDULE, np.random.default_rng(0), NUMPY)
    assert (made.fitted, made.lost) == (False, 6)
    starts = iter([dead, dead, [np.ones((3, 4)), np.ones((4, 1))]])
    monkeypatch.setattr(type(network), "init", lambda *_: next(starts))
    found = capacity_cell._trial(CellOptions(), network, x, y, SMOOTH, Streams(0), (2, 4), NUMPY)
    assert (found["outcome"], found["starts"], found["lost"]) == ("zero", 3, 0)
    starts = iter([dead] * 6)
    found = capacity_cell._trial(CellOptions(), network, x, y, SMOOTH, Streams(0), (2, 4), NUMPY)
    assert (found["outcome"], found["starts"], found["lost"], found["active"]) == ("lost", 6, 6, 0)


def test_divergence_is_an_outcome() -> None:
    options = CellOptions(learning_rate=1e300, updates=40, starts=1)
    x, y = known_case(5)
    found = capacity_cell._trial(options, mlp([12, 4, 1]), x, y, "hinge", Streams(0), (2, 4), NUMPY)
    assert (found["outcome"], found["risk"]) == ("diverged", None)


# Predictions


def test_with_two_layers_the_stability_edge_is_the_number_of_neurons() -> None:
    """E7: H has exactly one negative eigenvalue for every neuron that an active example passes."""
    x = np.random.default_rng(1).standard_normal((60, 5))
    y = np.random.default_rng(2).choice([-1.0, 1.0], 60)
    for width in (3, 6, 9):
        told = forecast(mlp([5, width, 1]), x, y, Streams(7), (2, width), NUMPY)
        assert told["stability"] == width
        assert all(negative == min(width, negative) for _, negative in told["negative"])


@given(st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_no_more_negative_eigenvalues_than_weights_beside_the_largest_layer(
    inputs: int, hidden: list[int], seed: int
) -> None:
    """By E1 the Hessian is 0 on a layer, so that its index leaves out as many directions as the layer has weights."""
    network, rng = mlp([inputs, *hidden, 1]), np.random.default_rng(seed)
    x, y = rng.standard_normal((9, inputs)), rng.choice([-1.0, 1.0], 9)
    dense = HessianOperator(network, network.init(seed), x, y, backend=NUMPY).dense()
    found = inertia(np.linalg.eigvalsh(dense))
    assert max(found.negative, found.positive) <= network.n_weights - max(network.layer_sizes)


@pytest.mark.parametrize("widths", [(4, 6, 1), (4, 5, 6, 1)])
def test_the_rank_that_is_told_is_that_of_the_gradients(widths: tuple[int, ...]) -> None:
    """The Jacobian itself, and at most N less a direction for every neuron, along which T does not change."""
    network, x = mlp(widths), np.random.default_rng(1).standard_normal((300, 4))
    y = np.random.default_rng(2).choice([-1.0, 1.0], 300)
    told = forecast(network, x, y, Streams(3), (len(widths) - 1, widths[1]), NUMPY)
    weights = network.init(Streams(3)("capacity forecast", len(widths) - 1, widths[1]))
    rows_ = [
        network.flatten(output_gradient(network, weights, x[[i]], [1.0], NUMPY)) for i in range(2 * network.n_weights)
    ]
    assert told["counting"] == np.linalg.matrix_rank(np.array(rows_)) <= network.n_weights - sum(widths[1:-1])
    few = forecast(network, x[:10], y[:10], Streams(3), (2, 6), NUMPY)
    assert few["counting"] is None
    assert "10 examples are fewer than 2" in few["left_out"]


def test_networks_too_large_for_all_of_their_eigenvalues_get_no_prediction() -> None:
    told = forecast(mlp([10, 40, 40, 1]), np.zeros((5, 10)), np.ones(5), Streams(0), (3, 40), NUMPY)
    assert (told["stability"], told["counting"]) == (None, None)
    assert told["left_out"].startswith("2,040 weights")


# Cells


def timeless(cell: Record) -> Record:
    kept: Record = json.loads(json.dumps(cell))
    assert kept.pop("cpu_seconds") >= 0
    return kept


def test_a_cell_is_a_function_of_its_arguments() -> None:
    place = (SMOOTH, "random", 2, 9, 0)
    cell = measure_cell(SMALL, *place)
    assert timeless(measure_cell(SMALL, *place)) == timeless(cell)
    assert cell["weights"] == 54
    assert cell["most"] == 100
    assert cell["unfitted"] is None or cell["fitted"] < cell["unfitted"]
    true = measure_cell(SMALL, SMOOTH, "true", 2, 9, 0)
    assert true["fitted"] >= cell["fitted"]


def test_examples_have_one_order_and_random_labels_know_nothing_of_them() -> None:
    options = CellOptions(examples=200, inputs=6)
    x, y = capacity_cell.examples_of(options, Streams(1), "true")
    again, coins = capacity_cell.examples_of(options, Streams(1), "random")
    assert np.array_equal(x, again)
    assert x.shape == (200, 6)
    assert x.std() == pytest.approx(1.0)
    assert set(coins) == {-1.0, 1.0}
    assert abs(np.mean(coins * y)) < 0.25
    assert abs(np.mean(coins)) < 0.25
    all_inputs, _ = capacity_cell.examples_of(CellOptions(examples=200, inputs=0), Streams(1), "true")
    assert all_inputs.shape == (200, 64)


# Means over seeds and claims


def made(labels: str, depth: int, width: int, seed: int, edge: float, loss: str = SMOOTH, most: int = 5000) -> Record:
    """A search of a network whose capacity is `edge`, with 30 % of N active beyond it and index 0."""
    n = 50 * width * (depth - 1)

    def attempt(m: int) -> Record:
        if m <= edge:
            return {"examples": m, "outcome": "zero", "risk": 0.0, "active": 0, "lost": 0}
        return {
            "examples": m, "outcome": "stuck", "risk": 0.1, "lost": 0, "active": int(0.3 * n), "wrong": 3,
            "kinks": 0.01, "negative": int(0.2 * n), "positive": int(0.2 * n), "index": 0, "order_parameter": 0.0,
        }  # fmt: skip

    trials, fitted, unfitted = search(attempt, n, most, 0.05)
    told = {"stability": int(0.2 * n), "counting": int(0.9 * n), "negative": [[1, 1]], "left_out": None}
    return {
        "loss": loss, "labels": labels, "depth": depth, "width": width, "seed": seed, "weights": n, "most": most,
        "forecast": told, "trials": trials, "fitted": fitted, "unfitted": unfitted, "cpu_seconds": 0.1,
    }  # fmt: skip


def planted(factor: float = 1.8, exponent: float = 1.0) -> list[Record]:
    """Random labels at P* = factor N^exponent, true ones at three times that, with a scatter of 3 % over seeds."""
    rng, cells = np.random.default_rng(0), []
    for width in (4, 8, 16):
        for seed in range(5):
            edge = factor * 400.0 * (50 * width / 400.0) ** exponent * np.exp(0.03 * rng.standard_normal())
            cells.append(made("random", 2, width, seed, edge))
            cells.append(made("true", 2, width, seed, 3 * edge))
            cells.append(made("random", 2, width, seed, edge, "hinge"))
    return cells


def verdicts_of(cells: list[Record]) -> dict[str, str]:
    found = rows_of(cells)
    return {c.id: c.verdict for c in check_all(cells, found, scaling_of(found))}


def test_planted_edges_their_exponent_and_verdicts() -> None:
    cells = planted()
    found = rows_of(cells)
    row = next(r for r in found if (r["loss"], r["labels"], r["width"]) == (SMOOTH, "random", 8))
    assert row["edge"]["value"] == pytest.approx(1.8 * 400, rel=0.08)
    assert of_capacity(row)
    assert row["active"]["value"] == pytest.approx(0.3)
    scaling = next(s for s in scaling_of(found) if (s["loss"], s["labels"]) == (SMOOTH, "random"))
    assert abs(scaling["exponent"]["value"] - 1.0) < 2.5 * scaling["exponent"]["standard_error"]
    assert scaling["exponent"]["standard_error"] < 0.1
    assert scaling["load"]["value"] == pytest.approx(1.8, rel=0.05)
    verdicts = verdicts_of(cells)
    assert verdicts.pop("capacity.prediction.marginal") == "not supported"  # 2 k* = 0.4 N
    assert verdicts.pop("capacity.zero") == verdicts.pop("capacity.inertia") == "holds"
    assert set(verdicts.values()) == {"supported"}


def test_what_is_not_so_is_not_supported() -> None:
    verdicts = verdicts_of(planted(0.5, 1.6))
    assert verdicts["capacity.exponent"] == "not supported"
    assert verdicts["capacity.prediction.counting"] == "not supported"
    cells = planted()
    for cell in cells:
        for trial in cell["trials"]:
            if trial["outcome"] == "stuck":
                trial |= {"active": 1 if cell["seed"] % 2 else 2, "index": trial["negative"]}
    verdicts = verdicts_of(cells)
    for name in ("capacity.jump", "capacity.minima", "capacity.constraints"):
        assert verdicts[name] == "not supported"
    assert verdicts["capacity.counting"] == "supported"
    assert verdicts["capacity.inertia"] == "holds"
    cells[0]["trials"][0] |= {"negative": 99, "index": 0, "active": 3}
    assert verdicts_of(cells)["capacity.inertia"] == "not supported"


def test_edges_out_of_reach_and_edges_of_lost_examples() -> None:
    cells = [made("true", 2, 8, seed, 9999.0, most=1500) for seed in range(3)]
    cells += [made("random", 2, 8, seed, 600.0 + seed) for seed in range(3)]
    (random, true) = rows_of(cells)
    assert true["edge"] is None
    assert true["not_reached"] == 3
    assert verdicts_of(cells)["capacity.labels"] == "supported"  # beyond all examples, and they are more
    for cell in cells[3:]:
        for trial in cell["trials"]:
            trial["outcome"] = "lost" if trial["outcome"] == "stuck" else "zero"
    random = rows_of(cells)[0]
    assert random["lost"] == 3
    assert random["active"] is None
    assert not of_capacity(random)
    assert verdicts_of(cells)["capacity.exponent"] == "not applicable"
    alone = rows_of([made("random", 2, 8, 0, 600.0)])[0]
    assert alone["edge"]["standard_error"] is None
    assert not of_capacity(alone)


# The report


def report_of(cells: list[Record]) -> Record:
    found = rows_of(cells)
    scaling = scaling_of(found)
    checks = [c.record() for c in check_all(cells, found, scaling)]
    return {
        "schema": 1, "kind": "capacity", "version": "0", "dataset": "digits", "environment": {}, "checks": checks,
        "backend": {"name": "numpy", "dtype": "float64"}, "options": CapacityOptions().completed().kept(),
        "rows": found, "scaling": scaling, "cells": cells, "seconds": {"total": 1.0, "cells_cpu": 2.0},
    }  # fmt: skip


def test_the_answer_is_made_from_the_numbers() -> None:
    """Edges as claimed, edges that are not, too few widths, no edge at all: each changes the sentence."""
    report = report_of(planted())
    (scaling,) = (s for s in report["scaling"] if (s["loss"], s["labels"]) == (SMOOTH, "random"))
    text = answer(report)
    beta = written(scaling["exponent"])
    assert text.startswith(
        f"The edge of random labels grows as N^β, β = {beta} at depth 2 (β = 1: supported); at depth 2"
    )
    assert "times twice the rank of fresh gradients (predicted: supported); more examples fit with true" in text
    assert text.endswith("true labels: supported")
    assert "it is 0.9923 ± 0.0085 times twice" in text  # 1.8 N over twice 0.9 N
    page = render(report, dict.fromkeys(FIGURES, b"png"))
    places = ["The edge of random labels grows", 'id="capacity"', "Perceptrons on", "Verdicts</h2>", 'id="constraints"']
    assert [page.index(place) for place in places] == sorted(page.index(place) for place in places)
    assert " ".join(text_table(report).split()).startswith(f"{text}.")
    assert f"{text}." in repr(CapacityReport(report, Path("run")))
    wrong = answer(report_of(planted(0.5, 1.6)))
    assert "(β = 1: not supported)" in wrong
    assert "(predicted: not supported)" in wrong
    one = [c for c in planted() if c["width"] == 8 and c["labels"] == "random"]
    assert answer(report_of(one)).startswith("How the edge of random labels grows is not known; at depth 2 it is ")
    unranked = [c | {"forecast": c["forecast"] | {"counting": None}} for c in one]
    assert "; no rank of fresh gradients is known to predict it; " in answer(report_of(unranked))
    lone = answer(report_of([made("random", 2, 8, 0, 600.0)]))
    assert lone == "No edge of capacity of random labels is known; more examples fit with true labels: not applicable"


def test_the_page_its_tables_and_figures() -> None:
    lone = [made("random", 2, 8, 0, 600.0)]
    for cells in (planted(), lone):
        report = report_of(cells)
        report["cells"][0]["forecast"] = report["cells"][0]["forecast"] | {"left_out": "too <large>", "negative": []}
        page = render(report, dict.fromkeys(FIGURES, b"png"))
        for text in ("too &lt;large&gt;", "capacity.exponent", "twice the rank"):
            assert text in page
        for reference in ("http:", "https:", "src='", "<script"):
            assert reference not in page
        assert len(rows(report)) == len(report["rows"])
        assert len(scaling_rows(report)) == len(report["scaling"])
        assert "squared_hinge" in text_table(report)
        for draw in FIGURES.values():
            target = io.BytesIO()
            draw(copy.deepcopy(report)).savefig(target, format="png")
            assert len(target.getvalue()) > 1000


# The command line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "--widths : expected different integers >= 1"),
        ({"depths": (1,)}, "--depths 1: expected different integers >= 2"),
        ({"labels": ("true", "true")}, "--labels true,true: expected different words of true, random"),
        ({"losses": ("logistic",)}, "--losses logistic: expected different words of squared_hinge, hinge"),
        ({"examples": 3}, "--examples 3: expected an integer >= 4"),
        ({"inputs": -1}, "--inputs -1"),
        ({"starts": 0}, "--starts 0"),
        ({"resolution": 0.0}, "--resolution 0.0: expected a number > 0"),
        ({"momentum": 1.0}, "--momentum 1.0"),
    ],
)
def test_values_that_no_run_could_use(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CapacityOptions(**options).completed()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--examples", "100000"], "examples is 100000"),
        (["--inputs", "65"], "principal components are 65, but the inputs have 6"),
        (["--backend", "abacus"], "abacus"),
        (["--labels", "false"], "--labels false"),
        (["--workers", "0"], "--workers 0: expected an integer >= 1"),
        (["--widths", "a"], "invalid list value"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(main, [*arguments, "--out", str(tmp_path / "run")], message)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_grows_in_its_folder(tmp_path: Path) -> None:
    """Cells that are there are kept, also where lists have grown; other options are refused."""
    out = tmp_path / "run"
    words = ["--depths", "2", "--labels", "random", "--losses", SMOOTH, "--seeds", "2", "--examples", "100"]
    words += ["--inputs", "5", "--iterations", "100", "--starts", "2", "--backend", "numpy", "--workers", "1"]
    assert main([*words, "--widths", "9", "--out", str(out)]) == 0
    kept = {path: path.read_bytes() for path in (out / "cells").iterdir()}
    assert len(kept) == 2
    assert main([*words, "--widths", "9,10", "--resume", "--out", str(out)]) == 0
    assert {path: path.read_bytes() for path in kept} == kept
    report = json.loads((out / "capacity.json").read_text())
    assert len(report["cells"]) == 4
    assert {p.name for p in out.iterdir()} == {"cells", "figures", "capacity.html", "capacity.json"}
    assert {p.name for p in (out / "figures").iterdir()} == {f"{name}.png" for name in FIGURES}
    options = CapacityOptions(**(SMALL | {"iterations": 100, "updates": None})).completed().cell_options
    assert CellStore(str(out), options).load(f"{SMOOTH}-random-depth-2-width-9-seed-0") == report["cells"][0]
    errors = io.StringIO()
    with redirect_stderr(errors):
        assert main([*words, "--widths", "9", "--resolution", "0.2", "--resume", "--out", str(out)]) == 2
    assert "holds another run" in errors.getvalue()
