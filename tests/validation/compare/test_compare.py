"""The main job from beginning to end on small runs: files, exit codes, interruption and continuation."""

from __future__ import annotations

import copy
import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import validation
from support.cases import Array
from support.places import ROOT
from support.small_run import SMALL, run
from validation.compare.answer import answer
from validation.compare.claims.facts import FACTS
from validation.compare.options import OptionError, Options
from validation.compare.record import silent_record, silent_since
from validation.compare.report import Report
from validation.compare.seeds import digest, joint
from validation.compare.single import prepare
from validation.errors import StorageError
from validation.report.text import KINDS
from validation.run.storage import json_checksum, write_json

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
VERDICTS = {"holds", "supported", "not supported", "not resolved", "not applicable"}


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in a report")


def read(folder: Path) -> dict[str, Any]:
    """report.json, with NaN and Infinity refused."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    return report


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """The report without what depends on the clock."""
    timeless = copy.deepcopy(report)
    assert timeless.pop("checksum") == json_checksum(report)
    timeless["forecast"].pop("seconds")
    for record in timeless["epochs"]:
        assert record.pop("seconds") >= 0
        assert all(p.pop("seconds") >= 0 for p in record["predictions"].values())
    return timeless


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_every_key_of_the_report(finished: tuple[Path, str]) -> None:
    report = read(finished[0])
    assert (report["schema"], report["seed"], report["eta"], report["complete"]) == (1, 0, 0.05, True)
    assert report["dataset"]["name"] == "digits"
    assert report["dataset"]["examples"] == 120
    assert report["dataset"]["spectrum_examples"] == 24
    assert report["network"]["weight_shapes"] == [[64, 8], [8, 8], [8, 1]]
    assert report["backend"] == {"name": "numpy", "dtype": "float64", "tf32": False}
    assert {"python", "numpy", "scipy", "numba", "platform"} <= set(report["environment"])
    assert [r["epoch"] for r in report["epochs"]] == [0, 1, 3]
    assert report["training"]["history"]["epoch"] == [1, 2, 3]
    for record in report["epochs"]:
        assert all(is_number(record[k]) for k in ("risk", "accuracy", "order_parameter", "active_fraction"))
        assert is_number(record["test_accuracy"])
        assert {"R0", "R1", "R2", "R5", "R6"} <= set(record["predictions"])
        assert ("R3" in record["predictions"]) == (record["epoch"] == 0)
        assert set(record["left_out"]) == {"R3", "R4", "R4w"} - set(record["predictions"])
        assert all(is_number(p[k]) and p[k] >= 0 for p in record["predictions"].values() for k in ("l1", "w1"))
        spectrum = record["spectrum"]
        assert np.shape(spectrum["nodes"]) == np.shape(spectrum["weights"]) == (3, 6)
        np.testing.assert_allclose(np.sum(spectrum["weights"], axis=1), 1.0, rtol=1e-12)
        second = np.mean(np.sum(np.multiply(spectrum["weights"], np.square(spectrum["nodes"])), axis=1))
        assert spectrum["rms"] == pytest.approx(np.sqrt(second), rel=1e-12)
        assert spectrum["minimum"] <= np.min(spectrum["nodes"]) < 0 < np.max(spectrum["nodes"]) <= spectrum["maximum"]
        assert all(is_number(spectrum["symmetry"][k]) for k in ("value", "null_95", "m3", "m3_standard_error"))
        shares = [spectrum[f"fraction_{part}"]["value"] for part in ("negative", "zero", "positive")]
        assert sum(shares) == pytest.approx(1.0)
        assert all(0 < share < 1 for share in shares)


def test_laws_of_the_report(finished: tuple[Path, str]) -> None:
    """Every weight and gradient entry counted once; symmetry layer by layer; circuits at the ends of the run only."""
    report = read(finished[0])
    sizes = [int(np.prod(shape)) for shape in report["network"]["weight_shapes"]]
    for record in report["epochs"]:
        for kind in ("weight", "gradient"):
            layers = record[f"{kind}_histograms"]["layers"]
            counted = [sum(sum(v) if isinstance(v, list) else v for k, v in h.items() if k != "scale") for h in layers]
            assert counted == sizes
            for law, n in zip(record[f"{kind}_symmetry"], sizes, strict=True):
                assert 0 <= law["null"] < law["null_95"]
                assert 0 <= law["value"] <= 1
                assert law["test"]["n"] == n
                assert 0 <= law["test"]["p_value"] <= 1
        assert record["gradient_symmetry_all"]["test"]["n"] == sum(sizes)
        assert (record["circuits"] is None) == (record["epoch"] == 1)
    orders = report["epochs"][0]["circuits"]["orders"]
    assert [law["order"] for law in orders] == [0, 1, 2]
    assert all(law["symmetry"]["test"]["n"] == 20_000 for law in orders)
    tests = report["symmetry_tests"]
    assert len(tests["tests"]) == sum(kind["tests"] for kind in tests["kinds"].values()) == 3 * (3 + 3 + 1) + 2 * 3
    assert all(t["p_value"] <= t["adjusted"] <= 1 for t in tests["tests"])


def test_the_aligned_share_of_every_record(finished: tuple[Path, str]) -> None:
    """On all training examples; what is aligned cannot exceed what circuits of one example leave over."""
    report = read(finished[0])
    for record in report["epochs"]:
        share = record["aligned"]
        assert share["examples"] == report["dataset"]["examples"]
        assert abs(share["value"]) <= share["unsigned"]["value"] < 1
        assert 0 < share["standard_error"] < share["unsigned"]["value"]
        low, high = sorted(share["classes"][name]["value"] for name in ("negative", "positive"))
        assert low <= share["value"] <= high
        assert share["chance"] > 0
    first, *_, last = (record["aligned"] for record in report["epochs"])
    assert abs(first["value"]) < 5 * first["chance"]
    assert last["value"] > first["value"]


def test_claims_and_facts_of_the_report(finished: tuple[Path, str]) -> None:
    claims = {c["id"]: c for c in read(finished[0])["claims"]}
    assert {c["verdict"] for c in claims.values()} <= VERDICTS
    assert set(FACTS) < set(claims)
    assert {claims[name]["verdict"] for name in ("E1", "E2", "E3", "E4", "E6", "E8")} == {"holds"}
    assert claims["E7"]["verdict"] == "not applicable"
    assert {"fig3a.symmetry", "fig3a.layers", "fig3b.symmetry", "fig4a.symmetry", "fig4a.layers"} <= set(claims)
    assert {"fig8a.symmetry", "fig8a.prediction.RE", "fig8a.prediction.R6", "fig8b.risk"} <= set(claims)
    assert {claims[name]["verdict"] for name in ("S1", "S2", "S3", "M1", "M2", "M3", "M4")} == {"holds"}
    assert {"eq20.k0", "eq20.k1", "eq20.k2", "eq21.k0", "eq21.k1", "eq21.k2"} <= set(claims)


def test_files_of_the_run(finished: tuple[Path, str]) -> None:
    folder = finished[0]
    assert {p.name for p in folder.iterdir()} == {"report.json", "report.html", "figures", "checkpoints"}
    pictures = list((folder / "figures").glob("*.png"))
    assert len(pictures) >= 5
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") >= len(pictures)
    checkpoints = sorted(p.name for p in (folder / "checkpoints").iterdir())
    assert checkpoints == ["epoch-0000.npz", "epoch-0001.npz", "epoch-0003.npz", "forecast.npz"]
    for name in checkpoints[:-1]:
        with np.load(folder / "checkpoints" / name, allow_pickle=False) as data:
            assert data["weights_0"].shape == data["velocity_0"].shape == (64, 8)
            assert all(data[key].dtype.kind in "fiuU" for key in data.files)


def test_what_is_printed(finished: tuple[Path, str]) -> None:
    """First the data, then a line for each record, at the end the answer, counts, failures, and where the page is."""
    folder, out = finished
    lines = [line for line in out.splitlines() if "reading the data" not in line]  # a slow machine says so
    assert lines[0] == f"data: {read(folder)['dataset']['source']}"
    assert "digits" in lines[0]
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["0", "1", "3"]
    claims = read(folder)["claims"]
    place = lines.index(f"{answer(read(folder))}.")
    counts = Counter((c["exact"], c["verdict"]) for c in claims)
    for (exact, verdict), count in counts.items():
        (line,) = (line for line in lines[place:] if line.startswith(KINDS[exact]))
        assert f"{verdict}: {count}" in line
    for claim in claims:
        named = any(line.startswith(f"not supported: {claim['id']} (") for line in lines[place:])
        assert named == (claim["verdict"] == "not supported")
    assert lines[-1] == f"report: {folder / 'report.html'}"


@pytest.mark.usefixtures("plain")
def test_from_python_it_is_the_same_run(finished: tuple[Path, str], tmp_path: Path) -> None:
    """Bit for bit on NumPy; and `validation.compare` is still the job after the module of that name was imported."""
    module = importlib.import_module("validation.compare")
    assert vars(validation)["compare"] is module
    report = validation.compare(**SMALL, out=str(tmp_path / "run"))
    assert isinstance(report, Report)
    assert (report.path, report.failed_facts) == (tmp_path / "run", [])
    assert report.data == read(report.path)
    assert numbers(report.data) == numbers(read(finished[0]))
    for path in (report.path, str(report.path), report.path / "report.json"):
        again = validation.load_report(path)
        assert (again.data, again.path) == (report.data, report.path)
    assert again.page.is_file()


def test_in_a_fresh_interpreter() -> None:
    code = (
        "import validation; first = validation.compare; import validation.compare; "
        "from validation import compare; assert callable(first) and callable(validation.compare) and callable(compare)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def interrupting(at: int) -> Callable[..., Any]:
    """`measure`, stopped by Ctrl-C at its `at`-th call."""
    measure, calls = importlib.import_module("validation.compare.record").measure, list[int]()

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return measure(*arguments)

    return interrupted


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupted_run_goes_on_to_the_same_end(
    at: int, finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at its first, second or third record: 130, what was recorded is kept, and nothing but time differs."""
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("validation.compare.single.measure", interrupting(at))
        status, _, err = run(**SMALL, out=folder)
    assert (status, err) == (130, f"validation.compare: interrupted: go on with --resume --out {folder}\n")
    assert [r["epoch"] for r in read(folder)["epochs"]] == [0, 1, 3][: at - 1]
    assert not read(folder)["complete"]
    assert run(**SMALL, out=folder)[0] == 2
    assert run(**SMALL, out=folder, resume=True)[0] == 0
    assert numbers(read(folder)) == numbers(read(finished[0]))
    for epoch in (0, 1, 3):
        same_arrays(folder, finished[0], epoch)


