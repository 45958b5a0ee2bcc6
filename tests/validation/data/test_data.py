"""`validation.data`: draws against brute force, preprocessing against its definition, every error message."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.datasets import load_digits

from simulator.streams import Streams
from support.places import CIFAR_ZIP, ROOT
from validation.data import DataError, Dataset, check_finite, load_dataset
from validation.data.selection import Split, balanced_draw, parse_split, water_fill

DIGITS = load_digits()


def encoded(levels: np.ndarray[Any, Any], kind: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(levels)
    (image.convert(mode) if mode else image).save(buffer, kind)
    return buffer.getvalue()


def picture(row: int, shape: tuple[int, ...] = (4, 3, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng([7, row]).integers(0, 256, shape, dtype=np.uint8)


def tree(
    train: dict[str, int], test: dict[str, int] | None = None, shape: tuple[int, ...] = (4, 3, 3)
) -> dict[str, bytes]:
    """File name -> content, with the pictures numbered in the order of the names."""
    parts = [("train", train), ("test", test or {})]
    names = [f"{part}/{c}/{i:03d}.png" for part, n in parts for c in n for i in range(n[c])]
    return {name: encoded(picture(row, shape)) for row, name in enumerate(names)}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def recovered_rows(x: np.ndarray[Any, Any], pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Which of the `pictures` (all distinct) each row of `x` is, `x` being all of them in another order."""
    raw = pictures.reshape(len(pictures), -1).astype(np.uint8)
    flat = x.reshape(len(x), -1).astype(float)
    centred = flat - flat.mean(axis=0)
    scale = (raw - raw.mean(axis=0)).std() / centred.std()
    levels = np.rint(centred * scale + raw.mean(axis=0)).astype(np.uint8)
    index = {row.tobytes(): i for i, row in enumerate(raw)}
    assert len(index) == len(raw)
    return np.array([index[row.tobytes()] for row in levels])


# Selection


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data())
def test_water_fill_is_one_at_a_time_to_the_first_smallest_share(capacity: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(capacity)))
    shares = [0] * len(capacity)
    for _ in range(total):
        shares[min((s, i) for i, s in enumerate(shares) if s < capacity[i])[1]] += 1
    assert water_fill(np.array(capacity), total).tolist() == shares


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 2**32), st.data())
def test_balanced_draw(classes: list[int], seed: int, data: st.DataObject) -> None:
    split = Split((0, 3), (1,))
    c = np.array(classes)
    sizes = {k: classes.count(k) for k in (0, 1, 3)}
    count = data.draw(st.integers(0, sum(sizes.values())))
    drawn = balanced_draw(c, split, count, np.random.default_rng(seed))
    got = {k: int((c[drawn] == k).sum()) for k in (0, 1, 3)}
    assert len(set(drawn.tolist())) == count == sum(got.values())
    negative = sizes[0] + sizes[3]
    assert [got[0] + got[3], got[1]] == water_fill(np.array([negative, sizes[1]]), count).tolist()
    assert [got[0], got[3]] == water_fill(np.array([sizes[0], sizes[3]]), got[0] + got[3]).tolist()


def test_balanced_draw_reaches_every_row_equally_and_shuffles() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 6)
    draws = np.array([balanced_draw(classes, Split((0,), (1,)), 4, rng) for _ in range(3000)])
    # Each row is in a draw with probability 1/3; five standard deviations of the fraction are 0.043.
    assert np.abs(np.bincount(draws.ravel(), minlength=12) / 3000 - 1 / 3).max() < 0.043
    assert abs((draws[:, 0] >= 6).mean() - 0.5) < 0.046


NAMES = ("cat", "dog", "owl", "7")


@pytest.mark.parametrize(
    ("text", "negative", "positive"),
    [
        ("cat:dog", (0,), (1,)),
        (" owl , 0 :1", (0, 2), (1,)),
        ("0,1:2,3", (0, 1), (2, 3)),
        ("7:0", (3,), (0,)),
    ],
)
def test_parse_split(text: str, negative: tuple[int, ...], positive: tuple[int, ...]) -> None:
    assert parse_split(text, NAMES) == Split(negative, positive)


