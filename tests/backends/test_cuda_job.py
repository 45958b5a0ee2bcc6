"""The main job with ``--backend cupy`` from beginning to end: emulated on the host, and on a device where one is."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends import Backend
from support.emulated_cuda import COMPILER, NO_COMPILER, EmulatedBackend
from support.strict_namespace import strict
from theory import continued
from validation.compare.__main__ import main

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
EPOCHS = "--epochs 1 --record 1" if REDUCED else "--epochs 2 --record 0,2"
IMAGES = f"--network seq:conv4,pool,conv5,dense4 {EPOCHS} --batch-size 5 --examples {10 if REDUCED else 24} "
DIGITS = f"--data digits --network mlp:6x5 {EPOCHS} --examples {20 if REDUCED else 60} "
SIZES = "--spectrum-examples 4 --probes 1 --steps 3" if REDUCED else "--spectrum-examples 6 --probes 2 --steps 4"
SMALL = f"{SIZES} --draws 1 --prediction-seconds 2 --quick"
CASES = {"images": IMAGES, "images in TF32": "--tf32 " + IMAGES, "digits": DIGITS}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name in ("a", "b"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype("u1")).save(folder / f"{i}.png")
    return root


def job(case: str, images: Path, out: Path, backend: str) -> tuple[int, dict[str, Any]]:
    data = [] if case == "digits" else ["--data", str(images)]
    status = main(["--backend", backend, "--out", str(out), *data, *CASES[case].split(), *SMALL.split()])
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return status, report


def compare(case: str, images: Path, tmp_path: Path) -> None:
    """Every exact fact holds, and the numbers are those of NumPy as far as the precision goes."""
    status, found = job(case, images, tmp_path / "cuda", "cupy")
    assert status == 0
    tf32 = "TF32" in case
    dtype = "float64" if case == "digits" else "float32"
    assert found["backend"] == {"name": "cupy", "dtype": dtype, "tf32": tf32}
    if tf32:
        assert "convolutions in TF32" in (tmp_path / "cuda" / "report.html").read_text()
        return
    status, expected = job(case, images, tmp_path / "numpy", "numpy")
    assert status == 0
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    for one, two in zip(found["epochs"], expected["epochs"], strict=True):
        for key in ("risk", "order_parameter"):
            assert one[key] == pytest.approx(two[key], rel=tolerance)
        assert one["spectrum"]["rms"] == pytest.approx(two["spectrum"]["rms"], rel=tolerance)
        assert set(one["predictions"]) == set(two["predictions"])


def coarsely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws at few points: these devices are slow, and what is looked at is the same at every point."""
    for accuracy in ("validation.predictions.record.ACCURACY", "validation.statistics.bulk.FINE_ACCURACY"):
        monkeypatch.setattr(accuracy, 1.0)
    monkeypatch.setattr("validation.predictions.record.continued", partial(continued, accuracy=1.0))
    monkeypatch.setattr("validation.predictions.record.FEW", 0)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILER, reason=NO_COMPILER)
@pytest.mark.parametrize("case", ["images in TF32"] if REDUCED else CASES)
def test_the_main_job_on_the_host(case: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.cupy.backend.create", EmulatedBackend)
    coarsely(monkeypatch)
    compare(case, images, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["digits"] if REDUCED else ["digits", "images"])
def test_the_main_job_on_a_strict_device(
    case: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step of it takes a device array for a host array."""

    def create(dtype: str) -> Backend:
        backend = strict(dtype)
        backend.name = "cupy"
        return backend

    monkeypatch.setattr("backends.cupy.backend.create", create)
    coarsely(monkeypatch)
    compare(case, images, tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_the_main_job_on_the_device(case: str, images: Path, tmp_path: Path) -> None:
    compare(case, images, tmp_path)
