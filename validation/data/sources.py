"""What there is to choose from: the classes of every row, and how to read the levels of some of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from validation.data.arrays import Arrays, read_arrays_file
from validation.data.images import SUFFIXES, Tree, image_tree, read_images
from validation.data.selection import IntArray, Split, halves
from validation.errors import DataError
from validation.run.console import printable

_CIFAR_FOLDER = "cifar-10-batches-py"
_CIFAR_ARCHIVE = "cifar-10-python.tar.gz"
DIGITS_TRAINED = 1437
"""The first digits, in the order in which scikit-learn has them; the others, a fifth, are the test part."""


@dataclass(frozen=True)
class Source:
    """Rows that can be drawn: the training part first, then the test part if there is one.

    `classes` (n,) are indices into `names`, `n_train` the length of the training part, `read(rows)` gives the
    levels (len(rows), ...) as uint8. `split` to `dtype` are the defaults for this kind of data; `examples` None is all.
    `left_out`: how many files of a folder or an archive are not among the rows, by reason. `as_given`: what is read are
    inputs of any real dtype, and no levels. `note` is said of the labels where the default split is taken.
    """

    name: str
    origin: str
    names: tuple[str, ...]
    classes: IntArray
    n_train: int
    read: Callable[[IntArray], NDArray[Any]]
    split: Split
    examples: int | None
    spectrum_examples: int
    dtype: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    as_given: bool = False
    note: str = ""


def open_source(data: str | Path | Arrays, data_root: str | Path) -> Source:
    """The source called `data`: "auto", "digits", "cifar10", the path of a folder, ZIP archive or npz file, or arrays.

    `auto` is CIFAR-10 where it is on disk under `data_root`, else the digits. Raises `DataError`.
    """
    if isinstance(data, Arrays):
        return _arrays(data, "arrays", "arrays in memory")
    root = Path(data_root)
    try:
        on_disk = (root / _CIFAR_FOLDER).is_dir()
    except OSError as error:
        raise DataError(
            f"data_root is '{str(root)[:200]}', which cannot be used ({error.strerror}); name another folder."
        ) from error
    if data == "digits" or (data == "auto" and not on_disk):
        why = f" (no {_CIFAR_FOLDER} under '{root}')" if data == "auto" else ""
        return _digits(why)
    if data in ("auto", "cifar10"):
        return _cifar10(root, on_disk)
    path = Path(data)
    if path.suffix.lower() == ".npz" and not path.is_dir():
        return _arrays(read_arrays_file(path), printable(path.stem), printable(f"arrays of '{path}'"))
    return _image_folder(path)


def data_name(data: str | Arrays, data_root: str) -> str:
    """What data are called before they are read: the stem of a file or folder, ``arrays`` and their digest."""
    if isinstance(data, Arrays):
        return f"arrays {data.digest[:8]}"
    if data == "auto":
        return "cifar10" if os.path.isdir(os.path.join(data_root, _CIFAR_FOLDER)) else "digits"  # of no path an error
    return Path(data).stem or "images"


def _arrays(arrays: Arrays, name: str, origin: str) -> Source:
    """Vectors as digits, images as images are: in float64 and float32, with 200 and 1,000 spectrum examples."""
    images, test = arrays.x.ndim == 4, arrays.classes_test
    return Source(
        name=name,
        origin=origin,
        names=arrays.labels,
        classes=arrays.classes if test is None else np.concatenate([arrays.classes, test]),
        n_train=len(arrays.x),
        read=arrays.read(),
        split=Split(negative=(0,), positive=(1,)),
        examples=None,
        spectrum_examples=1000 if images else 200,
        dtype="float32" if images else "float64",
        as_given=True,
        note=" (of the two label values the smaller is -1), inputs as they are",
    )


def _digits(why: str) -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = bunch.data.astype(np.uint8)  # whole numbers 0 to 16
    return Source(
        name="digits",
        origin=f"8x8 digits of scikit-learn{why}",
        names=tuple(str(digit) for digit in range(10)),
        classes=bunch.target.astype(np.intp),
        n_train=DIGITS_TRAINED,
        read=lambda rows: levels[rows],
        split=Split(negative=(0, 2, 4, 6, 8), positive=(1, 3, 5, 7, 9)),
        examples=None,
        spectrum_examples=200,
        dtype="float64",
    )


def _images(
    name: str,
    origin: str,
    names: tuple[str, ...],
    classes: IntArray,
    n_train: int,
    read: Callable[[IntArray], NDArray[np.uint8]],
    left_out: Mapping[str, int],
) -> Source:
    split = halves(len(names))
    return Source(name, origin, names, classes, n_train, read, split, 5000, 1000, "float32", left_out)


def _cifar10(root: Path, on_disk: bool) -> Source:
    datasets = _torchvision_datasets()
    try:
        # Only a missing archive is downloaded; a damaged one on disk is reported, not replaced.
        train = datasets.CIFAR10(root=str(root), train=True, download=not on_disk)
        test = datasets.CIFAR10(root=str(root), train=False, download=False)
    except MemoryError:
        raise
    except Exception as error:  # network, archive, checksum and unpickling errors have no common base
        reason = str(error).partition("\n")[0] or type(error).__name__
        action = "read" if on_disk else "downloaded"
        raise DataError(
            f"CIFAR-10 could not be {action} under '{root}' ({reason}); remove '{root / _CIFAR_FOLDER}' if "
            f"it is there and place {_CIFAR_ARCHIVE} in '{root}' for --data cifar10, or use --data with an "
            "image folder or ZIP archive, or --data digits."
        ) from error
    n_train = len(train.data)

    def read(rows: IntArray) -> NDArray[np.uint8]:
        levels = np.empty((len(rows), *train.data.shape[1:]), dtype=np.uint8)
        in_train = rows < n_train
        levels[in_train] = train.data[rows[in_train]]
        levels[~in_train] = test.data[rows[~in_train] - n_train]
        return levels

    classes = np.array([*train.targets, *test.targets], dtype=np.intp)
    origin = f"CIFAR-10 under '{root}'"
    return _images("cifar10", origin, tuple(train.classes), classes, n_train, read, {})


def _torchvision_datasets() -> Any:
    try:
        return importlib.import_module("torchvision.datasets")
    except (ImportError, OSError, RuntimeError) as error:  # the last two: it does not fit the installed torch
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"CIFAR-10 needs torchvision, which cannot be imported ({reason}); "
            "run pip install 'umwelt-dnn[cifar]', or use --data digits."
        ) from error


def _image_folder(path: Path) -> Source:
    tree = image_tree(path)
    _check_tree(path, tree)
    train, test = tree.images["train"], tree.images.get("test", {})
    index = {name: i for i, name in enumerate(train)}
    parts = [train, test]
    files = [file for part in parts for images in part.values() for file in images]
    classes = [index[name] for part in parts for name, images in part.items() for _ in images]
    kind = "image folder" if path.is_dir() else "image archive"
    return _images(
        name=printable(path.resolve().name if path.is_dir() else path.stem),
        origin=printable(f"{kind} '{path}'"),
        names=tuple(map(printable, train)),
        classes=np.array(classes, dtype=np.intp),
        n_train=sum(map(len, train.values())),
        read=lambda rows: read_images(path, [files[row] for row in rows]),
        left_out=tree.left_out,
    )


def _check_tree(path: Path, tree: Tree) -> None:
    train = tree.images["train"]
    if len(train) < 2:
        raise DataError(f"train/ in '{path}' has {len(train)} classes, expected at least 2; add one folder per class.")
    for name, images in train.items():
        if not images:
            raise DataError(
                f"class {name!r} in train/ of '{path}' has no image ({', '.join(SUFFIXES)}); add some or remove it."
            )
    for name in tree.images.get("test", {}):
        if name not in train:
            raise DataError(f"test/ in '{path}' has the class {name!r}, which train/ lacks; rename it or remove it.")
