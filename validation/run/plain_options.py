"""Options given from Python, whatever their types, as the plain values that reports and checkpoints hold."""

from __future__ import annotations

import hashlib
import math
import operator
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import numpy as np

from validation.errors import OptionError

PATHS = ("data", "data_root", "weights", "out")
NAMED_DATA = ("auto", "digits", "cifar10")  # a `Path` of such a name is a folder, the text is not
MOST_PRODUCTS = 1_000_000
RUNTIME = ("out", "resume", "workers", "scheduler")
"""Options that say where and how a run is made, and have no part in what it finds."""
RUNS, LONGEST = "runs", 100  # where a run goes that names no folder, and characters of the name it gets
NAMES = {bool: "True or False", int: "an integer", float: "a number", str: "a text"}


class PlainOptions:
    """Base of a frozen dataclass of options: each is made what its annotation says, or refused by `OptionError`.

    NumPy scalars and 0-d arrays become Python's numbers, arrays and other iterables tuples, paths texts. ``LEAST`` has
    the smallest value of the integers that have one. ``ELSEWHERE`` has the options that leave a run the same run, so
    that they are no part of the name of its folder.
    """

    LEAST: ClassVar[Mapping[str, int]] = {}
    ELSEWHERE: ClassVar[Collection[str]] = ("out",)

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, wanted in _annotations(kind).items():
            least = self.LEAST.get(name)
            object.__setattr__(self, name, plain(name, getattr(self, name), wanted, least))

    def check_integers(self) -> None:
        """Raise `OptionError` for an integer below the least, and for more probes or steps than any run can take."""
        for name, least in self.LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(_refused(name, value, f"an integer >= {least}"))
            if value is not None and name in ("probes", "steps", "draws") and value > MOST_PRODUCTS:
                raise OptionError(_refused(name, value, f"at most {MOST_PRODUCTS:,}"))

    def check_different(self, name: str, least: int) -> None:
        """Raise `OptionError` for a list that is empty, repeats an integer, or has one below the least."""
        values = tuple(getattr(self, name))
        if not values or min(values) < least or len(set(values)) < len(values):
            text = ",".join(map(str, values))
            raise OptionError(
                f"--{name.replace('_', '-')} {text}: expected different integers >= {least}, at least one"
            )

    def check_positive(self, *names: str) -> None:
        """Raise `OptionError` for one of these options that is no number above 0."""
        for name in names:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise OptionError(_refused(name, value, "a number > 0"))

    def check_schedule(self) -> None:
        """Raise `OptionError` for a learning rate or a momentum that no training could use."""
        self.check_positive("learning_rate")
        momentum = getattr(self, "momentum")  # noqa: B009
        if not 0 <= momentum < 1:
            raise OptionError(_refused("momentum", momentum, "a number in [0, 1)"))

    def filled(self, given: Mapping[str, Any]) -> Self:
        """The options, those that are None from `given`."""
        missing = {name: value for name, value in given.items() if getattr(self, name) is None}
        return replace(self, **missing)  # type: ignore[type-var]

    def kept(self, kind: type | None = None) -> dict[str, Any]:
        """The options as JSON has them: those of the base class `kind`, or all but `RUNTIME`."""
        whole: Any = self if kind is None else kind
        return {f.name: _json(getattr(self, f.name)) for f in fields(whole) if f.name not in RUNTIME}

    @property
    def cell_options(self) -> dict[str, Any]:
        """What decides the content of a cell of a grid: the options of the class that these extend."""
        return self.kept(type(self).__base__)

    def folder(self, *words: str, named: Collection[str] = ()) -> str:
        """The option `out`; where it was not given, runs/NAME, the same name for the same options.

        NAME is the words and then every option that is not at its default, but for `named`, which the words stand for.
        """
        given: str | None = getattr(self, "out")  # noqa: B009
        if given is not None:
            return given
        kind: Any = self
        for field in fields(kind):
            value = getattr(self, field.name)
            if field.name not in (*named, *self.ELSEWHERE) and value != field.default:
                words = (*words, field.name if value is True else f"{field.name} {_joined(value)}")
        return f"{RUNS}/{file_name(*words)}"


