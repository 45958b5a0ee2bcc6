"""What a result shows of itself: its fields, and of an array no more than shape and dtype.

The same form as that of the simulator's results, which this package does not know.
"""

from __future__ import annotations

import reprlib
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

Class = TypeVar("Class", bound=type)
MOST = 60  # characters of a value


class _Short(reprlib.Repr):
    """The standard library's short texts, with arrays by shape."""

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, np.ndarray) and x.ndim:
            return str(x) if x.shape[0] <= 4 and x.ndim == 1 else f"<array {'×'.join(map(str, x.shape))} {x.dtype}>"
        if isinstance(x, (float, complex, np.generic, np.ndarray)):
            return f"{x:.6g}" if np.ndim(x) == 0 and np.asarray(x).dtype.kind in "fc" else str(x)
        return super().repr1(x, level)


_short = _Short()
_short.maxlist = _short.maxtuple = _short.maxdict = 3
_short.maxother = _short.maxstring = MOST


def shown(kind: Class) -> Class:
    """Class decorator of a dataclass: its `repr` names every field that it shows, in a few lines."""
    setattr(kind, "__repr__", short_repr)  # noqa: B010
    return kind


def short_repr(result: Any) -> str:
    """The name of the class, and its fields."""
    text = ", ".join(f"{f.name}={_short.repr(getattr(result, f.name))}" for f in fields(result) if f.repr)
    return f"{type(result).__name__}({text})"
