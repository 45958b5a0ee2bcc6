"""The end of every run: what was measured goes to its JSON file first, then the page, then the figures' files.

A figure that cannot be drawn, for whatever reason, or cannot be saved, is named in the report and on stderr; the page
names those that it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validation.errors import StorageError
from validation.run.command import Clock, one_line
from validation.run.console import Stage, complain
from validation.run.storage import write_bytes, write_json

if TYPE_CHECKING:
    from .drawing import Picture

Data = dict[str, Any]
Figures = Callable[[], Mapping[str, Callable[[Any], Any]]]  # imports matplotlib when it is called
EVERY = "all figures"


def finish(
    folder: Path,
    name: str,
    data: Data,
    figures: Figures,
    render: Callable[[Data, dict[str, bytes]], str],
    clock: Clock | None = None,
) -> None:
    """Write `name`.json, `name`.html and figures/*.png; ``data["figures_missing"]`` gets a reason for every figure.

    Where the folder has no room for the figures' files they are in the page all the same. `StorageError`: the report
    or the page cannot be written; files that were there before still stand.
    """
    report = folder / f"{name}.json"
    data["figures_missing"] = {}
    _time(data, clock)
    write_json(report, data)
    pictures, missing = draw(figures, data)
    if clock is not None:
        clock.lap("figures")
        _time(data, clock)
    data["figures_missing"] = missing
    write_json(report, data)
    write_bytes(folder / f"{name}.html", render(data, {name: made.svg for name, made in pictures.items()}).encode())
    if unsaved := _save(folder / "figures", pictures):
        data["figures_missing"] = missing | unsaved
        write_json(report, data)
    if data["figures_missing"]:
        said = "; ".join(f"{figure} ({reason})" for figure, reason in data["figures_missing"].items())
        complain(one_line(f"figures missing: {said}; {report} and its page are complete"))


def _time(data: Data, clock: Clock | None) -> None:
    if clock is not None:
        data["seconds"] = {stage: round(seconds, 2) for stage, seconds in clock.seconds.items()}


def draw(figures: Figures, data: Data) -> tuple[dict[str, Picture], dict[str, str]]:
    """The figures that can be drawn, and the reasons of those that cannot, by name."""
    pictures: dict[str, Picture] = {}
    missing: dict[str, str] = {}
    with Stage("drawing", unit="figures") as stage:
        try:
            from .drawing import both

            chosen = figures()
        except Exception as error:  # matplotlib is broken, or refuses a setting of the user's
            return {}, {EVERY: _reason(error)}
        for name, figure in chosen.items():
            try:
                pictures[name] = both(figure, data)
            except Exception as error:  # a figure is not worth a run
                missing[name] = _reason(error)
            stage.update()
    return pictures, missing


def _save(folder: Path, pictures: Mapping[str, Picture]) -> dict[str, str]:
    """Write the files; the reasons of those that could not be written, by name."""
    unsaved = {}
    for name, made in pictures.items():
        try:
            folder.mkdir(exist_ok=True)
            write_bytes(folder / f"{name}.png", made.png)
        except (OSError, StorageError) as error:
            unsaved[name] = _reason(error)
    return unsaved


def _reason(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}", 300)
