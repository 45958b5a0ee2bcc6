"""The options of `python -m validation.novel`, checked before any work is done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from validation.data import KINDS
from validation.errors import OptionError

from .cell import BATCHES, CONTROL, CellOptions, cell_name

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
        done = replace(self.filled(given), out=self.folder("novel"))
        done.check()
        return done

    def check(self) -> None:
        """Raise `OptionError` for a value that no run could use."""
        self.check_integers()
        widths = tuple(self.widths or ())
        if not widths or any(not math.isfinite(w) or w <= 0 for w in widths) or len(set(widths)) < len(widths):
            text = ",".join(f"{w:g}" for w in widths)
            raise OptionError(f"--widths {text}: expected different numbers > 0, at least one")
        self.check_different("seeds", 0)
        if not self.kinds or set(self.kinds) - set(KINDS) or len(set(self.kinds)) < len(self.kinds):
            text = ",".join(self.kinds)
            raise OptionError(f"--kinds {text}: expected different ones of {', '.join(KINDS)}, at least one")
        if set(self.kinds) == {CONTROL}:
            raise OptionError(f"--kinds {CONTROL}: expected same or new beside it, since it is their control")
        if self.batch not in BATCHES:
            raise OptionError(f"--batch {self.batch}: expected {' or '.join(BATCHES)}")
        if "{}" not in self.network and len(tuple(self.widths or ())) > 1:
            raise OptionError(f"--network {self.network}: expected {{}} where one of the several --widths is to stand")
        self.check_schedule()

    @property
    def names(self) -> list[str]:
        """The cells in the order of the report."""
        return [cell_name(n, s) for n in self.widths or () for s in self.seeds or ()]

    @property
    def tasks(self) -> dict[str, tuple[float, int]]:
        """(width, seed) of every cell by its name, the widest first: the end then keeps all workers busy."""
        grid = [(n, s) for n in self.widths or () for s in self.seeds or ()]
        return {cell_name(*place): place for place in sorted(grid, key=lambda p: (-p[0], p[1]))}
