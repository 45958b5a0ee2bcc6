"""CuPy without a GPU: the parts of it that the backend uses, on NumPy, with kernels compiled for the host.

A kernel's text goes through the C++ compiler as it stands, with `emulated_cuda.h` for what a CUDA compiler adds:
threads are fibers that take turns at barriers, the tensor cores' product is spelled out. Device arrays refuse to meet
host arrays, so that an implicit transfer is an error here as it is on a device. While a step is recorded nothing is
done, and what CUDA refuses to record is refused.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import array_api_compat.numpy
import numpy as np

from backends.cupy.backend import CupyBackend
from backends.cupy.graphs import Launch
from backends.cupy.modules import source

HEADER = Path(__file__).with_name("emulated_cuda.h")
COMPILER = shutil.which("g++") or shutil.which("c++")
MOST_JOINED = 8  # small arrays that CuPy joins without a table of pointers
ATTRIBUTES = {"MultiProcessorCount": 3, "MaxSharedMemoryPerMultiprocessor": 228 << 10}
STRIDED = ("copy_strided",)  # kernels that are told the strides of their arrays
NO_COMPILER = "no C++ compiler is on the PATH: CUDA kernels were not executed on the host"


class Capture:
    """Whether a step is being recorded."""

    running = False

    @classmethod
    def refuse(cls, what: str) -> None:
        if cls.running:
            raise RuntimeError(f"the stream is capturing: {what} is disallowed")


class DeviceArray(np.ndarray[Any, Any]):
    """An array that only meets its like and plain numbers."""

    def __float__(self) -> float:
        Capture.refuse("reading a number")
        return super().__float__()

    def __int__(self) -> int:
        Capture.refuse("reading a number")
        return super().__int__()

    def __bool__(self) -> bool:
        Capture.refuse("reading a number")
        return super().__bool__()

    @property
    def data(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        check(inputs)
        if kwargs.get("out") is not None:
            if Capture.running:
                return kwargs["out"][0]
            kwargs["out"] = tuple(np.asarray(o) for o in kwargs["out"])
        return moved(getattr(ufunc, method)(*map(bare, inputs), **{k: bare(v) for k, v in kwargs.items()}))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        check(args)
        return moved(function(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}))

    def __getitem__(self, key: Any) -> Any:
        check(key if isinstance(key, tuple) else (key,))
        return moved(np.asarray(self)[bare(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        check((value,))
        if Capture.running:
            return
        np.asarray(self)[bare(key)] = bare(value)


def check(values: Any) -> None:
    """Refuse host arrays among the operands."""
    for value in values:
        if isinstance(value, np.ndarray) and not isinstance(value, DeviceArray) and value.ndim:
            raise TypeError("a host array meets a device array")
        if isinstance(value, (list, tuple)):
            check(value)


def bare(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    return type(value)(map(bare, value)) if type(value) in (list, tuple) else value


def moved(value: Any) -> Any:
    """Results as device arrays, numbers too: a number read on the host is a 0-dimensional array until `float`."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value).view(DeviceArray)
    return type(value)(map(moved, value)) if type(value) in (list, tuple) else value


