"""Where pages and figures take their numbers from: a finished run, its data, or the path of its report.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

Report = Mapping[str, Any]


class HasData(Protocol):
    """A finished run, such as `validation.Report`."""

    @property
    def data(self) -> dict[str, Any]:
        """The content of report.json."""


Source = Report | HasData | str | os.PathLike[str]  # where a figure takes its numbers from


def content(report: Source) -> Report:
    """The numbers of a report: a mapping as it is, the `data` of a `Report`, or a report.json by its path.

    The path may be that of the run's folder. Raises `TypeError` for anything else, `FileNotFoundError` where no
    report is and `ValueError` for a file that holds none.
    """
    if isinstance(report, str | os.PathLike):
        return _read(Path(report))
    data = getattr(report, "data", report)
    if not isinstance(data, Mapping):
        raise TypeError(
            f"expected a report, its data or the path of a report.json, got {type(report).__name__}: "
            "pass what validation.compare returned or wrote"
        )
    return data


def _read(path: Path) -> Report:
    file = path / "report.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} does not exist: name a report.json or the folder of a run") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}): name a report.json or the folder of a run") from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{file} holds a {type(data).__name__}, expected the mapping of a report: name a report.json")
    return data
