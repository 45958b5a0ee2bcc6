"""The Hessian operator against `autograd`, and its own promises."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

from backends import get_backend
from simulator import HessianOperator, output, vgg12
from simulator.passes.propagation import propagate
from support.cases import CASES, DENSE, IMAGES, LOSSES, SMALL, VGG12, Array, Case, assert_close

PARTS = ("full", "gauss_newton", "residual")
MIXED = [DENSE[4], IMAGES[5]]


@cache
def directions(case: Case) -> Array:
    count = 1 if case is VGG12 else 3
    return np.random.default_rng([case.seed, 3]).standard_normal((case.network.n_weights, count))


@cache
def expected(case: Case, loss: str, part: str) -> Array:
    return case.oracle(loss).product(case.theta, directions(case), part)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_products(case: Case, loss: str, backend: str) -> None:
    """All three parts against reverse-over-reverse differentiation and the Jacobian."""
    v, products = directions(case), {}
    for part in PARTS:
        operator = HessianOperator(*case.problem, loss, part, backend=backend)
        products[part] = operator @ v
        assert products[part].dtype == np.float64
        assert_close(products[part], expected(case, loss, part))
    assert_close(products["gauss_newton"] + products["residual"], products["full"], 1e-13)
    if loss == "hinge":
        assert not products["gauss_newton"].any()


@pytest.mark.parametrize("case", [c for c in CASES if c.network.depth > 1], ids=str)
def test_given_coefficients(case: Case, backend: str) -> None:
    """`c` overrides ∂ℓ/∂T/m: any c against autograd, the loss's own c against the residual part."""
    v, c = directions(case), np.random.default_rng([case.seed, 4]).standard_normal(case.examples)
    operator = HessianOperator(case.network, case.weights, case.x, None, "ignored", c=c, backend=backend)
    assert_close(operator @ v, case.oracle().product(case.theta, v, c=c))
    residual = HessianOperator(*case.problem, "logistic", "residual", backend=backend)
    again = HessianOperator(case.network, case.weights, case.x, None, c=residual.c, backend=backend)
    assert_close(residual.c, case.oracle("logistic").coefficients(case.theta))
    assert np.array_equal(again @ v, residual @ v)


def test_single_precision_at_equal_gates() -> None:
    """Float32 products of vgg12:0.25, fast convolutions included, are those of float64 to 1e-5 where no gate flips."""
    network, rng = vgg12(0.25), np.random.default_rng(7)
    weights, x, c = network.init(0), rng.standard_normal((6, 32, 32, 3)), rng.standard_normal(6) / 6
    single, double = get_backend("numba", "float32"), get_backend("numba", "float64")
    same = np.ones(len(x), bool)
    gates = [
        propagate(network, [ops.asarray(w) for w in weights], ops.asarray(x), ops).gates for ops in (single, double)
    ]
    for a, b in zip(*gates, strict=True):
        same &= np.all((a == b).reshape(len(x), -1), axis=1)
    assert same.sum() >= 3
    v = rng.standard_normal((network.n_weights, 2))
    products = [
        HessianOperator(network, weights, x[same], None, c=c[same], backend=ops) @ v for ops in (single, double)
    ]
    assert products[0].dtype == np.float32
    assert np.linalg.norm(products[0] - products[1]) < 1e-5 * np.linalg.norm(products[1])


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_every_way_to_multiply_agrees(case: Case, backend: str) -> None:
    operator = HessianOperator(*case.problem, "logistic", backend=backend)
    assert isinstance(operator, LinearOperator)
    v, dense = directions(case), operator.dense()
    assert_close(operator @ v, dense @ v, 1e-12)
    assert_close(operator @ v[:, 0], dense @ v[:, 0], 1e-12)
    assert_close(operator @ np.asfortranarray(v)[:, ::2], dense @ v[:, ::2], 1e-12)
    ops = operator.backend
    assert_close(ops.to_numpy(operator.product(ops.asarray(v))), dense @ v, 1e-12)
    assert_close(ops.to_numpy(operator.product(ops.asarray(v[:, 0]))), dense @ v[:, 0], 1e-12)
    assert_close(ops.to_numpy(operator.rows(ops.asarray(v.T))), (dense @ v).T, 1e-12)
    assert_close(operator.T @ v, dense @ v, 1e-12)
    assert_close(dense, dense.T, 1e-12)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_products_with_one_layer(case: Case, part: str, backend: str) -> None:
    """`layer_rows` is `rows` on vectors that vanish outside one layer."""
    operator = HessianOperator(*case.problem, "squared", part, backend=backend, batch_size=4)
    ops, v = operator.backend, directions(case).T
    size = float(np.linalg.norm(operator.dense()) * np.linalg.norm(v))
    for layer, support in enumerate(case.network.slices):
        whole = np.zeros_like(v)
        whole[:, support] = v[:, support]
        found = operator.layer_rows(layer, ops.asarray(v[:, support]))
        assert_close(ops.to_numpy(found), ops.to_numpy(operator.rows(ops.asarray(whole))), 1e-13, size)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("case", MIXED, ids=str)
