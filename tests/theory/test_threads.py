"""Small matrices are solved in one thread of BLAS, and the number of threads outside is left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from support.layers import blas_threads
from theory import Continuation
from theory.threads import SMALL, threads_for


@pytest.mark.parametrize(("rows", "alone"), [(1, True), (SMALL, True), (SMALL + 1, False)])
def test_one_thread_for_small_matrices(rows: int, alone: bool) -> None:
    before = blas_threads()
    with threads_for(rows):
        assert blas_threads() == ([1] * len(before) if alone else before)
    assert blas_threads() == before


def test_an_error_leaves_the_number_as_it_was() -> None:
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), threads_for(1):
        raise ZeroDivisionError
    assert blas_threads() == before


def test_a_continuation_is_fitted_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    law = Continuation(lambda z: -1.0 / (z - 1.0) / 2.0 - 1.0 / (z + 1.0) / 2.0, 1.0)
    law.solve(np.array([0.3 + 0.4j, 1.0 + 0.4j, 2.0 + 0.4j, 3.0 + 1.0j, 0.1 + 2.0j]))

    def fit(*_: object, **__: object) -> object:
        seen.append(blas_threads())
        return lambda w: w / (w - 1.0)

    monkeypatch.setattr("theory.solvers.continuation.AAA", fit)
    law(np.array([0.5 + 0.5j]))
    assert seen == [[1] * len(blas_threads())]