@dataclass(frozen=True)
class WholeOptions(PlainOptions):
    """What the command line of a command takes that computes all that it reports at once; `quick` makes it smaller.

    >>> WholeOptions(seed=-1).check_integers()
    Traceback (most recent call last):
    ...
    validation.errors.OptionError: --seed -1: expected an integer >= 0
    """

    LEAST = {"seed": 0}  # noqa: RUF012

    backend: str | None = None
    seed: int = 0
    out: str | None = None
    quick: bool = False


def _json(value: Any) -> Any:
    return [_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _joined(value: Any) -> str:
    return " ".join(map(_joined, value)) if isinstance(value, (list, tuple)) else str(value)


def file_name(*words: str) -> str:
    """Words as the name of a file or folder: letters, digits and dots, joined by hyphens; a long one is cut.

    A cut name ends with eight digits of the SHA-256 of the whole, so that two of them differ.
    """
    parts = [re.sub(r"[^\w.]+|_", "-", word).strip("-.") for word in words]
    name = "-".join(part for part in parts if part)
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name.encode()[: LONGEST - 9].decode('utf-8', 'ignore').rstrip('-.')}-{digest}"


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    return {name: wanted for name, wanted in get_type_hints(kind).items() if get_origin(wanted) is not ClassVar}


def plain(option: str, value: Any, wanted: Any, least: int | None = None) -> Any:
    """The value of an option as `wanted`: bool, int, float, str, a sequence of these, a class, or a union of such.

    A class is taken as it is, and says in ``EXPECTED`` what it stands for.
    """
    kinds = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    if value is None and NoneType in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not NoneType)
    for kind in kinds:
        try:
            return _converted(option, value, kind)
        except (TypeError, ValueError, OverflowError):
            continue
    expected = " or ".join(map(_name, kinds)) + ("" if least is None else f" >= {least}")
    raise OptionError(_refused(option, value, expected))


def _refused(option: str, value: Any, expected: str) -> str:
    shown = " ".join(repr(value).split())
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"--{option.replace('_', '-')} {shown}: expected {expected}"


def _name(kind: Any) -> str:
    if inner := get_args(kind):
        return f"a list, each {_name(inner[0])}"
    return NAMES.get(kind) or str(kind.EXPECTED)


def _converted(option: str, value: Any, kind: Any) -> Any:
    """The value as `kind`; TypeError, ValueError or OverflowError where it is not one."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if inner := get_args(kind):
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise TypeError
        return tuple(_converted(option, item, inner[0]) for item in value)
    if kind not in NAMES:  # a class of objects that are taken as they are
        if not isinstance(value, kind):
            raise TypeError
        return value
    if kind is str:
        return _text(option, value)
    truth = isinstance(value, (bool, np.bool_))
    if truth != (kind is bool) or isinstance(value, (str, bytes, np.ndarray)):
        raise TypeError
    if kind is bool:
        return bool(value)
    return operator.index(value) if kind is int else float(value)


def _text(option: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if option not in PATHS:
        raise TypeError
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError
    return os.path.join(os.curdir, text) if option == "data" and text in NAMED_DATA else text


MOST_SEEDS = 10_000


def seed_list(text: str) -> tuple[int, ...]:
    """Seeds A,B,C as they stand; a single N: 0, 1, ..., N-1 (and ``A,`` the seed A alone); `ValueError` for others."""
    if "," in text:
        return tuple(int(part) for part in text.split(",") if part)
    if not 1 <= int(text) <= MOST_SEEDS:
        raise ValueError(f"{text} seeds: expected 1 to {MOST_SEEDS}")
    return tuple(range(int(text)))


def integer_list(text: str) -> tuple[int, ...]:
    """Integers separated by commas; `ValueError` for others."""
    return tuple(int(part) for part in text.split(","))


def number_list(text: str) -> tuple[float, ...]:
    """Numbers separated by commas; `ValueError` for others."""
    return tuple(float(part) for part in text.split(","))


def word_list(text: str) -> tuple[str, ...]:
    """Words separated by commas."""
    return tuple(text.split(","))


for _reader in (seed_list, integer_list, number_list, word_list):
    _reader.__name__ = "list"  # argparse says "invalid list value"
