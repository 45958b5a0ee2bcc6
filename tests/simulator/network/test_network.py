"""The description of a network, its initialisation, thermal gates, and what is refused with which words."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scipy.special import expit
from scipy.stats import binomtest

from simulator import (
    Conv,
    Dense,
    HessianOperator,
    MaxPool,
    gradient,
    mlp,
    output,
    risk,
    sequential,
    signal_powers,
    train,
    vgg12,
)
from support.cases import CASES, DENSE, IMAGES, VGG12, Array, Case, any_case, assert_close
from support.oracles import network as oracle


@given(any_case)
def test_weight_shapes(case: Case) -> None:
    network = case.network
    assert network.weight_shapes == oracle.weight_shapes(case.input_shape, case.spec)
    assert network.n_weights == sum(map(math.prod, network.weight_shapes)) == sum(network.layer_sizes)
    assert network.depth == len(network.weight_shapes)
    assert [w.shape for w in network.init(0)] == network.weight_shapes
    back = network.unflatten(network.flatten(case.weights))
    assert all(np.array_equal(a, b) for a, b in zip(back, case.weights, strict=True))
    joined = np.concatenate([case.theta[part] for part in network.slices])
    assert np.array_equal(joined, case.theta)


def test_vgg12_at_full_width() -> None:
    """9·(3·64 + 64² + 64·128 + 128² + ... + 512²) + 512² + 512 = 9.66 M weights."""
    channels = [3, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    by_hand = 9 * sum(a * b for a, b in pairwise(channels)) + 512 * 512 + 512
    network = vgg12()
    assert network.n_weights == by_hand
    assert network.depth == 12
    assert round(by_hand / 1e6, 2) == 9.66
    assert vgg12(1 / 16) == VGG12.network
    assert vgg12(0.01).weight_shapes[:3] == [(3, 3, 3, 1)] + [(3, 3, 1, 1)] * 2
    assert vgg12(0.1, (64, 64, 1)).weight_shapes[-2:] == [(4 * 51, 51), (51, 1)]


def test_networks_are_values() -> None:
    network = mlp([4, 3, 1])
    assert network == sequential([4], [Dense(3), Dense(1)])
    assert hash(network) == hash(mlp([4, 3, 1]))
    with pytest.raises(AttributeError):
        network.input_shape = (5,)  # type: ignore[misc]


@pytest.mark.parametrize("law", ["gaussian", "uniform", "rademacher"])
def test_init_laws(law: str) -> None:
    """Mean 0, variance 2/fan-in (1/fan-in for the output) within five standard errors; the fourth moment of the law."""
    kurtosis = {"gaussian": 3.0, "uniform": 1.8, "rademacher": 1.0}[law]
    network = sequential((5, 5, 8), [Conv(60, 3), Dense(30), Dense(400), Dense(1)])
    for index, w in enumerate(network.init(7, law)):
        fan_in = [72, 1500, 30, 400][index]
        z = w.ravel() / math.sqrt((1 if index == 3 else 2) / fan_in)
        error = 1 / math.sqrt(z.size)
        assert abs(z.mean()) < 5 * error
        assert abs(np.mean(z**2) - 1) <= 5 * math.sqrt(kurtosis - 1) * error + 1e-12
        assert abs(np.mean(z**4) - kurtosis) <= 50 * error * (law != "rademacher") + 1e-12
        if law == "uniform":
            assert np.abs(z).max() <= math.sqrt(3)
        assert w.dtype == np.float64
        assert w.flags.c_contiguous


def test_init_streams() -> None:
    """An integer always gives the same weights, one stream per layer; a generator advances."""
    network = mlp([20, 20, 20, 1])
    first, again, other = network.init(3), network.init(3), network.init(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    pairs = [(first[0], first[1]), (first[0], other[0]), (first[0], other[1])]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / 20
    assert np.array_equal(network.init(np.int64(3))[0], first[0])  # type: ignore[arg-type]
    generator = np.random.default_rng(3)
    one, two = network.init(generator), network.init(generator)
    assert not np.array_equal(one[0], two[0])
    assert np.array_equal(one[0], network.init(np.random.default_rng(3))[0])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float32, np.float16, np.dtype(">f8")], ids=str)
@pytest.mark.parametrize("case", [DENSE[2], IMAGES[1]], ids=str)
def test_what_x_may_be(case: Case, dtype: Any, backend: str) -> None:
    """Integers, booleans and half precision count as the numbers they are."""
    x = np.round(np.abs(case.x) * 3).astype(dtype)
    t = oracle.Oracle(case.input_shape, case.spec, x.astype(np.float64), case.y).output(case.theta)
    assert np.abs(t).max() > 0
    assert_close(output(case.network, case.weights, x, backend), t)
    y = case.y.astype(np.int8)
    assert risk(case.network, case.weights, x, y, backend=backend) == pytest.approx(np.maximum(0, 1 - y * t).mean())


def test_dense_networks_flatten_images_in_c_order(backend: str) -> None:
    case = DENSE[2]
    x = np.random.default_rng(0).standard_normal((4, 7, 1, 1))
    network = mlp([12, 5, 1])
    weights, images = network.init(0), np.random.default_rng(1).standard_normal((3, 2, 3, 2))
    flat = np.stack([image.ravel() for image in images])
    assert_close(output(network, weights, np.asfortranarray(images), backend), output(network, weights, flat, backend))
    assert_close(output(case.network, case.weights, x), output(case.network, case.weights, x[..., 0, 0]))


DECODED = mlp([3, 6, 1])


def gates_at(temperature: float, samples: int, backend: str, seed: Any = 0) -> tuple[Array, Array]:
    """(gates (samples, 6), z (6,)) of one example: W_2 such that T = Σ_j 2^j h_j tells every gate apart."""
    x = np.array([0.3, -1.1, 0.8])
    w = DECODED.init(5)[0]
    z = x @ w
    decode = (2.0 ** np.arange(6) / z)[:, None]
    t = output(DECODED, [w, decode], np.tile(x, (samples, 1)), backend, temperature=temperature, seed=seed)
    code = np.rint(t).astype(int)
    assert np.abs(t - code).max() < 1e-9
    return (code[:, None] >> np.arange(6)) & 1, z


@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_thermal_gates_are_independent_with_the_sigmoid_mean(temperature: float, backend: str) -> None:
    """P(h = 1) = σ(z/T) by a binomial test; gates and examples have no covariance, within five standard errors."""
    n = 20_000
    h, z = gates_at(temperature, n, backend)
    p = expit(z / temperature)
    spread = np.sqrt(p * (1 - p))
    assert min(binomtest(int(k), n, float(q)).pvalue for k, q in zip(h.sum(axis=0), p, strict=True)) > 1e-6
    often = n * p * (1 - p) > 25  # the sums of rarer events are not normal
    u = ((h - p) / spread)[:, often]
    between_gates, between_examples = (u.T @ u / n)[~np.eye(u.shape[1], dtype=bool)], u[1:].T @ u[:-1] / n
    assert np.abs(between_gates).max() < 5 / np.sqrt(n)
    assert np.abs(between_examples).max() < 5 / np.sqrt(n)


def test_thermal_seeds(backend: str) -> None:
    one, again, other = (gates_at(1.0, 500, backend, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    generator = np.random.default_rng(1)
    first, second = (gates_at(1.0, 500, backend, generator)[0] for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(gates_at(1.0, 500, backend, None)[0], gates_at(1.0, 500, backend, 0)[0])


@pytest.mark.parametrize("case", [*DENSE, IMAGES[0], IMAGES[8]], ids=str)
def test_cold_gates_are_relu(case: Case, backend: str) -> None:
    cold = output(case.network, case.weights, case.x, backend, temperature=1e-12, seed=1)
    assert_close(cold, output(case.network, case.weights, case.x, backend), 1e-14)
    if case.network.depth > 1:
        warm = output(case.network, case.weights, case.x, backend, temperature=1.0, seed=1)
        assert not np.array_equal(warm, cold)


def test_pools_have_no_thermal_law() -> None:
    for case in CASES:
        pooled = any(kind == "pool" for kind, *_ in case.spec)
        refusal = pytest.raises(ValueError, match=r"temperature 0\.1 meets max-pooling")
        with refusal if pooled else nullcontext():
            assert np.isfinite(output(case.network, case.weights, case.x, temperature=0.1)).all()


LAYERS: list[tuple[Callable[[], object], str]] = [
    (lambda: mlp([3]), r"widths \[3\] name no weight layer"),
    (lambda: mlp([]), "name no weight layer"),
    (lambda: mlp([3, 2]), r"ends in Dense\(width=2\): its last layer must be Dense\(1\)"),
    (lambda: mlp([0, 1]), "input size 0 is not a size"),
    (lambda: mlp([2, 1.5, 1]), r"width 1\.5 is not a size"),  # type: ignore[list-item]
    (lambda: mlp([True, 1]), "input size True is not a size"),
    (lambda: sequential((3,), []), "ends in nothing"),
    (lambda: sequential((3, 3), [Dense(1)]), r"input shape \(3, 3\) is not usable: use \(height, width, channels\)"),
    (lambda: sequential((3, 3, 1), [Conv(1)]), r"ends in Conv\(channels=1, kernel=3\)"),
    (lambda: sequential((1, 1, 1), [Conv(1, 1)]), r"last layer must be Dense\(1\)"),
    (lambda: sequential((3, 3, 1), [Dense(4), Conv(1), Dense(1)]), "put convolutions before the first Dense"),
    (lambda: sequential((3,), [Conv(1), Dense(1)]), "put convolutions before the first Dense"),
    (lambda: sequential((3, 3, 1), [Dense(4), MaxPool(), Dense(1)]), "pool images, before the first Dense"),
    (lambda: sequential((3,), [MaxPool(), Dense(1)]), "pool images, before the first Dense"),
    (lambda: sequential((3, 3, 1), [MaxPool(0), Dense(1)]), "pooling size 0 is not a size"),
    (lambda: sequential((3, 1, 1), [MaxPool(2), Dense(1)]), "meets images of 3×1: the network is too deep"),
    (lambda: sequential((3, 3, 1), [Conv(2, 4), Dense(1)]), "kernel 4 is even"),
    (lambda: sequential((3, 3, 1), [Conv(2, -1), Dense(1)]), "kernel -1 is not a size"),
    (lambda: sequential((3, 3, 1), [Conv(0), Dense(1)]), "number of channels 0 is not a size"),
    (lambda: sequential((3,), ["dense", Dense(1)]), "layer 'dense' is unknown"),  # type: ignore[list-item]
    (lambda: vgg12(1.0, (16, 16, 3)), "too deep for the image; use larger images or fewer pools"),
    (lambda: vgg12(0.0), r"width 0\.0 is not a multiplier"),
    (lambda: vgg12(float("nan")), "width nan is not a multiplier"),
    (lambda: mlp([2, 1]).init(0, "cauchy"), "init law 'cauchy' is unknown: use one of gaussian, uniform, rademacher"),
    (lambda: mlp([2, 1]).init(-1), "seed -1 is not usable: pass an integer >= 0 or a numpy.random.Generator"),
    (lambda: mlp([2, 1]).init(0.5), r"seed 0\.5 is not usable"),  # type: ignore[arg-type]
    (lambda: mlp([2, 1]).init(True), "seed True is not usable"),
]


@pytest.mark.parametrize(("call", "message"), LAYERS, ids=[message for _, message in LAYERS])
def test_refused_networks(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


NETWORK = mlp([4, 3, 1])
W, X, Y = NETWORK.init(0), np.ones((5, 4)), np.ones(5)
BAD_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"weights": W[:1]}, "1 weight arrays were given: this network has 2 layers"),
    ({"weights": [W[0], W[1].T]}, r"layer 2 has weights of shape \(1, 3\): expected \(3, 1\)"),
    ({"weights": [W[0] * np.nan, W[1]]}, "layer 1 has NaN or infinite weights"),
    ({"x": np.ones((5, 3))}, r"x has shape \(5, 3\): expected \(m, \*\(4,\)\), examples in rows"),
    ({"x": np.ones((5, 3, 2))}, r"x has shape \(5, 3, 2\)"),
    ({"x": np.ones(4)}, r"x has shape \(4,\)"),
    ({"x": np.ones((0, 4))}, "expected at least one example"),
    ({"x": 1.0}, "expected at least one example"),
    ({"x": np.where(np.eye(5, 4), np.nan, X)}, "holds NaN, infinite or non-real values"),
    ({"x": np.where(np.eye(5, 4), np.inf, X)}, "holds NaN, infinite or non-real values"),
    ({"x": np.where(np.eye(5, 4), [np.inf, -np.inf, 1, 1], X)}, "holds NaN, infinite or non-real values"),
    ({"x": X.astype(complex)}, "dtype complex128"),
    ({"x": np.full((5, 4), "a")}, "non-real values"),
    ({"x": X.astype(object)}, "dtype object"),
    ({"y": np.ones(4)}, r"y has shape \(4,\): expected \(5,\), one label per example"),
    ({"y": np.ones((5, 1))}, r"y has shape \(5, 1\)"),
    ({"y": [0, 1, 1, 0, 1]}, "label 0 is not usable: labels are -1 or [+]1"),
    ({"y": [1, 1, 1, np.nan, 1]}, "label nan is not usable"),
    ({"loss": "l1"}, "loss 'l1' is unknown: use one of hinge, perceptron, logistic, squared, squared_hinge"),
    ({"backend": "fast"}, "backend 'fast' is unknown"),
]
ENTRY_POINTS: dict[str, Callable[..., object]] = {
    "risk": risk,
    "gradient": gradient,
    "hessian": HessianOperator,
    "train": lambda *a, **k: train(*a, **k, epochs=1, batch_size=2, learning_rate=0.1),
    "output": lambda network, weights, x, y, **k: output(network, weights, x, **k),
    "signal_powers": lambda network, weights, x, y, **k: signal_powers(network, weights, x, **k),
}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (name, *bad)
        for name in ENTRY_POINTS
        for bad in BAD_ARGUMENTS
        if {"weights", "x", "backend"} & set(bad[0]) or name not in ("output", "signal_powers")
    ],
)
def test_refused_arguments(name: str, change: dict[str, Any], message: str) -> None:
    given = {"weights": W, "x": X, "y": Y, **change}
    with pytest.raises(ValueError, match=message):
        ENTRY_POINTS[name](NETWORK, given.pop("weights"), given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_refused_temperatures(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature .* is not usable: use a number >= 0"):
        output(NETWORK, W, X, temperature=temperature)


def test_large_finite_inputs_are_not_taken_for_infinite() -> None:
    assert output(NETWORK, [w * 1e-30 for w in W], np.full((2, 4), 1e308)).shape == (2,)
