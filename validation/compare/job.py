"""The main job, with one seed or several."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from simulator import Network
from validation.errors import OptionError

from .options import Options
from .report import Report
from .seeds import compare_seeds
from .single import compare_one


def compare(**options: Any) -> Report:
    """Run the main job; the options are those of the command line, None where a default depends on others.

    `data` may be arrays too, (x, y) or (x, y, x_test, y_test): inputs (m, n) or (m, height, width, channels), which are
    taken as they are, and labels of any two values, of which the smaller is -1. `network` may be a `simulator.Network`,
    and `weights` what `load_weights` takes or a list of arrays, one for each layer; so what `from_torch` returns is
    measured by ``compare(data=(x, y), network=network, weights=weights, epochs=0)``. A run is resumed only with the
    same arrays.

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


def _parameters() -> Iterator[inspect.Parameter]:
    given = {"data": str | os.PathLike[str] | Sequence[Any], "network": str | Network, "weights": Any}
    hints: dict[str, Any] = get_type_hints(Options) | given
    several = {"seeds": Sequence[int] | None, "workers": int | None, "scheduler": str | None}
    for field in fields(Options):
        yield inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
    for name, wanted in several.items():
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=wanted)


compare.__signature__ = inspect.Signature(list(_parameters()), return_annotation=Report)  # type: ignore[attr-defined]
