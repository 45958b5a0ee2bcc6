"""Independent tasks on Dask: local worker processes, or a cluster that runs already.

A task is a pure function of its arguments, so that a task lost with its worker is simply run again. One thread computes
in every process: the kernels are then not threaded within a task, and results do not depend on where they were made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from validation.errors import ClusterError

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)  # read as libraries are loaded: set in this process before it starts a worker, which inherits them
KERNELS_ONE_THREAD = {"NUMBA_NUM_THREADS": "1"}  # read anew by every kernel: set in the workers only
LOST_WORKERS = 3  # a task that was running on more workers than this when they died is tried again, and then given up
TRIES = 3
PATIENCE = 30.0  # seconds to find a scheduler and its first worker
_computing = threading.Lock()


def dask_setup(_: Any) -> None:
    """Called by Dask in a local worker as it starts: an interrupt is for the program that started it, not for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def default_workers() -> int:
    """Local processes: one for every core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_cluster(workers: int | None, scheduler: str | None) -> None:
    """Raise `ClusterError` without Dask, or for a number of local workers that cannot be started."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ClusterError("Dask is not installed: pip install 'umwelt-dnn[cluster]'") from None
    if workers is not None and scheduler is not None:
        raise ClusterError(f"--workers {workers} with --scheduler {scheduler}: the cluster has its own, give one")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ClusterError(f"--workers {workers!r}: expected an integer >= 1")


@contextlib.contextmanager
def cluster(workers: int | None = None, scheduler: str | None = None) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler at an address, or of `workers` new local processes of one thread."""
    check_cluster(workers, scheduler)
    import dask
    from distributed import Client

    quiet = {
        "distributed.nanny.pre-spawn-environ": ONE_THREAD,
        "distributed.nanny.environ": KERNELS_ONE_THREAD,
        "distributed.worker.preload": [__name__],
        "distributed.scheduler.allowed-failures": LOST_WORKERS,
        "distributed.worker.profile.enabled": False,
    }
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(_same_environment())
            stack.enter_context(dask.config.set(quiet))
            local = stack.enter_context(_local(workers or default_workers()))
            # The workers' deaths are no news: their tasks run again.
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
            scheduler = local.scheduler_address
        try:
            client = stack.enter_context(Client(scheduler, timeout=PATIENCE, set_as_default=False))
            client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(f"--scheduler {scheduler}: no cluster with workers answers there ({error})") from None
        yield client


@contextlib.contextmanager
def _same_environment() -> Iterator[None]:
    """Afterwards the environment of this process is what it was: Dask leaves in it what it sets for its workers."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _local(workers: int) -> Any:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )


def alone(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Run a task while no other runs in this process: workers of several threads would start kernels in all of them."""
    with _computing:
        return function(*arguments)


def completed(
    client: Any, function: Callable[..., Any], tasks: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, Any]]:
    """(name, function(*arguments)) of every task, in the order in which they are done.

    `function` must be importable by the workers, its value picklable. What dies with a worker runs again elsewhere; a
    task that took more than `LOST_WORKERS` workers with it, `TRIES` times, raises `ClusterError`, as does the loss of
    the scheduler. Errors of the function itself are raised here.
    """
    from distributed import KilledWorker, as_completed
    from distributed.client import FutureCancelledError

    def submit(name: str, attempt: int) -> Any:
        return client.submit(alone, function, list(tasks[name]), key=f"{name}#{attempt}-{id(tasks)}", pure=False)

    running = {future: (name, 1) for name in tasks for future in [submit(name, 1)]}
    queue = as_completed(list(running), loop=client.loop)
    for future in queue:
        name, attempt = running.pop(future)
        try:
            value = future.result()
        except KilledWorker:
            if attempt == TRIES:
                raise ClusterError(
                    f"{name} lost its worker {TRIES * (LOST_WORKERS + 1)} times, for want of memory perhaps: use fewer "
                    "--workers or smaller cases"
                ) from None
            again = submit(name, attempt + 1)
            running[again] = (name, attempt + 1)
            queue.add(again)
            continue
        except (FutureCancelledError, ImportError) as error:
            raise ClusterError(f"{name} cannot be computed on the cluster ({error})") from None
        yield name, value
        future.release()
