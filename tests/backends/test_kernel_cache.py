"""Compiled kernels on disk: whatever happens to the folder, the numbers are right, and what is amiss is said once."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backends.numba import jit
from support.places import ROOT

SOURCE = """
from backends.numba.jit import njit


@njit(cache=True)
def double(x):
    return x + x
"""


@pytest.fixture(autouse=True)
def said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "_said", False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module with one kernel; where it is kept is ``__pycache__`` beside it."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    (tmp_path / "kernel.py").write_text(SOURCE)
    return tmp_path


def fresh(folder: Path) -> ModuleType:
    """The module as another process would load it."""
    spec = importlib.util.spec_from_file_location("kernel", folder / "kernel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def loads(folder: Path, x: Any = 3) -> bool:
    """Whether a kernel that gives the right number was found on disk."""
    double = fresh(folder).double
    assert double(x) == 2 * x
    return sum(double.stats.cache_hits.values()) == 1


def kept(folder: Path, ending: str) -> list[Path]:
    return sorted((folder / "__pycache__").glob(f"kernel.double*.{ending}"))


def test_a_kernel_is_kept(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [loads(folder), loads(folder), loads(folder, 1.5), loads(folder, 1.5)] == [False, True, False, True]


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut off", "other bytes", "a bit"])
def test_a_damaged_file_is_made_again(ending: str, damage: str, folder: Path) -> None:
    assert not loads(folder)
    (file,) = kept(folder, ending)
    content = file.read_bytes()
    for place in (len(content) // 3, len(content) // 2, len(content) - 40) if damage == "a bit" else (0,):
        changed = bytes(b ^ (i == place) for i, b in enumerate(content))
        file.write_bytes({"empty": b"", "cut off": content[:-9], "other bytes": b"\x80hello", "a bit": changed}[damage])
        tries = [loads(folder) for _ in range(3)]
        assert tries[0] is False or ending == "nbi"  # the index holds hashes that may be of another entry
        assert tries[2]


def test_an_entry_of_another_kernel_is_not_taken(folder: Path) -> None:
    """Two processes that compile at once may give one name to two entries: the last content stands under both."""
    assert not loads(folder, 3)
    assert not loads(folder, 1.5)
    one, two = kept(folder, "nbc")
    shutil.copy(two, one)
    assert not loads(folder, 3)
    assert loads(folder, 3)
    assert loads(folder, 1.5)


def test_a_kernel_is_made_again_when_any_kernel_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It contains the kernels that it calls, of whose sources Numba knows nothing."""
    assert not loads(folder)
    with monkeypatch.context() as patch:
        patch.setattr(jit, "_sources_digest", lambda: b"changed")
        assert not loads(folder)
        assert loads(folder)
    assert not loads(folder)


def test_a_version_of_numba_does_not_take_what_another_one_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loads(folder)
    monkeypatch.setattr("numba.__version__", "0.0.1")
    assert not loads(folder)


@pytest.mark.parametrize("method", ["load", "save"])
def test_a_disk_that_fails_costs_one_warning(method: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, unreadable, gone: the number is right, the warning names the reason and the remedy, once."""
    number = {"load": errno.EACCES, "save": errno.ENOSPC}[method]

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "the/file")

    monkeypatch.setattr(f"numba.core.caching.IndexDataCacheFile.{method}", fail)
    with pytest.warns(UserWarning, match=rf"{os.strerror(number)}: 'the/file'.*NUMBA_CACHE_DIR") as caught:
        assert [loads(folder), loads(folder, 1.5)] == [False, False]
    assert len(caught) == 1


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    assert not loads(folder)
    (index,) = kept(folder, "nbi")
    index.unlink()
    index.mkdir()
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR"):
        assert not loads(folder)


def without_folder(tmp_path: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program that uses a copy of the packages beside which nothing can be written, without a home."""
    for name in ("backends", "simulator"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in {path.parent for path in (tmp_path / name).rglob("*.py")}:
            (folder / "__pycache__").touch()  # stands for a folder that cannot be written
    nowhere = {"HOME": "/proc/x", "XDG_CACHE_HOME": "/proc/x", "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": ""}
    return subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, env={**os.environ, **nowhere, **environment},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


CODE = """
import numpy as np
from simulator import HessianOperator, mlp
n = mlp([4, 3, 1])
h = HessianOperator(n, n.init(0), np.ones((2, 4)), np.array([1., -1.]))
assert np.allclose(h @ np.ones(n.n_weights), h.dense().sum(axis=1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no folder can be made in /proc, on Linux only")
def test_no_folder_at_all(tmp_path: Path) -> None:
    """Compiled in this process, said once on stderr."""
    done = without_folder(tmp_path, CODE)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be kept on disk (no folder can be written)") == 1
    assert "set the environment variable NUMBA_CACHE_DIR to a folder that can be written" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="no folder can be made in /proc, on Linux only")
def test_the_remedy_that_the_warning_names(tmp_path: Path) -> None:
    done = without_folder(tmp_path, CODE, NUMBA_CACHE_DIR=str(tmp_path / "kept"))
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "kept").rglob("*.nbi"))


def test_no_module_goes_around_the_cache_and_the_launcher() -> None:
    """A kernel that is compiled by Numba's own decorator knows nothing of forks, threads and failing disks."""
    for module in (ROOT / "backends" / "numba").rglob("*.py"):
        if module.name != "jit.py":
            imported = [line for line in module.read_text().splitlines() if line.startswith("from numba import")]
            assert not any("njit" in line for line in imported), module


def test_a_serial_version_is_kept_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one function there are two compiled versions, which must not take each other's place on disk."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    (tmp_path / "kernel.py").write_text(
        "from numba import prange\nfrom backends.numba.jit import njit\n\n\n@njit(parallel=True, cache=True)\n"
        "def double(x, y):\n    for i in prange(x.size):\n        y[i] = 2 * x[i]\n"
    )
    x = np.arange(5.0)
    for forked in (False, True, False, True):
        monkeypatch.setattr("backends.numba.threads._PROCESS.forked", forked)
        y = np.zeros(5)
        fresh(tmp_path).double(x, y)
        assert np.array_equal(y, 2 * x)
    assert len(kept(tmp_path, "nbi")) == 2


NUMBERS = """
import numpy as np
from backends import get_backend
draw = np.random.default_rng(0).standard_normal
for dtype in ("float64", "float32"):
    ops, n = get_backend("numba", dtype), 20_011
    x, y, basis = (draw(shape).astype(dtype) for shape in (n, n, (7, n)))
    print(ops.inner(x, y).hex(), ops.orthogonalise(basis, x, np.zeros(7, dtype), np.zeros(n, dtype)).tobytes().hex())
"""


@pytest.mark.slow
def test_a_process_that_compiles_comes_to_the_numbers_of_one_that_finds_its_kernels(tmp_path: Path) -> None:
    """Bit for bit: sums whose order the compiler chose came out otherwise in the first process than in all others."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run([sys.executable, "-c", NUMBERS], cwd=ROOT, env=environment, capture_output=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout


def test_no_kernel_leaves_the_order_of_its_sums_to_the_compiler() -> None:
    for module in (ROOT / "backends" / "numba").rglob("*.py"):
        assert "fastmath" not in module.read_text(), module
