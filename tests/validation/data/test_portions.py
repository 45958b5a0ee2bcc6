"""Portions of examples to be shown one after the other: which rows, which labels, which classes, which statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from validation.data import DataError, Examples, load_portions
from validation.data import portions as module
from validation.data.sources import open_source


def rows_of(examples: Examples, everything: Examples) -> list[int]:
    """Where the examples are among all, by their inputs."""
    known = {x.tobytes(): i for i, x in enumerate(everything.x)}
    return [known[x.tobytes()] for x in examples.x]


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A way to load digits as they are, so that rows can be told by their inputs; their classes."""
    source = open_source("digits", "data")
    monkeypatch.setattr(module, "training_statistics", lambda levels: (np.zeros(64), 1.0))
    levels = source.read(np.arange(source.n_train)).astype(np.float64)

    def load(**options: Any) -> Any:
        made = load_portions("digits", **({"examples": 30, "novel": 8, "rounds": 3} | options))
        everything = Examples(levels, np.zeros(len(levels)))
        parts = {"first": [made.first], **made.later}
        return made, {k: [rows_of(p, everything) for p in v] for k, v in parts.items()}

    return load, source.classes


def test_no_example_is_in_two_portions_and_none_of_a_held_out_class_comes_first(digits: Any) -> None:
    load, classes = digits
    made, rows = load()
    assert made.held_out == ("8", "9")
    (first,) = rows["first"]
    apart = [first, *rows["same"], *rows["new"]]
    assert len({r for part in apart for r in part}) == 30 + 2 * 3 * 8
    assert not {8, 9} & {int(classes[r]) for part in (first, *rows["same"]) for r in part}
    assert {int(classes[r]) for part in rows["new"] for r in part} == {8, 9}
    assert all(set(part) <= set(first) and len(set(part)) == 8 for part in rows["again"])


def test_labels_are_those_of_the_classes_and_balanced(digits: Any) -> None:
    load, classes = digits
    made, rows = load()
    for kind, portions in {"first": [made.first], **made.later}.items():
        for examples, at in zip(portions, rows[kind], strict=True):
            assert examples.y.tolist() == [1.0 if classes[r] % 2 else -1.0 for r in at]
            assert abs(examples.y.sum()) == 0
    one, at = load(held_out="8", classes="0,8:1,3", kinds=("new",))
    assert {int(classes[r]) for r in at["new"][0]} == {8}
    assert (one.later["new"][0].y == -1.0).all()


def test_a_seed_gives_the_same_portions_and_another_one_others(digits: Any) -> None:
    load, _ = digits
    rows = [load(seed=seed)[1] for seed in (3, 3, 4)]
    assert rows[0] == rows[1]
    assert all(rows[0][kind] != rows[2][kind] for kind in rows[0])


def test_more_rounds_leave_the_first_examples_as_they_are(digits: Any) -> None:
    load, _ = digits
    assert load(rounds=1)[1]["first"] == load(rounds=4)[1]["first"]


def test_without_the_kind_new_no_class_is_held_out(digits: Any) -> None:
    load, classes = digits
    made, rows = load(kinds=("same", "again"), examples=200)
    assert made.held_out == ()
    assert set(made.later) == {"same", "again"}
    assert {int(classes[r]) for r in rows["first"][0]} == set(range(10))


def test_inputs_are_preprocessed_by_the_first_examples() -> None:
    made = load_portions("digits", examples=40, novel=10)
    assert np.abs(made.first.x.mean(axis=0)).max() < 1e-12
    assert made.first.x.std() == pytest.approx(1.0)
    again = {x.tobytes() for x in made.later["again"][0].x}
    assert again < {x.tobytes() for x in made.first.x}
    assert np.abs(made.later["new"][0].x.mean(axis=0)).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out": "11"}, "unknown class '11'"),
        ({"held_out": "9,9"}, "twice"),
        ({"held_out": "0,2,4,6,8"}, "held_out leaves 0 and 5 classes"),
        ({"classes": "0:1"}, "leave out the kind 'new'"),
        ({"classes": "0,2:1,3", "held_out": "5"}, "held_out has '5', which has no label here"),
        ({"examples": 1500}, "examples asks for 1500 examples"),
        ({"novel": 100}, "round 3 of 'new' asks for 100"),
        ({"novel": 0}, "asks for 0 examples"),
        ({"examples": 10, "novel": 20, "kinds": ("again",)}, "10 examples can be shown again"),
        ({"kinds": ("old",)}, "kinds has 'old'"),
    ],
)
def test_what_cannot_be_had_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_portions("digits", **({"examples": 30, "novel": 8, "rounds": 3} | options))
