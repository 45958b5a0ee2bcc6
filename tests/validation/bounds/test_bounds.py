"""The report on bounds: assemblies against circuits, slopes on synthetic data, files, exit codes, claims of the job."""

from __future__ import annotations

import copy
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from scipy.stats import hypergeom

import theory
from backends import get_backend
from simulator import mlp
from simulator.circuits.assemblies import gradient_assemblies, hessian_assemblies
from simulator.circuits.values import enumerate_circuits
from validation.bounds import figures as bound_figures
from validation.bounds import job as command
from validation.bounds.__main__ import main
from validation.bounds.answer import answer
from validation.bounds.figures import FIGURES
from validation.bounds.job import BoundsReport, Sizes, bounds
from validation.bounds.page import render
from validation.compare.claims import theorems as job_claims
from validation.compare.claims.theorems import bound_claims
from validation.compare.options import OptionError
from validation.errors import StorageError
from validation.measurements.ensembles.assemblies import (
    KINDS,
    _Pass,
    _share_of_broken_columns,
    broken_count,
    measure_assemblies,
    removed_layers,
)
from validation.measurements.ensembles.claims import bracket_checks, mean_bound_check, planted_check
from validation.measurements.ensembles.gates import measure_correlations, measure_flips
from validation.measurements.ensembles.random import check_theorems, ensembles_until_caught
from validation.measurements.ensembles.slopes import Grid, assembly_slopes, bracket_ratio, fit_slopes, select_moments
from validation.measurements.ensembles.theorems import Bounds
from validation.statistics.claim import failed
from validation.statistics.estimate import Estimate
from validation.statistics.power_law import log_slope

Array = np.ndarray[Any, Any]
OPS = get_backend("numpy")
TINY = Sizes(12, Grid((8, 16), (4, 5), 2e5), (8, 64, 128, 256), 4e4, (8, 16, 32), 200)
N, DEPTH = 3, 4


def derivative(weights: list[Array], removed: tuple[int, ...]) -> Array:
    """Entries of the derivative of the output by the removed layers, those of adjacent layers that meet in a neuron."""
    network = mlp([N] * len(weights) + [1])
    circuits = enumerate_circuits(network, weights, np.ones((1, N)), len(removed), OPS)
    if not removed:
        return np.array([np.sum(circuits.values)])
    if len(removed) == 1:
        return gradient_assemblies(network, circuits)[removed[0] - 1].reshape(-1)
    low, high = (network.slices[layer - 1] for layer in removed)
    block = hessian_assemblies(network, circuits)[0][low, high].reshape(N, N, N, -1)
    if removed[1] == removed[0] + 1:
        return np.einsum("abbc->abc", block).reshape(-1)
    return block.reshape(-1)


def circuits_oracle(hidden: list[Array], removed: tuple[int, ...]) -> list[float]:
    """Σ_j A_j, (Σ_j A_j)², Σ_j A_j², Y², averages over entries: A_j with W_L = e_j, Y_j from z_j as an output."""
    units = [e[:, None] for e in np.eye(N)]
    if DEPTH in removed:
        entries = derivative([*hidden, units[0]], removed)
        parts, total = [entries], entries
    else:
        parts = [derivative([*hidden, unit], removed) for unit in units]
        total = np.sum(parts, axis=0)
    below = tuple(layer for layer in removed if layer < DEPTH)
    perturbed = [derivative([*hidden[:-1], hidden[-1][:, j : j + 1]], below) for j in range(N)]
    sums = float(np.mean(total)), float(np.mean(total**2)), float(np.mean(np.sum(np.square(parts), axis=0)))
    return [*sums, float(np.mean(np.square(perturbed)))]


