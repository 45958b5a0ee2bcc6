"""The report on the ladder: frozen signals, error estimates, coarse images, files, exit statuses."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator
from simulator.passes.propagation import backpropagate, propagate
from support.bad_input import check_refused
from support.cases import DENSE, IMAGES, Array, Case, assert_close
from validation.compare.options import OptionError
from validation.data import Dataset, load_dataset
from validation.errors import StorageError
from validation.ladder.__main__ import main
from validation.ladder.answer import answer, failures, standings
from validation.ladder.cases import OWN_RUNGS, Problem, convergence, draw_networks, measure_case
from validation.ladder.figures import figures_of
from validation.ladder.job import DEFAULTS, LadderOptions, LadderReport, ladder
from validation.ladder.page import render, training_rows
from validation.ladder.spectra import (
    ENERGIES,
    asymmetry,
    coarse_images,
    l1,
    l1_of_means,
    measured_density,
    noise_of_mean,
    others_means,
    spread,
)
from validation.ladder.training import fresh_weights, measure_training

OPS = get_backend("numpy")
RUN_RUNGS = ("R2", "R3", "R4", "R5", "R6")
TINY = {
    "networks": 2,
    "examples": 16,
    "widths": (4, 6, 8),
    "depths": (3,),
    "train": (0, 20),
    "draws": 2,
    "backend": "numpy",
}


@pytest.mark.parametrize("case", [*DENSE[:5], IMAGES[5]], ids=str)
def test_the_same_weights_at_frozen_signals_are_the_same_operator(case: Case, backend: str) -> None:
    operator = HessianOperator(*case.problem, "squared", backend=backend)
    assert_close(operator.with_weights(case.weights).dense(), operator.dense(), 1e-13)


@pytest.mark.parametrize("case", DENSE[:5], ids=str)
def test_other_weights_meet_frozen_signals(case: Case, backend: str) -> None:
    """Block (l, l') from its definition: Σ_i c_i x_{l-1} ⊗ (fresh weights between l and l') ⊗ δ̂_l', gates frozen."""
    network, x, c = case.network, case.x, np.random.default_rng(case.seed).standard_normal(case.examples)
    fresh = network.init(case.seed + 100)
    operator = HessianOperator(network, case.weights, x, None, c=c, backend=backend)
    before, frozen = operator.dense(), operator.with_weights(fresh)
    signals = propagate(network, case.weights, x, OPS)
    errors = backpropagate(network, case.weights, signals, c, OPS)
    expected = np.zeros(before.shape)
    for low in range(network.depth):
        for i in range(len(x)):
            jacobian = np.eye(network.layers[low].gate_shape[0])
            for high in range(low + 1, network.depth):
                jacobian = jacobian if high == low + 1 else jacobian @ fresh[high - 1]
                jacobian = jacobian * signals.gates[high - 1][i]
                block = np.einsum("a,bc,d->abcd", signals.inputs[low][i], jacobian, errors[high][i])
                part = block.reshape(network.layer_sizes[low], network.layer_sizes[high])
                expected[network.slices[low], network.slices[high]] += part
    assert_close(frozen.dense(), expected + expected.T, 1e-12)
    assert_close(operator.dense(), before, 1e-15)  # the original is as it was


def test_signals_too_large_to_be_kept_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    case, fresh = DENSE[4], DENSE[4].network.init(3)
    expected = HessianOperator(*case.problem).with_weights(fresh).dense()
    monkeypatch.setattr("backends.interface.KEPT_BYTES", 8)
    other = HessianOperator(*case.problem, batch_size=3).with_weights(fresh)
    assert_close(other.dense(), expected, 1e-12)
    assert other._kept is None


