"""The image-folder layout `train/<class>/.../*.png` and the like, optional `test/`, in a folder or a ZIP archive.

What is read is what torchvision's `ImageFolder` reads: its endings, and folders at any depth below a class. What stands
there and is not read is counted. An archive is read in place: nothing is extracted, so no name in it can reach the
file system.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from validation.errors import DataError
from validation.run.console import printable

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_PARTS = ("train", "test")
_FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")
_MOST_PIXELS = 1 << 24  # of one image; networks here see far smaller ones
_LARGEST_FILE = 1 << 27  # bytes of one image: more than _MOST_PIXELS can take
_LAYOUT = "train/<class>/*.png (or another ending of an image)"


@dataclass(frozen=True)
class Tree:
    """What a folder or an archive holds.

    ``images``: part ("train", "test") -> class -> names of its image files relative to the root, everything sorted.
    ``left_out``: how many files or folders are not read, by reason.
    """

    images: dict[str, dict[str, list[str]]]
    left_out: dict[str, int]


def image_tree(path: Path) -> Tree:
    """The image files under a folder or in a ZIP archive, where one folder may wrap train/ and test/.

    Hidden files and folders, `__MACOSX`, and files of other kinds are left out and counted; a class folder without
    images is an empty list. Raises `DataError` for a missing path, a file that is no ZIP archive, a path that cannot
    be read, and where there is no train/.
    """
    try:
        if not (path.is_dir() or path.is_file()):
            what = "is neither a folder nor a file" if path.exists() else "does not exist"  # a pipe would never end
            raise DataError(
                f"data is '{_shown(path)}', which {what}; "
                "give auto, digits, cifar10, or the path of an image folder, ZIP archive or npz file."
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
    if "train" not in tree.images:
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


class _Listing:
    """Files found one by one, sorted into classes or counted by why they are left out."""

    def __init__(self) -> None:
        self._images: dict[str, dict[str, set[str]]] = {}
        self._left_out: dict[str, set[str]] = defaultdict(set)

    def part(self, part: str) -> None:
        self._images.setdefault(part, {})

    def add_class(self, part: str, name: str) -> None:
        self._images.setdefault(part, {}).setdefault(name, set())

    def leave_out(self, reason: str, place: tuple[str, ...]) -> None:
        self._left_out[reason].add("/".join(place))

    def add_file(self, place: tuple[str, ...], name: str, regular: bool = True) -> None:
        """A file `name` at ``(part, class, ..., file)``."""
        depth = next((i for i, word in enumerate(place) if _hidden(word)), None)
        if depth is not None:
            self.leave_out("hidden", place[: depth + 1])
        elif len(place) < 3:
            self.leave_out("in no class", place)
        else:
            self.add_class(*place[:2])
            suffix = os.path.splitext(place[-1])[1].lower()
            if not regular:
                self.leave_out("no regular file", place)
            elif suffix in SUFFIXES:
                self._images[place[0]][place[1]].add(name)
            else:
                self.leave_out(printable(suffix[:20]) or "without an ending", place)

    def tree(self) -> Tree:
        images = {
            part: {name: sorted(classes[name]) for name in sorted(classes)}
            for part, classes in sorted(self._images.items())
        }
        return Tree(images, {reason: len(self._left_out[reason]) for reason in sorted(self._left_out)})


def _folder_tree(root: Path) -> Tree:
    listing = _Listing()
    for entry in root.iterdir():
        if entry.name in _PARTS and entry.is_dir():
            listing.part(entry.name)
            _list_part(listing, root, entry.name)
        elif entry.is_dir() and not _hidden(entry.name):
            listing.leave_out(_BESIDE, (entry.name,))
    return listing.tree()


_BESIDE = "folders beside train and test"
_AGAIN = "folders reached again through a link"


def _list_part(listing: _Listing, root: Path, part: str) -> None:
    for entry in _entries(root / part):
        place = (part, entry.name)
        if not _is_folder(entry) or _hidden(entry.name):
            listing.add_file(place, "/".join(place))
        else:
            listing.add_class(*place)
            _list_class(listing, root, place)


def _list_class(listing: _Listing, root: Path, top: tuple[str, ...]) -> None:
    """Everything below the folder of a class; links are followed, to each folder once, so that no loop is endless."""
    seen = {_identity(root.joinpath(*top))}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(root.joinpath(*folder)):
            place = (*folder, entry.name)
            if not _is_folder(entry) or _hidden(entry.name):
                listing.add_file(place, "/".join(place), _is_regular(entry))
            elif (identity := _identity(Path(entry.path))) in seen:
                listing.leave_out(_AGAIN, place)
            else:
                seen.add(identity)
                waiting.append(place)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Real folders before links to folders: what is reached both ways is then read under its own name."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: (not entry.is_symlink(), entry.name))


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _zip_tree(path: Path) -> Tree:
    with zipfile.ZipFile(path) as archive:
        # A directory's name ends in "/", here in an empty file name: empty class folders stay visible.
        entries = [tuple(name.split("/")) for name in archive.namelist()]
    prefix = _wrapper(entries)
    listing = _Listing()
    for entry in entries:
        place = entry[len(prefix) :]
        if entry[: len(prefix)] != prefix or len(place) < 2:
            continue
        if place[0] not in _PARTS:
            if not _hidden(place[0]):
                listing.leave_out(_BESIDE, place[:1])
            continue
        listing.part(place[0])
        if place[-1]:
            listing.add_file(place, "/".join(entry))
        elif len(place) > 2 and not _hidden(place[1]):
            listing.add_class(*place[:2])
    return listing.tree()


def _wrapper(entries: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
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
        # The content, not the name, decides the decoder: only these, none that runs other programs.
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
