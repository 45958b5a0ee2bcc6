"""`compare --weights`: a network trained elsewhere is measured as it is, trained on, resumed, and named."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

import validation
from simulator import HessianOperator, evaluate, mlp, output, train, train_epochs
from validation.compare.__main__ import main
from validation.compare.options import build_network
from validation.data import load_dataset
from validation.errors import StorageError
from validation.interchange import WeightsError, file_digest, load_weights, save_weights
from validation.interchange.torch_zip import write_torch
from validation.run.deadline import StoppedError

NETWORK = mlp([64, 8, 8, 1])
SMALL: dict[str, Any] = {
    "backend": "numpy", "data": "digits", "network": "mlp:8x8", "examples": 300, "spectrum_examples": 60,
    "steps": 12, "probes": 3, "prediction_seconds": 0.001,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trained.pt"
    save_weights(path, NETWORK, [w.astype(np.float32) for w in NETWORK.init(7)])
    return path


def run(*words: Any) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(word) for word in words])
    return status, out.getvalue(), err.getvalue()


def line(**options: Any) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def check_record(record: dict[str, Any], weights: list[Any], seed: int = 0) -> None:
    """The record is that of these weights on the data of the run."""
    data = load_dataset("digits", examples=300, spectrum_examples=60, seed=seed)
    whole = evaluate(NETWORK, weights, data.x, data.y, backend="numpy")
    assert (record["risk"], record["accuracy"]) == pytest.approx((whole.risk, whole.accuracy), rel=1e-12)
    assert record["order_parameter"] == pytest.approx(whole.order_parameter, rel=1e-12)
    h = HessianOperator(NETWORK, weights, data.x[data.spectrum], data.y[data.spectrum], backend="numpy").dense()
    eigenvalues = np.linalg.eigvalsh(h)
    assert record["spectrum"]["maximum"] == pytest.approx(eigenvalues.max(), rel=0.02)
    assert record["spectrum"]["rms"] == pytest.approx(np.sqrt(np.mean(eigenvalues**2)), rel=0.3)


def test_epochs_0_only_measures(file: Path, tmp_path: Path) -> None:
    status, out, err = run(*line(**SMALL, weights=file, epochs=0, out=tmp_path / "run"))
    assert (status, err) == (0, "")
    order = "layers 0.weight, 2.weight, 4.weight, by their shapes"
    assert out.splitlines()[2] == f"weights: {file} (SHA-256 {file_digest(file)}), {order}"
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["network"]["weights"] == {"file": str(file), "sha256": file_digest(file), "order": order}
    assert report["network"]["init"] is None
    (record,) = report["epochs"]
    assert record["epoch"] == 0
    check_record(record, load_weights(file, NETWORK))
    # What describes freshly drawn weights says nothing of trained ones.
    assert not {"R3", "R4", "R4w"} & set(record["predictions"])
    assert {record["left_out"][rung] for rung in ("R3", "R4", "R4w")} == {
        "it describes the initialisation, before any training"
    }
    assert {c["id"]: c["verdict"] for c in report["claims"]}["fig3b.symmetry"] == "not applicable"
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"(SHA-256 {file_digest(file)}), {order}" in page
    assert "at epoch 0 those of the file" in page
    assert "initialisation) is trained" not in page


def test_training_goes_on_from_the_file(file: Path, tmp_path: Path) -> None:
    """The same steps as `train` from the same weights; a resumed run ends like one that was never interrupted."""
    whole = validation.compare(**SMALL, weights=str(file), epochs=2, out=str(tmp_path / "a"))
    data = load_dataset("digits", examples=300, spectrum_examples=60, seed=0)
    weights = load_weights(file, NETWORK)
    trained = train(
        NETWORK, weights, data.x, data.y, epochs=2, batch_size=128, learning_rate=0.01, momentum=0.9, seed=0,
        backend="numpy",
    )  # fmt: skip
    reached = load_weights(tmp_path / "a" / "checkpoints" / "epoch-0002.npz", NETWORK)
    for ours, right in zip(reached, trained.weights, strict=True):
        assert_array_equal(ours, right)
    check_record(whole.data["epochs"][0], weights)
    check_record(whole.data["epochs"][-1], trained.weights)
    again = validation.compare(**SMALL, weights=str(file), epochs=2, out=str(tmp_path / "a"), resume=True)
    assert [r["risk"] for r in again.data["epochs"]] == [r["risk"] for r in whole.data["epochs"]]


def test_the_learning_rate_falls_to_a_tenth(file: Path, tmp_path: Path) -> None:
    """Two trainings in a row, weights and velocity handed over; the same where the run is stopped and resumed."""
    options: dict[str, Any] = SMALL | {"weights": str(file), "epochs": 3, "record": (0, 1, 3), "rate_drops": (2,)}
    whole = validation.compare(**options, out=str(tmp_path / "a"))
    data = load_dataset("digits", examples=300, spectrum_examples=60, seed=0)
    state: Any = SimpleNamespace(weights=load_weights(file, NETWORK), velocity=None)
    for first, last, rate in ((1, 2, 0.01), (3, 3, 0.001)):
        *_, state = train_epochs(
            NETWORK, state.weights, data.x, data.y, epochs=last, batch_size=128, learning_rate=rate, momentum=0.9,
            seed=0, backend="numpy", velocity=state.velocity, first_epoch=first,
        )  # fmt: skip
    reached = load_weights(whole.path / "checkpoints/epoch-0003.npz", NETWORK)
    for ours, right in zip(reached, state.weights, strict=True):
        assert_array_equal(ours, right)
    assert [r["learning_rate"] for r in whole.data["epochs"]] == pytest.approx([0.01, 0.01, 0.001])
    assert whole.data["training"]["rate_drops"] == [2]
    assert "(a tenth after epoch 2)" in whole.page.read_text()
    folder, risks = str(tmp_path / "b"), [r["risk"] for r in whole.data["epochs"]]
    with pytest.raises(StoppedError):
        validation.compare(**options, out=folder, stop_after=1e-9)
    again = validation.compare(**options, out=folder, resume=True)
    assert [r["risk"] for r in again.data["epochs"]] == risks


def test_a_file_is_what_is_in_it(file: Path, tmp_path: Path) -> None:
    """A run is resumed with the same content under another name, never with other content under the same name."""
    options = {**SMALL, "epochs": 0, "out": str(tmp_path / "run")}
    validation.compare(**options, weights=str(file))
    moved = file.rename(tmp_path / "moved.pt")
    validation.compare(**options, weights=str(moved), resume=True)
    save_weights(moved, NETWORK, NETWORK.init(8))
    with pytest.raises(StorageError, match="differs in weights"):
        validation.compare(**options, weights=str(moved), resume=True)
    with pytest.raises(StorageError, match="differs in weights"):
        validation.compare(**options, resume=True)


def test_checkpoints_of_a_run_are_weight_files(tmp_path: Path) -> None:
    validation.compare(**SMALL, epochs=1, record=(1,), out=str(tmp_path / "a"))
    checkpoint = tmp_path / "a" / "checkpoints" / "epoch-0001.npz"
    report = validation.compare(**SMALL, epochs=0, weights=str(checkpoint), out=str(tmp_path / "b"))
    check_record(report.data["epochs"][0], load_weights(checkpoint, NETWORK))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "missing.pt"}, "does not exist"),
        ({"network": "mlp:8x9"}, "choose the network, the layout or the names that fit"),
        ({"weights": __file__}, "of no known kind"),
    ],
)
def test_a_file_that_cannot_be_used(change: dict[str, Any], message: str, file: Path, tmp_path: Path) -> None:
    """One line, exit status 2, and nothing left behind."""
    status, _, err = run(*line(**(SMALL | {"weights": file, "epochs": 0, "out": tmp_path / "run"} | change)))
    assert status == 2
    assert err.startswith("validation.compare: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()
    with pytest.raises(WeightsError):
        validation.compare(**(SMALL | {"weights": str(file), "epochs": 0, "out": str(tmp_path / "run")} | change))


def test_a_file_that_does_not_say_its_order(tmp_path: Path) -> None:
    """One line with the option that helps; with it the run, its report and its page say the order."""
    network, names = mlp([64, 8, 8, 8, 1]), ["a.weight", "c.weight", "b.weight", "d.weight"]
    ordered = sorted(zip(names, network.init(7), strict=True), key=lambda pair: pair[0])
    with (tmp_path / "w.pt").open("wb") as stream:
        write_torch(stream, [(name, np.ascontiguousarray(w.T)) for name, w in ordered])
    options = line(
        **(SMALL | {"network": "mlp:8x8x8", "weights": tmp_path / "w.pt", "epochs": 0, "out": tmp_path / "run"})
    )
    status, _, err = run(*options)
    assert (status, err.count("\n")) == (2, 1)
    assert "does not say in which order its arrays are the layers" in err
    assert "--weights-names A,B,..." in err
    status, out, err = run(*options, "--weights-names", ",".join(names))
    assert (status, err) == (0, "")
    order = f"layers {', '.join(names)}, as named"
    assert out.splitlines()[2].endswith(order)
    assert order in (tmp_path / "run" / "report.html").read_text()
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["network"]["weights"]["order"] == order
    data = load_dataset("digits", examples=300, spectrum_examples=60, seed=0)
    risk = evaluate(network, network.init(7), data.x, data.y, backend="numpy").risk
    assert report["epochs"][0]["risk"] == pytest.approx(risk, rel=1e-12)


@pytest.mark.parametrize("text", ["mlp:5", "seq:conv3,pool,dense4"])
def test_images_in_the_order_of_pytorch(text: str, tmp_path: Path) -> None:
    """What a file with channels first says of images here is what its network says of the same images there."""
    rng = np.random.default_rng(0)
    for part in ("cat", "dog"):
        (tmp_path / "images" / "train" / part).mkdir(parents=True)
        for i in range(12):
            image = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
            image.save(tmp_path / "images" / "train" / part / f"{i}.png")
    _, network = build_network(text, (4, 6, 3))
    assert network.weight_shapes[0] == ((72, 5) if text == "mlp:5" else (3, 3, 3, 3))
    file = tmp_path / "w.pt"
    save_weights(file, network, network.init(3), image_shape=(4, 6, 3))
    options = {"backend": "numpy", "dtype": "float64", "probes": 1, "steps": 4, "prediction_seconds": 0.1, "epochs": 0}
    data = str(tmp_path / "images")
    report = validation.compare(data=data, network=text, weights=str(file), out=str(tmp_path / "run"), **options)
    drawn = load_dataset(data, seed=0, dtype="float64")
    risk = evaluate(network, network.init(3), drawn.x, drawn.y, backend="numpy").risk
    assert report.data["epochs"][0]["risk"] == pytest.approx(risk, rel=1e-6)


def test_digits_trained_by_pytorch(tmp_path: Path) -> None:
    """A perceptron trained, saved and evaluated by PyTorch, measured here from its file alone."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    data = load_dataset("digits", examples=300, spectrum_examples=60, seed=0)
    x, y = torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.y, dtype=torch.float32)
    layers = [torch.nn.Linear(a, b, bias=False) for a, b in ((64, 8), (8, 8), (8, 1))]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        torch.relu(1 - y * model(x)[:, 0]).mean().backward()
        optimizer.step()
    file = tmp_path / "digits.pt"
    torch.save(model.state_dict(), file)
    with torch.no_grad():
        theirs = model(x)[:, 0].numpy()
        risk = float(torch.relu(1 - y * model(x)[:, 0]).mean())
        exact = model.double()(torch.tensor(data.x))[:, 0].numpy()
    weights = load_weights(file, NETWORK)
    assert np.abs(output(NETWORK, weights, data.x) - exact).max() <= 1e-12 * np.abs(exact).max()
    assert np.abs(output(NETWORK, weights, data.x) - theirs).max() <= 1e-6 * np.abs(theirs).max()
    status, _, err = run(*line(**SMALL, weights=file, epochs=0, out=tmp_path / "run"))
    assert (status, err) == (0, "")
    record = json.loads((tmp_path / "run" / "report.json").read_text())["epochs"][0]
    assert record["risk"] == pytest.approx(risk, rel=1e-5)
    assert record["risk"] < 0.5
    check_record(record, weights)