def test_coarse_images_are_block_means_of_unit_deviation() -> None:
    digits = load_dataset("digits", examples=30, seed=1)
    coarse, image = coarse_images(digits), digits.x.reshape(-1, 8, 8)
    expected = np.array(
        [[im[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean() for r in range(4) for c in range(4)] for im in image]
    )
    np.testing.assert_allclose(coarse, expected / expected.std(), rtol=1e-12, atol=1e-15)
    assert np.abs(coarse.mean(axis=0)).max() < 1e-12
    colour = _with_images(digits, np.random.default_rng(0).standard_normal((5, 8, 12, 3)))
    grey = coarse_images(colour)
    assert grey.shape == (5, 16)
    ratio = colour.x[:, :2, :3].mean(axis=(1, 2, 3)) / grey[:, 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)
    with pytest.raises(OptionError, match="10x8 pixels"):
        coarse_images(_with_images(digits, np.zeros((2, 10, 8, 3))))


def _with_images(dataset: Dataset, x: Array) -> Dataset:
    return replace(dataset, x=x)


def gaussian_rows(k: int, rng: np.random.Generator) -> Array:
    return 1.0 + 0.1 * rng.standard_normal((k, ENERGIES.size))


def test_noise_of_the_mean_is_the_distance_from_the_exact_law() -> None:
    """Rows with independent Gaussian noise about a known law, many times over."""
    rng, found, exact = np.random.default_rng(0), [], []
    for _ in range(200):
        rows = gaussian_rows(4, rng)
        found.append(noise_of_mean(rows))
        exact.append(l1(rows.mean(axis=0), np.ones(ENERGIES.size)))
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=0.02)
    rows = gaussian_rows(4, rng)
    np.testing.assert_allclose(others_means(rows)[2], rows[[0, 1, 3]].mean(axis=0), rtol=1e-14)
    assert spread(rows) == pytest.approx(np.mean([l1(rows[i], np.delete(rows, i, 0).mean(axis=0)) for i in range(4)]))


def test_jackknife_errors_cover_the_scatter_of_repeated_averages() -> None:
    """A law that differs by a wide margin, so that L1 is nearly linear in the rows; both sides random."""
    rng = np.random.default_rng(1)
    pairs = [l1_of_means(gaussian_rows(6, rng), 2.0 * gaussian_rows(3, rng)) for _ in range(300)]
    scatter = np.std([p.value for p in pairs])
    assert np.sqrt(np.mean([p.standard_error**2 for p in pairs])) == pytest.approx(scatter, rel=0.12)
    fixed = l1_of_means(gaussian_rows(6, rng), 2.0 * gaussian_rows(1, rng))
    assert 0 < fixed.standard_error < np.mean([p.standard_error for p in pairs])


def test_asymmetry_is_the_least_error_of_a_symmetric_prediction() -> None:
    rho = measured_density(np.array([-1.0, 0.0, 0.5, 2.0]), 1.0)
    best = 0.5 * (rho + rho[::-1])
    assert asymmetry(rho) == pytest.approx(l1(rho, best))
    for other in (measured_density(np.array([-1.0, 1.0]), 1.0), 1.01 * best):
        assert l1(rho, other) >= asymmetry(rho)


def test_fresh_weights_keep_the_mean_square() -> None:
    weights = [3.0 * np.random.default_rng(0).random((80, 90)), np.zeros((5, 1))]
    drawn = fresh_weights(weights, np.random.default_rng(1))
    assert np.mean(drawn[0] ** 2) == pytest.approx(np.mean(weights[0] ** 2), rel=0.06)
    assert abs(np.mean(drawn[0])) < 0.1
    assert not drawn[1].any()


def problem(examples: int = 24) -> Problem:
    digits = load_dataset("digits", examples=examples, seed=2)
    return Problem(coarse_images(digits), digits.y, ("R0", "R1", "R2", "R5", "R6"), OPS)


def test_two_layers_are_exact_for_measured_signals_and_fresh_weights() -> None:
    """L = 2: R5 and R6 are exact and no weight enters the tangent passes, so that all distances within vanish."""
    digits, hidden = problem(), (5,)
    weights = draw_networks(digits.network(hidden), 2, 0)
    case = measure_case(digits, hidden, weights, 1)
    for rung in ("R5", "R6"):
        assert case["own"]["rungs"][rung]["l1"] < 1e-4
    assert case["own"]["rungs"]["R0"]["l1"] > 0.3
    (record,) = measure_training(digits, hidden, weights, [0], 0.003, 2, 0)["records"]
    for key in ("own", "draw", "noise", "R5", "R6"):
        assert record["surrogate"][key]["l1"] < 1e-4, key


def test_a_network_with_fewer_than_two_active_examples_is_counted() -> None:
    digits, hidden = problem(8), (12, 12)
    weights = draw_networks(digits.network(hidden), 2, 0)
    first, last = measure_training(digits, hidden, weights, [0, 600], 0.02, 2, 0)["records"]
    assert (first["networks"], first["too_few"]) == (2, 0)
    assert set(first["rungs"]) == set(OWN_RUNGS) & set(digits.rungs)
    assert (last["networks"], last["too_few"], last["rungs"], last["surrogate"]) == (0, 2, {}, None)


