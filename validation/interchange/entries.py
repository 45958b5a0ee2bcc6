"""A file of named arrays as a list of entries: shapes first, numbers only for those that are asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from validation.errors import WeightsError

Array = np.ndarray[Any, Any]
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Entry:
    """One named array of a file; `read` gives its numbers, shape `shape`, bfloat16 and float16 as float32."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


@dataclass(frozen=True)
class Content:
    """The arrays of a file or a mapping; `kept`: in the order in which a program listed them, nobody sorted them.

    `key`: that of the dictionary which they are taken from, where the file holds more than one. `free`: a name without
    a dot is the user's own, and need not be "weight". `nameless`: names were made up here, and decide nothing.
    """

    entries: list[Entry]
    kept: bool
    key: str = ""
    free: bool = False
    nameless: bool = False


def may_be_sorted(entries: Sequence[Entry]) -> bool:
    """Whether the names stand in the order of texts, "10" before "2", as safetensors leave them: one dtype by one."""
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(entry.dtype, []).append(entry.name)
    return all(group == sorted(group) for group in names.values())


def listed(entries: Sequence[Entry], most: int = 20) -> str:
    """Names and shapes, for a message."""
    more = f" and {len(entries) - most} more" if len(entries) > most else ""
    return (", ".join(f"{e.name[:60]} {e.shape}" for e in entries[:most]) or "nothing") + more


def decode(data: bytes, dtype: str, big_endian: bool = False) -> Array:
    """Flat numbers from bytes; bfloat16 and float16 become float32, which holds every one of their values."""
    order: Literal["<", ">"] = ">" if big_endian else "<"
    if dtype == "bfloat16":  # the upper half of a float32
        widened = np.frombuffer(data, f"{order}u2").astype(np.uint32) << np.uint32(16)
        return widened.view(np.float32)
    numbers = np.frombuffer(data, np.dtype(dtype).newbyteorder(order))
    return numbers.astype(np.float32 if dtype == "float16" else dtype)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever damaged bytes make a reader raise becomes one `WeightsError` that names the file."""
    try:
        yield
    except (WeightsError, MemoryError):
        raise
    except FileNotFoundError:
        raise WeightsError(f"weight file '{path}' does not exist: give the path of {what}") from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise WeightsError(f"weight file '{path}' cannot be read ({reason}): give {what}") from None
    except Exception as error:  # what zipfile, NumPy and safetensors raise for damaged bytes has no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(
            f"weight file '{path}' is damaged or of another kind ({reason}): expected {what}, write it again"
        ) from None


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by name; two of one name are refused, as readers differ in which they take."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if info.filename in found:
            raise ValueError(f"it holds {info.filename!r} twice")
        found[info.filename] = info
    return found


def read_exactly(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bytes:
    """A member that must have `size` bytes: no more than that is ever decompressed, and its checksum is checked."""
    if info.file_size != size:
        raise ValueError(f"{info.filename!r} has {info.file_size} bytes, expected {size}")
    with archive.open(info) as stream:
        data = stream.read(size)
        # The end is what makes zipfile compare the checksum.
        if len(data) != size or stream.read(1):
            raise ValueError(f"{info.filename!r} has another length than its archive says")
    return data
