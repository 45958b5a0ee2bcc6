"""`validation.gates`: a cell against the simulator's own sums, verdicts on made-up numbers, and whole runs."""

from __future__ import annotations

import copy
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends import get_backend
from simulator import exact_thermodynamics, mlp, train
from support.page import Page
from validation.data import load_dataset
from validation.errors import OptionError, StorageError
from validation.gates import job as gates_job
from validation.gates.__main__ import main
from validation.gates.answer import answer
from validation.gates.cell import CellOptions, Record, measure_cell
from validation.gates.chain import chain_error
from validation.gates.claims import claims_of
from validation.gates.figures import FIGURES, series
from validation.gates.job import GatesOptions, gates
from validation.gates.page import render, rows, text_table
from validation.gates.summary import difference, share, summarise
from validation.report.experiment import Experiment
from validation.run.cells import CellStore
from validation.statistics.estimate import mean_of

OPS = get_backend("numpy")
TINY = ["--data", "digits", "--network", "mlp:6x5", "--small", "mlp:4x3", "--examples", "60", "--measured", "12",
        "--searched", "8", "--temperatures", "0.3,2", "--draws", "4", "--epochs", "2", "--record", "0,2",
        "--backend", "numpy"]  # fmt: skip
OPTIONS: dict[str, Any] = {
    "data": "digits", "network": "mlp:6x5", "small": "mlp:4x3", "examples": 60, "measured": 12, "searched": 8,
    "temperatures": (0.3, 2.0), "draws": 4, "epochs": 2, "record": (0, 2), "backend": "numpy",
}  # fmt: skip


@pytest.fixture(scope="module")
def cell() -> Record:
    """The record of a random small network."""
    data = load_dataset("digits", examples=60, spectrum_examples=12, dtype="float64")
    options = CellOptions(temperatures=(0.3, 2.0), searched=8, draws=60, backend="numpy")
    network = mlp([64, 4, 3, 1])
    return measure_cell(options, "small", 0, network, network.init(3), data, OPS, exact=True)


def test_a_cell_has_the_sums_of_the_simulator_and_estimates_near_them(cell: Record) -> None:
    data = load_dataset("digits", examples=60, spectrum_examples=12, dtype="float64")
    network = mlp([64, 4, 3, 1])
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    for entry, t in zip(cell["temperatures"], (0.3, 2.0), strict=True):
        exact = exact_thermodynamics(network, network.init(3), x, y, t)
        for name in ("energy", "entropy", "free_energy", "log_marginal", "relu", "best"):
            assert entry["exact"][name] == pytest.approx(getattr(exact, name))
        assert entry["sampled"]["relu"] == pytest.approx(exact.relu)
        assert entry["exact"]["most_probable"] == exact.most_probable.tolist()
        assert len(entry["search"]["refuted"]) == 8
        assert not np.any(np.array(entry["search"]["refuted"]) & exact.most_probable[:8])
        assert entry["search"]["above_best"] <= 1e-10
        assert entry["exact"]["order"] <= 1e-12
        assert entry["exact"]["chain"] <= 1e-12
        assert entry["identity"] <= 1e-12
        assert entry["largest_rise"] <= 0.0
        for away in [*entry["deviations"].values(), entry["drift"]]:
            assert abs(away["value"]) < 5 * away["standard_error"] + 1e-9
    json.dumps(cell, allow_nan=False)


def test_the_second_road_to_the_entropy_sees_a_wrong_one() -> None:
    network, x = mlp([3, 4, 2, 1]), np.random.default_rng(0).standard_normal((2, 3))
    weights, y = network.init(0), np.ones(2)
    exact = exact_thermodynamics(network, weights, x, y, 0.7)
    assert chain_error(network, weights, x, 0.7, exact, OPS) < 1e-13
    other = exact_thermodynamics(network, weights, x, y, 0.71)
    assert chain_error(network, weights, x, 0.7, other, OPS) > 1e-4


# Numbers with errors


def test_means_shares_and_paired_differences() -> None:
    assert mean_of([1.0, 3.0]) == {"value": 2.0, "standard_error": pytest.approx(1.0)}
    assert mean_of([1.0])["standard_error"] is None
    assert share([True, False, False, False])["value"] == 0.25
    assert share([True, False, False, False])["standard_error"] == pytest.approx(np.sqrt(0.25 * 0.75 / 4))
    certain = share([True] * 8)
    assert certain["value"] == 1.0
    assert certain["standard_error"] == pytest.approx(np.sqrt(0.9 * 0.1 / 8))
    paired = difference([1.0, 10.0], [2.0, 11.0])  # the examples differ, and their changes do not
    assert paired["value"] == 1.0
    assert paired["standard_error"] == pytest.approx(0.0, abs=1e-12)


