"""Files written whole or not at all, under a checksum, and read back without pickle.

JSON files carry a ``checksum`` field, npz archives a ``checksum`` array: SHA-256 of everything else in them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from validation.errors import StorageError

Array = np.ndarray[Any, Any]
REPORT_SCHEMA = 1
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
PARTIAL = ".partial"  # ends the name of a file that is being written


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader, even after a power failure, sees the old one or the new one, never half of it.

    `StorageError` where there is no room or no permission; the old file then stands as it did.
    """
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
        _sync_folder(path.parent)
    except BaseException as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageError(f"{path} cannot be written ({error.strerror}): {_remedy(error)}") from None
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """`write_atomic` for a content that is there."""
    write_atomic(path, lambda stream: stream.write(content))


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make the folder writable, or name another one"
    return "make room, or name another folder"


def _sync_folder(folder: Path) -> None:
    """Make the new name of a file last; some file systems cannot be asked, and Windows opens no folder."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(handle)


def remove_partial(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left; nobody else may be writing here."""
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_json(path: Path, data: dict[str, Any], indent: int | None = 1) -> None:
    """Write JSON without NaN or Infinity (a bug if one is met: `ValueError`); sets ``data["checksum"]``.

    Without `indent` it is on one line, and written three times faster: for what is written again and again.
    """
    data["checksum"] = json_checksum(data)
    text = json.dumps(data, indent=indent, allow_nan=False)
    write_bytes(path, text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; `ValueError` or `OSError` where it is anything else."""
    try:
        data = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    if data.get("checksum") != json_checksum(data):
        raise ValueError("its checksum does not match")
    return data


def json_checksum(data: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the checksum itself, whatever its layout on disk."""
    rest = {key: value for key, value in data.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An npz archive of plain arrays and their checksum."""
    plain: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    plain["checksum"] = np.frombuffer(arrays_checksum(plain.items()), dtype=np.uint8)
    write_atomic(path, lambda stream: np.savez(stream, **plain))


def read_arrays(path: Path) -> dict[str, Array]:
    """What `write_arrays` wrote; raises whatever zipfile and NumPy raise for damaged bytes. No pickle is loaded."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    stored = arrays.pop("checksum")
    if stored.tobytes() != arrays_checksum(arrays.items()):
        raise ValueError("its checksum does not match")
    return arrays


def arrays_checksum(arrays: Iterable[tuple[str, Array]]) -> bytes:
    """SHA-256 of names, types, shapes and contents, in the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays, key=lambda item: item[0]):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def finite_or_none(value: float) -> float | None:
    """A number for JSON; None where there is none."""
    return float(value) if math.isfinite(value) else None