def test_a_name_wins_over_an_index() -> None:
    assert parse_split("2:1", ("2", "5", "8")) == Split((0,), (1,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat,dog", "classes is 'cat,dog', expected NEG:POS with exactly one colon"),
        ("cat:dog:owl", "exactly one colon"),
        (":dog", "empty entry"),
        ("cat:", "empty entry"),
        ("cat,:dog", "empty entry"),
        ("cat:cow", "unknown class 'cow'; choose among cat, dog, owl, 7, or indices 0 to 3"),
        ("cat:4", "unknown class '4'"),
        ("-1:dog", "unknown class '-1'"),
        ("cat,dog:dog,owl", "'dog' on both sides"),
        ("cat,0:dog", "'cat' twice on one side"),
    ],
)
def test_bad_splits(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_split(text, NAMES)


def test_a_long_list_of_known_classes_is_cut() -> None:
    with pytest.raises(DataError, match=r"choose among a0, .*, a19, \.\.\. \(30 in all\), or indices 0 to 29"):
        parse_split("x:y", [f"a{i}" for i in range(30)])


# Digits


def test_digits_by_default(tmp_path: Path) -> None:
    d = load_dataset(data_root=tmp_path)
    assert d.name == "digits"
    assert d.source.startswith("8x8 digits of scikit-learn (no cifar-10-batches-py under ")
    assert "1,437 training and 360 test examples of shape 64" in d.source
    assert (d.negative, d.positive) == (("0", "2", "4", "6", "8"), ("1", "3", "5", "7", "9"))
    assert d.x.shape == (1437, 64)
    assert d.x.dtype == d.y.dtype == np.float64
    assert d.x.flags.c_contiguous
    raw = DIGITS.data / 16
    centred = raw[:1437] - raw[:1437].mean(axis=0)
    rows = recovered_rows(d.x, DIGITS.data[:1437])
    assert_array_equal(np.sort(rows), np.arange(1437))
    assert_allclose(d.x, (centred / centred.std())[rows], atol=1e-12)
    assert_array_equal(d.y, np.where(DIGITS.target[rows] % 2, 1, -1))
    assert d.x_test is not None
    assert_allclose(d.x_test, (raw[1437:] - raw[:1437].mean(axis=0)) / centred.std(), atol=1e-12)
    assert_array_equal(d.y_test, np.where(DIGITS.target[1437:] % 2, 1, -1))
    assert len(d.spectrum) == 200
    assert d.y[d.spectrum].sum() == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 560), st.integers(0, 2**63), st.data())
