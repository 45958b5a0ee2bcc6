"""The kernels of a layer against their definitions, each other and their adjoints; choosing a backend."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from backends import Backend, BackendUnavailableError, available_backends, get_backend
from backends.numba import basis as numba_basis
from simulator import HessianOperator
from support.cases import IMAGES, Array, assert_close
from support.layers import GATES, PROBES, SHAPES, K, blas_threads, drawn, values
from support.places import ROOT

NUMPY, NUMBA = get_backend("numpy"), get_backend("numba")


def convolve_by_definition(x: Array, w: Array) -> Array:
    """z[p, b] = Σ_{o,a} x[p + o, a] w[o, a, b], one site and offset at a time."""
    m, height, width, _ = x.shape
    kernel = w.shape[0]
    z = np.zeros((m, height, width, w.shape[3]))
    for y, q, i, j in itertools.product(range(height), range(width), range(kernel), range(kernel)):
        v, u = y + i - kernel // 2, q + j - kernel // 2
        if 0 <= v < height and 0 <= u < width:
            z[:, y, q] += x[:, v, u] @ w[i, j]
    return z


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_by_definition(shape: tuple[int, ...], backend: str) -> None:
    m, height, width, a, b, k = shape
    x, w = drawn((m, height, width, a)), drawn((k, k, a, b))
    assert_close(get_backend(backend).convolve((x, w)), convolve_by_definition(x, w), 1e-14)


@pytest.mark.parametrize("probes", PROBES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_with_pairs_and_probes(shape: tuple[int, ...], probes: list[tuple[int, int]]) -> None:
    """Both backends equal each other, and a probe axis is a loop over its entries, pairs a sum."""
    m, height, width, a, b, k = shape
    x_shape, w_shape, d_shape = (m, height, width, a), (k, k, a, b), (m, height, width, b)
    kinds: list[tuple[tuple[int, ...], tuple[int, ...], Callable[..., Array]]] = [
        (x_shape, w_shape, lambda ops, *pairs: ops.convolve(*pairs)),
        (d_shape, w_shape, lambda ops, *pairs: ops.convolve_adjoint(*pairs)),
        (x_shape, d_shape, lambda ops, *pairs: ops.convolve_gradient(k, *pairs)),
    ]
    for first, second, method in kinds:
        pairs = [(drawn(first, p, i), drawn(second, q, i, 1)) for i, (p, q) in enumerate(probes)]
        slow = method(NUMPY, *pairs)
        assert_close(method(NUMBA, *pairs), slow, 1e-13)
        terms = list(zip(pairs, probes, strict=True))
        loop = [sum(method(NUMPY, probe(pair, has, n)) for pair, has in terms) for n in range(K)]
        assert_close(slow, np.stack(loop) if np.any(probes) else loop[0], 1e-13)


def probe(pair: tuple[Array, Array], has: tuple[int, int], n: int) -> tuple[Array, Array]:
    """The n-th probe of one pair; a shared array as it is."""
    return pair[0][n] if has[0] else pair[0], pair[1][n] if has[1] else pair[1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_three_convolutions_are_adjoint(shape: tuple[int, ...], backend: str) -> None:
    """⟨conv(x, w), d⟩ = ⟨x, adjoint(d, w)⟩ = ⟨w, gradient(x, d)⟩."""
    m, height, width, a, b, k = shape
    ops, x, w, d = get_backend(backend), drawn((m, height, width, a)), drawn((k, k, a, b)), drawn((m, height, width, b))
    z = ops.convolve((x, w))
    scale = float(np.linalg.norm(z) * np.linalg.norm(d))
    assert_close(np.vdot(x, ops.convolve_adjoint((d, w))), np.vdot(z, d), 1e-13, scale)
    assert_close(np.vdot(w, ops.convolve_gradient(k, (x, d))), np.vdot(z, d), 1e-13, scale)


@pytest.mark.parametrize("tile", [2, 4])
def test_matrices_of_minimal_filtering(tile: int) -> None:
    """A^T [(G g) ∘ (B^T d)] is the correlation of d (n) with g (3), t numbers of it."""
    from backends.numba.convolution.transforms import matrices

    out, kernel, window = matrices(tile)
    d, g = np.random.default_rng(0).standard_normal(tile + 2), np.array([1.0, -2.0, 0.5])
    assert_close(out @ ((kernel @ g) * (window @ d)), np.correlate(d, g, "valid"), 1e-14)


@pytest.mark.parametrize("tile", [0, 2, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[3] % 16 == s[4] % 16 == 0 and s[5] == 3], ids=str)
def test_every_tile(shape: tuple[int, ...], dtype: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direct sums and tiles of both sizes give what the reference gives, whichever is the quickest here."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    m, height, width, a, b, k = shape
    x, w, d = (m, height, width, a), (k, k, a, b), (m, height, width, b)
    fast, slow = get_backend("numba", dtype), get_backend("numpy", "float64")
    calls: list[tuple[Callable[..., Array], list[tuple[tuple[int, ...], tuple[int, ...]]]]] = [
        (lambda ops, *pairs: ops.convolve(*pairs), [(x, w), (x, w)]),
        (lambda ops, *pairs: ops.convolve_adjoint(*pairs), [(d, w), (d, w)]),
        (lambda ops, *pairs: ops.convolve_gradient(k, *pairs), [(x, d), (x, d)]),
    ]
    for method, kinds in calls:
        pairs = [(drawn(f, i == 0, i), drawn(s, i == 1, i, 1)) for i, (f, s) in enumerate(kinds)]
        rounded = [tuple(fast.asarray(part) for part in pair) for pair in pairs]
        found = method(fast, *rounded)
        expected = method(slow, *(tuple(part.astype(np.float64) for part in pair) for pair in rounded))
        assert_close(found, expected, 1e-13 if dtype == "float64" else 2e-5)


def pool_by_definition(x: Array, sites: Array, s: int) -> tuple[Array, Array]:
    """Maxima of the whole windows, and the sites (any labels) of their first occurrence in row-major order."""
    m, height, width, channels = x.shape
    pooled = np.zeros((m, height // s, width // s, channels))
    where = np.zeros(pooled.shape, int)
    for i, y, q, c in np.ndindex(pooled.shape):
        window = (i, slice(y * s, y * s + s), slice(q * s, q * s + s), c)
        at = int(np.argmax(x[window]))
        pooled[i, y, q, c], where[i, y, q, c] = x[window].flat[at], sites[window].flat[at]
    return pooled, where


def on_sites(sites: Array, shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, bool)
    mask.flat[sites.ravel()] = True
    return mask


def gate_by_definition(z: Array, pools: tuple[int, ...]) -> tuple[Array, Array]:
    x, mask, sites = np.maximum(z, 0), z > 0, np.arange(z.size).reshape(z.shape)
    for s in pools:
        x, sites = pool_by_definition(x, sites, s)
        mask &= on_sites(sites, z.shape)
    return x, mask


@pytest.mark.parametrize(("shape", "pools"), GATES, ids=str)
def test_gates_by_definition(shape: tuple[int, ...], pools: tuple[int, ...], backend: str) -> None:
    """Bit for bit, ties included: the mask is on, and selected by every pool; x = D z over each composed window."""
    z, ops, window = values(shape), get_backend(backend), int(np.prod(pools, dtype=int))
    x, mask = ops.gate(z, pools)
    expected, on = gate_by_definition(z, pools)
    assert mask.dtype == bool
    assert np.array_equal(x, expected)
    assert np.array_equal(mask, on)
    assert np.array_equal(ops.apply_gates(mask, z, window), x)


@pytest.mark.parametrize(("shape", "pools"), GATES, ids=str)
def test_gates_are_frozen_linear_maps(shape: tuple[int, ...], pools: tuple[int, ...]) -> None:
    """`spread_gates` is the adjoint of `apply_gates`; both backends equal, with and without a probe axis."""
    window = int(np.prod(pools, dtype=int))
    x, chosen = NUMPY.gate(values(shape), pools)
    everywhere = np.ones(shape, dtype=bool)  # as average pools have it
    for probes, mask in itertools.product((0, 1), (chosen, everywhere)):
        z, d = drawn(shape, probes), drawn(x.shape, probes, 1)
        down, up = NUMPY.apply_gates(mask, z, window), NUMPY.spread_gates(mask, d, window)
        assert down.shape == d.shape
        assert up.shape == z.shape
        assert_close(np.vdot(down, d), np.vdot(z, up), 1e-14, float(np.linalg.norm(z) * np.linalg.norm(d)))
        assert_close(NUMBA.apply_gates(mask, z, window), down, 1e-15)
        assert np.array_equal(NUMBA.spread_gates(mask, d, window), up)


# (shape of a convolution, pools behind it): a block or several, ragged windows, Winograd's channels, pools of pools.
GATED = [
    ((3, 7, 5, 3, 4, 3), ()), ((3, 7, 5, 3, 4, 3), (2,)), ((4, 8, 6, 2, 5, 5), (3,)), ((70, 2, 2, 32, 16, 3), (2,)),
    ((2, 9, 7, 16, 32, 3), ()), ((2, 9, 7, 16, 32, 3), (2,)), ((3, 8, 8, 4, 3, 3), (2, 2)), ((2, 1, 1, 3, 2, 3), ()),
    ((9, 2, 2, 5, 19, 3), (2,)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("shape", "pools"), GATED, ids=str)
def test_gates_behind_a_convolution_in_one_pass(shape: tuple[int, ...], pools: tuple[int, ...], dtype: str) -> None:
    """The convolution that gates follow is the same, bit for bit, and so are the gates; probes and pairs included."""
    m, height, width, a, b, k = shape
    ops, window = get_backend("numba", dtype), int(np.prod(pools, dtype=int))
    x, w = drawn((m, height, width, a)).astype(dtype), drawn((k, k, a, b)).astype(dtype)
    made, mask = ops.convolve_and_gate(x, w, pools)
    expected, on = ops.gate(ops.convolve((x, w)), pools)
    assert np.array_equal(made, expected)
    assert np.array_equal(mask, on)
    for probes in PROBES:
        into = [(drawn(x.shape, p, i), drawn(w.shape, q, i, 1)) for i, (p, q) in enumerate(probes)]
        pairs = [(one.astype(dtype), other.astype(dtype)) for one, other in into]
        down = ops.convolve_gated(mask, window, *pairs)
        assert np.array_equal(down, ops.apply_gates(mask, ops.convolve(*pairs), window))
        # Back through a convolution that reads what the gates let out.
        above = [(drawn((*made.shape[:3], 2), p, i).astype(dtype), drawn((k, k, b, 2), q, i, 1).astype(dtype))
                 for i, (p, q) in enumerate(probes)]  # fmt: skip
        back = ops.convolve_adjoint_gated(mask, window, *above)
        assert np.array_equal(back, ops.spread_gates(mask, ops.convolve_adjoint(*above), window))


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.data())
def test_select_maximum(m: int, height: int, width: int, channels: int, data: st.DataObject) -> None:
    s = data.draw(st.integers(1, min(height, width)))
    x = values((m, height, width, channels))
    for ops in (NUMPY, NUMBA):
        pooled, mask = ops.select_maximum(x, s)
        expected, first = pool_by_definition(x, np.arange(x.size).reshape(x.shape), s)
        assert np.array_equal(pooled, expected)
        assert np.array_equal(mask, on_sites(first, x.shape))


def layouts(x: Array) -> list[Array]:
    """The same values read-only, in Fortran order, and as a strided view."""
    frozen, strided = x.copy(), np.repeat(x, 2, axis=-1)[..., ::2]
    frozen.setflags(write=False)
    return [frozen, np.asfortranarray(x), strided]


def test_layouts_do_not_matter() -> None:
    x, w, d = drawn((3, 7, 5, 2)), drawn((3, 3, 2, 4)), drawn((3, 7, 5, 4))
    z = values((3, 7, 5, 4))
    pooled, mask = NUMPY.gate(z, (2,))
    for x_, w_, d_, z_, p_, m_ in zip(*map(layouts, (x, w, d, z, pooled, mask)), strict=True):
        assert_close(NUMBA.convolve((x_, w_)), NUMPY.convolve((x, w)), 1e-14)
        assert_close(NUMBA.convolve_adjoint((d_, w_)), NUMPY.convolve_adjoint((d, w)), 1e-14)
        assert_close(NUMBA.convolve_gradient(3, (x_, d_)), NUMPY.convolve_gradient(3, (x, d)), 1e-14)
        assert all(np.array_equal(a, b) for a, b in zip(NUMBA.gate(z_, (2,)), (pooled, mask), strict=True))
        assert np.array_equal(NUMBA.apply_gates(m_, z_, 2), pooled)
        assert np.array_equal(NUMBA.spread_gates(m_, p_, 2), NUMPY.spread_gates(mask, pooled, 2))


def test_panels_of_a_constant_live_as_long_as_it_does() -> None:
    """They are made once, are not those of an array that looks alike, and go when it goes."""
    ops, x = get_backend("numba"), drawn((2, 4, 4, 3))
    w = drawn((3, 3, 3, 5))
    fixed, before = ops.constant(w), len(ops._constants)
    first = ops.convolve((x, fixed))
    w *= 2
    assert np.array_equal(ops.convolve((x, fixed)), first)
    assert_close(ops.convolve((x, w)), 2 * first, 1e-15)
    assert len(ops._constants[id(fixed)]) == 1
    with pytest.raises(ValueError, match="read-only"):
        fixed *= 2
    del fixed
    gc.collect()
    assert len(ops._constants) == before - 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gates_of_dense_layers_keep_bits(dtype: str) -> None:
    """What is off is +0 whatever stands there, what is on keeps its bits, for layouts and probes alike."""
    fast, slow = get_backend("numba", dtype), get_backend("numpy", dtype)
    odd = np.array([[np.nan, np.inf, -np.inf, -0.0], [1.0, -2.0, 1e-310, 3.0]]).astype(dtype)
    for one, two in zip(fast.gate(odd, ()), slow.gate(odd, ()), strict=True):
        assert one.tobytes() == two.tobytes()
    mask, z = drawn((4, 6)) > 0, drawn((4, 6), 1).astype(dtype)
    for m, d in ((mask, z), (mask, z[0]), (mask.T, np.swapaxes(z, 1, 2)), (mask[::2, ::3], z[:, ::2, ::3])):
        assert np.array_equal(fast.apply_gates(m, d, 1), slow.apply_gates(m, d, 1))
        assert np.array_equal(fast.spread_gates(m, d, 1), slow.spread_gates(m, d, 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("k", "n"), [(1, 9), (2, 5000), (3, 8193), (7, 20_001), (12, 4096)])
def test_a_large_basis(k: int, n: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.numba.backend.LARGE_BASIS", 0)
    fast = get_backend("numba", dtype)
    basis = np.linalg.qr(drawn((n, k)))[0].T.astype(dtype, order="C")
    w = drawn((n,), 0, 1).astype(dtype)
    expected = w - (basis.astype(float) @ w) @ basis.astype(float)
    found = fast.orthogonalise(basis, w.copy(), np.zeros(k, dtype), np.zeros(n, dtype))
    assert_close(found, expected, 1e-14 if dtype == "float64" else 1e-6, float(np.linalg.norm(w)))


@pytest.mark.parametrize("size", [64, 128, 2048, 4096])
def test_walsh_hadamard_transform(size: int) -> None:
    """An even and an odd number of steps beyond the numbers of one vector."""
    x = drawn((size,)).astype("f4")
    found = x.copy()
    numba_basis._transform(found)
    assert_close(found, hadamard(size) @ x.astype(float), 1e-6)


@pytest.mark.parametrize(("k", "n"), [(1, 9), (2, 5000), (3, 8193), (7, 20_001), (12, 4096)])
def test_a_basis_in_half_precision(k: int, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors lie mixed, rounded up or down to halves; what is taken away lies along them as they lie there."""
    monkeypatch.setattr("backends.numba.backend.LARGE_BASIS", 0)
    ops, columns, unit = get_backend("numba", "float32"), numba_basis.COLUMNS, 2.0 ** round(np.log2(n) / 2)
    vectors = np.linalg.qr(drawn((n, k)))[0].T.astype("f4", order="C")
    vectors[0] = 0.0
    vectors[0, -1] = 1.0  # a single place
    basis = ops.basis(k, n)
    assert basis.dtype == np.uint16
    assert basis.nbytes == ops.basis_bytes(k, n)
    for row, q in enumerate(vectors):
        made = np.empty_like(q)
        ops.keep(basis, row, 4 * q, 4.0, made)
        assert np.array_equal(made, q)
    mixing = hadamard(columns) * numba_basis.mixing()[0].astype(float)
    assert_close(mixing @ mixing.T, np.eye(columns), 1e-6)
    stretches = np.zeros((k, basis.shape[1]))
    stretches[:, :n] = vectors
    mixed = stretches.reshape(k, -1, columns) @ mixing.T
    held = basis.view(np.float16).astype(float).reshape(mixed.shape) / unit
    errors = held - mixed
    assert np.all(np.abs(errors) <= 2.0**-10 * np.abs(mixed) + 1e-6)
    assert np.max(np.abs(np.einsum("ksc,lsc->kl", errors, mixed))) < 4 * numba_basis.OVERLAP
    w, spread = drawn((n,), 0, 1).astype("f4"), np.zeros(basis.shape[1])
    spread[:n] = w
    overlaps = np.einsum("ksc,sc->k", held, spread.reshape(-1, columns) @ mixing.T)
    part = (np.einsum("k,ksc->sc", overlaps, held) @ mixing).reshape(-1)[:n]
    found = ops.orthogonalise(basis, w.copy(), np.zeros(k, "f4"), np.zeros(n, "f4"))
    assert_close(found, w - part, 1e-6, float(np.linalg.norm(w)))
    assert get_backend("numba").basis(k, n).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inner_products_of_long_vectors(dtype: str) -> None:
    x, y = drawn((1 << 17,)).astype(dtype), drawn((1 << 17,), 0, 1).astype(dtype)
    exact = float(np.dot(x.astype(np.longdouble), y.astype(np.longdouble)))
    assert abs(get_backend("numba", dtype).inner(x, y) - exact) < 1e-10


