"""What the command lines share: exit statuses, errors of one line, a clock of their stages, the files of a report.

Only the standard library is imported at once: `catch_interrupts` must stand before the imports that take time.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

EXIT_FACT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_STOPPED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
Report = TypeVar("Report")


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers bad usage by one line on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {one_line(message)} (see --help)", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def stop(program: str, message: object, status: int) -> int:
    """Say on one line of stderr why a program ends, and return its exit status."""
    print(f"{program}: {one_line(message)}", file=sys.stderr)
    return status


def catch_interrupts(package: str) -> None:
    """Where a module of `package` is being started by ``python -m``: Ctrl-C during its imports ends it by one line.

    An interrupt inside the import of a compiled module may come out as any error, so the process is ended there and
    then; nothing has been done yet. `exit_status` takes over.
    """
    program = _started()
    if program is None or not program.startswith(f"{package}."):
        return

    def leave(*_: object) -> None:
        os.write(2, f"{program}: interrupted before it began\n".encode())
        os._exit(EXIT_INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)


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
    what one that did not has left.
    """
    from backends import BackendUnavailableError
    from simulator import TrainingDivergedError

    from .deadline import StoppedError

    pressed: list[int] = []

    def interrupt(number: int, _: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    try:
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGINT, interrupt)
        return conclude(job())
    except TrainingDivergedError as error:
        return stop(program, f"{error}; {diverged}", EXIT_DIVERGED)
    except StoppedError as error:
        return stop(program, f"{error}: {interrupted}", EXIT_STOPPED)
    except KeyboardInterrupt:
        return stop(program, f"interrupted: {interrupted}", EXIT_INTERRUPTED)
    except Exception as error:
        if pressed:  # inside a compiled module an interrupt may come out as another error
            return stop(program, f"interrupted: {interrupted}", EXIT_INTERRUPTED)
        # Options, data and files that cannot be used are ValueErrors of their own; a closed stdout is an OSError.
        if isinstance(error, (ValueError, OSError, MemoryError, BackendUnavailableError)):
            return stop(program, error, EXIT_USAGE)
        raise


def write_report(
    folder: Path,
    name: str,
    data: dict[str, Any],
    figures: Mapping[str, Callable[[Any], Any]],
    render: Callable[[dict[str, Any], dict[str, bytes]], str],
    clock: Clock,
) -> None:
    """Figures, then `name`.json and `name`.html, which tell how long all of it took."""
    from .drawing import save_figures
    from .storage import write_atomic, write_json

    pictures = {key: path.read_bytes() for key, path in save_figures(figures, data, folder / "figures").items()}
    clock.lap("figures")
    data["seconds"] = {stage: round(seconds, 2) for stage, seconds in clock.seconds.items()}
    write_json(folder / f"{name}.json", data)
    page = render(data, pictures).encode()
    write_atomic(folder / f"{name}.html", lambda stream: stream.write(page))


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
        print(f"{stage:<10} {self.seconds[stage]:6.1f} s", flush=True)
