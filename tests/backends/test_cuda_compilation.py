"""The CUDA kernels go through a CUDA compiler, down to machine code, where there is one; no GPU is needed."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from backends.cupy.kernels import Variant
from backends.cupy.modules import OPTIONS, source
from backends.cupy.sweeps import THREADS

Compile = Callable[[str, str], str]  # (text, architecture) -> what the compiler said
TEXTS = {
    "sweeps": source("gating.cuh", "gates.cu", "arrays.cu", SCALAR="float", THREADS=THREADS),
    "sweeps, float64": source("gating.cuh", "gates.cu", "arrays.cu", SCALAR="double", THREADS=THREADS),
    "enumeration": source("enumeration.cu", THREADS=THREADS),
}
FLUSH = "-ftz=true"  # what CuPy adds, and NVRTC alone knows:
DEVICE = "--device-as-default-execution-space"
VARIANTS = [
    Variant("float", 128, 128, 4, 4, False),
    Variant("float", 128, 64, 4, 4, True),
    Variant("float", 256, 16, 4, 4, True),
    Variant("float", 256, 16, 1, 4, True),
    Variant("double", 128, 32, 2, 1, False),
    Variant("float", 128, 128, 4, 4, True),
    Variant("float", 128, 128, 1, 1, True),
    Variant("double", 256, 16, 1, 1, False),
]


def contraction(variant: Variant) -> str:
    return source(*variant.names, **variant.values)


def with_nvcc(text: str, architecture: str) -> str:
    nvcc = shutil.which("nvcc")
    assert nvcc
    command = [nvcc, "-x", "cu", "-", "-cubin", "-arch", architecture, "-Xptxas", "-v", "-o", "/dev/null"]
    command += [*OPTIONS, FLUSH]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@cache
def nvrtc() -> ctypes.CDLL | None:
    """NVIDIA's run-time compiler from its Python package, the one that CuPy uses."""
    package = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in package.submodule_search_locations or ()] if package else []
    for library in (found for folder in folders for found in sorted(folder.glob("*/lib/libnvrtc.so.*"))):
        return ctypes.CDLL(str(library))
    return None


def with_nvrtc(text: str, architecture: str) -> str:
    library, program = nvrtc(), ctypes.c_void_p()
    assert library
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None) == 0
    words = [*OPTIONS, DEVICE, FLUSH, f"--gpu-architecture={architecture}"]
    status = library.nvrtcCompileProgram(
        program, len(words), (ctypes.c_char_p * len(words))(*(w.encode() for w in words))
    )
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    assert size.value > 0
    return log.value.decode()


def compiler() -> Compile:
    if nvrtc():
        return with_nvrtc
    if shutil.which("nvcc"):
        return with_nvcc
    pytest.skip("neither nvcc is on the PATH nor NVRTC installed (pip install nvidia-cuda-nvrtc): nothing was compiled")


@pytest.mark.parametrize("name", TEXTS)
def test_sweeps_compile(name: str) -> None:
    assert "warning" not in compiler()(TEXTS[name], "sm_90")


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_contractions_compile(variant: Variant) -> None:
    assert "warning" not in compiler()(contraction(variant), "sm_90")


def test_older_devices() -> None:
    """Volta without tensor cores for TF32, Ampere with them."""
    assert "warning" not in compiler()(contraction(VARIANTS[0]), "sm_80")
    assert "warning" not in compiler()(contraction(VARIANTS[1]), "sm_80")


@pytest.mark.skipif(not shutil.which("nvcc"), reason="nvcc is not on the PATH: registers were not counted")
@pytest.mark.parametrize("variant", [*VARIANTS[:3], VARIANTS[5]], ids=str)
def test_no_registers_are_spilled(variant: Variant) -> None:
    """Sums stay in registers, and two blocks of 256 threads share a multiprocessor: 128 registers each.

    nvcc 13.0 puts ten addresses of the products without tensor cores aside, once in 1024 multiply-adds of a thread, and
    nvcc 13.5 one of gradients of the widest tile on tensor cores.
    """
    said = with_nvcc(contraction(variant), "sm_90")
    spilled = [int(number) for number in re.findall(r"(\d+) bytes spill stores", said)]
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", said)]
    assert len(spilled) == len(registers) == 2
    assert max(spilled) <= (0 if variant.tensor and variant.columns < 128 else 40)
    assert max(registers) <= 128