def test_batch_size_and_memory_do_not_matter(
    case: Case, part: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    v = directions(case)
    whole = HessianOperator(*case.problem, "squared", part, backend=backend) @ v
    for size in (1, 4, 100):
        operator = HessianOperator(*case.problem, "squared", part, backend=backend, batch_size=size)
        kept = operator @ v
        assert_close(kept, whole, 1e-13)
        assert np.array_equal(operator @ v, kept)
        monkeypatch.setattr("backends.interface.KEPT_BYTES", operator.signal_bytes - 1)
        anew = HessianOperator(*case.problem, "squared", part, backend=backend, batch_size=size)
        assert np.array_equal(anew @ v, kept)
        assert anew._kept is None
        monkeypatch.undo()


def test_signal_bytes_counts_what_is_kept() -> None:
    operator = HessianOperator(*IMAGES[5].problem, "squared", batch_size=4)
    kept = list(operator._chunks())
    arrays = [a for k in kept for a in (*k.signals.inputs, *k.signals.gates, *k.errors)]
    assert operator.signal_bytes == sum(a.nbytes for a in arrays)


@pytest.mark.parametrize("case", MIXED, ids=str)
def test_inactive_examples_do_not_matter(case: Case, backend: str) -> None:
    """The hinge's operator is that of its active examples; `active` names them; examples with c = 0 likewise."""
    network, weights, x, y = case.problem
    on = y * output(network, weights, x, backend) < 1
    assert 0 < on.sum() < len(on)
    whole = HessianOperator(network, weights, x, y, backend=backend)
    alone = HessianOperator(network, weights, x[on], y[on], backend=backend)
    assert np.array_equal(whole.active, np.flatnonzero(on))
    assert_close(whole.dense(), alone.dense() * on.mean(), 1e-13)
    scrambled = np.where(on.reshape(-1, *[1] * (x.ndim - 1)), x, 7.0)
    given = HessianOperator(network, weights, scrambled, None, c=whole.c, backend=backend)
    assert_close(given.dense(), whole.dense(), 1e-13)


def test_nothing_active_is_the_zero_operator(backend: str) -> None:
    case = MIXED[1]
    operator = HessianOperator(case.network, case.weights, case.x, None, c=np.zeros(6), backend=backend)
    assert operator.active.size == 0
    assert not operator.dense().any()


def test_gauss_newton_is_positive_semidefinite(backend: str) -> None:
    for case in MIXED:
        eigenvalues = np.linalg.eigvalsh(HessianOperator(*case.problem, "logistic", "gauss_newton").dense())
        assert eigenvalues[-1] > 0
        assert eigenvalues[0] > -1e-13 * eigenvalues[-1]


def test_float32(backend: str) -> None:
    ops = get_backend(backend, "float32")
    for case in SMALL:
        product = HessianOperator(*case.problem, "logistic", backend=ops) @ directions(case)
        assert product.dtype == np.float32
        assert_close(product, expected(case, "logistic", "full"), 2e-5)


def test_refusals() -> None:
    network, weights, x, y = DENSE[2].problem
    with pytest.raises(ValueError, match=r"part 'half' is unknown: use one of full, gauss_newton, residual"):
        HessianOperator(network, weights, x, y, part="half")
    with pytest.raises(ValueError, match="loss 'l1' is unknown"):
        HessianOperator(network, weights, x, y, "l1")
    for c in (np.ones(5), np.full(6, np.nan), np.ones((6, 1))):
        with pytest.raises(ValueError, match=r"expected \(6,\), one finite coefficient per example"):
            HessianOperator(network, weights, x, y, c=c)
    for size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"batch_size .* use an integer >= 1"):
            HessianOperator(network, weights, x, y, batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the limit is 20000 weights"):
        HessianOperator(*VGG12.problem).dense()
