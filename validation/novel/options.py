"""The options of `python -m validation.novel`, checked before any work is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from simulator.training.descent import check_schedule
from validation.data import KINDS
from validation.errors import OptionError

from .cell import BATCHES, CONTROL, CellOptions, Record, cell_name

DEFAULTS: dict[str, Any] = {"widths": (16.0, 32.0, 64.0, 128.0), "seeds": (0, 1, 2, 3, 4, 5)}
QUICK: dict[str, Any] = {"widths": (16.0, 48.0), "seeds": (0, 1), "rounds": 2, "examples": 100, "novel": 20}
ROUNDS, EXAMPLES, NOVEL = 6, 200, 40


@dataclass(frozen=True)
class NovelOptions(CellOptions):
    """What the command line takes; None: the default, which `quick` makes smaller."""

    # A study grows in its folder by more widths and seeds.
    ELSEWHERE = ("out", "resume", "workers", "scheduler", "widths", "seeds")

    LEAST = {  # noqa: RUF012
        "examples": 2, "novel": 1, "rounds": 1, "updates": 1, "batch_size": 1, "probes": 2, "steps": 2,
    }  # fmt: skip

    examples: int | None = None  # type: ignore[assignment]
    novel: int | None = None  # type: ignore[assignment]
    rounds: int | None = None  # type: ignore[assignment]
    widths: Sequence[float] | None = None
    seeds: Sequence[int] | None = None
    workers: int | None = None
    scheduler: str | None = None
    out: str | None = None
    resume: bool = False
    quick: bool = False

    def completed(self) -> NovelOptions:
        """Defaults filled in, values checked."""
        given = DEFAULTS | {"rounds": ROUNDS, "examples": EXAMPLES, "novel": NOVEL} | (QUICK if self.quick else {})
        done = replace(self, **{k: v for k, v in given.items() if getattr(self, k) is None}, out=self.folder("novel"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        for name, least in (("widths", 0), ("seeds", 0)):
            values = tuple(getattr(self, name))
            wrong = any(not math.isfinite(v) or v < least or (name == "widths" and v == 0) for v in values)
            if not values or wrong or len(set(values)) < len(values):
                text = ",".join(f"{v:g}" for v in values)
                expected = "different numbers > 0" if name == "widths" else "different integers >= 0"
                raise OptionError(f"--{name} {text}: expected {expected}, at least one")
        if not self.kinds or set(self.kinds) - set(KINDS) or len(set(self.kinds)) < len(self.kinds):
            text = ",".join(self.kinds)
            raise OptionError(f"--kinds {text}: expected different ones of {', '.join(KINDS)}, at least one")
        if set(self.kinds) == {CONTROL}:
            raise OptionError(f"--kinds {CONTROL}: expected same or new beside it, since it is their control")
        if self.batch not in BATCHES:
            raise OptionError(f"--batch {self.batch}: expected {' or '.join(BATCHES)}")
        if "{}" not in self.network and len(tuple(self.widths or ())) > 1:
            raise OptionError(f"--network {self.network}: expected {{}} where one of the several --widths is to stand")
        try:
            check_schedule(self.learning_rate, self.momentum)
        except ValueError as error:
            raise OptionError(str(error)) from None

    @property
    def cell_options(self) -> Record:
        """What decides the content of a cell."""
        values = {f.name: getattr(self, f.name) for f in fields(CellOptions)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @property
    def tasks(self) -> dict[str, tuple[float, int]]:
        """(width, seed) of every cell by its name, the widest first: the end then keeps all workers busy."""
        grid = [(n, s) for n in self.widths or () for s in self.seeds or ()]
        return {cell_name(*place): place for place in sorted(grid, key=lambda p: (-p[0], p[1]))}

    def record(self) -> Record:
        """For the report."""
        values = asdict(self)
        for name in ("out", "resume", "workers", "scheduler"):
            values.pop(name)
        return {k: list(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
