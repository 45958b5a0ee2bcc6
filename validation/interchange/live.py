"""Weights that are in memory as entries: a module's state, named arrays, the arrays of its parameters in a row.

PyTorch is never imported: its tensors are known by what they can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from validation.errors import WeightsError

from .entries import Array, Content, Entry, may_be_sorted
from .plain import named_content


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of PyTorch."""
    return all(hasattr(value, name) for name in ("detach", "cpu", "dtype", "shape"))


def is_module(value: Any) -> bool:
    """Whether a value is a module of PyTorch."""
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "named_modules", "parameters"))


def tensor_array(name: str, tensor: Any) -> Array:
    """A tensor's numbers on the host, a copy; float16 and bfloat16 as float32. `WeightsError` where it has none."""
    try:
        host = tensor.detach().cpu()
        return np.array((host.float() if _dtype(tensor) in ("float16", "bfloat16") else host).numpy())
    except MemoryError:
        raise
    except Exception as error:  # sparse, quantised and meta tensors each have an error of their own
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"tensor {name!r} has no numbers that can be read ({reason}): give a dense one") from None


def live_content(source: Any, key: str | None = None) -> tuple[str, str, Content]:
    """(what it is called in messages, its layout unless another is asked for, its arrays).

    `source` is a module, its state dictionary, a mapping of arrays, `named_parameters()` or `parameters()`. Arrays in
    a row have no names: nothing but their shapes can tell which layer they are.
    """
    if is_module(source):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        source, listed = _collected(source)
        if listed is not None:
            return "the list of arrays", _layout(listed), _listed(listed)
    where = "the state dictionary" if any(map(is_tensor, source.values())) else "the mapping"
    if key is not None:
        if not isinstance(source.get(key), Mapping):
            raise WeightsError(f"key {key!r} of {where} is no mapping of arrays: choose among {list(source)[:20]}")
        return live_content(source[key])
    if nested := [name for name, value in source.items() if isinstance(value, Mapping)]:
        raise WeightsError(f"{where} holds no array but a mapping under {nested[0]!r}: give that one alone, or its key")
    entries = [_entry(str(name), value) for name, value in source.items()]
    if hasattr(source, "_metadata"):  # the state of a module is in the order in which the module was built
        return where, "torch", Content(entries, kept=True)
    if any(map(is_tensor, source.values())):
        return where, "torch", Content(entries, kept=not may_be_sorted(entries), free=True)
    try:
        return where, "umwelt", named_content(entries)
    except ValueError as error:
        raise WeightsError(f"{where} cannot be used: {error}") from None


def _collected(source: Any) -> tuple[Mapping[str, Any], list[Any] | None]:
    """({}, arrays in a row), or (named arrays, None) from pairs of a name and an array."""
    if not isinstance(source, Iterable) or isinstance(source, (bytes, np.ndarray)) or is_tensor(source):
        raise WeightsError(
            f"weights of type {type(source).__name__} were given: "
            "expected a path, a state dictionary or a mapping of arrays"
        )
    values = list(source)
    if values and all(isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], str) for v in values):
        return dict(values), None
    return {}, values


def _layout(values: Iterable[Any]) -> str:
    return "torch" if any(map(is_tensor, values)) else "umwelt"


def _listed(values: list[Any]) -> Content:
    """Arrays without names: those of one axis can only be biases."""
    entries = [_entry("", value) for value in values]
    ends = ["bias" if len(entry.shape) == 1 else "weight" for entry in entries]
    named = [
        Entry(f"[{i}].{end}", e.shape, e.dtype, e.read) for i, (e, end) in enumerate(zip(entries, ends, strict=True))
    ]
    return Content(named, kept=False, nameless=True)


def _entry(name: str, value: Any) -> Entry:
    if is_tensor(value):
        dtype, shape = _dtype(value), tuple(map(int, value.shape))
        return Entry(name, shape, dtype, lambda: tensor_array(name, value))
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty((), dtype=object)
    wide = np.float32 if array.dtype == np.float16 else array.dtype
    return Entry(name, array.shape, array.dtype.name, lambda: np.array(array, dtype=wide))


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]
