"""What every test of the simulator shares: both CPU backends, and Hypothesis without a clock."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores: threads of BLAS that wait for each other would make a test ten times slower.
    # Read when NumPy is loaded, by this process and by those that it starts.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import contextlib
import copy
import functools
import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from backends import Backend, BackendUnavailableError, get_backend
from simulator import Network
from support.cases import BACKENDS
from validation.compare import single
from validation.compare.claims.theorems import bound_claims

TESTS = Path(__file__).parent
WIDTH = shutil.get_terminal_size().columns
# Lines of a run are folded to the terminal; where tests look for words they are whole, and processes inherit that.
os.environ["COLUMNS"] = "1000"
# Idle threads of the compiled kernels must sleep, not spin: tests share their cores. Read when OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# The first call of a compiled kernel may take seconds, and no example is worth shrinking for its time.
settings.register_profile("umwelt", deadline=None, max_examples=40)
settings.load_profile("umwelt")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend."""
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def bounds_once() -> Iterator[None]:
    """Claims on bounds, two seconds of every run, depend on fan-ins, seed and backend only: drawn once for each."""
    known: dict[tuple[Any, ...], list[dict[str, Any]]] = {}

    def remembered(network: Network, seed: np.random.Generator, backend: Backend) -> list[dict[str, Any]]:
        key = (*(layer.fan_in for layer in network.layers), str(seed.bit_generator.state), backend.name)
        if key not in known:
            known[key] = bound_claims(network, seed, backend)
        return copy.deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "bound_claims", remembered)
        yield


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures, where a test does not look at them: the page is written without."""
    monkeypatch.setattr("validation.report.write.draw", lambda figures, data: ({}, {}))


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """Tasks of a cluster run in this process, the last one first, with arguments and values that workers could get."""

    def here(_: Any, function: Any, tasks: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
        for name in reversed(tasks):
            task, given = pickle.loads(pickle.dumps((function, tasks[name])))
            yield name, pickle.loads(pickle.dumps(task(*given)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validation.run.cells.cluster", lambda *_: contextlib.nullcontext())
        patch.setattr("validation.run.cells.completed", here)
        yield


@pytest.fixture
def alone() -> Iterator[None]:
    """`in_this_process` for one test."""
    with in_this_process():
        yield


@pytest.fixture(scope="module")
def alone_here() -> Iterator[None]:
    """`in_this_process` for all tests of a file, where they share a run."""
    with in_this_process():
        yield


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """pytest's own lines keep the width of the terminal."""
    if config.pluginmanager.hasplugin("terminalreporter"):
        config.get_terminal_writer().fullwidth = WIDTH


COMPILING = ("backends", "hostile", "simulator", "validation")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that compile no kernels stand in the middle, the others around them.

    Of two processes one begins at the first test and one at the middle: kernels are compiled by the first alone.
    """
    rooms = [item.path.relative_to(TESTS).parts[0] for item in items]
    compiling = [item for room in COMPILING for item, its in zip(items, rooms, strict=True) if its == room]
    others = [item for item, its in zip(items, rooms, strict=True) if its not in COMPILING]
    middle = len(items) // 2
    items[:] = compiling[:middle] + others + compiling[middle:]


@functools.cache
def no_device() -> str:
    """Why tests marked `gpu` cannot run here; empty where they can."""
    try:
        get_backend("cupy")
    except BackendUnavailableError as error:
        return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and no_device():
        pytest.skip(no_device())


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """Tests that wait for a device are counted by themselves."""
    if report.skipped and "gpu" in report.keywords and report.when == "setup":
        return "without_gpu", "g", "NO GPU"
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says how many tests of the GPU did not run, and why."""
    waiting = len(terminalreporter.stats.get("without_gpu", []))
    if waiting:
        terminalreporter.write_line(f"GPU: {waiting} tests did not run: {no_device()}")
