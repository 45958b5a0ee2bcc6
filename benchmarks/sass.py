"""Instructions of the inner loops of the CUDA products, from their machine code; no GPU is needed.

    pip install nvidia-cuda-nvrtc nvidia-cuda-nvdisasm
    python benchmarks/sass.py [--architecture sm_90]

Compiled by NVRTC with CuPy's options and read by nvdisasm. A row is a tile and a kernel: instructions of the loop over
slabs, those among them that multiply (HMMA of tensor cores, FFMA, DFMA), and instructions that put registers aside.
Every instruction of the loop runs once a slab, but for what a border leaves out.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backends.cupy.kernels import Variant
from backends.cupy.modules import OPTIONS, source

CUPY = ("-ftz=true", "--device-as-default-execution-space")  # what CuPy adds
MULTIPLY = ("HMMA", "FFMA", "DFMA")
TILES = ((128, 128), (128, 64), (128, 32), (256, 16))
VARIANTS = [Variant("float", *tile, 4, 4, tensor) for tensor in (True, False) for tile in TILES]
VARIANTS += [Variant("double", *tile, 2, 2, False) for tile in TILES]


def packaged(pattern: str) -> str | None:
    """A file of NVIDIA's Python packages."""
    package = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in package.submodule_search_locations or ()] if package else []
    return next((str(found) for folder in folders for found in sorted(folder.glob(pattern))), None)


def machine_code(library: ctypes.CDLL, text: str, architecture: str) -> bytes:
    """A text compiled by NVRTC."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    words = [w.encode() for w in (*OPTIONS, *CUPY, f"--gpu-architecture={architecture}")]
    if library.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*words)):
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        raise SystemExit(log.value.decode())
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    library.nvrtcGetCUBIN(program, code)
    return code.raw


def kernels(disassembler: str, code: bytes) -> Iterator[tuple[str, list[str], dict[str, int]]]:
    """(name, instructions, where labels stand) of every kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        text = subprocess.run([disassembler, "-c", file.name], capture_output=True, text=True, check=True).stdout
    for name, body in re.findall(r"^\.text\.(\w+):\n(.*?)(?=^\.text\.|\Z)", text, re.MULTILINE | re.DOTALL):
        instructions: list[str] = []
        labels: dict[str, int] = {}
        for line in body.splitlines():
            if label := re.match(r"\s*(\.L_\w+):", line):
                labels[label[1]] = len(instructions)
            elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?(.*?);", line):
                instructions.append(found[1])
        yield name, instructions, labels


def inner_loop(instructions: list[str], labels: dict[str, int]) -> list[str]:
    """The shortest loop that multiplies."""
    loops = []
    for end, instruction in enumerate(instructions):
        target = re.search(r"^BRA.*`\((\.L_\w+)\)", instruction)
        if target and labels[target[1]] <= end:
            loops.append(instructions[labels[target[1]] : end + 1])
    return min((loop for loop in loops if any(i.startswith(MULTIPLY) for i in loop)), key=len)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="sm_90")
    options = parser.parse_args()
    compiler = packaged("*/lib/libnvrtc.so.*")
    disassembler = shutil.which("nvdisasm") or packaged("*/bin/nvdisasm")
    if not compiler or not disassembler:
        raise SystemExit("NVRTC or nvdisasm is missing: pip install nvidia-cuda-nvrtc nvidia-cuda-nvdisasm")
    library = ctypes.CDLL(compiler)
    print("| tile | numbers | kernel | instructions | products | for 32 | put aside |\n|---|---|---|---|---|---|---|")
    for variant in VARIANTS:
        code = machine_code(library, source(*variant.names, **variant.values), options.architecture)
        for name, instructions, labels in kernels(disassembler, code):
            loop = inner_loop(instructions, labels)
            products = sum(i.startswith(MULTIPLY) for i in loop)
            aside = sum(i.startswith(("LDL", "STL")) for i in loop)
            cells = [
                f"{variant.rows}×{variant.columns}", "TF32" if variant.tensor else variant.scalar, name,
                len(loop), products, f"{32 * len(loop) / products:.0f}", aside,
            ]  # fmt: skip
            print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
