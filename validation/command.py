"""What the command lines share: exit statuses, errors of one line, a clock of their stages."""

from __future__ import annotations

import argparse
import sys
import time
from typing import NoReturn

EXIT_FACT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_STOPPED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers bad usage by one line on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def stop(program: str, message: object, status: int) -> int:
    """Say on one line of stderr why a program ends, and return its exit status."""
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
    return status


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
