"""Exact zeros and ties: gates and max-pools are those of direct sums, on every path that a convolution may take.

Where sums are exact in any order (integers, and integers times powers of two) gates equal the reference bit for bit.
Elsewhere what is exact by construction is asked for: patches of zeros, equal patches, kernels that see only zeros.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import get_backend
from backends.numba.convolution import ties
from simulator import Conv, Dense, MaxPool, Network, gradient, sequential
from simulator.passes.propagation import propagate
from support.cases import Array, assert_close

DTYPES = ("float64", "float32")
both = pytest.mark.parametrize("dtype", DTYPES)
either_tile = pytest.mark.parametrize("tile", [2, 4])


def integers(rng: np.random.Generator, shape: tuple[int, ...], largest: int = 1) -> Array:
    return rng.integers(-largest, largest + 1, shape).astype(float)


def conv_pairs(channels: int) -> list[Any]:
    return [Conv(channels), Conv(channels), MaxPool(2), Conv(channels), MaxPool(2), Dense(8), Dense(1)]


# (name, image sides, layers for a number of channels).
NETWORKS = {
    "conv-pool-conv": ((8, 8), lambda c: [Conv(c), MaxPool(2), Conv(c), Dense(1)]),
    "conv-conv-pool": ((8, 8), conv_pairs),
    "ragged": ((7, 9), lambda c: [Conv(c), Conv(c), MaxPool(2), Conv(c), Dense(4), Dense(1)]),
    "pool 3": ((9, 9), lambda c: [Conv(c), MaxPool(3), Conv(c), Dense(1)]),
    "chained pools": ((12, 12), lambda c: [Conv(c), MaxPool(2), MaxPool(3), Conv(c), Dense(1)]),
    "dense": ((4, 4), lambda c: [Dense(4 * c), Dense(c), Dense(1)]),
}


def assert_gates_equal(network: Network, weights: list[Array], x: Array, dtype: str) -> None:
    """Every layer's gates and signals bit for bit, and the output."""
    slow, fast = get_backend("numpy", dtype), get_backend("numba", dtype)
    expected, found = (
        propagate(network, [ops.asarray(w) for w in weights], ops.asarray(x), ops) for ops in (slow, fast)
    )
    for one, two in itertools.chain(
        zip(expected.gates, found.gates, strict=True), zip(expected.inputs, found.inputs, strict=True)
    ):
        assert np.array_equal(one, two)
    assert np.array_equal(expected.output, found.output)


