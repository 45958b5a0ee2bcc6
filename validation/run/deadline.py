"""A time after which a run stops by itself, between two steps that are on disk, to be resumed later."""

from __future__ import annotations

import math
import time

from validation.errors import StoppedError


class Deadline:
    """`seconds` from now, None: never."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = math.inf if seconds is None else seconds
        self._end = time.monotonic() + self.seconds

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end

    def check(self) -> None:
        """Raise `StoppedError` once the time has passed."""
        if self.passed:
            raise StoppedError(f"stopped after {self.seconds:g} seconds, as --stop-after asks")