def test_exponents_of_synthetic_power_laws() -> None:
    def case(width: int) -> dict[str, object]:
        def rung(power: float) -> dict[str, float]:
            return {"l1": 3.0 * width**power, "standard_error": 0.03 * 3.0 * width**power}

        return {
            "depth": 3,
            "width": width,
            "own": {"rungs": {"R5": rung(-1.0)}},
            "average": {"rungs": {"R4": rung(-0.5)}},
        }

    fits = {fit["rung"]: fit for fit in convergence([case(n) for n in (10, 20, 40)])}
    assert fits["R5"]["exponent"] == pytest.approx(-1.0)
    assert fits["R4"]["exponent"] == pytest.approx(-0.5)
    assert fits["R4"]["standard_error"] == pytest.approx(0.03 / (np.log(2) * np.sqrt(2)))
    assert convergence([case(10), case(20)]) == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> LadderReport:
    with redirect_stdout(io.StringIO()):
        return ladder(**TINY, hidden=[(5, 3)], rungs=RUN_RUNGS, out=str(tmp_path_factory.mktemp("run") / "new"))


def test_the_files_of_a_run(report: LadderReport) -> None:
    assert json.loads((report.path / "ladder.json").read_text()) == report.data
    assert {p.stem for p in (report.path / "figures").glob("*.png")} == set(figures_of(report.data))
    page = (report.path / "ladder.html").read_text()
    assert page.count("<img ") == 3
    assert "http" not in page.replace("http://www.w3.org", "")
    assert [c["name"] for c in report.data["cases"]] == ["16-4-4-1", "16-6-6-1", "16-8-8-1", "16-5-3-1"]
    assert [t["name"] for t in report.data["training"]] == ["16-6-6-1", "16-5-3-1"]
    assert {fit["rung"] for fit in report.data["convergence"]} == set(RUN_RUNGS) - {"R0", "R1", "R2"}
    assert report.data["cases"][3]["width"] is None


def test_a_seed_repeats_a_case_whatever_else_is_asked_for(report: LadderReport, tmp_path: Path) -> None:
    options = TINY | {"widths": (4,), "train": (), "rungs": RUN_RUNGS}
    with redirect_stdout(io.StringIO()):
        again = ladder(**options, out=str(tmp_path / "again"))
    assert again.data["cases"] == report.data["cases"][:1]


def test_a_dead_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="16-1-1-1-1 is dead"), redirect_stdout(io.StringIO()):
        ladder(**TINY | {"widths": (1,), "depths": (4,), "rungs": ("R0",), "networks": 20}, out=str(tmp_path / "run"))


def test_what_is_left_out_is_named(report: LadderReport) -> None:
    data = json.loads(json.dumps(report.data))
    record = data["training"][0]["records"][1]
    record |= {"rungs": {}, "networks": 0, "too_few": 2, "surrogate": None}
    data["cases"][0]["average"]["left_out"]["R3"] = "a reason"
    page = render(data, {})
    assert "R3 (arc-cosine kernels)" in page
    assert "a reason" in page
    assert "0 (2 dead or with fewer than 2 active)" in training_rows(data)[1][1]


def told(*cases: dict[str, tuple[float, float]], **training: tuple[float, float]) -> dict[str, Any]:
    """A report on shapes a, b, ... whose rungs have these L1 and standard errors; `training`: those after step 7."""
    pairs = [{rung: dict(zip(("l1", "standard_error"), e, strict=True)) for rung, e in case.items()} for case in cases]
    steps = {rung: dict(zip(("l1", "standard_error"), e, strict=True)) for rung, e in training.items()}
    return {
        "cases": [
            {"name": name, "own": {"rungs": rungs}, "average": {"rungs": {}}}
            for name, rungs in zip("abc", pairs, strict=False)
        ],
        "training": [{"records": [{"step": 7, "rungs": steps}]}],
    }


def test_the_answer_is_the_nearest_rung_beside_the_best_baseline() -> None:
    """Nearer, further or undecided by two standard errors, in every shape; other numbers, another sentence."""
    near, far = {"R6": (0.05, 0.01), "R5": (0.2, 0.01)}, {"R2": (0.3, 0.01), "R0": (0.9, 0.01)}
    data = told(
        near | far, {"R6": (0.09, 0.01), "R5": (0.5, 0.01)} | far, {"R5": (0.31, 0.02), "R6": (0.29, 0.02)} | far
    )
    assert answer(data) == (
        "At initialisation R6 (every weight for itself) is nearest to the measured spectra of 3 network shapes: "
        "L1 0.050 ± 0.010 to 0.290 ± 0.020; it is nearer than the best baseline, R2 (separable profile), in 2 of them, "
        "further in 0 and not resolved in 1"
    )
    r5 = next(one for one in standings(data) if one.rung == "R5")
    assert (r5.nearer, r5.further, r5.undecided) == (1, 1, 1)
    assert failures(data) == [
        "R6 (every weight for itself) is further than R2 in 0 of 3 shapes, and not resolved in 1: "
        "L1 0.050 ± 0.010 to 0.290 ± 0.020.",
        "R5 (measured signals) is further than R2 in 1 of 3 shapes, and not resolved in 1: "
        "L1 0.200 ± 0.010 to 0.500 ± 0.010.",
    ]
    trained = answer(told(near | far, R6=(0.4, 0.02)))
    assert "of 1 network shape: L1 0.050 ± 0.010; it is nearer" in trained
    assert trained.endswith("; through training its largest L1 is 0.400 ± 0.020, at step 7")


