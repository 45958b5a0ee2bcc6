"""One job in a folder at a time: a lock that the system takes back when its process ends, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from validation.errors import StorageError

from .console import complain
from .storage import remove_partial

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
TRACEBACK = "umwelt-traceback.txt"  # of an unexpected error, until the next job in the folder
_last: list[Path] = []


def held() -> Path | None:
    """The folder that this process held last, since `forget_held`; None where it held none."""
    return _last[-1] if _last else None


def forget_held() -> None:
    """Nothing has been held yet."""
    _last.clear()


def make_folder(out: Path, *below: str) -> None:
    """Make a folder and those named below it; `StorageError` where that cannot be, or where one is read-only."""
    try:
        for name in ("", *below):
            (out / name).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StorageError(f"--out {out}: a file is in the way; name a folder that can be made") from None
    except OSError as error:
        raise StorageError(f"--out {out} cannot be made ({error.strerror}): name a writable folder") from None
    if not all(os.access(out / name, os.W_OK) for name in ("", *below)):
        raise StorageError(f"--out {out} is read-only: name a writable folder")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder (`flock` on it, which leaves no file behind); `StorageError` where another job does.

    Where the file system or the platform knows no such lock that is said on stderr: two jobs would not see each other.
    """
    if fcntl is None:  # where there is no such lock a folder cannot be opened either
        complain(f"--out {folder} cannot be locked on {sys.platform}: let no other job write there")
        _begin(folder)
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        _begin(folder)
        yield
    finally:
        os.close(handle)


def _begin(folder: Path) -> None:
    _last.append(folder)
    (folder / TRACEBACK).unlink(missing_ok=True)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise StorageError(
                f"--out {folder} is in use by another job: wait for it, or name another folder"
            ) from None
        complain(f"--out {folder} cannot be locked ({error.strerror}): let no other job write there")


@contextmanager
def new_folder(out: str) -> Iterator[Path]:
    """An empty folder, made if need be and held until the job ends; `StorageError` where something is in it."""
    folder = Path(out)
    make_folder(folder)
    with locked(folder):
        remove_partial(folder)
        if any(folder.iterdir()):
            raise StorageError(f"--out {folder} is not empty: name another folder, or remove it")
        yield folder
