"""The main job on what the user has in memory: arrays, a network, weights."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import validation
from simulator import AvgPool, Conv, Dense, MaxPool, evaluate, mlp, sequential
from support.torch_files import need_torch
from validation.compare.options import Options
from validation.errors import DataError, OptionError, StorageError, WeightsError
from validation.interchange.given import GivenNetwork

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6))
Y = np.where(X[:, 0] > 0, "up", "down")
NETWORK = mlp([6, 5, 1])
SMALL: dict[str, Any] = {
    "backend": "numpy", "steps": 6, "probes": 2, "prediction_seconds": 0.001, "epochs": 0,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("plain")


def test_arrays_network_and_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The risk is that of these weights on these arrays, and only the same of each is resumed."""
    weights = NETWORK.init(3)
    options: dict[str, Any] = SMALL | {"network": NETWORK, "weights": weights, "out": tmp_path / "run"}
    report = validation.compare(data=(X, Y), **options)
    first, _, second, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("label -1: down; +1: up (of the two label values the smaller is -1), inputs as they are")
    assert second.startswith("weights: the list of arrays in memory (SHA-256 ")
    right = evaluate(NETWORK, weights, X, np.where(Y == "up", 1.0, -1.0), backend="numpy")
    assert report.data["epochs"][0]["risk"] == pytest.approx(right.risk, rel=1e-12)
    assert report.data["network"]["name"] == "given: dense5,dense1 on 6"
    assert report.data["options"]["data"].startswith("arrays in memory (SHA-256 ")
    again = validation.compare(data=(X.copy(), Y.tolist()), **options, resume=True)
    assert again.data["epochs"] == report.data["epochs"]
    for changed, what in (
        ({"data": (X + 1e-9, Y)}, "data"),
        ({"weights": NETWORK.init(4)}, "weights"),
        ({"network": "mlp:5"}, "network"),
    ):
        with pytest.raises(StorageError, match=f"differs in {what}"):
            validation.compare(**({"data": (X, Y)} | options | {"resume": True} | changed))


def test_a_file_of_arrays_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from validation.compare.__main__ import main

    np.savez(tmp_path / "mine.npz", x=X, y=Y, x_test=X[:9], y_test=Y[:9])
    words = {"data": tmp_path / "mine.npz", "out": tmp_path / "run", "network": "mlp:5"} | SMALL
    assert main([w for k, v in words.items() for w in (f"--{k.replace('_', '-')}", str(v))]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"data: arrays of '{tmp_path / 'mine.npz'}': 40 training and 9 test examples of shape 6")
    assert "the smaller is -1" in out.splitlines()[0]


def test_a_module_is_measured(tmp_path: Path) -> None:
    nn = need_torch().nn
    convolution, head = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Linear(8, 1, bias=False)
    model = nn.Sequential(convolution, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), head)
    images = RNG.standard_normal((30, 4, 4, 1))
    network, weights = validation.from_torch(model, input_shape=(4, 4, 1))
    report = validation.compare(
        data=(images, images.sum((1, 2, 3)) > 0), network=network, weights=weights, out=tmp_path / "run", **SMALL
    )
    assert report.data["network"]["name"] == "given: conv2(3x3),avg2,dense1 on 4x4x1"
    assert set(report.data["epochs"][0]["predictions"]) >= {"RE", "RK"}
    for source in (model, model.state_dict(), model.parameters()):
        other = validation.compare(
            data=(images, images.sum((1, 2, 3)) > 0), network=network, weights=source, out=tmp_path / "other", **SMALL
        )
        assert other.data["epochs"][0]["risk"] == report.data["epochs"][0]["risk"]
        for path in sorted((tmp_path / "other").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.usefixtures("alone")
def test_several_seeds_on_arrays(tmp_path: Path) -> None:
    """Workers get what was read once: weights may come from an iterator."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    report = validation.compare(
        data=(X, Y), network=NETWORK, weights=iter(NETWORK.init(3)), seeds=(0, 1), workers=1, out=tmp_path, **SMALL
    )
    right = evaluate(NETWORK, NETWORK.init(3), X, np.where(Y == "up", 1.0, -1.0), backend="numpy").risk
    assert report.data["risks"] == [[pytest.approx(right)], [pytest.approx(right)]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"data": (X, np.arange(40))}, DataError, "y has 40 label values"),
        ({"data": {"x": X, "y": Y}}, OptionError, r"expected a text or arrays \(x, y\)"),
        ({"network": mlp([7, 1])}, OptionError, r"--network takes examples of shape \(7,\), and these are of shape"),
        ({"network": 3}, OptionError, "expected a text or a network of"),
        ({"weights": NETWORK.init(0)[:1]}, WeightsError, r"weights of shapes \(6, 5\) were given: expected"),
        ({"weights": [w * np.nan for w in NETWORK.init(0)]}, WeightsError, "all of them finite"),
        ({"weights": {"a": np.ones((6, 5))}}, WeightsError, "the mapping holds a"),
        ({"weights": 3}, WeightsError, "weights of type int were given"),
        ({"weights": NETWORK.init(0), "weights_key": "model"}, OptionError, "give the mapping under that key"),
    ],
)
def test_what_cannot_be_used(options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        validation.compare(**(SMALL | {"data": (X, Y), "network": NETWORK, "out": tmp_path / "run"} | options))
    assert not (tmp_path / "run").exists()


def test_networks_that_differ_have_different_lines() -> None:
    layers: list[list[Any]] = [
        [Conv(2), MaxPool(2)], [Conv(2), AvgPool(2)], [Conv(2, 5), MaxPool(2)], [Conv(2), MaxPool(3)],
        [MaxPool(2), Conv(2)], [Conv(2)], [Conv(3)], [Dense(2)], [],
    ]  # fmt: skip
    lines = [str(GivenNetwork(sequential((8, 8, 1), [*part, Dense(1)]))) for part in layers]
    lines += [str(GivenNetwork(sequential(shape, [Dense(1)]))) for shape in ((8, 4, 2), (64,))]
    assert len(set(lines)) == len(lines)


def test_the_signature_has_the_options_with_their_defaults() -> None:
    """Whichever of its two faces `validation.compare` shows: the function, or the package once it is imported."""
    from validation.compare.job import compare as function

    for job in (function, validation.compare, __import__("sys").modules["validation.compare"]):
        parameters = inspect.signature(job).parameters
        assert [*parameters][:5] == ["backend", "dtype", "tf32", "data", "data_root"]
        assert [*parameters] == [field.name for field in fields(Options)] + ["seeds", "workers", "scheduler"]
        assert {field.name: parameters[field.name].default for field in fields(Options)} == {
            field.name: field.default for field in fields(Options)
        }
        assert "Run the main job" in (job.__doc__ or "")
