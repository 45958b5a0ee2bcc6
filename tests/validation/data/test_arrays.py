"""Examples as arrays, in memory and in npz files: labels of any two values, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from support.cases import Array
from support.torch_files import need_torch
from validation.data import DataError, Dataset, given_arrays, load_dataset

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 5))
Y = np.arange(12) % 3 == 0


def rows(data: Dataset) -> set[bytes]:
    """Inputs with their labels, whatever their order."""
    return {np.append(x, y).tobytes() for x, y in zip(data.x.astype(float), data.y, strict=True)}


@pytest.mark.parametrize(
    ("labels", "smaller", "larger"),
    [
        (Y, "False", "True"),
        (np.where(Y, 7, 3), "3", "7"),
        (np.where(Y, 0.5, -2.0), "-2.0", "0.5"),
        (np.where(Y, "dog", "cat"), "cat", "dog"),
        (np.where(Y, "dog", "cat").astype(object), "cat", "dog"),
        (np.where(Y, 1, -1).tolist(), "-1", "1"),
    ],
)
def test_the_smaller_label_is_minus_one(labels: Any, smaller: str, larger: str) -> None:
    """Inputs stay as they are, rows are only drawn in another order, and the first line says which label is which."""
    data = load_dataset(given_arrays((X, labels)))
    assert rows(data) == {np.append(x, 1.0 if y else -1.0).tobytes() for x, y in zip(X, Y, strict=True)}
    assert (data.negative, data.positive) == ((smaller,), (larger,))
    assert data.source == (
        f"arrays in memory: 12 training and 0 test examples of shape 5, label -1: {smaller}; +1: {larger} "
        "(of the two label values the smaller is -1), inputs as they are"
    )
    assert (data.x_test, data.spectrum.size) == (None, 12)


def test_a_test_part_and_a_draw(tmp_path: Path) -> None:
    other = RNG.standard_normal((7, 5))
    np.savez(tmp_path / "mine.npz", x=X, y=Y, x_test=other, y_test=np.arange(7) % 2 == 1)
    for source in (given_arrays((X, Y, other, np.arange(7) % 2 == 1)), str(tmp_path / "mine.npz")):
        data = load_dataset(source, examples=6)
        assert data.x_test is not None
        assert data.y_test is not None
        assert_array_equal(data.x_test, other)
        assert_array_equal(data.y_test, [-1, 1, -1, 1, -1, 1, -1])
        assert data.y.sum() == 0
        assert "6 of 12 training and 7 test examples" in data.source
    assert (data.name, data.source.split(":")[0]) == ("mine", f"arrays of '{tmp_path / 'mine.npz'}'")
    held_out = load_dataset(given_arrays((X, Y)), examples=6)
    assert held_out.x_test is not None
    assert len(held_out.x_test) == 6
    flipped = load_dataset(given_arrays((X, Y)), classes="True:False")
    assert rows(flipped) == {np.append(x, -1.0 if y else 1.0).tobytes() for x, y in zip(X, Y, strict=True)}
    assert "smaller" not in flipped.source


def test_images_and_tensors() -> None:
    images = RNG.standard_normal((6, 4, 5, 2))
    data = load_dataset(given_arrays((images, [0, 1] * 3)))
    assert (data.x.dtype, data.x.shape) == (np.dtype("float32"), (6, 4, 5, 2))
    torch = need_torch()
    again = load_dataset(given_arrays((torch.tensor(images, requires_grad=True), torch.tensor([0, 1] * 3))))
    assert_array_equal(again.x, data.x)


def test_the_digest_is_of_everything() -> None:
    base = given_arrays((X, Y))
    assert base.digest == given_arrays((X.copy(), Y.tolist())).digest
    changed = X.copy()
    changed[3, 2] = np.nextafter(changed[3, 2], 2.0)
    others = [given_arrays((changed, Y)), given_arrays((X, ~Y)), given_arrays((X, Y, X, Y)), given_arrays((X, Y * 2))]
    assert len({base.digest, *(other.digest for other in others)}) == 5


def bad(**changes: Any) -> tuple[Any, ...]:
    parts: dict[str, Any] = {"x": X, "y": Y} | changes
    return tuple(parts[name] for name in ("x", "y", "x_test", "y_test") if name in parts)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X,), r"data has 1 parts, expected \(x, y\) or \(x, y, x_test, y_test\)"),
        ((X, Y, X), "data has 3 parts"),
        (bad(x=X[:, 0]), r"x has shape \(12,\), expected \(m, n\) for vectors"),
        (bad(x=X[:, None]), r"x has shape \(12, 1, 5\), .* for one channel give x\[\.\.\., None\]"),
        (bad(x=X[:0], y=Y[:0]), r"x has shape \(0, 5\)"),
        (bad(x=np.zeros((12, 3, 8, 8))), r"looks like channels first.* give x\.transpose\(0, 2, 3, 1\)"),
        (bad(x=X.astype(complex)), "x is of dtype complex128, expected real numbers"),
        (bad(x=X.astype(str)), "x is of dtype <U32, expected real numbers"),
        (bad(x=[[1.0], [1.0, 2.0]]), "x is no array, expected rows of one length"),
        (bad(x=np.where(np.isclose(X, X[4, 1]), np.nan, X)), r"x has the value nan at index \(4, 1\)"),
        (bad(x=np.ma.masked_less(X, 0.0)), "x has masked entries"),
        (bad(y=Y[:5]), r"y has shape \(5,\), expected \(12,\), one label for every example"),
        (bad(y=Y[:, None]), r"y has shape \(12, 1\)"),
        (bad(y=np.where(Y, np.nan, 1.0)), "y has NaN or infinite labels"),
        (bad(y=np.ones(12)), r"y has 1 label values \(1\.0\), expected two; add examples of another"),
        (bad(y=np.arange(12) % 3), r"y has 3 label values \(0, 1, 2\), expected two; choose two, or two groups"),
        (bad(y=np.arange(12)), r"y has 12 label values \(0, 1, 2, 3, 4, 5, 6, 7, \.\.\.\)"),
        (bad(y=np.array(["a", 1] * 6, dtype=object)), "y has labels that cannot be put in order"),
        (bad(x_test=X[:, :4], y_test=Y), r"x_test has examples of shape \(4,\), x of \(5,\)"),
        (bad(x_test=X, y_test=Y * 2), "y_test has labels other than False and True, those of y"),
    ],
)
def test_arrays_that_cannot_be_used(data: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        given_arrays(data)
    assert "\n" not in str(caught.value)


def test_numbers_that_single_precision_does_not_hold() -> None:
    images = np.zeros((4, 2, 2, 1))
    images[1, 0, 1, 0] = 1e39
    with pytest.raises(DataError, match="examples in float32 has the value inf"):
        load_dataset(given_arrays((images, [0, 1, 0, 1])))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X}, r"has no array 'x', it holds a; save it by numpy\.savez"),
        ({"x": X}, "has no array 'y', it holds x"),
        ({"x": X, "y": Y, "x_test": X}, "has no array 'y_test'"),
        ({"x": X, "y": np.array([{}] * 12)}, "is no npz file of plain arrays, or a damaged one"),
    ],
)
def test_files_that_lack_something(arrays: dict[str, Array], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "mine.npz")


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with pytest.raises(DataError, match="does not exist; give the path of an npz file"):
        load_dataset(path)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="is no npz file of plain arrays"):
        load_dataset(path)
    with path.open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(DataError, match="holds one array, expected an npz file"):
        load_dataset(path)
    np.savez(path, x=X, y=Y)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is no npz file of plain arrays"):
        load_dataset(path)