def test_drawn_digits(m: int, seed: int, data: st.DataObject) -> None:
    """Balanced over four classes; the test examples are those of the last 360, whatever was drawn."""
    k = data.draw(st.integers(1, m))
    d = load_dataset("digits", classes="3,1:8,0", examples=m, spectrum_examples=k, seed=seed)
    assert (d.negative, d.positive) == (("1", "3"), ("0", "8"))
    kept = np.flatnonzero(np.isin(DIGITS.target, (0, 1, 3, 8)))
    assert d.x_test is not None
    assert d.y_test is not None
    streams = Streams(seed)
    split = Split((1, 3), (0, 8))
    train = kept[balanced_draw(DIGITS.target[kept[kept < 1437]], split, m, streams("examples"))]
    test = kept[kept >= 1437]
    assert len(np.unique(train)) == m
    assert train.max() < 1437
    digit = DIGITS.target[train]
    shares = [int((digit == c).sum()) for c in (1, 3, 0, 8)]
    assert shares == [(m + 3) // 4, (m + 1) // 4, (m + 2) // 4, m // 4]
    assert_array_equal(d.y, np.where(np.isin(digit, (0, 8)), 1, -1))
    assert_array_equal(d.y_test, np.where(np.isin(DIGITS.target[test], (0, 8)), 1, -1))
    mean = (DIGITS.data[train] / 16).mean(axis=0)
    deviation = (DIGITS.data[train] / 16 - mean).std()
    assert_allclose(d.x, (DIGITS.data[train] / 16 - mean) / deviation, atol=1e-11)
    assert_allclose(d.x_test, (DIGITS.data[test] / 16 - mean) / deviation, atol=1e-11)
    spectrum = DIGITS.target[train[d.spectrum]]
    assert np.all(np.diff(d.spectrum) > 0)
    assert [int((spectrum == c).sum()) for c in (1, 3, 0, 8)] == [(k + i) // 4 for i in (3, 1, 2, 0)]


def test_unequal_classes_are_filled_up_from_the_larger_ones() -> None:
    d = load_dataset("digits", classes="0,1,2,3,4,5,6,7,8:9", examples=500)
    assert int((d.y > 0).sum()) == (DIGITS.target[:1437] == 9).sum() == 143


def same(a: Dataset, b: Dataset) -> bool:
    pairs = [(a.x, b.x), (a.y, b.y), (a.spectrum, b.spectrum)]
    return all(np.array_equal(u, v) for u, v in pairs)


def test_seeds() -> None:
    def load(seed: int | np.random.Generator, k: int = 9) -> Dataset:
        return load_dataset("digits", examples=100, spectrum_examples=k, seed=seed)

    assert same(load(3), load(3))
    assert same(load(np.random.default_rng(3)), load(np.random.default_rng(3)))
    assert not np.array_equal(load(3).x, load(4).x)
    assert_array_equal(load(3).x, load(3, k=50).x)
    assert not np.array_equal(load(3).spectrum, load(4).spectrum)
    generator = np.random.default_rng(3)
    assert not np.array_equal(load(generator).x, load(generator).x)


def test_the_two_draws_have_streams_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def spy(classes: Any, split: Split, count: int, rng: np.random.Generator) -> Any:
        drawn.append(rng.bit_generator.state)
        return balanced_draw(classes, split, count, rng)

    monkeypatch.setattr("validation.data.dataset.balanced_draw", spy)
    load_dataset("digits", examples=10, seed=5)
    streams = Streams(5)
    assert drawn == [streams(purpose).bit_generator.state for purpose in ("examples", "spectrum examples")]


def test_streams_of_neighbouring_seeds_are_not_shared() -> None:
    spectra = [load_dataset("digits", spectrum_examples=100, seed=s).spectrum for s in range(4)]
    # Chance overlap of 100 out of 1,437 is 7.0 with deviation 2.5.
    assert all(len(np.intersect1d(u, v)) < 20 for i, u in enumerate(spectra) for v in spectra[:i])


def test_single_precision_on_request() -> None:
    d = load_dataset("digits", dtype="float32")
    assert d.x.dtype == np.float32
    assert d.y.dtype == np.float64
    assert_allclose(d.x, load_dataset("digits").x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 1798}, "examples is 1798, but 1,437 training examples .* choose 2 to 1,437"),
        ({"examples": 400, "classes": "0:1"}, "but 289 training examples of these classes"),
        ({"examples": 1}, "examples is 1, .* choose 2 to 1,437"),
        ({"examples": 0}, "examples is 0"),
        ({"examples": -5}, "examples is -5"),
        (
            {"examples": 50, "spectrum_examples": 51},
            "spectrum_examples is 51, but 50 drawn .* choose 1 to 50",
        ),
        ({"spectrum_examples": 0}, "spectrum_examples is 0"),
        ({"spectrum_examples": -1}, "spectrum_examples is -1"),
        ({"dtype": "float16"}, "dtype is 'float16', expected float32 or float64"),
        ({"dtype": "number"}, "dtype is 'number', expected float32 or float64"),
        ({"seed": -1}, "seed is -1, expected an integer of at least 0"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"classes": "0:ten"}, "unknown class 'ten'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset("digits", **options)


# Image folders and archives


@pytest.fixture
def files() -> dict[str, bytes]:
    return tree({"ant": 5, "bee": 4, "cow": 6}, {"ant": 1, "cow": 2})


def test_image_folder(tmp_path: Path, files: dict[str, bytes]) -> None:
    d = load_dataset(write_folder(tmp_path / "farm", files))
    assert d.name == "farm"
    assert d.source == (
        f"image folder '{tmp_path / 'farm'}': 15 training and 3 test examples of shape 4x3x3, "
        "label -1: ant; +1: bee, cow"
    )
    assert (d.negative, d.positive) == (("ant",), ("bee", "cow"))
    pictures = np.array([picture(row) for row in range(18)])
    rows = recovered_rows(d.x, pictures[:15])
    assert_array_equal(np.sort(rows), np.arange(15))
    assert_array_equal(d.y, np.where(rows < 5, -1, 1))
    assert_array_equal(d.spectrum, np.arange(15))
    assert d.x.dtype == np.float32
    assert d.x.flags.c_contiguous
    mean = (pictures[:15] / 255).mean(axis=0)
    deviation = (pictures[:15] / 255 - mean).std()
    assert_allclose(d.x, (pictures[rows] / 255 - mean) / deviation, atol=1e-5)
    assert d.x_test is not None
    assert d.x_test.dtype == np.float32
    assert_allclose(d.x_test, (pictures[15:] / 255 - mean) / deviation, atol=1e-5)
    assert d.y_test is not None
    assert d.y_test.tolist() == [-1, 1, 1]


def test_archives_give_what_the_folder_gives(tmp_path: Path, files: dict[str, bytes]) -> None:
    clutter = {
        "__MACOSX/train/ant/._000.png": b"",
        "train/.DS_Store": b"",
        "train/.hidden/x.png": b"",
        "train/ant/.x.png": b"",
        "train/ant/notes.txt": b"",
        "train/ant/deep/er/x.webp": encoded(picture(40), "WEBP"),
        "train/bee/y.GIF": b"",
        "train/z.png": b"",
        "val/ant/z.png": b"",
        "train/readme.md": b"",
        "README": b"",
    }
    folder = load_dataset(write_folder(tmp_path / "farm", files | clutter), examples=8)
    backwards = dict(reversed((files | clutter).items()))
    plain = load_dataset(write_zip(tmp_path / "plain.zip", backwards), examples=8)
    wrapped = load_dataset(
        str(write_zip(tmp_path / "w.zip", {f"some/{k}": v for k, v in backwards.items()})), examples=8
    )
    assert (plain.name, wrapped.name) == ("plain", "w")
    assert same(folder, plain)
    assert same(folder, wrapped)
    assert_array_equal(folder.x_test, wrapped.x_test)
    counted = {".gif": 1, ".txt": 1, "folders beside train and test": 1, "hidden": 3, "in no class": 2}
    assert dict(folder.left_out) == dict(plain.left_out) == dict(wrapped.left_out) == counted
    assert "8 of 16 training and 3 test examples" in folder.source
    assert folder.source.endswith(
        "; left out (hidden: 3, in no class: 2, .gif: 1, .txt: 1, folders beside train and test: 1)"
    )


def test_what_torchvision_reads(tmp_path: Path) -> None:
    """Every ending, in any case, and folders below a class at any depth; levels as they were written."""
    kinds = {"ppm": "PPM", "bmp": "BMP", "PNG": "PNG", "tif": "TIFF", "TIFF": "TIFF"}
    files = {
        f"train/{c}/{'deep/' * i}{i}.{e}": (10 * ord(c) + i, k) for c in "ab" for i, (e, k) in enumerate(kinds.items())
    }
    content = {name: encoded(picture(row), kind) for name, (row, kind) in files.items()}
    d = load_dataset(write_folder(tmp_path / "many", content))
    assert_array_equal(
        np.sort(recovered_rows(d.x, np.array([picture(row) for row, _ in files.values()]))), np.arange(10)
    )
    assert dict(d.left_out) == {}
    assert "left out" not in d.source
    grey = {f"train/{c}/0.pgm": encoded(picture(ord(c), (4, 3)), "PPM") for c in "ab"}
    assert load_dataset(write_zip(tmp_path / "grey.zip", grey)).x.shape == (2, 4, 3, 1)


def test_links_are_followed_to_each_folder_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", tree({"a": 2, "b": 2}))
    write_folder(tmp_path / "elsewhere", {"0.png": encoded(picture(9)), "sub/1.png": encoded(picture(10))})
    a = root / "train" / "a"
    (a / "loop").symlink_to(a)
    (a / "more").symlink_to(tmp_path / "elsewhere")
    (a / "again").symlink_to(tmp_path / "elsewhere" / "sub")
    (a / "itself").symlink_to("itself")
    (a / "gone.png").symlink_to("nowhere")
    d = load_dataset(root)
    assert (len(d.y), int((d.y < 0).sum())) == (6, 4)
    assert dict(d.left_out) == {"folders reached again through a link": 2, "no regular file": 2}


def test_many_reasons_are_cut(tmp_path: Path) -> None:
    strange = {f"train/a/{i}.{chr(97 + i)}x\n": b"" for i in range(12)}
    d = load_dataset(write_zip(tmp_path / "f.zip", OK | strange))
    assert d.source.endswith(", of other kinds: 4)")
    assert "\n" not in d.source
    assert sum(d.left_out.values()) == 12


@pytest.mark.parametrize("value", [100.0, "100", True, None.__class__, np.float64(9)])
def test_a_number_of_examples_that_is_none(value: Any) -> None:
    with pytest.raises(DataError, match=r"examples is .* choose 2 to"):
        load_dataset("digits", examples=value)
    assert len(load_dataset("digits", examples=np.int16(10)).y) == 10


def test_nothing_is_extracted(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "b.zip", files)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../train/ant/evil.png", b"")
        archive.writestr("/train/ant/evil.png", b"")
    assert len(load_dataset(path).x) == 15
    assert sorted(f.name for f in tmp_path.rglob("*")) == ["a", "b.zip"]


def test_suffixes_and_jpeg(tmp_path: Path) -> None:
    contents = {f"train/{c}/{i}.{e}": (c, i, e) for c in "ab" for i, e in enumerate(("JPG", "jpeg", "PnG", "png"))}
    flat = {k: np.full((8, 8, 3), 40 * i + 9 * (c == "b"), np.uint8) for k, (c, i, _) in contents.items()}
    files = {k: encoded(v, "PNG" if k.lower().endswith("png") else "JPEG") for k, v in flat.items()}
    assert load_dataset(write_folder(tmp_path, files)).x.shape == (8, 8, 8, 3)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("1", 3), ("LA", 3)])