def grown(cell: Record, epoch: int, **shifts: float) -> Record:
    """A later cell whose numbers are shifted, in both kinds, with a little scatter."""
    later = copy.deepcopy(cell) | {"epoch": epoch}
    for entry in later["temperatures"]:
        for kind in ("exact", "sampled"):
            for name, shift in shifts.items():
                values = entry[kind][name]
                entry[kind][name] = [v + shift * (1 + 0.1 * (-1) ** k) for k, v in enumerate(values)]
    return later


def verdicts(cells: list[Record], role: str = "small") -> dict[str, str]:
    return {claim.id: claim.verdict for claim in claims_of(role, cells, summarise(cells), "float64")}


def test_verdicts_follow_the_change_from_the_first_record_to_the_last(cell: Record) -> None:
    first = grown(cell, 0)
    fallen = verdicts([first, grown(cell, 5, energy=-1.0, entropy=-1.0, free_energy=-1.0, relu=1.0, log_marginal=1.0)])
    for name in ("energy", "entropy", "free_energy", "rise", "likelihood"):
        assert fallen[f"gates.{name}.T2.exact"] == "supported"
    risen = verdicts([first, grown(cell, 5, energy=1.0, entropy=1.0, free_energy=1.0, relu=-1.0, log_marginal=-1.0)])
    for name in ("energy", "entropy", "free_energy", "rise", "likelihood"):
        assert risen[f"gates.{name}.T2.exact"] == "not supported"
    still = grown(cell, 5)
    still["temperatures"][0]["exact"]["energy"][0] += 1e-3  # one example: no change that an error would let stand
    assert verdicts([first, still])["gates.energy.T0.3.exact"] == "not resolved"
    assert verdicts([first])["gates.energy.T2.exact"] == "not applicable"


def test_the_change_since_the_second_record_is_told_beside_the_whole_one(cell: Record) -> None:
    cells = [grown(cell, 0), grown(cell, 1, energy=8.0), grown(cell, 5, energy=6.0)]
    claims = {claim.id: claim for claim in claims_of("small", cells, summarise(cells), "float64")}
    claim = claims["gates.energy.T2.exact"]
    assert claim.verdict == "not supported"
    assert claim.measured is not None
    whole, since = claim.measured.rsplit("; change ", 1)[1].split(", since epoch 1 ")
    assert float(whole.split(" ±")[0]) == pytest.approx(6.0, abs=0.01)
    assert float(since.split(" ±")[0].replace("−", "-")) == pytest.approx(-2.0, abs=0.01)


def test_shares_decide_and_a_search_can_only_refute(cell: Record) -> None:
    made = copy.deepcopy(cell)
    entry = made["temperatures"][0]
    for flags, verdict in (
        ([True] * 12, "supported"),
        ([False] * 12, "not supported"),
        ([True, False] * 6, "not resolved"),
    ):
        entry["exact"]["most_probable"] = flags
        assert verdicts([made])["gates.most_probable.T0.3.exact"] == verdict
    sampled = copy.deepcopy(made)
    for one in sampled["temperatures"]:
        del one["exact"]
    for refuted, verdict in ((8, "not supported"), (0, "not resolved"), (4, "not resolved")):
        sampled["temperatures"][0]["search"]["refuted"] = [k < refuted for k in range(8)]
        assert verdicts([sampled], "network")["gates.most_probable.T0.3"] == verdict


@pytest.mark.parametrize(
    ("place", "value", "claim"),
    [
        (("largest_rise",), 1e-3, "eq7.layer.exact"),
        (("identity",), 1e-6, "eq9.layer.exact"),
        (("exact", "chain"), 1e-6, "eq9.chain.exact"),
        (("exact", "below_gibbs"), 1e-6, "eq9.gibbs.exact"),
        (("exact", "order"), 1e-6, "gates.order.exact"),
        (("search", "above_best"), 1e-6, "gates.search.exact"),
    ],
)
def test_a_fact_that_fails_is_named(cell: Record, place: tuple[str, ...], value: float, claim: str) -> None:
    assert verdicts([cell])[claim] == "holds"
    wrong = copy.deepcopy(cell)
    at = wrong["temperatures"][1]
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    assert verdicts([wrong])[claim] == "not supported"


