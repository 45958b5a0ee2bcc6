"""Modules and weight files of PyTorch, where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.cases import Array, Case


def need_torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def write(path: Path, arrays: dict[str, Array]) -> Path:
    """Any named arrays in any kind of file."""
    plain = importlib.import_module("validation.interchange.plain")
    torch_zip = importlib.import_module("validation.interchange.torch_zip")
    writer = {".pt": torch_zip.write_torch, ".npz": plain.write_npz, ".safetensors": plain.write_safetensors}
    with path.open("wb") as stream:
        writer[path.suffix](stream, list(arrays.items()))
    return path


def torch_model(case: Case) -> Any:
    """The same network as a torch.nn.Sequential without biases, in float64."""
    torch = need_torch()
    layers: list[Any] = []
    shape, flat = case.input_shape, len(case.input_shape) == 1
    for index, (kind, *sizes) in enumerate(case.spec):
        if kind in ("pool", "avg"):
            pool = torch.nn.MaxPool2d if kind == "pool" else torch.nn.AvgPool2d
            layers.append(pool(sizes[0]))
            shape = (shape[0] // sizes[0], shape[1] // sizes[0], shape[2])
            continue
        if kind == "conv":
            layers.append(torch.nn.Conv2d(shape[2], sizes[0], sizes[1], padding="same", bias=False))
            shape = (*shape[:2], sizes[0])
        else:
            if not flat:
                layers.append(torch.nn.Flatten())
                flat = True
            layers.append(torch.nn.Linear(int(np.prod(shape)), sizes[0], bias=False))
            shape = (sizes[0],)
        if index < len(case.spec) - 1:
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers).double()


def torch_output(model: Any, x: Array, dtype: str) -> Array:
    torch = need_torch()
    channels_first = np.moveaxis(x, -1, 1) if x.ndim == 4 else x
    with torch.no_grad():
        values = model(torch.from_numpy(np.ascontiguousarray(channels_first, dtype=dtype)))[:, 0].numpy()
    return np.asarray(values)
