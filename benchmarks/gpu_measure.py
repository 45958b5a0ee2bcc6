"""What the pieces of `benchmarks/gpu.py` share: lines of results, medians within a deadline, backends, the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from enumeration import machine

from backends import Backend, get_backend

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "torch", "pyhessian", "scipy", "array-api-compat")


@dataclass(frozen=True)
class Sizes:
    """How large each piece is."""

    widths: tuple[float, ...] = (0.25, 1.0)
    steps: int = 50  # training steps of an epoch
    batch: int = 128
    images: int = 1000  # of a Hessian product
    spectrum_images: int = 5000
    probes: int = 4
    lanczos: int = 80
    rounds: int = 10
    repeats: int = 20  # of one layer, between two looks at the clock
    gates: tuple[int, ...] = (6, 11, 13, 1)
    inputs: int = 64  # of the enumeration
    perceptron: tuple[int, ...] = (64, 64, 64, 64, 1)
    examples: int = 1000  # of R5 and R6
    energies: int = 11
    draws: int = 2


TINY = Sizes((0.03, 0.04), 3, 2, 6, 5, 2, 3, 2, 2, (2, 3, 4, 1), 2, (4, 4, 4, 4, 1), 12, 2, 1)


@dataclass
class Bench:
    """Where results go, until when there is time, and on which backends."""

    lines: Path
    deadline: float  # of `time.perf_counter`
    dry: bool = False
    sizes: Sizes = field(default_factory=Sizes)

    def __post_init__(self) -> None:
        self.sizes = TINY if self.dry else self.sizes
        name = "numpy" if self.dry else "cupy"
        self.ours: dict[str, Backend] = {"umwelt": get_backend(name, "float32")}
        if not self.dry:
            self.ours["umwelt, TF32"] = get_backend(name, "float32", tf32=True)
        self.precise = get_backend(name)
        self.torch_device = "cpu" if self.dry else "cuda"
        warnings.filterwarnings("default", message=".*CUDA graph.*")  # each once, and not as an error

    def emit(self, piece: str, what: str, **values: Any) -> None:
        """One line of results, on the disk before anything else can go wrong."""
        line = json.dumps({"piece": piece, "what": what, **values})
        with self.lines.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(line, flush=True)

    def left(self) -> float:
        return self.deadline - time.perf_counter()

    def measure(
        self, piece: str, what: str, make: Callable[[], Call], share: float, per: int = 1, **values: Any
    ) -> Any:
        """Median seconds of a call that ends with the device's work done, divided by `per`; its last result, or None.

        The first call is not counted. No more rounds than fit into a `share` of the time left; one at least. An error
        of any kind is what the line says; the next method may still work.
        """
        self.release()
        limit, begun = share * self.left(), time.perf_counter()
        try:
            call = make()
            call()
            times: list[float] = []
            while len(times) < self.sizes.rounds:
                start = time.perf_counter()
                result = call()
                times.append(time.perf_counter() - start)
                if time.perf_counter() - begun + times[-1] > limit:
                    break
        except Exception as error:  # a library may fail in any way; that is its line's content
            missing = isinstance(error, ImportError)
            self.emit(piece, what, failed="not installed" if missing else reason(error))
            return None
        finally:
            self.release()
        self.emit(piece, what, seconds=statistics.median(times) / per, rounds=len(times), **values)
        return result

    def release(self) -> None:
        """Each library keeps the memory that it has freed, which the other may need."""
        if self.dry:
            return
        import cupy

        try:
            cupy.get_default_memory_pool().free_all_blocks()
            if torch := sys.modules.get("torch"):
                torch.cuda.empty_cache()
        except Exception as error:  # after a sticky error of CUDA every call fails
            print(f"memory was not released: {reason(error)}", flush=True)


def reason(error: BaseException) -> str:
    lines = f"{type(error).__name__}: {error}".splitlines()
    return lines[0][:300]


def device(dry: bool) -> dict[str, Any]:
    """The machine, the card and the versions."""
    found = machine()
    for package in PACKAGES:
        try:
            found["packages"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if not dry:
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        found["gpu"] = properties["name"].decode()
        found["gpu_memory"] = int(properties["totalGlobalMem"])
    return found
