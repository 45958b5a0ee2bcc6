"""The folder of a run: its report, its checkpoints, and what is kept of a record that is being measured.

DIR/report.json                   the report so far, rewritten after every record
DIR/checkpoints/epoch-NNNN.npz    training state after an epoch
DIR/checkpoints/record-NNNN.json  what is known of the record of an epoch that is not in the report yet
DIR/checkpoints/STEP-NNNN.npz     the inside of a step of that record: "lanczos", "moments"
DIR/checkpoints/forecast.npz      what was predicted of the training before it began

Those of a record are gone once the record is in the report. Every file carries a checksum, and names the run it is of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from validation.errors import StorageError

from .folder import locked, make_folder
from .storage import REPORT_SCHEMA, Array, read_arrays, read_json, remove_partial, write_arrays, write_json

CHECKPOINT_FORMAT = 2
HISTORY = ("epoch", "risk", "accuracy")


@dataclass(frozen=True)
class Checkpoint:
    """Training state after ``epoch``: ``weights``, ``velocity``, and the ``history`` (epoch, risk, accuracy) so far."""

    epoch: int
    weights: list[Array]
    velocity: list[Array]
    history: dict[str, list[float]]


class RunDirectory:
    """DIR of a run, held against other jobs from `open` to the end of its ``with`` block."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.report_path = self.root / "report.json"
        self.checkpoints = self.root / "checkpoints"
        self._run = ""  # names the run in its checkpoints
        self._held = ExitStack()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def open(self, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
        """Make and hold the folder; the report so far when a run is resumed, None for a new one.

        A folder that holds a run is refused unless it is the same one and `resume` is set; so is one in use.
        """
        make_folder(self.root)
        self._held.enter_context(locked(self.root))
        make_folder(self.root, "checkpoints")
        self._run = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        if not self.report_path.exists():
            if self.last_epoch() is not None:
                raise StorageError(f"--out {self.root} holds checkpoints without a report: name another folder")
            return None
        if not resume:
            raise StorageError(f"--out {self.root} holds a run already: add --resume to go on, or name another folder")
        report = self.read_report()
        differing = sorted(k for k in identity if report["options"].get(k) != identity[k])
        if differing:
            raise StorageError(
                f"--out {self.root} holds another run (it differs in {', '.join(differing)}): name another folder"
            )
        self._tidy({record["epoch"] for record in report["epochs"]})
        return report

    def _tidy(self, recorded: Collection[int]) -> None:
        """Remove what a killed process left half written, or did not come to remove."""
        for folder in (self.root, self.checkpoints, self.root / "figures"):
            remove_partial(folder)
        for epoch in recorded:
            self.forget_record(epoch)

    def read_report(self) -> dict[str, Any]:
        """The report as it stands; `StorageError` where it is not one of ours, or damaged."""
        try:
            report = read_json(self.report_path)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.report_path} cannot be read ({error}): name another folder") from None
        if not _is_report(report):
            raise StorageError(f"{self.report_path} is not a report of schema {REPORT_SCHEMA}: name another folder")
        return report

    def checkpoint_path(self, epoch: int) -> Path:
        return self.checkpoints / f"epoch-{epoch:04d}.npz"

    def save_checkpoint(self, state: Checkpoint, kept: Collection[int] | None = None) -> None:
        """Write the state, arrays only; with `kept`, older states than this of other epochs are removed then."""
        arrays: dict[str, Any] = {f"weights_{i}": w for i, w in enumerate(state.weights)}
        arrays |= {f"velocity_{i}": v for i, v in enumerate(state.velocity)}
        arrays |= {f"history_{name}": np.asarray(state.history[name]) for name in HISTORY}
        self._write(self.checkpoint_path(state.epoch), arrays, state.epoch)
        for epoch in self._epochs() if kept is not None else ():
            if epoch < state.epoch and epoch not in (kept or ()):
                self.checkpoint_path(epoch).unlink(missing_ok=True)

    def load_checkpoint(self, epoch: int) -> Checkpoint:
        """The state after an epoch; `StorageError` names a file that is damaged or foreign."""
        path = self.checkpoint_path(epoch)
        data = self._read(path, epoch)
        try:
            depth = sum(name.startswith("weights_") for name in data)
            return Checkpoint(
                epoch,
                [data[f"weights_{i}"] for i in range(depth)],
                [data[f"velocity_{i}"] for i in range(depth)],
                {name: data[f"history_{name}"].tolist() for name in HISTORY},
            )
        except KeyError as error:
            raise _unusable(path, f"{error} is missing") from None

    def last_epoch(self) -> int | None:
        """The epoch of the newest checkpoint."""
        return max(self._epochs(), default=None)

    def _epochs(self) -> list[int]:
        epochs = [path.stem.removeprefix("epoch-") for path in self.checkpoints.glob("epoch-*.npz")]
        return [int(epoch) for epoch in epochs if epoch.isdecimal()]

    def step_path(self, name: str, epoch: int) -> Path:
        return self.checkpoints / f"{name}-{epoch:04d}.npz"

    def save_step(self, name: str, epoch: int, arrays: Mapping[str, Array]) -> None:
        """Keep the inside of a step of the record of an epoch."""
        self._write(self.step_path(name, epoch), arrays, epoch)

    def load_step(self, name: str, epoch: int) -> dict[str, Array] | None:
        """What was kept of a step, None where nothing was; `StorageError` names a file damaged or foreign."""
        path = self.step_path(name, epoch)
        return self._read(path, epoch) if path.exists() else None

    def forget_step(self, name: str, epoch: int) -> None:
        self.step_path(name, epoch).unlink(missing_ok=True)

    def save_arrays(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Keep arrays of the whole run, of no epoch."""
        self._write(self.checkpoints / f"{name}.npz", arrays, 0)

    def load_arrays(self, name: str) -> dict[str, Array] | None:
        """What was kept of the whole run, None where nothing was; `StorageError` names a file damaged or foreign."""
        path = self.checkpoints / f"{name}.npz"
        return self._read(path, 0) if path.exists() else None

    def record_path(self, epoch: int) -> Path:
        return self.checkpoints / f"record-{epoch:04d}.json"

    def save_record(self, epoch: int, record: Mapping[str, Any]) -> None:
        """Keep what is known of the record of an epoch."""
        write_json(self.record_path(epoch), {"run": self._run, "epoch": epoch, "record": dict(record)}, None)

    def load_record(self, epoch: int) -> dict[str, Any]:
        """What is known of a record that is not in the report yet; empty where nothing is."""
        path = self.record_path(epoch)
        if not path.exists():
            return {}
        try:
            data = read_json(path)
            if (data["run"], data["epoch"]) != (self._run, epoch):
                raise ValueError("it is of another run or epoch")
            record: dict[str, Any] = data["record"]
        except (OSError, ValueError, KeyError) as error:
            raise _unusable(path, error) from None
        return record

    def forget_record(self, epoch: int) -> None:
        """Remove all that is kept of a record which is in the report by now."""
        self.record_path(epoch).unlink(missing_ok=True)
        for path in self.checkpoints.glob(f"*-{epoch:04d}.npz"):
            if path != self.checkpoint_path(epoch):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, arrays: Mapping[str, Any], epoch: int) -> None:
        write_arrays(
            path, {**arrays, "format": CHECKPOINT_FORMAT, "epoch": epoch, "run": self._run, "kind": _kind(path)}
        )

    def _read(self, path: Path, epoch: int) -> dict[str, Array]:
        try:
            data = read_arrays(path)
            if int(data.pop("format")) != CHECKPOINT_FORMAT:
                raise ValueError("it has another format")
            if (str(data.pop("kind")), int(data.pop("epoch"))) != (_kind(path), epoch):
                raise ValueError("it is of another step or epoch")
            if str(data.pop("run")) != self._run:
                raise ValueError("it is of another run")
            return data
        except Exception as error:  # what zipfile and NumPy raise for damaged bytes has no common base
            raise _unusable(path, error) from None


def _kind(path: Path) -> str:
    return path.stem.rpartition("-")[0] or path.stem


def _unusable(path: Path, reason: object) -> StorageError:
    said = " ".join(str(reason).split()) or type(reason).__name__
    return StorageError(f"checkpoint {path} cannot be used ({said}): remove it to do again what it held, or start anew")


def _is_report(data: Any) -> bool:
    if data.get("schema") != REPORT_SCHEMA:
        return False
    return isinstance(data.get("options"), dict) and isinstance(data.get("epochs"), list)
