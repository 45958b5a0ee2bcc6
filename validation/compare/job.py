"""The main job, with one seed or several."""

from __future__ import annotations

from typing import Any

from validation.errors import OptionError

from .seeds import compare_seeds
from .single import Report, compare_one


def compare(**options: Any) -> Report:
    """Run the main job; the options are those of `validation.compare.options.Options` and of the command line.

    Raises `OptionError`, `DataError`, `WeightsError`, `StorageError`, `BackendUnavailableError` (all before any work is
    done), `StoppedError` (`stop_after`) and `simulator.TrainingDivergedError`, after which what was recorded is on
    disk. With `seeds`: `compare_seeds`.
    """
    over_seeds = {name: options.pop(name, None) for name in ("seeds", "workers", "scheduler")}
    if over_seeds["seeds"] is not None:
        return compare_seeds(**over_seeds, **options)
    if given := [name for name, value in over_seeds.items() if value is not None]:
        raise OptionError(f"--{given[0]} {over_seeds[given[0]]}: it is for several --seeds, give them too")
    return compare_one(**options)
