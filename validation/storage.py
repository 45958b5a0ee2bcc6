"""What a run leaves on disk: report.json and checkpoints, written atomically, read without pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]
REPORT_SCHEMA = 1
CHECKPOINT_FORMAT = 1


class StorageError(ValueError):
    """A run directory that cannot be used; the message names it and what to do."""


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def empty_folder(out: str) -> Path:
    """The folder, made if need be; `StorageError` where something is in it already or it cannot be written."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StorageError(f"--out {folder}: a file is in the way; name a folder that can be made") from None
    except OSError as error:
        raise StorageError(f"--out {folder} cannot be made ({error.strerror}): name a writable folder") from None
    if not os.access(folder, os.W_OK):
        raise StorageError(f"--out {folder} is read-only: name a writable folder")
    if any(folder.iterdir()):
        raise StorageError(f"--out {folder} is not empty: name another folder, or remove it")
    return folder


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON without NaN or Infinity (a bug if one is met: `ValueError`); sets ``data["checksum"]``."""
    data["checksum"] = json_checksum(data)
    text = json.dumps(data, indent=1, allow_nan=False)
    write_atomic(path, lambda stream: stream.write(text.encode()))


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; `ValueError` or `OSError` where it is anything else."""
    try:
        data = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    if data.get("checksum") != json_checksum(data):
        raise ValueError("its checksum does not match")
    return data


def json_checksum(data: Mapping[str, Any]) -> str:
    """SHA-256 of everything but the checksum itself, whatever its layout on disk."""
    rest = {key: value for key, value in data.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def finite_or_none(value: float) -> float | None:
    """A number for JSON; None where there is none."""
    return float(value) if math.isfinite(value) else None


def _is_report(data: Any) -> bool:
    if not isinstance(data, dict) or data.get("schema") != REPORT_SCHEMA:
        return False
    return isinstance(data.get("options"), dict) and isinstance(data.get("epochs"), list)


@dataclass(frozen=True)
class Checkpoint:
    """Training state after ``epoch``: ``weights``, ``velocity``, and the ``history`` (epoch, risk, accuracy) so far."""

    epoch: int
    weights: list[Array]
    velocity: list[Array]
    history: dict[str, list[float]]


class RunDirectory:
    """DIR of a run: ``report.json``, ``checkpoints/epoch-NNNN.npz``, later ``figures/`` and ``report.html``."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.report_path = self.root / "report.json"
        self.checkpoints = self.root / "checkpoints"

    def open(self, identity: dict[str, Any], resume: bool) -> dict[str, Any] | None:
        """Make the directory; the report so far when a run is resumed, None for a new one.

        A directory that holds a run is refused unless it is the same one and `resume` is set.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise StorageError(f"--out {self.root}: a file is in the way; name a folder that can be made") from None
        except OSError as error:
            raise StorageError(f"--out {self.root} cannot be made ({error.strerror}): name a writable folder") from None
        if not os.access(self.root, os.W_OK):
            raise StorageError(f"--out {self.root} is read-only: name a writable folder")
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
        return report

    def read_report(self) -> dict[str, Any]:
        """The report as it stands; `StorageError` where it is not one of ours."""
        try:
            report = read_json(self.report_path)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.report_path} cannot be read ({error}): name another folder") from None
        if not _is_report(report):
            raise StorageError(f"{self.report_path} is not a report of schema {REPORT_SCHEMA}: name another folder")
        return report

    def checkpoint_path(self, epoch: int) -> Path:
        return self.checkpoints / f"epoch-{epoch:04d}.npz"

    def save_checkpoint(self, state: Checkpoint) -> None:
        """Write the state; arrays only."""
        arrays: dict[str, Any] = {f"weights_{i}": w for i, w in enumerate(state.weights)}
        arrays |= {f"velocity_{i}": v for i, v in enumerate(state.velocity)}
        arrays |= {f"history_{name}": np.asarray(values) for name, values in state.history.items()}
        arrays |= {"format": np.array(CHECKPOINT_FORMAT), "epoch": np.array(state.epoch)}
        write_atomic(self.checkpoint_path(state.epoch), lambda stream: np.savez(stream, **arrays))

    def load_checkpoint(self, epoch: int) -> Checkpoint:
        """The state after an epoch; `StorageError` names a file that is damaged or foreign."""
        path = self.checkpoint_path(epoch)
        try:
            with zipfile.ZipFile(path) as archive:
                # NumPy reads no further than an array's header says: a damaged one could evade the checksum.
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"{damaged} is damaged")
            with np.load(path, allow_pickle=False) as data:
                if int(data["format"]) != CHECKPOINT_FORMAT or int(data["epoch"]) != epoch:
                    raise ValueError("another format or epoch")
                depth = sum(name.startswith("weights_") for name in data.files)
                return Checkpoint(
                    epoch,
                    [data[f"weights_{i}"] for i in range(depth)],
                    [data[f"velocity_{i}"] for i in range(depth)],
                    {name: data[f"history_{name}"].tolist() for name in ("epoch", "risk", "accuracy")},
                )
        except Exception as error:  # what zipfile and NumPy raise for damaged bytes has no common base
            raise StorageError(f"checkpoint {path} cannot be used ({error}): remove it, or start anew") from None

    def last_epoch(self) -> int | None:
        """The epoch of the newest checkpoint."""
        epochs = [path.stem.removeprefix("epoch-") for path in self.checkpoints.glob("epoch-*.npz")]
        return max((int(epoch) for epoch in epochs if epoch.isdecimal()), default=None)