def test_an_estimate_far_off_its_error_is_not_supported(cell: Record) -> None:
    assert verdicts([cell])["eq9.drawn.exact"] == verdicts([cell])["gates.sampled.exact"] == "supported"
    wrong = copy.deepcopy(cell)
    wrong["temperatures"][0]["drift"]["value"] += 10 * wrong["temperatures"][0]["drift"]["standard_error"]
    assert verdicts([wrong])["eq9.drawn.exact"] == "not supported"


# Whole runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> gates_job.GatesReport:
    return gates(**OPTIONS, out=str(tmp_path_factory.mktemp("gates") / "run"))


def test_a_run_measures_the_networks_that_compare_trains(run: gates_job.GatesReport) -> None:
    data = load_dataset("digits", examples=60, spectrum_examples=12, dtype="float64")
    network = mlp([64, 4, 3, 1])
    trained = train(
        network, network.init(0), data.x, data.y, epochs=2, batch_size=128, learning_rate=0.01, momentum=0.9, seed=0,
        backend="numpy",
    )  # fmt: skip
    x, y = data.x[data.spectrum], data.y[data.spectrum]
    last = run.data["networks"]["small"]["epochs"][-1]
    for entry, t in zip(last["temperatures"], (0.3, 2.0), strict=True):
        exact = exact_thermodynamics(network, trained.weights, x, y, t, "numpy")
        assert entry["free_energy"]["value"] == pytest.approx(exact.free_energy.mean())
        assert entry["relu_gap"]["value"] == pytest.approx(np.mean(exact.log_marginal - exact.relu))
        assert entry["most_probable"]["value"] == pytest.approx(exact.most_probable.mean())
    assert run.failed_facts == []
    assert {c["verdict"] for c in run.data["checks"] if c["exact"]} == {"holds"}


def test_its_page_and_figures_show_the_numbers(run: gates_job.GatesReport) -> None:
    values, errors = series(run.data, "small", 1, "entropy")
    told = [epoch["temperatures"][1]["entropy"] for epoch in run.data["networks"]["small"]["epochs"]]
    assert values.tolist() == [e["value"] for e in told]
    assert errors.tolist() == [e["standard_error"] for e in told]
    assert np.isnan(series(run.data, "network", 0, "most_probable")[0]).all()
    for name in FIGURES:
        assert (run.path / "figures" / f"{name}.png").stat().st_size > 10_000
    page = Page(render(run.data, {}))
    names = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a" and (attrs.get("href") or "").startswith("#")}
    assert {str(link)[1:] for link in links} <= names
    assert "gates.most_probable.T0.3.exact" in page.text
    assert len(rows(run.data["networks"]["network"])) == 4


