"""Which classes carry which label, and seeded draws of rows balanced over labels and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.errors import DataError

IntArray = NDArray[np.intp]

_MOST_LISTED = 20


@dataclass(frozen=True)
class Split:
    """Indices of the classes labelled -1 (`negative`) and +1 (`positive`), each in increasing order."""

    negative: tuple[int, ...]
    positive: tuple[int, ...]

    def labels(self, classes: IntArray) -> NDArray[np.float64]:
        """Labels -1 or +1, shape (m,), of rows whose class indices are `classes` (m,), all of them kept."""
        return np.where(np.isin(classes, self.positive), 1.0, -1.0)

    def keeps(self, classes: IntArray) -> NDArray[np.bool_]:
        """Mask (m,) of the rows whose class is on one of the two sides."""
        return np.isin(classes, self.negative + self.positive)


def halves(n_classes: int) -> Split:
    """The first half of the classes against the rest."""
    middle = n_classes // 2
    return Split(tuple(range(middle)), tuple(range(middle, n_classes)))


def parse_split(text: str, names: Sequence[str]) -> Split:
    """The split written NEG:POS, each side comma-separated names or indices of classes.

    A name wins over an index where a class is called by a number. The order within a side has no meaning.
    Raises `DataError` for a text of another form and for an unknown or repeated class.
    """
    sides = text.split(":")
    if len(sides) != 2:
        raise DataError(
            f"classes is {text!r}, expected NEG:POS with exactly one colon; "
            "write names or indices as in 'cat,dog:ship' (indices where a name has a colon)."
        )
    negative, positive = (_parse_side(side, text, names) for side in sides)
    both = sorted(set(negative) & set(positive))
    if both:
        raise DataError(
            f"classes is {text!r} with {names[both[0]]!r} on both sides, expected each class on one side; "
            "remove it from the other."
        )
    return Split(negative, positive)


def _parse_side(side: str, text: str, names: Sequence[str]) -> tuple[int, ...]:
    words = [word.strip() for word in side.split(",")]
    if not all(words):
        raise DataError(
            f"classes is {text!r} with an empty entry, expected one class between commas and on "
            "each side of a colon; add it or remove the comma."
        )
    indices = [_class_index(word, text, names) for word in words]
    for index in indices:
        if indices.count(index) > 1:
            raise DataError(f"classes is {text!r} with {names[index]!r} twice on one side, expected once; remove one.")
    return tuple(sorted(indices))


def parse_classes(text: str, names: Sequence[str]) -> tuple[int, ...]:
    """Indices of comma-separated names or indices of classes, in increasing order; `DataError` as `parse_split`."""
    return _parse_side(text, text, names)


def _class_index(word: str, text: str, names: Sequence[str]) -> int:
    if word in names:
        return names.index(word)
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    more = f", ... ({len(names)} in all)" if len(names) > _MOST_LISTED else ""
    raise DataError(
        f"classes is {text!r} with the unknown class {word!r}; "
        f"choose among {', '.join(names[:_MOST_LISTED])}{more}, or indices 0 to {len(names) - 1}."
    )


def require_both_labels(classes: IntArray, split: Split, names: Sequence[str], where: str) -> None:
    """Raise `DataError` unless both labels occur among the class indices `classes` (m,) of part `where`."""
    for label, side in (("-1", split.negative), ("+1", split.positive)):
        if not np.isin(classes, side).any():
            raise DataError(
                f"{where} holds no example of label {label} ({', '.join(names[i] for i in side)}), "
                "expected both labels; add some or choose other classes."
            )


def water_fill(capacity: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Shares of `total` (n,), as equal as `capacity` (n,) allows; what is left over goes to the first ones.

    `total` is at most the sum of `capacity`.
    """
    shares = np.zeros_like(capacity)
    while total > 0:
        unfilled = np.flatnonzero(shares < capacity)
        step = total // len(unfilled)
        if step == 0:
            shares[unfilled[:total]] += 1
            break
        grant = np.minimum(step, capacity[unfilled] - shares[unfilled])
        shares[unfilled] += grant
        total -= int(grant.sum())
    return shares


def balanced_draw(classes: IntArray, split: Split, count: int, rng: np.random.Generator) -> IntArray:
    """`count` distinct positions in `classes` (n,), half per label, evenly over the classes of a label.

    Water-filling where a label or class has too few. The result (count,) is shuffled, so that no stretch of
    rows is of one class. Rows of dropped classes are never drawn.
    """
    members = {c: np.flatnonzero(classes == c) for c in split.negative + split.positive}
    sides = (split.negative, split.positive)
    sizes = [np.array([len(members[c]) for c in side], dtype=np.int64) for side in sides]
    shares = water_fill(np.array([size.sum() for size in sizes], dtype=np.int64), count)
    drawn = [
        rng.choice(members[c], size=int(n), replace=False)
        for side, size, share in zip(sides, sizes, shares, strict=True)
        for c, n in zip(side, water_fill(size, int(share)), strict=True)
    ]
    return rng.permutation(np.concatenate(drawn))