def test_modes(tmp_path: Path, mode: str, channels: int) -> None:
    files = {f"train/{c}/{i}.png": encoded(picture(ord(c) + i), mode=mode) for c in "ab" for i in range(2)}
    assert load_dataset(write_folder(tmp_path, files)).x.shape == (4, 4, 3, channels)


def test_only_selected_images_are_decoded(tmp_path: Path, files: dict[str, bytes]) -> None:
    root = write_folder(tmp_path, files | {"train/bee/002.png": b"not an image"})
    assert len(load_dataset(root, classes="ant:cow").x) == 11
    outcomes = []
    for seed in range(20):
        try:
            load_dataset(root, examples=4, seed=seed)
        except DataError as error:
            outcomes.append(str(error).partition(" ")[0])
        else:
            outcomes.append("")
    # One of four bees is damaged, and one is drawn each time.
    assert set(outcomes) == {"'train/bee/002.png'", ""}
    assert outcomes.count("") > 8


def test_a_test_part_keeps_the_undrawn_out(tmp_path: Path, files: dict[str, bytes]) -> None:
    d = load_dataset(write_folder(tmp_path / "with", files), examples=4, classes="ant:cow")
    assert d.y_test is not None
    assert d.y_test.tolist() == [-1, 1, 1]
    train_only = {k: v for k, v in files.items() if k.startswith("train")}
    d = load_dataset(write_folder(tmp_path / "without", train_only), examples=4, classes="ant:cow")
    assert d.y_test is not None
    assert d.y_test.tolist() == [-1] * 3 + [1] * 4


def test_default_sizes_of_images(tmp_path: Path) -> None:
    dot = [encoded(np.full((1, 1), level, np.uint8)) for level in (0, 255)]
    files = {f"train/{c}/{i}.png": dot[i % 2] for c in "ab" for i in range(2600)}
    d = load_dataset(write_zip(tmp_path / "dots.zip", files))
    assert d.x.shape == (5000, 1, 1, 1)
    assert d.y.sum() == 0
    assert len(d.spectrum) == 1000
    assert d.y_test is not None
    assert len(d.y_test) == 200


OK = tree({"a": 2, "b": 2}, {"a": 1, "b": 1})
TRUNCATED = encoded(picture(0, (40, 40, 3)))[:900]
GREY = encoded(picture(0, (4, 3)))
BAD_TREES: list[tuple[dict[str, bytes], str]] = [
    ({"other/a/0.png": b""}, r"has no train/ folder, expected train/<class>"),
    ({"train.txt": b""}, r"has no train/ folder"),
    ({"train/x.png": b""}, r"train/ in '.*' has 0 classes, expected at least 2"),
    (tree({"a": 2}), r"has 1 classes, expected at least 2"),
    (OK | {"train/c/x.txt": b""}, r"class 'c' in train/ of '.*' has no image"),
    (OK | {"test/c/x.png": b""}, r"test/ in '.*' has the class 'c', which train/ lacks"),
    (tree({"a": 2, "b": 2}, {"a": 1}), r"test part of .* holds no example of label \+1 \(b\), expected both"),
    (OK | {"train/a/000.png": b""}, r"'train/a/000.png' in '.*' cannot be decoded"),
    (OK | {"test/b/000.png": b"GIF89a?"}, r"'test/b/000.png' in '.*' cannot be decoded"),
    (OK | {"train/b/001.png": TRUNCATED}, r"'train/b/001.png' in '.*' cannot be decoded"),
    (OK | {"test/b/000.png": GREY}, r"'test/b/000.png' in '.*' is 3x4 grey, expected 3x4 RGB as 'train/"),
    (
        OK | {"test/a/000.png": encoded(picture(0, (3, 4, 3)))},
        r"'test/a/000.png' in '.*' is 4x3 RGB, expected",
    ),
    (OK | {"train/a/000.png": encoded(np.full((4, 3), 999, np.uint16))}, r"'train/a/000.png' in .*8 bits"),
    (dict.fromkeys(OK, encoded(picture(0))), r"all 4 training examples are identical"),
]


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize(("bad", "message"), BAD_TREES)
def test_bad_images(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], bad: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(write(tmp_path / "data", bad))
    assert "\n" not in str(caught.value)


