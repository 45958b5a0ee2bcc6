"""Products that are less precise than the vectors they are made of, wrong ones, and ones that leave a dtype's range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from backends import get_backend
from simulator import (
    Conv,
    Dense,
    HessianOperator,
    Lanczos,
    MaxPool,
    circuit_values,
    entry_values,
    enumerate_circuits,
    enumerate_signs,
    evaluate,
    exact_marginal,
    expectation_maximization,
    gradient,
    mlp,
    monte_carlo_marginal,
    order_parameter,
    order_parameter_pairs,
    output,
    risk,
    sample_circuits,
    sample_live_paths,
    sequential,
    signal_powers,
    spectral_density,
    train,
)
from simulator.lanczos.products import PRECISIONS
from support.cases import Array, assert_close

SINGLE = get_backend("numba", "float32")


def with_spectrum(eigenvalues: Array, seed: int = 0) -> Array:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues))))
    matrix = (q * eigenvalues) @ q.T
    return np.asarray((matrix + matrix.T) / 2)


def rounded(bits: int) -> Callable[[Array], Array]:
    """Single precision with so many bits of mantissa: 10 of TF32, 7 of bfloat16; to nearest."""
    spare = 23 - bits

    def rounding(v: Array) -> Array:
        number = np.ascontiguousarray(v, dtype=np.float32).view(np.uint32)
        half, mask = np.uint32(1 << (spare - 1)), np.uint32(0xFFFFFFFF ^ ((1 << spare) - 1))
        return ((number + half) & mask).view(np.float32)

    return rounding


tf32, bfloat16 = rounded(10), rounded(7)


class Operator:
    """A function of blocks as an operator."""

    def __init__(self, function: Callable[[Array], Any], n: int, dtype: Any = None) -> None:
        self.function, self.shape = function, (n, n)
        if dtype is not None:
            self.dtype = dtype

    def __matmul__(self, v: Array) -> Any:
        return self.function(v)


def within(matrix: Array, rounding: Callable[[Array], Array]) -> Operator:
    """H = B S B^T with every factor rounded, as in the passes of a Hessian product."""
    eigenvalues, q = np.linalg.eigh(matrix)
    b, s = rounding(q * np.sqrt(np.abs(eigenvalues))), np.sign(eigenvalues).astype(np.float32)[:, None]
    return Operator(lambda v: (b @ rounding(s * (b.T @ rounding(v)))).astype(float), len(matrix))


def noisy(matrix: Array, size: float) -> Operator:
    """Every product carries noise of its own."""
    rng = np.random.default_rng(3)

    def product(v: Array) -> Array:
        found = matrix @ v
        noise = rng.standard_normal(v.shape) / np.sqrt(len(v))
        return np.asarray(found + size * np.linalg.norm(found, axis=0) * noise)

    return Operator(product, len(matrix))


def single(matrix: Array) -> LinearOperator:
    narrow = matrix.astype(np.float32)
    return LinearOperator(narrow.shape, matvec=lambda v: narrow @ v.astype(np.float32).reshape(-1), dtype=np.float32)


# Kinds of products with the precision that they have, within factors.
KINDS: dict[str, tuple[Callable[[Array], Any], float, float]] = {
    "float32": (single, 1e-7, 2e-7),
    "float32 unsaid": (lambda a: Operator(lambda v: (single(a) @ v).astype(float), len(a)), 3e-8, 1e-6),
    "float16": (lambda a: Operator(lambda v: (a @ v.astype(np.float16)).astype(np.float16), len(a)), 9e-4, 1e-3),
    "vector in TF32": (lambda a: Operator(lambda v: a @ tf32(v), len(a)), 1e-5, 1e-3),
    "result in TF32": (lambda a: Operator(lambda v: tf32(a @ v).astype(float), len(a)), 1e-4, 1e-3),
    "factors in TF32": (lambda a: within(a, tf32), 1e-4, 1e-3),
    "vector in bfloat16": (lambda a: Operator(lambda v: a @ bfloat16(v), len(a)), 1e-4, 8e-3),
    "factors in bfloat16": (lambda a: within(a, bfloat16), 1e-3, 8e-3),
    "noise": (lambda a: noisy(a, 1e-6), 5e-7, 2e-6),
    "more noise": (lambda a: noisy(a, 1e-2), 5e-3, 2e-2),
}
SPECTRA = {
    "outliers": np.r_[np.linspace(-1, 1, 290), np.linspace(5, 50, 10)],
    "cluster": np.r_[np.full(80, 1.0), 1 + np.linspace(0, 1e-3, 60), np.linspace(-1, -0.5, 80), [30, 30.01, 30.02]],
    "skewed": np.r_[np.linspace(-0.01, 0.01, 230), np.geomspace(0.02, 0.83, 20)],
}


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("kind", KINDS)
def test_nodes_stay_within_the_spectrum(kind: str, spectrum: str) -> None:
    """To the precision of the products, which the result says; an isolated eigenvalue comes back once."""
    make, least, most = KINDS[kind]
    eigenvalues = SPECTRA[spectrum]
    matrix, scale = with_spectrum(eigenvalues), float(np.max(np.abs(eigenvalues)))
    result = spectral_density(make(matrix), n_probes=2, n_steps=80)
    assert least < result.precision < most
    # What rounding the factors makes of the matrix itself moves its eigenvalues too: a few roundings.
    allowed = 2 * result.precision * scale
    assert result.nodes.max() < eigenvalues.max() + allowed
    assert result.nodes.min() > eigenvalues.min() - allowed
    exact = spectral_density(matrix, n_probes=2, n_steps=80)
    assert abs(result.rms / exact.rms - 1) < 4 * result.precision
    near = 5e-3 * scale + allowed
    top = np.sum(np.abs(result.nodes - eigenvalues.max()) < near, axis=1)
    assert np.all(top <= np.sum(np.abs(eigenvalues - eigenvalues.max()) < near))


def test_factors_of_ten_bits_in_a_hessian() -> None:
    """Single-precision recurrences on the backend, the vector of every product rounded to TF32."""
    rng = np.random.default_rng(0)
    network = sequential((8, 8, 3), [Conv(4), MaxPool(), Conv(4), Dense(6), Dense(1)])
    x, y = rng.standard_normal((60, 8, 8, 3)), rng.choice([-1.0, 1.0], 60)
    operator = HessianOperator(network, network.init(0), x, y, backend=SINGLE)
    exact, rows = np.linalg.eigvalsh(operator.dense().astype(float)), operator.rows
    assert spectral_density(operator, 2, 10).precision == operator.precision == PRECISIONS["float32"]
    operator.rows = lambda v: rows(tf32(v))  # type: ignore[method-assign]
    result = spectral_density(operator, n_probes=2, n_steps=120)
    assert 1e-5 < result.precision < 1e-3
    assert_close([result.nodes.min(), result.nodes.max()], exact[[0, -1]], 1e-2)
    declared = spectral_density(operator, n_probes=2, n_steps=120, precision="tf32")
    assert declared.precision == PRECISIONS["tf32"]
    assert_close([declared.nodes.min(), declared.nodes.max()], exact[[0, -1]], 1e-2)


def test_a_backend_says_what_convolutions_multiply_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = get_backend("numba", "float32")
    monkeypatch.setattr(ops, "tf32", True)
    images, dense = sequential((4, 4, 1), [Conv(2), Dense(1)]), mlp([3, 2, 1])
    for network, right in ((images, PRECISIONS["tf32"]), (dense, PRECISIONS["float32"])):
        x = np.ones((2, *network.input_shape))
        assert HessianOperator(network, network.init(0), x, np.ones(2), backend=ops).precision == right


def test_a_precision_that_is_given() -> None:
    matrix = with_spectrum(SPECTRA["skewed"])
    for given, right in (("bfloat16", 2.0**-7), (np.dtype("float32"), 2.0**-23), (np.float16, 2.0**-10), (1e-5, 1e-5)):
        assert spectral_density(matrix, 2, 5, precision=given).precision == right
    # Less than what products have is not believed.
    assert spectral_density(Operator(lambda v: matrix @ tf32(v), 250), 2, 5, precision="float64").precision > 1e-5
    for wrong in ("sixteen", "complex128", 0.0, -1e-3, 0.5, np.nan, np.inf, 3, object()):
        with pytest.raises(ValueError, match=r"precision .* is (unknown|not usable)"):
            spectral_density(matrix, precision=wrong)


def test_what_is_exact_is_taken_for_exact() -> None:
    """NumPy multiplies narrow arrays with double-precision vectors in double precision, and whole numbers exactly."""
    whole = np.round(10 * with_spectrum(SPECTRA["skewed"]))
    expected = spectral_density(whole, 2, 20)
    matrices = (whole.astype(np.float32), whole.astype(np.int8), np.asmatrix(whole), np.ma.array(whole))
    for other in (*matrices, scipy.sparse.csr_array(whole.astype(int))):
        found = spectral_density(other, 2, 20)
        assert found.precision == PRECISIONS["float64"]
        assert_close(found.nodes, expected.nodes, 1e-10)


def test_a_run_with_coarse_products_is_put_back_bit_for_bit() -> None:
    """Precision, size and unit are part of the state: products are not verified again."""
    matrix = with_spectrum(SPECTRA["outliers"]) * 1e-120
    operator = Operator(lambda v: matrix @ tf32(v).astype(float), 300)
    whole, first = (
        Lanczos(operator, 3, 20, memory_budget=2 * 300 * 20 * 8),
        Lanczos(operator, 3, 20, memory_budget=96000),
    )
    counts = []
    for _ in range(7):
        counts.append(first.advance())
    assert counts == [4, 2, 2, 2, 2, 2, 2]
    second = Lanczos(operator, 3, 20, memory_budget=96000)
    second.restore({name: np.array(value) for name, value in first.state().items()})
    for run in (whole, second):
        while run.advance():
            pass
    assert np.array_equal(whole.alpha, second.alpha)
    assert np.array_equal(whole.beta, second.beta)
    assert whole.result().precision == second.result().precision > 1e-5
    assert whole.result().truncated(5).precision == whole.result().precision


def symmetric(n: int = 90) -> Array:
    return with_spectrum(np.random.default_rng(1).standard_normal(n))


S, A = symmetric(), np.triu(np.random.default_rng(2).standard_normal((90, 90)), 1)
A -= A.T
REFUSED: dict[str, tuple[Any, str]] = {
    "Hermitian": (S + 1j * A, "dtype complex128: expected a real symmetric one"),
    "no imaginary part": (S + 0j, "give its real part"),
    "Hermitian products": (Operator(lambda v: (S + 1j * A) @ v, 90), "has dtype complex128: expected real"),
    "sparse Hermitian": (scipy.sparse.csr_array(S + 1j * A), "dtype complex128"),
    "linear operator": (aslinearoperator(S + 1j * A), "dtype complex128"),
    "complex torch": (Operator(lambda v: S @ v, 90, "torch.complex64"), "dtype complex64"),
    "objects": (S.astype(object), "dtype object"),
    "skew": (A, "is not symmetric"),
    "shift": (np.roll(np.eye(90), 1, axis=0), "is not symmetric"),
    "triangle": (np.tri(90), "is not symmetric"),
    "slightly skew": (S + 1e-4 * A, "is not symmetric"),
    "slightly skew in float32": (Operator(lambda v: ((S + 1e-2 * A) @ v).astype(np.float32), 90), "is not symmetric"),
    "NaN": (np.where(np.eye(90) == 1, np.nan, S), "NaN or infinite"),
    "infinite": (np.where(np.eye(90, k=5) == 1, np.inf, S), "NaN or infinite"),
    "masked": (np.ma.masked_greater(S, 0.1), "masked entries"),
    "list": (S.tolist(), "type list was given"),
    "vector": (np.ones(3), r"shape \(3,\): expected a square one"),
    "empty": (np.zeros((0, 0)), r"shape \(0, 0\): expected a square one"),
    "one column": (Operator(lambda v: (S @ v)[:, :1], 90), r"has shape \(90, 1\): expected \(90, 2\)"),
    "flat": (Operator(lambda v: S @ v[:, 0], 90), r"has shape \(90,\): expected \(90, 2\)"),
    "whole numbers": (Operator(lambda v: np.round(S @ v).astype(int), 90), "dtype int64"),
    "nothing": (Operator(lambda v: None, 90), "dtype object"),
    "rectified": (Operator(lambda v: np.maximum(S @ v, 0), 90), "linear and deterministic"),
    "affine": (Operator(lambda v: S @ v + 1, 90), "linear and deterministic"),
    "dropout": (Operator(lambda v: S @ (v * np.random.default_rng().integers(0, 2, v.shape)), 90), "deterministic"),
    "eight bits": (Operator(lambda v: S @ v, 90, "torch.float8_e5m2"), "give precision="),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("steps", [1, 30])
def test_operators_without_a_spectrum_are_refused(name: str, steps: int) -> None:
    operator, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        spectral_density(operator, 2, steps)


def test_nan_in_the_middle_of_a_run() -> None:
    left = iter([1.0] * 5 + [np.nan] * 100)
    with pytest.raises(ValueError, match="the product of step 5 holds NaN"):
        spectral_density(Operator(lambda v: S @ v * next(left), 90), 2, 30)


def test_single_precision_asymmetry_is_a_matter_of_precision() -> None:
    """A matrix that was computed in single precision is symmetric to that; the result says so."""
    result = spectral_density(S + 1e-7 * A, 2, 30)
    assert 1e-8 < result.precision < 1e-6
    assert_close(result.nodes, spectral_density(S, 2, 30).nodes, 1e-4)


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-22, 1e170, 1e300])
def test_scales_whose_squares_leave_double_precision(scale: float) -> None:
    one, found = spectral_density(S, 2, 30), spectral_density(scale * S, 2, 30)
    assert_close(found.nodes / scale, one.nodes, 1e-10)
    assert found.rms / scale == pytest.approx(one.rms, rel=1e-10)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("shrink", [1.0, 0.003, 0.0003])
def test_hessians_of_tiny_scale_in_single_precision(shrink: float, backend: str) -> None:
    rng, network = np.random.default_rng(0), mlp([16, *[12] * 9, 1])
    weights = [shrink * w for w in network.init(0)]
    x, y = rng.standard_normal((20, 16)), rng.choice([-1.0, 1.0], 20)
    double, narrow = (
        spectral_density(HessianOperator(network, weights, x, y, backend=get_backend(backend, dtype)), 2, 20)
        for dtype in ("float64", "float32")
    )
    assert_close(narrow.nodes / double.rms, double.nodes / double.rms, 1e-4)
    assert narrow.rms == pytest.approx(double.rms, rel=1e-4)


@pytest.mark.parametrize("shrink", [5e-5, 1e-5, 1e-6, 1e-20])
def test_where_single_precision_ends(shrink: float) -> None:
    """Signals or products that are no normal numbers, or all 0: refused, where a dead network is 0."""
    rng, network = np.random.default_rng(0), mlp([64, *[24] * 9, 1])
    x, y = rng.standard_normal((40, 64)), rng.choice([-1.0, 1.0], 40)
    tiny = [shrink * w for w in network.init(0)]
    with pytest.raises(ValueError, match=r"too small for float32: .* or use float64"):
        spectral_density(HessianOperator(network, tiny, x, y, backend=SINGLE), 2, 10)
    dead = network.init(0)
    dead[4] = -np.abs(dead[4])
    assert spectral_density(HessianOperator(network, dead, x, y, backend=SINGLE), 2, 10).rms == 0.0
    one_layer = network.init(0)
    one_layer[4] = one_layer[4] * 1e-30  # without its weights the Hessian is of ordinary size
    found, right = (
        spectral_density(HessianOperator(network, one_layer, x, y, backend=ops), 2, 10).rms
        for ops in (SINGLE, get_backend("numba"))
    )
    assert found == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("size", [1e-21, 1e-25, 1e-30])
def test_single_precision_products_that_vanish(size: float) -> None:
    """A product of zeros is looked at again with a longer vector."""
    narrow = S.astype(np.float32)
    operator = Operator(lambda v: (narrow * np.float32(1e-25)) @ (v * size).astype(np.float32), 90)
    with pytest.raises(ValueError, match="too small for float32"):
        spectral_density(operator, 2, 10)
    assert spectral_density(Operator(lambda v: 0 * v, 90), 2, 10).rms == 0.0


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize("n", [1000, 100_000])
def test_inner_products_multiply_in_double_precision(name: str, n: int) -> None:
    ops = get_backend(name, "float32")
    for size in (1e-30, 1e-23, 1e-3, 1e20, 1e38):
        x = ops.asarray(np.full(n, size))
        assert ops.inner(x, x) == pytest.approx(n * float(np.float32(size)) ** 2, rel=1e-12)


def test_powers_and_losses_beyond_single_precision() -> None:
    """Squares of signals, of gradients and of margins are those of float64."""
    rng, network = np.random.default_rng(0), mlp([16, 12, 12, 1])
    x, y = rng.standard_normal((40, 16)), rng.choice([-1.0, 1.0], 40)
    for scales in ((1e-23, 1, 1), (1e-30, 1e8, 1)):
        weights = [a * s for a, s in zip(network.init(0), scales, strict=True)]
        assert_close(signal_powers(network, weights, x, SINGLE) / signal_powers(network, weights, x), np.ones(3), 1e-5)
        found, right = (order_parameter(network, weights, x, y, backend=ops) for ops in (SINGLE, None))
        assert found == pytest.approx(right, rel=1e-4)
    large = [a * s for a, s in zip(network.init(0), (1e7, 1e7, 1e7), strict=True)]
    with np.errstate(over="raise"):
        for name in ("numpy", "numba"):
            ops = get_backend(name, "float32")
            value = risk(network, large, x, y, "squared")
            assert evaluate(network, large, x, y, "squared", ops).risk == pytest.approx(value, rel=1e-5)


NETWORK = mlp([3, 4, 1])
WEIGHTS, X, Y = NETWORK.init(0), np.random.default_rng(0).standard_normal((5, 3)), np.array([1.0, -1, 1, 1, -1])
TRAINING: dict[str, Any] = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1}
ENTRIES: dict[str, Callable[..., Any]] = {
    "output": lambda w, x: output(NETWORK, w, x, SINGLE),
    "risk": lambda w, x: risk(NETWORK, w, x, Y, backend=SINGLE),
    "gradient": lambda w, x: gradient(NETWORK, w, x, Y, backend=SINGLE),
    "order parameter": lambda w, x: order_parameter(NETWORK, w, x, Y, backend=SINGLE),
    "signal powers": lambda w, x: signal_powers(NETWORK, w, x, SINGLE),
    "train": lambda w, x: train(NETWORK, w, x, Y, **TRAINING, backend=SINGLE),
    "Hessian": lambda w, x: HessianOperator(NETWORK, w, x, Y, backend=SINGLE),
    "entries": lambda w, x: entry_values(NETWORK, w, x, Y, [0], [13], backend=SINGLE),
    "circuits": lambda w, x: enumerate_circuits(NETWORK, w, x, backend=SINGLE),
    "circuit values": lambda w, x: circuit_values(NETWORK, w, x, [[0, 0, 0]], [0], backend=SINGLE),
    "sampled circuits": lambda w, x: sample_circuits(NETWORK, w, x, 3, backend=SINGLE),
    "live paths": lambda w, x: sample_live_paths(NETWORK, w, x, 3, backend=SINGLE),
    "pairs": lambda w, x: order_parameter_pairs(NETWORK, w, x, Y, backend=SINGLE),
    "marginal": lambda w, x: exact_marginal(NETWORK, w, x, 0.5, SINGLE),
    "sampled marginal": lambda w, x: monte_carlo_marginal(NETWORK, w, x, 0.5, 10, backend=SINGLE),
    "expectation": lambda w, x: expectation_maximization(NETWORK, w, x, Y, temperature=0.5, backend=SINGLE),
    "signs": lambda w, x: enumerate_signs(NETWORK, w, x[0], backend=SINGLE),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_numbers_that_single_precision_does_not_hold_are_refused(name: str) -> None:
    """Finite numbers beyond float32, and arrays that would all be 0 or denormal, by name, value and dtype."""
    call = ENTRIES[name]
    large, small = X.copy(), X * 1e-42
    large[0, 1] = -1e39
    with pytest.raises(ValueError, match=r"x has 1e\+39 as its largest number, which float32 does not hold"):
        call(WEIGHTS, large)
    with pytest.raises(ValueError, match=r"x has .*e-4[23] as its largest number, which float32 does not hold"):
        call(WEIGHTS, small)
    for size in (1e39, 1e-45):
        with pytest.raises(ValueError, match=r"layer 2 has .* as its largest number, which float32 does not hold"):
            call([WEIGHTS[0], WEIGHTS[1] * size], X)


def test_coefficients_and_vectors_that_single_precision_does_not_hold() -> None:
    for c in (1e39, 1e-42, 1e-50):
        with pytest.raises(ValueError, match=r"c has .* as its largest number, which float32 does not hold"):
            HessianOperator(NETWORK, WEIGHTS, X, None, c=np.full(5, c), backend=SINGLE)
        with pytest.raises(ValueError, match=r"c has .* as its largest number, which float32 does not hold"):
            entry_values(NETWORK, WEIGHTS, X, None, [0], [13], c=np.full(5, c), backend=SINGLE)
    operator = HessianOperator(NETWORK, WEIGHTS, X, Y, backend=SINGLE)
    for v in (np.full(16, 1e39), np.full((16, 2), 1e-42)):
        with pytest.raises(ValueError, match=r"v has .* as its largest number, which float32 does not hold"):
            operator @ v
    # Beside a larger one a coefficient that vanishes is 0, and its example takes no part.
    mixed = HessianOperator(NETWORK, WEIGHTS, X, None, c=np.array([1.0, 1e-50, 0.0, -2.0, 1e-46]), backend=SINGLE)
    assert mixed.active.tolist() == [0, 3]
    assert HessianOperator(NETWORK, WEIGHTS, X, None, c=np.full(5, 1e-50)).active.size == 5


def test_losses_whose_slopes_vanish_in_single_precision() -> None:
    """Margins near 100: the logistic coefficients are 1e-44."""
    t = output(NETWORK, WEIGHTS, X)
    on = np.abs(t) > 0.05 * np.abs(t).max()
    weights = [WEIGHTS[0], WEIGHTS[1] * 100 / np.abs(t[on]).min()]
    problem = NETWORK, weights, X[on], np.sign(t[on]), "logistic"
    assert HessianOperator(*problem).active.size > 0
    for part, name in (("residual", "∂ℓ/∂T/m"), ("gauss_newton", "ℓ''/m")):
        with pytest.raises(ValueError, match=f"{name} has .* as its largest number, which float32 does not hold"):
            HessianOperator(*problem, part, backend=SINGLE)
