"""The image-folder layout `train/<class>/*.jpg|jpeg|png`, optional `test/`, in a folder or a ZIP archive.

An archive is read in place: nothing is extracted, so no name in it can reach the file system.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from validation.data.errors import DataError

Tree = dict[str, dict[str, list[str]]]
"""Part ("train", "test") -> class -> names of its image files relative to the root, everything sorted."""

_SUFFIXES = (".jpg", ".jpeg", ".png")
_PARTS = ("train", "test")
_LAYOUT = "train/<class>/*.jpg, *.jpeg or *.png"


def image_tree(path: Path) -> Tree:
    """The image files under a folder or in a ZIP archive, where one folder may wrap train/ and test/.

    Hidden files, `__MACOSX` and files of other kinds are left out; a class folder without images is an empty
    list. Raises `DataError` for a missing path, a file that is no ZIP archive, a path that cannot be read,
    and where there is no train/.
    """
    if not path.exists():
        raise DataError(
            f"data is '{path}', which does not exist; "
            "give auto, digits, cifar10, or the path of an image folder or ZIP archive."
        )
    try:
        tree = _folder_tree(path) if path.is_dir() else _zip_tree(path)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"data is '{path}', expected an image folder or a ZIP archive, got a file that is not a ZIP "
            "archive or a damaged one; give another path or copy it again."
        ) from error
    except OSError as error:
        raise DataError(f"data is '{path}', which cannot be read ({error.strerror}); check its permissions.") from error
    if "train" not in tree:
        raise DataError(f"'{path}' has no train/ folder, expected {_LAYOUT} in it; arrange the images so.")
    return tree


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
    return sorted(f"{folder}/{file.name}" for file in (root / folder).iterdir() if _is_image(file.name))


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
        yield lambda name: (path / name).read_bytes()
    else:
        with zipfile.ZipFile(path) as archive:
            yield archive.read


def _decode(path: Path, name: str, read_bytes: Callable[[str], bytes]) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_bytes(name))) as image:
            mode = image.mode
            levels = np.asarray(image if mode == "L" else image.convert("RGB"), dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # damaged input makes Pillow and zipfile raise OSError, SyntaxError and others
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"'{name}' in '{path}' cannot be decoded ({reason}); replace or remove this image.") from error
    # Conversion would clip these to 255 without a word.
    if mode == "F" or mode.startswith("I"):
        raise DataError(
            f"'{name}' in '{path}' has mode {mode}, expected 8 bits a channel; convert it to 8-bit grey or RGB."
        )
    return levels[:, :, None] if mode == "L" else levels
