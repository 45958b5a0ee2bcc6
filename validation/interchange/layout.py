"""From named entries to the weights of a network, and back: which arrays, which axes, which order of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator import Network
from validation.errors import WeightsError

from .entries import FLOATS, Array, Content, Entry, listed
from .order import in_order

LAYOUTS = ("torch", "umwelt")
FLATTENS = ("channels_first", "channels_last")
Shape = tuple[int, ...]


class Layout:
    """How the arrays of a file stand: a layout of axes, and the order in which images are flattened.

    "torch": dense (out, in), convolution (out, in, k, k). "umwelt": dense (in, out), convolution (k, k, in, out).
    `flatten` says in which order the first dense layer behind an image (H, W, C) counts its inputs:
    "channels_first" c·H·W + h·W + w, "channels_last" h·W·C + w·C + c, which is the order of this package.
    """

    def __init__(self, network: Network, layout: str, flatten: str | None, image_shape: Sequence[int] | None) -> None:
        if layout not in LAYOUTS:
            raise WeightsError(f"layout {layout!r} is unknown: use one of {', '.join(LAYOUTS)}")
        flatten = flatten or ("channels_first" if layout == "torch" else "channels_last")
        if flatten not in FLATTENS:
            raise WeightsError(f"flatten {flatten!r} is unknown: use one of {', '.join(FLATTENS)}")
        self.name, self.flatten = layout, flatten
        self.network, self.torch, self.channels_first = network, layout == "torch", flatten == "channels_first"
        self.image_shape = _check_image_shape(network, image_shape)

    @property
    def stored_shapes(self) -> list[Shape]:
        """The shapes that the layers' weights have in the file."""
        return [tuple(shape[axis] for axis in self._axes(len(shape))) for shape in self.network.weight_shapes]

    def turned(self) -> Layout:
        """The other layout."""
        return Layout(self.network, "umwelt" if self.torch else "torch", None, self.image_shape)

    def _axes(self, ndim: int) -> Shape:
        if not self.torch:
            return tuple(range(ndim))
        return (3, 2, 0, 1) if ndim == 4 else (1, 0)

    def to_network(self, layer: int, stored: Array) -> Array:
        """The weights of a layer from those in the file."""
        axes = self._axes(stored.ndim)
        w = np.transpose(stored, np.argsort(axes))
        image = self._flattened(layer)
        if image is not None:
            height, width, channels = image
            w = w.reshape(channels, height, width, -1).transpose(1, 2, 0, 3).reshape(w.shape)
        return np.ascontiguousarray(w)

    def to_file(self, layer: int, w: Array) -> Array:
        """The inverse of `to_network`."""
        image = self._flattened(layer)
        if image is not None:
            w = w.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(w.shape)
        return np.ascontiguousarray(np.transpose(w, self._axes(w.ndim)))

    def _flattened(self, layer: int) -> Shape | None:
        """The image whose pixels a dense layer takes in another order than here, or None."""
        described = self.network.layers[layer]
        if not self.channels_first or described.convolutional:
            return None
        if len(described.input_shape) == 3:
            return described.input_shape
        return self.image_shape if layer == 0 else None


def _check_image_shape(network: Network, image_shape: Sequence[int] | None) -> Shape | None:
    if image_shape is None:
        return None
    shape = tuple(int(n) for n in image_shape)
    if len(shape) != 3 or math.prod(shape) != math.prod(network.input_shape):
        raise WeightsError(
            f"image_shape {shape} does not fit the network's input {network.input_shape}: "
            "give (height, width, channels)"
        )
    return shape


@dataclass(frozen=True)
class Selection:
    """The arrays that are the layers' weights, first to last; what decided the order; names of arrays left out."""

    weights: list[Entry]
    decided: str
    unused: tuple[str, ...] = ()


