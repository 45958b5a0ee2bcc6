"""Threads and processes of the program around compiled kernels: the same numbers, no end of a process, no waiting."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from backends import get_backend
from simulator import HessianOperator
from support.cases import IMAGES
from support.layers import blas_threads, drawn
from support.places import ROOT

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

START = """
import multiprocessing, os, signal, sys, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import numpy as np
from simulator import Conv, Dense, HessianOperator, exact_marginal, mlp, sequential
from threadpoolctl import threadpool_info

def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape)

net, small = sequential((6, 6, 2), [Conv(3), Dense(1)]), mlp([4, 6, 5, 1])
h = HessianOperator(net, net.init(0), drawn(12, 6, 6, 2), np.sign(drawn(12)), "squared")
v, x, long = np.ones(net.n_weights), drawn(30, 4), drawn(1 << 17)
weights = small.init(0)

def numbers(_=None):
    inner = float(f"{h.backend.inner(long, long):.12g}")
    return (h @ v).tolist(), exact_marginal(small, weights, x, 1.0).tolist(), inner

def blas():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

def same(_=None):
    return numbers() == right and blas() == usual

usual = blas()
"""


def run(code: str, layer: str = "default", start: str = START) -> subprocess.CompletedProcess[str]:
    """A program of its own, which must end in time and well."""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    done = subprocess.run(
        [sys.executable, "-c", start + code], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


OMP, WORKQUEUE = "omp", "workqueue"


def layers(quick: str) -> pytest.MarkDecorator:
    """Both threading layers, one of them behind the slow marker: every case starts programs that compile."""
    other = WORKQUEUE if quick == OMP else OMP
    return pytest.mark.parametrize("layer", [quick, pytest.param(other, marks=pytest.mark.slow)])


def check_layer(layer: str) -> None:
    code = "import numba; numba.get_num_threads(); print(numba.threading_layer())"
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if found.stdout.strip() != layer:
        pytest.skip(f"Numba has no threading layer {layer!r} here")


@layers(WORKQUEUE)
def test_threads_of_a_program(layer: str) -> None:
    """Four threads get what one gets, on a layer that ends the process when two kernels start at once, too."""
    check_layer(layer)
    run(
        """
right = numbers()
with ThreadPoolExecutor(4) as pool:
    assert all(found == right for found in pool.map(numbers, range(100)))
assert same()
""",
        layer,
    )


@layers(OMP)
@pytest.mark.slow
def test_threads_of_which_none_has_computed_yet(layer: str) -> None:
    """The first kernel of a process is compiled, and its threads are started, by several threads at once."""
    check_layer(layer)
    run(
        """
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(numbers, range(8)))
assert all(f == numbers() for f in found) and blas() == usual
""",
        layer,
    )


def overlapping(first: Callable[[], object], second: Callable[[], object]) -> None:
    """The first block is entered before the second one and left before it."""
    inside, entered = threading.Event(), threading.Event()

    def early() -> None:
        with first():  # type: ignore[attr-defined]
            inside.set()
            assert entered.wait(30)

    def late() -> None:
        assert inside.wait(30)
        with second():  # type: ignore[attr-defined]
            entered.set()
            one.join()

    one, two = threading.Thread(target=early), threading.Thread(target=late)
    one.start()
    two.start()
    two.join()


def test_blocks_of_two_threads_that_overlap() -> None:
    """BLAS gets its threads back, and a kernel that changes later is packed again, of one backend or of two."""
    before, x, w = blas_threads(), drawn((2, 6, 6, 4)), drawn((3, 3, 4, 4))
    ours, other = get_backend("numba"), get_backend("numba")
    for second in (other, ours):
        overlapping(ours.computing, second.computing)
        assert blas_threads() == before
        found = ours.convolve((x, w))
        w *= 2.0
        assert np.array_equal(ours.convolve((x, w)), 2.0 * found)


FORKED = "right = numbers()\n"


@FORKS
@layers(OMP)
def test_forked_processes_give_the_same_numbers(layer: str) -> None:
    """A pool, the standard library's other pool, a bare fork that ends by itself, a child's child."""
    check_layer(layer)
    run(
        FORKED
        + """
