"""Texts of `backends/cupy/cuda` compiled by NVRTC when they are first needed, and kept on disk by CuPy."""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files
from typing import Any

OPTIONS = ("--std=c++17",)


def source(*names: str, **values: Any) -> str:
    """The text of kernel files, one after another, behind a definition for each of `values`.

    Options of a compiler would do for these too, but CuPy asks the compiler once more for every new set of options.
    """
    folder = files(__package__) / "cuda"
    defined = [f"#define {name} {value}" for name, value in values.items()]
    return "\n".join((*defined, *((folder / name).read_text(encoding="utf-8") for name in names)))


class Modules:
    """What was compiled for one CuPy."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._made: dict[Any, Any] = {}

    @cached_property
    def multiprocessors(self) -> int:
        return int(self._cupy.cuda.Device().attributes["MultiProcessorCount"])

    @cached_property
    def shared_bytes(self) -> int:
        """Shared memory of a multiprocessor."""
        return int(self._cupy.cuda.Device().attributes["MaxSharedMemoryPerMultiprocessor"])

    def get(self, names: tuple[str, ...], **values: Any) -> Any:
        key = (names, *values.items())
        if key not in self._made:
            self._made[key] = self._cupy.RawModule(code=source(*names, **values), options=OPTIONS)
        return self._made[key]