def same_arrays(folder: Path, other: Path, epoch: int) -> None:
    name = f"checkpoints/epoch-{epoch:04d}.npz"
    with np.load(folder / name) as a, np.load(other / name) as b:
        assert a.files == b.files
        assert all(a[key].tobytes() == b[key].tobytes() for key in a.files)


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("this should not have been called")


@pytest.mark.usefixtures("plain")
def test_a_run_in_pieces_is_the_whole_run(
    finished: tuple[Path, str], tmp_path: Path, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--stop-after ends a piece between two steps; with --resume the pieces come to the numbers of one run."""
    ticks = itertools.count()
    monkeypatch.setattr("validation.run.deadline.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    folder, stopped = tmp_path / "run", []
    pieces = SMALL | {"stop_after": 100, "save_seconds": 1e9}  # what a piece reached is saved because it stops
    for _ in range(30):
        status, _, err = run(**pieces, out=folder, **({"resume": True} if stopped else {}))
        if status == 0:
            break
        assert (status, err) == (
            4,
            "validation.compare: stopped after 100 seconds, as --stop-after asks: "
            f"go on with --resume --out {folder}\n",
        )
        stopped.append(status)
    assert status == 0
    assert stopped
    assert numbers(read(folder)) == numbers(read(finished[0]))


@pytest.mark.usefixtures("plain")
def test_a_record_that_is_missing_is_measured_from_its_state(finished: tuple[Path, str], tmp_path: Path) -> None:
    """Nothing is trained again: its checkpoint is there."""
    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    data = read(folder)
    kept = [record for record in data["epochs"] if record["epoch"] != data["epochs"][1]["epoch"]]
    write_json(folder / "report.json", data | {"epochs": kept, "complete": False})
    status, _, err = run(**SMALL, out=folder, resume=True)
    assert (status, err) == (0, "")
    assert numbers(read(folder)) == numbers(read(finished[0]))


@pytest.mark.usefixtures("plain")
def test_a_finished_run_resumed_is_finished(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    monkeypatch.setattr("validation.compare.single.measure", never)
    status, out, err = run(**SMALL, out=folder, resume=True)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert read(folder) == read(finished[0])


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("kept", [True, False])
def test_a_missing_record_is_measured_from_its_state(finished: tuple[Path, str], tmp_path: Path, kept: bool) -> None:
    """Of an epoch that training has passed; without the state the report says what is missing, and is not complete."""
    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    data = read(folder)
    data["epochs"] = [record for record in data["epochs"] if record["epoch"] != 1]
    write_json(folder / "report.json", data)
    if not kept:
        (folder / "checkpoints" / "epoch-0001.npz").unlink()
    status, out, _ = run(**SMALL, out=folder, resume=True)
    assert status == 0
    found = read(folder)
    assert found["complete"] is kept
    assert [record["epoch"] for record in found["epochs"]] == ([0, 1, 3] if kept else [0, 3])
    if kept:
        assert numbers(found) == numbers(read(finished[0]))
    else:
        assert f"not recorded: epochs 1, whose states are not in {folder / 'checkpoints'}" in out


@pytest.mark.usefixtures("plain")
def test_only_the_same_run_is_resumed(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    status, _, err = run(**(SMALL | {"probes": 4, "seed": 1}), out=folder, resume=True)
    assert status == 2
    assert "holds another run (it differs in probes, seed): name another folder" in err
    assert read(folder) == read(finished[0])
    with pytest.raises(StorageError, match="holds a run already"):
        validation.compare(**SMALL, out=str(folder))


@pytest.mark.usefixtures("plain")
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "run"))
    newest = folder / "checkpoints" / "epoch-0003.npz"
    newest.write_bytes(newest.read_bytes()[:-100])
    status, _, err = run(**SMALL, out=folder, resume=True)
    assert status == 2
    assert f"checkpoint {newest} cannot be used" in err
    newest.unlink()
    assert run(**SMALL, out=folder, resume=True)[0] == 0
    assert numbers(read(folder)) == numbers(read(finished[0]))
    same_arrays(folder, finished[0], 3)


@pytest.mark.usefixtures("plain")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow is what is being provoked
@pytest.mark.parametrize(("rate", "batch"), [(1e200, 50), (1e60, 300), (1e30, 300), (3.0, 150)])
def test_a_diverged_run_exits_3_and_keeps_what_it_recorded(rate: float, batch: int, tmp_path: Path) -> None:
    """Seen in a batch of training, or only at the next record: as infinity, or as a risk of no meaning."""
    options = SMALL | {"network": "mlp:16", "loss": "squared", "learning_rate": rate, "batch_size": batch}
    options["prediction_seconds"] = 0.001
    status, _, err = run(**(options | {"record": (0, 1, 2, 3)}), out=tmp_path / "run")
    assert status == 3
    assert "training diverged in epoch" in err.splitlines()[-1]
    assert f"what was recorded before is in {tmp_path / 'run'}" in err.splitlines()[-1]
    report = read(tmp_path / "run")
    assert [r["epoch"] for r in report["epochs"]] == list(range(len(report["epochs"])))
    assert len(report["epochs"]) >= 1
    assert not report["complete"]


def picture(seed: int, side: int = 8) -> Array:
    image: Array = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    return image


def folder_of_images(root: Path, images: dict[str, Array]) -> Path:
    for name, pixels in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
    return root


IMAGES: dict[str, Any] = {
    "network": "seq:conv4,pool,dense8", "epochs": 2, "record": (0, 2), "steps": 8, "probes": 2, "learning_rate": 0.05,
    "prediction_seconds": 0.001, "seed": 3,  # of a network that learns
}  # fmt: skip


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("quick", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_folder_of_images(quick: bool, tmp_path: Path) -> None:
    """Bright against dark 8×8 images, with a test part, in float32; `quick` takes fewer than its usual examples."""
    images = {
        f"{part}/{kind}/{i}.png": (picture(i) // 2 + shift).astype(np.uint8)
        for part, count in (("train", 20), ("test", 5))
        for kind, shift in (("bright", 120), ("dark", 0))
        for i in range(count)
    }
    data = folder_of_images(tmp_path / "images", images)
    report = validation.compare(data=data, out=str(tmp_path / "run"), quick=quick, **IMAGES).data
    assert report == read(tmp_path / "run")
    assert report["dataset"]["input_shape"] == [8, 8, 1]
    assert (report["dataset"]["negative"], report["dataset"]["positive"]) == (["bright"], ["dark"])
    assert report["dataset"]["spectrum_examples"] == report["dataset"]["examples"] == 40
    assert report["backend"] == {"name": "numba", "dtype": "float32", "tf32": False}
    assert report["network"]["weight_shapes"] == [[3, 3, 1, 4], [64, 8], [8, 1]]
    assert report["epochs"][-1]["test_accuracy"] == 1.0
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.usefixtures("plain")
def test_a_run_that_ends_with_nothing_active(tmp_path: Path) -> None:
    """Risk exactly 0: the Hessian is 0 and nothing is predicted. Figures of it: `synthetic_report`."""
    options = SMALL | {"network": "mlp:8", "classes": "0:1", "examples": 20, "spectrum_examples": 20, "batch_size": 5}
    folder, whole = tmp_path / "run", options | {"epochs": 50, "record": (0, 40, 45, 50)}
    status, out, err = run(**whole, out=folder)
    assert (status, err) == (0, "")
    assert "epoch   50  as at epoch 40 no example is active, so H = 0: not measured again" in out
    found = read(folder)
    assert found["complete"]
    silent = dict.fromkeys(("risk", "active_fraction", "order_parameter"), 0.0) | {"accuracy": 1.0, "since": 40}
    assert [record | silent for record in found["silent"]] == found["silent"]
    assert [record["epoch"] for record in found["silent"]] == [45, 50]
    assert "nothing more was measured at epoch 45, 50" in (folder / "report.html").read_text()
    first, last = found["epochs"]
    assert first["circuits"] is not None
    assert last["circuits"] is not None  # the last that are measured
    assert first["spectrum"]["rms"] > 0
    assert (last["risk"], last["accuracy"], last["active_fraction"], last["order_parameter"]) == (0.0, 1.0, 0.0, 0.0)
    assert last["predictions"] == {}
    assert last["spectrum"]["rms"] == 0.0
    assert not np.any(last["spectrum"]["nodes"])
    assert not any(value for name, value in last["spectrum"]["symmetry"].items() if name != "p_value")
    assert last["spectrum"]["symmetry"]["p_value"] == 1.0
    verdicts = {c["id"]: c["verdict"] for c in found["claims"]}
    assert (verdicts["fig8a.collapse"], verdicts["E5"], verdicts["E7"]) == ("supported", "holds", "holds")
    seeds = joint([digest(found), digest(found) | {"seed": 1}])
    assert [epoch["epoch"] for epoch in seeds["epochs"]] == [0, 40, 45, 50]
    assert [epoch["rms"]["value"] for epoch in seeds["epochs"][1:]] == [0.0, 0.0, 0.0]
    write_json(folder / "report.json", found | {"epochs": [first], "silent": found["silent"][:1], "complete": False})
    assert run(**whole, out=folder, resume=True)[0] == 0
    assert numbers(read(folder)) == numbers(found)
    assert read(folder)["silent"] == found["silent"]


@pytest.mark.parametrize(
    ("active", "risks", "since"),
    [
        ((0.5, 0.0), (0.5, 0.0, 0.0, 0.0), 2),
        ((0.5, 0.0), (0.5, 0.3, 0.0, 0.0), 2),  # what an epoch before the record met does not count
        ((0.5, 0.0), (0.5, 0.0, 1e-9, 0.0), None),  # momentum carried an example back, and the weights learned of it
        ((0.5, 0.01), (0.5, 0.0, 0.0, 0.0), None),
        ((0.0, 0.01), (0.0, 0.0, 0.0, 0.0), None),  # the last record counts
        ((), (0.0, 0.0, 0.0, 0.0), None),
    ],
)
def test_an_epoch_is_silent_where_no_batch_was_active_since(
    active: tuple[float, ...], risks: tuple[float, ...], since: int | None
) -> None:
    records = [{"epoch": 2 * i, "active_fraction": share} for i, share in enumerate(active)]
    assert silent_since(records, {"epoch": [1, 2, 3, 4], "risk": list(risks)}, 4) == since


def test_an_example_that_momentum_wakes_after_the_last_batch_is_found() -> None:
    """The weights of a silent epoch are looked at themselves: here those of the initialisation."""
    bench, _ = prepare(Options(**SMALL).completed())
    assert silent_record(bench, bench.network.init(0), 3, 1) is None


def test_bad_options_raise_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--batch-size 0"):
        validation.compare(**(SMALL | {"batch_size": 0}), out=str(tmp_path / "run"))
    with pytest.raises(TypeError, match="colour"):
        validation.compare(colour="red", out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_default_run_on_digits(tmp_path: Path) -> None:
    """At the defaults 40 epochs to risk 0 in less than 90 seconds, R2's L1 < 0.7; reduced: the same of --quick."""
    begun = time.monotonic()
    status, _, err = run(data="digits", out=tmp_path / "run", **({"quick": True} if REDUCED else {}))
    assert time.monotonic() - begun < 90
    assert (status, err) == (0, "")
    report = read(tmp_path / "run")
    last, predicted = report["epochs"][-1], [r["predictions"] for r in report["epochs"] if r["predictions"]]
    assert report["epochs"][0]["active_fraction"] > 0.8
    assert len(predicted) >= 3
    assert max(p["R2"]["l1"] for p in predicted) < 0.7
    assert all(p["R2"]["l1"] < p["R1"]["l1"] for p in predicted)
    assert last["risk"] < (0.2 if REDUCED else 0.01)
    assert last["accuracy"] > (0.9 if REDUCED else 0.99)
