"""What the command lines share: exit statuses, and errors of one line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

EXIT_FACT_FAILED, EXIT_USAGE, EXIT_DIVERGED, EXIT_INTERRUPTED = 1, 2, 3, 130


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers bad usage by one line on stderr, exit status 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def stop(program: str, message: object, status: int) -> int:
    """Say on one line of stderr why a program ends, and return its exit status."""
    print(f"{program}: {' '.join(str(message).split())}", file=sys.stderr)
    return status
