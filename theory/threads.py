"""Threads of BLAS: one for each of several small problems that are solved side by side.

Two threads gain little on a matrix of a hundred rows, and where another program holds a core they wait for each other:
an equation then takes ten times as long.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def blas_threads() -> int:
    """Threads that BLAS may use now: the fewest of the libraries loaded."""
    found = [library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"]
    return min(found, default=1)


def one_thread() -> AbstractContextManager[Any]:
    """One thread of BLAS inside; outside as many as there were."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit
