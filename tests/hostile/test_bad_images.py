"""Damaged and hostile image folders and archives: `DataError`, or the data set of the undamaged images."""

from __future__ import annotations

import io
import os
import stat
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from support.bad_input import damaged, damages, explore, table, verdict
from validation.data import DataError, Dataset, load_dataset

REDUCED = bool(os.environ.get("UMWELT_REDUCED"))
COUNTS = [40, pytest.param(300 if REDUCED else 4000, marks=pytest.mark.slow)]
PIXELS = {name: np.random.default_rng([3, i]).integers(0, 256, (5, 4, 3), dtype=np.uint8) for i, name in
          enumerate(f"train/{c}/{k}" for c in ("cat", "dog") for k in range(3))}  # fmt: skip


def encoded(levels: Any, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, kind)
    return buffer.getvalue()


def files(kind: str = "png") -> dict[str, bytes]:
    return {f"{name}.{kind}": encoded(levels, {"png": "PNG", "jpg": "JPEG"}[kind]) for name, levels in PIXELS.items()}


def write_folder(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return stream.getvalue()


def load(path: Path) -> Dataset:
    return load_dataset(str(path), spectrum_examples=2)


def whole(data: Dataset) -> bool:
    """Finite inputs of one shape with both labels."""
    return bool(
        data.x.ndim == 4 and len(data.x) == len(data.y) and np.isfinite(data.x).all() and set(data.y) == {-1.0, 1.0}
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(write_folder(tmp_path_factory.mktemp("original"), files()))


def same(data: Dataset, original: Dataset) -> bool:
    return bool(data.x.shape == original.x.shape and np.array_equal(data.x, original.x))


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)  # zipfile: a name twice
        yield


@pytest.mark.parametrize("examples", COUNTS)
def test_a_damaged_png_in_a_folder(examples: int, tmp_path: Path, original: Dataset) -> None:
    root, good = write_folder(tmp_path / "images", files()), files()
    victim = "train/cat/1.png"

    def check(damage: list[tuple[str, float, int]]) -> None:
        (root / victim).write_bytes(damaged(good[victim], damage))
        verdict("png damaged", lambda: load(root), lambda data: same(data, original), DataError)

    check([("cut", 0.875, 0), ("flip", 0.5, 0)])  # decodes to other pixels where no checksum is compared
    explore(check, examples, damages())


@pytest.mark.parametrize("examples", COUNTS)
def test_a_damaged_jpeg_in_a_folder(examples: int, tmp_path: Path) -> None:
    """JPEG has no checksum: what can be decoded is what stands there, and it is finite and of the right size."""
    root, good = write_folder(tmp_path / "images", files("jpg")), files("jpg")
    victim = "train/cat/1.jpg"

    def check(damage: list[tuple[str, float, int]]) -> None:
        (root / victim).write_bytes(damaged(good[victim], damage))
        verdict("jpeg damaged", lambda: load(root), whole, DataError)

    explore(check, examples, damages())


@pytest.mark.parametrize("examples", COUNTS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_damaged_archive(method: int, examples: int, tmp_path: Path, original: Dataset) -> None:
    good, path = zipped(files(), method), tmp_path / "images.zip"

    def right(data: Dataset) -> bool:
        # A damaged name is another name: an image fewer, or another class, but never other pixels.
        return same(data, original) or (whole(data) and "cat" in data.negative + data.positive)

    def check(damage: list[tuple[str, float, int]]) -> None:
        path.write_bytes(damaged(good, damage))
        verdict("image archive damaged", lambda: load(path), right, DataError)

    explore(check, examples, damages())


@pytest.mark.parametrize("examples", COUNTS)
def test_any_names_in_an_archive(examples: int, tmp_path: Path, original: Dataset) -> None:
    """Paths that climb out of the archive, absolute, empty, hidden or strange: nothing is written, anywhere."""
    path = tmp_path / "images.zip"
    words = st.sampled_from(
        ["..", ".", "", "/", "train", "test", "cat", "dog", "a\x00b", "ü", "C:\\x", "x.png", "~", "*"]
    )

    def check(names: list[list[str]]) -> None:
        picture = encoded(PIXELS["train/cat/0"])
        extra = {"/".join(parts) + ".png": picture for parts in names}
        path.write_bytes(zipped(files() | extra))
        verdict("archive names", lambda: load(path), whole, DataError)

    before = set(tmp_path.parent.rglob("*"))
    explore(check, examples, st.lists(st.lists(words, min_size=1, max_size=5), min_size=1, max_size=4))
    assert set(tmp_path.parent.rglob("*")) - before <= {path}


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of this size, grey, whose pixels are what `data` says."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_bombs(tmp_path: Path) -> None:
    """Small files that say they are huge: refused before they become so."""
    huge = {
        "pixels": png_header(12_000, 12_000),
        "wide": png_header(2**31 - 1, 1),
        "member": b"\x89PNG\r\n\x1a\n" + bytes(150_000_000),
    }
    for name, content in huge.items():
        for place in ("train/cat/0.png", "train/dog/2.png"):
            path = tmp_path / f"{name}.zip"
            path.write_bytes(zipped(files() | {place: content}))
            tracemalloc.start()
            assert verdict("image bomb", lambda p=path: load(p), whole, DataError) == "refused"
            assert tracemalloc.get_traced_memory()[1] < 50_000_000
            tracemalloc.stop()


def test_what_is_no_file(tmp_path: Path) -> None:
    """Pipes, devices and folders called like images would be read without end; they are no images."""
    root = write_folder(tmp_path / "images", files())
    os.mkfifo(root / "train" / "cat" / "pipe.png")
    (root / "train" / "cat" / "folder.png").mkdir()
    (root / "train" / "cat" / "zero.png").symlink_to("/dev/zero")
    (root / "train" / "cat" / "broken.png").symlink_to(root / "nowhere")
    assert verdict("no file", lambda: load(root), whole, DataError)
    os.mkfifo(tmp_path / "pipe.zip")
    for path in (tmp_path / "pipe.zip", Path("/dev/zero"), Path("/dev/null")):
        assert verdict("no file", lambda p=path: load(p), whole, DataError) == "refused"


def test_other_kinds_of_image_are_not_decoded(tmp_path: Path) -> None:
    """A file's content decides what decodes it: PostScript called .png must not reach an interpreter."""
    root = write_folder(tmp_path / "images", files())
    (root / "train/cat/0.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="cannot be decoded"):
        load(root)
    for kind, outcome in (
        ("BMP", "right"),
        ("TIFF", "right"),
        ("PPM", "right"),
        ("GIF", "refused"),
        ("ICO", "refused"),
    ):
        (root / "train/cat/0.png").write_bytes(encoded(PIXELS["train/cat/0"], kind))
        assert verdict("other image", lambda: load(root), whole, DataError) == outcome


def test_unreadable_and_too_long(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images", files())
    victim = root / "train/cat/0.png"
    victim.chmod(0)
    if not os.access(victim, os.R_OK):
        assert verdict("path", lambda: load(root), whole, DataError) == "refused"
    victim.chmod(stat.S_IRUSR | stat.S_IWUSR)
    for name in ("x" * 5000, "a\x00b", "", "\udcff", "images/" * 2000):
        assert verdict("path", lambda n=name: load_dataset(n), whole, DataError) == "refused"


def test_the_tally(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{table()}")