class Namespace:
    """`array_api_compat.cupy`, on NumPy."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(array_api_compat.numpy, name)
        if isinstance(found, type) or not callable(found):
            return found if name != "linalg" else Linear()

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "asarray":
                check(args)
            elif not isinstance(args[0], DeviceArray):
                Capture.refuse("an upload from the host")
            if name in ("concat", "stack") and len(args[0]) > MOST_JOINED:
                Capture.refuse("a table of pointers from the host")
            kwargs.pop("device", None)
            return moved(found(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}))

        return call


class Linear:
    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: moved(getattr(array_api_compat.numpy.linalg, name)(*map(bare, args), **kwargs))


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def compiled(code: str) -> ctypes.CDLL:
    """The kernels of a text as a shared library."""
    assert COMPILER, NO_COMPILER
    names = re.findall(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\(', code)
    assert names, "no kernel in the text"
    code = code.replace(source("tensor.cuh"), "")  # the header has the tensor cores' product for the host
    text = "\n".join([f'#include "{HEADER}"', code, *(f"EMULATED({name})" for name in names)])
    stem = Path(folder().name) / hashlib.sha256(text.encode()).hexdigest()[:16]
    stem.with_suffix(".cpp").write_text(text)
    command = [COMPILER, "-std=c++17", "-O0", "-shared", "-fPIC", "-w", "-o", f"{stem}.so", f"{stem}.cpp"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return ctypes.CDLL(f"{stem}.so")


class RawModule:
    """`cupy.RawModule` for the host; `turned` runs the threads of a block in the opposite order."""

    turned = False

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        assert not [o for o in options if o.startswith("-D")], "CuPy compiles an empty text for every set of options"
        self.library = compiled(code)
        self.flushes = "#define SCALAR float" in code  # CuPy's -ftz=true

    def get_function(self, name: str) -> Callable[..., None]:
        function = getattr(self.library, f"launch_{name}")

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            boxes = [box(a) for a in arguments]
            if Capture.running:
                return
            self.library.emulated_order(int(self.turned))
            self.library.emulated_flush(int(self.flushes))
            assert name in STRIDED or all(a.flags.c_contiguous for a in arguments if isinstance(a, DeviceArray))
            pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(b) for b in boxes))
            sizes = (ctypes.c_uint * 3)(*grid, *(1,) * (3 - len(grid)))
            assert function(pointers, sizes, block[0]) == 0, f"threads of {name} parted at a barrier"

        return launch


def box(value: Any) -> Any:
    """What a kernel's parameter points to: device arrays and NumPy's numbers only, whose size is known."""
    if isinstance(value, DeviceArray):
        return ctypes.c_void_p(value.ctypes.data)
    kinds = {
        np.int32: ctypes.c_int32,
        np.uint32: ctypes.c_uint32,
        np.int64: ctypes.c_int64,
        np.float32: ctypes.c_float,
        np.float64: ctypes.c_double,
    }
    return kinds[type(value)](value.item())


class Stream:
    """A stream that writes down what is asked of it."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def begin_capture(self) -> None:
        self.events.append("begin")

    def end_capture(self) -> Any:
        self.events.append("end")
        return types.SimpleNamespace(launch=lambda: self.events.append("launch"))


class FakeCupy:
    """The module `cupy` as far as the backend knows it."""

    ndarray = DeviceArray
    RawModule = RawModule

    def __init__(self, memory: int = 1 << 34) -> None:
        self.events: list[str] = []
        stream = Stream(self.events)
        self.cuda = types.SimpleNamespace(
            Device=lambda: types.SimpleNamespace(attributes=ATTRIBUTES, compute_capability="90"),
            runtime=types.SimpleNamespace(memGetInfo=lambda: (memory // 2, memory)),
            MemoryPool=lambda: types.SimpleNamespace(malloc=None),
            Stream=lambda non_blocking: Stream(self.events),
            get_current_stream=lambda: stream,
            using_allocator=lambda allocator: self._allocator(),
        )

    @contextmanager
    def _allocator(self) -> Iterator[None]:
        self.events.append("pool")
        yield

    def get_default_memory_pool(self) -> Any:
        return types.SimpleNamespace(free_bytes=lambda: 0)

    def asnumpy(self, x: Any) -> Any:
        Capture.refuse("a transfer to the host")
        assert isinstance(x, DeviceArray)
        return np.array(x.view(np.ndarray))

    def empty(self, shape: Any, dtype: Any) -> Any:
        kind = np.dtype(dtype)
        return np.full(shape, np.nan if kind.kind == "f" else 1, kind).view(DeviceArray)  # what is not written shows

    def __getattr__(self, name: str) -> Any:
        return getattr(Namespace(), name)

    def ascontiguousarray(self, x: Any, dtype: Any = None) -> Any:
        check((x,))
        return np.ascontiguousarray(bare(x), dtype).reshape(x.shape).view(DeviceArray)


class EmulatedBackend(CupyBackend):
    """The CuPy backend on the host. A record of a step is the step again; what cannot be recorded is refused."""

    def __init__(self, dtype: str = "float64", tf32: bool = False, memory: int = 1 << 34) -> None:
        super().__init__(FakeCupy(memory), Namespace(), dtype, tf32)
        self.recorded = 0

    def _record(self, work: Launch) -> Launch:
        self.recorded += 1
        Capture.running = True
        try:
            with np.errstate(all="ignore"):  # what was not computed has no meaning
                work()
        finally:
            Capture.running = False
        return work