@pytest.mark.parametrize("kind", KINDS)
def test_assemblies_are_sums_of_circuits(kind: str, backend: str) -> None:
    """All 2^12 sign probes at one draw of weights: what they estimate is then exact."""
    rng = np.random.default_rng(28)  # one of three gates is off in every layer
    hidden = [rng.standard_normal((N, N)) + 0.5 for _ in range(DEPTH - 1)]
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=4 * N))).reshape(-1, 4, N)
    ops = get_backend(backend)
    rows = [ops.asarray(np.broadcast_to(w, (len(signs), N, N)).copy()) for w in hidden]
    passed = _Pass(rows, [ops.asarray(signs[:, i]) for i in range(4)], ops)
    removed = removed_layers(kind, DEPTH)
    found = np.mean(ops.to_numpy(passed.assembly(removed)), axis=1)
    expected = circuits_oracle(hidden, removed)
    assert np.count_nonzero(expected) == 4
    if DEPTH in removed or not removed:
        found[1], expected[1] = 0.0, 0.0  # the square of the sum serves where W_L is kept; for T it is one number
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_second_moments_of_intact_networks_are_those_of_m1() -> None:
    moments = {m.kind: m for m in measure_assemblies(16, 4, (None,), 8000, 3, OPS)}
    expected = theory.second_moment([16, 16, 16, 16, 1], [2 / 16] * 3 + [1 / 16], np.ones(16))[-1]
    assert expected == pytest.approx(1.0)
    for kind, value in {"none": 1.0, "1": 1 / 32, "m": 1 / 32, "L-1": 1 / 32, "L": 1.0, "L-1,L": 0.5}.items():
        square = moments[kind].square
        assert abs(square.value - value) < 5 * square.standard_error, kind
        assert square.standard_error < 0.05 * value
    assert moments["none"].mean == Estimate(0.0, 0.0)
    assert moments["none"].tightness is None


def test_the_mean_gradient_of_the_last_layer_does_not_decay() -> None:
    """measured/bracket of E ∂T/∂W_L is 2^L ½E|z|, E|z| = √(4/π): 9.0 at L = 4 and 144 at L = 8, up to O(1/n)."""
    for depth, expected in ((4, 9.0), (8, 144.0)):
        moments = measure_assemblies(128, depth, (None,), 100, 0, OPS)
        (last,) = select_moments(moments, "L", True)
        ratio = bracket_ratio("eq20", last)
        assert ratio.value == pytest.approx(expected, abs=0.05 * expected + 4 * ratio.standard_error)
        assert last.tightness is not None
        assert last.tightness.value == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)


def test_backends_measure_alike() -> None:
    first, second = (measure_assemblies(8, 4, (None, 0.5), 20, 1, get_backend(name)) for name in ("numpy", "numba"))
    for a, b in zip(first, second, strict=True):
        assert (a.kind, a.mu, a.draws) == (b.kind, b.mu, b.draws)
        assert a.mean.value == pytest.approx(b.mean.value, rel=1e-10)
        assert a.square.value == pytest.approx(b.square.value, rel=1e-10)


def test_broken_weights() -> None:
    assert [broken_count(256, mu) for mu in (None, 0.0, 0.25, 0.5, 1.0, 3.0)] == [0, 16, 8, 4, 1, 1]
    for n, broken in ((4, 3), (16, 8)):
        assert _share_of_broken_columns(n, broken) == pytest.approx(1 - hypergeom.pmf(0, n * n, n, broken))
    with pytest.raises(ValueError, match="depth 3 has too few layers"):
        removed_layers("1,L", 3)


def synthetic(per_layer: float, per_log_width: float, noise: float, seed: int = 0) -> tuple[list[Any], list[Estimate]]:
    rng, at, ratios = np.random.default_rng(seed), [], []
    for n, depth, mu in itertools.product((16, 32, 64), (4, 6, 8), (0.25, 1.0)):
        value = (1 + mu) * np.exp(per_layer * depth + per_log_width * np.log(n) + noise * rng.standard_normal())
        at.append((n, depth, mu))
        ratios.append(Estimate(float(value), float(noise * value)))
    return at, ratios


def test_slopes_of_synthetic_data() -> None:
    fit = fit_slopes(*synthetic(0.3, -0.7, 0.0))
    assert fit.per_layer.value == pytest.approx(0.3)
    assert fit.per_log_width.value == pytest.approx(-0.7)
    assert fit.per_layer.standard_error < 1e-10
    assert fit.constant == pytest.approx(2 * np.exp(4 * 0.3) * 16**-0.7)
    assert fit.worst == pytest.approx(np.exp(0.3 * 4))
    assert (fit.points, fit.left_out, fit.bounded) == (18, 0, False)
    assert fit_slopes(*synthetic(0.0, -0.7, 0.0)).bounded
    assert fit_slopes(*synthetic(0.04, 0.0, 0.0)).bounded
    assert not fit_slopes(*synthetic(0.0, 0.1, 0.0)).bounded


