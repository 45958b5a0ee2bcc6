"""Tasks on Dask: nothing is lost with a worker, and what cannot work is said in one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from validation.errors import ClusterError
from validation.run import cluster as module
from validation.run.cluster import check_cluster, cluster, completed


def fatal_once(folder: str, number: int) -> int:
    """A square; the first try ends the worker as `kill -9` does."""
    try:
        (Path(folder) / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return number**2
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process went on")


def square(number: int) -> int:
    return number**2


def threads(_: int) -> tuple[int, Any, str]:
    """(threads of the kernels, reaction to an interrupt, process)."""
    import numba

    return numba.config.NUMBA_NUM_THREADS, signal.getsignal(signal.SIGINT), str(os.getpid())


def fatal(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def broken(number: int) -> None:
    raise ArithmeticError(f"no {number}")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster(workers=2) as made:
        yield made


def test_what_dies_with_its_worker_runs_again(client: Any, tmp_path: Path) -> None:
    tasks = {f"square {i}": (str(tmp_path), i) for i in range(2)}
    assert dict(completed(client, fatal_once, tasks)) == {"square 0": 0, "square 1": 1}
    assert {p.name for p in tmp_path.iterdir()} == {"0", "1"}  # both were killed


def test_this_process_keeps_its_environment() -> None:
    """Dask sets variables before it starts workers; kernels compiled here afterwards would be held to one thread."""
    before = dict(os.environ)
    with cluster(workers=1) as made:
        assert "NUMBA_NUM_THREADS" in before or "NUMBA_NUM_THREADS" not in os.environ
        assert dict(completed(made, square, {"a": (3,)})) == {"a": 9}
    assert dict(os.environ) == before


def test_a_worker_computes_in_one_thread_and_leaves_interrupts_alone(client: Any) -> None:
    found = dict(completed(client, threads, {str(i): (i,) for i in range(4)})).values()
    assert {(count, action) for count, action, _ in found} == {(1, signal.SIG_IGN)}
    assert str(os.getpid()) not in {process for *_, process in found}


def test_an_error_of_the_task_is_raised(client: Any) -> None:
    with pytest.raises(ArithmeticError, match="no 3"):
        list(completed(client, broken, {"a": (3,)}))


@pytest.mark.slow
def test_a_task_that_ends_every_worker_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOST_WORKERS", 0)
    monkeypatch.setattr(module, "TRIES", 2)
    with cluster(workers=1) as made, pytest.raises(ClusterError, match="poison lost its worker 2 times"):
        list(completed(made, fatal, {"poison": (1,)}))


def test_a_scheduler_that_runs_already() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=4, processes=False, dashboard_address="127.0.0.1:0") as running,
        cluster(scheduler=running.scheduler_address) as made,
    ):
        assert dict(completed(made, square, {str(i): (i,) for i in range(20)})) == {str(i): i**2 for i in range(20)}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "tcp://127.0.0.1"])
def test_an_address_where_nothing_answers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    with pytest.raises(ClusterError, match=f"^--scheduler {address}: no cluster with workers"), cluster(None, address):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'umwelt-dnn\[cluster\]'"):
        check_cluster(None, None)


@pytest.mark.parametrize(("workers", "scheduler"), [(0, None), (True, None), (2, "tcp://127.0.0.1:9")])
def test_workers_that_cannot_be_started(workers: int, scheduler: str | None) -> None:
    with pytest.raises(ClusterError, match=f"--workers {workers}"):
        check_cluster(workers, scheduler)
