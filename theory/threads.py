"""Threads of BLAS: one for small matrices.

Two threads gain little on a matrix of a hundred rows, and where another program holds a core they wait for each other:
an equation then takes ten times as long.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL = 160
"""Rows of a matrix up to which one thread is as quick as several."""


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def blas_threads() -> int:
    """Threads that BLAS may use now: those of the libraries loaded, the fewest of them."""
    found = [library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"]
    return min(found, default=1)


def threads_for(rows: int) -> AbstractContextManager[Any]:
    """One thread of BLAS inside where matrices have so few rows; all of them otherwise."""
    return _controller().limit(limits=1, user_api="blas") if rows <= SMALL else nullcontext()