def test_standard_errors_of_slopes_cover_the_truth() -> None:
    fits = [fit_slopes(*synthetic(0.2, -0.4, 0.1, seed)) for seed in range(200)]
    errors = np.array([[f.per_layer.value - 0.2, f.per_log_width.value + 0.4] for f in fits])
    standard = np.array([[f.per_layer.standard_error, f.per_log_width.standard_error] for f in fits])
    share = np.mean(np.abs(errors) <= 2 * standard, axis=0)
    assert np.all(share >= 0.93)
    assert np.all(np.mean(standard, axis=0) < 2 * np.std(errors, axis=0))


def test_ratios_that_are_not_above_0_are_left_out_and_counted() -> None:
    at, ratios = synthetic(0.3, 0.0, 0.01)
    ratios[4] = Estimate(0.1, 0.2)
    assert fit_slopes(at, ratios).left_out == 1
    with pytest.raises(ValueError, match="0 of 18 ratios are above 0"):
        fit_slopes(at, [Estimate(1.0, 1.0)] * 18)
    with pytest.raises(ValueError, match="expected more than one n and L"):
        fit_slopes([(8, 4, 1.0), (8, 6, 1.0), (8, 8, 1.0), (8, 10, 1.0)], [Estimate(1.0, 0.1)] * 4)


def test_a_power_law() -> None:
    sizes = [8, 32, 128, 512]
    slope = log_slope(sizes, [Estimate(3.0 * n**-0.5, 0.0) for n in sizes])
    assert slope.value == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="expected at least three, all above 0"):
        log_slope([1, 2, 3], [Estimate(v, 0.1) for v in (1.0, 0.0, 1.0)])


def test_verdicts_of_brackets() -> None:
    rows = {c.id: c.record() for c in bracket_checks({"eq20.k2.1,L.broken": fit_slopes(*synthetic(0.6, 0.0, 0.0)),
                                                "eq20.k0.intact": None,
                                                "eq21.k1.m": fit_slopes(*synthetic(-0.1, 0.0, 0.0))})}  # fmt: skip
    assert [c["verdict"] for c in rows.values()] == ["not supported", "supported", "supported"]
    assert "the mean of ∂²T/∂W_1∂W_L" in rows["eq20.k2.1,L.broken"]["claim"]
    assert "the mean square of ∂T/∂W_m" in rows["eq21.k1.m"]["claim"]
    assert rows["eq20.k0.intact"]["measured"].startswith("exactly 0")
    assert not any(c["exact"] for c in rows.values())


def test_a_mean_above_the_bound_of_m4_fails() -> None:
    moments = measure_assemblies(8, 4, (None, 0.5), 200, 0, OPS)
    assert mean_bound_check(moments).verdict == "holds"
    broken = [m if m.tightness is None else _scaled(m) for m in moments]
    assert mean_bound_check(broken).verdict == "not supported"


def _scaled(m: Any) -> Any:
    """As if the bound were half as large."""
    return type(m)(**{**m.__dict__, "tightness": Estimate(2 * m.tightness.value, 2 * m.tightness.standard_error)})


def test_flips_and_correlations_follow_their_closed_forms() -> None:
    for point in measure_flips((8, 64), 4e5, 5, OPS):
        assert abs(point.measured.value - point.formula) < 5 * point.measured.standard_error
        assert point.measured.standard_error < 0.05 * point.formula
    points = measure_correlations((64,), 1000, 5, OPS)
    assert [p.layer for p in points] == [1, 2, 3]
    assert points[0].rms.value == pytest.approx(2 / np.pi / 8, rel=0.05)
    assert all(0 <= p.constant < 0.2 and p.rms.standard_error < 0.1 * p.rms.value for p in points)


def test_theorems_in_random_ensembles() -> None:
    found = check_theorems(20, 4, OPS)
    assert list(found) == ["S1", "S2", "S3", "M1", "M2", "M3", "M4"]
    assert all(c.holds and c.cases > 0 for c in found.values())
    wrong = check_theorems(20, 4, OPS, Bounds(second_moment=lambda *a: 2.0 * theory.second_moment(*a)))
    assert [name for name, c in wrong.items() if not c.holds] == ["M1"]


