"""Trace, diagonal and blocks of layers, exactly."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, eigsh

from backends import get_backend
from simulator import HessianOperator, spectral_density
from support.cases import DENSE, IMAGES, LOSSES, SMALL, Array, Case, assert_close

PARTS = ("full", "gauss_newton", "residual")


@cache
def dense_of(case: Case, loss: str, part: str) -> Array:
    """One dense matrix for both backends."""
    return HessianOperator(*case.problem, loss, part, backend="numpy").dense()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_trace_and_diagonal(case: Case, loss: str, backend: str) -> None:
    """Those of the dense matrix; exactly 0 where E1 and E2 say so."""
    for part in PARTS:
        operator = HessianOperator(*case.problem, loss, part, backend=backend, batch_size=4)
        dense, diagonal = dense_of(case, loss, part), operator.diagonal()
        scale = max(1e-300, float(np.abs(dense).max()))
        assert diagonal.shape == (case.network.n_weights,)
        assert_close(diagonal, np.diag(dense), 1e-12, scale)
        assert operator.trace() == pytest.approx(np.trace(dense), abs=1e-11 * scale * len(dense))
        if part == "residual" or loss in ("hinge", "perceptron"):
            assert not diagonal.any()
            assert operator.trace() == 0.0


def test_the_bent_losses_have_a_trace() -> None:
    operator = HessianOperator(*DENSE[2].problem, "logistic")
    assert operator.trace() > 0.01
    assert operator.trace() == pytest.approx(HessianOperator(*DENSE[2].problem, "logistic", "gauss_newton").trace())


def test_trace_of_a_draw_of_an_ensemble() -> None:
    """Fresh weights leave the Gauss-Newton part, which is made of signals, as it is."""
    case = DENSE[3]
    operator = HessianOperator(*case.problem, "logistic")
    fresh = operator.with_weights(case.network.init(5))
    assert_close(fresh.diagonal(), np.diag(fresh.dense()), 1e-12)
    assert_close(fresh.diagonal(), operator.diagonal(), 1e-12)


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("case", [DENSE[3], IMAGES[2], IMAGES[11]], ids=str)
def test_blocks_are_those_of_the_dense_matrix(case: Case, loss: str, backend: str) -> None:
    operator = HessianOperator(*case.problem, loss, backend=backend)
    dense, depth = operator.dense(), case.network.depth
    places = [np.arange(case.network.n_weights)[part] for part in case.network.slices]
    for layers in [[k] for k in range(depth)] + [[0, depth - 1], list(range(depth))]:
        block, rows = operator.block(layers), np.concatenate([places[k] for k in layers])
        assert isinstance(block, LinearOperator)
        assert_close(block.dense(), dense[np.ix_(rows, rows)], 1e-13, float(np.abs(dense).max()))
        assert_close(block.diagonal(), np.diag(dense)[rows], 1e-12, float(np.abs(dense).max()))
        assert block.trace() == pytest.approx(np.trace(dense[np.ix_(rows, rows)]), abs=1e-10)
        v = np.random.default_rng(0).standard_normal(len(rows))
        assert_close(block @ v, dense[np.ix_(rows, rows)] @ v, 1e-12, float(np.abs(dense @ dense).max()))
        if loss == "hinge" and len(layers) == 1:
            assert not block.dense().any()


def test_the_spectrum_of_two_layers() -> None:
    """Lanczos and SciPy's solver on a block: symmetric about 0 for the hinge, as its diagonal blocks are 0."""
    block = HessianOperator(*DENSE[3].problem).block([0, 1])
    eigenvalues = np.linalg.eigvalsh(block.dense())
    np.testing.assert_allclose(eigenvalues, -eigenvalues[::-1], atol=1e-13)
    (largest,) = eigsh(block, k=1, which="LA", return_eigenvectors=False)
    assert largest == pytest.approx(eigenvalues.max())
    spectrum = spectral_density(block, n_probes=4, n_steps=30)
    assert spectrum.nodes.max() == pytest.approx(eigenvalues.max(), rel=1e-9)


@pytest.mark.parametrize("layers", [[], [4], [1, 0], [0, 0], [-1], [0.5]])
def test_layers_that_are_not_there(layers: list[int]) -> None:
    operator = HessianOperator(*DENSE[3].problem)
    with pytest.raises(ValueError, match=r"layers? .* (not usable)"):
        operator.block(layers)


@pytest.mark.parametrize("of_layers", [None, [0, 1]])
def test_vectors_that_would_lose_something_are_refused(of_layers: list[int] | None) -> None:
    """A block asks of its vectors what the whole operator does: no imaginary part is dropped."""
    whole = HessianOperator(*DENSE[3].problem, backend=get_backend("numpy", "float32"))
    operator = whole if of_layers is None else whole.block(of_layers)
    n = operator.shape[0]
    for v in (np.ones(n) * 1j, np.ones((n, 2)) * (1 + 1j)):
        with pytest.raises(ValueError, match=r"v \(dtype complex128\) holds non-real values"):
            operator @ v
    with pytest.raises(ValueError, match=r"v has 1e\+60 as its largest number, which float32 does not hold"):
        operator @ np.full(n, 1e60)
    assert (operator @ np.zeros((n, 0))).shape == (n, 0)
    on_device = operator.on_device()
    assert_close(on_device.matvec(np.ones(n, dtype=np.float32)), operator @ np.ones(n), 1e-6)
