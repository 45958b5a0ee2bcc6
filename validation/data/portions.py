"""`load_portions`: examples to learn first, and further ones to show later, of the same classes or of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulator.shown import shown
from simulator.streams import Seed, Streams
from validation.data.preprocessing import FloatArray, check_finite, standardise, training_statistics
from validation.data.selection import IntArray, Split, balanced_draw, parse_classes, parse_split
from validation.data.sources import Source, open_source
from validation.errors import DataError
from validation.run.console import printable

KINDS = ("same", "new", "again")


@shown
@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs ``x`` (m, ...) and labels ``y`` (m,) of -1 and +1."""

    x: FloatArray
    y: NDArray[np.float64]

    def with_more(self, others: Sequence[Examples]) -> Examples:
        """These examples and then the others."""
        parts = [self, *others]
        return Examples(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


@shown
@dataclass(frozen=True, eq=False)
class Portions:
    """``first``: the examples to learn first. ``later``: portions to show after them, by kind, in their order.

    Kinds are "same" (further examples of the classes of ``first``), "new" (examples of the classes ``held_out``, of
    which ``first`` has none) and "again" (examples of ``first`` itself). ``source`` is one line for people.
    """

    source: str
    first: Examples
    later: dict[str, list[Examples]]
    held_out: tuple[str, ...]


def load_portions(
    data: str = "digits",
    data_root: str = "data",
    classes: str | None = None,
    held_out: str | None = None,
    examples: int = 200,
    novel: int = 40,
    rounds: int = 1,
    kinds: Sequence[str] = KINDS,
    seed: Seed = 0,
    dtype: DTypeLike | None = None,
) -> Portions:
    """`examples` to learn first, and `rounds` portions of `novel` examples for each of the `kinds`.

    `data`, `data_root`, `classes` and `dtype` are as in `load_dataset`; all rows are from the training part. `held_out`
    names the classes that no first example has, comma-separated (default: the last class of either label where a label
    has several). Labels are those of `classes` in any case. No example is in two portions, but for those shown again.
    Every portion has half of its examples from either label, as far as there are so many. Inputs of all portions are
    preprocessed by the statistics of the first examples.

    Raises `DataError` for everything that is wrong with the data or with these options.

    >>> portions = load_portions("digits", examples=20, novel=6, rounds=2)
    >>> portions.held_out, portions.first.x.shape, len(portions.later["new"]), portions.later["new"][0].x.shape
    (('8', '9'), (20, 64), 2, (6, 64))
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise DataError(f"kinds has {unknown[0]!r}, expected some of {', '.join(KINDS)}; correct it.")
    streams, source = Streams(seed), open_source(data, data_root)
    split = source.split if classes is None else parse_split(printable(classes), source.names)
    known, new = _without(split, held_out, source.names) if "new" in kinds else (split, Split((), ()))
    later_rounds = {kind: 0 if kind == "again" else rounds for kind in kinds}
    first, later = _drawn(source, known, new, examples, novel, later_rounds, streams("examples"))
    if "again" in kinds:
        later["again"] = [_again(source, known, first, novel, rng) for rng in streams.spawn("parts", rounds)]
    chosen = np.dtype(source.dtype if dtype is None else dtype)
    made = _Inputs(source, split, source.read(first), chosen)
    return Portions(
        source=_described(source, known, new, len(first), novel, rounds, kinds),
        first=made.examples(first),
        later={kind: [made.examples(rows) for rows in later[kind]] for kind in kinds},
        held_out=tuple(source.names[i] for i in (*new.negative, *new.positive)),
    )


def _without(split: Split, held_out: str | None, names: tuple[str, ...]) -> tuple[Split, Split]:
    """The split of the classes that are learned first, and that of those held out."""
    sides = (split.negative, split.positive)
    if held_out is None:
        gone = [side[-1] for side in sides if len(side) > 1]
    else:
        gone = list(parse_classes(printable(held_out), names))
    for index in gone:
        if index not in (*split.negative, *split.positive):
            raise DataError(f"held_out has {names[index]!r}, which has no label here; choose among the classes used.")
    kept = [tuple(i for i in side if i not in gone) for side in sides]
    if not gone or not all(kept):
        raise DataError(
            f"held_out leaves {' and '.join(str(len(k)) for k in kept)} classes of the two labels and takes "
            f"{len(gone)}, expected at least one each; use data of more classes, or leave out the kind 'new'."
        )
    return Split(*kept), Split(*(tuple(i for i in side if i in gone) for side in sides))


def _drawn(
    source: Source,
    known: Split,
    new: Split,
    examples: int,
    novel: int,
    rounds: dict[str, int],
    rng: np.random.Generator,
) -> tuple[IntArray, dict[str, list[IntArray]]]:
    """Rows of the first examples and of the portions that are not shown again, each balanced, none twice."""
    left = {split: np.flatnonzero(split.keeps(source.classes[: source.n_train])) for split in (known, new)}

    def draw(split: Split, count: int, what: str) -> IntArray:
        if not 1 <= count <= len(left[split]):
            raise DataError(
                f"{what} asks for {count} examples, but {len(left[split]):,} of these classes are left; choose fewer "
                "examples, novel ones or rounds."
            )
        taken = balanced_draw(source.classes[left[split]], split, count, rng)
        rows = left[split][taken]
        left[split] = np.delete(left[split], taken)
        return rows

    first = draw(known, examples, "examples")
    of = {"same": known, "new": new}
    later = {
        kind: [draw(of[kind], novel, f"round {k + 1} of {kind!r}") for k in range(count)]
        for kind, count in rounds.items()
        if kind in of
    }
    return first, later


def _again(source: Source, known: Split, first: IntArray, novel: int, rng: np.random.Generator) -> IntArray:
    """Some of the first rows."""
    if novel > len(first):
        raise DataError(f"novel is {novel}, but {len(first)} examples can be shown again; choose at most that many.")
    rows: IntArray = first[balanced_draw(source.classes[first], known, novel, rng)]
    return rows


class _Inputs:
    """Examples of rows, by the statistics of the first rows' levels; the inputs of arrays are taken as they are."""

    def __init__(self, source: Source, split: Split, first: NDArray[Any], dtype: np.dtype[Any]) -> None:
        self._source, self._split, self._dtype = source, split, dtype
        self._statistics = None if source.as_given else training_statistics(first)

    def examples(self, rows: IntArray) -> Examples:
        levels = self._source.read(rows)
        if self._statistics is None:
            x = np.ascontiguousarray(levels, dtype=self._dtype)
        else:
            x = standardise(levels, *self._statistics, self._dtype)
        check_finite(x, "the examples")
        return Examples(x, self._split.labels(self._source.classes[rows]))


def _described(
    source: Source, known: Split, new: Split, examples: int, novel: int, rounds: int, kinds: Sequence[str]
) -> str:
    sides = (", ".join(source.names[i] for i in side) for side in (known.negative, known.positive))
    held = (", ".join(source.names[i] for i in side) or "none" for side in (new.negative, new.positive))
    text = "{}: first {:,} examples, label -1: {}; +1: {}".format(source.origin, examples, *sides)
    text += f"; then {rounds} portions of {novel:,} of each kind ({', '.join(kinds)})"
    return text + ("; held out, -1: {}; +1: {}".format(*held) if "new" in kinds else "")
