"""`load_weights` and `save_weights`: a network's weights from and to the files of other software."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from simulator import Network
from simulator.shown import shown
from validation.errors import StorageError, WeightsError
from validation.run.storage import write_atomic

from .entries import Array, Content, Entry, reading
from .layout import Layout, layer_names, select
from .live import live_content
from .plain import read_npz, read_safetensors, write_npz, write_safetensors
from .torch_zip import read_torch, write_torch

KINDS = {".pt": "torch", ".pth": "torch", ".safetensors": "safetensors", ".npz": "npz"}
WRITERS: dict[str, Callable[[BinaryIO, Sequence[tuple[str, Array]]], None]] = {
    "torch": write_torch,
    "safetensors": write_safetensors,
    "npz": write_npz,
}


@shown
@dataclass(frozen=True)
class LoadedWeights:
    """The weights of a network, the names of its arrays first layer to last, and what decided that order.

    `unused`: arrays that `names` leaves out. `key`: that of the state dictionary in a checkpoint.
    """

    weights: list[Array]
    names: tuple[str, ...]
    decided: str
    unused: tuple[str, ...] = ()
    key: str = ""

    def __str__(self) -> str:
        """The order in one line."""
        of = f" of {self.key}" if self.key else ""
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        return f"layers {', '.join(self.names)}{of}, {self.decided}{unused}"


def load_weights(
    path: Any,
    network: Network,
    *,
    layout: str | None = None,
    flatten: str | None = None,
    image_shape: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    key: str | None = None,
) -> list[Array]:
    """The weights of `network` from a file or from memory: a list like ``network.init``, float32 or float64, finite.

    `path` is that of a PyTorch state dictionary (.pt, .pth, read without PyTorch and without running anything in it), a
    safetensors file or an npz file. In memory it is a state dictionary or its module, `model.parameters()` where all
    layers have different shapes, or a mapping of names to arrays; numbers are copied. float16 and bfloat16 are widened
    to float32, which holds them exactly.
    `layout` is that of the arrays: "torch", dense (out, in) and convolution (out, in, k, k), the default for PyTorch's
    tensors, its files and safetensors; or "umwelt", dense (in, out) and convolution (k, k, in, out), that for NumPy's
    arrays and npz.
    `flatten` is the order in which the first dense layer counts the pixels of an image, "channels_first" (the default
    for "torch") or "channels_last" (for "umwelt"); the rows of that layer are permuted accordingly. A perceptron that
    takes whole images flattened needs `image_shape` (H, W, C) for that. `key` names the state dictionary in a
    checkpoint of several.

    The layers' order is that of `names`, or what shapes, the order of the file or numbers in the names decide
    (`interchange.order`); what leaves a choice is refused. `read_weights` says which order was taken.

    Biases must be absent or zero: networks here have none. Raises `WeightsError` for everything that is wrong with the
    weights or does not fit the network.
    """
    found = read_weights(path, network, layout=layout, flatten=flatten, image_shape=image_shape, names=names, key=key)
    return found.weights


def read_weights(
    path: Any,
    network: Network,
    *,
    layout: str | None = None,
    flatten: str | None = None,
    image_shape: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    key: str | None = None,
) -> LoadedWeights:
    """`load_weights`, with the order that was taken and why."""
    if not isinstance(path, (str, os.PathLike)):
        where, usual, content = live_content(path, key)
        return loaded(where, content, Layout(network, layout or usual, flatten, image_shape), names)
    path = Path(path)
    kind = _kind(path)
    arrangement = Layout(network, layout or ("umwelt" if kind == "npz" else "torch"), flatten, image_shape)
    with reading(path, f"a {kind} file of weights"):
        return loaded(f"weight file '{path}'", _content(path, kind, key), arrangement, names)


def loaded(where: str, content: Content, arrangement: Layout, names: Sequence[str] | None) -> LoadedWeights:
    """The weights of a network from arrays, which `where` holds, as they are arranged."""
    chosen = select(where, content, arrangement, names)
    stored = [_finite(where, entry) for entry in chosen.weights]
    weights = [arrangement.to_network(layer, w) for layer, w in enumerate(stored)]
    taken = tuple(entry.name for entry in chosen.weights)
    return LoadedWeights(weights, taken, chosen.decided, chosen.unused, content.key)


def save_weights(
    path: str | Path,
    network: Network,
    weights: Sequence[Any],
    *,
    layout: str | None = None,
    flatten: str | None = None,
    image_shape: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Write the weights to a file that `load_weights` reads with the same options; its ending says its kind.

    A .pt or .pth file is what torch.save(model.state_dict()) writes; torch.load(path, weights_only=True) takes it, and
    the default `names` are those of the torch.nn.Sequential of Conv2d, ReLU, a pool, Flatten and Linear layers,
    bias=False, that computes the same function; npz: weights_0, weights_1, .... float16, float32 and float64 stay as
    they are. An existing file is replaced. Raises `WeightsError`.
    """
    path = Path(path)
    kind = _kind(path)
    arrangement = Layout(network, layout or ("umwelt" if kind == "npz" else "torch"), flatten, image_shape)
    arrays = _checked(network, weights)
    if names is None:
        names = [f"weights_{i}" for i in range(network.depth)] if kind == "npz" else layer_names(network)
    if len(names) != network.depth or len(set(names)) != len(names):
        raise WeightsError(f"names {list(names)} are not usable: give {network.depth} different ones, one per layer")
    stored = [(str(name), arrangement.to_file(i, w)) for i, (name, w) in enumerate(zip(names, arrays, strict=True))]
    try:
        write_atomic(path, lambda stream: WRITERS[kind](stream, stored))
    except StorageError as error:
        raise WeightsError(str(error)) from None


def file_digest(path: str | Path) -> str:
    """SHA-256 of a weight file, in hexadecimal."""
    with reading(Path(path), "a file of weights"), Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _kind(path: Path) -> str:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise WeightsError(f"weight file '{path}' is of no known kind: expected an ending among {', '.join(KINDS)}")
    return kind


def _content(path: Path, kind: str, key: str | None) -> Content:
    if key is not None and kind != "torch":
        raise WeightsError(f"key {key!r} names a part of a PyTorch checkpoint: '{path}' is none, leave it out")
    readers: dict[str, Callable[[Path], Content]] = {
        "torch": partial(read_torch, key=key),
        "safetensors": read_safetensors,
        "npz": read_npz,
    }
    return readers[kind](path)


def _finite(where: str, entry: Entry) -> Array:
    numbers = entry.read()
    if not np.all(np.isfinite(numbers)):
        raise WeightsError(f"{entry.name!r} of {where} has NaN or infinite weights: expected finite numbers")
    return numbers


def _checked(network: Network, weights: Sequence[Any]) -> list[Array]:
    arrays = [np.asarray(w) for w in weights]
    if [a.shape for a in arrays] != network.weight_shapes:
        raise WeightsError(
            f"weights of shapes {', '.join(str(a.shape) for a in arrays) or 'nothing'} were given: "
            f"expected {', '.join(map(str, network.weight_shapes))}"
        )
    for index, a in enumerate(arrays, start=1):
        if a.dtype.kind not in "fiu" or a.dtype.itemsize > 8 or not np.all(np.isfinite(a)):
            raise WeightsError(f"layer {index} has weights of dtype {a.dtype} or not finite: expected finite numbers")
    return [a if a.dtype.kind == "f" else a.astype(np.float64) for a in arrays]