def test_empty_class_folders_are_seen(tmp_path: Path) -> None:
    (write_folder(tmp_path / "f", OK) / "train" / "c").mkdir()
    with zipfile.ZipFile(write_zip(tmp_path / "f.zip", OK), "a") as archive:
        archive.mkdir("train/c")
    for path in ("f", "f.zip"):
        with pytest.raises(DataError, match="class 'c' in train/"):
            load_dataset(tmp_path / path)


def test_bad_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"data is 'mnist', which does not exist; give auto, digits, cifar10"):
        load_dataset("mnist")
    (tmp_path / "empty").mkdir()
    write_zip(tmp_path / "empty.zip", {})
    for name in ("empty", "empty.zip"):
        with pytest.raises(DataError, match="has no train/ folder"):
            load_dataset(tmp_path / name)
    (tmp_path / "text").write_bytes(b"text")
    content = write_zip(tmp_path / "good.zip", OK).read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    for name in ("text", "cut.zip"):
        with pytest.raises(DataError, match="not a ZIP archive or a damaged one"):
            load_dataset(tmp_path / name)

    def refuse(self: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); check its permissions"):
        load_dataset(write_folder(tmp_path / "f", OK))


def test_damaged_archive_member_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "z.zip", OK)
    content = path.read_bytes()
    path.write_bytes(content.replace(OK["train/b/000.png"], OK["train/b/000.png"][:-1] + b"?"))
    with pytest.raises(DataError, match=r"'train/b/000.png' in .* cannot be decoded \(Bad CRC-32"):
        load_dataset(path)


# CIFAR-10 through torchvision, which is not needed for these tests

CIFAR_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def fake_torchvision(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None = None, per_class: int = 6
) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def cifar10(root: str, train: bool, download: bool) -> SimpleNamespace:
        calls.append({"root": root, "train": train, "download": download})
        if error is not None:
            raise error
        n = 10 * (per_class if train else 2)
        data = np.random.default_rng(train).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
        return SimpleNamespace(data=data, targets=[i % 10 for i in range(n)], classes=CIFAR_NAMES)

    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(CIFAR10=cifar10))
    return calls


