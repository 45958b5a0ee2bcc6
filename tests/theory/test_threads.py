"""Small problems have one thread of BLAS each, and the number of threads outside is left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from support.layers import blas_threads
from theory import Continuation, threads
from theory.threads import one_thread


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    before = blas_threads()
    with one_thread():
        assert blas_threads() == [1] * len(before)
        assert threads.blas_threads() == 1
    assert blas_threads() == before
    assert threads.blas_threads() == min(before)


def test_an_error_leaves_the_number_as_it_was() -> None:
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
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