@both
@pytest.mark.parametrize("channels", [8, 16, 32, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_integer_networks(name: str, channels: int, dtype: str) -> None:
    """Weights ±1 and images of -1, 0 and 1, as they are and times powers of two."""
    sides, layers = NETWORKS[name]
    rng = np.random.default_rng([channels, len(name)])
    network = sequential((*sides, channels), layers(channels))
    weights = [rng.choice([-1.0, 1.0], shape) for shape in network.weight_shapes]
    x = integers(rng, (3, *sides, channels))
    assert_gates_equal(network, weights, x, dtype)
    assert_gates_equal(network, [w * 2.0 ** (-3 * i) for i, w in enumerate(weights)], x / 8, dtype)


@both
def test_gradient_of_an_integer_network(dtype: str) -> None:
    network = sequential((8, 8, 16), NETWORKS["conv-conv-pool"][1](16))
    rng = np.random.default_rng(0)
    weights = [rng.choice([-1.0, 1.0], shape) for shape in network.weight_shapes]
    x, y = integers(rng, (4, 8, 8, 16)), rng.choice([-1.0, 1.0], 4)
    problem = (network, weights, x, y, "squared")
    fast, slow = (network.flatten(gradient(*problem, get_backend(name, dtype))) for name in ("numba", "numpy"))
    assert_close(fast, slow, 1e-13 if dtype == "float64" else 1e-5)


@settings(max_examples=15)
@given(
    st.sampled_from(DTYPES), st.sampled_from([16, 32]), st.integers(3, 9), st.integers(3, 9), st.integers(1, 5),
    st.integers(-40, 40), st.sampled_from([(), (2,), (3,), (2, 2)]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_exact_layers(
    dtype: str, channels: int, height: int, width: int, largest: int, power: int, pools: tuple[int, ...], seed: int
) -> None:
    """Integers of any unit, sparse kernels and images among them, in a batch with an image that is no integer."""
    rng = np.random.default_rng(seed)
    x = integers(rng, (3, height, width, channels), largest) * (rng.random((3, height, width, 1)) < 0.7)
    w = integers(rng, (3, 3, channels, 16), largest) * (rng.random((3, 3, 1, 16)) < 0.7)
    x, w = (x * 2.0**power).astype(dtype), (w * 2.0**-power).astype(dtype)
    x[1] = rng.standard_normal(x[1].shape)
    made, mask = get_backend("numba", dtype).convolve_and_gate(x, w, pools)
    expected, on = get_backend("numpy", dtype).convolve_and_gate(x, w, pools)
    assert np.array_equal(made[::2], expected[::2])
    assert np.array_equal(mask[::2], on[::2])


@either_tile
@both
@pytest.mark.parametrize("pools", [(), (2,), (3,), (2, 2)], ids=str)
def test_patches_of_zeros(pools: tuple[int, ...], dtype: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A border of zeros and a hole: z is 0 there and its gates are shut, plainly and in one pass."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    rng, ops = np.random.default_rng(0), get_backend("numba", dtype)
    x, w = np.zeros((3, 12, 14, 16), dtype), rng.standard_normal((3, 3, 16, 32)).astype(dtype)
    x[:, 2:10, 3:13] = rng.standard_normal((3, 8, 10, 16))
    x[:, 4:8, 5:8] = 0
    seen = get_backend("numpy").convolve((x != 0, np.ones_like(w)))[..., :1] > 0
    z = ops.convolve((x, w))
    assert not z[~np.broadcast_to(seen, z.shape)].any()
    _, mask = ops.convolve_and_gate(x, w, pools)
    assert not mask[~np.broadcast_to(seen, z.shape)].any()
    assert mask.any()


@either_tile
@both
def test_kernels_that_see_zeros_only(dtype: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """z = 0 exactly where taps that are not 0 meet zeros, while the others see data."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    rng, ops = np.random.default_rng(1), get_backend("numba", dtype)
    x = np.abs(rng.standard_normal((2, 9, 11, 64))).astype(dtype)
    x[:, ::2, 1::2] = 0
    w = np.zeros((3, 3, 64, 32), dtype)
    w[1, 1] = rng.standard_normal((64, 32))
    w[:, :, :, 16:] = 0.3 * (w[:, :, :, 16:] != 0)  # equal over all channels: their rounding errors add up
    _, mask = ops.convolve_and_gate(x, w, ())
    assert not mask[:, ::2, 1::2].any()
    expected = get_backend("numpy", "float64").convolve((x.astype(float), w.astype(float)))
    assert np.array_equal(mask, expected > 0)
    assert np.array_equal(ops.convolve((x, w)) > 0, expected > 0)


@either_tile
@both
@pytest.mark.parametrize("pools", [(2,), (3,), (2, 2)], ids=str)
def test_equal_patches_tie(pools: tuple[int, ...], dtype: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant region, stripes and a chequered one: a pool takes the first site, there and behind another layer."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    rng, ops = np.random.default_rng(2), get_backend("numba", dtype)
    first, second = (rng.standard_normal(s).astype(dtype) for s in ((3, 3, 16, 16), (3, 3, 16, 32)))
    x = rng.standard_normal((3, 24, 24, 16)).astype(dtype)
    x[0, 3:20, 4:21] = rng.standard_normal(16)
    x[1, 3:20, 4:21] = rng.standard_normal((17, 1, 16))
    even = np.add.outer(np.arange(17), np.arange(17))[..., None] % 2
    x[2, 3:20, 4:21] = np.where(even, rng.standard_normal(16), rng.standard_normal(16))
    side = int(np.prod(pools))
    for image, border in ((x, 1), (ops.convolve_and_gate(x, first, ())[0], 2)):
        kernel = first if border == 1 else second
        _, mask = ops.convolve_and_gate(image, kernel, pools)
        low, high = -(-(4 + border) // side), (20 - border) // side  # windows whose patches all lie in the region
        inside = mask[:, low * side : high * side, low * side : high * side]
        windows = inside.reshape(3, high - low, side, high - low, side, -1).swapaxes(2, 3)
        assert windows.any()
        assert not windows[0, :, :, 1:].any()
        assert not windows[0, :, :, :, 1:].any()  # constant: the first site
        assert not windows[1, :, :, :, 1:].any()  # stripes: a site of the first column
        assert not windows[2, :, :, 1:].any()  # chequered: a site of the first row, one of its first two
        assert not windows[2, :, :, :, 2:].any()


@either_tile
@both
@pytest.mark.parametrize("size", [1e4, 1e8, 1e30])
def test_a_bright_pixel_spoils_no_other_site(
    size: float, dtype: str, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sites whose window does not see it are as good as without it, in every form that convolutions come in."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    rng, fast, slow = np.random.default_rng(3), get_backend("numba", dtype), get_backend("numpy", "float64")
    x, other = (rng.standard_normal((3, 12, 11, 16)).astype(dtype) for _ in range(2))
    w, v = (rng.standard_normal((*lead, 3, 3, 16, 16)).astype(dtype) for lead in ((), (3,)))
    x[:, 5, 5] = size
    probes = np.stack([x, 2 * x, other])
    far = np.ones((12, 11), bool)
    far[4:7, 4:7] = False
    unit = float(np.finfo(dtype).eps)
    forms: list[tuple[str, list[tuple[Array, Array]]]] = [
        ("convolve", [(x, w)]), ("convolve", [(probes, w), (other, v)]), ("convolve", [(probes, w), (x, v)]),
        ("convolve", [(x, v)]), ("convolve_adjoint", [(x, w)]), ("convolve_adjoint", [(probes, w), (x, v)]),
    ]  # fmt: skip
    for name, pairs in forms:
        found = getattr(fast, name)(*pairs)
        expected = getattr(slow, name)(*((a.astype(float), b.astype(float)) for a, b in pairs))
        mask = rng.random(found.shape[-4:]) < 0.5
        again = getattr(fast, f"{name}_gated")(mask, 1, *pairs)
        for made, right in ((found, expected), (again, slow.apply_gates(mask, expected, 1))):
            assert np.abs(made - right)[..., far, :].max() < 20 * unit * np.abs(expected[..., far, :]).max()


@both
def test_tiny_numbers_beside_each_other(dtype: str) -> None:
    """Squares that underflow hide neither numbers nor zeros: signs are those of the direct sum."""
    tiny = 1e-25 if dtype == "float32" else 1e-170
    rng, ops = np.random.default_rng(4), get_backend("numba", dtype)
    x, w = (tiny * rng.standard_normal((2, 8, 8, 16))).astype(dtype), rng.standard_normal((3, 3, 16, 16)).astype(dtype)
    x[:, 2:5, 2:5] = 0
    z = ops.convolve((x, w))
    assert not z[:, 3, 3].any()
    expected = get_backend("numpy", "float64").convolve((x.astype(float) / tiny, w.astype(float)))
    assert_close(z.astype(float) / tiny, expected, 1e-13 if dtype == "float64" else 1e-5)


@both
def test_an_image_has_the_same_gates_in_every_batch(dtype: str) -> None:
    """Alone, among others and in another order; the others are integers, zeros and noise."""
    rng, ops = np.random.default_rng(5), get_backend("numba", dtype)
    x = rng.standard_normal((40, 4, 4, 32)).astype(dtype)
    x[3:9] = np.round(x[3:9])
    x[9, :2] = 0
    w = rng.standard_normal((3, 3, 32, 32)).astype(dtype)
    for kernel, pools in itertools.product((w, np.round(w)), ((), (2,))):
        made, mask = ops.convolve_and_gate(x, kernel, pools)
        order = rng.permutation(40)
        for rows in (np.array([0]), np.array([4]), np.arange(2, 11), order):
            some, on = ops.convolve_and_gate(x[rows], kernel, pools)
            assert np.array_equal(some, made[rows])
            assert np.array_equal(on, mask[rows])


# Numbers, and the binary digits of the largest in units of what divides all of them; 54: more than 53.
DIGITS = [
    ([0.0, 0.0], 0), ([1.0, -1.0], 1), ([0.75, -3.0], 4), ([8.0, 4096.0], 10), ([2.0**53 - 1], 53),
    ([2.0**53, 0.5], 54), ([np.inf], 54), ([1e-310], 54),
]  # fmt: skip


@pytest.mark.parametrize(("numbers", "expected"), DIGITS, ids=str)
def test_binary_digits(numbers: list[float], expected: int) -> None:
    """0.75 and 3 are 3 and 12 quarters."""
    assert ties.digits(np.array(numbers), 53) == expected
    assert ties.digits(np.array(numbers), 2) == min(expected, 3)


# Images and kernels as functions of noise (H, W, A) and (3, 3, A, B): ordinary ones, and those of equal channels.
CHEQUERS = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[:, :, None]
FAMILIES: dict[str, Any] = {
    "Gaussian": (lambda x: x, lambda w: w),
    "positive": (np.abs, np.abs),
    "constant": (lambda x: np.full_like(x, 1 / 3), lambda w: np.full_like(w, 1 / 7)),
    "chequered": (lambda x: CHEQUERS / 3 + 0 * x, lambda w: 0.1 * CHEQUERS[:3, :3, :, None] + 0 * w),
}


@either_tile
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", [16, 128])
def test_errors_stay_below_their_bound(family: str, channels: int, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tiles in single precision, ||x|| taken over all of a small image."""
    monkeypatch.setattr("backends.numba.convolution.winograd.tile_side", lambda *_: tile)
    rng, ops = np.random.default_rng(6), get_backend("numba", "float32")
    image, kernel = FAMILIES[family]
    x = image(rng.standard_normal((8, 8, channels))).astype("float32")[None]
    w = kernel(rng.standard_normal((3, 3, channels, 32))).astype("float32")
    found = ops.convolve_gated(np.ones((1, 8, 8, 32), bool), 1, (x, w))
    error = np.abs(found - get_backend("numpy").convolve((x.astype(float), w.astype(float))))
    bound = ties.largest_error("float32", channels) * ties.column_norms(w)
    assert error.max() > 0
    assert (error < bound * np.linalg.norm(x)).all()
