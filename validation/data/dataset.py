"""`load_dataset`: choose a source, draw the rows, read only those, preprocess."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulator.shown import shown
from simulator.streams import Seed, Streams
from validation.data.arrays import Arrays
from validation.data.preprocessing import FloatArray, check_finite, standardise, training_statistics
from validation.data.selection import IntArray, Split, balanced_draw, parse_split, require_both_labels
from validation.data.sources import Source, open_source
from validation.errors import DataError
from validation.run.console import printable


@shown
@dataclass(frozen=True, eq=False)
class Dataset:
    """A preprocessed two-class data set.

    `x` (m, 64) or (m, H, W, C) and `y` (m,) of -1 and +1 are the training examples, `x_test` and `y_test` the
    test examples or None; `negative` and `positive` the names of the classes labelled -1 and +1; `spectrum`
    (K,) sorted rows of `x`. `source` is one line for people: what was loaded, from where, how many, what was left out;
    `left_out` has the number of files that were not read by reason. In names, what cannot be shown is escaped.
    """

    name: str
    source: str
    x: FloatArray
    y: NDArray[np.float64]
    x_test: FloatArray | None
    y_test: NDArray[np.float64] | None
    negative: tuple[str, ...]
    positive: tuple[str, ...]
    spectrum: IntArray
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Selection:
    """Rows of a source: the training rows in their drawn order, then the test rows in order.

    `unused`: training rows of these classes that are in neither.
    """

    rows: IntArray
    n_train: int
    spectrum: IntArray
    unused: int


def load_dataset(
    data: str | Path | Arrays = "auto",
    data_root: str | Path = "data",
    classes: str | None = None,
    examples: int | None = None,
    spectrum_examples: int | None = None,
    seed: Seed = 0,
    dtype: DTypeLike | None = None,
) -> Dataset:
    """Load, select and preprocess a two-class data set.

    `data` is "auto" (CIFAR-10 if on disk under `data_root`, else digits), "digits", "cifar10" (downloaded
    when missing), the path of an image folder or ZIP archive (a `Path`, or "./digits", for a folder so called), the
    path of an npz file of x, y and perhaps x_test, y_test, or such `Arrays` in memory (`given_arrays`). `classes` is
    "NEG:POS" by name or index (default: even against odd digits, else the first half against the rest).
    `examples` training rows are drawn half per label and evenly over the classes of a
    label (default: all 1,437 digits, at most 5,000 images), and out of them `spectrum_examples` by an
    independent stream (default: at most 200 digits, 1,000 images). The test examples are the last 360 digits,
    or the test part of CIFAR-10 or of a folder; without a test part, the rows that were not drawn. `dtype` is
    float32 or float64 (default: float64 for digits, float32 for images).
    Inputs are x/255 (digits: x/16) minus the training mean of each feature, over the overall standard
    deviation of the training examples; those of arrays are taken as they are.

    Raises `DataError` for everything that is wrong with the data or with these options.
    """
    streams = _streams(seed)
    source = open_source(data, data_root)
    split = source.split if classes is None else parse_split(printable(classes), source.names)
    chosen_dtype = _checked_dtype(source.dtype if dtype is None else dtype)
    selection = _select(source, split, examples, spectrum_examples, streams("examples"), streams("spectrum examples"))
    y = split.labels(source.classes[selection.rows])
    levels = source.read(selection.rows)
    name, origin, names, left_out = source.name, source.origin, source.names, source.left_out
    as_given, note = source.as_given, source.note if split == source.split else ""
    # The source can hold all images of a data set; it is not needed while the inputs are made.
    del source
    m = selection.n_train
    x, x_test = _given(levels, m, chosen_dtype) if as_given else _inputs(levels, m, chosen_dtype)
    return Dataset(
        name=name,
        source=_describe(origin, x.shape, len(y) - m, selection.unused, split, names) + note + _said(left_out),
        x=x,
        y=y[:m],
        x_test=x_test,
        y_test=None if x_test is None else y[m:],
        negative=tuple(names[i] for i in split.negative),
        positive=tuple(names[i] for i in split.positive),
        spectrum=selection.spectrum,
        left_out=left_out,
    )


def _streams(seed: Seed) -> Streams:
    try:
        return Streams(seed)
    except ValueError as error:
        raise DataError(f"seed is {seed!r}, expected an integer of at least 0; choose another.") from error


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        result = np.dtype(dtype)
    except TypeError:
        result = np.dtype(object)
    if result not in (np.float32, np.float64):
        raise DataError(f"dtype is {dtype!r}, expected float32 or float64; choose one of them.")
    return result


def _select(
    source: Source,
    split: Split,
    examples: int | None,
    spectrum_examples: int | None,
    draw: np.random.Generator,
    spectrum_draw: np.random.Generator,
) -> _Selection:
    kept = np.flatnonzero(split.keeps(source.classes))
    candidates = kept[kept < source.n_train]
    test = kept[kept >= source.n_train]
    has_test_part = source.n_train < len(source.classes)
    for part, rows in (("training", candidates), ("test", test))[: 1 + has_test_part]:
        require_both_labels(source.classes[rows], split, source.names, f"the {part} part of {source.origin}")
    available = len(candidates)
    m = min(source.examples or available, available) if examples is None else examples
    m = _checked_count("examples", m, 2, available, "training examples of these classes")
    k = min(source.spectrum_examples, m) if spectrum_examples is None else spectrum_examples
    k = _checked_count("spectrum_examples", k, 1, m, "drawn training examples")
    train = candidates[balanced_draw(source.classes[candidates], split, m, draw)]
    if not has_test_part:
        test = np.setdiff1d(candidates, train)
    spectrum = np.sort(balanced_draw(source.classes[train], split, k, spectrum_draw))
    return _Selection(np.concatenate([train, test]), m, spectrum, available - m if has_test_part else 0)


def _checked_count(name: str, value: int, least: int, available: int, what: str) -> int:
    try:
        count = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = least - 1
    if not least <= count <= available:
        raise DataError(f"{name} is {value}, but {available:,} {what} are available; choose {least} to {available:,}.")
    return count


def _inputs(levels: NDArray[np.uint8], m: int, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray | None]:
    mean, deviation = training_statistics(levels[:m])
    x = standardise(levels[:m], mean, deviation, dtype)
    check_finite(x, "the training set")
    if len(levels) == m:
        return x, None
    x_test = standardise(levels[m:], mean, deviation, dtype)
    check_finite(x_test, "the test set")
    return x, x_test


def _given(inputs: NDArray[Any], m: int, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray | None]:
    """Inputs of the user's, which only change their dtype."""
    with np.errstate(over="ignore"):  # a number beyond float32 is said below
        x = np.ascontiguousarray(inputs, dtype=dtype)
    check_finite(x, f"the examples in {dtype}")
    return x[:m], x[m:] if len(x) > m else None


def _describe(origin: str, shape: tuple[int, ...], n_test: int, unused: int, split: Split, names: Sequence[str]) -> str:
    drawn = f"{shape[0]:,} of {shape[0] + unused:,}" if unused else f"{shape[0]:,}"
    size = "x".join(str(n) for n in shape[1:])
    sides = (", ".join(names[i] for i in side) for side in (split.negative, split.positive))
    return "{}: {} training and {:,} test examples of shape {}, label -1: {}; +1: {}".format(
        origin, drawn, n_test, size, *sides
    )


def _said(left_out: Mapping[str, int], most: int = 8) -> str:
    """What was not read, the most frequent reasons first; empty where everything was."""
    if not left_out:
        return ""
    reasons = sorted(left_out.items(), key=lambda item: -item[1])
    shown = [f"{reason}: {count:,}" for reason, count in reasons[:most]]
    if rest := sum(count for _, count in reasons[most:]):
        shown.append(f"of other kinds: {rest:,}")
    return f"; left out ({', '.join(shown)})"