def test_float32_kernels() -> None:
    slow, fast = get_backend("numpy", "float32"), get_backend("numba", "float32")
    for m, height, width, a, b, k in SHAPES:
        x, w, d = (drawn(s).astype("f4") for s in ((m, height, width, a), (k, k, a, b), (m, height, width, b)))
        for one, two in (
            (fast.convolve((x, w)), slow.convolve((x, w))),
            (fast.convolve_adjoint((d, w)), slow.convolve_adjoint((d, w))),
            (fast.convolve_gradient(k, (x, d)), slow.convolve_gradient(k, (x, d))),
            (fast.gate(d, ())[0], slow.gate(d, ())[0]),
        ):
            assert one.dtype == two.dtype == np.float32
            assert_close(one, two, 1e-5)


def test_the_number_of_threads_changes_only_rounding() -> None:
    import numba

    v = np.ones((IMAGES[5].network.n_weights, 2))
    usual = numba.get_num_threads()
    expected = HessianOperator(*IMAGES[5].problem, "squared", backend="numba") @ v
    numba.set_num_threads(1)
    try:
        alone = HessianOperator(*IMAGES[5].problem, "squared", backend="numba") @ v
    finally:
        numba.set_num_threads(usual)
    assert_close(alone, expected, 1e-13)


def test_blas_has_one_thread_while_kernels_run_and_its_own_number_afterwards() -> None:
    before = blas_threads()
    NUMBA.convolve((drawn((2, 3, 3, 1)), drawn((3, 3, 1, 1))))
    assert blas_threads() == before
    with NUMBA.computing(), get_backend("numba").computing():
        with NUMBA.computing():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError), NUMBA.computing():
        raise ZeroDivisionError
    assert blas_threads() == before