def select(where: str, content: Content, layout: Layout, names: Sequence[str] | None) -> Selection:
    """The layers' weights; every other array must be a bias of zeros, or is left out by `names`.

    `where` says in messages what holds the arrays: "weight file 'digits.pt'".
    """
    entries = content.entries
    if names is None:
        weights = [e for e in entries if not _is_bias(e)]
        _check_kinds(where, weights, content.free)
        _check_shapes(where, weights, layout)
        if content.nameless and len(set(layout.stored_shapes)) < len(layout.stored_shapes):
            raise WeightsError(
                f"{where} does not say which array is which layer, as two layers have one shape: give "
                "model.state_dict(), or a mapping and names=[...]"
            )
        weights, decided = in_order(where, weights, layout.stored_shapes, content.kept)
    else:
        weights, decided = _named(where, entries, names), "as named"
        if [e.shape for e in weights] != layout.stored_shapes:
            raise _mismatch(where, weights, layout)
    for entry in weights:
        if entry.dtype not in FLOATS:
            raise WeightsError(f"{entry.name!r} of {where} is {entry.dtype}, expected one of {', '.join(FLOATS)}")
    widths = {shape[-1] for shape in layout.network.weight_shapes}
    for entry in entries:
        if _is_bias(entry):
            _check_bias(where, entry, widths)
    taken = {e.name for e in weights}
    return Selection(weights, decided, tuple(e.name for e in entries if e.name not in taken and not _is_bias(e)))


def _named(where: str, entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    if isinstance(names, str):
        raise WeightsError(f"names {names!r} is one text: give a list, one name per layer")
    known = {e.name: e for e in entries}
    if missing := [name for name in names if name not in known]:
        raise WeightsError(f"{where} has no {missing[0]!r}: choose among {listed(entries)}")
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise WeightsError(f"names {list(names)} have {twice[0]!r} twice: give one name per layer, first to last")
    return [known[name] for name in names]


def _is_bias(entry: Entry) -> bool:
    return entry.name.rpartition(".")[2] == "bias"


def _check_kinds(where: str, weights: Sequence[Entry], free: bool) -> None:
    """Only plain weights: a parametrised, normalised or masked layer computes another function than ours."""
    for entry in weights:
        module, _, last = entry.name.rpartition(".")
        of_a_module = last == "weight" or (not module and free)
        if len(entry.shape) not in (2, 4) or not of_a_module:
            raise WeightsError(
                f"{entry.name!r} of {where}, shape {entry.shape}, is neither the weight of a dense layer or a "
                "convolution nor a bias: networks here have nothing else; name the weights (load_weights(..., names=)) "
                "if it is of no use"
            )


def _check_shapes(where: str, weights: Sequence[Entry], layout: Layout) -> None:
    """The arrays have the shapes of the layers, in whatever order."""
    if sorted(e.shape for e in weights) != sorted(layout.stored_shapes):
        raise _mismatch(where, weights, layout)


def _mismatch(where: str, weights: Sequence[Entry], layout: Layout) -> WeightsError:
    expected = layout.stored_shapes
    remedy = "choose the network, the layout or the names that fit"
    if sorted(e.shape for e in weights) == sorted(layout.turned().stored_shapes):
        remedy = f"they fit layout={layout.turned().name!r}"
    return WeightsError(
        f"{where} holds {listed(weights)}, expected {len(expected)} weights of shapes "
        f"{', '.join(map(str, expected))}: {remedy}"
    )


def _check_bias(where: str, entry: Entry, widths: set[int]) -> None:
    if len(entry.shape) != 1 or entry.shape[0] not in widths or entry.dtype not in FLOATS:
        raise WeightsError(f"bias {entry.name!r} of {where}, shape {entry.shape}, belongs to no layer of this network")
    if np.any(entry.read() != 0.0):
        raise WeightsError(
            f"bias {entry.name!r} of {where} is not zero, and networks here have no biases: "
            "train with bias=False, or zero biases"
        )


def layer_names(network: Network) -> list[str]:
    """Names of the weights in torch.nn.Sequential: Conv2d, ReLU, MaxPool2d, ..., Flatten, Linear, ReLU, ..., Linear."""
    names, place = [], len(network.input_pools)
    for layer in network.layers:
        if not layer.convolutional and len(layer.input_shape) == 3:
            place += 1  # Flatten
        names.append(f"{place}.weight")
        place += 2 + len(layer.pools)  # itself, ReLU, MaxPool2d
    return names
