"""The image-folder layout `train/<class>/*.jpg|jpeg|png`, optional `test/`, in a folder or a ZIP archive.

An archive is read in place: nothing is extracted, so no name in it can reach the file system.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from validation.data.errors import DataError

Tree = dict[str, dict[str, list[str]]]
"""Part ("train", "test") -> class -> names of its image files relative to the root, everything sorted."""

_SUFFIXES = (".jpg", ".jpeg", ".png")
_PARTS = ("train", "test")
_FORMATS = ("PNG", "JPEG")
_MOST_PIXELS = 1 << 24  # of one image; networks here see far smaller ones
_LARGEST_FILE = 1 << 27  # bytes of one image: more than _MOST_PIXELS can take
_LAYOUT = "train/<class>/*.jpg, *.jpeg or *.png"


def image_tree(path: Path) -> Tree:
    """The image files under a folder or in a ZIP archive, where one folder may wrap train/ and test/.

    Hidden files, `__MACOSX` and files of other kinds are left out; a class folder without images is an empty
    list. Raises `DataError` for a missing path, a file that is no ZIP archive, a path that cannot be read,
    and where there is no train/.
    """
    try:
        if not (path.is_dir() or path.is_file()):
            what = "is neither a folder nor a file" if path.exists() else "does not exist"  # a pipe would never end
            raise DataError(
                f"data is '{_shown(path)}', which {what}; "
                "give auto, digits, cifar10, or the path of an image folder or ZIP archive."
            )
        tree = _folder_tree(path) if path.is_dir() else _zip_tree(path)
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise DataError(
            f"data is '{path}', expected an image folder or a ZIP archive, got a file that is not a ZIP "
            "archive or a damaged one; give another path or copy it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"data is '{_shown(path)}', which cannot be read ({error.strerror}); check its permissions."
        ) from error
    except Exception as error:  # a damaged directory makes zipfile raise others than its own error
        raise DataError(f"data is '{path}', a damaged ZIP archive ({_reason(error)}); copy it again.") from error
    if "train" not in tree:
        raise DataError(f"'{path}' has no train/ folder, expected {_LAYOUT} in it; arrange the images so.")
    return tree


def _shown(path: Path, most: int = 200) -> str:
    text = str(path)
    return text if len(text) <= most else f"{text[:most]}..."


def _reason(error: Exception) -> str:
    """What an error of another library says, in one short line."""
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    return not _hidden(name) and name.lower().endswith(_SUFFIXES)


def _folder_tree(root: Path) -> Tree:
    tree: Tree = {}
    for part in _PARTS:
        if (root / part).is_dir():
            folders = sorted(f.name for f in (root / part).iterdir() if f.is_dir() and not _hidden(f.name))
            tree[part] = {name: _folder_images(root, f"{part}/{name}") for name in folders}
    return tree


def _folder_images(root: Path, folder: str) -> list[str]:
    with os.scandir(root / folder) as entries:
        return sorted(f"{folder}/{entry.name}" for entry in entries if _is_image(entry.name) and entry.is_file())


def _zip_tree(path: Path) -> Tree:
    with zipfile.ZipFile(path) as archive:
        # A directory's name ends in "/", here in an empty file name: empty class folders stay visible.
        entries = [tuple(name.split("/")) for name in archive.namelist()]
    prefix = _wrapper(entries)
    found: dict[str, dict[str, set[str]]] = {}
    for entry in entries:
        inner = entry[len(prefix) :]
        if entry[: len(prefix)] != prefix or len(inner) < 2 or inner[0] not in _PARTS:
            continue
        classes = found.setdefault(inner[0], {})
        if len(inner) >= 3 and not _hidden(inner[1]):
            files = classes.setdefault(inner[1], set())
            if len(inner) == 3 and _is_image(inner[2]):
                files.add("/".join(entry))
    return {part: {name: sorted(found[part][name]) for name in sorted(found[part])} for part in sorted(found)}


def _wrapper(entries: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """() where train/ is at the top of the archive or nowhere, (name,) where it is in one folder `name`."""
    tops = {entry[0] for entry in entries if len(entry) > 2 and entry[1] == "train" and not _hidden(entry[0])}
    at_top = any(len(entry) > 1 and entry[0] == "train" for entry in entries)
    return (tops.pop(),) if len(tops) == 1 and not at_top else ()


def read_images(path: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """Decode the images `names` under `path`: levels (n, H, W, C), C = 1 for grey (mode L), else 3 (RGB).

    The first image decides size and mode. Raises `DataError` naming the first file that differs from it or
    that cannot be decoded.
    """
    levels: NDArray[np.uint8] | None = None
    with _opened(path) as read_bytes:
        for row, name in enumerate(names):
            image = _decode(path, name, read_bytes)
            if levels is None:
                levels = np.empty((len(names), *image.shape), dtype=np.uint8)
            elif image.shape != levels.shape[1:]:
                raise DataError(
                    f"'{name}' in '{path}' is {_describe(image.shape)}, expected "
                    f"{_describe(levels.shape[1:])} as '{names[0]}'; bring all images to one size and mode."
                )
            levels[row] = image
    assert levels is not None, "a selection has at least two rows"
    return levels


def _describe(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], bytes]]:
    if path.is_dir():
        yield lambda name: _limited((path / name).open("rb"), (path / name).stat().st_size)
    else:
        with zipfile.ZipFile(path) as archive:
            yield lambda name: _limited(archive.open(name), archive.getinfo(name).file_size)


def _limited(stream: IO[bytes], size: int) -> bytes:
    """A file's bytes, unless it says that it has more than an image can have; zipfile reads no more than it says."""
    with stream:
        if size > _LARGEST_FILE:
            raise ValueError(f"it has {size:,} bytes, more than {_LARGEST_FILE:,}")
        return stream.read()


def _verify(png: bytes) -> None:
    """Compare the checksums of a PNG's chunks: decoding may stop before the one that tells of other pixels."""
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=_FORMATS) as image:
        image.verify()


def _decode(path: Path, name: str, read_bytes: Callable[[str], bytes]) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        # The content, not the name, decides the decoder: only these two, none that runs other programs.
        data = read_bytes(name)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            mode, (width, height) = image.mode, image.size
            if width * height > _MOST_PIXELS:
                raise ValueError(f"it says that it has {width}x{height} pixels, more than {_MOST_PIXELS:,}")
            if image.format == "PNG":
                _verify(data)
            levels = np.asarray(image if mode == "L" else image.convert("RGB"), dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # damaged input makes Pillow and zipfile raise OSError, SyntaxError and others
        raise DataError(
            f"'{name}' in '{path}' cannot be decoded ({_reason(error)}); replace or remove this image."
        ) from error
    # Conversion would clip these to 255 without a word.
    if mode == "F" or mode.startswith("I"):
        raise DataError(
            f"'{name}' in '{path}' has mode {mode}, expected 8 bits a channel; convert it to 8-bit grey or RGB."
        )
    return levels[:, :, None] if mode == "L" else levels
