"""What enters through the public surface: converted once, refused with one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from backends import Array, Backend, HostArray
from simulator.network.network import Network


def real_array(value: Any, name: str) -> Any:
    """An array of real numbers on the host, or a device array as it is; texts, complex, masked and others are refused.

    NumPy would turn a text into the number in it, drop an imaginary part, and show what a mask hides.
    """
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__") and hasattr(value, "dtype"):
        return value
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries: fill them in, or leave those examples out")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise ValueError(f"{name} is no array of numbers: expected rows of one length") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} (dtype {array.dtype}) holds non-real values: expected real numbers")
    return array


def in_range(values: Any, name: str, dtype: str) -> Any:
    """Numbers that `dtype` can hold, as they are: a number beyond it, or numbers that all vanish in it, are refused.

    A number too small for `dtype` beside larger ones is as good as 0; where the largest is no normal number of it, the
    array would be lost. Whole numbers, arrays of `dtype` and of fewer digits lose nothing. NaN and infinite numbers are
    left to the caller. Arrays on a device are looked at there.
    """
    given = str(values.dtype).rsplit(".", 1)[-1]
    narrower = ("float16", "bfloat16", "float32", "float64")[: 4 if dtype == "float64" else 3]
    if given in narrower or "float" not in given or math.prod(values.shape) == 0:
        return values
    least, most, largest = float(np.finfo(dtype).smallest_normal), float(np.finfo(dtype).max), _largest(values)
    if math.isfinite(largest) and (largest > most or 0.0 < largest < least):
        bound, limit = ("at most", most) if largest > 1.0 else ("at least", least)
        raise ValueError(
            f"{name} has {largest:.4g} as its largest number, which {dtype} does not hold: "
            f"expected {bound} {limit:.2g}; use another scale, or float64"
        )
    return values


def _largest(values: Any) -> float:
    """The largest |value| that is finite, on the host; on a device the largest."""
    if isinstance(values, np.ndarray):
        size = np.abs(values)
        return float(np.max(size, initial=0.0, where=np.isfinite(size)))
    if hasattr(values, "__array_namespace__"):
        xp = values.__array_namespace__()
        return float(xp.max(xp.abs(values)))
    return float(abs(values).max())


def check_weights(network: Network, weights: Sequence[Any], ops: Backend) -> list[Array]:
    """The weights on the device, after their number, shapes and finiteness were checked."""
    if len(weights) != network.depth:
        raise ValueError(f"{len(weights)} weight arrays were given: this network has {network.depth} layers")
    weights = [real_array(w, f"layer {index}") for index, w in enumerate(weights, start=1)]
    for index, (w, shape) in enumerate(zip(weights, network.weight_shapes, strict=True), start=1):
        if tuple(w.shape) != shape:
            raise ValueError(f"layer {index} has weights of shape {tuple(w.shape)}: expected {shape}")
    for index, w in enumerate(weights, start=1):
        in_range(w, f"layer {index}", ops.dtype)
    arrays = [ops.asarray(w) for w in weights]
    for index, w in enumerate(arrays, start=1):
        if not ops.all_finite(w):  # a gate would hide NaN: 1[NaN > 0] = 0
            raise ValueError(f"layer {index} has NaN or infinite weights: expected finite numbers")
    return arrays


def check_examples(network: Network, examples: Any, dtype: str) -> HostArray:
    """Examples as a host array (m, *input_shape) for use in `dtype`; a dense network flattens images in C order."""
    x: HostArray = np.asarray(real_array(examples, "x"))
    if x.ndim < 1 or x.shape[0] == 0:
        raise ValueError(f"x has shape {x.shape}: expected at least one example, (m, *{network.input_shape})")
    if x.shape[1:] != network.input_shape:
        if len(network.input_shape) != 1 or math.prod(x.shape[1:]) != network.input_shape[0]:
            raise ValueError(f"x has shape {x.shape}: expected (m, *{network.input_shape}), examples in rows")
        x = x.reshape(x.shape[0], -1)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError(f"x (dtype {x.dtype}) holds NaN, infinite or non-real values: expected finite numbers")
    in_range(x, "x", dtype)
    return x


def check_coefficients(c: Any, m: int, dtype: str) -> HostArray:
    """Coefficients of the examples (m,) in float64, for use in `dtype`."""
    values = np.asarray(real_array(c, "c"), dtype=np.float64)
    if values.shape != (m,) or not np.all(np.isfinite(values)):
        raise ValueError(f"c has shape {values.shape}: expected ({m},), one finite coefficient per example")
    in_range(values, "c", dtype)
    return values


def check_labels(y: Any, m: int) -> HostArray:
    """Labels as float64 (m,), every one -1 or +1."""
    labels = np.asarray(real_array(y, "y"), dtype=np.float64)
    if labels.shape != (m,):
        raise ValueError(f"y has shape {labels.shape}: expected ({m},), one label per example")
    if not np.all(np.abs(labels) == 1.0):
        wrong = labels[np.abs(labels) != 1.0][0]
        raise ValueError(f"label {wrong:g} is not usable: labels are -1 or +1")
    return labels


def check_count(value: int, name: str, least: int = 1) -> int:
    """An integer >= `least` (a float that is one will do)."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or int(value) != value or value < least:
        raise ValueError(f"{name} {value!r} is not usable: use an integer >= {least}")
    return int(value)