def test_the_planted_bound_is_caught() -> None:
    caught = ensembles_until_caught(0, OPS, 50)
    assert caught is not None
    assert planted_check(caught, 50).verdict == "holds"
    assert planted_check(None, 50).record() == planted_check(caught, 50).record() | {
        "measured": "not caught in 50 ensembles",
        "verdict": "not supported",
    }


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Any:
    """Every quick run of this module is tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "QUICK", TINY)
        patch.setattr(job_claims, "GRID", TINY.grid)
        patch.setattr(job_claims, "ENSEMBLES", 10)
        patch.setattr(job_claims, "FLIP_BUDGET", 1e5)
        yield


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures: what is tested is not in them."""
    monkeypatch.setattr(bound_figures, "FIGURES", {})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BoundsReport:
    return bounds(quick=True, backend="numpy", out=str(tmp_path_factory.mktemp("bounds") / "run"))


def run(*words: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as stop:
            status = int(str(stop.code))
    return status, out.getvalue(), err.getvalue()


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a report")


def test_the_files_of_a_run(report: BoundsReport) -> None:
    data = json.loads((report.path / "bounds.json").read_text(), parse_constant=refuse)
    assert data == report.data
    assert (data["schema"], data["kind"], data["seed"]) == (1, "bounds", 0)
    assert {p.name for p in report.path.rglob("*") if p.is_file()} == {
        "bounds.json", "bounds.html", *(f"{name}.png" for name in FIGURES),
    }  # fmt: skip
    for name in FIGURES:
        assert (report.path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (report.path / "bounds.html").read_text()
    assert page.count("data:image/svg+xml") == len(FIGURES)
    assert "∂<sup>" not in page
    assert "∂²T/∂W<sub>1</sub>∂W<sub>L−1</sub>" in page


def test_the_answer_counts_facts_and_bounds(report: BoundsReport) -> None:
    """Theorems that hold or fail, (20) and (21) supported, refuted or undecided: each changes the sentence."""
    data = copy.deepcopy(report.data)
    for claim in data["checks"]:
        claim["verdict"] = "holds" if claim["exact"] else "supported"
    cases = sum(theorem["cases"] for theorem in data["theorems"])
    means, squares = 2 * len(KINDS), len(KINDS)
    text = answer(data)
    assert text == (
        f"All 9 exact facts hold, with theorems tried in {cases:,} cases; verdicts on the paper's bounds: {means} "
        f"supported for (20), on means; {squares} supported for (21), on mean squares"
    )
    html = render(data, {"bounds_flips": b"first", "bounds_means": b"second"})
    assert html.index(escape(text)) < html.index('id="bounds_means"') < html.index("Verdicts")
    assert html.index("Verdicts") < html.index('id="bounds_flips"')
    checks = {c["id"]: c for c in data["checks"]}
    checks["S2"]["verdict"] = checks["eq20.k0.broken"]["verdict"] = "not supported"
    checks["eq21.k0"]["verdict"] = "not resolved"
    said = answer(data)
    assert said.startswith("1 of 9 exact facts fail: S2, with")
    assert f"{means - 1} supported, 1 not supported for (20)" in said
    assert f"1 not resolved, {squares - 1} supported for (21)" in said
    assert "Exact facts failed." in render(data, {})


def test_the_table_of_a_run(report: BoundsReport) -> None:
    checks = {c["id"]: c for c in report.data["checks"]}
    assert {"S1", "S2", "S3", "M1", "M2", "M3", "M4", "M4.assemblies", "S2.planted"} == {
        name for name, c in checks.items() if c["exact"]
    }
    assert report.failed_facts == []
    assert sum(name.startswith("eq20") for name in checks) == 2 * len(KINDS)
    assert sum(name.startswith("eq21") for name in checks) == len(KINDS)
    kept = {f"eq20.k{len(parts)}" + (f".{kind}" if parts else "") for kind, parts in KINDS.items() if "L" not in parts}
    assert all(checks[f"{name}.intact"]["verdict"] == "supported" for name in kept)
    assert checks["eq20.k1.L.intact"]["verdict"] == "not supported"
    assert len(report.data["assemblies"]) == 4 * 4 * len(KINDS)


@pytest.mark.usefixtures("undrawn")
def test_one_seed_one_report(report: BoundsReport, tmp_path: Path) -> None:
    again, other = (bounds(quick=True, backend="numpy", seed=s, out=str(tmp_path / str(s))).data for s in (0, 1))
    assert again | {key: report.data[key] for key in ("seconds", "checksum")} == report.data
    assert other["assemblies"] != again["assemblies"]


@pytest.mark.usefixtures("undrawn")
def test_a_failed_theorem_is_exit_1_after_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Bounds(second_moment=lambda *arguments: 2.0 * theory.second_moment(*arguments))
    monkeypatch.setattr(command, "check_theorems", lambda *arguments: check_theorems(*arguments, bounds=wrong))
    status, out, err = run("--quick", "--backend", "numpy", "--out", str(tmp_path / "run"))
    assert (status, err) == (1, "validation.bounds: exact facts failed, which is a bug: M1\n")
    assert "not supported" in out
    assert "violated at" in (tmp_path / "run" / "bounds.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_planted_bound_that_is_not_caught_is_exit_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ensembles_until_caught", lambda *arguments: None)
    status, _, err = run("--quick", "--backend", "numpy", "--out", str(tmp_path / "run"))
    assert (status, err) == (1, "validation.bounds: exact facts failed, which is a bug: S2.planted\n")


@pytest.mark.usefixtures("undrawn")
def test_the_command_line_ends_with_counts_and_the_page(tmp_path: Path) -> None:
    status, out, err = run("--quick", "--seed", "3", "--out", str(tmp_path))
    assert (status, err) == (0, "")
    counts = Counter(c["verdict"] for c in json.loads((tmp_path / "bounds.json").read_bytes())["checks"] if c["exact"])
    assert out.count("\nexact facts: " + ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())) == 1
    assert out.rstrip().endswith(f"report: {tmp_path / 'bounds.html'}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "--seed -1: expected an integer >= 0"),
        (["--backend", "fortran"], "fortran"),
        (["--quik"], "unrecognized arguments: --quik"),
    ],
)
def test_bad_usage_is_exit_2_in_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    status, _, err = run(*words, "--out", str(tmp_path / "run"))
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    assert run("--out", str(tmp_path))[0] == 2
    with pytest.raises(StorageError, match="is not empty"):
        bounds(out=str(tmp_path))
    with pytest.raises(OptionError, match="seed True"):
        bounds(seed=True, out=str(tmp_path / "new"))


