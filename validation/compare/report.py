"""A finished comparison as an object: its numbers, where it lies, and what it shows of itself."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.errors import StorageError
from validation.report.finished import as_html, as_text, counts
from validation.run.storage import REPORT_SCHEMA, read_json
from validation.statistics.claim import failed
from validation.statistics.estimate import written

from .answer import answer

NAMES = ("report.json", "seeds.json")


@dataclass(frozen=True, repr=False)
class Report:
    """A finished comparison: ``data`` is the content of report.json, ``path`` the folder it stands in.

    Its `repr` is a few lines; a notebook shows them above the figure of the spectrum.
    """

    data: dict[str, Any]
    path: Path

    @property
    def page(self) -> Path:
        """Of one comparison, or of several seeds together."""
        return self.path / ("seeds.html" if self.data.get("kind") == "seeds" else "report.html")

    @property
    def failed_facts(self) -> list[str]:
        """Exact facts that did not hold; anything here is a bug."""
        return failed(self.data["claims"])

    @property
    def verdicts(self) -> dict[str, int]:
        """How many claims have each verdict."""
        return counts(self.data["claims"])

    def __repr__(self) -> str:
        return as_text("Report", [*headline(self.data), *self._end()])

    def _end(self) -> list[str]:
        counts = ", ".join(f"{verdict}: {count}" for verdict, count in self.verdicts.items())
        failures = [f"EXACT FACTS FAILED: {', '.join(self.failed_facts)}"] if self.failed_facts else []
        return [*failures, f"claims: {counts or 'none'}", f"page: {self.page}"]

    def _repr_html_(self) -> str:
        lines = [*headline(self.data), *self._end()]
        return as_html(lines, _picture(self.data), "Hessian spectra, measured and predicted")


def load_report(path: str | os.PathLike[str]) -> Report:
    """The `Report` of a run that has finished or was stopped: the path of its folder, or of its JSON file.

    Raises `FileNotFoundError` where there is none, and `StorageError` (a `ValueError`) for a file that is damaged or
    no report of `validation.compare`.
    """
    place = Path(path)
    files = [place / name for name in NAMES] if place.is_dir() else [place]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no report in '{place}': name the folder of a run, or its report.json")
    try:
        data = read_json(found)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"'{found}' cannot be read as a report ({reason}): run it again, or name another") from None
    if not {"epochs", "claims", "network", "dataset"} <= data.keys():
        raise StorageError(f"'{found}' is no report of validation.compare: name the folder of such a run")
    if data.get("schema") != REPORT_SCHEMA:
        raise StorageError(f"'{found}' was written by another version (schema {data.get('schema')}): run it again")
    return Report(data, found.parent)


def headline(data: Mapping[str, Any]) -> list[str]:
    """What was looked at, how training ended, and how well the best rung predicts the spectrum."""
    size = data["network"].get("n_weights")
    weights = "" if size is None else f" ({size:,} weights)"
    seeds = f", {len(data['seeds'])} seeds" if data.get("kind") == "seeds" else ""
    lines = [f"{data['network']['name']}{weights} on {data['dataset']['name']}, {data['loss']} loss{seeds}"]
    if not data["epochs"]:
        return [*lines, answer(data)]
    if not data.get("complete", True):
        lines[0] += ", not complete"
    last = data["epochs"][-1]
    test = "" if last.get("test_accuracy") is None else f", test accuracy {_number(last['test_accuracy'])}"
    lines.append(f"epoch {last['epoch']}: risk {_number(last['risk'])}, accuracy {_number(last['accuracy'])}{test}")
    return [*lines, answer(data)]


def _number(value: Any) -> str:
    return written(value) if isinstance(value, Mapping) else f"{value:.4g}"


def _picture(data: Mapping[str, Any]) -> bytes | None:
    """The figure of the spectrum; a report without one, such as that of several seeds, has none."""
    if data.get("kind") == "seeds" or not data["epochs"]:
        return None
    from .figures.spectrum import spectrum

    stream = io.BytesIO()
    spectrum(data).savefig(stream, format="png", dpi=110)
    return stream.getvalue()