@pytest.mark.parametrize("large", [0.0, np.inf])
def test_matrix_products(large: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both backends multiply alike, probe axes broadcasting, also where a large product takes BLAS's threads back."""
    monkeypatch.setattr("backends.numba.backend.LARGE_PRODUCT", large)
    for first, second in itertools.product([(5, 4), (3, 5, 4)], [(4, 2), (3, 4, 2)]):
        a, b = drawn(first), drawn(second)
        assert_close(NUMPY.matmul(a, b), np.einsum("...ij,...jk->...ik", a, b), 1e-14)
        assert_close(NUMBA.matmul(a, b), NUMPY.matmul(a, b), 1e-15)
        with NUMBA.computing(), NUMPY.computing():
            assert_close(NUMBA.matmul(a, b), NUMPY.matmul(a, b), 1e-15)
            assert set(blas_threads()) == {1}


def test_choosing_a_backend() -> None:
    assert get_backend().name == "numba"
    assert get_backend(None, "float32").dtype == "float32"
    assert get_backend(NUMPY) is NUMPY
    assert available_backends()[:2] == ["numpy", "numba"]
    x = NUMPY.asarray([[1, 2]])
    assert (x.dtype, NUMPY.to_numpy(x).tolist(), NUMPY.zeros((2, 1)).shape) == (np.float64, [[1.0, 2.0]], (2, 1))
    assert NUMPY.inner(np.full(10**6, 0.1, "f4"), np.ones(10**6, "f4")) == pytest.approx(1e5, rel=1e-7)
    NUMPY.synchronize()
    with pytest.raises(ValueError, match=r"'fast' is unknown: use one of numpy, numba, cupy"):
        get_backend("fast")
    with pytest.raises(ValueError, match=r"'float16' is not supported: use 'float64' or 'float32'"):
        get_backend("numpy", "float16")


@pytest.mark.skipif("cupy" in available_backends(), reason="a usable CUDA device is here")
def test_cupy_is_refused_in_one_line() -> None:
    with pytest.raises(BackendUnavailableError, match=r"^backend 'cupy' needs .*use --backend numba") as caught:
        get_backend("cupy")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, RuntimeError)