def test_the_answer_where_rungs_are_missing() -> None:
    assert answer(told({}, {})) == "No rung was predicted"
    assert answer(told({"R0": (0.9, 0.01)})).endswith("L1 0.900 ± 0.010, a baseline, which makes no claim")
    part = told({"R5": (0.2, 0.01)}, {"R5": (0.2, 0.01), "R4": (0.1, 0.01)})
    assert "At initialisation R5 (measured signals) is nearest" in answer(part)  # it has every shape
    assert failures(part) == ["R4 (fresh networks) was not predicted in 1 of 2 shapes."]
    assert "L1 0.200 ± 0.010 in the 1 with a prediction" in answer(told({"R5": (0.2, 0.01)}, {}))


def test_the_page_begins_with_the_answer(report: LadderReport) -> None:
    page = render(report.data, {"ladder_widths": b"first", "ladder_density": b"second"})
    text = answer(report.data)
    assert page.index(text) < page.index('id="ladder_density"') < page.index("Where it fails")
    assert page.index("Where it fails") < page.index('id="ladder_widths"') < page.index("Convergence with width</h2>")
    assert f"{text}." in repr(report)


def test_figures_draw_what_there_is(report: LadderReport) -> None:
    drawn = figures_of(report.data)["ladder_widths"](report)
    (ax,) = drawn.axes
    assert ax.get_xscale() == ax.get_yscale() == "log"
    labels = ax.get_legend_handles_labels()[1]
    assert {"R2", "R3", "R4", "R5", "R6", "asymmetry"} <= set(labels)
    assert "R4w" not in labels
    bare = dict(report.data) | {"cases": report.data["cases"][3:], "training": []}
    assert set(figures_of(bare)) == {"ladder_density"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "1"], "expected an integer >= 2"),
        (["--widths", "12,x"], "invalid list value"),
        (["--widths", "12,12"], "expected different integers"),
        (["--depths", "1"], ">= 2"),
        (["--widths", ""], "no network"),
        (["--hidden", "4x0"], "hidden widths >= 1"),
        (["--rungs", "R9"], "expected some of R0"),
        (["--train-widths", "7"], "expected some of --widths"),
        (["--learning-rate", "nan"], "expected a number > 0"),
        (["--draws", "1"], "at least 2"),
        (["--data", "nowhere"], "does not exist"),
        (["--backend", "abacus"], "abacus"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    check_refused(main, [*arguments, "--quick", "--out", str(tmp_path / "run")], message)
    assert not (tmp_path / "run" / "ladder.json").exists()


def test_an_occupied_folder_is_refused(report: LadderReport) -> None:
    with pytest.raises(StorageError, match="not empty"):
        ladder(**TINY, out=str(report.path))


def test_divergence_and_interruption_have_their_statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "--quick",
        "--networks",
        "2",
        "--widths",
        "9",
        "--rungs",
        "R0",
        "--train",
        "0,40",
        "--learning-rate",
        "1e200",
    ]
    with redirect_stderr(io.StringIO()) as errors, redirect_stdout(io.StringIO()):
        assert main([*arguments, "--out", str(tmp_path / "a")]) == 3
        assert "diverged" in errors.getvalue()
        monkeypatch.setattr("validation.ladder.job.measure_case", _interrupt)
        assert main([*arguments, "--out", str(tmp_path / "b")]) == 130
    assert not list((tmp_path / "a").iterdir())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_defaults_and_what_is_trained() -> None:
    options = LadderOptions(hidden=[(44, 20, 30), (24, 24)]).completed()
    assert {k: getattr(options, k) for k in DEFAULTS} == DEFAULTS
    assert options.cases[-1] == (44, 20, 30)
    assert len(options.cases) == 7  # (24, 24) is in the grid already
    assert [c for c in options.cases if options.trained(c)] == [(24, 24), (24, 24, 24), (44, 20, 30)]
    assert not any(replace(options, train=()).trained(c) for c in options.cases)
