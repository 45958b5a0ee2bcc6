"""The Hessian in the eigensolvers of SciPy, and on device arrays in those of CuPy's form."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh, lobpcg, svds

from simulator import HessianOperator
from support.cases import SMALL, Case, assert_close
from support.strict_namespace import DEVICE, strict

CASE = next(case for case in SMALL if case.name == "depth4")


@pytest.fixture(scope="module")
def hessian() -> HessianOperator:
    return HessianOperator(*CASE.problem, backend="numpy")


@pytest.fixture(scope="module")
def eigenvalues(hessian: HessianOperator) -> Any:
    return np.linalg.eigvalsh(hessian.dense())


def test_eigsh(hessian: HessianOperator, eigenvalues: Any) -> None:
    assert isinstance(hessian, LinearOperator)
    assert aslinearoperator(hessian) is hessian
    for which, right in (("LA", eigenvalues[-4:]), ("SA", eigenvalues[:4])):
        values, vectors = eigsh(hessian, k=4, which=which)
        assert_allclose(np.sort(values), right, rtol=1e-9)
        assert_close(hessian @ vectors, vectors * values, 1e-8)


def test_lobpcg(hessian: HessianOperator, eigenvalues: Any) -> None:
    start = np.random.default_rng(0).standard_normal((hessian.shape[0], 3))
    values, _ = lobpcg(hessian, start, largest=True, tol=1e-9, maxiter=400)
    assert_allclose(np.sort(values), eigenvalues[-3:], rtol=1e-9)


@pytest.mark.parametrize("solver", ["arpack", "lobpcg", "propack"])
def test_svds(solver: str, hessian: HessianOperator, eigenvalues: Any) -> None:
    right = np.sort(np.abs(eigenvalues))[-3:]
    _, values, _ = svds(hessian, k=3, solver=solver, rng=np.random.default_rng(0))
    assert_allclose(np.sort(values), right, rtol=1e-6)


def test_float32() -> None:
    network, weights, x, y = CASE.problem
    from backends import get_backend

    single = HessianOperator(network, weights, x, y, backend=get_backend("numpy", "float32"))
    values = eigsh(single, k=2, which="LA", return_eigenvectors=False)
    assert values.dtype == np.float32
    right = np.linalg.eigvalsh(HessianOperator(network, weights, x, y, backend="numpy").dense())[-2:]
    assert_allclose(np.sort(values), right, rtol=1e-4)


def _dot(xp: Any, a: Any, b: Any) -> float:
    return float(xp.sum(a * b))


def lanczos(operator: Any, start: Any, steps: int, xp: Any) -> Any:
    """Ritz values after `steps` reorthogonalised steps, asking of the operator what CuPy's eigsh asks of one."""
    assert operator.ndim == 2
    assert operator.shape[0] == operator.shape[1]
    assert operator.dtype.char in "fd"
    basis, alpha, beta = [start / math.sqrt(_dot(xp, start, start))], list[float](), list[float]()
    for _ in range(steps):
        u = operator @ basis[-1]
        alpha.append(_dot(xp, basis[-1], u))
        for _ in range(2):
            for v in basis:
                u = u - _dot(xp, v, u) * v
        beta.append(math.sqrt(_dot(xp, u, u)))
        basis.append(u / beta[-1])
    return np.linalg.eigvalsh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_products_on_the_device(case: Case) -> None:
    """array-api-strict on a second device stands for a GPU: an array that passed through the host would be refused."""
    ops = strict()
    device = HessianOperator(*case.problem, backend=ops).on_device()
    right = HessianOperator(*case.problem, backend="numpy").dense()
    n = case.network.n_weights
    v = np.random.default_rng(0).standard_normal((n, 3))
    for product, vectors in (
        (device.matmat, v),
        (device.__matmul__, v),
        (device.rmatmat, v),
        (device.matmat, v[:, :0]),
    ):
        answer = product(ops.asarray(vectors))
        assert answer.device == DEVICE
        assert_close(ops.to_numpy(answer), right @ vectors, 1e-10)
    for shape in ((n,), (n, 1)):
        answer = device.matvec(ops.asarray(v[:, 0].reshape(shape)))
        assert answer.shape == shape
        assert_close(ops.to_numpy(answer), (right @ v[:, 0]).reshape(shape), 1e-10)
    assert_close(ops.to_numpy(device @ ops.asarray(v[:, 0])), right @ v[:, 0], 1e-10)
    assert (device.shape, device.dtype, device.ndim) == ((n, n), np.dtype("float64"), 2)


def test_an_eigensolver_on_the_device(eigenvalues: Any) -> None:
    ops = strict()
    device = HessianOperator(*CASE.problem, backend=ops).on_device()
    start = ops.asarray(np.random.default_rng(1).standard_normal(device.shape[0]))
    values = lanczos(device, start, 30, array_api_strict)
    assert_allclose(values[[0, -1]], eigenvalues[[0, -1]], rtol=1e-9)


def test_single_precision_vectors_are_taken() -> None:
    """An eigensolver may hand over vectors of its own dtype; the product is in the operator's."""
    device = HessianOperator(*CASE.problem, backend="numpy").on_device()
    v = np.random.default_rng(0).standard_normal(device.shape[0]).astype(np.float32)
    assert device.matvec(v).dtype == np.float64
    assert_close(device.matvec(v), device.matvec(v.astype(np.float64)), 1e-15)


def test_complex_vectors_are_refused() -> None:
    """Their imaginary part would be dropped."""
    ops = strict()
    v = array_api_strict.asarray(np.ones(CASE.network.n_weights) * 1j, device=DEVICE)
    with pytest.raises(ValueError, match="expected real numbers"):
        HessianOperator(*CASE.problem, backend=ops).on_device().matvec(v)
    with pytest.raises(ValueError, match=r"v \(dtype complex128\) holds non-real values"):
        HessianOperator(*CASE.problem, backend="numpy") @ (np.ones(CASE.network.n_weights) * 1j)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 1, 1), ()])
def test_shapes_that_do_not_fit(shape: tuple[int, ...]) -> None:
    device = HessianOperator(*CASE.problem, backend="numpy").on_device()
    with pytest.raises(ValueError, match="a vector of shape"):
        device.matvec(np.zeros(shape))
    with pytest.raises(ValueError, match="a block of shape"):
        device.matmat(np.zeros(shape))
