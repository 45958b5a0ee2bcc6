"""The pickle inside a PyTorch weight file, read without running anything in it, and written.

A pickle is a program for a small stack machine. This reader knows the instructions that build dictionaries, lists,
tuples, texts and numbers, and the few names of PyTorch that stand for a tensor; a tensor becomes a `TensorRecord`.
Nothing is imported or called. Every other name is a `Foreign` thing, and so is whatever the program would make of it:
a checkpoint may hold a configuration, random states or arrays of NumPy beside its weights, which are of no use here.
Other instructions are refused. The opcodes are those of `pickletools`; the layout of a tensor is that of `torch.save`
(zip format, since PyTorch 1.6).
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from validation.errors import WeightsError

STORAGES = {
    "torch DoubleStorage": "float64",
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
SUBCLASS = "torch._tensor _rebuild_from_type_v2"  # a tensor with attributes, or of a class of its own
PLAIN_CLASSES = ("torch Tensor", "torch.nn.parameter Parameter", "torch.nn.parameter Buffer")
LARGEST = 1 << 62  # beyond this no size or offset is meant


@dataclass(frozen=True)
class Storage:
    """Where a tensor's numbers lie: the file ``data/<key>`` with `numel` numbers of `dtype`."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor: element (i, j, ...) is number offset + i·stride_0 + j·stride_1 + ... of its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class StateDict(dict[Any, Any]):
    """An ordered dictionary; `of_module`: it carries what PyTorch adds to the state of a module, in its own order."""

    of_module = False


@dataclass(frozen=True)
class Foreign:
    """What a name in a pickle stands for, or what would be made by it: never imported or called, only named."""

    name: str

    def __str__(self) -> str:
        return self.name.replace(" ", ".", 1)[:120]


@dataclass(frozen=True)
class _Global(Foreign):
    """A name itself, on the stack."""


@dataclass(frozen=True, eq=False)
class _Key:
    """A key that is no text or small number: hashing nested tuples can take for ever."""

    key: Any


class _Unfit(Exception):
    """A program that no writer of tensors makes; turned into one sentence by `parse`."""


