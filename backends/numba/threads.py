"""Threads and processes around the compiled kernels: which may run together, and what a forked process may start.

- Numba's threading layer "workqueue" (where neither TBB nor OpenMP is found, such as macOS) ends the process when two
  Python threads start kernels at once: there, kernels of one process wait for each other.
- A process made by fork has none of its parent's threads, and GNU OpenMP ends it when it starts some: once the parent
  has threads, its forked children run every kernel in one thread, with the same results to rounding. So do theirs.
- BLAS has one number of threads per process: the first thread to enter `one_blas_thread` sets it, the last one to leave
  restores it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Kernel = Callable[..., Any]


@dataclass
class _Process:
    """What holds for this process."""

    forked: bool = False  # its parent had threads
    count: int = 0  # threads of a kernel; 0 as long as none was started
    alone: bool = False  # one kernel at a time
    starting: threading.RLock = field(default_factory=threading.RLock)
    running: threading.RLock = field(default_factory=threading.RLock)  # a signal's handler may start a kernel, too
    blas: threading.RLock = field(default_factory=threading.RLock)
    blas_counts: list[int] = field(default_factory=list)  # threads of BLAS outside
    blas_users: int = 0


class _Thread(threading.local):
    """What holds for this thread."""

    blas_depth = 0


_PROCESS, _THREAD = _Process(), _Thread()


def launch(kernel: Kernel, serial: Callable[[], Kernel], arguments: tuple[Any, ...]) -> Any:
    """The value of a kernel that runs on all threads, or of its version in one thread, which `serial` gives."""
    if _PROCESS.forked:
        return serial()(*arguments)
    if not _PROCESS.count:
        thread_count()
    if not _PROCESS.alone:
        return kernel(*arguments)
    with _PROCESS.running:
        return kernel(*arguments)


def thread_count() -> int:
    """Threads among which a kernel divides its work; they are started by the first call.

    A forked child is told the number of its parent, so that sums are divided alike, and does not ask Numba: another
    thread of the parent may have been inside of Numba's lock.
    """
    if not _PROCESS.forked:
        from numba.np.ufunc import get_num_threads, threading_layer

        with _PROCESS.starting:
            _PROCESS.count = get_num_threads()
            _PROCESS.alone = threading_layer() == "workqueue"
    return _PROCESS.count


@cache
def _blas_libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_blas(counts: list[int]) -> None:
    for library, count in zip(_blas_libraries(), counts, strict=True):
        library.set_num_threads(count)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS has one thread inside, whichever thread of the program is in such a block; may be nested."""
    with _PROCESS.blas:
        if _PROCESS.blas_users == 0:
            _PROCESS.blas_counts = [library.num_threads for library in _blas_libraries()]
            _set_blas([1] * len(_PROCESS.blas_counts))
        _PROCESS.blas_users += 1
        _THREAD.blas_depth += 1
    try:
        yield
    finally:
        with _PROCESS.blas:
            _THREAD.blas_depth -= 1
            _PROCESS.blas_users -= 1
            if _PROCESS.blas_users == 0:
                _set_blas(_PROCESS.blas_counts)


@contextmanager
def all_blas_threads() -> Iterator[None]:
    """Within `one_blas_thread`: a product large enough to be worth all of BLAS's threads."""
    _set_blas(_PROCESS.blas_counts)
    try:
        yield
    finally:
        _set_blas([1] * len(_PROCESS.blas_counts))


@cache
def watch_forks() -> None:
    """Prepare this process for forks, once."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)


KERNELS: list[tuple[Any, Callable[[], Any]]] = []  # every parallel kernel, and what gives its serial version

_HELD: list[Any] = []  # locks that the forking thread holds meanwhile


def _before() -> None:
    """No fork while another thread starts threads or compiles: its locks would stay locked in the child for ever.

    What has run here is compiled for children first: once, not by every child while somebody waits for it.
    """
    for kernel, serial in KERNELS:
        for signature in kernel.signatures:
            serial().compile(signature)
    held = [_PROCESS.starting]
    if compiler := sys.modules.get("numba.core.compiler_lock"):
        held.append(compiler.global_compiler_lock)
    for lock in held:
        lock.acquire()
    _HELD.append(held)


def _after() -> None:
    for lock in reversed(_HELD.pop()):
        lock.release()


def _in_child() -> None:
    """The only thread is the one that forked: what others held or had entered is over."""
    _after()
    _PROCESS.forked = _PROCESS.forked or _threads_started()
    _PROCESS.count = _parent_count() if _PROCESS.forked else 0
    _PROCESS.running, _PROCESS.blas = threading.RLock(), threading.RLock()
    others = _PROCESS.blas_users > _THREAD.blas_depth
    _PROCESS.blas_users = _THREAD.blas_depth
    if others and not _PROCESS.blas_users:
        _set_blas(_PROCESS.blas_counts)


def _parent_count() -> int:
    """Threads of a kernel in the parent; where only the program's own kernels ran there, what Numba was told."""
    from numba import config

    return _PROCESS.count or int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def _threads_started() -> bool:
    """Whether Numba has threads, of kernels here or of the program's own."""
    if "numba.np.ufunc.parallel" not in sys.modules:
        return False
    from numba.np.ufunc import threading_layer

    try:
        threading_layer()
    except ValueError:
        return False
    return True