def test_the_answer_is_made_from_the_numbers(run: gates_job.GatesReport) -> None:
    """Shares of the last epoch, and at how many temperatures a falling free energy is supported."""
    data = copy.deepcopy(run.data)
    for role, key, shares in (("small", "most_probable", (0.975, 0.31)), ("network", "refuted", (0.05, 0.9))):
        entries = data["networks"][role]["epochs"][-1]["temperatures"]
        for entry, value in zip(entries, shares, strict=True):
            entry[key] = {"value": value, "standard_error": 0.025}
    for claim in data["checks"]:
        if claim["id"].startswith("gates.free_energy."):
            claim["verdict"] = "supported" if claim["id"].endswith(".exact") else "not resolved"
    text = (
        "At epoch 2 the ReLU gates are the most probable ones for 0.975 ± 0.025 (T = 0.3) and 0.310 ± 0.025 (T = 2) of "
        "the examples in mlp:4x3; a search refutes this for 0.050 ± 0.025 (T = 0.3) and 0.900 ± 0.025 (T = 2) in "
        "mlp:6x5"
    )
    fallen = "; training is seen to lower the free energy at 2 of 2 temperatures in the first and at 0 in the second"
    assert answer(data) == text + fallen
    page = render(data, dict.fromkeys(FIGURES, b"png"))
    places = [text, 'id="most_probable"', "Two networks, ", "Verdicts</h2>", 'id="free_energy"']
    assert [page.index(place) for place in places] == sorted(page.index(place) for place in places)
    assert " ".join(text_table(data).split()).startswith(f"{text}{fallen}.")
    assert f"{run.answer()}." in repr(run)
    for claim in data["checks"]:
        if claim["id"].startswith("gates.free_energy."):
            claim["verdict"] = "not supported" if claim["id"].endswith(".exact") else "supported"
    assert answer(data).endswith("at 0 of 2 temperatures in the first and at 2 in the second")
    for claim in data["checks"]:
        claim["verdict"] = "not applicable"  # a single record
    assert answer(data) == text


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that draw no figures."""
    monkeypatch.setattr(Experiment, "_figures", lambda *_: {})


@pytest.mark.usefixtures("undrawn")
def test_a_run_goes_on_with_more_records_and_ends_like_an_undisturbed_one(
    run: gates_job.GatesReport, tmp_path: Path
) -> None:
    folder = str(tmp_path / "run")
    gates(**OPTIONS | {"epochs": 0, "record": (0,)}, out=folder)
    with pytest.raises(StorageError, match="not empty"):
        gates(**OPTIONS, out=folder)
    with pytest.raises(StorageError, match="temperatures"):
        gates(**OPTIONS | {"temperatures": (0.3, 3.0)}, out=folder, resume=True)
    resumed = gates(**OPTIONS, out=folder, resume=True)
    for key in ("networks", "checks"):
        assert resumed.data[key] == run.data[key]
    store = CellStore(folder, {})
    store.path("network-epoch-2").write_bytes(b"damaged")
    again = gates(**OPTIONS, out=folder, resume=True)
    assert again.data["networks"] == run.data["networks"]


@pytest.mark.usefixtures("undrawn")
def test_pools_that_choose_are_part_of_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    np.savez(path, x=rng.standard_normal((40, 6, 6, 1)), y=rng.choice([-1, 1], 40))
    options = OPTIONS | {"data": str(path), "network": "seq:conv2,pool,dense3", "examples": None, "epochs": 0}
    done = gates(**options | {"record": (0,), "dtype": "float64"}, out=str(tmp_path / "run"))
    (epoch,) = done.data["networks"]["network"]["epochs"]
    assert epoch["temperatures"][0]["stages"]["names"] == ["gates 1", "pool 1", "gates 2"]
    assert done.failed_facts == []


def status(words: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.usefixtures("undrawn")
def test_exit_statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [*TINY, "--epochs", "0", "--record", "0"]
    code, out, err = status([*short, "--out", str(tmp_path / "good")])
    assert (code, err) == (0, "")
    assert "gates.html" in out
    broken = measure_cell

    def wrong(*args: Any, **options: Any) -> Record:
        cell = broken(*args, **options)
        cell["temperatures"][0]["identity"] = 1.0
        return cell

    monkeypatch.setattr(gates_job, "measure_cell", wrong)
    code, _, err = status([*short, "--out", str(tmp_path / "bad")])
    assert code == 1
    assert "eq9.layer.exact, eq9.layer" in err
    code, _, err = status([*TINY, "--learning-rate", "1e6", "--out", str(tmp_path / "diverged")])
    assert code == 3
    assert "finished cells are kept" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperatures": (1.0, 0.3)}, "--temperatures 1,0.3: expected increasing"),
        ({"temperatures": (0.0, 0.3)}, "--temperatures 0,0.3"),
        ({"temperatures": (1.0, float("inf"))}, "--temperatures 1,inf"),
        ({"record": (0, 3)}, r"--record \[0, 3\]"),
        ({"draws": 1}, "--draws 1: expected an integer >= 2"),
        ({"measured": 8, "searched": 9}, "--searched 9: expected at most --measured 8"),
        ({"small": "mlp:30x30"}, "--small 'mlp:30x30' has 60 gates"),
        ({"small": "seq:dense3,conv2"}, "--small 'seq:dense3,conv2'"),
        ({"network": "cnn"}, "--network 'cnn'"),
        ({"momentum": 1.0}, "--momentum 1.0"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0"),
        ({"loss": "absolute"}, "--loss"),
        ({"dtype": "float16"}, "--dtype 'float16'"),
    ],
)
def test_options_that_no_run_could_use_are_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=words):
        gates(**OPTIONS | options, out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_defaults() -> None:
    done = GatesOptions().completed()
    assert done.record == (0, 1, 2, 3, 5, 10, 20, 40)
    assert done.temperatures == (0.1, 0.3, 1.0, 3.0)
    assert done.out == "runs/gates"
    assert GatesOptions(epochs=7, quick=True).completed().record == (0, 1, 7)
    assert (done.sized(False, 50).measured, done.sized(False, 50).searched) == (50, 50)
    assert done.sized(True, 5000).draws == 4
