"""Examples that the user has as arrays: in memory, or in an npz file with the names x, y, x_test, y_test.

Inputs are taken as they are, labels are two values of any kind, of which the smaller is -1.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.shown import shown
from validation.data.preprocessing import check_finite
from validation.data.selection import IntArray
from validation.errors import DataError
from validation.run.console import printable
from validation.run.storage import arrays_checksum

NAMES = ("x", "y", "x_test", "y_test")
SHAPES = "(m, n) for vectors or (m, height, width, channels) for images"
SHOWN = 8  # label values in a message


@shown
@dataclass(frozen=True, eq=False)
class Arrays:
    """Checked examples: `x` (m, n) or (m, H, W, C), `classes` (m,) of 0 and 1, the two `labels` as texts.

    The smaller label comes first. `x_test` and `classes_test` are the test part, or None.
    """

    EXPECTED: ClassVar[str] = "arrays (x, y) or (x, y, x_test, y_test)"

    x: NDArray[Any]
    classes: IntArray
    labels: tuple[str, str]
    x_test: NDArray[Any] | None = None
    classes_test: IntArray | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that a run depends on, in hexadecimal."""
        parts = {"x": self.x, "y": self.classes, "x_test": self.x_test, "y_test": self.classes_test}
        parts["labels"] = np.array(self.labels)
        return arrays_checksum((name, a) for name, a in parts.items() if a is not None).hex()

    def __str__(self) -> str:
        return f"arrays in memory (SHA-256 {self.digest})"

    def read(self) -> Callable[[IntArray], NDArray[Any]]:
        """Rows of the training part, then of the test part, by number."""
        m, test = len(self.x), self.x_test

        def rows(wanted: IntArray) -> NDArray[Any]:
            if test is None:
                return self.x[wanted]
            first = wanted < m
            levels = np.empty((len(wanted), *self.x.shape[1:]), dtype=np.result_type(self.x, test))
            levels[first], levels[~first] = self.x[wanted[first]], test[wanted[~first] - m]
            return levels

        return rows


def given_arrays(data: Sequence[Any]) -> Arrays:
    """`Arrays` from (x, y) or (x, y, x_test, y_test), arrays of NumPy, tensors of PyTorch, or lists.

    Raises `DataError` for other shapes, NaN, infinite or non-real inputs, and labels that are not of two values.
    """
    if len(data) not in (2, 4):
        raise DataError(f"data has {len(data)} parts, expected (x, y) or (x, y, x_test, y_test).")
    parts = dict(zip(NAMES, map(_host, data), strict=False))
    for name in ("x", "x_test")[: len(data) // 2]:
        parts[name] = _inputs(parts[name], name)
    values = _two_values(_label_array(parts["y"], "y", len(parts["x"])))
    classes = {}
    for k in range(len(data) // 2):
        x, y = NAMES[2 * k : 2 * k + 2]
        classes[y] = _classes(_label_array(parts[y], y, len(parts[x])), values, y)
    if len(data) == 4 and parts["x_test"].shape[1:] != parts["x"].shape[1:]:
        raise DataError(
            f"x_test has examples of shape {parts['x_test'].shape[1:]}, x of {parts['x'].shape[1:]}; "
            "give both the same shape."
        )
    labels = (printable(str(values[0])), printable(str(values[1])))
    return Arrays(parts["x"], classes["y"], labels, parts.get("x_test"), classes.get("y_test"))


def read_arrays_file(path: Path) -> Arrays:
    """`Arrays` from an npz file with x, y and, if there is a test part, x_test and y_test; no pickle is loaded."""
    try:
        opened: Any = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise DataError(f"'{path}' holds one array, expected an npz file with x and y.")
        with opened as stored:
            wanted = [name for name in NAMES if name in stored]
            missing = [name for name in ("x", "y", *(NAMES[2:] if len(wanted) > 2 else ())) if name not in stored]
            if missing:
                found = ", ".join(list(stored)[:SHOWN]) or "nothing"
                raise DataError(
                    f"'{path}' has no array {missing[0]!r}, it holds {found}; save it by "
                    "numpy.savez(FILE, x=..., y=...)."
                )
            parts = [stored[name] for name in wanted]
    except FileNotFoundError:
        raise DataError(f"data is '{path}', which does not exist; give the path of an npz file.") from None
    except OSError as error:
        raise DataError(f"data is '{path}', which cannot be read ({error.strerror}); check it.") from None
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"'{path}' is no npz file of plain arrays, or a damaged one ({reason}); write it again by numpy.savez."
        ) from None
    return given_arrays(parts)


def _host(value: Any) -> Any:
    """A tensor of PyTorch as an array, everything else as it is."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") and hasattr(value, "cpu") else value


def _array(value: Any, name: str) -> NDArray[Any]:
    if np.ma.is_masked(value):
        raise DataError(f"{name} has masked entries, expected every entry; fill them in or leave those examples out.")
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        raise DataError(f"{name} is no array, expected rows of one length.") from None


def _inputs(value: Any, name: str) -> NDArray[Any]:
    x = _array(value, name)
    if x.dtype.kind not in "fiub":
        raise DataError(f"{name} is of dtype {x.dtype}, expected real numbers.")
    if x.ndim == 3:
        raise DataError(f"{name} has shape {x.shape}, expected {SHAPES}; for one channel give {name}[..., None].")
    if x.ndim not in (2, 4) or 0 in x.shape:
        raise DataError(f"{name} has shape {x.shape}, expected {SHAPES}.")
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[2] == x.shape[3] > 3:
        raise DataError(
            f"{name} has shape {x.shape}, which looks like channels first, expected {SHAPES}; "
            f"give {name}.transpose(0, 2, 3, 1)."
        )
    if x.dtype.kind == "f":
        check_finite(x, name)
    return x


def _label_array(value: Any, name: str, m: int) -> NDArray[Any]:
    y = _array(value, name)
    if y.shape != (m,):
        raise DataError(f"{name} has shape {y.shape}, expected ({m},), one label for every example.")
    if y.dtype.kind in "fc" and not np.all(np.isfinite(y)):
        raise DataError(f"{name} has NaN or infinite labels, expected two values; repair or leave out those examples.")
    return y


def _two_values(y: NDArray[Any]) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.unique(y)
    except TypeError:
        raise DataError("y has labels that cannot be put in order, expected two values of one kind.") from None
    if len(values) != 2:
        shown = ", ".join(printable(str(v)) for v in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
        remedy = "add examples of another" if len(values) < 2 else "choose two, or two groups such as y >= 5"
        raise DataError(f"y has {len(values)} label values ({shown}), expected two; {remedy}.")
    return values


def _classes(y: NDArray[Any], values: NDArray[Any], name: str) -> IntArray:
    one = np.asarray(y == values[1])
    if one.shape != y.shape or not np.all(one | (y == values[0])):
        raise DataError(f"{name} has labels other than {values[0]} and {values[1]}, those of y; leave them out.")
    return one.astype(np.intp)
