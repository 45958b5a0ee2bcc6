"""PyTorch's weight files (zip format, since PyTorch 1.6) without PyTorch: entries read, state dictionaries written."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from validation.errors import WeightsError

from .entries import Array, Content, Entry, decode, may_be_sorted, members, read_exactly
from .torch_pickle import Foreign, StateDict, Storage, TensorRecord, dump, parse

LARGEST_PICKLE = 1 << 24  # bytes: names and shapes of a hundred thousand tensors; the numbers lie elsewhere
ALIGNMENT = 64  # of the numbers in the file, as torch.save does it, so that they can be mapped into memory
FOLDER = "archive"


def read_torch(path: Path, key: str | None = None) -> Content:
    """The tensors of the state dictionary in `path`, in its order; `key` names it inside a checkpoint.

    Without `key` the file is a state dictionary, or a checkpoint in which exactly one value is one. The order is that
    of a module where the file says so, and otherwise that of the program that wrote it, unless the names are sorted.
    Raises `WeightsError`, and what zipfile raises for damaged bytes.
    """
    if not zipfile.is_zipfile(path):
        _refuse_other_kind(path)
    with zipfile.ZipFile(path) as archive:
        files = members(archive)
        pickles = [name for name in files if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WeightsError(f"weight file '{path}' holds no data.pkl: save model.state_dict() by torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        info = files[pickles[0]]
        if info.file_size > LARGEST_PICKLE:
            raise WeightsError(
                f"weight file '{path}' has a pickle of {info.file_size:,} bytes, expected at most {LARGEST_PICKLE:,}: "
                "save model.state_dict() alone"
            )
        tree = parse(read_exactly(archive, info, info.file_size), str(path))
        order = folder + "byteorder"
        big = order in files and files[order].file_size == 3 and archive.read(order) == b"big"
    key, state = _state(path, tree, key)
    entries = [_entry(path, folder, name, tensor, big) for name, tensor in state.items()]
    of_module = isinstance(state, StateDict) and state.of_module
    return Content(entries, of_module or not may_be_sorted(entries), key)


def _refuse_other_kind(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80":
        raise WeightsError(
            f"weight file '{path}' is a bare pickle (torch.save before PyTorch 1.6), expected the zip format: "
            "load it with PyTorch and save model.state_dict() again"
        )
    raise WeightsError(f"weight file '{path}' is not a zip archive of torch.save, or is cut off: write it again")


def _state(path: Path, tree: Any, key: str | None) -> tuple[str, Mapping[str, TensorRecord]]:
    """(its key or "", the state dictionary) in what was read, all of its values tensors."""
    if not isinstance(tree, dict):
        raise _no_state(path, tree)
    found = _candidates(tree)
    if key is not None:
        if key not in found:
            raise WeightsError(f"key {key!r} of '{path}' is no state dictionary: choose among {list(found)}")
        return key, _only_tensors(path, found[key])
    if not found:
        if not _has_weights(tree):
            raise _no_state(path, tree)
        return "", _only_tensors(path, tree)
    # Weights beside a state dictionary: either may be meant.
    beside = [name for name, value in tree.items() if _is_weight(name, value) and name.rpartition(".")[2] == "weight"]
    if len(found) > 1 or beside:
        more = f" beside {beside[0]!r}" if beside else ""
        raise WeightsError(
            f"weight file '{path}' holds {len(found)} state dictionaries {list(found)}{more}, expected one: "
            "give its key (load_weights(..., key=), --weights-key) or save model.state_dict() alone"
        )
    (key, state), *_ = found.items()
    return key, _only_tensors(path, state)


def _no_state(path: Path, tree: Any) -> WeightsError:
    values = tree.values() if isinstance(tree, dict) else [tree]
    named = next((str(value) for value in values if isinstance(value, Foreign)), None)
    what = f"names {named!r} in its pickle, which is not run" if named else f"is a pickle of a {type(tree).__name__}"
    return WeightsError(
        f"weight file '{path}' {what}, and holds no state dictionary of weights: save model.state_dict(), or "
        "give the model that PyTorch loads to validation.from_torch"
    )


def _only_tensors(path: Path, state: Mapping[Any, Any]) -> Mapping[str, TensorRecord]:
    for name, value in state.items():
        if isinstance(value, Foreign):
            raise WeightsError(
                f"weight file '{path}' names '{value}' in its pickle for {name!r}, which is not run, where a plain "
                "tensor is expected: save model.state_dict() of dense tensors"
            )
        if not isinstance(name, str) or not isinstance(value, TensorRecord):
            raise WeightsError(
                f"{name!r} of '{path}' is of type {type(value).__name__}, expected a tensor: save model.state_dict()"
            )
    return state


def _is_weight(name: Any, value: Any) -> bool:
    """A tensor of two axes or four by a name, or what is called a weight and is none that can be read."""
    if isinstance(value, Foreign):
        return isinstance(name, str) and name.rpartition(".")[2] == "weight"
    return isinstance(name, str) and isinstance(value, TensorRecord) and len(value.shape) in (2, 4)


def _has_weights(value: Any) -> bool:
    """Whether a dictionary may be the state of a network: one of statistics is none."""
    return isinstance(value, dict) and any(_is_weight(name, tensor) for name, tensor in value.items())


def _candidates(tree: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """State dictionaries below the top by their keys, "key.key" where none lies higher; three levels are searched."""
    seen, level = {id(tree)}, {"": tree}
    for _ in range(3):
        below: dict[str, Mapping[Any, Any]] = {}
        for path, parent in level.items():
            for key, value in parent.items():
                if isinstance(key, str) and isinstance(value, dict) and id(value) not in seen:
                    seen.add(id(value))
                    below[f"{path}.{key}" if path else key] = value
        if found := {key: value for key, value in below.items() if _has_weights(value)}:
            return found
        level = below
    return {}


def _entry(path: Path, folder: str, name: str, tensor: TensorRecord, big: bool) -> Entry:
    size, storage = math.prod(tensor.shape), tensor.storage
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride, strict=True)) if size else 0
    # No more elements than numbers: a tensor that repeats its numbers could be as large as it likes.
    if size > storage.numel or (size and last >= storage.numel):
        raise WeightsError(
            f"tensor {name!r} of '{path}' reaches beyond the {storage.numel} numbers of its storage: "
            "save contiguous tensors"
        )

    def read() -> Array:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{folder}data/{storage.key}")
            if info.compress_type != zipfile.ZIP_STORED:  # never by torch.save; a small file could become a huge one
                raise ValueError(f"{info.filename!r} is compressed")
            item = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
            numbers = decode(read_exactly(archive, info, storage.numel * item), storage.dtype, big)
        strides = [s * numbers.itemsize for s in tensor.stride]
        return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides).copy()

    return Entry(name, tensor.shape, storage.dtype, read)


def write_torch(stream: BinaryIO, arrays: Sequence[tuple[str, Array]]) -> None:
    """A state dictionary of these arrays as torch.save writes it, the same bytes every time."""
    records = []
    for index, (name, array) in enumerate(arrays):
        stride = tuple(s // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
        records.append((name, TensorRecord(Storage(str(index), array.dtype.name, array.size), 0, array.shape, stride)))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, "data.pkl", dump(records))
        _write(archive, "byteorder", b"little")
        for index, (_, array) in enumerate(arrays):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            _write(archive, f"data/{index}", little.tobytes())
        _write(archive, "version", b"3\n")


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(f"{FOLDER}/{name}")  # of 1980: a file's date is no part of its content
    assert archive.fp is not None
    start = archive.fp.tell() + 30 + len(info.filename) + 4
    padding = -start % ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(info, data)
