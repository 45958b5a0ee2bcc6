"""What is kept of a record while it is measured, so that a run that was killed goes on inside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from validation.errors import StorageError

from .deadline import Deadline
from .directory import RunDirectory

Array = np.ndarray[Any, Any]
COST = 20.0  # a state is not saved before this many times the seconds that saving it took have passed


class Resumable(Protocol):
    """A long computation in steps: `simulator.Lanczos`, `measurements.moments.MomentProbes`."""

    def advance(self) -> int: ...

    def state(self) -> dict[str, Array]: ...

    def restore(self, state: Mapping[str, Array]) -> None: ...


class Stages:
    """A record made stage by stage; this one is kept nowhere.

    ``record`` is what is known so far, under "stages" the names of what is done; ``seconds_before`` what that took.
    """

    def __init__(self) -> None:
        self.record: dict[str, Any] = {}
        self.seconds_before = 0.0

    def keep(self) -> None:
        """Another part of the record is there."""

    def complete(self, name: str) -> None:
        """A stage is done."""
        self.record.setdefault("stages", []).append(name)
        self.keep()

    def done(self, name: str) -> bool:
        return name in self.record.get("stages", ())

    def run(self, name: str, computation: Resumable, progress: Callable[[int], object]) -> None:
        """A computation from where it was left to its end."""
        while count := computation.advance():
            progress(count)

    def forget(self, name: str) -> None:
        """The inside of a computation is needed no longer."""


class KeptStages(Stages):
    """`Stages` kept in the folder of a run: after every part of the record, every `seconds` inside a computation.

    Where `deadline` has passed, `StoppedError` follows what was kept.
    """

    def __init__(self, directory: RunDirectory, epoch: int, seconds: float, deadline: Deadline | None = None) -> None:
        super().__init__()
        self._deadline = Deadline() if deadline is None else deadline
        self._directory, self._epoch, self._seconds = directory, epoch, seconds
        self._begun = time.perf_counter()
        self.record = directory.load_record(epoch)
        self.seconds_before = self.record.get("seconds", 0.0)

    def keep(self) -> None:
        self.record["seconds"] = round(self.seconds_before + time.perf_counter() - self._begun, 2)
        self._directory.save_record(self._epoch, self.record)
        self._deadline.check()

    def run(self, name: str, computation: Resumable, progress: Callable[[int], object]) -> None:
        state = self._directory.load_step(name, self._epoch)
        if state is not None:
            self._restore(name, computation, state)
        saved, wait = time.perf_counter(), self._seconds
        while count := computation.advance():
            progress(count)
            now = time.perf_counter()
            if now - saved >= wait or self._deadline.passed:
                self._directory.save_step(name, self._epoch, computation.state())
                self._deadline.check()
                saved = time.perf_counter()
                wait = max(self._seconds, COST * (saved - now)) if self._seconds else 0.0
        self._directory.save_step(name, self._epoch, computation.state())

    def _restore(self, name: str, computation: Resumable, state: Mapping[str, Array]) -> None:
        try:
            computation.restore(state)
        except (KeyError, ValueError) as error:
            path = self._directory.step_path(name, self._epoch)
            raise StorageError(f"checkpoint {path} cannot be used ({error}): remove it, or start anew") from None

    def forget(self, name: str) -> None:
        self._directory.forget_step(name, self._epoch)
