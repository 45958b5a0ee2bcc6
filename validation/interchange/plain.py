"""Safetensors and NumPy's npz: entries read, arrays written."""

from __future__ import annotations

import importlib
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from validation.errors import WeightsError

from .entries import Array, Content, Entry, decode, may_be_sorted, members, read_exactly

SAFE = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
OF_A_RUN = r"velocity_\d+|history_\w+|format|epoch|run|kind|checksum"  # what a checkpoint holds beside the weights
LARGEST_HEADER = 10_000  # characters of an array's header: NumPy's own limit


def safetensors() -> Any:
    """The package; `WeightsError` where it is missing."""
    try:
        return importlib.import_module("safetensors")
    except ImportError as error:
        raise WeightsError(
            f"safetensors files need the package safetensors, which cannot be imported ({error}): "
            "run pip install 'umwelt-dnn[safetensors]'"
        ) from None


def read_safetensors(path: Path) -> Content:
    """The tensors of a safetensors file. The format keeps no order: its writers sort by dtype and name."""
    parsed = safetensors().deserialize(path.read_bytes())
    return Content([_safe_entry(name, tensor) for name, tensor in parsed], kept=False)


def _safe_entry(name: str, tensor: dict[str, Any]) -> Entry:
    shape, data = tuple(tensor["shape"]), bytes(tensor["data"])
    dtype = SAFE.get(tensor["dtype"], str(tensor["dtype"]))
    return Entry(name, shape, dtype, lambda: decode(data, dtype).reshape(shape))


def write_safetensors(stream: BinaryIO, arrays: Sequence[tuple[str, Array]]) -> None:
    """These arrays, marked as PyTorch's (format "pt"), which is what readers of the format ask for."""
    writer = importlib.import_module(f"{safetensors().__name__}.numpy")
    stream.write(writer.save({name: np.ascontiguousarray(a) for name, a in arrays}, metadata={"format": "pt"}))


def read_npz(path: Path) -> Content:
    """The arrays of an npz file; of a checkpoint of a run, weights_0, weights_1, ... beside its state, the weights."""
    with zipfile.ZipFile(path) as archive:
        return named_content([_npz_entry(path, archive, info) for info in members(archive).values()])


def named_content(entries: list[Entry]) -> Content:
    """Arrays named by the user, or those of a run's checkpoint, weights_0, weights_1, ..., in the order of numbers."""
    numbered = [e for e in entries if re.fullmatch(r"weights_\d{1,6}", e.name)]
    if not numbered:
        return Content(entries, kept=not may_be_sorted(entries), free=True)
    numbered.sort(key=lambda entry: _number(entry.name))
    if [_number(entry.name) for entry in numbered] != list(range(len(numbered))):
        raise ValueError(
            f"its layers are {', '.join(entry.name for entry in numbered[:20])}, expected one after the other"
        )
    others = [e for e in entries if e not in numbered and not re.fullmatch(OF_A_RUN, e.name)]
    return Content(numbered + others, kept=True, free=True)


def _number(name: str) -> int:
    return int(name.removeprefix("weights_"))


def _npz_entry(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    if not info.filename.endswith(".npy"):
        raise ValueError(f"it holds {info.filename!r}, which is no array")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream)
        start = stream.tell()
    size = start + math.prod(shape) * dtype.itemsize
    name = info.filename.removesuffix(".npy")

    def read() -> Array:
        with zipfile.ZipFile(path) as again:
            data = read_exactly(again, again.getinfo(info.filename), size)[start:]
        numbers = decode(data, dtype.name, dtype.str[0] == ">")
        return numbers.reshape(shape, order="F" if fortran else "C")

    return Entry(name, shape, dtype.name, read)


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and dtype of a member; nothing of its numbers is read."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"an array of format {version}")
    shape, fortran, dtype = readers[version](stream, max_header_size=LARGEST_HEADER)
    return tuple(int(n) for n in shape), bool(fortran), dtype


def write_npz(stream: BinaryIO, arrays: Sequence[tuple[str, Array]]) -> None:
    """These arrays without compression."""
    named: dict[str, Any] = dict(arrays)
    np.savez(stream, **named)