fork = multiprocessing.get_context("fork")
with fork.Pool(2) as pool:
    assert pool.map_async(same, range(4)).get(timeout=200) == [True] * 4
with ProcessPoolExecutor(2, mp_context=fork) as pool:
    assert list(pool.map(same, range(2), timeout=100)) == [True] * 2
child = os.fork()
if not child:
    grandchild = os.fork()
    if not grandchild:
        sys.exit(0 if same() else 5)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
assert os.waitpid(child, 0)[1] == 0
assert same()
""",
        layer,
    )


@FORKS
@pytest.mark.slow
def test_a_fork_before_the_first_kernel() -> None:
    """The child starts threads of its own."""
    run(
        f"""
child = os.fork()
{START}
numbers()
if not child:
    from backends.numba import threads as numba_threads
    assert not numba_threads._PROCESS.forked
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        start="import os, backends; backends.get_backend('numba')",
    )


@FORKS
@pytest.mark.slow
def test_a_fork_when_the_program_has_started_threads_itself() -> None:
    """Kernels of the program's own started Numba's threads; none of ours ran before the fork."""
    run(
        """
child = os.fork()
if not child:
    exec(START)
    numbers()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
""",
        OMP,
        start=f"import numba, os, backends; backends.get_backend('numba'); numba.set_num_threads(1); START = {START!r}",
    )


@FORKS
@layers(OMP)
def test_forks_while_other_threads_compute(layer: str) -> None:
    """No child waits for a lock that a thread of its parent held, and BLAS has its threads in every one of them."""
    check_layer(layer)
    run(
        FORKED
        + """
assert multiprocessing.get_context("fork").Pool(1).map_async(same, [0]).get(timeout=200) == [True]  # compiled
stop = threading.Event()
def work():
    while not stop.is_set():
        assert numbers() == right
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
for _ in range(4):
    child = os.fork()
    if not child:
        os._exit(0 if same() else 5)
    end = time.monotonic() + 60
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        assert time.monotonic() < end, "a child waits for ever"
        time.sleep(0.01)
    assert found[1] == 0
stop.set()
for worker in workers:
    worker.join()
assert same()
""",
        layer,
    )


@layers(WORKQUEUE)
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_an_interrupt_while_a_kernel_runs(layer: str) -> None:
    """A KeyboardInterrupt after which everything is as before."""
    check_layer(layer)
    run(
        FORKED
        + """
for delay in (0.01, 0.05, 0.1):
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            numbers()
    except KeyboardInterrupt:
        pass
    assert numbers() == right
""",
        layer,
    )


def test_an_operator_goes_to_another_process_by_its_arrays() -> None:
    """What a pool that starts new processes does with it."""
    for name in ("numpy", "numba"):
        operator = HessianOperator(*IMAGES[0].problem, "squared", backend=name)
        v = np.ones(operator.shape[0])
        expected = operator @ v
        again = pickle.loads(pickle.dumps(operator))
        assert (again.backend.name, again.backend.dtype) == (name, "float64")
        assert np.array_equal(again @ v, expected)


SETTINGS = """
import os, sys, ctypes
changed = []
real = ctypes.CDLL
def library(name=None, *more, **options):
    changed.extend(["malloc"] * (name is None))
    return real(name, *more, **options)
ctypes.CDLL = library
before = dict(os.environ)
import backends, simulator, theory, validation
assert dict(os.environ) == before and not changed
backends.get_backend("numba")
print(sorted(set(os.environ) - set(before)), changed)
"""


@pytest.mark.parametrize("leave", ["", "1"])
def test_a_process_is_changed_when_a_backend_is_made_and_only_where_it_may_be(leave: str) -> None:
    """Imports change nothing; UMWELT_LEAVE_PROCESS leaves the process as it is even then."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS], cwd=ROOT, env=environment | {"UMWELT_LEAVE_PROCESS": leave},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("[] []" if leave else "['GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'] ['malloc']")
