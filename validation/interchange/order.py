"""Which array of a weight file is the weights of which layer: decided by what the file says, never guessed.

Three things can decide. Shapes, where all layers have different ones. The order of the file, where its format keeps the
order in which a program listed the arrays. Numbers in the names: of two names that are alike up to a number, the
smaller number comes first ("fc2" before "fc10", "body.0" before "body.2"); names that differ in a word first, such as
"input" and "hidden", say nothing of each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from validation.errors import WeightsError

from .entries import Entry, listed

Shape = tuple[int, ...]
BY_SHAPES, BY_FILE, BY_NUMBERS = "by their shapes", "in the order of the file", "by the numbers in their names"


def in_order(where: str, weights: Sequence[Entry], shapes: Sequence[Shape], kept: bool) -> tuple[list[Entry], str]:
    """The arrays as the layers of these shapes, first to last, and what decided it.

    The arrays have these shapes in some order. `kept`: the order of the file is the order in which it was written.
    Raises `WeightsError` where several orders fit.
    """
    if len(set(shapes)) == len(shapes):
        place = {shape: layer for layer, shape in enumerate(shapes)}
        return sorted(weights, key=lambda entry: place[entry.shape]), BY_SHAPES
    if kept and [entry.shape for entry in weights] == list(shapes):
        for one, other in combinations(weights, 2):
            if one.shape == other.shape and _before(_parts(other.name), _parts(one.name)):
                raise _undecided(where, weights, f"{one.name} stands before {other.name}, against their numbers")
        return list(weights), BY_FILE
    numbered = _by_numbers(weights, shapes)
    if numbered is None:
        raise _undecided(where, weights, "neither shapes nor numbers in the names nor the order of the file decide")
    return numbered, BY_NUMBERS


def _undecided(where: str, weights: Sequence[Entry], reason: str) -> WeightsError:
    return WeightsError(
        f"{where} does not say in which order its arrays are the layers ({reason}): it holds "
        f"{listed(weights)}, give them first layer to last by names=[...] (--weights-names A,B,...)"
    )


def _by_numbers(weights: Sequence[Entry], shapes: Sequence[Shape]) -> list[Entry] | None:
    """The one order that shapes and numbers admit; None where they leave a choice or contradict each other."""
    parts = [_parts(entry.name) for entry in weights]
    after: dict[int, list[int]] = {i: [] for i in range(len(weights))}  # those whose number is larger
    smaller = [0] * len(weights)  # how many of a smaller number are still to come
    for i, j in combinations(range(len(weights)), 2):
        for one, other in ((i, j), (j, i)):
            if _before(parts[one], parts[other]):
                after[one].append(other)
                smaller[other] += 1
    order: list[Entry] = []
    left = set(range(len(weights)))
    for shape in shapes:
        fitting = [i for i in left if smaller[i] == 0 and weights[i].shape == shape]
        if len(fitting) != 1:
            return None
        left.remove(fitting[0])
        order.append(weights[fitting[0]])
        for i in after[fitting[0]]:
            smaller[i] -= 1
    return order


def _parts(name: str) -> list[str]:
    """Texts and numbers in turn, a text first; numbers without zeros before them."""
    parts = re.split(r"([0-9]+)", name)
    return [part.lstrip("0") if place % 2 else part for place, part in enumerate(parts)]


def _before(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two names are alike up to a number, and that of the first one is smaller."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place % 2 == 1 and (len(a), a) < (len(b), b)
    return False
