"""PyTorch's weight files (zip format, since PyTorch 1.6) without PyTorch: entries read, state dictionaries written."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .entries import Array, Entry, decode, members, read_exactly
from .errors import WeightsError
from .torch_pickle import Storage, TensorRecord, dump, parse

LARGEST_PICKLE = 1 << 24  # bytes: names and shapes of a hundred thousand tensors; the numbers lie elsewhere
ALIGNMENT = 64  # of the numbers in the file, as torch.save does it, so that they can be mapped into memory
FOLDER = "archive"


def read_torch(path: Path, key: str | None = None) -> list[Entry]:
    """The tensors of the state dictionary in `path`, in its order; `key` names it inside a checkpoint.

    Without `key` the file is a state dictionary, or a checkpoint in which exactly one value is one. Raises
    `WeightsError`, and what zipfile raises for damaged bytes.
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
    return [_entry(path, folder, name, tensor, big) for name, tensor in _state(path, tree, key).items()]


def _refuse_other_kind(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80":
        raise WeightsError(
            f"weight file '{path}' is a bare pickle (torch.save before PyTorch 1.6), expected the zip format: "
            "load it with PyTorch and save model.state_dict() again"
        )
    raise WeightsError(f"weight file '{path}' is not a zip archive of torch.save, or is cut off: write it again")


def _state(path: Path, tree: Any, key: str | None) -> Mapping[str, TensorRecord]:
    """The state dictionary in what was read."""
    if not isinstance(tree, dict):
        raise WeightsError(f"weight file '{path}' holds a {type(tree).__name__}: save model.state_dict()")
    if key is not None:
        if not _is_state(tree.get(key)):
            raise WeightsError(f"key {key!r} of '{path}' is no state dictionary: choose among {_states(tree)}")
        return dict(tree[key])
    if any(isinstance(value, TensorRecord) for value in tree.values()):
        if not _is_state(tree):
            wrong = next(k for k, v in tree.items() if not (isinstance(k, str) and isinstance(v, TensorRecord)))
            raise WeightsError(f"weight file '{path}' holds {wrong!r}, which is no tensor: save model.state_dict()")
        return tree
    found = _states(tree)
    if len(found) != 1:
        raise WeightsError(
            f"weight file '{path}' holds {len(found)} state dictionaries {found or ''}, expected one: "
            "give its key (load_weights(..., key=)) or save model.state_dict() alone"
        )
    return dict(tree[found[0]])


def _is_state(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, TensorRecord) for k, v in value.items())


def _states(tree: dict[Any, Any]) -> list[str]:
    return [k for k, v in tree.items() if isinstance(k, str) and _is_state(v)]


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