def test_an_interrupted_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure_grid", interrupt)
    status, _, err = run("--quick", "--out", str(tmp_path / "run"))
    assert (status, err) == (130, "validation.bounds: interrupted: nothing was written\n")
    assert list((tmp_path / "run").iterdir()) == []


def test_claims_of_the_main_job() -> None:
    claims = bound_claims(mlp([4, 80, 100, 1]), 2, "numpy")
    verdicts = {c["id"]: c["verdict"] for c in claims}
    assert len(verdicts) == len(claims)
    assert all(set(c) == {"id", "source", "claim", "measured", "expected", "verdict", "exact"} for c in claims)
    assert [verdicts[name] for name in ("S1", "S2", "S3", "M1", "M2", "M3", "M4", "M4.assemblies")] == ["holds"] * 8
    assert verdicts["eq20.intact"] == "supported"
    assert [verdicts[f"eq20.k{k}"] for k in range(3)] == ["not supported"] * 3
    assert {f"eq21.k{k}" for k in range(3)} < set(verdicts)
    assert failed(claims) == []
    assert claims == bound_claims(mlp([4, 80, 100, 1]), 2, get_backend("numpy", "float32"))


def test_a_failed_theorem_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    honest: Callable[..., Any] = job_claims.check_theorems
    wrong = Bounds(coupling=lambda *arguments: 0.5 * theory.coupling_bound(*arguments))
    monkeypatch.setattr(job_claims, "check_theorems", lambda *arguments: honest(*arguments, bounds=wrong))
    assert failed(bound_claims(mlp([4, 3, 1]), 0, "numpy")) == ["S2"]


def test_slopes_of_means_that_vanish() -> None:
    moments = measure_assemblies(8, 4, (None,), 10, 0, OPS)
    assert assembly_slopes(select_moments(moments, "1", True), "eq20") is None
