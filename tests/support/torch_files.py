"""Weight files as PyTorch writes them, where it is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from support.cases import Array


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