@pytest.mark.parametrize(("data", "on_disk"), [("auto", True), ("cifar10", True), ("cifar10", False)])
def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, on_disk: bool) -> None:
    if on_disk:
        (tmp_path / "cifar-10-batches-py").mkdir()
    calls = fake_torchvision(monkeypatch)
    d = load_dataset(data, tmp_path, classes="cat,dog:ship,9")
    assert [(c["train"], c["download"]) for c in calls] == [(True, not on_disk), (False, False)]
    assert {c["root"] for c in calls} == {str(tmp_path)}
    assert d.name == "cifar10"
    assert d.source.startswith(f"CIFAR-10 under '{tmp_path}': 24 training and 8 test examples of shape 32x32x3")
    assert (d.negative, d.positive) == (("cat", "dog"), ("ship", "truck"))
    raw = np.random.default_rng(True).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    kept = np.array([i for i in range(60) if i % 10 in (3, 5, 8, 9)])
    rows = kept[recovered_rows(d.x, raw[kept])]
    assert_array_equal(d.y, np.where(np.isin(rows % 10, (8, 9)), 1, -1))
    assert d.y_test is not None
    assert d.y_test.tolist() == [-1, -1, 1, 1] * 2
    assert load_dataset(data, tmp_path).negative == tuple(CIFAR_NAMES[:5])


@pytest.mark.parametrize("on_disk", [False, True])
def test_cifar10_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool) -> None:
    if on_disk:
        (tmp_path / "cifar-10-batches-py").mkdir()
    fake_torchvision(monkeypatch, RuntimeError("File not found or corrupted.\nmore"))
    with pytest.raises(DataError, match=r"place cifar-10-python\.tar\.gz in .* or --data digits") as caught:
        load_dataset("cifar10", tmp_path)
    assert f"could not be {'read' if on_disk else 'downloaded'} under" in str(caught.value)
    assert "\n" not in str(caught.value)
    fake_torchvision(monkeypatch, MemoryError())
    with pytest.raises(MemoryError):
        load_dataset("cifar10", tmp_path)


def test_cifar10_on_disk_without_torchvision_is_no_silent_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    for data in ("auto", "cifar10"):
        with pytest.raises(DataError, match=r"pip install 'umwelt-dnn\[cifar\]', or use --data digits"):
            load_dataset(data, tmp_path)


def test_inputs_are_made_without_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torchvision(monkeypatch, per_class=300)
    tracemalloc.start()
    d = load_dataset("cifar10", tmp_path, examples=3000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert d.x_test is not None
    floats = d.x.nbytes + d.x_test.nbytes
    # A float64 copy would add 2, a float32 one 1; the levels are a quarter, twice while they are selected.
    assert peak < 1.4 * floats


# The rest


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_finite(bad: float) -> None:
    x = np.zeros((3, 2), dtype=np.float32)
    check_finite(x, "the inputs")
    check_finite(x[:0], "nothing")
    x[1, 1] = bad
    with pytest.raises(DataError, match=rf"the inputs has the value {bad} at index \(1, 1\), expected finite"):
        check_finite(x, "the inputs")


def test_importing_loads_no_image_or_learning_library() -> None:
    heavy: Sequence[str] = ("torch", "torchvision", "matplotlib", "sklearn", "PIL")
    code = f"import sys, validation.data; print([m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.skipif(not CIFAR_ZIP.exists(), reason=f"no CIFAR-10 archive at {CIFAR_ZIP}")
def test_real_images() -> None:
    d = load_dataset(CIFAR_ZIP, classes="cat:dog", examples=200, spectrum_examples=50)
    assert d.x.shape == (200, 32, 32, 3)
    assert d.x_test is not None
    assert d.x_test.shape == (2000, 32, 32, 3)
    assert d.y.sum() == d.y[d.spectrum].sum() == 0
    assert abs(d.x.std() - 1) < 1e-5
    assert 0.9 < d.x_test.std() < 1.1
