"""What a result shows of itself: a few lines, whatever the size of its arrays."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)
MOST, COLUMNS, LINES = 60, 100, 12  # characters of a value, of a line, and lines of all


def shown(kind: Class) -> Class:
    """Class decorator of a dataclass: its `repr` names every field, and of an array its shape and dtype.

    A method ``summary() -> str`` of the class adds a line of numbers.
    """
    setattr(kind, "__repr__", short_repr)  # noqa: B010
    return kind


def short_repr(result: Any) -> str:
    """The name of the class, its summary, and its fields in a few lines."""
    text = ", ".join(f"{field.name}={short(getattr(result, field.name))}" for field in fields(result) if field.repr)
    lines = textwrap.wrap(text, COLUMNS, initial_indent="    ", subsequent_indent="    ")
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], "    ..."]
    summary = f"    {result.summary()}\n" if hasattr(result, "summary") else ""
    whole = f"{type(result).__name__}({text})"
    if not summary and len(whole) <= COLUMNS:
        return whole
    return f"{type(result).__name__}(\n{summary}{chr(10).join(lines)}\n)"


def short(value: Any) -> str:
    """A value in at most `MOST` characters."""
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array(value)
    if isinstance(value, (list, tuple)) and value and all(hasattr(v, "shape") for v in value):
        shapes = ", ".join(str(tuple(v.shape)) for v in value)
        return f"<{len(value)} arrays {shapes if len(shapes) <= MOST else shapes[:MOST] + '...'}>"
    if isinstance(value, Mapping):
        keys = ", ".join(map(str, list(value)[:6])) + (", ..." if len(value) > 6 else "")
        return f"<{len(value)} entries: {keys[:MOST]}>"
    if is_dataclass(value) and len(repr(value)) > MOST:
        return f"<{type(value).__name__}>"
    text = " ".join(repr(value).split()) if not isinstance(value, (list, tuple)) or len(value) <= 12 else ""
    if text and len(text) <= MOST:
        return text
    size = f"{len(value):,} values" if isinstance(value, (list, tuple)) else type(value).__name__
    return f"<{size}>"


def _array(value: Any) -> str:
    shape = tuple(value.shape)
    if not shape:
        return f"{value}"
    if shape[0] <= 4 and len(shape) == 1:
        return " ".join(str(value).split())
    return f"<array {'×'.join(map(str, shape))} {str(value.dtype).rpartition('.')[2]}>"
