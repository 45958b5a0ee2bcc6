"""What the command lines share: exit statuses, errors of one line, a clock of their stages.

Only the standard library is imported at once: `prepare_command` must stand before the imports that take time.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from .console import complain, fill_closed_descriptors, say, say_compilation
from .origin import check_packages

EXIT_FACT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_STOPPED = 1, 2, 3, 4
EXIT_UNEXPECTED, EXIT_INTERRUPTED = 70, 130  # 70: EX_SOFTWARE of sysexits.h
Report = TypeVar("Report")


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers bad usage by one line on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        complain(f"{self.prog}: {one_line(message)} (see --help)")
        raise SystemExit(EXIT_USAGE)

    def add_cells(self, name: str, unit: str = "cells") -> None:
        """The options of a run that keeps each cell as it is finished, with the word of its command."""
        self.add_argument("--backend", help="numba (default), numpy or cupy")
        self.add_argument("--workers", type=int, metavar="K", help="local processes (default: one for each core)")
        self.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler instead, such as tcp://host:8786")
        self.add_argument("--out", metavar="DIR", help=f"default: runs/{name}, and what was chosen")
        self.add_argument("--resume", action="store_true", help=f"keep the finished {unit} in --out; there may be more")

    def add_whole(self, name: str, quick: str) -> None:
        """The options of a run that computes at once all that it reports, `WholeOptions`; `quick` says what is less."""
        self.add_argument("--backend", help="numba (default), numpy or cupy")
        self.add_argument("--seed", type=int, default=0)
        place = f"a new or empty folder (default: runs/{name}, and what was chosen)"
        self.add_argument("--out", metavar="DIR", help=place)
        self.add_argument("--quick", action="store_true", help=f"a short run: {quick}")

    def print_help(self, file: Any = None) -> None:
        if file is None:
            say(self.format_help().rstrip("\n"))
        else:
            super().print_help(file)


def stop(program: str, message: object, status: int) -> int:
    """Say on one line of stderr why a program ends, and return its exit status."""
    complain(f"{program}: {one_line(message)}")
    return status


def prepare_command(package: str) -> None:
    """Called by `package` as it is imported, before anything that takes time; raises `ImportError` (`check_packages`).

    Where one of its modules is being started by ``python -m``: what ends it from now on ends it by one line of stderr
    and its exit status. Ctrl-C during the imports may come out of a compiled module as any error, so the process is
    ended there and then; nothing has been done yet. `exit_status` takes over.
    """
    program = _started()
    if program is None or not program.startswith(f"{package}."):
        check_packages()
        return

    def leave(*_: object) -> None:
        os.write(2, f"{program}: interrupted before it began\n".encode())
        os._exit(EXIT_INTERRUPTED)

    def fail(kind: type[BaseException], error: BaseException, _: object) -> None:
        if issubclass(kind, KeyboardInterrupt):
            leave()
        os._exit(unexpected(program, error))  # Python itself would end with status 1

    fill_closed_descriptors()
    # A command shows no window, and a name that matplotlib does not know would keep it from being imported.
    os.environ["MPLBACKEND"] = "agg"
    sys.excepthook = fail
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    try:
        check_packages()
    except ImportError as error:
        raise SystemExit(stop(program, error, EXIT_USAGE)) from None


def _started() -> str | None:
    """The module that ``python -m`` is looking for at this moment."""
    if sys.argv[:1] != ["-m"]:
        return None
    words = iter(sys.orig_argv[1:])
    for word in words:
        if word.startswith("-m"):
            return word[2:] or next(words, None)
    return None


def exit_status(
    program: str,
    job: Callable[[], Report],
    conclude: Callable[[Report], int],
    *,
    interrupted: str = "nothing was written",
    diverged: str = "nothing was written",
) -> int:
    """Run a job and what follows it; its exit status, errors said on one line of stderr.

    `conclude` prints the outcome and gives the status of a job that came to its end; `interrupted` and `diverged` say
    what one that did not has left. ``{folder}`` in them is the folder it held; where it held none, nothing was written.
    """
    from simulator import TrainingDivergedError
    from validation.errors import StoppedError

    from .folder import forget_held

    say_compilation()
    pressed: list[int] = []

    def interrupt(number: int, _: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    forget_held()
    try:
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGINT, interrupt)
        return conclude(job())
    except TrainingDivergedError as error:
        return stop(program, f"{error}; {_left(diverged)}", EXIT_DIVERGED)
    except StoppedError as error:
        return stop(program, f"{error}: {_left(interrupted)}", EXIT_STOPPED)
    except KeyboardInterrupt:
        return stop(program, f"interrupted: {_left(interrupted)}", EXIT_INTERRUPTED)
    except Exception as error:
        if pressed:  # inside a compiled module an interrupt may come out as another error
            return stop(program, f"interrupted: {_left(interrupted)}", EXIT_INTERRUPTED)
        return stop(program, error, EXIT_USAGE) if _of_the_user(error) else unexpected(program, error)


def _left(words: str) -> str:
    """What a job that did not come to its end has left, with the name of its folder."""
    from .folder import held

    if "{folder}" not in words:
        return words
    return "nothing was written" if (folder := held()) is None else words.replace("{folder}", str(folder))


def _of_the_user(error: Exception) -> bool:
    """Whether options, data, files or the machine are the reason.

    Once a run holds its folder all of these have errors of their own: another `ValueError` from then on is a bug.
    """
    from backends import BackendUnavailableError
    from validation.errors import ClusterError, DataError, OptionError, StorageError, WeightsError

    from .folder import held

    named = (OptionError, DataError, WeightsError, StorageError, ClusterError, BackendUnavailableError)
    return isinstance(error, (*named, OSError, MemoryError)) or (isinstance(error, ValueError) and held() is None)


def unexpected(program: str, error: BaseException) -> int:
    """Keep the traceback of an error that nobody foresaw, say where, and return its exit status."""
    text = "".join(traceback.format_exception(error))
    said = f"unexpected error, please report it ({type(error).__name__}: {one_line(error, 300)})"
    try:
        return stop(program, f"{said}: its traceback is in {_kept(text)}", EXIT_UNEXPECTED)
    except OSError:
        complain(text)
        return stop(program, said, EXIT_UNEXPECTED)


def _kept(text: str) -> Path:
    """A file with the text: in the folder of the run, or where nothing was begun there one of the system's."""
    from .folder import TRACEBACK, held

    content = text.encode("utf-8", "backslashreplace")
    try:
        if (folder := held()) is not None:
            (folder / TRACEBACK).write_bytes(content)
            return folder / TRACEBACK
    except OSError:  # no room there
        pass
    handle, name = tempfile.mkstemp(prefix="umwelt-traceback-", suffix=".txt")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    return Path(name)


def one_line(message: object, most: int = 800) -> str:
    """A message on one line; from a longer one, such as an absurd value, the middle is left out."""
    text = " ".join(str(message).split())
    return text if len(text) <= most else f"{text[: most // 2]} [...] {text[-most // 2 :]}"


class Clock:
    """Seconds per stage, printed as they pass; ``cpu`` is the processor's own time, which a busy machine stretches."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.perf_counter()
        self._cpu = time.process_time()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self.seconds |= {"total": now - self._start, "cpu": time.process_time() - self._cpu}
        self._last = now
        say(f"{stage:<10} {self.seconds[stage]:6.1f} s")