@dataclass
class _Machine:
    """Stack, marks and memo while a pickle is read; `memo` is a dictionary, so that a huge index costs nothing."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _Unfit("its stack runs empty")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """What is filled next: one of this kind, or something foreign."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0) or not isinstance(self.stack[-1], (kind, Foreign)):
            raise _Unfit(f"it fills something that is no {kind.__name__}")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise _Unfit("a mark is missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def take(self, count: int) -> list[Any]:
        return [self.pop() for _ in range(count)][::-1]


def parse(data: bytes, source: str) -> Any:
    """What the pickle `data` of the file `source` describes: dict, list, tuple, str, number, `TensorRecord`, `Foreign`.

    Raises `WeightsError` for an instruction that no file of tensors needs, and for damaged bytes.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                result = machine.pop()
                if machine.stack or machine.marks:
                    raise _Unfit("something is left over")
                return result
            _step(machine, opcode.name, argument)
        raise _Unfit("it has no end")  # genops raises before; here for the type checker and a future genops
    except _Forbidden as error:
        raise WeightsError(f"weight file '{source}' {error}") from None
    except _Unfit as error:
        raise WeightsError(f"weight file '{source}' is damaged (its pickle: {error}): write it again") from None
    except (ValueError, OverflowError, struct.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"weight file '{source}' is damaged (its pickle: {reason}): write it again") from None


class _Forbidden(Exception):
    """An instruction outside the list."""


_PUSHED: dict[str, Callable[[Any], Any]] = {
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_SET": lambda _: Foreign("builtins set"),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "GLOBAL": lambda name: _Global(str(name)),
} | dict.fromkeys(
    ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
     "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    lambda value: value,
)  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _step(machine: _Machine, name: str, argument: Any) -> None:
    """One instruction."""
    if name in _PUSHED:
        machine.stack.append(_PUSHED[name](argument))
    elif name in _TUPLES:
        machine.stack.append(tuple(machine.take(_TUPLES[name])))
    elif name in _EFFECTS:
        _EFFECTS[name](machine, argument)
    elif name not in ("PROTO", "FRAME"):
        raise _Forbidden(
            f"uses the pickle instruction {name}, which no file of plain tensors needs and which is not run: "
            "save model.state_dict(), tensors only"
        )


def _tuple(machine: _Machine, _: Any) -> None:
    items = tuple(machine.since_mark())
    machine.stack.append(items)


def _put(machine: _Machine, index: Any) -> None:
    value = machine.pop()
    machine.stack.append(value)
    machine.memo[len(machine.memo) if index is None else index] = value


def _get(machine: _Machine, index: Any) -> None:
    if index not in machine.memo:
        raise _Unfit(f"memo {index} is empty")
    machine.stack.append(machine.memo[index])


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    if len(items) % 2:
        raise _Unfit("a key has no value")
    if not isinstance(target, Foreign):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if type(key) in (str, int) else _Key(key)] = value


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.top(list)
    if not isinstance(target, Foreign):
        target.extend(items)


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.take(2)
    if type(module) is not str or type(name) is not str:
        raise _Unfit("a name is no text")
    machine.stack.append(_Global(f"{module} {name}"))


def _build(machine: _Machine, _: Any) -> None:
    """Attributes: of a state dictionary they say that a module made it (``_metadata``, versions of its parts)."""
    attributes = machine.pop()
    target = machine.top(dict)
    if isinstance(target, StateDict) and isinstance(attributes, dict):
        target.of_module = "_metadata" in attributes


def _reduce(machine: _Machine, _: Any) -> None:
    called, arguments = machine.take(2)
    if not isinstance(called, Foreign) or type(arguments) is not tuple:
        raise _Unfit("it calls what is no name")
    machine.stack.append(_called_with(called, arguments))


def _called_with(called: Foreign, arguments: tuple[Any, ...]) -> Any:
    """What a call would give where it makes a tensor or a dictionary; a foreign thing otherwise."""
    if called.name == DICT and arguments == ():
        return StateDict()
    if called.name == TENSOR and len(arguments) in (6, 7):
        turned = len(arguments) == 7 and bool(arguments[6])  # lazily negated or conjugated: the numbers are others
        return Foreign(f"{TENSOR} (lazily negated)") if turned else _tensor(*arguments[:4])
    if called.name in PARAMETERS and len(arguments) >= 3 and isinstance(arguments[0], (TensorRecord, Foreign)):
        return arguments[0]
    if called.name == SUBCLASS and len(arguments) == 4 and isinstance(arguments[1], Foreign):
        function, kind, inner, _ = arguments
        if kind.name in PLAIN_CLASSES and isinstance(function, Foreign) and type(inner) is tuple:
            return _called_with(function, inner)
        return Foreign(kind.name)
    if called.name in (DICT, TENSOR, *PARAMETERS, SUBCLASS):
        raise _Unfit(f"{called} is called with other arguments than torch.save gives it")
    return Foreign(called.name)


def _new(machine: _Machine, count: int) -> None:
    """An object of a class, with arguments and perhaps keywords."""
    made, *_ = machine.take(count)
    if not isinstance(made, Foreign):
        raise _Unfit("it makes an object of what is no name")
    machine.stack.append(Foreign(made.name))


def _set(machine: _Machine, _: Any) -> None:
    machine.since_mark()
    machine.stack.append(Foreign("builtins frozenset"))


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> TensorRecord | Foreign:
    if isinstance(storage, Foreign):  # complex numbers, quantised ones
        return storage
    if type(storage) is not Storage or not _sizes((offset,)) or not _sizes(shape) or not _sizes(stride):
        raise _Unfit("a tensor has no storage, or sizes that are no numbers")
    if len(shape) != len(stride):
        raise _Unfit(f"a tensor of {len(shape)} axes has {len(stride)} strides")
    return TensorRecord(storage, offset, shape, stride)


def _persistent(machine: _Machine, _: Any) -> None:
    """('storage', its type, the key of its file, its device, the number of its elements)."""
    value = machine.pop()
    if type(value) is not tuple or len(value) != 5 or value[0] != "storage":
        raise _Unfit("a storage is described in another way than by torch.save")
    _, kind, key, _, numel = value
    if type(kind) is not _Global or type(key) is not str or not _sizes((numel,)):
        raise _Unfit("a storage is described in another way than by torch.save")
    known = kind.name in STORAGES
    machine.stack.append(Storage(key, STORAGES[kind.name], numel) if known else Foreign(kind.name))


def _sizes(values: Any) -> bool:
    return type(values) is tuple and all(type(v) is int and 0 <= v < LARGEST for v in values)


_EFFECTS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": _tuple,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "SETITEM": lambda machine, _: _set_items(machine, machine.take(2)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "APPEND": lambda machine, _: _append(machine, machine.take(1)),
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.since_mark()),
    "FROZENSET": _set,
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "NEWOBJ": lambda machine, _: _new(machine, 2),
    "NEWOBJ_EX": lambda machine, _: _new(machine, 3),
    "STACK_GLOBAL": _stack_global,
    "BUILD": _build,
    "REDUCE": _reduce,
    "BINPERSID": _persistent,
}


def dump(tensors: Sequence[tuple[str, TensorRecord]]) -> bytes:
    """The pickle of a state dictionary with these tensors, protocol 2, as `torch.load(weights_only=True)` takes it."""
    kinds = {dtype: name for name, dtype in STORAGES.items()}
    items = b"".join(_text(name) + _record(tensor, kinds[tensor.storage.dtype]) for name, tensor in tensors)
    return b"".join((pickle.PROTO, b"\x02", _called(DICT), pickle.MARK, items, pickle.SETITEMS, pickle.STOP))


def _record(tensor: TensorRecord, kind: str) -> bytes:
    storage = _tuple_of(
        _text("storage"), _name(kind), _text(tensor.storage.key), _text("cpu"), _number(tensor.storage.numel)
    )
    arguments = _tuple_of(
        storage + pickle.BINPERSID,
        _number(tensor.offset),
        _tuple_of(*map(_number, tensor.shape)),
        _tuple_of(*map(_number, tensor.stride)),
        pickle.NEWFALSE,  # requires_grad
        _called(DICT),  # backward hooks
    )
    return _name(TENSOR) + arguments + pickle.REDUCE


def _called(name: str) -> bytes:
    return _name(name) + pickle.EMPTY_TUPLE + pickle.REDUCE


def _name(name: str) -> bytes:
    return pickle.GLOBAL + name.replace(" ", "\n").encode() + b"\n"


def _tuple_of(*parts: bytes) -> bytes:
    return pickle.MARK + b"".join(parts) + pickle.TUPLE


def _text(text: str) -> bytes:
    data = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _number(value: int) -> bytes:
    if value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    return pickle.LONG1 + b"\x08" + struct.pack("<q", value)