def loaded(statement: str, modules: list[str]) -> list[str]:
    """Which of the modules a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*[m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_imports_are_lazy() -> None:
    assert loaded("import backends", ["numba", "cupy", "scipy"]) == []
    assert loaded("import numba, matplotlib", ["numba", "matplotlib"]) == ["numba", "matplotlib"]
    heavy = ["cupy", "torch", "torchvision", "matplotlib"]
    assert loaded("import backends, simulator, theory, validation, validation.data", heavy) == []
    dense = "import simulator as s; n = s.mlp([2, 1]); s.output(n, n.init(0), [[1, 2]], 'numba')"
    assert loaded(dense, ["numba", "backends"]) == ["backends"]


def test_numba_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError, match="'numba' needs Numba, which is not installed"):
        get_backend("numba")
    assert "numba" not in available_backends()


def test_a_backend_is_shown_by_its_name() -> None:
    assert repr(Backend("mine", np, "float32")) == "<Backend mine float32>"


def test_panels_are_kept_for_one_block_only() -> None:
    """A kernel is packed once inside `computing`, a changed one anew in the next block, and nothing piles up."""
    x, w = drawn((2, 4, 4, 16)), drawn((3, 3, 16, 32))
    before = NUMBA.convolve((x, w))
    with NUMBA.computing():
        with NUMBA.computing():
            assert np.array_equal(NUMBA.convolve((x, w)), before)
            assert np.array_equal(NUMBA.convolve((x, w)), before)
        w *= 2.0
        assert_close(NUMBA.convolve((x, w)), 2.0 * before, 1e-14)
    w *= 2.0
    assert_close(NUMBA.convolve((x, w)), 4.0 * before, 1e-14)
