"""Numba's `njit` as the kernels here use it: kept on disk where that is possible, launched where threads can be.

A compiled kernel is kept in the folder that Numba chooses: ``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the source,
else the user's cache folder. Differences from Numba's own cache:

- where nothing can be kept (no folder can be written, the disk is full, files of another user are in the way), kernels
  are compiled in every process, and one warning says so;
- what is kept is valid for the sources of all kernels together, since a kernel contains those that it calls;
- every entry says what it was compiled for and carries a checksum. Processes that compile at the same time may take the
  same name for two entries, and a file may be damaged: such an entry is compiled again and replaced.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.serialize import dumps, loads

from . import threads as numba_threads

Function = Callable[..., Any]
LOGGER = "umwelt.kernels"


def njit(*, parallel: bool = False, cache: bool = False, **options: Any) -> Callable[[Function], Any]:
    """`numba.njit` with this package's cache.

    A `parallel` kernel is called from Python only. It goes through `numba_threads.launch`, which runs it on all
    threads, on all threads but one kernel at a time, or in a serial version of it.
    """

    def decorate(function: Function) -> Any:
        kernel = _compiled(function, parallel, cache, options)
        if not parallel:
            return kernel
        serial = functools.cache(lambda: _compiled(_renamed(function), False, cache, options))
        numba_threads.KERNELS.append((kernel, serial))

        @functools.wraps(function)
        def launch(*arguments: Any) -> Any:
            return numba_threads.launch(kernel, serial, arguments)

        return launch

    return decorate


def _renamed(function: Function) -> Function:
    """The same function under another name, which the cache keeps apart."""
    assert isinstance(function, types.FunctionType)
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
    made.__qualname__, made.__module__ = f"{function.__qualname__}_serial", function.__module__
    return made


def _compiled(function: Function, parallel: bool, cache: bool, options: dict[str, Any]) -> Any:
    kernel = numba.njit(parallel=parallel, **options)(function)
    if cache:
        try:
            kernel._cache = KernelCache(function)  # what its own `enable_caching` does
        except (RuntimeError, OSError) as error:
            _say_uncached(error)
    return kernel


class KernelCache(FunctionCache):
    """The compiled versions of one kernel on disk; a disk that fails costs compiling again, never the result."""

    def __init__(self, function: Function) -> None:
        super().__init__(function)
        stamp = (self._impl.locator.get_source_stamp(), _sources_digest())
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The version of a signature, or None: compile it."""
        try:
            found = super().load_overload(sig, target_context)
            if found is not None:
                return found
        except OSError as error:
            self._give_up(error)
        except Exception:  # damaged bytes make pickle raise anything
            self._empty()
        _say_compiling()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a version that was just compiled."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._give_up(error)
        except Exception:  # a damaged index, as above: this version is kept by the next process
            self._empty()

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        if not self._enabled:
            return None
        key = self._index_key(sig, target_context.codegen())
        stored = self._cache_file.load(key)
        if stored is None:
            return None
        made_for, digest, content = stored
        if made_for != key or digest != hashlib.sha256(content).digest():
            return None
        return self._impl.rebuild(target_context, loads(content))

    def _save_overload(self, sig: Any, data: Any) -> None:
        if not self._enabled or not self._impl.check_cachable(data):
            return
        self._impl.locator.ensure_cache_path()
        key = self._index_key(sig, data.codegen)
        content = dumps(self._impl.reduce(data))
        self._cache_file.save(key, (key, hashlib.sha256(content).digest(), content))

    def _empty(self) -> None:
        try:
            self.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.disable()
        _say_uncached(error)


@functools.cache
def _sources_digest() -> bytes:
    """Of every module in this folder and below: where they cannot be listed, a kernel's own source must do."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.digest()


@functools.cache
def _say_compiling() -> None:
    """Once in a process, before the first kernel that is not on disk is compiled."""
    logging.getLogger(LOGGER).info("compiling kernels for this machine, which are kept on disk: up to a minute, once")


def _say_uncached(error: Exception) -> None:
    global _said
    if _said:
        return
    _said = True
    reason, where = "no folder can be written", ""
    if isinstance(error, OSError):
        reason, where = error.strerror or str(error), f": '{error.filename}'" if error.filename else ""
    warnings.warn(
        f"compiled kernels cannot be kept on disk ({reason}{where}): this process compiles those that it needs, which "
        "takes up to a minute; set the environment variable NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )


_said = False
